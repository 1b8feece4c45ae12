"""The streams that this node serves: one owner, and pure answers to "what is over?".

A stream is one slot of the convention's ten. It may have several seats (main and sub profile of one camera,
watched by one machine), and none while it is reserved or its holder's connection is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from auth.policy import Mode
from camera_registry.clock import rfc3339
from halfgateway.control.access import AccessRequest
from halfgateway.control.endings import Ending, NotPlayed
from halfgateway.control.holders import Activity
from halfgateway.control.tickets import Ticket
from halfgateway.downstream.door import EndOfTransmission, Viewer
from halfgateway.errors import InvalidRequest, Refusal, StateStoreUnavailable
from halfgateway.relay.hub import STUCK_LIMIT_S
from halfgateway.relay.reader import Gate


class StreamState(StrEnum):
    """What an observer sees, as `GET /streams` tells it."""

    RESERVED = "reserved"
    PLAYING = "playing"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a slot is kept by whom, in seconds (ADR 2, Numbers)."""

    play_before_s: float = 30.0
    setup_to_play_s: float = 10.0
    resume_s: float = 20.0
    paused_s: float = 600.0
    ticket_grace_s: float = 10.0
    trace_grace_s: float = 5.0
    login_grace_s: float = 300.0
    stuck_reader_s: float = STUCK_LIMIT_S
    lease_s: float = 15.0
    renew_s: float = 5.0


@dataclass(slots=True)
class Traffic:
    """What has been handed to the kernel for a stream, and what a slow reader lost."""

    bytes: int = 0
    packets: int = 0
    lost: int = 0


class Occupant(Protocol):
    """A seat, as its stream knows it."""

    @property
    def profile(self) -> str:
        """The profile that it watches."""

    @property
    def playing(self) -> bool:
        """Whether media flows to it."""

    @property
    def position(self) -> datetime | None:
        """When that was filmed which it last saw of a recording; None for what is live."""

    def traffic(self) -> Traffic:
        """What it has been sent."""

    def evict(self, cause: Refusal) -> EndOfTransmission | None:
        """End the viewer, synchronously; what can be said of the end of its media."""

    def give_way(self, viewer: Viewer) -> None:
        """Leave the stream to the same holder's new session."""


@dataclass(frozen=True, slots=True)
class LoginAsked:
    """The login of a stream's agent has ended: they log in again before then, or the stream ends (S15).

    ``before`` is for people, ``before_s`` the same on the monotonic clock.
    """

    before: datetime
    before_s: float


class Stream:
    """One slot in use. Mutated only by the :class:`StreamTable` and its seats, on the event loop."""

    def __init__(self, request: AccessRequest, slot: str, until_s: float, since: datetime) -> None:
        self.request = request
        self.slot = slot
        self.since = since
        self.gate = Gate(until_s)
        self.seats: list[Occupant] = []
        self.ticket: Ticket | None = None
        self.expires_at_s: float | None = None
        self.expiry: type[Ending] = NotPlayed
        self.ever_played = False
        self.parked = False
        self.ends: list[EndOfTransmission] = []
        self.ticket_changed = False
        self.login_asked: LoginAsked | None = None
        self.condemned: Refusal | None = None
        self._packets_seen = 0
        self._went_at_s = 0.0
        self._past = Traffic()

    @property
    def id(self) -> str:
        """The stream's id, which is also its slot's."""
        return self.request.stream

    @property
    def state(self) -> StreamState:
        """What an observer sees."""
        if any(seat.playing for seat in self.seats):
            return StreamState.PLAYING
        return StreamState.PAUSED if self.ever_played else StreamState.RESERVED

    @property
    def position(self) -> datetime | None:
        """Where a recording is being watched; None for what is live, or not watched yet."""
        return next((seat.position for seat in self.seats), None)

    def traffic(self) -> Traffic:
        """All that this stream's seats, present and past, have been sent."""
        total = Traffic(self._past.bytes, self._past.packets, self._past.lost)
        for seat in self.seats:
            _add(total, seat.traffic())
        return total

    def unseat(self, seat: Occupant) -> None:
        """Take a seat away and remember its traffic; one that is not there is taken away too."""
        if seat in self.seats:
            self.seats.remove(seat)
            _add(self._past, seat.traffic())

    def look(self, now: float) -> float:
        """For how long, in seconds, nothing has gone to a reader: since the grant, or since it was last seen to."""
        packets = self.traffic().packets
        if packets != self._packets_seen:
            self._packets_seen, self._went_at_s = packets, now
        return now - self._went_at_s

    def activity(self, now: float) -> Activity:
        """What it is doing, as all nodes are told; ``now`` in monotonic seconds."""
        idle_s, traffic = self.look(now), self.traffic()
        shown = {
            "state": self.state.value,
            "bytes": traffic.bytes,
            "packets": traffic.packets,
            "lost": traffic.lost,
            "slot": self.slot,
            "position": rfc3339(self.position) if self.position is not None else None,
            "login_before": rfc3339(self.login_asked.before) if self.login_asked is not None else None,
        }
        return Activity(shown, idle_s)

    def granted(self, now: float) -> None:
        """From now on it is served, and idle until something has gone to a reader."""
        self._went_at_s = now

    def end_unless(self, ending: type[Ending], within_s: float, now: float) -> None:
        """Give the holder ``within_s`` seconds to do what keeps the stream; ``ending`` is not doing it."""
        self.expires_at_s = now + within_s
        self.expiry = ending

    def keep(self) -> None:
        """The stream plays: it keeps its slot by itself."""
        self.expires_at_s = None


