"""The door as RTSP comes to it: by a ticket, or by a machine account (interface.md, RTSP and RTSPS)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakValueDictionary

from auth.errors import AuthenticationError, FailureReason, ThrottledError
from auth.policy import Mode
from auth.principals import Attribution, Principal, Role
from auth.throttle import Throttle
from auth.trace import Draft, Kind
from camera_registry.cameras import Camera
from halfgateway.control.access import AccessRequest, Via
from halfgateway.control.admission import Admission
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.endings import NotPlayed, NotResumed
from halfgateway.control.replay_seat import RecordedSeat, Recording
from halfgateway.control.replays import Presentation, Replays
from halfgateway.control.seat import House, Place, StreamSeat
from halfgateway.control.streams import Stream
from halfgateway.control.tickets import Ticket, TicketKey, TicketStore
from halfgateway.downstream.door import MODERN_TLS, Caller, ReplaySeat, Seat, StreamPath, Viewer
from halfgateway.downstream.paths import TRACK
from halfgateway.errors import (
    NotHabilitated,
    Refusal,
    StateStoreUnavailable,
    Throttled,
    TransportNotOffered,
    Unauthenticated,
    UnknownCamera,
)
from halfgateway.protocol.digest import Algorithm, Secrets, ha1
from halfgateway.protocol.ranges import ClockRange
from halfgateway.protocol.reader_sdp import describe_for_reader
from halfgateway.relay.source import Source, SourceKey
from halfgateway.replay.footage import Footage

DESCRIBED_EVERY_S = 60.0
"""A VMS describes every camera every 30 s; one entry a minute says so (S13)."""

REPLAY_TRACK = "VIDEO001"
"""The token of the one track of every recording (ONVIF Streaming 6.2)."""

SDP_SESSION_ID = 1
"""The ``o=`` session id of every description: a reader's SDP says nothing of the house (C16)."""

MAX_REMEMBERED_DESCRIPTIONS = 10_000
"""Pairs of account and camera whose last description is remembered. When full, the oldest are forgotten, and
described again in the trace."""


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

    async def present(self, machine: MachineAccount, certificate: bytes | None) -> None:
        """Accept the machine's own certificate.

        Raises auth.errors.AuthenticationError for another, StateStoreUnavailable when that cannot be known.
        """


