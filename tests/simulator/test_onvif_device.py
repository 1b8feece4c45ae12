"""The ONVIF side of a simulated camera, with hand-written requests: what it answers, to whom, and its faults."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

import pytest
from aiohttp import ClientSession, DigestAuthMiddleware
from simulated_cameras import H264, H264_WITH_AUDIO, H265

from camera_registry import soap
from halfgateway.simulator.behaviour import OnvifAuth
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.simulator import Simulator

DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"
NONCE = b"0123456789abcdef"


def token(
    camera: SimulatedCamera, *, password: str | None = None, created: datetime | None = None, nonce: bytes = NONCE
) -> str:
    """A WS-Security header as the UsernameToken profile has it."""
    stamp = (created or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    secret = camera.identity.password if password is None else password
    digest = base64.b64encode(hashlib.sha1(nonce + stamp.encode() + secret.encode()).digest()).decode()
    return (
        "<wsse:Security xmlns:wsse='urn:wsse' xmlns:wsu='urn:wsu'><wsse:UsernameToken>"
        f"<wsse:Username>{escape(camera.identity.username)}</wsse:Username><wsse:Password>{digest}</wsse:Password>"
        f"<wsse:Nonce>{base64.b64encode(nonce).decode()}</wsse:Nonce><wsu:Created>{stamp}</wsu:Created>"
        "</wsse:UsernameToken></wsse:Security>"
    )


async def ask(
    camera: SimulatedCamera, namespace: str, name: str, *, header: str = "", digest: bool = False
) -> tuple[int, str]:
    """Send one call; return HTTP status and body."""
    envelope = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
        f'<s:Header>{header}</s:Header><s:Body><{name} xmlns="{namespace}"/></s:Body></s:Envelope>'
    )
    middlewares = (DigestAuthMiddleware(camera.identity.username, camera.identity.password),) if digest else ()
    async with (
        ClientSession(middlewares=middlewares) as session,
        session.post(camera.onvif_url, data=envelope) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize("name", ["GetSystemDateAndTime", "GetServices", "GetCapabilities", "GetHostname"])
async def test_what_needs_no_credentials_is_answered_to_all(camera: SimulatedCamera, name: str) -> None:
    camera.behaviour.onvif_refused = True
    status, body = await ask(camera, DEVICE, name)
    assert status == 200
    assert f"{name}Response" in body


@pytest.mark.parametrize(
    ("namespace", "name", "holds"),
    [
        (DEVICE, "GetDeviceInformation", "V720-00001"),
        (DEVICE, "GetScopes", "onvif://www.onvif.org/hardware/V720"),
        (DEVICE, "GetNetworkInterfaces", "10.78.0.20"),
        (MEDIA, "GetProfiles", "0_ProfileToken0"),
        (MEDIA, "GetVideoSources", "VideoSource_0"),
        (MEDIA, "GetStreamUri", "rtsp://127.0.0.1:"),
        (MEDIA, "GetSnapshotUri", "/onvif/snapshot"),
        (MEDIA, "GetVideoEncoderConfiguration", "<tt:Encoding>H264</tt:Encoding>"),
        (MEDIA, "GetVideoEncoderConfigurations", "<tt:Encoding>H264</tt:Encoding>"),
        (MEDIA2, "GetProfiles", "<tt:Encoding>H264</tt:Encoding>"),
        (MEDIA2, "GetStreamUri", "rtsp://127.0.0.1:"),
    ],
)
async def test_every_other_call_wants_credentials(
    camera: SimulatedCamera, namespace: str, name: str, holds: str
) -> None:
    assert (await ask(camera, namespace, name))[0] == 401
    for status, body in (
        await ask(camera, namespace, name, digest=True),
        await ask(camera, namespace, name, header=token(camera)),
    ):
        assert status == 200
        assert f"{name}Response" in body
        assert holds in body
        assert camera.identity.password not in body


@pytest.mark.parametrize(
    ("namespace", "name"), [(DEVICE, "SystemReboot"), (MEDIA, "SetVideoEncoderConfiguration"), (MEDIA2, "GetMasks")]
)
async def test_what_it_does_not_have_is_a_fault(camera: SimulatedCamera, namespace: str, name: str) -> None:
    status, body = await ask(camera, namespace, name, digest=True)
    fault = soap.find_fault(soap.read_envelope(body.encode()))
    assert status == 500
    assert fault is not None
    assert fault.codes == ("Receiver", "ActionNotSupported")


async def test_a_camera_takes_only_the_credentials_of_its_kind(simulator: Simulator) -> None:
    digest_only, token_only = simulator.cameras[H265], simulator.cameras[H264_WITH_AUDIO]
    name = "GetDeviceInformation"
    assert (await ask(digest_only, DEVICE, name, header=token(digest_only)))[0] == 401
    assert (await ask(digest_only, DEVICE, name, digest=True))[0] == 200
    status, body = await ask(token_only, DEVICE, name, digest=True)
    assert status == 400
    assert "ter:NotAuthorized" in body
    assert (await ask(token_only, DEVICE, name, header=token(token_only)))[0] == 200


async def test_a_token_is_good_only_whole_fresh_and_with_the_right_password(camera: SimulatedCamera) -> None:
    camera.behaviour.onvif_auth = frozenset({OnvifAuth.USERNAME_TOKEN})
    now = datetime.now(UTC)
    bad = [
        token(camera, password="wrong"),
        token(camera, created=now - timedelta(hours=2)),
        token(camera, created=now + timedelta(hours=2)),
        token(camera, nonce=b""),
        token(camera).replace("<wsu:Created>", "<wsu:Created>x"),
        token(camera).replace("passerelle", "admin"),
        token(camera).replace("<wsse:Nonce>", "<wsse:Nonce>$"),
        "",
    ]
    for header in bad:
        status, body = await ask(camera, DEVICE, "GetDeviceInformation", header=header)
        assert (status, "ter:NotAuthorized" in body) == (400, True), header
    camera.behaviour.clock_offset_s = -7200.0
    late = token(camera, created=now - timedelta(hours=2))
    assert (await ask(camera, DEVICE, "GetDeviceInformation", header=late))[0] == 200


async def test_its_clock_is_off_as_far_as_it_is_told(camera: SimulatedCamera) -> None:
    camera.behaviour.clock_offset_s = 86_400.0 * 400
    _, body = await ask(camera, DEVICE, "GetSystemDateAndTime")
    wanted = datetime.now(UTC) + timedelta(days=400)
    assert f"<tt:Year>{wanted.year}</tt:Year>" in body


async def test_it_may_announce_an_address_where_nothing_answers(camera: SimulatedCamera) -> None:
    camera.behaviour.announces_internal_address = True
    _, body = await ask(camera, MEDIA, "GetStreamUri", digest=True)
    assert f"rtsp://{camera.identity.internal_address}:" in body


async def test_media1_does_not_name_what_it_cannot(simulator: Simulator) -> None:
    camera = simulator.cameras[H265]
    _, media1 = await ask(camera, MEDIA, "GetProfiles", digest=True)
    _, media2 = await ask(camera, MEDIA2, "GetProfiles", digest=True)
    assert "VideoEncoderConfiguration" not in media1
    assert "<tt:Encoding>H265</tt:Encoding>" in media2


@pytest.mark.parametrize("body", [b"", b"rubbish", b"<a/>", b"<Envelope><Body/></Envelope>", b"\xff\xfe"])
async def test_what_is_not_soap_is_a_fault_too(camera: SimulatedCamera, body: bytes) -> None:
    async with ClientSession() as session, session.post(camera.onvif_url, data=body) as answer:
        assert answer.status == 400
        assert "ter:WellFormed" in await answer.text()


async def test_its_snapshot_is_a_picture_behind_credentials(simulator: Simulator) -> None:
    camera = simulator.cameras[H264]
    url = camera.onvif_url.replace("device_service", "snapshot")
    async with ClientSession() as session, session.get(url) as refused:
        assert refused.status == 401
    digest = DigestAuthMiddleware(camera.identity.username, camera.identity.password)
    async with ClientSession(middlewares=(digest,)) as session, session.get(url) as answer:
        assert answer.content_type == "image/jpeg"
        assert (await answer.read()).startswith(b"\xff\xd8")
