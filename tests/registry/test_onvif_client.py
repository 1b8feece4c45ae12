"""The ONVIF client against the simulator, and against devices that err, hang, lie or attack."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypeAlias

import pytest
from aiohttp import web
from registry.odd_device import Answer, not_authorised, odd_device, soap_answer
from simulated_cameras import H264, H264_WITH_AUDIO, H265

from camera_registry import soap
from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials, DeviceInformation
from camera_registry.errors import (
    AuthRejected,
    ForbiddenHost,
    Locked,
    Malformed,
    NotSupported,
    RegistryError,
    Timeout,
    Unreachable,
)
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import OnvifClient, onvif_opener
from camera_registry.onvif_port import VideoProfile
from camera_registry.onvif_transport import MAX_ANSWER_BYTES
from halfgateway.simulator.behaviour import OnvifAuth
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.simulator import Simulator

Opener: TypeAlias = Callable[[str, Credentials | None], OnvifClient]

SOME = Credentials(username="passerelle", password="secret")
INFORMATION = (
    "<tds:GetDeviceInformationResponse><tds:Manufacturer>Vigie</tds:Manufacturer><tds:Model>V</tds:Model>"
    "<tds:FirmwareVersion>1</tds:FirmwareVersion><tds:SerialNumber>2</tds:SerialNumber>"
    "<tds:HardwareId>3</tds:HardwareId></tds:GetDeviceInformationResponse>"
)


@pytest.fixture
def guard() -> CredentialGuard:
    return CredentialGuard(SystemClock())


@pytest.fixture
def opener(guard: CredentialGuard) -> Opener:
    return onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=guard, clock=SystemClock(), random_bytes=os.urandom, timeout_s=10.0
    )


def credentials_of(camera: SimulatedCamera) -> Credentials:
    return Credentials(username=camera.identity.username, password=camera.identity.password)


def always(make: Callable[[], web.StreamResponse]) -> Answer:
    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        return make()

    return answer


@pytest.mark.parametrize(
    ("number", "codec", "width", "media2"),
    [(H264, "H264", 1280, True), (H265, "H265", 1920, True), (H264_WITH_AUDIO, "H264", 1280, True)],
)
async def test_it_learns_what_a_camera_is(
    simulator: Simulator, opener: Opener, number: int, codec: str, width: int, media2: bool
) -> None:
    camera = simulator.cameras[number]
    async with opener(camera.onvif_url, credentials_of(camera)) as device:
        information = await device.device_information()
        (profile,) = await device.profiles()
        url = await device.stream_url(profile)
    identity = camera.identity
    assert (information.manufacturer, information.model) == (identity.manufacturer, identity.model)
    assert (information.serial, information.hardware) == (identity.serial, "88")
    assert (profile.codec, profile.width, profile.fps, profile.media2) == (codec, width, 25.0, media2)
    assert url == camera.rtsp_url


@pytest.mark.parametrize("scheme", list(OnvifAuth))
@pytest.mark.parametrize("offset_s", [0.0, -7200.0, 86_400.0 * 200])
async def test_a_wrong_clock_does_not_keep_it_out(
    simulator: Simulator, opener: Opener, scheme: OnvifAuth, offset_s: float
) -> None:
    camera = simulator.cameras[H264]
    camera.behaviour.onvif_auth = frozenset({scheme})
    camera.behaviour.clock_offset_s = offset_s
    async with opener(camera.onvif_url, credentials_of(camera)) as device:
        reading = await device.clock()
        assert (await device.device_information()).serial == camera.identity.serial
    assert reading.source == "soap"
    assert abs(reading.offset_s - offset_s) < 10


@pytest.mark.parametrize(("right", "tries"), [(True, 4), (False, 2)])
async def test_a_device_that_calls_local_time_utc_is_asked_once_more(right: bool, tries: int) -> None:
    # quirk onvif-clock: its clock seems two hours ahead, and it checks signatures by the right time
    ahead = datetime.now(UTC) + timedelta(hours=2)
    utc = (
        f"<tt:UTCDateTime><tt:Time><tt:Hour>{ahead.hour}</tt:Hour><tt:Minute>{ahead.minute}</tt:Minute>"
        f"<tt:Second>{ahead.second}</tt:Second></tt:Time><tt:Date><tt:Year>{ahead.year}</tt:Year>"
        f"<tt:Month>{ahead.month}</tt:Month><tt:Day>{ahead.day}</tt:Day></tt:Date></tt:UTCDateTime>"
    )

    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        if operation == "GetSystemDateAndTime":
            return soap_answer(_TIME.format(utc=utc))
        created = soap.text_of(
            soap.read_envelope(await request.read()), "Header", "Security", "UsernameToken", "Created"
        )
        fresh = created and abs(datetime.fromisoformat(created) - datetime.now(UTC)) < timedelta(minutes=5)
        return soap_answer(INFORMATION) if fresh and right else not_authorised()

    clock = SystemClock()
    opened = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    async with odd_device(answer) as device, opened(device.url, SOME) as client:
        assert (await client.clock()).offset_s > 7000
        for _ in range(3):
            if right:
                assert (await client.device_information()).manufacturer == "Vigie"
            else:
                with pytest.raises((AuthRejected, Locked)):
                    await client.device_information()
    assert device.tries == tries


@pytest.mark.parametrize("scheme", list(OnvifAuth))
async def test_a_wrong_password_is_sent_once(simulator: Simulator, opener: Opener, scheme: OnvifAuth) -> None:
    camera = simulator.cameras[H264]
    camera.behaviour.onvif_auth = frozenset({scheme})
    wrong = Credentials(username=camera.identity.username, password="wrong")
    async with opener(camera.onvif_url, wrong) as device:
        with pytest.raises(AuthRejected):
            await device.device_information()
        with pytest.raises(Locked):
            await device.device_information()
    async with opener(camera.onvif_url, wrong) as again:
        with pytest.raises(Locked):
            await again.profiles()
    async with opener(camera.onvif_url, credentials_of(camera)) as device:
        assert (await device.device_information()).serial == camera.identity.serial


@pytest.mark.parametrize("digest", [True, False])
async def test_no_request_bears_a_password_before_the_device_asks(opener: Opener, digest: bool) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="cam", nonce="abc", qop="auth"'}

    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        if operation == "GetSystemDateAndTime":
            return soap_answer("<tds:GetSystemDateAndTimeResponse/>")
        return web.Response(status=401, headers=challenge) if digest else not_authorised()

    async with odd_device(answer) as device, opener(device.url, SOME) as client:
        await client.clock()
        assert device.tries == 0
        with pytest.raises(AuthRejected):
            await client.device_information()
        assert device.tries == 1
        with pytest.raises(Locked):
            await client.profiles()
        assert device.tries == 1
        last = device.asked[-1]
        assert (bool(last.authorization), last.username_token) == (digest, not digest)


async def test_a_device_that_wants_no_credentials_gets_none(opener: Opener) -> None:
    async with odd_device(always(lambda: soap_answer(INFORMATION))) as device, opener(device.url, SOME) as client:
        information = await client.device_information()
        assert device.tries == 0
    assert information == DeviceInformation(manufacturer="Vigie", model="V", firmware="1", serial="2", hardware="3")


async def test_without_credentials_it_does_not_pretend(simulator: Simulator, opener: Opener) -> None:
    async with opener(simulator.cameras[H264].onvif_url, None) as device:
        await device.clock()
        with pytest.raises(AuthRejected):
            await device.device_information()


@pytest.mark.parametrize("status", [200, 401])
async def test_the_time_of_a_device_that_tells_none_is_read_from_its_answers_date(opener: Opener, status: int) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    headers = {"Date": format_datetime(then, usegmt=True)}
    async with (
        odd_device(
            always(lambda: soap_answer("<tds:GetSystemDateAndTimeResponse/>", status=status, headers=headers))
        ) as device,
        opener(device.url, SOME) as client,
    ):
        reading = await client.clock()
    assert reading.source == "http-date"
    assert abs(reading.offset_s + 3 * 3600) < 10


_TIME = (
    "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>"
    "<tt:DaylightSavings>false</tt:DaylightSavings>{utc}</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
)


@pytest.mark.parametrize(
    "utc",
    [
        "",
        "<tt:UTCDateTime/>",
        "<tt:UTCDateTime><tt:Time><tt:Hour>99</tt:Hour><tt:Minute>0</tt:Minute><tt:Second>0</tt:Second></tt:Time>"
        "<tt:Date><tt:Year>2026</tt:Year><tt:Month>13</tt:Month><tt:Day>1</tt:Day></tt:Date></tt:UTCDateTime>",
        "<tt:UTCDateTime><tt:Time><tt:Hour>x</tt:Hour></tt:Time></tt:UTCDateTime>",
    ],
)
async def test_a_time_that_cannot_be_is_not_believed(opener: Opener, utc: str) -> None:
    answer = always(lambda: soap_answer(_TIME.format(utc=utc)))
    async with odd_device(answer) as device, opener(device.url, SOME) as client:
        assert (await client.clock()).source == "http-date"


_SERVICES = (
    "<tds:GetServicesResponse>{entries}</tds:GetServicesResponse>",
    "<tds:Service><tds:Namespace>http://www.onvif.org/{path}/wsdl</tds:Namespace><tds:XAddr>{url}</tds:XAddr>"
    "<tds:Version><tt:Major>2</tt:Major><tt:Minor>0</tt:Minor></tds:Version></tds:Service>",
)
_FAULT = (
    "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>ter:ActionNotSupported</s:Value>"
    "</s:Subcode></s:Code><s:Reason><s:Text>not implemented</s:Text></s:Reason></s:Fault>"
)
_MEDIA1 = (
    '<trt:GetProfilesResponse><trt:Profiles token="P 1&amp;2"><tt:Name>a</tt:Name><tt:VideoEncoderConfiguration'
    ' token="e"><tt:Name>e</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding>'
    "<tt:Resolution><tt:Width>704</tt:Width><tt:Height>576</tt:Height></tt:Resolution><tt:Quality>1</tt:Quality>"
    '</tt:VideoEncoderConfiguration></trt:Profiles><trt:Profiles token="audio"><tt:Name>b</tt:Name></trt:Profiles>'
    "</trt:GetProfilesResponse>"
)


def device_with(answers: dict[str, str], *, announced: str = "{url}", media2: bool = False) -> Answer:
    """A device that announces its media at ``announced`` and answers these operations, the rest with a fault."""

    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        url = announced.format(url=f"http://127.0.0.1:{request.url.port}/media")
        paths = ["ver10/media", "ver20/media"] if media2 else ["ver10/media"]
        entries = "".join(_SERVICES[1].format(path=path, url=url) for path in paths)
        known = {"GetServices": _SERVICES[0].format(entries=entries), **answers}
        return soap_answer(known[operation]) if operation in known else soap_answer(_FAULT, status=500)

    return answer


def stream_uri(url: str) -> dict[str, str]:
    return {
        "GetProfiles": _MEDIA1,
        "GetStreamUri": f"<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>{url}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
        "<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:GetStreamUriResponse>",
    }


async def test_media1_serves_where_media2_fails(opener: Opener) -> None:
    answers = stream_uri("rtsp://127.0.0.1:554/a?x=1&amp;y=2")
    async with odd_device(device_with(answers, media2=True)) as device, opener(device.url, SOME) as client:
        (profile,) = await client.profiles()
        assert (profile.token, profile.codec, profile.width, profile.fps) == ("P 1&2", "H264", 704, 0.0)
        assert not profile.media2
        assert await client.stream_url(profile) == "rtsp://127.0.0.1:554/a?x=1&y=2"


async def test_a_device_without_getservices_is_asked_for_its_capabilities(opener: Opener) -> None:
    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        capabilities = (
            "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media>"
            f"<tt:XAddr>http://192.168.1.9:{request.url.port}/m</tt:XAddr>"
            "<tt:StreamingCapabilities/></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"
        )
        known = {"GetCapabilities": capabilities, "GetProfiles": _MEDIA1}
        return soap_answer(known[operation]) if operation in known else web.Response(status=400, text="Bad request")

    async with odd_device(answer) as device, opener(device.url, SOME) as client:
        assert len(await client.profiles()) == 1
    assert device.operations == ["GetServices", "GetCapabilities", "GetProfiles"]
    assert device.asked[-1].path == "/m"


async def test_a_service_whose_address_is_none_does_not_hide_the_other(opener: Opener) -> None:
    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        media2 = _SERVICES[1].format(path="ver20/media", url="ftp://127.0.0.1/")
        media1 = _SERVICES[1].format(path="ver10/media", url=f"http://127.0.0.1:{request.url.port}/m")
        known = {"GetServices": _SERVICES[0].format(entries=media2 + media1), "GetProfiles": _MEDIA1}
        return soap_answer(known[operation])

    async with odd_device(answer) as device, opener(device.url, SOME) as client:
        assert len(await client.profiles()) == 1


@pytest.mark.parametrize("announced", ["", "ftp://127.0.0.1/", "not an address"])
async def test_a_device_without_a_usable_media_service_is_said_to_be_one(opener: Opener, announced: str) -> None:
    async with odd_device(device_with({}, announced=announced)) as device, opener(device.url, SOME) as client:
        with pytest.raises((Malformed, NotSupported)):
            await client.profiles()


@pytest.mark.parametrize("host", ["192.168.1.108", "10.0.0.1", "198.51.100.7", "evil.example"])
async def test_it_never_goes_where_a_device_sends_it(opener: Opener, host: str) -> None:
    answers = stream_uri(f"rtsp://admin:admin@{host}:5554/live")
    announced = "{url}".replace("{url}", f"http://{host}:1/media")
    async with odd_device(device_with(answers, announced=announced)) as device, opener(device.url, SOME) as client:
        with pytest.raises(Unreachable):  # The port is the announced one, the host our own.
            await client.profiles()
    async with odd_device(device_with(answers)) as device, opener(device.url, SOME) as client:
        (profile,) = await client.profiles()
        assert await client.stream_url(profile) == "rtsp://127.0.0.1:5554/live"


async def test_a_device_outside_the_list_is_not_connected_to(opener: Opener) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen()
        listening.setblocking(False)
        url = f"http://127.0.0.2:{listening.getsockname()[1]}/onvif/device_service"
        async with opener(url, SOME) as client:
            with pytest.raises(ForbiddenHost):
                await client.clock()
            with pytest.raises(ForbiddenHost):
                await client.profiles()
        with pytest.raises(BlockingIOError):
            listening.accept()


async def test_a_redirection_is_not_followed(opener: Opener) -> None:
    answer = always(lambda: web.Response(status=307, headers={"Location": "http://127.0.0.2/"}))
    async with odd_device(answer) as device, opener(device.url, SOME) as client:
        with pytest.raises(NotSupported):
            await client.device_information()


def _too_large() -> web.Response:
    return web.Response(body=b" " * (MAX_ANSWER_BYTES + 1), content_type="text/xml")


def _bomb() -> web.Response:
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    document = f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><Envelope><Body>&e9;</Body></Envelope>'
    return web.Response(text=document, content_type="text/xml")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (_too_large, Malformed),
        (_bomb, Malformed),
        (lambda: web.Response(text="<html>hello</html>"), Malformed),
        (lambda: web.Response(body=b"\x1f\x8b" + b"\x00" * 100, headers={"Content-Encoding": "gzip"}), Malformed),
        (lambda: soap_answer("<tds:SomethingElse/>"), Malformed),
        (lambda: soap_answer(""), Malformed),
        (lambda: web.Response(status=400, text="Bad request"), NotSupported),
        (lambda: web.Response(status=404), NotSupported),
        (lambda: web.Response(status=403, text="<html/>"), AuthRejected),
        (lambda: web.Response(status=503), Unreachable),
        (lambda: soap_answer(_FAULT, status=500), NotSupported),
        (lambda: soap_answer(_FAULT), NotSupported),
    ],
)
async def test_every_odd_answer_is_a_declared_error(
    opener: Opener, make: Callable[[], web.Response], kind: type[RegistryError]
) -> None:
    async with odd_device(always(make)) as device, opener(device.url, None) as client:
        with pytest.raises(kind):
            await client.device_information()


async def test_a_device_that_hangs_is_given_up(guard: CredentialGuard) -> None:
    opener = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=guard, clock=SystemClock(), random_bytes=os.urandom, timeout_s=0.3
    )
    silence = asyncio.Event()

    async def hang(request: web.Request, operation: str) -> web.StreamResponse:
        await silence.wait()
        return web.Response()

    async def drip(request: web.Request, operation: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not silence.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    for answer in (hang, drip):
        async with odd_device(answer) as device:
            async with opener(device.url, SOME) as client:
                with pytest.raises(Timeout):
                    await client.device_information()
                assert device.tries == 0
            silence.set()
        silence.clear()


async def test_a_device_that_is_not_there_is_unreachable(opener: Opener) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/onvif/device_service"
        async with opener(url, SOME) as client:
            for call in (client.clock, client.device_information, client.profiles):
                with pytest.raises(Unreachable):
                    await call()


async def test_a_connection_that_breaks_is_unreachable(opener: Opener) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, opener(f"http://127.0.0.1:{port}/onvif/device_service", SOME) as client:
        with pytest.raises(Unreachable):
            await client.device_information()


async def test_what_a_device_says_of_its_profiles_is_taken_as_far_as_it_makes_sense(opener: Opener) -> None:
    profiles = "".join(
        f'<tr2:Profiles token="{token}"><tr2:Name/><tr2:Configurations>{encoder}</tr2:Configurations></tr2:Profiles>'
        for token, encoder in [
            ("a", "<tr2:VideoEncoder><tt:Encoding>jpeg</tt:Encoding></tr2:VideoEncoder>"),
            ("b", ""),
            (
                "c",
                "<tr2:VideoEncoder><tt:Encoding>H265</tt:Encoding><tt:Resolution><tt:Width>-5</tt:Width>"
                "<tt:Height>wide</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>1e99"
                "</tt:FrameRateLimit></tt:RateControl></tr2:VideoEncoder>",
            ),
        ]
    )
    answers = {"GetProfiles": f"<tr2:GetProfilesResponse>{profiles}</tr2:GetProfilesResponse>"}
    async with odd_device(device_with(answers, media2=True)) as device, opener(device.url, SOME) as client:
        found = await client.profiles()
    assert [(each.token, each.codec) for each in found] == [("a", "JPEG"), ("c", "H265")]
    assert {(each.width, each.height, each.fps) for each in found} == {(0, 0, 0.0)}


@pytest.mark.parametrize("media2", [False, True])
async def test_a_keyframe_is_asked_of_the_service_that_named_the_profile(opener: Opener, media2: bool) -> None:
    # ADR 4: past the cache's bound, SetSynchronizationPoint
    done = '<q:SetSynchronizationPointResponse xmlns:q="http://www.onvif.org/ver20/media/wsdl"/>'
    profile = VideoProfile(token="P 1&2", codec="H265", width=1, height=1, fps=1.0, media2=media2)
    answer = device_with({"SetSynchronizationPoint": done}, media2=True)
    async with odd_device(answer) as device, opener(device.url, SOME) as client:
        await client.request_keyframe(profile)
    assert device.operations[-1] == "SetSynchronizationPoint"


async def test_a_device_that_makes_no_keyframes_on_demand_says_so(opener: Opener) -> None:
    profile = VideoProfile(token="P1", codec="H264", width=1, height=1, fps=1.0, media2=False)
    async with odd_device(device_with({})) as device, opener(device.url, SOME) as client:
        with pytest.raises(NotSupported):
            await client.request_keyframe(profile)
