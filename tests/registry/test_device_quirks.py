"""What devices are known to do over ONVIF, replayed from ``tests/corpus``; see ``camera_registry/quirks.py``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from registry.odd_device import OddDevice, odd_device, soap_answer

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, Locked, NotSupported
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import OnvifClient, onvif_opener
from tests.upstream.transcript_camera import sections

SOME = Credentials(username="passerelle", password="secret")
YEAR_S = 365 * 86_400


@asynccontextmanager
async def replayed(name: str) -> AsyncIterator[tuple[OddDevice, OnvifClient]]:
    """A device that answers as that file of the corpus has it, and a client of it."""
    said = sections(name)

    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        open_to_all = operation == "GetSystemDateAndTime" or "UNAUTHORISED" not in said
        proven = open_to_all or "Authorization" in request.headers
        return _answer(said.get(operation if proven else "UNAUTHORISED", "501\n\n"), request.url.port or 0)

    clock = SystemClock()
    opened = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    async with odd_device(answer) as device, opened(device.url, SOME) as client:
        yield device, client


def _answer(said: str, port: int) -> web.Response:
    head, _, body = said.replace("{port}", str(port)).partition("\n\n")
    status, *lines = head.split("\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if "Content-Type" in headers:
        return web.Response(status=int(status), text=body, headers=headers)
    return soap_answer(body, status=int(status), headers=headers)


async def test_a_device_that_knows_only_digest_is_answered_by_it() -> None:  # onvif.md quirk 2
    async with replayed("onvif-digest-only.soap") as (device, client):
        await client.clock()
        assert (await client.device_information()).model == "V"
        assert device.asked[-1].authorization.startswith("Digest ")
        assert not device.asked[-1].username_token


async def test_a_clock_that_is_not_told_is_read_from_the_answer() -> None:  # onvif.md quirks 1, 14
    async with replayed("onvif-clock-untold.soap") as (_, client):
        reading = await client.clock()
        assert reading.source == "http-date"
        assert reading.offset_s < -20 * YEAR_S


async def test_a_device_is_asked_where_it_was_found() -> None:  # onvif.md quirks 3, 15
    async with replayed("onvif-address-elsewhere.soap") as (device, client):
        (profile,) = await client.profiles()
        assert profile.token == "0_ProfileToken0 & more"
        assert await client.stream_url(profile) == "rtsp://127.0.0.1:554/cam/realmonitor?channel=1&subtype=0"
        assert device.asked[-1].path == "/onvif/media_service"


async def test_what_a_device_answers_oddly_is_read_as_far_as_it_goes() -> None:  # onvif.md quirk 14
    async with replayed("onvif-odd-soap.soap") as (device, client):
        assert await client.profiles() == ()
        with pytest.raises(NotSupported):
            await client.device_information()
        assert device.operations == ["GetServices", "GetCapabilities", "GetProfiles", "GetDeviceInformation"]


async def test_a_password_that_is_refused_is_not_sent_again() -> None:  # onvif.md quirk 7
    async with replayed("onvif-lock-out.soap") as (device, client):
        with pytest.raises(AuthRejected):
            await client.device_information()
        for _ in range(5):
            with pytest.raises(Locked):
                await client.device_information()
        assert device.tries == 1
