"""RTSP as the simulated recorder answers it: ONVIF's replay (Streaming 6), and the makers' plain one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from camera_registry.clock import Clock
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, Response, response
from halfgateway.protocol.ranges import ClockRange, parse_range
from halfgateway.protocol.replay import FEATURE, FrameKind, PlayOptions, play_options
from halfgateway.protocol.rtp_info import StreamInfo, rtp_info
from halfgateway.protocol.states import ServerState
from halfgateway.protocol.transport import Transport, parse_transports
from halfgateway.protocol.uri import RtspUri
from halfgateway.simulator.behaviour import LowerTransport
from halfgateway.simulator.clips import AUDIO_RATE_HZ, Codec
from halfgateway.simulator.datagrams import DatagramWire
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.film import frame_at, instant_of
from halfgateway.simulator.film_coder import Coder
from halfgateway.simulator.identity import DeviceIdentity
from halfgateway.simulator.media_session import Track
from halfgateway.simulator.packets import AUDIO_PAYLOAD_TYPE, VIDEO_CLOCK_HZ, VIDEO_PAYLOAD_TYPE
from halfgateway.simulator.recorder_behaviour import RecorderBehaviour
from halfgateway.simulator.recordings import Recording, Shown, Stretch, backward, forward, step_of
from halfgateway.simulator.replay_resource import Resource, moved, resource_of
from halfgateway.simulator.replay_sdp import audio_control, describe, video_control
from halfgateway.simulator.replay_sending import Order, ReplaySending
from halfgateway.simulator.rtsp_dialogue import Desk, Dialogue

_RANGE_IS_WRONG: Final = 457


class ReplayDesk(Desk):
    """What all RTSP connections to one recorder share; ``recordings`` by their tokens."""

    def __init__(
        self,
        *,
        identity: DeviceIdentity,
        recordings: Sequence[Recording],
        coders: Mapping[Codec, Coder],
        behaviour: RecorderBehaviour,
        gate: DigestGate,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(identity=identity, behaviour=behaviour, gate=gate, clock=clock, random_bytes=random_bytes)
        self.knobs = behaviour
        self.coders = coders
        self._recordings = {recording.token: recording for recording in recordings}

    def dialogue(self, transport: asyncio.Transport, open_datagrams: Callable[[], DatagramWire]) -> ReplayDialogue:
        """What answers a new connection; a recorder sends nothing in datagrams."""
        return ReplayDialogue(self, transport)

    def resource(self, uri: RtspUri) -> Resource:
        """What a URL names, in true time. Raises RemoteProtocolError (404, 400)."""
        return moved(resource_of(uri, self._recordings), -self.offset)

    @property
    def offset(self) -> timedelta:
        """How far the recorder's clock is ahead of the true one."""
        return timedelta(seconds=self.knobs.clock_offset_s)

    def now(self) -> datetime:
        """The true time, in UTC."""
        return self._clock.now().astimezone(UTC)

    def sending(self, transport: asyncio.Transport) -> ReplaySending:
        """A session's media, not yet set up."""
        return ReplaySending(
            transport=transport,
            coders=self.coders,
            behaviour=self.knobs,
            counters=self.media_counters,
            now=self.now,
            cname=self.identity.serial,
        )


