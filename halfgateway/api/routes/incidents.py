"""Incidents: what happened, by when PP is to be told, what was done (article 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.incident_shapes import (
    AcknowledgeRequest,
    ClassifyRequest,
    DeclareRequest,
    EscalateRequest,
    IncidentDetail,
    IncidentList,
    IncidentQuery,
    NoteRequest,
    ReportRequest,
    ReviseRequest,
    StartClockRequest,
    StepRequest,
    StopClockRequest,
    incident_detail,
    incident_shape,
)
from halfgateway.api.operation import Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.problems import Fault, InvalidCall, UnknownRecord
from halfgateway.api.rights_shapes import ReasonRequest
from halfgateway.api.shapes import ById
from halfgateway.errors import Refusal, StateStoreUnavailable
from ops.errors import IncidentRefused, OpsError, UnknownIncident
from ops.incidents.desk import IncidentDesk
from ops.incidents.incident import Incident
from ops.interconnection import Author

WRITERS = frozenset({Role.OPS, Role.OFFICER})
READERS = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})
REPORTERS = frozenset({Role.OPS, Role.OFFICER, Role.SUPERVISOR, Role.MACHINE})
"""PP reports by its supervisor or its half-gateway; a report by mail or telephone is entered by operations."""

_ERRORS = (UnknownRecord, StateStoreUnavailable)


class IncidentRoutes:
    """Reads and writes the books; the trace follows them within a second."""

    def __init__(self, incidents: IncidentDesk) -> None:
        self._incidents = incidents

    @operation(
        "GET",
        f"{API}/incidents",
        summary="List the incidents",
        roles=READERS,
        untraced="tells what became of the interconnection: no person, no stream",
    )
    async def list_incidents(self, call: Call, principal: Principal, query: IncidentQuery) -> IncidentList:
        """List, newest first."""
        found = await asyncio.to_thread(self._incidents.all)
        page = page_of(
            [incident for incident in found if query.state in {None, incident.state}],
            key=lambda incident: (incident.opened_at, incident.id),
            limit=query.limit,
            cursor=query.cursor,
        )
        return IncidentList(items=tuple(map(incident_shape, page.items)), next=page.next)

    @operation(
        "GET",
        f"{API}/incidents/{{id}}",
        summary="Show an incident, its deadlines, its notices and how far they came",
        roles=READERS,
        errors=_ERRORS,
        untraced="tells what became of the interconnection: no person, no stream",
    )
    async def show_incident(self, call: Call, principal: Principal, path: ById) -> IncidentDetail:
        """Show it with its timeline."""
        return await self._done(lambda: self._incidents.find(path.id))

    @operation(
        "POST",
        f"{API}/incidents",
        summary="Declare an incident that has cut nothing",
        roles=WRITERS,
        status=201,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_OPENED,),
    )
    async def declare_incident(self, call: Call, principal: Principal, body: DeclareRequest) -> IncidentDetail:
        """Open its book."""
        by = Author.OFFICER if principal.role is Role.OFFICER else Author.OPS
        return await self._done(lambda: self._incidents.declare(principal.account, by=by, **body.model_dump()))

    @operation(
        "POST",
        f"{API}/incidents/report",
        summary="Report an incident, as PP may: the answer's id is its reference",
        roles=REPORTERS,
        status=201,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_OPENED,),
    )
    async def report_incident(self, call: Call, principal: Principal, body: ReportRequest) -> IncidentDetail:
        """Open its book."""
        return await self._done(lambda: self._incidents.report(principal.account, **body.model_dump()))

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/revise",
        summary="Add another T0: an earlier one moves the deadline",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_REVISED,),
    )
    async def revise_incident(
        self, call: Call, principal: Principal, path: ById, body: ReviseRequest
    ) -> IncidentDetail:
        """Add it."""
        return await self._done(
            lambda: self._incidents.revise(path.id, principal.account, t0=body.t0, reason=body.reason)
        )

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/note",
        summary="Write a line of an incident's timeline",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_NOTED,),
    )
    async def note_incident(self, call: Call, principal: Principal, path: ById, body: NoteRequest) -> IncidentDetail:
        """Write it."""
        return await self._done(
            lambda: self._incidents.note(path.id, principal.account, about=body.about, text=body.text)
        )

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/step",
        summary="Tell PP where things stand, and when it hears next",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_STEP_TOLD,),
    )
    async def tell_step(self, call: Call, principal: Principal, path: ById, body: StepRequest) -> IncidentDetail:
        """Leave it to the notifier."""
        return await self._done(
            lambda: self._incidents.tell_step(path.id, principal.account, text=body.text, next_by=body.next_by)
        )

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/classify",
        summary="Find an incident critical, or not",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_CLASSIFIED,),
    )
    async def classify_incident(
        self, call: Call, principal: Principal, path: ById, body: ClassifyRequest
    ) -> IncidentDetail:
        """Record what was found."""
        return await self._done(
            lambda: self._incidents.classify(path.id, principal.account, critical=body.critical, reason=body.reason)
        )

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/acknowledge",
        summary="Enter that PP has acknowledged",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_ACKNOWLEDGED,),
    )
    async def acknowledge_incident(
        self, call: Call, principal: Principal, path: ById, body: AcknowledgeRequest
    ) -> IncidentDetail:
        """Enter it."""
        return await self._done(
            lambda: self._incidents.acknowledge(
                path.id, principal.account, means=body.means, contact=body.contact, recipient=body.recipient
            )
        )

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/escalate",
        summary="Call upon the next level",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_ESCALATED,),
    )
    async def escalate_incident(
        self, call: Call, principal: Principal, path: ById, body: EscalateRequest
    ) -> IncidentDetail:
        """Record the call."""
        return await self._done(lambda: self._incidents.escalate(path.id, principal.account, **body.model_dump()))

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/clock",
        summary="Start another legal clock, from the awareness that a person states",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_CLOCK_STARTED,),
    )
    async def start_clock(
        self, call: Call, principal: Principal, path: ById, body: StartClockRequest
    ) -> IncidentDetail:
        """Start it."""
        return await self._done(
            lambda: self._incidents.start_clock(
                path.id, principal.account, clock=body.clock, start=body.start, within=body.within
            )
        )

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/clock/stop",
        summary="Enter that what a legal clock asks for was done",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_CLOCK_STOPPED,),
    )
    async def stop_clock(self, call: Call, principal: Principal, path: ById, body: StopClockRequest) -> IncidentDetail:
        """Enter it."""
        return await self._done(
            lambda: self._incidents.stop_clock(path.id, principal.account, clock=body.clock, done=body.done)
        )

    @operation(
        "POST",
        f"{API}/incidents/{{id}}/resolve",
        summary="Resolve an incident",
        roles=WRITERS,
        errors=_ERRORS,
        traces=(Kind.INCIDENT_RECOVERED, Kind.INCIDENT_RESOLVED),
    )
    async def resolve_incident(
        self, call: Call, principal: Principal, path: ById, body: ReasonRequest
    ) -> IncidentDetail:
        """Resolve it."""
        return await self._done(lambda: self._incidents.resolve(path.id, principal.account, reason=body.reason))

    async def _done(self, act: Callable[[], Incident]) -> IncidentDetail:
        try:
            return incident_detail(await asyncio.to_thread(act))
        except OpsError as error:
            raise _refusal(error) from error


def _refusal(error: OpsError) -> Refusal:
    if isinstance(error, UnknownIncident):
        return UnknownRecord("Aucun incident de cette référence.")
    if isinstance(error, IncidentRefused):
        return InvalidCall([Fault(where="body", message=str(error))])
    return StateStoreUnavailable("Le registre de l'incident n'a pu être lu ou écrit durablement.")
