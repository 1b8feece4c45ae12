"""The door as a person or a machine comes to it before watching: a ticket is asked for, shown, given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from auth.policy import Mode
from auth.principals import Principal, Role
from auth.trace import Kind
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from halfgateway.control.access import AccessRequest
from halfgateway.control.admission import Admission
from halfgateway.control.endings import ClosedBySyn, ClosedOnRequest, NotPlayed
from halfgateway.control.seat import House
from halfgateway.control.streams import Stream
from halfgateway.control.tickets import Credentials, Ticket, TicketKey, TicketStore
from halfgateway.errors import NotHabilitated, Refusal, StateStoreUnavailable, UnknownCamera


class Desk:
    """Gives out tickets. A ticket is one stream: it holds its slot from here on."""

    def __init__(
        self,
        *,
        house: House,
        admission: Admission,
        key: TicketKey,
        tickets: TicketStore,
        find_camera: Callable[[str], Camera | None],
        clock: Clock,
    ) -> None:
        self._house = house
        self._admission = admission
        self._key = key
        self._tickets = tickets
        self._find_camera = find_camera
        self._clock = clock

    async def open(self, request: AccessRequest) -> tuple[Stream, Ticket, Credentials]:
        """Admit the request and give its holder a ticket. Raises a Refusal, traced."""
        house = self._house
        request = replace(request, profile=self._profile(request))
        stream = await self._admission.admit(request)
        credentials = self._key.issue()
        stream.request = replace(request, ticket=credentials.username)
        stream.end_unless(NotPlayed, house.timings.play_before_s, house.now())
        stream.ticket = ticket = self._ticket(stream, credentials.username)
        try:
            await self._tickets.put(ticket, house.timings.play_before_s + house.timings.lease_s)
            if stream in house.table:
                detail = {"slot": stream.slot, "profile": request.profile}
                await house.tracer.durable(stream.request.entry(Kind.STREAM_GRANTED, detail))
        except Refusal as refusal:
            house.closer.end(stream, refusal)
            raise
        except BaseException:
            house.closer.end(stream, NotPlayed())
            raise
        if stream not in house.table:
            self._admission.recheck(stream.request)
            raise StateStoreUnavailable("Le Flux a pris fin avant d'avoir commencé.")
        return stream, ticket, credentials

    def close(self, stream: Stream, *, by: Principal, reason: str | None) -> None:
        """Close a stream for its owner, the supervisor or SYN's operations. Raises NotHabilitated."""
        owner = by.account == stream.request.principal.account
        if not owner and by.role not in {Role.SUPERVISOR, Role.OPS, Role.OFFICER}:
            raise NotHabilitated("Ce Flux n'est pas le vôtre.")
        ending = ClosedBySyn if not owner and by.role in {Role.OPS, Role.OFFICER} else ClosedOnRequest
        self._house.closer.end(stream, ending(reason or ""), by=by.account)

    def _profile(self, request: AccessRequest) -> str | None:
        """The profile that is meant; the camera's best where none is named. A recording has none."""
        camera = self._find_camera(request.camera)
        if request.mode is Mode.RECORDED:
            return None
        if camera is None:
            return request.profile
        profile = camera.profile(request.profile)
        if profile is None:
            refusal = UnknownCamera("Profil inconnu pour cette caméra.")
            self._house.tracer.refusal(request.refused(refusal))
            raise refusal
        return profile.id

    def _ticket(self, stream: Stream, username: str) -> Ticket:
        request, principal = stream.request, stream.request.principal
        return Ticket(
            id=username,
            stream=stream.id,
            camera=request.camera,
            profile=request.profile,
            mode=request.mode.value,
            start=request.start,
            end=request.end,
            account=principal.account,
            role=principal.role.value,
            agent=principal.agent,
            service=principal.service,
            site=principal.site,
            attribution=principal.attribution.value if principal.attribution else "",
            reason=request.reason,
            reference=request.reference,
            created_at=stream.since,
            play_before=stream.since + timedelta(seconds=self._house.timings.play_before_s),
            assertion_key=principal.assertion_key,
            certificate=principal.certificate,
        )
