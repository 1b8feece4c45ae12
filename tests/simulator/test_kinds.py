"""The twelve kinds of camera, each with a small clip: whatever is odd about one, the gateway's own clients reach it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientSession
from simulated_cameras import player_of

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.errors import NotSupported
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import onvif_opener
from halfgateway.simulator import sites
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from halfgateway.upstream.client import Target
from halfgateway.upstream.presentation import probe

WRONG_CLOCK, TWO_PROFILES, BEHIND_NAT, ODD_SOAP, UDP_ONLY = 7, 8, 9, 10, 11
DEVICE = "http://www.onvif.org/ver10/device/wsdl"
NONE_SUCH = "urn:none"


@asynccontextmanager
async def camera_of_kind(
    index: int,
    clip: Clip,
    behaviour: Behaviour | None = None,
    *,
    sub_clip: Clip | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[SimulatedCamera]:
    camera = SimulatedCamera(
        sites.identity(index, random_bytes=os.urandom),
        clip,
        behaviour or sites.behaviour(index),
        clock=SystemClock(),
        random_bytes=os.urandom,
        sub_clip=sub_clip,
    )
    await camera.start(host)
    try:
        yield camera
    finally:
        await camera.stop()


@pytest.mark.parametrize("index", range(12))
async def test_each_kind_is_found_and_described(small_clip: Clip, short_clip: Clip, index: int) -> None:  # S09
    clock = SystemClock()
    opened = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    async with AsyncExitStack() as life:
        camera = await life.enter_async_context(camera_of_kind(index, small_clip, sub_clip=short_clip))
        credentials = Credentials(username=camera.identity.username, password=camera.identity.password)
        port = await life.enter_async_context(opened(camera.onvif_url, credentials))
        reading = await port.clock()
        assert (await port.device_information()).serial == camera.identity.serial
        profiles = await port.profiles()
        assert len(profiles) == (2 if index == TWO_PROFILES else 1)
        assert abs(reading.offset_s - (sites.WRONG_CLOCK_S if index == WRONG_CLOCK else 0.0)) < 30
        assert reading.source == ("http-date" if index == ODD_SOAP else "soap")
        urls = [await port.stream_url(profile) for profile in profiles]
        assert len(set(urls)) == len(profiles)
        assert urls[0] == camera.rtsp_url
        for url in urls:
            assert (await probe(Target(url, credentials.username, credentials.password))).track_url.startswith(url)


async def test_a_camera_of_ipv6_announces_addresses_in_brackets(small_clip: Clip) -> None:  # row 41
    clock = SystemClock()
    opened = onvif_opener(
        allowed=AllowedHosts(["::1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    async with camera_of_kind(0, small_clip, host="::1") as camera:
        credentials = Credentials(username=camera.identity.username, password=camera.identity.password)
        async with opened(camera.onvif_url, credentials) as port:
            await port.clock()
            (profile,) = await port.profiles()
            url = await port.stream_url(profile)
        assert url == camera.rtsp_url
        assert url.startswith("rtsp://[::1]:")
        presentation = await probe(Target(url, credentials.username, credentials.password))
        assert presentation.track_url == f"{url}/trackID=0"


async def test_both_profiles_play_their_own_clip(small_clip: Clip, short_clip: Clip) -> None:
    smaller = replace(short_clip, spec=replace(short_clip.spec, width=160))
    async with camera_of_kind(TWO_PROFILES, small_clip, sub_clip=smaller) as camera:
        for path, width in ((camera.identity.stream_path, 320), (camera.identity.sub_stream_path or "", 160)):
            url = camera.rtsp_url.replace(camera.identity.stream_path, path)
            async with player_of(camera) as player:
                description = await player.ask("DESCRIBE", url, {"Accept": "application/sdp"})
                assert f"a=x-dimensions:{width}," in description.body.decode()
                assert (await player.set_up(path)).status == 200
                assert (await player.play(path)).status == 200


async def test_a_profile_that_it_does_not_have_is_refused(small_clip: Clip) -> None:
    clock = SystemClock()
    opened = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    async with camera_of_kind(ODD_SOAP, small_clip) as camera:
        credentials = Credentials(username=camera.identity.username, password=camera.identity.password)
        async with opened(camera.onvif_url, credentials) as port:
            await port.clock()
            (profile,) = await port.profiles()
            with pytest.raises(NotSupported):
                await port.stream_url(replace(profile, token="none"))


async def test_odd_soap_is_odd(small_clip: Clip) -> None:  # quirk onvif-odd-soap
    async with camera_of_kind(ODD_SOAP, small_clip) as camera, ClientSession() as session:
        _, clock = await asked(session, camera, f'<GetSystemDateAndTime xmlns="{DEVICE}"/>')
        assert "UTCDateTime" not in clock
        _, refusal = await asked(session, camera, f'<GetDeviceInformation xmlns="{DEVICE}"/>')
        assert "ter:NotAuthorized" in refusal
        assert "xmlns:ter" not in refusal
        assert await asked(session, camera, f'<GetHostname xmlns="{NONE_SUCH}"/>') == (400, "Bad request")
        camera.behaviour.odd_soap = False
        _, refusal = await asked(session, camera, f'<GetDeviceInformation xmlns="{DEVICE}"/>')
        assert "xmlns:ter" in refusal


async def asked(session: ClientSession, camera: SimulatedCamera, call: str) -> tuple[int, str]:
    envelope = f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{call}</s:Body></s:Envelope>'
    async with session.post(camera.onvif_url, data=envelope) as answer:
        return answer.status, await answer.text()


async def test_a_camera_that_drops_its_connections_does_so_again_and_again(small_clip: Clip) -> None:
    async with camera_of_kind(0, small_clip, Behaviour(drop_every_s=0.05)) as camera:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", int(camera.rtsp_url.split(":")[2].split("/")[0])
            )
            async with asyncio.timeout(20):
                with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                    await reader.readexactly(1)
            writer.transport.abort()
