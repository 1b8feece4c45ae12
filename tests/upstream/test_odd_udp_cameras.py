"""UDP cameras as makers build them, strangers at our ports, and cameras that offer what is not taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from halfgateway.net.datagrams import DatagramPair, open_pair
from halfgateway.protocol import rtcp
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, Response, response
from halfgateway.protocol.rtcp import parse_compound
from halfgateway.protocol.transport import parse_transports
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import Target
from tests.relay.packets import IDR, rtp
from tests.upstream.conftest import OpenLine
from tests.upstream.line import KEY, TIMEOUT_S, Line, Watcher, eventually
from tests.upstream.scripted import ScriptedCamera, scripted_camera

HOST, ELSEWHERE = "127.0.0.1", "127.0.0.2"
SSRC = 0x11223344


class UdpScript:
    """A scripted camera's SETUP and PLAY; what it sends after a first packet, a test sends.

    ``named`` is what it says of itself in ``Transport``, with its ports in the place of ``{ports}``; with
    ``chooses`` it takes a SETUP that asks for TCP, and answers it with UDP. ``on_setup`` is called before it answers.
    """

    def __init__(self, named: str = "server_port={ports}", *, chooses: bool = False) -> None:
        self.pair = open_pair(HOST)
        self.on_setup: Callable[[], None] = lambda: None
        self.our_ports = (0, 0)
        self.asked: list[Request] = []
        self._said = named.format(ports="{}-{}".format(*self.pair.ports))
        self._chooses = chooses
        self.sent = 0

    def answer(self, request: Request) -> Response | None:
        if request.method == "PLAY":
            self.send()
            return response(200)
        if request.method != "SETUP":
            return None
        self.asked.append(request)
        (wanted,) = parse_transports(request.headers.get("Transport") or "")
        if wanted.lower == "TCP" and not self._chooses:
            return response(461)
        self.our_ports = wanted.client_port or (6970, 6971)
        self.on_setup()
        granted = "RTP/AVP;unicast;client_port={}-{};{}".format(*self.our_ports, self._said)
        return response(200, Headers([("Session", "1234;timeout=1"), ("Transport", granted)]))

    def send(self, *, count: int = 1) -> None:
        for _ in range(count):
            self.pair.rtp.sendto(rtp(self.sent, self.sent * 1800, IDR), (HOST, self.our_ports[0]))
            self.sent += 1

    def report(self, data: bytes) -> None:
        self.pair.rtcp.sendto(data, (HOST, self.our_ports[1]))


@pytest.fixture
async def odd() -> AsyncIterator[ScriptedCamera]:
    async with scripted_camera() as camera:
        yield camera


@pytest.fixture
def odd_line(open_line: OpenLine, odd: ScriptedCamera) -> Line:
    return open_line(Target(odd.url))


@pytest.fixture
def strangers() -> Iterator[list[DatagramPair]]:
    """One at another address, and one at another port of the camera's."""
    with ExitStack() as life:
        yield [life.enter_context(closing(open_pair(host))) for host in (ELSEWHERE, HOST)]


async def watched(odd: ScriptedCamera, line: Line, script: UdpScript) -> Watcher:
    """A reader of the camera, which sends its first packet as it is asked to play."""
    odd.script = script.answer
    return await line.watch()


@pytest.mark.parametrize("chooses", [False, True], ids=["461", "its-own-choice"])
@pytest.mark.parametrize(
    "named",
    [
        "server_port={ports}",
        "source=192.0.2.9;server_port={ports}",
        "source=no host at all",
        "ssrc=1",
        "mode=play;destination=10.1.2.3",
    ],
)
async def test_it_is_heard_whatever_it_says_of_its_address(
    odd: ScriptedCamera, odd_line: Line, named: str, chooses: bool
) -> None:
    # row 35: media comes from where the connection goes
    with closing((script := UdpScript(named, chooses=chooses)).pair):
        watcher = await watched(odd, odd_line, script)
        script.send(count=20)
        await watcher.packets(20)
        assert watcher.sequence_steps == {1}
        assert watcher.sources == {SSRC}
        first, second = (each.headers.get("Transport") or "" for each in script.asked)
        assert first == "RTP/AVP/TCP;unicast;interleaved=0-1"
        assert second == "RTP/AVP;unicast;client_port={}-{}".format(*script.our_ports)
        assert ("Session" in script.asked[1].headers) == chooses, "the session that it gave is kept to"
        script.report(rtcp.receiver_report(rtcp.ReceiverReport(9), "camera"))  # shows its port, where it named none
        async with asyncio.timeout(TIMEOUT_S):
            (report, _) = parse_compound(await asyncio.get_running_loop().sock_recv(script.pair.rtcp, 2000))
        assert isinstance(report, rtcp.ReceiverReport)


@pytest.mark.parametrize("named", ["server_port={ports}", "ssrc=1"], ids=["port-named", "port-not-named"])
async def test_strangers_are_not_heard(
    odd: ScriptedCamera, odd_line: Line, strangers: list[DatagramPair], named: str
) -> None:
    # row 35; before the camera has answered, and while it plays. Where it names no port, its address is what counts.
    elsewhere, beside = strangers
    with closing((script := UdpScript(named)).pair):
        script.on_setup = lambda: interfere(script, [elsewhere] if named == "ssrc=1" else strangers)
        watcher = await watched(odd, odd_line, script)
        script.send()
        await watcher.packets(1)
        script.report(report_of(SSRC))
        await eventually(lambda: heard(watcher) == 1)
        for _ in range(10):
            interfere(script, [elsewhere, beside])
            script.send(count=5)
        await watcher.packets(50)
        script.report(report_of(SSRC))
        await eventually(lambda: heard(watcher) == 2)
        assert watcher.sources == {SSRC}
        assert watcher.sequence_steps == {1}
        assert 0xBAD.to_bytes(4, "big") not in b"".join(watcher.reports)
        (source,) = odd_line.hub
        assert source.received_packets == script.sent, "nor did any come before there was a reader"


