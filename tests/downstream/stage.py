"""An RTSP server on a free port, behind which stands a door that the test holds in its hands."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from halfgateway.downstream.answers import REALM, RtspAnswers
from halfgateway.downstream.connection import FIRST_REQUEST_TIMEOUT_S, IDLE_TIMEOUT_S
from halfgateway.downstream.door import Caller, StreamPath, Viewer
from halfgateway.downstream.server import MAX_CONNECTIONS, RtspServer
from halfgateway.downstream.transports import UdpService
from halfgateway.errors import CapReached, InterconnectionCut, Refusal, UnknownCamera
from halfgateway.net.listener import Balancers
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.digest import Algorithm, DigestVerifier, Secrets, ha1
from halfgateway.relay.gop import Opening
from halfgateway.relay.reader import Gate, Reader
from halfgateway.relay.source import Source, SourceKey, VideoFormat
from tests.raw_player import Credentials, RawPlayer
from tests.relay.packets import IDR, chunk, rtp, sender_report

CAMERA = "cam-1"
PATH = f"/live/{CAMERA}"
VIEWER = Credentials("viewer", "a secret of letters")
STRANGER = Credentials("viewer", "another secret")
OTHER = Credentials("other", "a secret of its own")
SDP = b"v=0\r\ns=-\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
NONCE_LIFE_S = 300.0
SSRC = 0x11223344


@dataclass
class Clocks:
    """Wall and monotonic time in seconds, as the test sets them."""

    wall_s: float = 1_800_000_000.0
    monotonic_s: float = 1000.0


class StageSeat:
    """A seat that notes what is done with it; media comes from the stage's one source."""

    def __init__(self, door: StageDoor, viewer: Viewer) -> None:
        self.viewer = viewer
        self.done: list[str] = []
        self.gate = Gate(math.inf)
        self._door = door
        self.reader: Reader | None = None

    async def start(self) -> None:
        self.done.append("start")
        self._door.on_start()
        if self._door.refuses_start is not None:
            raise self._door.refuses_start

    def opening(self) -> Opening | None:
        return self._door.source.opening() if self._door.opens_at_once else None

    def flow(self, reader: Reader, opening: Opening | None) -> None:
        self.done.append("flow")
        self.reader = reader
        if opening is not None:
            reader.open(opening)
        self._door.source.attach(reader, self.end)

    async def pause(self) -> None:
        self.done.append("pause")
        self._stop()

    async def leave(self) -> None:
        self.done.append("leave")
        self._stop()
        if not self._door.may_leave.is_set():
            await self._door.may_leave.wait()
            self.done.append("left")

    def lose(self) -> None:
        self.done.append("lose")
        self._stop()

    def dismiss(self, cause: Refusal) -> None:
        self.done.append(cause.code)
        self.lose()
        self.viewer.end(cause)

    def end(self, cause: Refusal) -> None:
        """End the viewer as the door does: gate, flow, then the connection."""
        self.gate.close()
        self._stop()
        self.viewer.end(cause)

    def _stop(self) -> None:
        if self.reader is not None:
            self._door.source.detach(self.reader)


@dataclass
class StageDoor:
    """Lets two names in, to one camera, for at most ``cap`` seats that were not left."""

    source: Source
    cap: int = 10
    refuses: Refusal | None = None
    refuses_start: Exception | None = None
    on_start: Callable[[], None] = lambda: None
    seats: list[StageSeat] = field(default_factory=list)
    noted: list[tuple[str, ...]] = field(default_factory=list)
    described: int = 0
    looked_up: int = 0
    may_leave: asyncio.Event = field(default_factory=asyncio.Event)
    opens_at_once: bool = False

    def __post_init__(self) -> None:
        self.may_leave.set()

    async def take_replay_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> NoReturn:
        raise UnknownCamera

    def secrets(self, username: str) -> Secrets | None:
        known = {each.username: each.password for each in (VIEWER, OTHER)}
        if username not in known:
            return None
        md5, sha256 = (ha1(username, REALM, known[username], each) for each in (Algorithm.MD5, Algorithm.SHA256))
        return Secrets(md5=md5, sha256=sha256)

    def wrong_credentials(self, username: str, source: str, *, of_another_resource: bool = False) -> None:
        self.noted.append(("wrong-credentials", username, source))

    def refused_action(self, caller: Caller, action: str, path: str) -> None:
        self.noted.append(("refused-action", caller.username, action, path))

    def refuse_while_closed(self, caller: Caller, path: StreamPath) -> None:
        if isinstance(self.refuses, InterconnectionCut):
            raise self.refuses

    async def describe(self, caller: Caller, path: StreamPath) -> bytes:
        self._check(path)
        self.described += 1
        return SDP

    async def take_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> StageSeat:
        self._check(path)
        if self.occupied >= self.cap:
            raise CapReached("Nombre maximal de Flux atteint.", retry_after_s=7)
        await viewer.choose_transport(self.source)
        seat = StageSeat(self, viewer)
        self.seats.append(seat)
        return seat

    @property
    def occupied(self) -> int:
        return sum(not {"leave", "lose"} & set(seat.done) for seat in self.seats)

    def _check(self, path: StreamPath) -> None:
        self.looked_up += 1
        if self.refuses is not None:
            raise self.refuses
        if path.camera != CAMERA:
            raise UnknownCamera("Caméra inconnue.")


class Stage:
    """The server, its door, its clocks, and a camera that sends one packet when told."""

    def __init__(
        self,
        *,
        first_request_timeout_s: float = FIRST_REQUEST_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        max_connections: int = MAX_CONNECTIONS,
        host: str = "127.0.0.1",
        udp: UdpService | None = None,
        rtsp_over_http: bool = False,
        balancers: Balancers | None = None,
    ) -> None:
        self.host = host
        self.balancers = balancers
        self.clocks = Clocks()
        self.source = Source(SourceKey(CAMERA, "main"), now=self._now)
        self.source.prepare(VideoFormat(Codec.H264, 90_000))
        self.source.begin()
        self.door = StageDoor(self.source)
        verifier = DigestVerifier(REALM, b"k" * 32, NONCE_LIFE_S)
        answers = RtspAnswers(self.door, verifier, now_s=lambda: self.clocks.wall_s, udp=udp)
        self.server = RtspServer(
            answers,
            now=self._now,
            first_request_timeout_s=first_request_timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_connections=max_connections,
            rtsp_over_http=rtsp_over_http,
        )
        self.port = 0
        self.sent = 0

    async def open(self) -> None:
        self.port = await self.server.listen(self.host, 0, balancers=self.balancers)

    def player(self, credentials: Credentials | None = VIEWER, *, receive_buffer_bytes: int | None = None) -> RawPlayer:
        return RawPlayer(self.host, self.port, credentials, receive_buffer_bytes=receive_buffer_bytes)

    def send(self, size_bytes: int = 100) -> bytes:
        """One whole key picture in one packet, to every reader; its payload has ``size_bytes``. Returns the packet."""
        packet = rtp(self.sent & 0xFFFF, self.sent * 3600, IDR.ljust(size_bytes, b"\x5a"), ssrc=SSRC)
        self.sent += 1
        self.source.feed(chunk((0, packet)))
        return packet

    def send_report(self) -> bytes:
        """One RTCP sender report, to every reader; returns it."""
        report = sender_report(SSRC, self.sent * 3600)
        self.source.feed(chunk((1, report)))
        return report

    def _now(self) -> float:
        return self.clocks.monotonic_s
