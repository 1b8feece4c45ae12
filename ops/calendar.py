"""The convention's calendar (article 11; C18) and the PVPP's own order (article 1; C22). Pure.

Five years, tacitly renewed once. Denounced at any time by registered letter with three months' notice; thirty days
after a formal notice a party *may* terminate. Nothing here ends the convention by itself: the end is the instant that
a person records with its references, or ten years. All days are days in Paris; a month after the 31st is the month's
last day; five years are full at the beginning of the same day, five years on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from auth.policy import Convention
from camera_registry.paris import day_of, end_of_day, months_after, start_of_day
from ops.errors import ActRefused
from ops.parties import Party

DENUNCIATION_MONTHS = 3
"""Months between the receipt of a denunciation and the end that it may bring (article 11)."""

FORMAL_NOTICE_DAYS = 30
"""Days that a party has to meet its obligations, from the receipt of the formal notice (article 11)."""

REMINDER_MONTHS = (12, 6, 3, 1)
REMINDER_DAYS = 7
"""How far ahead of a term both parties are reminded (C18)."""


class ActKind(StrEnum):
    """What a party, or the calendar, has done to the convention."""

    DENOUNCED = "denounced"
    DENUNCIATION_WITHDRAWN = "denunciation-withdrawn"
    FORMAL_NOTICE = "formal-notice"
    FORMAL_NOTICE_MET = "formal-notice-met"
    RENEWED = "renewed"
    END_RECORDED = "end-recorded"
    END_WITHDRAWN = "end-withdrawn"
    PVPP_ORDER = "pvpp-order"


class EndGround(StrEnum):
    """Why the convention ends."""

    DENUNCIATION = "denunciation"
    TERMINATION = "termination"
    AGREEMENT = "agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act on record, never edited. ``day`` is that of the letter's receipt, of an order's signature.

    ``effect`` is the instant at which an end takes effect, or an order's first instant of being over; ``answers`` the
    number of the notice that a termination relies on, or that was met.
    """

    number: int
    kind: ActKind
    party: Party
    reference: str
    day: date
    recorded_at: datetime
    recorded_by: str
    ground: EndGround | None = None
    effect: datetime | None = None
    answers: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the convention stands by the acts on record.

    ``may_end_from`` is the earliest end that a standing denunciation allows, ``may_terminate_from`` the earliest that a
    formal notice does which was not met. ``to_be_recorded``: such an instant has come, and nobody has recorded an end.
    """

    renewed: bool
    term: datetime
    ended_at: datetime | None
    may_end_from: datetime | None
    may_terminate_from: datetime | None
    pvpp_until: datetime | None
    to_be_recorded: bool


@dataclass(frozen=True, slots=True)
class Reminder:
    """A term that nears; ``id`` is the same on every node and at every look."""

    id: str
    what: str
    term: datetime
    lead: str


def standing(convention: Convention, acts: Sequence[Act], now: datetime) -> Standing:
    """Return how the convention stands now. A recorded end in the configuration counts like one on record."""
    renewed = any(act.kind is ActKind.RENEWED for act in acts)
    ends = [end for end in (convention.ended_at, recorded_end(acts)) if end is not None]
    denunciation = _last(acts, ActKind.DENOUNCED, undone_by=ActKind.DENUNCIATION_WITHDRAWN)
    may_end = denunciation_ends(denunciation.day) if denunciation is not None else None
    may_terminate = min((formal_notice_ends(act.day) for act in _unmet_notices(acts)), default=None)
    orders = [act for act in acts if act.kind is ActKind.PVPP_ORDER and act.effect is not None]
    come = [] if may_end is None else [may_end, *([] if renewed else [convention.first_term])]
    return Standing(
        renewed=renewed,
        term=convention.last_term if renewed else convention.first_term,
        ended_at=min(ends, default=None),
        may_end_from=may_end,
        may_terminate_from=may_terminate,
        pvpp_until=max((act.effect for act in orders if act.effect is not None), default=None),
        to_be_recorded=not ends and any(instant <= now for instant in come),
    )


def recorded_end(acts: Sequence[Act]) -> datetime | None:
    """The end that a person recorded, and nobody has withdrawn."""
    recorded = _last(acts, ActKind.END_RECORDED, undone_by=ActKind.END_WITHDRAWN)
    return recorded.effect if recorded is not None else None


def denunciation_ends(received_on: date) -> datetime:
    """The earliest end that a denunciation received on that day may bring: its three months are over."""
    return end_of_day(months_after(received_on, DENUNCIATION_MONTHS))


def formal_notice_ends(received_on: date) -> datetime:
    """From when a party may terminate: the thirty days from the letter's receipt are over."""
    return end_of_day(received_on + timedelta(days=FORMAL_NOTICE_DAYS))


