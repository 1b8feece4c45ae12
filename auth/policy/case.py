"""One question to the policy, and the form of what is asked about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from auth.policy.convention import Convention, DegradedMode
from auth.principals import Attribution, Principal, Role
from auth.rights import Action, BlockKind, Designation, Habilitation, Rights
from camera_registry.cameras import Camera
from camera_registry.orders import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question. ``action`` and ``camera`` are None where only the person's standing is asked.

    ``source`` is the requester's address, ``start`` where footage is to begin, ``number`` that of the request;
    ``order`` is the one under which the camera is looked at, ``mode`` the degraded one that is in force, if any.
    """

    requester: Principal
    now: datetime
    convention: Convention
    rights: Rights
    action: Action | None = None
    camera: Camera | None = None
    source: str | None = None
    start: datetime | None = None
    number: str = ""
    order: Order | None = None
    mode: DegradedMode | None = None

    @property
    def role(self) -> Role:
        """The role to be habilitated for: an asserted agent watches as an operator, whatever machine speaks for it."""
        asserted = self.requester.attribution is Attribution.AGENT_ASSERTED
        return Role.OPERATOR if asserted else self.requester.role

    @property
    def designation(self) -> Designation | None:
        """The requester's."""
        return self.rights.designation(self.requester.agent)

    @property
    def service(self) -> str | None:
        """The service for which the requester asks."""
        if self.requester.service is not None or self.designation is None:
            return self.requester.service
        return self.designation.service

    @property
    def held(self) -> list[Habilitation]:
        """The requester's habilitations for the role that are in force."""
        return [each for each in self.rights.habilitations_of(self.requester.agent, self.role) if each.holds(self.now)]

    @property
    def granted(self) -> list[Habilitation]:
        """Those of them that allow the action."""
        return [each for each in self.held if self.action is None or self.action in each.actions]

    @property
    def usable(self) -> list[Habilitation]:
        """Those of these that may be used from where the requester is."""
        return [each for each in self.granted if each.usable_from(self.source)]

    def blocked(self, kind: BlockKind, subject: str | None) -> bool:
        """Whether a block on this subject is in force."""
        return self.rights.is_blocked(kind, subject, self.now)


class About(StrEnum):
    """What a condition looks at; those of a kind stand together in the table."""

    REQUESTER = "requester"
    CAMERA = "camera"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Condition:
    """One line. ``reason`` is what the trace says when it fails, ``refusal`` the code that the requester is told.

    ``standing``: also asked of everybody who logs in or calls. ``listing``: also asked before a camera is listed.
    ``personal``: not asked where a machine comes for its agents and none is named yet. ``entering``: asked before a
    stream begins, and not again while it runs.
    """

    about: About
    asks: str
    reason: str
    refusal: str
    source: str
    holds: Callable[[Case], bool]
    says: Callable[[Case], str]
    standing: bool = False
    listing: bool = True
    personal: bool = False
    entering: bool = False