class StreamTable:
    """Every stream of this node. ``now`` is the monotonic clock in seconds."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._streams: dict[str, Stream] = {}

    def __iter__(self) -> Iterator[Stream]:
        return iter(tuple(self._streams.values()))

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, stream: Stream) -> bool:
        return self._streams.get(stream.id) is stream

    def get(self, stream_id: str) -> Stream | None:
        """The stream of this id, if this node serves it."""
        return self._streams.get(stream_id)

    def add(self, stream: Stream) -> None:
        """Serve a stream. Raises InvalidRequest for one that is served already."""
        if stream.id in self._streams:
            raise InvalidRequest("Ce Flux est déjà ouvert.")
        self._streams[stream.id] = stream
        stream.granted(self._now())

    def of_ticket(self, ticket: str) -> Stream | None:
        """The stream that a ticket opened."""
        return next((stream for stream in self if stream.request.ticket == ticket), None)

    def shareable(self, account: str, camera: str, profile: str) -> Stream | None:
        """A live stream of this camera by this machine whose slot another profile of it may share (C02)."""
        for stream in self:
            request = stream.request
            wanted = (request.principal.account, request.camera, request.mode) == (account, camera, Mode.LIVE)
            if request.ticket is None and wanted:
                profiles = {seat.profile for seat in stream.seats}
                if profiles and profile not in profiles:
                    return stream
        return None

    def parked(self, account: str, camera: str, mode: Mode, source: str) -> Stream | None:
        """A stream of this machine whose connection was lost, and that its holder may take up again (S15)."""
        for stream in self:
            request = stream.request
            held = (request.principal.account, request.camera, request.mode, request.source)
            wanted = held == (account, camera, mode, source)
            if stream.parked and request.ticket is None and wanted:
                return stream
        return None

    def over(self) -> list[tuple[Stream, Refusal]]:
        """The streams that must end now, and why: they are condemned, their lease has lapsed, or their holder kept
        them waiting.
        """
        now = self._now()
        ended: list[tuple[Stream, Refusal]] = []
        for stream in self:
            if stream.condemned is not None:
                ended.append((stream, stream.condemned))
            elif not stream.gate.allows(now):
                ended.append((stream, StateStoreUnavailable("La place n'a pu être renouvelée.")))
            elif stream.expires_at_s is not None and now >= stream.expires_at_s:
                ended.append((stream, stream.expiry()))
        return ended

    def condemn(self, stream: Stream, cause: Refusal) -> None:
        """Deliver nothing more, and end the stream when it is next asked what is over.

        By then the event loop has handed over what it held for the viewer, and a goodbye can follow it.
        """
        stream.gate.close()
        stream.condemned = stream.condemned or cause

    def remove(self, stream: Stream, cause: Refusal) -> bool:
        """Close a stream's gate and evict its viewers; False if that was done before.

        Synchronous: when it returns, not one more byte of the stream is handed to the kernel.
        """
        if self._streams.get(stream.id) is not stream:
            return False
        del self._streams[stream.id]
        stream.gate.close()
        for seat in tuple(stream.seats):
            end = seat.evict(cause)
            stream.unseat(seat)
            if end is not None:
                stream.ends.append(end)
        return True


def _add(total: Traffic, more: Traffic) -> None:
    total.bytes += more.bytes
    total.packets += more.packets
    total.lost += more.lost