def heard(watcher: Watcher) -> int:
    """How many reports of the camera's own have come; others of its stream are ours."""
    own = parse_compound(report_of(SSRC))[0]
    return sum(parse_compound(report)[0] == own for report in watcher.reports)


def interfere(script: UdpScript, strangers: list[DatagramPair]) -> None:
    for pair in strangers:
        for number in range(30):
            pair.rtp.sendto(rtp(number, 0, IDR, ssrc=0xBAD), (HOST, script.our_ports[0]))
        pair.rtcp.sendto(report_of(0xBAD), (HOST, script.our_ports[1]))


async def test_the_cameras_name_for_itself_stays_behind(odd: ScriptedCamera, odd_line: Line) -> None:
    # C16; and its goodbye ends nobody (row 53)
    with closing((script := UdpScript()).pair):
        watcher = await watched(odd, odd_line, script)
        script.send()
        await watcher.packets(1)
        script.report(report_of(SSRC, "root@10.78.0.20") + rtcp.bye(SSRC))
        script.report(b"\x80\xc8 no report")
        script.send(count=3)
        await watcher.packets(3)
        await eventually(lambda: heard(watcher) == 1)
        for report in watcher.reports:
            assert [type(packet) for packet in parse_compound(report)] == [rtcp.SenderReport, rtcp.OtherPacket]
            assert b"10.78.0.20" not in report
            assert KEY.camera.encode() in report


async def test_what_is_no_rtp_is_passed_over(odd: ScriptedCamera, odd_line: Line) -> None:
    with closing((script := UdpScript()).pair):
        watcher = await watched(odd, odd_line, script)
        for rubbish in (b"", b"\x80", b"\x00" * 40, b"GET / HTTP/1.1\r\n\r\n", bytes(60_000)):
            script.pair.rtp.sendto(rubbish, (HOST, script.our_ports[0]))
        odd.send((0, rtp(7, 7, IDR, ssrc=0xBAD)))  # nor what comes interleaved, that was not set up
        script.send(count=10)
        await watcher.packets(10)
        assert watcher.sources == {SSRC}
        assert watcher.sequence_steps == {1}


async def test_what_is_lost_delays_the_rest_by_a_moment_only(odd: ScriptedCamera, odd_line: Line) -> None:
    with closing((script := UdpScript()).pair):
        watcher = await watched(odd, odd_line, script)
        script.send()
        await watcher.packets(1)
        for _ in range(3):
            script.sent += 1  # never to arrive
            script.send(count=3)
            await watcher.packets(3)
        assert watcher.sequence_steps == {1, 2}


async def test_large_datagrams_come_through(odd: ScriptedCamera, odd_line: Line) -> None:
    # cameras that leave the cutting to IP
    with closing((script := UdpScript()).pair):
        watcher = await watched(odd, odd_line, script)
        script.pair.rtp.sendto(rtp(1, 1800, IDR + bytes(60_000)), (HOST, script.our_ports[0]))
        (packet,) = await watcher.packets(1)
        assert len(packet.payload) == 60_003


async def test_nobody_at_the_cameras_ports_is_silence(open_line: OpenLine, odd: ScriptedCamera) -> None:
    # the kernel tells of it by errors on our sockets
    line = open_line(Target(odd.url), silence_limit_s=0.4)
    line.patience.clear()
    script = UdpScript()
    script.pair.close()
    odd.script = lambda request: response(200) if request.method == "PLAY" else script.answer(request)
    with pytest.raises(CameraFailure):
        await line.watch()
    await line.waited(1)
    assert "TEARDOWN" in odd.methods()


@pytest.mark.parametrize(
    ("granted", "status"),
    [
        ("RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001", None),
        ("RTP/AVP/TCP;unicast;interleaved=0-1", None),
        (None, 461),
    ],
    ids=["multicast", "tcp-after-all", "nothing"],
)
async def test_what_is_not_taken_is_a_failure(
    odd: ScriptedCamera, odd_line: Line, granted: str | None, status: int | None
) -> None:
    # row 36
    def answer(request: Request) -> Response | None:
        if request.method != "SETUP":
            return None
        if "TCP" in (request.headers.get("Transport") or "") or granted is None:
            return response(461)
        return response(200, Headers([("Session", "1"), ("Transport", granted)]))

    odd.script = answer
    odd_line.patience.clear()
    with pytest.raises(CameraFailure) as failed:
        await odd_line.watch()
    assert failed.value.status == status
    assert odd.methods().count("SETUP") == 2


async def test_interleaved_by_another_name_is_interleaved(odd: ScriptedCamera, odd_line: Line) -> None:
    # cameras that leave out /TCP
    granted = Headers([("Session", "1"), ("Transport", "RTP/AVP;unicast;interleaved=0-1")])
    odd.script = lambda request: response(200, granted) if request.method == "SETUP" else None
    await (await odd_line.watch()).packets(3)
    assert odd.methods().count("SETUP") == 1


def report_of(ssrc: int, cname: str = "camera") -> bytes:
    return rtcp.sender_report(rtcp.SenderReport(ssrc, rtcp.ntp_timestamp(10**18), 77, 5, 500), cname)
