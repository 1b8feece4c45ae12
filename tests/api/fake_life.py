"""The convention's life behind the API, as small as can be: what is asked for is said to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from auth.principals import Principal
from auth.register import Actor
from halfgateway.api.change_shapes import (
    AgreementRequest,
    ChangeRequest,
    ChangeShape,
    ClassificationRequest,
    ScheduleRequest,
    WindowRequest,
    WindowShape,
)
from halfgateway.api.life_shapes import (
    AcceptanceForm,
    AcceptancePlan,
    AcceptanceRequest,
    AcceptanceShape,
    ActRequest,
    ActShape,
    AnnexRequest,
    AnnexShape,
    CharterShape,
    ConventionShape,
    OppositionRequest,
)
from halfgateway.api.operation import Attachment
from ops.acceptance import Result, SignedAcceptance
from ops.annexes import Annex, AnnexVersion, Document, MediaType, orders_document
from ops.calendar import Act, ActKind
from ops.changes import Agreement, Change, Classification
from ops.interconnection import Author
from ops.parties import Party
from ops.windows import MaintenanceWindow

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
CHANGE = Change(
    number=1,
    party=Party.SYN,
    title="Nouveau pare-feu",
    description="Remplacement du pare-feu de la Demi-Passerelle Partenaire.",
    reference="SYN-2026-4",
    announced_at=NOW,
    wished_on=date(2027, 1, 10),
    classification=Classification(True, False, "comité technique", "CT-7", NOW),
    agreements={Party.PP: Agreement(date(2026, 12, 1), "PP-3", NOW)},
)
CHARTER = AnnexVersion(
    annex=Annex.CHARTER,
    version=1,
    party=Party.PP,
    summary="version signée",
    reference="convention",
    media_type=MediaType.TEXT,
    sha256="00" * 32,
    size_bytes=6,
    informed_at=NOW,
    informed_by="officer",
    effective_at=NOW,
    in_force_at=NOW,
)
ACT = Act(
    number=1,
    kind=ActKind.DENOUNCED,
    party=Party.PP,
    reference="LRAR 1A",
    day=date(2026, 11, 20),
    recorded_at=NOW,
    recorded_by="officer",
)
SIGNED = SignedAcceptance(
    number=1,
    accepted=True,
    held_at=NOW,
    recorded_by="officer",
    document=b"{}",
    signature=b"00",
    public_key_pem="-",
)


@dataclass
class FakeChanges:
    """One change, and every window that is planned."""

    actors: list[Actor] = field(default_factory=list)

    async def changes(self) -> Sequence[ChangeShape]:
        return [ChangeShape.of(CHANGE)]

    async def announce(self, wish: ChangeRequest, *, by: Actor) -> ChangeShape:
        return self._done(by)

    async def classify(self, number: int, wish: ClassificationRequest, *, by: Actor) -> ChangeShape:
        return self._done(by)

    async def agree(self, number: int, wish: AgreementRequest, *, by: Actor) -> ChangeShape:
        return self._done(by)

    async def schedule(self, number: int, wish: ScheduleRequest, *, by: Actor) -> ChangeShape:
        return self._done(by)

    async def go_live(self, number: int, *, by: Actor) -> ChangeShape:
        return self._done(by)

    async def withdraw(self, number: int, *, reason: str, by: Actor) -> ChangeShape:
        return self._done(by)

    async def windows(self) -> Sequence[WindowShape]:
        return [WindowShape.of(_window(), NOW)]

    async def plan(self, wish: WindowRequest, *, author: Author, by: Actor) -> WindowShape:
        self.actors.append(by)
        return WindowShape.of(_window(), NOW)

    async def withdraw_window(self, number: int, *, reason: str, by: Actor) -> WindowShape:
        self.actors.append(by)
        return WindowShape.of(_window(), NOW)

    def _done(self, by: Actor) -> ChangeShape:
        self.actors.append(by)
        return ChangeShape.of(CHANGE)


@dataclass
class FakeAnnexes:
    """The charter, in its one version."""

    actors: list[Actor] = field(default_factory=list)

    async def annexes(self) -> Sequence[AnnexShape]:
        return [AnnexShape.of(CHARTER, served=True)]

    async def inform(self, annex: int, wish: AnnexRequest, *, by: Actor) -> AnnexShape:
        self.actors.append(by)
        return AnnexShape.of(CHARTER, served=False)

    async def oppose(self, annex: int, version: int, wish: OppositionRequest, *, by: Actor) -> AnnexShape:
        self.actors.append(by)
        return AnnexShape.of(CHARTER, served=False)

    async def document(self, annex: int, version: int) -> Attachment:
        return Attachment(orders_document(["a"]).content, MediaType.PDF.value, "annexe-8-v1.json")

    async def diagram(self) -> Attachment:
        return Attachment(b"<svg/>", MediaType.SVG.value, "annexe-1.svg")

    async def charter(self, reader: Principal) -> CharterShape:
        return CharterShape.of(CHARTER, Document(b"Charte", MediaType.TEXT), acknowledged=False)

    async def acknowledge(self, version: int, *, reader: Principal, by: Actor) -> CharterShape:
        self.actors.append(by)
        return CharterShape.of(CHARTER, Document(b"Charte", MediaType.TEXT), acknowledged=True)


@dataclass
class FakeConvention:
    """Denounced, accepted."""

    actors: list[Actor] = field(default_factory=list)

    async def standing(self) -> ConventionShape:
        return ConventionShape(
            id="syn-pp",
            in_force=True,
            in_force_from=NOW,
            term=NOW,
            last_term=NOW,
            renewed=False,
            may_end_from=NOW,
            may_terminate_from=None,
            ended_at=None,
            to_be_recorded=True,
            pvpp_until=None,
            accepted=True,
            acts=(ActShape.of(ACT),),
        )

    async def record_act(self, wish: ActRequest, *, by: Actor) -> ConventionShape:
        self.actors.append(by)
        return await self.standing()

    async def plan_acceptance(self) -> AcceptancePlan:
        return AcceptancePlan.of((Result("trace", True, "répond"),))

    async def accept(self, wish: AcceptanceRequest, *, by: Actor) -> AcceptanceShape:
        self.actors.append(by)
        return AcceptanceShape.of(SIGNED)

    async def acceptances(self) -> Sequence[AcceptanceShape]:
        return [AcceptanceShape.of(SIGNED)]

    async def acceptance(self, number: int, form: AcceptanceForm) -> Attachment:
        return Attachment(b"%PDF", "application/pdf", "recette-1.pdf")


def _window() -> MaintenanceWindow:
    return MaintenanceWindow(
        number=1,
        starts_at=NOW + timedelta(days=2),
        ends_at=NOW + timedelta(days=2, hours=2),
        drain=timedelta(minutes=5),
        reason="mise à jour",
        change=None,
        planned_by="ops",
        author=Author.OPS,
        announced_at=NOW,
    )
