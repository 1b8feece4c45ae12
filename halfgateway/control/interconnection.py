"""The interconnection as this node enforces it: its view of the state, the cut, the restoration (article 8, C10).

A cut stops media first, in memory; then it is written to the node's own fsynced record, which is its source; the
trace and the other nodes follow as they can. Nothing of it waits for Valkey or SQL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.closing import Closer
from halfgateway.control.freshness import MAX_AGE_S, Freshness
from halfgateway.control.streams import StreamTable
from halfgateway.control.tracing import Tracer
from halfgateway.errors import ConventionNotInForce, InterconnectionCut, Refusal, StateStoreUnavailable
from ops.errors import LocalRecordError
from ops.interconnection import (
    Author,
    Ground,
    InterconnectionState,
    Status,
    cut,
    degrade,
    merge,
    new_incident,
    restore,
)

log = logging.getLogger(__name__)


ANOTHER_NODE = "another-node"
COMMAND_LINE = "command-line"
"""Who made a change that this node only follows; the maker's own entry, or the OS, knows more."""

AuthorOf = Callable[[int], str | None]
"""The OS account that made the change of this serial by a command at the machine, where that is known (C21)."""

INTERCONNECTION_KINDS = frozenset(
    {Kind.INTERCONNECTION_CUT, Kind.INTERCONNECTION_RESTORED, Kind.INTERCONNECTION_DEGRADED}
)
"""The entries that tell of the state; each has its serial in the detail."""


