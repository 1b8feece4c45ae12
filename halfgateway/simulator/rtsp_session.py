"""RTSP as a simulated camera answers it: requests in, responses out, media on the same wire or by UDP.

One session a connection, as small cameras have it. Everything but OPTIONS wants Digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from camera_registry.clock import Clock
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, Response, response
from halfgateway.protocol.rtp_info import StreamInfo, rtp_info
from halfgateway.protocol.session import Session
from halfgateway.protocol.states import PUBLIC_METHODS, ServerState, allowed, next_server_state
from halfgateway.protocol.transport import Transport, parse_transports
from halfgateway.protocol.uri import RtspUri
from halfgateway.simulator.behaviour import Behaviour, LowerTransport
from halfgateway.simulator.camera_sdp import AUDIO_CONTROL, VIDEO_CONTROL, describe
from halfgateway.simulator.datagrams import DatagramWire
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import CameraIdentity
from halfgateway.simulator.media_session import MediaCounters, MediaSession, Wire
from halfgateway.simulator.packets import AUDIO_PER_FRAME, AUDIO_TICKS, VIDEO_TICKS, Clip
from halfgateway.simulator.player import Player

_SESSION_BYTES: Final = 8  # Short ids, as cameras have: the gateway must not expect better.
_REFUSED_METHODS: Final = frozenset({"DESCRIBE", "SETUP", "PLAY"})
_NEED_SESSION: Final = frozenset({"PLAY", "PAUSE", "TEARDOWN"})
_KEEP_ALIVES: Final = frozenset({"OPTIONS", "GET_PARAMETER"})


@dataclass(slots=True)
class RtspCounters:
    """What a camera was asked over RTSP: requests by method, set-ups of the audio track, connections."""

    requests: Counter[str] = field(default_factory=Counter)
    audio_setups: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class PlayedStream:
    """One of a camera's streams: its clip, and the clock by which all who watch it get it."""

    clip: Clip
    player: Player


