"""How the convention's life is told in the trace: kinds and details, without names and without documents (C17)."""

from __future__ import annotations

from auth.trace import Kind
from camera_registry.clock import rfc3339
from ops.acceptance import SignedAcceptance
from ops.annexes import AnnexVersion
from ops.calendar import Act, ActKind, Reminder
from ops.changes import Change
from ops.windows import MaintenanceWindow

Told = tuple[Kind, dict[str, object]]

KIND_OF_ACT = {act: Kind(f"convention.{act.value}") for act in ActKind}
"""The kind of entry that each act on the convention leaves."""


def change_entry(kind: Kind, change: Change) -> Told:
    """A step of a change, with what was decided so far."""
    decided = change.classification
    about: dict[str, object] = {
        "change": change.number,
        "party": change.party.value,
        "title": change.title,
        "reference": change.reference,
        "announced_at": rfc3339(change.announced_at),
        "wished_on": change.wished_on.isoformat(),
        "earliest": change.earliest.isoformat(),
        "scheduled_on": change.scheduled_on.isoformat() if change.scheduled_on is not None else None,
        "withdrawal": change.withdrawal,
        "agreements": {
            party.value: {"not_before": each.not_before.isoformat(), "reference": each.reference}
            for party, each in sorted(change.agreements.items())
        },
    }
    if decided is not None:
        about |= {
            "major": decided.major,
            "project_structure": decided.project_structure,
            "decided_by": decided.decided_by,
            "decision": decided.reference,
        }
    return kind, _known(about)


def window_entry(window: MaintenanceWindow, what: str) -> Told:
    """A window that is planned, withdrawn or held; its cut and its restoration have entries of their own."""
    kinds = {"window-planned": Kind.CHANGE_ANNOUNCED, "window-withdrawn": Kind.CHANGE_WITHDRAWN}
    about: dict[str, object] = {
        "what": what,
        "window": window.number,
        "incident": window.incident,
        "starts_at": rfc3339(window.starts_at),
        "cut_at": rfc3339(window.cut_at),
        "ends_at": rfc3339(window.ends_at),
        "reason": window.reason,
        "change": window.change,
        "planned_by": window.planned_by,
        "withdrawal": window.withdrawal,
    }
    return kinds.get(what, Kind.CHANGE_WINDOW_HELD), _known(about)


def annex_entry(version: AnnexVersion) -> Told:
    """A version as it stands: opposed, in force, or informed of."""
    if version.opposed_at is not None:
        kind = Kind.ANNEX_OPPOSED
    elif version.in_force_at is not None:
        kind = Kind.ANNEX_IN_FORCE
    else:
        kind = Kind.ANNEX_INFORMED
    about: dict[str, object] = {
        "annex": version.annex.value,
        "version": version.version,
        "party": version.party.value,
        "summary": version.summary,
        "reference": version.reference,
        "sha256": version.sha256,
        "informed_at": rfc3339(version.informed_at),
        "effective_at": rfc3339(version.effective_at),
        "opposed_by": version.opposed_by.value if version.opposed_by is not None else None,
        "opposition": version.opposition,
    }
    return kind, _known(about)


def charter_entry(version: AnnexVersion) -> Told:
    """An agent acknowledges the charter; who it is stands in the entry's own fields."""
    return Kind.ANNEX_ACKNOWLEDGED, {
        "annex": version.annex.value,
        "version": version.version,
        "sha256": version.sha256,
    }


def act_entry(act: Act) -> Told:
    """An act on the convention itself, each of a kind of its own."""
    about: dict[str, object] = {
        "act": act.number,
        "party": act.party.value,
        "reference": act.reference,
        "day": act.day.isoformat(),
        "ground": act.ground.value if act.ground is not None else None,
        "effect": rfc3339(act.effect) if act.effect is not None else None,
        "answers": act.answers,
    }
    return KIND_OF_ACT[act.kind], _known(about)


def reminder_entry(reminder: Reminder) -> Told:
    """Both parties are reminded of a term."""
    return Kind.CONVENTION_REMINDED, {
        "reminder": reminder.id,
        "term": rfc3339(reminder.term),
    }


def acceptance_entry(signed: SignedAcceptance) -> Told:
    """An acceptance record: by its hash, for it names persons."""
    return Kind.ACCEPTANCE_RECORDED, {
        "acceptance": signed.number,
        "accepted": signed.accepted,
        "sha256": signed.sha256,
    }


def _known(about: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in about.items() if value is not None}
