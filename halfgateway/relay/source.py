"""One camera profile being pulled, and the readers that share the pull."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from halfgateway.errors import CameraUnreachable, Refusal, RemoteProtocolError
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.keyframe import KeyframeFinder
from halfgateway.protocol.rtp import RtpView, is_rtp
from halfgateway.relay.chunk import INTERLEAVED_HEADER_BYTES, RTP_CHANNEL, Chunk, Frame
from halfgateway.relay.continuity import Continuity
from halfgateway.relay.gop import GroupOfPictures, Opening
from halfgateway.relay.packet_sizes import LargestPacket
from halfgateway.relay.reader import Reader


@dataclass(frozen=True, slots=True)
class SourceKey:
    """One profile of one camera: what a node pulls at most once."""

    camera: str
    profile: str


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What a pull delivers: the codec and the rate of its RTP clock in hertz."""

    codec: Codec
    clock_rate_hz: int


class SourceState(StrEnum):
    """Where a pull stands."""

    CONNECTING = "connecting"
    LIVE = "live"
    INTERRUPTED = "interrupted"


class Source:
    """The one owner of a camera profile's packets, between its pull and its readers.

    The pull calls :meth:`prepare`, :meth:`begin`, :meth:`feed` and :meth:`interrupt`; seats attach and detach
    their readers.
    """

    def __init__(
        self, key: SourceKey, *, now: Callable[[], float], largest_packet: LargestPacket | None = None
    ) -> None:
        self.key = key
        self.largest_packet = largest_packet or LargestPacket(now=now)
        self.state = SourceState.CONNECTING
        self.cause: Refusal | None = None
        self.interrupted_at_s: float | None = now()
        self.received_bytes = 0
        self.received_packets = 0
        self._now = now
        self._readers: dict[Reader, Callable[[Refusal], None]] = {}
        self._format: VideoFormat | None = None
        self._finder: KeyframeFinder | None = None
        self._continuity: Continuity | None = None
        self._gop: GroupOfPictures | None = None
        self._changed = asyncio.Event()

    @property
    def readers(self) -> int:
        """How many readers share this pull."""
        return len(self._readers)

    def opening(self) -> Opening | None:
        """What a reader that is attached now can begin with; None where it begins at the next keyframe."""
        return self._gop.opening() if self._gop is not None else None

    @property
    def ssrc(self) -> int | None:
        """The synchronisation source of every packet that readers are given, once the first has come."""
        return self._continuity.ssrc if self._continuity is not None else None

    def attach(self, reader: Reader, on_end: Callable[[Refusal], None]) -> None:
        """Let ``reader`` share the pull; ``on_end`` is called once if the camera is given up."""
        self._readers[reader] = on_end

    def detach(self, reader: Reader) -> None:
        """Let ``reader`` go; one that is not attached is let go too."""
        self._readers.pop(reader, None)

    def prepare(self, video: VideoFormat) -> None:
        """The camera is about to play, for the first time or again: packets may come before it says so."""
        if self._format != video or self._continuity is None:
            self._continuity = Continuity(video.clock_rate_hz)
        else:
            self._continuity.reconnected()
        self._format = video
        self._finder = KeyframeFinder(video.codec)
        self._gop = GroupOfPictures(video.clock_rate_hz)
        for reader in self._readers:
            reader.restart()

    def begin(self) -> None:
        """The camera plays."""
        self._become(SourceState.LIVE, None)

    def interrupt(self, cause: Refusal) -> None:
        """The camera does not play; the pull goes on trying."""
        if self.interrupted_at_s is None:
            self.interrupted_at_s = self._now()
        self._become(SourceState.INTERRUPTED, cause)

    def give_up(self) -> None:
        """End every reader: the camera has been lost for longer than they are held."""
        cause = self.cause or CameraUnreachable()
        readers, self._readers = self._readers, {}
        for on_end in readers.values():
            on_end(cause)

    async def live(self) -> None:
        """Return once the camera plays.

        Raises the pull's own cause (:class:`CameraUnreachable`) as soon as an attempt has failed.
        """
        while self.state is not SourceState.LIVE:
            if self.state is SourceState.INTERRUPTED:
                raise (self.cause or CameraUnreachable()).with_traceback(None)
            await self._changed.wait()

    def feed(self, data: bytes, frames: Sequence[Frame]) -> None:
        """Hand a run of whole frames (channels 0 and 1 only) to every reader; it is scanned once."""
        if self._finder is None or self._continuity is None or self._gop is None:
            return
        now = self._now()
        data = self._continuity.apply(data, frames, now)
        if self._continuity.awaits_packet:  # a report of the camera's new numbers would tell of another stream
            return
        chunk = Chunk(data, tuple(frames), self._first_keyframe(self._finder, self._gop, data, frames))
        self._gop.add(chunk, now)
        self.largest_packet.note(chunk)
        self.received_bytes += len(data)
        self.received_packets += chunk.packets_from(0)
        for reader in tuple(self._readers):
            reader.deliver(chunk)

    def _first_keyframe(
        self, finder: KeyframeFinder, gop: GroupOfPictures, data: bytes, frames: Sequence[Frame]
    ) -> int | None:
        """Which frame first lets a decoder start; every packet is shown to the finder, in order."""
        first: int | None = None
        view = memoryview(data)
        for index, (channel, start, end) in enumerate(frames):
            if channel != RTP_CHANNEL or not is_rtp(view, start + INTERLEAVED_HEADER_BYTES, end):
                continue
            try:
                packet = RtpView(view[start + INTERLEAVED_HEADER_BYTES : end])
            except RemoteProtocolError:
                continue
            starts = finder.feed(packet.payload, packet.timestamp, packet.marker)
            if starts and first is None:
                first = index
            elif finder.false_start:
                first = None
                gop.forget()
        return first

    def _become(self, state: SourceState, cause: Refusal | None) -> None:
        self.state = state
        self.cause = cause
        if state is SourceState.LIVE:
            self.interrupted_at_s = None
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
