"""One session of the simulated recorder's replay: pictures on their turn, paced or as fast as they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from halfgateway.protocol.replay_header import ReplayHeader
from halfgateway.simulator.clips import FPS, Codec
from halfgateway.simulator.film import PICTURE, instant_of
from halfgateway.simulator.film_coder import Coder
from halfgateway.simulator.media_session import MediaCounters, Track
from halfgateway.simulator.packets import VIDEO_TICKS
from halfgateway.simulator.recorder_behaviour import RecorderBehaviour
from halfgateway.simulator.recordings import Shown

MAX_WAITING_BYTES: Final = 256 * 1024
"""What is held for a reader that does not read: past it nothing more is sent until it has read."""

LOOK_AGAIN_S: Final = 0.005
"""How often a reader that does not read is looked after, in seconds."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a PLAY has asked for: the pictures on their turn, and how they are sent.

    ``pace`` is recorded seconds a second, above 0, or None without rate control. ``cseq`` is that of the PLAY;
    ``with_times``: packets have the extension of ONVIF. ``ends_with_goodbye``: an RTCP BYE tells the end.
    """

    pictures: Iterator[Shown]
    pace: float | None
    cseq: int
    with_times: bool
    ends_with_goodbye: bool


class ReplaySending:
    """The tracks of one session, by codec, and the pictures of one order at a time."""

    def __init__(
        self,
        *,
        transport: asyncio.Transport,
        coders: Mapping[Codec, Coder],
        behaviour: RecorderBehaviour,
        counters: MediaCounters,
        now: Callable[[], datetime],
        cname: str,
    ) -> None:
        """``now`` is the time at which what is being recorded has arrived, in UTC."""
        self._transport = transport
        self._coders = coders
        self._behaviour = behaviour
        self._counters = counters
        self._now = now
        self._cname = cname
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._origin = 0
        self._ticks = 0
        self._sent = 0
        self.tracks: dict[Codec, Track] = {}
        self.next_frame: int | None = None
        """The picture after the last that was sent."""

    def play(self, order: Order, first: Shown) -> int:
        """Begin to send ``first`` and then the pictures of ``order``; return the first one's time in clock ticks."""
        self.stop()
        self._origin = self._ticks
        self.next_frame = first.frame
        self._task = self._loop.create_task(self._send(order, first))
        return self._ticks_of(order, first)

    def stop(self) -> None:
        """Send nothing more of what was ordered."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _ticks_of(self, order: Order, shown: Shown) -> int:
        """Play time with rate control, the time of filming without (ONVIF Streaming 6.5.2)."""
        if order.pace is None:
            return shown.frame * VIDEO_TICKS
        return self._origin + round(shown.elapsed * VIDEO_TICKS / order.pace)

    async def _send(self, order: Order, first: Shown) -> None:
        begun_s, skipped, before = self._loop.time(), 0, first
        shown: Shown | None = first
        while shown is not None:
            if self._behaviour.skips_gaps and shown.discontinuous and shown.frame > before.frame:
                skipped += shown.elapsed - before.elapsed - 1
            if order.pace is not None:
                due_s = begun_s + (shown.elapsed - skipped) / (FPS * order.pace)
                await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._until_it_can_be_sent(shown)
            if not self._show(order, shown, await self._unit(shown)):
                return
            before, shown = shown, next(order.pictures, None)
        if order.ends_with_goodbye:
            self._transport.write(b"".join(track.goodbye(self._cname) for track in self.tracks.values()))

    async def _until_it_can_be_sent(self, shown: Shown) -> None:
        await asyncio.sleep(0)
        while True:
            wait_s = self._wait_s(shown)
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    def _wait_s(self, shown: Shown) -> float:
        """How long to wait before looking again whether a picture is there, and whether its reader reads."""
        if self._behaviour.stalled or self._transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            return LOOK_AGAIN_S
        return (instant_of(shown.frame) + PICTURE - self._now()).total_seconds()

    async def _unit(self, shown: Shown) -> list[tuple[bytes, bool]]:
        coder = self._coders[shown.codec]
        if coder.is_ready(shown.frame):
            unit = coder.packets(shown.frame)
        else:
            unit = await asyncio.to_thread(coder.packets, shown.frame)
        return [(packet.payload, packet.marker) for packet in unit.packets]

    def _show(self, order: Order, shown: Shown, packets: list[tuple[bytes, bool]]) -> bool:
        """Write a picture; False where the recorder hangs up instead."""
        if self._behaviour.hangs_up_after is not None and self._sent >= self._behaviour.hangs_up_after:
            self._transport.abort()
            return False
        track = self.tracks[shown.codec]
        ticks = self._ticks_of(order, shown)
        extension = self._header(order, shown).pack() if order.with_times and self._behaviour.tells_times else b""
        pieces = []
        for payload, marker in packets:
            pieces.append(track.packet(payload, ticks, marker=marker, extension=extension))
            extension = b""
        self._transport.write(b"".join(pieces))
        self._counters.video_packets += len(packets)
        self._sent += 1
        self._ticks = ticks + VIDEO_TICKS if order.pace is not None else self._ticks
        self.next_frame = shown.frame + 1
        return True

    def _header(self, order: Order, shown: Shown) -> ReplayHeader:
        return ReplayHeader(
            at=instant_of(shown.frame) + timedelta(seconds=self._behaviour.clock_offset_s),
            clean=shown.clean,
            last=shown.last,
            discontinuous=shown.discontinuous,
            terminal=shown.terminal,
            cseq=order.cseq,
        )
