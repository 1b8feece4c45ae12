"""One RTSP session's place in a stream: between the door, the hub and the trace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from auth.trace import Kind
from halfgateway.control.closing import Closer
from halfgateway.control.endings import NotPlayed, NotResumed, PausedTooLong
from halfgateway.control.streams import Stream, StreamTable, Timings, Traffic
from halfgateway.control.terms import Terms
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.door import EndOfTransmission, Viewer
from halfgateway.errors import Refusal
from halfgateway.relay.gop import Opening
from halfgateway.relay.hub import Hub
from halfgateway.relay.reader import Gate, Reader
from halfgateway.relay.source import Source


@dataclass(frozen=True, slots=True)
class House:
    """What every seat needs. ``now`` is the monotonic clock in seconds."""

    hub: Hub
    table: StreamTable
    closer: Closer
    tracer: Tracer
    terms: Terms
    now: Callable[[], float]

    @property
    def timings(self) -> Timings:
        """How long a slot is kept by whom, as is agreed now."""
        return self.terms.timings


class Place(ABC):
    """One session's place in a stream, whatever it shows: kept, given up, taken away.

    Fills :class:`~halfgateway.control.streams.Occupant` and what of :class:`~halfgateway.downstream.door.Seat` does not
    depend on what is shown.
    """

    def __init__(self, house: House, stream: Stream, viewer: Viewer) -> None:
        self._house = house
        self._stream = stream
        self._viewer = viewer
        self._reader: Reader | None = None
        self._earlier = Traffic()
        self._flowing = False

    @property
    @abstractmethod
    def profile(self) -> str:
        """See :class:`~halfgateway.control.streams.Occupant`."""

    @property
    def playing(self) -> bool:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        return self._flowing

    @property
    def position(self) -> datetime | None:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        return None

    @property
    def gate(self) -> Gate:
        """See :class:`~halfgateway.downstream.door.Seat`."""
        return self._stream.gate

    def traffic(self) -> Traffic:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        reader, earlier = self._reader, self._earlier
        if reader is None:
            return earlier
        return Traffic(
            earlier.bytes + reader.sent_bytes,
            earlier.packets + reader.sent_packets,
            earlier.lost + reader.lost_packets,
        )

    async def pause(self) -> None:
        """See :class:`~halfgateway.downstream.door.Seat`."""
        self._stop_flow()
        self._rest()
        await self._house.tracer.durable(self._stream.request.entry(Kind.STREAM_MOVED, {"to": "paused"}))

    async def leave(self) -> None:
        """See :class:`~halfgateway.downstream.door.Seat`."""
        self._rise()
        if self._reader is not None:
            self._stream.ends.append(EndOfTransmission(self._reader.ssrc, self._reader.last_handed_over()))
        if self._stream.seats:
            self._rest()
        else:
            await self._house.closer.leave(self._stream, self._house.timings.ticket_grace_s)

    def lose(self) -> None:
        """See :class:`~halfgateway.downstream.door.Seat`."""
        self._rise()
        stream = self._stream
        if stream.seats:
            self._rest()
        if stream.seats or stream not in self._house.table:
            return
        stream.parked = True
        if stream.ever_played or stream.request.ticket is None:
            stream.end_unless(NotResumed, self._house.timings.resume_s, self._house.now())

    def dismiss(self, cause: Refusal) -> None:
        """See :class:`~halfgateway.downstream.door.Seat`."""
        detail = {"to": "another-session", "why": cause.detail}
        self._house.tracer.eventual(self._stream.request.entry(Kind.STREAM_MOVED, detail, refusal=cause.code))
        self.lose()
        self._viewer.end(cause)

    def evict(self, cause: Refusal) -> EndOfTransmission | None:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        self._stop_flow()
        self._let_source_go()
        return self._viewer.end(cause)

    def give_way(self, viewer: Viewer) -> None:
        """Leave the stream to the same holder's new session."""
        self._rise()
        self._viewer.give_way(viewer)

    def give_up(self) -> None:
        """Never sit down."""
        self._let_source_go()

    def take(self) -> None:
        """Sit down: from now on the stream is kept for this session to play."""
        stream, timings = self._stream, self._house.timings
        stream.parked = False
        stream.seats.append(self)
        first_of_ticket = stream.request.ticket is not None and not stream.ever_played
        if not first_of_ticket and not any(seat.playing for seat in stream.seats):
            stream.end_unless(NotPlayed, timings.setup_to_play_s, self._house.now())

    @abstractmethod
    def _stop_flow(self) -> None:
        """Give the reader nothing more, for now."""

    @abstractmethod
    def _let_source_go(self) -> None:
        """Take no more from where the pictures come, for good; once, however often it is called."""

    def _begin_flow(self, reader: Reader) -> bool:
        """Count what this reader is given from now on; False for a stream that has ended meanwhile."""
        if self not in self._stream.seats:
            return False
        self._earlier, self._reader = self.traffic(), reader
        self._flowing = True
        self._stream.ever_played = True
        self._stream.keep()
        return True

    def _rise(self) -> None:
        self._stop_flow()
        self._let_source_go()
        self._stream.unseat(self)

    def _rest(self) -> None:
        """Where nothing plays any more in a stream that did, it is kept as a paused one is."""
        stream = self._stream
        if stream.expires_at_s is None and not any(seat.playing for seat in stream.seats):
            stream.end_unless(PausedTooLong, self._house.timings.paused_s, self._house.now())


class StreamSeat(Place):
    """A :class:`~halfgateway.downstream.door.Seat` before a live camera.

    It has entered the hub for its source; it leaves it once, whatever ends it.
    """

    def __init__(self, house: House, stream: Stream, source: Source, viewer: Viewer) -> None:
        super().__init__(house, stream, viewer)
        self._source = source
        self._in_hub = True

    @property
    def profile(self) -> str:
        """See :class:`~halfgateway.control.streams.Occupant`."""
        return self._source.key.profile

    async def start(self) -> None:
        """See :class:`~halfgateway.downstream.door.Seat`."""
        detail = {"profile": self.profile}
        await self._house.tracer.durable(self._stream.request.entry(Kind.STREAM_STARTED, detail))

    def opening(self) -> Opening | None:
        """See :class:`~halfgateway.downstream.door.Seat`. Who plays on after a pause has had its opening."""
        waits = self._stream.request.principal.account in self._house.terms.join_at_keyframe
        return None if waits or self._reader is not None else self._source.opening()

    def flow(self, reader: Reader, opening: Opening | None) -> None:
        """See :class:`~halfgateway.downstream.door.Seat`. A stream that has ended meanwhile does not flow."""
        if not self._begin_flow(reader):
            return
        if opening is not None:
            reader.open(opening)
        self._source.attach(reader, self._camera_lost)

    def _stop_flow(self) -> None:
        self._flowing = False
        if self._reader is not None:
            self._source.detach(self._reader)

    def _let_source_go(self) -> None:
        if self._in_hub:
            self._in_hub = False
            self._house.hub.leave(self._source.key)

    def _camera_lost(self, cause: Refusal) -> None:
        self._house.closer.end(self._stream, cause)
