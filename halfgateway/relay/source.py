"""One camera profile being pulled, and the readers that share the pull."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from halfgateway.errors import CameraUnreachable, Refusal
from halfgateway.protocol import rtp
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES
from halfgateway.protocol.keyframe import KeyframeFinder
from halfgateway.relay.chunk import Chunk
from halfgateway.relay.continuity import Continuity
from halfgateway.relay.gop import GroupOfPictures, Opening
from halfgateway.relay.packet_sizes import LargestPacket
from halfgateway.relay.reader import Reader, TooSlow
from halfgateway.relay.reports import Reports

log = logging.getLogger(__name__)

SLOW_READERS_TOLD_EVERY_S = 1.0
"""Seconds between two lines of log about the slow readers of one camera."""


@dataclass(frozen=True, slots=True)
class SourceKey:
    """One profile of one camera: what a node pulls at most once."""

    camera: str
    profile: str


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What a pull delivers: the codec, the rate of its RTP clock in hertz, and the payload types that are its own.

    Packets of other payload types on its channel are not relayed; none named: all are.
    """

    codec: Codec
    clock_rate_hz: int
    payload_types: frozenset[int] = frozenset()


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
        self,
        key: SourceKey,
        *,
        now: Callable[[], float],
        wall_ns: Callable[[], int] = time.time_ns,
        largest_packet: LargestPacket | None = None,
        keyframe_wanted: Callable[[], None] = lambda: None,
    ) -> None:
        self.key = key
        self.largest_packet = largest_packet or LargestPacket(now=now)
        self.state = SourceState.CONNECTING
        self.cause: Refusal | None = None
        self.interrupted_at_s: float | None = now()
        self.received_packets = 0
        self._now = now
        self._keyframe_wanted = keyframe_wanted
        self._readers: dict[Reader, Callable[[Refusal], None]] = {}
        self._format: VideoFormat | None = None
        self._finder: KeyframeFinder | None = None
        self._continuity: Continuity | None = None
        self._gop: GroupOfPictures | None = None
        self._lost_told = 0
        self._told_at_s = -math.inf
        self._reports = Reports(key.camera, wall_ns=wall_ns)
        self._changed = asyncio.Event()

    @property
    def readers(self) -> int:
        """How many readers share this pull."""
        return len(self._readers)

    def opening(self) -> Opening | None:
        """What a reader that is attached now can begin with; None where it begins at the next keyframe."""
        return self._gop.opening() if self._gop is not None else None

    @property
    def clock_offset_s(self) -> float | None:
        """How far the camera's clock is ahead of ours, by its last sender report; None if it never sent one."""
        return self._reports.clock_offset_s

    @property
    def ssrc(self) -> int | None:
        """The synchronisation source of every packet that readers are given, once the first has come."""
        return self._continuity.ssrc if self._continuity is not None else None

    def attach(self, reader: Reader, on_end: Callable[[Refusal], None]) -> None:
        """Let ``reader`` share the pull; ``on_end`` is called once if the camera is given up."""
        self._readers[reader] = on_end
        self._reports.joined()
        if reader.waits_for_keyframe:
            self._keyframe_wanted()

    def detach(self, reader: Reader) -> None:
        """Let ``reader`` go; one that is not attached is let go too."""
        if self._readers.pop(reader, None) is not None:
            self._lost_told = max(0, self._lost_told - reader.lost_packets)

    def prepare(self, video: VideoFormat) -> None:
        """The camera is about to play, for the first time or again: packets may come before it says so."""
        if self._format != video or self._continuity is None:
            self._continuity = Continuity(video.clock_rate_hz, video.payload_types)
        else:
            self._continuity.reconnected()
        self._format = video
        self._finder = KeyframeFinder(video.codec)
        self._gop = GroupOfPictures(video.clock_rate_hz)
        self._reports.connected(video.clock_rate_hz)
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

    def end_the_stuck(self, limit_s: float) -> None:
        """End readers that have taken nothing for ``limit_s``, and tell what slow ones lost, once a second at most."""
        now = self._now()
        for reader, on_end in tuple(self._readers.items()):
            if reader.stuck_s(now) >= limit_s:
                self.detach(reader)
                on_end(TooSlow(f"Le lecteur n'a rien pris depuis {limit_s:.0f} secondes."))
        lost = sum(reader.lost_packets for reader in self._readers)
        if lost > self._lost_told and now - self._told_at_s >= SLOW_READERS_TOLD_EVERY_S:
            log.info("readers.slow camera=%s lost_packets=%d", self.key.camera, lost - self._lost_told)
            self._told_at_s = now
            self._lost_told = lost

    async def live(self) -> None:
        """Return once the camera plays.

        Raises the pull's own cause (:class:`CameraUnreachable`) as soon as an attempt has failed.
        """
        while self.state is not SourceState.LIVE:
            if self.state is SourceState.INTERRUPTED:
                raise (self.cause or CameraUnreachable()).with_traceback(None)
            await self._changed.wait()

    def feed(self, chunk: Chunk) -> None:
        """Hand a run of whole frames (channels 0 and 1 only) to every reader."""
        if self._finder is None or self._continuity is None or self._gop is None:
            return
        now = self._now()
        chunk = self._continuity.apply(chunk, now)
        if not chunk.data:
            return
        self.received_packets += chunk.packets
        chunk.keyframe = self._first_keyframe(self._finder, self._gop, chunk)
        chunk = self._reports.apply(chunk, self._continuity.ssrc, now)
        self._gop.add(chunk, now)
        self.largest_packet.note(chunk)
        for reader in tuple(self._readers):
            reader.deliver(chunk)

    def _first_keyframe(self, finder: KeyframeFinder, gop: GroupOfPictures, chunk: Chunk) -> int | None:
        """Which frame first lets a decoder start; the finder is shown what it need see, in order."""
        first: int | None = None
        for stretch in chunk.video:
            timestamp, marker = stretch.timestamp, stretch.marker
            for index in range(stretch.first, stretch.after):
                if timestamp == finder.settled_timestamp and not marker:
                    break  # the rest of a picture that has begun: most packets
                begin, end = chunk.batch.bounds(index)
                payload, payload_end = rtp.payload_bounds(chunk.data, begin + FRAME_HEADER_BYTES, end)
                if finder.feed(chunk.data, timestamp, marker, start=payload, end=payload_end):
                    first = index if first is None else first
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