class RtspDoor:
    """Fills :class:`~halfgateway.downstream.door.Door`. ``realm`` is the Digest realm of every secret."""

    def __init__(
        self,
        *,
        house: House,
        admission: Admission,
        machines: Machines,
        ticket_key: TicketKey,
        tickets: TicketStore,
        find_camera: Callable[[str], Camera | None],
        descriptions: Descriptions,
        replays: Replays,
        realm: str,
        throttle: Throttle,
    ) -> None:
        self._throttle = throttle
        self._replays = replays
        self._house = house
        self._admission = admission
        self._machines = machines
        self._ticket_key = ticket_key
        self._tickets = tickets
        self._find_camera = find_camera
        self._descriptions = descriptions
        self._realm = realm
        self._arrivals: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._described: OrderedDict[tuple[str, str], float] = OrderedDict()

    def secrets(self, username: str) -> Secrets | None:
        """See :class:`~halfgateway.downstream.door.Door`. A ticket's secret is computed, not remembered."""
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
        """See :class:`~halfgateway.downstream.door.Door`."""
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

    def refused_action(self, caller: Caller, action: str, path: str) -> None:
        """See :class:`~halfgateway.downstream.door.Door`."""
        draft = Draft(
            kind=Kind.ACTION_REFUSED,
            account=caller.username,
            source=caller.source,
            detail={"action": action, "path": path},
        )
        self._house.tracer.refusal(draft)

    def refuse_while_closed(self, caller: Caller, path: StreamPath) -> None:
        """See :class:`~halfgateway.downstream.door.Door`. The store is not asked."""
        try:
            self._admission.require_open()
        except Refusal as refusal:
            self._trace_refusal(refusal, caller, path)
            raise

    async def describe(self, caller: Caller, path: StreamPath) -> bytes:
        """See :class:`~halfgateway.downstream.door.Door`."""
        request = await self._request(caller, path)
        if path.is_recorded:
            return await self._describe_recording(request, path, caller)
        self._admission.recheck(request)
        camera, key = self._source_of(request)
        try:
            description = await self._descriptions.of(key)
        except Refusal as refusal:
            self._traced(request, refusal)
            raise
        if self._first_for_a_while(request.principal.account, camera.id):
            await self._house.tracer.durable(request.entry(Kind.STREAM_DESCRIBED))
        return describe_for_reader(
            description,
            control=TRACK,
            session_id=SDP_SESSION_ID,
            name=camera.name,
            over_ipv6=":" in caller.source,
        )

    async def _describe_recording(self, request: AccessRequest, path: StreamPath, caller: Caller) -> bytes:
        """A recording's description is that of the footage where its presentation begins."""
        presentation, _ = await self._presented(request, path)
        try:
            description = await self._replays.describe(request, path.span, presentation)
        except Refusal as refusal:
            self._traced(request, refusal)
            raise
        if self._first_for_a_while(request.principal.account, f"{request.camera} {request.mode}"):
            await self._house.tracer.durable(request.entry(Kind.STREAM_DESCRIBED))
        camera = self._find_camera(request.camera)
        return describe_for_reader(
            description,
            control=TRACK,
            session_id=SDP_SESSION_ID,
            name=camera.name if camera is not None else request.camera,
            span=str(ClockRange(presentation.begin, presentation.end)),
            over_ipv6=":" in caller.source,
            replay_track=REPLAY_TRACK,
        )

    async def take_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> Seat:
        """See :class:`~halfgateway.downstream.door.Door`."""
        request = await self._request(caller, path)
        async with self._one_at_a_time(request):
            return await self._seat(request, viewer)

    async def take_replay_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> ReplaySeat:
        """See :class:`~halfgateway.downstream.door.Door`. No session is asked of the recorder before PLAY."""
        request = await self._request(caller, path)
        async with self._one_at_a_time(request):
            presentation, footage = await self._presented(request, path)
            stream = await self._stream_of(request)
            recording = Recording(footage, presentation)
            seat = RecordedSeat(self._house, stream, viewer, recording, self._replays, self._admission)
            await self._sit_down(seat, stream, request, None, viewer)
            return seat

    async def _presented(self, request: AccessRequest, path: StreamPath) -> tuple[Presentation, Footage]:
        """What a request for a recording presents, if it may be seen. Raises a Refusal, traced."""
        start = path.span.start if path.span is not None else request.start
        self._admission.recheck(replace(request, start=start))
        try:
            footage = self._replays.footage(request.camera)
            return await self._replays.presentation(request, path.span), footage
        except Refusal as refusal:
            self._traced(request, refusal)
            raise

    def _one_at_a_time(self, request: AccessRequest) -> asyncio.Lock:
        holder = (request.ticket or request.principal.account, request.camera)
        return self._arrivals.setdefault(holder, asyncio.Lock())

    async def _seat(self, request: AccessRequest, viewer: Viewer) -> Seat:
        self._admission.recheck(request)
        _, key = self._source_of(request)
        stream = await self._stream_of(request)
        try:
            source = await self._house.hub.enter(key)
        except BaseException as error:
            self._not_seated(stream, request, error)
            raise
        seat = StreamSeat(self._house, stream, source, viewer)
        await self._sit_down(seat, stream, request, source, viewer)
        return seat

    async def _sit_down(
        self, seat: Place, stream: Stream, request: AccessRequest, source: Source | None, viewer: Viewer
    ) -> None:
        try:
            await viewer.choose_transport(source)
        except TransportNotOffered as refusal:
            seat.give_up()
            self._ask_for_another_transport(stream, refusal)
            raise
        except BaseException as error:
            seat.give_up()
            self._not_seated(stream, request, error)
            raise
        if stream not in self._house.table:
            seat.give_up()
            self._admission.recheck(request)
            raise StateStoreUnavailable("Le Flux a pris fin avant d'avoir commencé.")
        if request.ticket is not None:
            for occupant in tuple(stream.seats):
                occupant.give_way(viewer)
        seat.take()

    async def _request(self, caller: Caller, path: StreamPath) -> AccessRequest:
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
        await self._vet(request, machine, caller)
        return request

    async def _vet(self, request: AccessRequest, machine: MachineAccount | None, caller: Caller) -> None:
        """Ask of the connection what is asked of its kind of caller (S02). Raises Refusal, traced with its reason."""
        try:
            if machine is None:
                self._require_tls_of_a_ticket(request, caller)
            elif caller.secure:
                await self._machines.present(machine, caller.certificate)
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
            ticket = await self._good_ticket(caller.username, caller.source)
            request = request_of_ticket(ticket, source=caller.source, via=via)
        bound = request.camera == path.camera and request.mode.value == path.mode
        if not bound or path.profile not in {None, request.profile}:
            raise self._traced(request, NotHabilitated("Ce titre d'accès vaut pour un autre Flux."))
        await self._vet(request, None, caller)
        return request

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

    async def _good_ticket(self, ticket_id: str, source: str) -> Ticket:
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

    async def _stream_of(self, request: AccessRequest) -> Stream:
        return await (self._stream_of_machine(request) if request.ticket is None else self._stream_of_ticket(request))

    async def _stream_of_ticket(self, request: AccessRequest) -> Stream:
        stream = self._house.table.get(request.stream)
        if stream is None:
            await self._house.closer.let_go(request.stream)
            ticket = await self._good_ticket(request.ticket or "", request.source)
            stream = await self._admission.admit(request)
            stream.ticket = ticket
            stream.end_unless(NotPlayed, self._house.timings.setup_to_play_s, self._house.now())
        elif stream.parked:
            await self._resume(stream, request)
        return stream

    async def _stream_of_machine(self, request: AccessRequest) -> Stream:
        """A slot that this machine may share or take up again, else one of its own."""
        table, account = self._house.table, request.principal.account
        if request.mode is Mode.LIVE:
            stream = table.shareable(account, request.camera, request.profile or "")
            if stream is not None:
                return stream
        stream = table.parked(account, request.camera, request.mode, request.source)
        if stream is not None:
            await self._resume(stream, stream.request)
            stream.parked = False
        else:
            stream = await self._admission.admit(request)
        stream.end_unless(NotPlayed, self._house.timings.setup_to_play_s, self._house.now())
        return stream

    async def _resume(self, stream: Stream, request: AccessRequest) -> None:
        """Take up a stream whose connection was lost: it came in time, and does not lapse while that is written."""
        if stream.expiry is NotResumed:
            stream.end_unless(NotPlayed, self._house.timings.setup_to_play_s, self._house.now())
        await self._house.tracer.durable(request.entry(Kind.STREAM_RESUMED, {"slot": stream.slot}))

    def _not_seated(self, stream: Stream, request: AccessRequest, error: BaseException) -> None:
        """The camera did not come: a ticket keeps its reservation, a machine its slot only if it is used elsewise."""
        if isinstance(error, Refusal):
            self._house.tracer.refusal(request.refused(error))
        if stream.request.ticket is None and not stream.seats:
            self._house.closer.end(stream, error if isinstance(error, Refusal) else NotPlayed())

    def _ask_for_another_transport(self, stream: Stream, refusal: TransportNotOffered) -> None:
        """The player asks again at once, by TCP: the slot is kept for that."""
        about = {"action": "SETUP over UDP", "path": ""}
        self._house.tracer.refusal(stream.request.entry(Kind.ACTION_REFUSED, about, refusal=refusal.code))
        if stream.request.ticket is None and not stream.seats:
            stream.parked = True

    def _source_of(self, request: AccessRequest) -> tuple[Camera, SourceKey]:
        camera = self._find_camera(request.camera)
        if camera is None or request.profile not in {profile.id for profile in camera.profiles}:
            raise self._traced(request, UnknownCamera("Profil inconnu pour cette caméra."))
        return camera, SourceKey(camera.id, request.profile or "")

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

    def _first_for_a_while(self, account: str, camera: str) -> bool:
        now, pair = self._house.now(), (account, camera)
        last_s = self._described.get(pair)
        if last_s is not None and now - last_s < DESCRIBED_EVERY_S:
            return False
        self._described[pair] = now
        self._described.move_to_end(pair)
        if len(self._described) > MAX_REMEMBERED_DESCRIPTIONS:
            self._described.popitem(last=False)
        return True


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
