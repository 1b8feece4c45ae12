"""What the API asks of whoever keeps the convention's life; ``app`` gives the implementations.

Each act is traced before it takes effect, behind these ports. Methods raise InvalidCall for what the convention does
not allow, and UnknownRecord.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
    AnnexRequest,
    AnnexShape,
    CharterShape,
    ConventionShape,
    OppositionRequest,
)
from halfgateway.api.operation import Attachment
from ops.interconnection import Author


class Changes(Protocol):
    """Planned changes and maintenance windows (C15, P07)."""

    async def changes(self) -> Sequence[ChangeShape]:
        """Every change, newest first."""

    async def announce(self, wish: ChangeRequest, *, by: Actor) -> ChangeShape:
        """Record a party's announcement."""

    async def classify(self, number: int, wish: ClassificationRequest, *, by: Actor) -> ChangeShape:
        """Record what was decided of it."""

    async def agree(self, number: int, wish: AgreementRequest, *, by: Actor) -> ChangeShape:
        """Record a party's agreement to an earlier day."""

    async def schedule(self, number: int, wish: ScheduleRequest, *, by: Actor) -> ChangeShape:
        """Set its day."""

    async def go_live(self, number: int, *, by: Actor) -> ChangeShape:
        """Record that it is live."""

    async def withdraw(self, number: int, *, reason: str, by: Actor) -> ChangeShape:
        """Give it up."""

    async def windows(self) -> Sequence[WindowShape]:
        """Every window, newest first."""

    async def plan(self, wish: WindowRequest, *, author: Author, by: Actor) -> WindowShape:
        """Plan an interruption and announce it."""

    async def withdraw_window(self, number: int, *, reason: str, by: Actor) -> WindowShape:
        """Give up one that has not begun."""


class Annexes(Protocol):
    """The annexes' versions (C07, C20), and the charter (L25)."""

    async def annexes(self) -> Sequence[AnnexShape]:
        """Every version, newest first."""

    async def inform(self, annex: int, wish: AnnexRequest, *, by: Actor) -> AnnexShape:
        """Record a new version."""

    async def oppose(self, annex: int, version: int, wish: OppositionRequest, *, by: Actor) -> AnnexShape:
        """Record the co-contractant's opposition."""

    async def document(self, annex: int, version: int) -> Attachment:
        """What a version says."""

    async def diagram(self) -> Attachment:
        """SYN's half of annex 1 as it would be drawn now."""

    async def charter(self, reader: Principal) -> CharterShape:
        """The charter in force."""

    async def acknowledge(self, version: int, *, reader: Principal, by: Actor) -> CharterShape:
        """Record that the reader has read it."""


class ConventionLife(Protocol):
    """The convention's calendar (C18, C22) and its acceptance (C23)."""

    async def standing(self) -> ConventionShape:
        """How it stands, with every act on record."""

    async def record_act(self, wish: ActRequest, *, by: Actor) -> ConventionShape:
        """Record a party's act."""

    async def plan_acceptance(self) -> AcceptancePlan:
        """The run, with what the node sees now."""

    async def accept(self, wish: AcceptanceRequest, *, by: Actor) -> AcceptanceShape:
        """Write the signed record of a run."""

    async def acceptances(self) -> Sequence[AcceptanceShape]:
        """Every record, newest first."""

    async def acceptance(self, number: int, form: AcceptanceForm) -> Attachment:
        """One record, to hand out."""
