"""The one door: ``admit``.

    authenticated request > interconnection open > policy > slot > intent, durable > stream

Every way in builds an :class:`~halfgateway.control.access.AccessRequest` from a principal that it has
authenticated and comes through here. Reserve before dialling, record before granting, release on every way out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from auth.policy import Action, decide
from auth.rights import Rights
from auth.trace import Kind
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from halfgateway import errors
from halfgateway.control.access import AccessRequest
from halfgateway.control.cap_text import cap_reached
from halfgateway.control.closing import Closer
from halfgateway.control.freshness import Freshness
from halfgateway.control.handover import Handover
from halfgateway.control.slots import Lease, SlotsTaken, SlotTable
from halfgateway.control.streams import Stream, StreamState, StreamTable
from halfgateway.control.terms import Terms
from halfgateway.control.tracing import Tracer
from halfgateway.errors import InterconnectionCut, Refusal, StateStoreUnavailable

POLICY_REFUSALS: dict[str, type[Refusal]] = {
    refusal.code: refusal
    for refusal in (
        errors.ConventionNotInForce,
        errors.CharterNotAcknowledged,
        errors.NotHabilitated,
        errors.UnknownCamera,
        errors.NoRecording,
        errors.CameraNotAuthorised,
        errors.OrderSuspended,
        errors.RecipientNotAuthorised,
        errors.SiteNotDeclared,
        errors.AssertionInvalid,
        errors.OutsideRetention,
    )
}
"""The refusal of each reason that the policy can give."""

_IN_MAINTENANCE = (
    "Une fenêtre de maintenance annoncée a commencé : aucun nouveau Flux n'est ouvert jusqu'à sa fin "
    "(article 8 de la convention)."
)


class StateView(Protocol):
    """What the door must know of the interconnection."""

    def require_open(self) -> None:
        """Return if streams may be granted, from memory alone.

        Raises InterconnectionCut, ConventionNotInForce, or StateStoreUnavailable when the view is too old.
        """


class Admission:
    """Grants streams. ``find_camera`` and ``who_may`` answer from memory, the latter None until the records were read;
    ``rights`` is how fresh its answer is. ``drains_until`` is when the maintenance window is over that lets no new
    stream begin now (P07), None where none does; a stream that has its ticket is not new.
    """

    def __init__(
        self,
        *,
        state: StateView,
        rights: Freshness,
        who_may: Callable[[], Rights | None],
        terms: Terms,
        find_camera: Callable[[str], Camera | None],
        slots: SlotTable,
        handover: Handover,
        tracer: Tracer,
        table: StreamTable,
        closer: Closer,
        clock: Clock,
        drains_until: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._state = state
        self._rights = rights
        self._who_may = who_may
        self._terms = terms
        self._find_camera = find_camera
        self._slots = slots
        self._handover = handover
        self._tracer = tracer
        self._table = table
        self._closer = closer
        self._clock = clock
        self._drains_until = drains_until

    async def admit(self, request: AccessRequest) -> Stream:
        """A slot is held and the intent is durable when this returns a stream; else it raises a Refusal, traced.

        A ticket's request takes its own slot again, on this node, if it is still held or free (its grace).
        """
        try:
            self._check(request)
            lease = await self._take_slot(request)
            await self._record_intent(request, lease)
        except Refusal as refusal:
            self._tracer.refusal(request.refused(refusal))
            raise
        return self._grant(request, lease)

    def require_open(self) -> None:
        """Return if streams may run at all, from memory alone. Raises a Refusal, not traced."""
        self._state.require_open()

    def recheck(self, request: AccessRequest) -> None:
        """Whether what was granted may still be used: nothing is taken. Raises a Refusal, traced."""
        try:
            self._check(request)
        except Refusal as refusal:
            self._tracer.refusal(request.refused(refusal))
            raise

    def no_longer(self, request: AccessRequest) -> Refusal | None:
        """Why what was granted would be refused now; None where it would not be, or where that cannot be known."""
        rights = self._who_may()
        return self._refusal_of(replace(request, start=None), rights, running=True) if rights is not None else None

    def _check(self, request: AccessRequest) -> None:
        self._state.require_open()
        if request.ticket is None:
            self._require_no_drain()
        rights = self._who_may()
        if rights is None:
            raise _unknown_rights()
        refusal = self._refusal_of(request, rights, running=request.ticket is not None)
        if refusal is not None:
            raise refusal

    def _require_no_drain(self) -> None:
        reopens_at = self._drains_until()
        if reopens_at is not None:
            left_s = math.ceil((reopens_at - self._clock.now()).total_seconds())
            raise InterconnectionCut(_IN_MAINTENANCE, retry_after_s=max(1, left_s), reason="maintenance-window")

    def _refusal_of(self, request: AccessRequest, rights: Rights, *, running: bool) -> Refusal | None:
        decision = decide(
            request.principal,
            self._find_camera(request.camera),
            Action(request.mode),
            self._clock.now(),
            self._terms.convention,
            rights,
            source=request.source,
            start=request.start,
            number=request.stream,
            running=running,
        )
        if decision.refusal is None:
            return None
        return POLICY_REFUSALS[decision.refusal](decision.detail, reason=decision.reason)

    async def _take_slot(self, request: AccessRequest) -> Lease:
        if not self._rights.holds:
            raise _unknown_rights()
        holder = {
            "camera": request.camera,
            "mode": request.mode.value,
            "account": request.principal.account,
            "service": request.principal.service or "",
        }
        try:
            claimed = await self._handover.claim(request.stream) if request.ticket is not None else None
            return claimed or await self._slots.acquire(request.stream, holder, kbps=self._terms.line.assumed_kbps)
        except SlotsTaken as taken:
            raise cap_reached(taken, request.stream, self._is_idle) from taken
        except StateStoreUnavailable:  # what was claimed stays its holder's for one lease, to come again
            raise
        except BaseException:
            self._closer.give_back(request.stream)
            raise

    async def _record_intent(self, request: AccessRequest, lease: Lease) -> None:
        """Make the intent durable. One whose requester is gone by then may be in the trace: it gets its result."""
        kind = Kind.STREAM_RESUMED if request.ticket else Kind.STREAM_REQUESTED
        try:
            await self._tracer.durable(request.entry(kind, {"slot": _shown(lease)}))
        except BaseException as error:
            self._closer.give_back(request.stream)
            if not isinstance(error, Refusal):
                self._tracer.eventual(request.entry(Kind.STREAM_STOPPED, {"cause": "requester-gone"}))
            raise

    def _grant(self, request: AccessRequest, lease: Lease) -> Stream:
        try:
            self._state.require_open()
        except Refusal as refusal:
            self._closer.give_back(request.stream)
            self._tracer.eventual(request.refused(refusal))
            raise
        stream = Stream(request, _shown(lease), lease.deadline, self._clock.now())
        self._table.add(stream)
        return stream

    def _is_idle(self, slot_id: str) -> bool:
        stream = self._table.get(slot_id)
        return stream is not None and stream.state is not StreamState.PLAYING


def _unknown_rights() -> StateStoreUnavailable:
    return StateStoreUnavailable("Les habilitations ne peuvent être vérifiées.")


def _shown(lease: Lease) -> str:
    return f"{lease.used}/{lease.cap}"
