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

from auth.policy import decide, oldest_accessible
from auth.rights import Action, Rights
from auth.trace import Kind
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from halfgateway import errors
from halfgateway.control.access import AccessRequest
from halfgateway.control.cap_text import cap_reached
from halfgateway.control.closing import Closer
from halfgateway.control.freshness import Freshness
from halfgateway.control.handover import Handover
from halfgateway.control.holders import Holder, HolderInfo, SlotsTaken
from halfgateway.control.reclaim import IdleReclaim
from halfgateway.control.slots import Lease, SlotTable
from halfgateway.control.streams import Stream, StreamState, StreamTable
from halfgateway.control.terms import Terms
from halfgateway.control.tracing import Tracer
from halfgateway.errors import InterconnectionCut, Refusal, StateStoreUnavailable
from halfgateway.replay.transmission import SLIDE_TOLERANCE

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
        errors.ModeDegraded,
    )
}
"""The refusal of each reason that the policy can give."""

_IN_MAINTENANCE = (
    "Une fenêtre de maintenance annoncée a commencé : aucun nouveau Flux n'est ouvert jusqu'à sa fin "
    "(article 8 de la convention)."
)


class StateView(Protocol):
    """What the door must know of the interconnection."""

    @property
    def mode(self) -> str | None:
        """The name of the degraded mode in force, if one is."""

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
        reclaim: IdleReclaim,
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
        self._reclaim = reclaim
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
            lease, gave_way = await self._take_slot(request)
            await self._record_intent(request, lease, gave_way)
        except Refusal as refusal:
            self._tracer.refusal(request.refused(refusal))
            raise
        return self._grant(request, lease)

    @property
    def records_revision(self) -> int | None:
        """The revision of the records of who may that this node goes by; None until they were read."""
        rights = self._who_may()
        return rights.revision if rights is not None else None

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

    def reconsider(self, request: AccessRequest, position: datetime | None) -> None:
        """Whether someone else may have what was granted, decided as anew (S15), with what plays from ``position`` on.

        Raises a Refusal, traced.
        """
        try:
            self._require_fresh()
            start = min(position + SLIDE_TOLERANCE, self._clock.now()) if position is not None else None
            self._check(replace(request, start=start))
        except Refusal as refusal:
            self._tracer.refusal(request.refused(refusal))
            raise

    def oldest_accessible(self, request: AccessRequest) -> datetime:
        """The oldest instant whose footage a request may reach now (C03). Raises OutsideRetention: there is none."""
        rights, camera = self._who_may(), self._find_camera(request.camera)
        if rights is None:
            raise _unknown_rights()
        now, convention = self._clock.now(), self._terms.convention
        known = camera and oldest_accessible(request.principal, camera, now, convention, rights)
        if not known:
            raise errors.OutsideRetention("Aucun enregistrement de cette caméra n'est accessible.")
        return known

    def allows_bulk(self, request: AccessRequest) -> bool:
        """Whether recordings may be had faster than they are watched (S14): it is agreed, and this one's right."""
        rights, terms = self._who_may(), self._terms
        if not terms.bulk_agreed or rights is None:
            return False
        if request.principal.account in terms.bulk_accounts:
            return True
        camera, now = self._find_camera(request.camera), self._clock.now()
        decision = decide(
            request.principal, camera, Action.BULK, now, terms.convention, rights, source=request.source, running=True
        )
        return decision.refusal is None

    def holder_of(self, request: AccessRequest) -> HolderInfo:
        """Who a request's slot belongs to: by the service it names, else by that of its agent's designation."""
        principal, rights = request.principal, self._who_may()
        designation = rights.designation(principal.agent) if rights is not None else None
        return request.holder(principal.service or (designation.service if designation is not None else None))

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
            request.action,
            self._clock.now(),
            self._terms.convention,
            rights,
            source=request.source,
            start=request.start,
            number=request.stream,
            mode=self._terms.mode(self._state.mode),
            running=running,
        )
        if decision.refusal is None:
            return None
        return POLICY_REFUSALS[decision.refusal](decision.detail, reason=decision.reason)

    def _require_fresh(self) -> None:
        if not self._rights.holds:
            raise _unknown_rights()

    async def _take_slot(self, request: AccessRequest) -> tuple[Lease, str | None]:
        """The lease, and the idle stream that gave way for it, if one did."""
        self._require_fresh()
        try:
            claimed = await self._handover.claim(request.stream) if request.ticket is not None else None
            if claimed is not None:
                return claimed, None
            kbps = self._terms.line.assumed_kbps
            return await self._reclaim.acquire(request.stream, self.holder_of(request), kbps=kbps)
        except SlotsTaken as taken:
            raise cap_reached(taken, request.stream, self._is_idle) from taken
        except StateStoreUnavailable:  # what was claimed stays its holder's for one lease, to come again
            raise
        except BaseException:
            self._closer.give_back(request.stream)
            raise

    async def _record_intent(self, request: AccessRequest, lease: Lease, gave_way: str | None) -> None:
        """Make the intent durable. One whose requester is gone by then may be in the trace: it gets its result."""
        kind = Kind.STREAM_RESUMED if request.ticket else Kind.STREAM_REQUESTED
        about = {"slot": _shown(lease)}
        if gave_way is not None and self._terms.idle_rule is not None:
            about |= {"gave_way": gave_way, "rule": self._terms.idle_rule.reference}
        try:
            await self._tracer.durable(request.entry(kind, about))
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

    def _is_idle(self, holder: Holder) -> bool:
        """Whether nothing plays in a slot: as it is here, or as its own node has last told."""
        stream = self._table.get(holder.slot_id)
        state = stream.state if stream is not None else holder.doing.get("state", StreamState.PLAYING)
        return state != StreamState.PLAYING


def _unknown_rights() -> StateStoreUnavailable:
    return StateStoreUnavailable("Les habilitations ne peuvent être vérifiées.")


def _shown(lease: Lease) -> str:
    return f"{lease.used}/{lease.cap}"