class RtspDesk:
    """What all connections to one camera share; ``clips`` are what it plays, by path and query of their URLs."""

    def __init__(
        self,
        *,
        identity: CameraIdentity,
        clips: Mapping[str, Clip],
        behaviour: Behaviour,
        gate: DigestGate,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.identity = identity
        self.streams = {path: PlayedStream(clip, Player(clip)) for path, clip in clips.items()}
        self.behaviour = behaviour
        self.media_counters = MediaCounters()
        self.counters = RtspCounters()
        self.sessions: set[str] = set()
        self.gate = gate
        self._clock = clock
        self._random_bytes = random_bytes

    def refusal_of(self, request: Request) -> Response | None:
        """Return the 401 that a request earns, or None if its credentials are good."""
        challenges = self.gate.check(request.headers.get("Authorization"), request.method, request.uri)
        return unauthorised(challenges) if challenges else None

    def random_32(self) -> int:
        """Return 32 random bits."""
        return int.from_bytes(self._random_bytes(4), "big")

    def new_session_id(self) -> str:
        """Return a session id that no other session has."""
        return self._random_bytes(_SESSION_BYTES).hex().upper()

    def media_session(self, stream: PlayedStream, wire: Wire) -> MediaSession:
        """Return a session's media, not yet set up."""
        return MediaSession(
            clip=stream.clip,
            player=stream.player,
            wire=wire,
            behaviour=self.behaviour,
            counters=self.media_counters,
            unix_ns=self._unix_ns,
            random_32=self.random_32,
            cname=self.identity.serial,
        )

    def _unix_ns(self) -> int:
        return round((self._clock.now().timestamp() + self.behaviour.clock_offset_s) * 1e9)


class RtspDialogue:
    """One connection's requests and its one session, if it has set one up."""

    def __init__(self, desk: RtspDesk, wire: Wire, open_datagrams: Callable[[], DatagramWire]) -> None:
        """``open_datagrams`` gives the wire of a session that wants UDP, to the client of this connection."""
        self._desk = desk
        self._wire = wire
        self._open_datagrams = open_datagrams
        self._datagrams: DatagramWire | None = None
        self._session_id = ""
        self._state = ServerState.INIT
        self._media: MediaSession | None = None
        self._handlers: dict[str, Callable[[Request], Response]] = {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
        }

    @property
    def in_session(self) -> bool:
        """Whether there is a session, which a sign of life must keep."""
        return bool(self._session_id)

    def respond(self, request: Request) -> Response | None:
        """Answer a request; None if this camera is set to leave it unanswered."""
        self._desk.counters.requests[request.method] += 1
        if self.in_session and request.method in _KEEP_ALIVES and not self._desk.behaviour.answers_keep_alive:
            return None
        cseq = request.headers.get("CSeq")
        if cseq is None:
            return response(400)
        try:
            answer = self._answer(request)
        except RemoteProtocolError as error:
            answer = response(error.status)
            if error.status == 455:
                answer.headers.set("Allow", ", ".join(allowed(self._state)))
        answer.headers.set("CSeq", cseq)
        return answer

    def end(self) -> None:
        """End the session, if there is one."""
        if self._media is not None:
            self._media.stop()
        if self._datagrams is not None:
            self._datagrams.close()
        self._desk.sessions.discard(self._session_id)
        self._session_id, self._state, self._media, self._datagrams = "", ServerState.INIT, None, None

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return response(200, Headers([("Public", ", ".join(PUBLIC_METHODS))]))
        unproven = self._desk.refusal_of(request)
        if unproven is not None:
            return unproven
        refusal = self._desk.behaviour.rtsp_refusal
        if refusal is not None and request.method in _REFUSED_METHODS:
            answer = unauthorised(self._desk.gate.challenges()) if refusal.status == 401 else response(refusal.status)
            if refusal.retry_after_s is not None:
                answer.headers.set("Retry-After", str(refusal.retry_after_s))
            return answer
        if request.method in _NEED_SESSION and not self._names_session(request):
            return response(454)
        after = next_server_state(self._state, request.method)
        answer = self._handlers.get(request.method, self._parameters)(request)
        if answer.status == 200 and request.method != "TEARDOWN":
            self._state = after
        return answer

    def _names_session(self, request: Request) -> bool:
        header = request.headers.get("Session")
        return self.in_session and header is not None and Session.parse(header).id == self._session_id

    def _stream_and_track(self, uri: str) -> tuple[PlayedStream, str | None]:
        """Return the stream and track that a URL of this camera names, None for the whole; 404 for any other URL."""
        base, track = RtspUri.parse(uri).split_track()
        stream = self._desk.streams.get(base.path_and_query.rstrip("/"))
        if stream is None:
            raise RemoteProtocolError("no such stream", status=404)
        return stream, track

    def _describe(self, request: Request) -> Response:
        stream, _ = self._stream_and_track(request.uri)
        identity = self._desk.identity
        body = describe(
            stream.clip,
            name=identity.model,
            internal_address=identity.internal_address,
            session_id=self._desk.random_32(),
        )
        base = request.uri if request.uri.endswith("/") else f"{request.uri}/"
        return response(200, Headers([("Content-Type", "application/sdp"), ("Content-Base", base)]), body)

    def _setup(self, request: Request) -> Response:
        stream, track = self._stream_and_track(request.uri)
        if track is None and stream.clip.audio:
            return response(459)
        if track not in {None, VIDEO_CONTROL} and not (track == AUDIO_CONTROL and stream.clip.audio):
            return response(404)
        wanted = parse_transports(request.headers.get("Transport") or "")
        goes_on = self._names_session(request)
        transport = next((each for each in wanted if self._offers(each, goes_on=goes_on)), None)
        if transport is None:
            return response(461)
        if not goes_on:
            self.end()
            if len(self._desk.sessions) >= self._desk.behaviour.session_limit:
                return response(453)
            self._session_id = self._desk.new_session_id()
            self._desk.sessions.add(self._session_id)
            self._datagrams = self._open_datagrams() if transport.lower == LowerTransport.UDP else None
            self._media = self._desk.media_session(stream, self._datagrams or self._wire)
        granted = self._grant(transport, audio=track == AUDIO_CONTROL)
        headers = Headers([("Transport", str(granted)), ("Session", self._session_header())])
        return response(200, headers)

    def _offers(self, wanted: Transport, *, goes_on: bool) -> bool:
        """Whether this camera sends so, and to a session that goes on: all tracks of one go the same way."""
        if wanted.multicast or wanted.lower not in self._desk.behaviour.transports:
            return False
        by_udp = wanted.lower == LowerTransport.UDP
        if goes_on and by_udp != (self._datagrams is not None):
            return False
        return wanted.client_port is not None or not by_udp

    def _grant(self, wanted: Transport, *, audio: bool) -> Transport:
        channels = (2, 3) if audio else (0, 1)
        if self._datagrams is None or wanted.client_port is None:
            channels = wanted.interleaved or channels
            return Transport(lower="TCP", interleaved=channels, ssrc=self._set_up(channels[0], audio=audio))
        try:
            own_ports = self._datagrams.add(channels[0], wanted.client_port)
        except OSError as error:
            raise RemoteProtocolError("nothing can be sent there", status=461) from error
        return Transport(
            source=self._datagrams.own_host,
            client_port=wanted.client_port,
            server_port=own_ports,
            ssrc=self._set_up(channels[0], audio=audio),
        )

    def _set_up(self, channel: int, *, audio: bool) -> int:
        media = self._playable()
        if audio:
            self._desk.counters.audio_setups += 1
            return media.set_up_audio(channel).ssrc
        return media.set_up_video(channel).ssrc

    def _play(self, request: Request) -> Response:
        headers = Headers([("Session", self._session_header()), ("Range", "npt=0.000-")])
        if self._state is ServerState.READY:
            media = self._playable()
            frame = media.play()
            base = request.uri.rstrip("/")
            tracks = (
                (VIDEO_CONTROL, media.video, frame * VIDEO_TICKS),
                (AUDIO_CONTROL, media.audio, frame * AUDIO_PER_FRAME * AUDIO_TICKS),
            )
            first_packets = [
                StreamInfo(f"{base}/{control}", track.sequence, track.timestamp(ticks))
                for control, track, ticks in tracks
                if track is not None
            ]
            headers.set("RTP-Info", rtp_info(first_packets))
        return response(200, headers)

    def _pause(self, request: Request) -> Response:
        self._playable().stop()
        return response(200, Headers([("Session", self._session_header())]))

    def _teardown(self, request: Request) -> Response:
        self.end()
        return response(200)

    def _parameters(self, request: Request) -> Response:
        """GET_PARAMETER and SET_PARAMETER without parameters are signs of life; this camera has none to give."""
        return response(451) if request.body.strip() else response(200)

    def _playable(self) -> MediaSession:
        if self._media is None:
            raise RemoteProtocolError("no session", status=454)
        return self._media

    def _session_header(self) -> str:
        return str(Session(self._session_id, round(self._desk.behaviour.session_timeout_s)))


def unauthorised(challenges: tuple[str, ...]) -> Response:
    """Return a 401 with these challenges."""
    return response(401, Headers([("WWW-Authenticate", value) for value in challenges]))