def is_due_for_renewal(convention: Convention, acts: Sequence[Act], now: datetime) -> bool:
    """Whether five years are full and the convention is renewed by silence: nobody denounced it, nobody ended it."""
    known = standing(convention, acts, now)
    untouched = not known.renewed and known.ended_at is None and known.may_end_from is None
    return untouched and convention.first_term <= now < convention.last_term


def check(convention: Convention, acts: Sequence[Act], act: Act) -> None:
    """Let an act be recorded that article 11 allows now. Raises ActRefused."""
    known = standing(convention, acts, act.recorded_at)
    if act.day > day_of(act.recorded_at) and act.kind is not ActKind.PVPP_ORDER:
        raise ActRefused("La date d'un acte enregistré ne peut être à venir.")
    match act.kind:
        case ActKind.DENOUNCED if known.may_end_from is not None:
            raise ActRefused("Une dénonciation est déjà enregistrée.")
        case ActKind.DENUNCIATION_WITHDRAWN if known.may_end_from is None:
            raise ActRefused("Aucune dénonciation n'est enregistrée.")
        case ActKind.FORMAL_NOTICE_MET if all(notice.number != act.answers for notice in _unmet_notices(acts)):
            raise ActRefused("Aucune mise en demeure de ce numéro n'attend de suite.")
        case ActKind.END_WITHDRAWN if _last(acts, ActKind.END_RECORDED, undone_by=ActKind.END_WITHDRAWN) is None:
            raise ActRefused("Aucune fin n'est enregistrée.")
        case ActKind.PVPP_ORDER if act.effect is None:
            raise ActRefused("L'arrêté qui autorise le PVPP a un dernier jour de validité.")
        case ActKind.END_RECORDED:
            _check_end(known, acts, act)
        case _:
            return


def reminders_due(
    convention: Convention, acts: Sequence[Act], now: datetime, told: Iterable[str] = ()
) -> list[Reminder]:
    """The reminders to send now: of each term the nearest whose instant has come, unless it was ``told`` (by id)."""
    known = set(told)
    due = []
    for what, term in _terms(convention, acts, now):
        come = [reminder for instant, reminder in _reminders_of(what, term) if instant <= now < term]
        due += [reminder for reminder in come[-1:] if reminder.id not in known]
    return due


def _terms(convention: Convention, acts: Sequence[Act], now: datetime) -> Iterator[tuple[str, datetime]]:
    known = standing(convention, acts, now)
    yield ("renewal" if not known.renewed else "last-term"), known.term
    if known.ended_at is not None:
        yield "end", known.ended_at
    if known.may_end_from is not None:
        yield "denunciation", known.may_end_from
    if known.pvpp_until is not None:
        yield "pvpp-order", known.pvpp_until


def _reminders_of(what: str, term: datetime) -> Iterator[tuple[datetime, Reminder]]:
    """The reminders of one term with their instants, the earliest first."""
    day = day_of(term)
    leads = [(f"{months}m", months_after(day, -months)) for months in REMINDER_MONTHS]
    leads.append((f"{REMINDER_DAYS}d", day - timedelta(days=REMINDER_DAYS)))
    for lead, on in leads:
        yield start_of_day(on), Reminder(f"{what}-{day:%Y%m%d}-{lead}", what, term, lead)


def _check_end(known: Standing, acts: Sequence[Act], act: Act) -> None:
    if act.effect is None or act.ground is None:
        raise ActRefused("Une fin a un instant et un fondement.")
    if known.ended_at is not None:
        raise ActRefused("Une fin est déjà enregistrée.")
    if act.ground is EndGround.DENUNCIATION and (known.may_end_from is None or act.effect < known.may_end_from):
        raise ActRefused("Une dénonciation prend effet trois mois après sa réception (article 11).")
    if act.ground is EndGround.TERMINATION:
        notices = [notice for notice in _unmet_notices(acts) if notice.number == act.answers]
        if not notices or act.effect < formal_notice_ends(notices[0].day):
            raise ActRefused(
                "La résiliation suppose une mise en demeure restée sans effet pendant 30 jours (article 11)."
            )


def _unmet_notices(acts: Sequence[Act]) -> list[Act]:
    met = {act.answers for act in acts if act.kind is ActKind.FORMAL_NOTICE_MET}
    return [act for act in acts if act.kind is ActKind.FORMAL_NOTICE and act.number not in met]


def _last(acts: Sequence[Act], kind: ActKind, *, undone_by: ActKind) -> Act | None:
    """The latest act of a kind, unless one after it undoes it. Acts are in the order of their numbers."""
    found = [act for act in acts if act.kind in {kind, undone_by}]
    return found[-1] if found and found[-1].kind is kind else None
