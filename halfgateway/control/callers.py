"""Who comes to the RTSP door, by a ticket or a machine account, and the request that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from auth.errors import AuthenticationError, FailureReason, ThrottledError
from auth.policy import Mode
from auth.principals import Attribution, Principal, Role
from auth.throttle import Throttle
from auth.trace import Draft, Kind
from camera_registry.cameras import Camera
from halfgateway.control.access import AccessRequest, Via
from halfgateway.control.admission import Admission
from halfgateway.control.seat import House
from halfgateway.control.tickets import Ticket, TicketKey, TicketStore
from halfgateway.downstream.door import MODERN_TLS, Caller, StreamPath
from halfgateway.errors import NotHabilitated, Refusal, Throttled, Unauthenticated
from halfgateway.protocol.digest import Algorithm, Secrets, ha1


@dataclass(frozen=True, slots=True)
class MachineAccount:
    """A machine that may come by itself: its Digest secrets, and what is recorded as its agreed reason."""

    principal: Principal
    secrets: Secrets
    reason: str
    over_plain_rtsp: bool


class Machines(Protocol):
    """The machine accounts, in memory."""

    def find(self, username: str) -> MachineAccount | None:
        """The machine of this name."""

    def verify(self, certificate: bytes | None) -> None:
        """Accept what one who comes by a ticket shows over TLS. Raises auth.errors.AuthenticationError."""

    async def present(self, machine: MachineAccount, certificate: bytes | None) -> str:
        """Accept the machine's own certificate, and return its name.

        Raises auth.errors.AuthenticationError for another, StateStoreUnavailable when that cannot be known.
        """


class Callers:
    """Makes a request of an authenticated name and a path. ``realm`` is the Digest realm of every secret."""

    def __init__(
        self,
        *,
        house: House,
        admission: Admission,
        machines: Machines,
        ticket_key: TicketKey,
        tickets: TicketStore,
        find_camera: Callable[[str], Camera | None],
        realm: str,
        throttle: Throttle,
    ) -> None:
        self._house = house
        self._admission = admission
        self._machines = machines
        self._ticket_key = ticket_key
        self._tickets = tickets
        self._find_camera = find_camera
        self._realm = realm
        self._throttle = throttle

    def secrets(self, username: str) -> Secrets | None:
        """The Digest secrets of a name, if it has any; a ticket's are computed, not remembered."""
        machine = self._machines.find(username)
        if machine is not None:
            return machine.secrets
        password = self._ticket_key.password_for(username)
        if password is None:
            return None
        return Secrets(
            md5=ha1(username, self._realm, password, Algorithm.MD5),
            sha256=ha1(username, self._realm, password, Algorithm.SHA256),
        )

    def wrong_credentials(self, username: str, source: str, *, of_another_resource: bool = False) -> None:
        """Count a failure against its source. Raises Throttled once there were too many."""
        known = self._machines.find(username) is not None
        try:
            self._throttle.count_failure(source)
        except ThrottledError as throttled:
            if throttled.just_locked:
                self._house.tracer.refusal(Draft(kind=Kind.AUTH_LOCKED, refusal=Throttled.code, source=source))
            raise Throttled(retry_after_s=throttled.retry_after_s) from throttled
        reason = "digest-of-another-resource" if of_another_resource else self._fault_of_digest(username)
        self._trace_failure(reason, account=username if known else None, source=source)

    def _fault_of_digest(self, username: str) -> str:
        if not username:
            return "digest-unreadable"
        if self._machines.find(username) is not None:
            return "wrong-digest"
        return "unknown-name" if self._ticket_key.password_for(username) is None else "wrong-ticket-digest"

    def refuse_while_closed(self, caller: Caller, path: StreamPath) -> None:
        """Raises a Refusal, traced, while the interconnection is cut or not in force; the store is not asked."""
        try:
            self._admission.require_open()
        except Refusal as refusal:
            self._trace_refusal(refusal, caller, path)
            raise

    async def request_of(self, caller: Caller, path: StreamPath) -> AccessRequest:
        """The request that an authenticated name makes by asking for a path.

        Raises Unauthenticated for a ticket that has ended, NotHabilitated for what the name is not bound to.
        """
        via = Via.RTSPS if caller.secure else Via.RTSP
        machine = self._machines.find(caller.username)
        if machine is None:
            return await self._request_of_ticket(caller, path, via)
        request = AccessRequest(
            principal=machine.principal,
            camera=path.camera,
            profile=self._profile(path),
            mode=Mode(path.mode),
            reason=machine.reason,
            reference=None,
            source=caller.source,
            via=via,
        )
        return await self._vetted(request, machine, caller)

    async def _vetted(self, request: AccessRequest, machine: MachineAccount | None, caller: Caller) -> AccessRequest:
        """Ask of the connection what is asked of its kind of caller (S02). Raises Refusal, traced with its reason."""
        try:
            if machine is None:
                self._require_tls_of_a_ticket(request, caller)
            elif caller.secure:
                shown = await self._machines.present(machine, caller.certificate)
                return replace(request, principal=replace(request.principal, certificate=shown))
            elif not machine.over_plain_rtsp:
                raise AuthenticationError(FailureReason.CERTIFICATE_MISSING)
        except AuthenticationError as failure:
            refusal = NotHabilitated("Un certificat en cours de validité est requis, par RTSPS.")
            about = {"article": refusal.article, "reason": failure.reason.value}
            self._house.tracer.refusal(request.entry(Kind.STREAM_REFUSED, about, refusal=refusal.code))
            raise refusal from failure
        except Refusal as refusal:
            self._traced(request, refusal)
            raise
        return request

    def _require_tls_of_a_ticket(self, request: AccessRequest, caller: Caller) -> None:
        """TLS 1.2 is for machines alone."""
        if not caller.secure:
            return
        if caller.tls_version != MODERN_TLS and request.principal.role is not Role.MACHINE:
            raise AuthenticationError(FailureReason.MODERN_TLS_MISSING)
        self._machines.verify(caller.certificate)

    async def _request_of_ticket(self, caller: Caller, path: StreamPath, via: Via) -> AccessRequest:
        served = self._house.table.of_ticket(caller.username)
        if served is not None:
            request = replace(served.request, source=caller.source, via=via)
        else:
            self.refuse_while_closed(caller, path)
            self._refuse_what_was_withdrawn(caller, path)
            ticket = await self.good_ticket(caller.username, caller.source)
            request = request_of_ticket(ticket, source=caller.source, via=via)
        bound = request.camera == path.camera and request.mode.value == path.mode
        if not bound or path.profile not in {None, request.profile}:
            raise self._traced(request, NotHabilitated("Ce titre d'accès vaut pour un autre Flux."))
        return await self._vetted(request, None, caller)

    def _refuse_what_was_withdrawn(self, caller: Caller, path: StreamPath) -> None:
        """A holder whose mandate has ended is told that, and not that the credentials were wrong."""
        if self._house.closer.withdrew(caller.username):
            refusal = NotHabilitated("Le droit d'accès à ce Flux a pris fin.", reason="withdrawn")
            self._trace_refusal(refusal, caller, path)
            raise refusal

    def _trace_refusal(self, refusal: Refusal, caller: Caller, path: StreamPath) -> None:
        """Trace the refusal of a machine, or of one of whom this node knows the ticket's name alone."""
        known = self._machines.find(caller.username) is not None
        about = {"article": refusal.article, "reason": refusal.reason}
        draft = Draft(
            kind=Kind.STREAM_REFUSED,
            account=caller.username if known else None,
            camera=path.camera,
            mode=path.mode,
            refusal=refusal.code,
            source=caller.source,
            detail={name: value for name, value in about.items() if value is not None},
        )
        self._house.tracer.refusal(draft)

    async def good_ticket(self, ticket_id: str, source: str) -> Ticket:
        """The ticket, if it has not ended. Raises Unauthenticated, traced."""
        ticket = await self._tickets.get(ticket_id)
        if ticket is None:
            self._trace_failure("ticket-ended", account=None, source=source)
            raise Unauthenticated("Ce titre d'accès a pris fin.")
        return ticket

    def _trace_failure(self, reason: str, *, account: str | None, source: str) -> None:
        detail = {"reason": reason}
        self._house.tracer.refusal(
            Draft(
                kind=Kind.AUTH_FAILED,
                account=account,
                refusal=Unauthenticated.code,
                source=source,
                detail=detail,
            )
        )

    def _profile(self, path: StreamPath) -> str | None:
        camera = self._find_camera(path.camera)
        if path.is_recorded:
            return None
        if path.profile is not None or camera is None or not camera.profiles:
            return path.profile
        return camera.profiles[0].id

    def _traced(self, request: AccessRequest, refusal: Refusal) -> Refusal:
        self._house.tracer.refusal(request.refused(refusal))
        return refusal


def request_of_ticket(ticket: Ticket, *, source: str, via: Via) -> AccessRequest:
    """What a ticket's holder was granted, asked for again from ``source``."""
    principal = Principal(
        account=ticket.account,
        role=Role(ticket.role),
        agent=ticket.agent,
        service=ticket.service,
        site=ticket.site,
        attribution=Attribution(ticket.attribution),
        factors=(),
        scope=None,
        assertion_key=ticket.assertion_key,
        certificate=ticket.certificate,
    )
    return AccessRequest(
        principal=principal,
        camera=ticket.camera,
        profile=ticket.profile,
        mode=Mode(ticket.mode),
        reason=ticket.reason,
        reference=ticket.reference,
        source=source,
        via=via,
        stream=ticket.stream,
        ticket=ticket.id,
        start=ticket.start,
        end=ticket.end,
    )
