"""The interconnection: its state, the cut, the restoration (article 8)."""

from __future__ import annotations

from datetime import timedelta

from auth.principals import Principal, Role
from auth.trace import Kind
from camera_registry.clock import Clock
from halfgateway.api.operation import EVERYONE, Call, Forbidden, operation
from halfgateway.api.paths import API
from halfgateway.api.ports import Interconnection
from halfgateway.api.problems import Fault, InvalidCall
from halfgateway.api.restoration_shapes import PreflightShape, RestoreAnswer
from halfgateway.api.shapes import CutAnswer, CutRequest, DegradeRequest, InterconnectionView, RestoreRequest
from halfgateway.errors import PreflightFailed, ProposalLapsed, Refusal, StateStoreUnavailable, TraceUnavailable
from ops.errors import (
    DegradationRefused,
    DrillRefused,
    LocalRecordError,
    NothingToRestore,
    OfficerRequired,
    OpsError,
    PersonRequired,
    WrongIncident,
)

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far ahead of ours the clock of whoever declares an incident may be."""

_WORDS: dict[type[OpsError], str] = {
    NothingToRestore: "L'Interconnexion n'est pas interrompue.",
    WrongIncident: "L'interruption en cours relève d'un autre incident.",
    DrillRefused: "L'Interconnexion est interrompue : aucun exercice n'est possible.",
    DegradationRefused: "Ce mode ne peut être pris : l'Interconnexion y est déjà, est interrompue ou en exercice.",
}


class InterconnectionRoutes:
    """Cuts and restores; every change is traced behind the port."""

    def __init__(self, interconnection: Interconnection, clock: Clock) -> None:
        self._interconnection = interconnection
        self._clock = clock

    @operation(
        "GET",
        f"{API}/interconnection",
        summary="Show the interconnection's state and its slots",
        roles=EVERYONE,
        untraced="tells the state that every party is told of",
    )
    async def show_interconnection(self, call: Call, principal: Principal) -> InterconnectionView:
        """Show the state as this node enforces it."""
        return await self._interconnection.view()

    @operation(
        "POST",
        f"{API}/interconnection/cut",
        summary="Cut the interconnection at once",
        roles={Role.OPS, Role.OFFICER},
        errors=(TraceUnavailable,),
        traces=(Kind.INTERCONNECTION_CUT,),
    )
    async def cut_interconnection(self, call: Call, principal: Principal, body: CutRequest) -> CutAnswer:
        """Cut, and tell what was closed."""
        occurred_at = body.occurred_at
        if occurred_at is not None and occurred_at > self._clock.now() + CLOCK_TOLERANCE:
            raise InvalidCall([Fault(where="body.occurred_at", message="in the future")])
        try:
            outcome = await self._interconnection.cut(
                by=principal, ground=body.ground, reason=body.reason, occurred_at=occurred_at, source=call.source
            )
        except OpsError as error:
            raise _refusal(error) from error
        view = (await self._interconnection.view()).model_dump()
        view["incident"] = outcome.incident
        return CutAnswer(**view, at=outcome.at, nodes=tuple(outcome.nodes))

    @operation(
        "GET",
        f"{API}/interconnection/preflight",
        summary="Look at what is well and what is not, before a restoration",
        roles={Role.OPS, Role.OFFICER},
        untraced="looks at the node's own parts; what a restoration found is in its entry",
    )
    async def show_preflight(self, call: Call, principal: Principal) -> PreflightShape:
        """Look now."""
        return await self._interconnection.preflight()

    @operation(
        "POST",
        f"{API}/interconnection/restore",
        summary="Restore what an incident has cut, or propose it to a second person",
        roles={Role.OPS, Role.OFFICER},
        errors=(TraceUnavailable, PreflightFailed, ProposalLapsed),
        traces=(
            Kind.INTERCONNECTION_RESTORED,
            Kind.INTERCONNECTION_RESTORATION_PROPOSED,
            Kind.INTERCONNECTION_RESTORATION_REFUSED,
        ),
    )
    async def restore_interconnection(self, call: Call, principal: Principal, body: RestoreRequest) -> RestoreAnswer:
        """Restore, and tell the state."""
        try:
            proposal = await self._interconnection.restore(
                by=principal, incident=body.incident, reason=body.reason, motive=body.motive, source=call.source
            )
        except OpsError as error:
            raise _refusal(error) from error
        return RestoreAnswer(**(await self._interconnection.view()).model_dump(), proposal=proposal)

    @operation(
        "POST",
        f"{API}/interconnection/degrade",
        summary="Go on with less, in a mode that PP has agreed to, or with everything again",
        roles={Role.OPS, Role.OFFICER},
        errors=(TraceUnavailable,),
        traces=(Kind.INTERCONNECTION_DEGRADED, Kind.INTERCONNECTION_RESTORED),
    )
    async def degrade_interconnection(
        self, call: Call, principal: Principal, body: DegradeRequest
    ) -> InterconnectionView:
        """Change the mode, and tell the state."""
        try:
            await self._interconnection.degrade(by=principal, mode=body.mode, reason=body.reason, source=call.source)
        except OpsError as error:
            raise _refusal(error) from error
        return await self._interconnection.view()


def _refusal(error: OpsError) -> Refusal:
    if isinstance(error, OfficerRequired | PersonRequired):
        return Forbidden("Après une mesure de sécurité, seul le responsable de la sécurité rétablit.")
    if isinstance(error, LocalRecordError):
        return StateStoreUnavailable("L'état de l'Interconnexion n'a pu être enregistré durablement.")
    return InvalidCall([Fault(where="body", message=_WORDS.get(type(error), str(error)))])
