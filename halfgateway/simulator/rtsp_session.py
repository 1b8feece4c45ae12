"""RTSP as a simulated camera answers it: requests in, responses out, media on the same wire or by UDP.

One session a connection, as small cameras have it. Everything but OPTIONS wants Digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from camera_registry.clock import Clock
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, Response, response
from halfgateway.protocol.rtp_info import StreamInfo, rtp_info
from halfgateway.protocol.states import ServerState
from halfgateway.protocol.transport import Transport, parse_transports
from halfgateway.protocol.uri import RtspUri
from halfgateway.simulator.behaviour import Behaviour, LowerTransport
from halfgateway.simulator.camera_sdp import AUDIO_CONTROL, VIDEO_CONTROL, describe
from halfgateway.simulator.datagrams import DatagramWire
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import CameraIdentity
from halfgateway.simulator.media_session import MediaSession, Wire
from halfgateway.simulator.packets import AUDIO_PER_FRAME, AUDIO_TICKS, VIDEO_TICKS, Clip
from halfgateway.simulator.player import Player
from halfgateway.simulator.rtsp_dialogue import Desk, Dialogue


@dataclass(frozen=True, slots=True)
class PlayedStream:
    """One of a camera's streams: its clip, and the clock by which all who watch it get it."""

    clip: Clip
    player: Player


class RtspDesk(Desk):
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
        super().__init__(identity=identity, behaviour=behaviour, gate=gate, clock=clock, random_bytes=random_bytes)
        self.streams = {path: PlayedStream(clip, Player(clip)) for path, clip in clips.items()}

    def dialogue(self, transport: asyncio.Transport, open_datagrams: Callable[[], DatagramWire]) -> RtspDialogue:
        """What answers a new connection."""
        return RtspDialogue(self, transport, open_datagrams)

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


class RtspDialogue(Dialogue[RtspDesk]):
    """One connection's requests and its one session, if it has set one up."""

    def __init__(self, desk: RtspDesk, wire: Wire, open_datagrams: Callable[[], DatagramWire]) -> None:
        """``open_datagrams`` gives the wire of a session that wants UDP, to the client of this connection."""
        super().__init__(desk)
        self._wire = wire
        self._open_datagrams = open_datagrams
        self._datagrams: DatagramWire | None = None
        self._media: MediaSession | None = None

    @property
    def _handlers(self) -> Mapping[str, Callable[[Request], Response]]:
        return {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
        }

    def end(self) -> None:
        """End the session, if there is one."""
        if self._media is not None:
            self._media.stop()
        if self._datagrams is not None:
            self._datagrams.close()
        self._media, self._datagrams = None, None
        self._end_session()

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
            if not self._begin_session():
                return response(453)
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

    def _playable(self) -> MediaSession:
        if self._media is None:
            raise RemoteProtocolError("no session", status=454)
        return self._media
