"""The open streams of all nodes, and what is done to one whichever node serves it (S16, S15).

This node's own are as they are; the others' as their nodes last told with a lease, some seconds ago. While the store
does not answer, this node's own are all that is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from auth.policy import Mode
from auth.principals import Attribution, Principal, Role
from camera_registry.clock import Clock
from halfgateway.control.access import AccessRequest
from halfgateway.control.desk import Desk
from halfgateway.control.errands import Answer, Errands
from halfgateway.control.holders import Holder, HolderInfo
from halfgateway.control.relief import Newcomer, Relief
from halfgateway.control.slots import SlotTable
from halfgateway.control.streams import Stream, StreamState, StreamTable
from halfgateway.control.terms import Terms
from halfgateway.errors import StateStoreUnavailable

CLOSE, HAND_OVER = "close", "hand-over"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream:
    """One open stream, unmasked. ``idle_since`` is None while something of it goes to a reader.

    ``position`` is when that was filmed which is seen of a recording.
    """

    id: str
    node: str
    camera: str
    mode: Mode
    account: str
    agent: str | None
    service: str | None
    site: str | None
    attribution: Attribution
    reason: str
    reference: str | None
    state: StreamState
    since: datetime
    idle_since: datetime | None
    login_before: datetime | None
    position: datetime | None
    bytes: int
    packets: int
    lost: int
    slot: str


class OpenStreams:
    """All nodes' streams, seen from one, ``node`` being its name. ``now`` is the monotonic clock in seconds."""

    def __init__(
        self,
        *,
        node: str,
        table: StreamTable,
        slots: SlotTable,
        holder_of: Callable[[AccessRequest], HolderInfo],
        desk: Desk,
        relief: Relief,
        errands: Errands,
        terms: Terms,
        clock: Clock,
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._table = table
        self._slots = slots
        self._holder_of = holder_of
        self._desk = desk
        self._relief = relief
        self._errands = errands
        self._terms = terms
        self._clock = clock
        self._now = now
        errands.serve(CLOSE, self._close)
        errands.serve(HAND_OVER, self._hand_over)

    async def list_all(self) -> list[OpenStream]:
        """Return every open stream, in any order."""
        here = {stream.id: self._own(stream) for stream in self._table}
        return [*here.values(), *(other for other in await self._elsewhere() if other.id not in here)]

    async def find(self, stream_id: str) -> OpenStream | None:
        """Return the open stream of that id."""
        stream = self._table.get(stream_id)
        if stream is not None:
            return self._own(stream)
        return next((other for other in await self._elsewhere() if other.id == stream_id), None)

    async def close(self, stream: OpenStream, *, by: Principal, reason: str | None) -> None:
        """Close a stream; one that has ended meanwhile is no fault.

        Raises NotHabilitated, and StateStoreUnavailable where its node does not answer.
        """
        await self._ask(stream, CLOSE, {"stream": stream.id, "by": asdict(by), "reason": reason})

    async def hand_over(self, stream: OpenStream, newcomer: Newcomer) -> bool:
        """Let the relief have a stream; False if it has ended. Raises a Refusal, traced where it is served."""
        answer = await self._ask(stream, HAND_OVER, {"stream": stream.id, **asdict(newcomer)})
        return bool(answer["done"])

    async def _ask(self, stream: OpenStream, verb: str, about: Mapping[str, Any]) -> Answer:
        answer = await self._errands.ask(stream.node, verb, about)
        if answer is None:
            raise StateStoreUnavailable(f"Le nœud {stream.node}, qui sert ce Flux, ne répond pas.", retry_after_s=1)
        return answer

    async def _close(self, about: Mapping[str, Any]) -> Answer:
        stream = self._table.get(about["stream"])
        if stream is not None:
            self._desk.close(stream, by=principal_from(about["by"]), reason=about["reason"])
        return {"done": stream is not None}

    async def _hand_over(self, about: Mapping[str, Any]) -> Answer:
        stream = self._table.get(about["stream"])
        if stream is None:
            return {"done": False}
        newcomer = Newcomer(principal_from(about["principal"]), about["reference"], about["assertion"], about["source"])
        return {"done": await self._relief.take_over(stream, newcomer)}

    async def _elsewhere(self) -> list[OpenStream]:
        try:
            holders = await self._slots.holders()
        except StateStoreUnavailable as error:
            log.warning("streams.elsewhere_unknown cause=%r", error.__cause__)
            return []
        others = (self._other(holder) for holder in holders if holder.node not in {"", self._node})
        return [other for other in others if other is not None]

    def _own(self, stream: Stream) -> OpenStream:
        activity = stream.activity(self._now())
        return _open_stream(
            stream.id,
            self._node,
            stream.since,
            self._holder_of(stream.request),
            activity.shown,
            self._idle_since(stream.state, activity.idle_s),
        )

    def _other(self, holder: Holder) -> OpenStream | None:
        """One of another node's; None for a slot of which nothing is told, being on its way from stream to stream."""
        if not holder.info.get("attribution"):
            return None
        state = StreamState(str(holder.doing.get("state", StreamState.RESERVED)))
        idle_since = self._idle_since(state, holder.idle_s or 0.0)
        return _open_stream(holder.slot_id, holder.node, holder.since, holder.info, holder.doing, idle_since)

    def _idle_since(self, state: StreamState, idle_s: float) -> datetime | None:
        """Since when; one that plays was seen with each renewal, and is idle where two in a row saw nothing go."""
        if state is StreamState.PLAYING and idle_s < 2 * self._terms.timings.renew_s:
            return None
        return self._clock.now() - timedelta(seconds=idle_s)


def principal_from(told: Mapping[str, Any]) -> Principal:
    """Read a principal that another node has sent."""
    attribution = told["attribution"]
    return Principal(
        **{
            **told,
            "role": Role(told["role"]),
            "attribution": Attribution(attribution) if attribution is not None else None,
            "factors": tuple(told["factors"]),
        }
    )


def _open_stream(
    stream_id: str,
    node: str,
    since: datetime,
    info: Mapping[str, Any],
    doing: Mapping[str, Any],
    idle_since: datetime | None,
) -> OpenStream:
    login_before, position = doing.get("login_before"), doing.get("position")
    return OpenStream(
        id=stream_id,
        node=node,
        camera=info["camera"],
        mode=Mode(info["mode"]),
        account=info["account"],
        agent=info["agent"],
        service=info["service"] or None,
        site=info["site"],
        attribution=Attribution(info["attribution"]),
        reason=info["reason"],
        reference=info["reference"],
        state=StreamState(doing.get("state", StreamState.RESERVED)),
        since=since,
        idle_since=idle_since,
        login_before=datetime.fromisoformat(login_before) if login_before is not None else None,
        position=datetime.fromisoformat(position) if position is not None else None,
        bytes=doing.get("bytes", 0),
        packets=doing.get("packets", 0),
        lost=doing.get("lost", 0),
        slot=doing.get("slot", ""),
    )
