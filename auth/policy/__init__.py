"""Who may do what, now: one pure decision over the convention and the records, and why it says no.

It reads no clock and asks no one. The refusals are those of the HTTP problems and of the trace; the reasons, finer, are
for the trace alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from auth.policy.case import About, Case, Condition
from auth.policy.conditions import CONDITIONS, WATCHING_ROLES
from auth.policy.convention import CONVENTION_CAP, Convention, DegradedMode
from auth.principals import Factor, Principal, Role
from auth.rights import Action, Rights
from camera_registry.cameras import Camera
from camera_registry.orders import CONVENTION_RETENTION_DAYS

__all__ = [
    "ALLOWED",
    "CONDITIONS",
    "CONVENTION_CAP",
    "CONVENTION_RETENTION_DAYS",
    "WATCHING_ROLES",
    "About",
    "Action",
    "Condition",
    "Convention",
    "Decision",
    "DegradedMode",
    "Mode",
    "decide",
    "may_know_of",
    "standing",
]


class Mode(StrEnum):
    """What is watched: *Temps réel* or *Temps différé* (article 2)."""

    LIVE = "live"
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes, or no with the reason code, a sentence in French for the requester, and the trace's finer reason."""

    refusal: str | None = None
    detail: str = ""
    reason: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether access is allowed."""
        return self.refusal is None


ALLOWED = Decision()

_GENERAL = tuple(condition for condition in CONDITIONS if condition.about is not About.ORDER)
_OF_WHAT_RUNS = tuple(condition for condition in _GENERAL if not condition.entering)
_OF_ORDER = tuple(condition for condition in CONDITIONS if condition.about is About.ORDER)
_SEEING_ALL = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})


def decide(
    requester: Principal,
    camera: Camera | None,
    action: Action,
    now: datetime,
    convention: Convention,
    rights: Rights,
    *,
    source: str | None = None,
    start: datetime | None = None,
    number: str = "",
    mode: DegradedMode | None = None,
    running: bool = False,
) -> Decision:
    """Whether ``requester`` may do this with the camera's images at ``now``.

    Args:
        source: the requester's address; None where it does not matter.
        start: where footage is to begin, an aware instant; None for live images, or not known yet.
        number: under which the request is recorded; the answer names it.
        mode: the degraded mode in force, if any.
        running: the stream was granted before and is asked about again.
    """
    case = Case(
        requester=requester,
        camera=camera,
        action=action,
        now=now,
        convention=convention,
        rights=rights,
        source=source,
        start=start,
        number=number,
        mode=mode,
    )
    return _decided(case, _OF_WHAT_RUNS if running else _GENERAL)


def standing(
    requester: Principal, now: datetime, convention: Convention, rights: Rights, *, source: str | None = None
) -> Decision:
    """Whether ``requester`` may come in at all, in their role.

    A machine that no agent answers for has no designation: what it asks for is decided when it asks. Nor has who comes
    by a sealed credential, which is alarmed, and over within the hour (C21).
    """
    case = Case(requester=requester, now=now, convention=convention, rights=rights, source=source)
    sealed = Factor.BREAK_GLASS in requester.factors
    nobody = requester.agent is None and (sealed or requester.role is Role.MACHINE)
    asked = (condition for condition in CONDITIONS if condition.standing and not (nobody and condition.personal))
    failed = _first_failing(asked, case)
    return ALLOWED if failed is None else _refused(failed, case)


def may_know_of(viewer: Principal, camera: Camera, now: datetime, convention: Convention, rights: Rights) -> bool:
    """Whether the camera is shown to ``viewer`` in lists: to PP's side only what an order exposes to it (L06).

    A machine asks for all its agents: it sees what its service may.
    """
    if viewer.role in _SEEING_ALL:
        return True
    case = Case(requester=viewer, camera=camera, now=now, convention=convention, rights=rights)
    for_others = viewer.role is Role.MACHINE
    asked = [each for each in _GENERAL if each.listing and not (for_others and each.personal)]
    return _decided(case, asked).allowed


def oldest_accessible(
    requester: Principal, camera: Camera, now: datetime, convention: Convention, rights: Rights
) -> datetime | None:
    """The oldest instant whose footage may be reached now (C03): by the order that lets the most of it be seen.

    None where no order lets any be seen. Whether the requester may watch at all is :func:`decide`'s to say.
    """
    oldest: datetime | None = None
    for order in rights.orders_of(camera):
        start = convention.accessible_from(now, order)
        case = Case(
            requester=requester,
            camera=camera,
            action=Action.RECORDED,
            now=now,
            convention=convention,
            rights=rights,
            start=start,
            order=order,
        )
        asked = [each for each in _OF_ORDER if not (each.personal and requester.role is Role.MACHINE)]
        if _first_failing(asked, case) is None and (oldest is None or start < oldest):
            oldest = start
    return oldest


def _decided(case: Case, general: Iterable[Condition]) -> Decision:
    """One order that allows suffices; where none does, the one that came furthest tells why."""
    failed = _first_failing(general, case)
    if failed is not None:
        return _refused(failed, case)
    orders = case.rights.orders_of(case.camera) if case.camera is not None else ()
    closest: tuple[int, Decision] | None = None
    for order in orders or (None,):
        under_it = replace(case, order=order)
        failed = _first_failing(_OF_ORDER, under_it)
        if failed is None:
            return ALLOWED
        came = _OF_ORDER.index(failed)
        if closest is None or came > closest[0]:
            closest = came, _refused(failed, under_it)
    return closest[1] if closest is not None else ALLOWED


def _first_failing(conditions: Iterable[Condition], case: Case) -> Condition | None:
    return next((condition for condition in conditions if not condition.holds(case)), None)


def _refused(condition: Condition, case: Case) -> Decision:
    return Decision(condition.refusal, condition.says(case), condition.reason)