class ReplayDialogue(Dialogue[ReplayDesk]):
    """One connection's requests and its one session, if it has set one up."""

    def __init__(self, desk: ReplayDesk, transport: asyncio.Transport) -> None:
        super().__init__(desk)
        self._transport = transport
        self._media: ReplaySending | None = None
        self._requires_replay = False

    @property
    def _handlers(self) -> Mapping[str, Callable[[Request], Response]]:
        return {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
        }

    def respond(self, request: Request) -> Response | None:
        """Answer a request; None if this recorder is set to leave it unanswered."""
        return None if self._desk.knobs.silent else super().respond(request)

    def end(self) -> None:
        """End the session, if there is one."""
        if self._media is not None:
            self._media.stop()
        self._media, self._requires_replay = None, False
        self._end_session()

    def _answer(self, request: Request) -> Response:
        known = {FEATURE} if self._desk.knobs.knows_replay else set()
        required = {tag.strip() for value in request.headers.get_all("Require") for tag in value.split(",")}
        if required - known:
            return response(551, Headers([("Unsupported", ", ".join(sorted(required - known)))]))
        return super()._answer(request)

    def _describe(self, request: Request) -> Response:
        resource, _ = self._resource_and_track(request.uri)
        identity = self._desk.identity
        body = describe(
            [self._desk.coders[codec] for codec in _codecs(resource)],
            name=resource.recording.name,
            internal_address=identity.internal_address,
            session_id=self._desk.random_32(),
            with_audio=self._desk.knobs.announces_audio,
        )
        base = request.uri if request.uri.endswith("/") else f"{request.uri}/"
        return response(200, Headers([("Content-Type", "application/sdp"), ("Content-Base", base)]), body)

    def _resource_and_track(self, uri: str) -> tuple[Resource, str | None]:
        base, track = RtspUri.parse(uri).split_track()
        resource = self._desk.resource(base)
        if not _codecs(resource):
            raise RemoteProtocolError("nothing is recorded", status=404)
        return resource, track

    def _setup(self, request: Request) -> Response:
        resource, control = self._resource_and_track(request.uri)
        codecs = _codecs(resource)
        controls = [video_control(number) for number in range(len(codecs))]
        if self._desk.knobs.announces_audio:
            controls.append(audio_control(len(codecs)))
        if control is None and len(controls) > 1:
            return response(459)
        if control is not None and control not in controls:
            return response(404)
        wanted = parse_transports(request.headers.get("Transport") or "")
        transport = next((each for each in wanted if self._offers(each)), None)
        if transport is None:
            return response(461)
        if not self._names_session(request):
            if not self._begin_session():
                return response(453)
            self._media = self._desk.sending(self._transport)
        self._requires_replay |= "Require" in request.headers
        number = 0 if control is None else controls.index(control)
        channels = transport.interleaved or (2 * number, 2 * number + 1)
        track = self._set_up(codecs[number] if number < len(codecs) else None, channels[0])
        granted = Transport(lower="TCP", interleaved=channels, ssrc=track.ssrc)
        return response(200, Headers([("Transport", str(granted)), ("Session", self._session_header())]))

    def _offers(self, wanted: Transport) -> bool:
        return not wanted.multicast and wanted.lower == LowerTransport.TCP

    def _set_up(self, codec: Codec | None, channel: int) -> Track:
        """Give a track its channel; that of sound, which has no codec here, is never sent on."""
        if codec is None:
            self._desk.counters.audio_setups += 1
            return self._track(channel, AUDIO_PAYLOAD_TYPE, AUDIO_RATE_HZ)
        track = self._playable().tracks[codec] = self._track(channel, VIDEO_PAYLOAD_TYPE, VIDEO_CLOCK_HZ)
        return track

    def _track(self, channel: int, payload_type: int, clock_hz: int) -> Track:
        return Track(channel=channel, payload_type=payload_type, clock_hz=clock_hz, random_32=self._desk.random_32)

    def _play(self, request: Request) -> Response:
        media = self._playable()
        resource, _ = self._resource_and_track(request.uri)
        headers = Headers([("Session", self._session_header())])
        if self._state is ServerState.PLAYING and "Range" not in request.headers:
            return response(200, headers)
        options = PlayOptions() if resource.is_makers else play_options(request.headers)
        start, end = self._asked(request, resource, media)
        pictures = self._pictures(resource.recording.of(media.tracks), start, end, options)
        first = next(pictures, None)
        if first is None:
            raise RemoteProtocolError("nothing is recorded there", status=_RANGE_IS_WRONG)
        order = Order(
            pictures,
            pace=abs(options.scale) if options.rate_control else None,
            cseq=int(request.headers.get("CSeq") or 0),
            with_times=not resource.is_makers and (self._requires_replay or "Require" in request.headers),
            ends_with_goodbye=resource.is_makers,
        )
        ticks = media.play(order, first)
        track = media.tracks[first.codec]
        number = _codecs(resource).index(first.codec)
        url = f"{request.uri.rstrip('/')}/{video_control(number)}"
        headers.set("RTP-Info", rtp_info([StreamInfo(url, track.sequence, track.timestamp(ticks))]))
        headers.set("Range", "npt=0.000-" if resource.is_makers else str(self._told(first, start, end, options)))
        if options.scale != 1.0:
            headers.set("Scale", f"{options.scale:g}")
        return response(200, headers)

    def _asked(
        self, request: Request, resource: Resource, media: ReplaySending
    ) -> tuple[datetime | None, datetime | None]:
        """From when to when is to be played, in true time; None is the beginning, or without an end."""
        paused = None if media.next_frame is None else instant_of(media.next_frame)
        if resource.is_makers:
            return paused or resource.start, resource.end
        asked = request.headers.get("Range")
        wanted = None if asked is None else parse_range(asked)
        if isinstance(wanted, ClockRange):
            end = None if wanted.end is None else wanted.end - self._desk.offset
            return wanted.start - self._desk.offset, end
        return paused, None

    def _pictures(
        self, stretches: Sequence[Stretch], start: datetime | None, end: datetime | None, options: PlayOptions
    ) -> Iterator[Shown]:
        step = step_of(options.frames.interval_ms) if options.frames.kind is FrameKind.INTRA else 1
        now = self._desk.now()
        backwards = options.scale < 0
        if start is not None and end is not None and backwards != (end < start):
            raise RemoteProtocolError("the range runs the other way", status=_RANGE_IS_WRONG)
        if backwards:
            if not self._desk.knobs.reverses:
                raise RemoteProtocolError("nothing is played in reverse", status=_RANGE_IS_WRONG)
            latest = min(start or now, now)
            return backward(stretches, frame_at(latest), None if end is None else frame_at(end), step=step)
        if start is not None and start > now:
            raise RemoteProtocolError("that is yet to come", status=_RANGE_IS_WRONG)
        first = frame_at(start) if start is not None else min((each.first for each in stretches), default=0)
        return forward(stretches, first, None if end is None else _first_from(end), step=step)

    def _told(self, first: Shown, start: datetime | None, end: datetime | None, options: PlayOptions) -> ClockRange:
        """What is played, by the recorder's clock."""
        begins = start if options.scale < 0 and start is not None else instant_of(first.frame)
        return ClockRange(begins + self._desk.offset, None if end is None else end + self._desk.offset)

    def _pause(self, request: Request) -> Response:
        self._playable().stop()
        return response(200, Headers([("Session", self._session_header())]))

    def _teardown(self, request: Request) -> Response:
        self.end()
        return response(200)

    def _playable(self) -> ReplaySending:
        if self._media is None:
            raise RemoteProtocolError("no session", status=454)
        return self._media


def _codecs(resource: Resource) -> tuple[Codec, ...]:
    """Its tracks: by a maker's URL the one of the instant that it names."""
    if resource.start is None:
        return resource.recording.codecs
    codec = resource.recording.codec_at(resource.start)
    return () if codec is None else (codec,)


def _first_from(instant: datetime) -> int:
    """The number of the first picture that is filmed at an instant or after it."""
    number = frame_at(instant)
    return number if instant_of(number) == instant else number + 1