class StateRecord(Protocol):
    """The node's own fsynced record."""

    def load(self) -> InterconnectionState:
        """The newest state on disk; a damaged record reads as cut."""

    def append(self, state: InterconnectionState) -> InterconnectionState:
        """Make a state durable and return the one in force. Blocks for the disk. Raises ops.errors.LocalRecordError."""

    def update(self, change: Callable[[InterconnectionState], InterconnectionState]) -> InterconnectionState:
        """Make a transition durable and return the state in force. Raises as append, and what ``change`` raises."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """What a cut did on this node."""

    incident: str
    at: datetime
    streams_closed: int


class Interconnection:
    """The one place of a node where the interconnection's state changes. ``now`` is the monotonic clock."""

    def __init__(
        self,
        *,
        record: StateRecord,
        publish: Callable[[InterconnectionState], Awaitable[InterconnectionState]],
        table: StreamTable,
        closer: Closer,
        tracer: Tracer,
        clock: Clock,
        now: Callable[[], float],
        max_view_age_s: float = MAX_AGE_S,
    ) -> None:
        self._record = record
        self._publish = publish
        self._table = table
        self._closer = closer
        self._tracer = tracer
        self._clock = clock
        self._view = Freshness(now=now, max_age_s=max_view_age_s)
        self._state = self._kept = record.load()
        self._writing = asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> InterconnectionState:
        """The state as this node enforces it."""
        return self._state

    @property
    def mode(self) -> str | None:
        """See :class:`~halfgateway.control.admission.StateView`."""
        return self._state.mode

    def require_open(self) -> None:
        """See :class:`~halfgateway.control.admission.StateView`."""
        cause = self._closing_cause()
        if cause is not None:
            raise cause
        if not self._view.holds:
            raise StateStoreUnavailable("L'état de l'Interconnexion n'est pas connu avec certitude.")

    def observe(self, shared: InterconnectionState | None) -> None:
        """The state that all nodes share was read just now. Never opens what this node's own record holds cut."""
        self._view.seen()
        merged = merge(self._state, shared)
        is_news = merged != self._state
        if is_news:
            self._trace_change(merged, self.enforce(merged), actor=ANOTHER_NODE, source="shared")
        if is_news or (merged != self._kept and not self._writing.locked()):
            self._later(self._keep_if_possible(merged))
        if merged != shared:
            self._later(self._share(merged))

    async def follow_record(self, author_of: AuthorOf = lambda _: None) -> int:
        """The record was changed by another process (the command line): enforce it. Returns the streams closed."""
        self._kept = recorded = await asyncio.to_thread(self._record.load)
        merged = merge(self._state, recorded)
        closed = 0
        if merged != self._state:
            closed = self.enforce(merged)
            actor = author_of(merged.serial) or COMMAND_LINE
            self._trace_change(merged, closed, actor=actor, source="local")
        self._later(self._share(merged))
        return closed

    def trace_untold(self, told_serial: int, author_of: AuthorOf = lambda _: None) -> None:
        """Trace the state that this node starts with, if the trace has not been told of it: ``told_serial`` is the
        newest that it has."""
        if self._state.serial > told_serial:
            actor = author_of(self._state.serial) or COMMAND_LINE
            self._trace_change(self._state, 0, actor=actor, source="local")

    async def cut(
        self,
        *,
        ground: Ground,
        reason: str,
        by: Author,
        actor: str,
        source: str,
        occurred_at: datetime | None = None,
        incident: str | None = None,
    ) -> Cutting:
        """Cut now, durably. ``occurred_at`` is when the incident itself occurred, if that is known (N02); ``incident``
        its id, where all nodes are to know it by the same.

        Raises ops.errors.TransitionRefused, or LocalRecordError: then the cut is enforced, but not durable.
        """
        at = self._clock.now()
        changed = cut(
            self._state,
            ground=ground,
            reason=reason,
            by=by,
            since=at,
            incident=incident or new_incident(at),
            occurred_at=occurred_at,
        )
        closed = self.enforce(changed)
        self._trace_change(changed, closed, actor=actor, source=source)
        await self._keep(changed)
        self._later(self._share(self._state))
        return Cutting(changed.incident or "", at, closed)

    async def restore(
        self,
        *,
        incident: str,
        reason: str,
        by: Author,
        actor: str,
        source: str,
        evidence: Mapping[str, Any] | None = None,
    ) -> InterconnectionState:
        """Restore, once it is durable; ``evidence`` is kept in the entry beside it.

        Raises ops.errors.TransitionRefused, LocalRecordError.
        """
        at = self._clock.now()
        async with self._writing:
            self._kept = changed = await asyncio.to_thread(
                self._record.update,
                lambda current: restore(current, incident=incident, reason=reason, by=by, since=at),
            )
        self.enforce(merge(self._state, changed))
        self._trace_change(changed, 0, actor=actor, source=source, evidence=evidence)
        self._later(self._share(self._state))
        return self._state

    async def degrade(self, *, mode: str | None, reason: str, by: Author, actor: str, source: str) -> None:
        """Go on in a degraded mode, or without one, once it is durable. Raises TransitionRefused, LocalRecordError."""
        at = self._clock.now()
        async with self._writing:
            self._kept = changed = await asyncio.to_thread(
                self._record.update, lambda current: degrade(current, mode=mode, reason=reason, by=by, since=at)
            )
        self.enforce(merge(self._state, changed))
        self._trace_change(changed, 0, actor=actor, source=source)
        self._later(self._share(self._state))

    def enforce(self, state: InterconnectionState) -> int:
        """Follow ``state`` in memory; if it is closed, end every stream before returning. Returns how many."""
        self._state = state
        cause = self._closing_cause()
        streams = tuple(self._table) if cause is not None else ()
        for stream in streams:
            self._closer.end(stream, cause or InterconnectionCut())
        if streams:
            log.warning("interconnection.enforced state=%s streams_closed=%d", state.state, len(streams))
        return len(streams)

    async def settle(self) -> None:
        """Wait for what is still being written or shared."""
        while self._chores:
            await asyncio.gather(*self._chores, return_exceptions=True)

    def _closing_cause(self) -> Refusal | None:
        if self._state.state is Status.CUT:
            return InterconnectionCut("L'Interconnexion est interrompue (article 8 de la convention).")
        if self._state.state is Status.OUT_OF_CONVENTION:
            return ConventionNotInForce("La convention a pris fin (article 11).")
        return None

    async def _keep(self, state: InterconnectionState) -> None:
        async with self._writing:
            self._kept = in_force = await asyncio.to_thread(self._record.append, state)
        if in_force != self._state:
            self.enforce(merge(self._state, in_force))

    async def _keep_if_possible(self, state: InterconnectionState) -> None:
        try:
            await self._keep(state)
        except LocalRecordError as error:
            log.critical("interconnection.not_durable serial=%d error=%s: tried again", state.serial, error)

    async def _share(self, state: InterconnectionState) -> None:
        try:
            self.observe(await self._publish(state))
        except StateStoreUnavailable:
            log.warning("interconnection.not_shared serial=%d: it is offered again at each renewal", state.serial)

    def _trace_change(
        self,
        state: InterconnectionState,
        closed: int,
        *,
        actor: str,
        source: str,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        kind = Kind.INTERCONNECTION_RESTORED
        if state.incident is not None:
            kind = Kind.INTERCONNECTION_CUT
        elif state.mode is not None:
            kind = Kind.INTERCONNECTION_DEGRADED
        detail = {
            "serial": state.serial,
            "state": state.state.value,
            "ground": state.ground.value if state.ground else None,
            "incident": state.incident or (state.settled[-1] if state.settled else None),
            "by": state.by.value,
            "mode": state.mode,
            "reason": state.reason,
            "streams_closed": closed,
            "occurred_at": rfc3339(state.occurred_at) if state.occurred_at is not None else None,
            **(evidence or {}),
        }
        self._tracer.eventual(Draft(kind=kind, account=actor, source=source, detail=detail))

    def _later(self, chore: Awaitable[None]) -> None:
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
