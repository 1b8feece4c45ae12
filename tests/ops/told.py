"""An incident as a test tells it, those who are told of it, and every mail that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from ops.annexes import Annex, AnnexVersion, MediaType
from ops.announcement_texts import (
    act_recorded,
    annex_informed,
    annex_opposed,
    change_announced,
    change_scheduled,
    reminded,
    window_planned,
    window_withdrawn,
)
from ops.announcements import Announcement
from ops.calendar import Act as ConventionAct
from ops.calendar import ActKind, Reminder
from ops.changes import Change
from ops.contacts import Contact, ContactRole, Directory, Sender
from ops.correspondence.matters import (
    Act,
    AlarmRaised,
    Anchoring,
    Announced,
    BreakGlass,
    Condition,
    Measure,
    Narrowed,
)
from ops.incidents.events import (
    DeadlineMissed,
    Event,
    Noted,
    NoticeKind,
    NoticeQueued,
    Opened,
    Recovered,
    Said,
    Source,
    StepTold,
)
from ops.incidents.incident import Incident, incident_of
from ops.interconnection import Author, Ground
from ops.notices.letters import (
    of_alarm,
    of_anchoring,
    of_announcement,
    of_break_glass,
    of_contact_test,
    of_measure,
    of_report,
)
from ops.notices.message import Composer
from ops.notices.rendering import Wording
from ops.notices.smime import SmimeSigner
from ops.notices.wording import Terms, wording_of
from ops.parties import Party
from ops.windows import MaintenanceWindow

T0 = datetime(2026, 11, 21, 2, 12, tzinfo=UTC)
"""03 h 12 in Paris."""

REF = "20261121T021200Z-7f3a01"
SINCE = date(2025, 10, 21)
MAILBOX = Contact("Permanence du PVPP", Party.PP, ContactRole.FUNCTIONAL_MAILBOX, "pvpp@pp.example", SINCE)
CONTRACTOR = Contact(
    "Mainteneur du PVPP", Party.PP, ContactRole.CONTRACTOR, "support@mainteneur.example", SINCE, employer_party=Party.PP
)
OPERATIONS = Contact("Service d'exploitation", Party.SYN, ContactRole.FUNCTIONAL_MAILBOX, "dpp@syn.example", SINCE)
POINT = Contact(
    "Astreinte SYN", Party.SYN, ContactRole.SINGLE_POINT, "astreinte@syn.example", SINCE, phone="01 00 00 00 03"
)
DIRECTORY = Directory((MAILBOX, CONTRACTOR, OPERATIONS, POINT))
TERMS = Terms(POINT, cap=10)
SENDER = Sender("dpp@syn.example", "Seine-et-Yvelines Numérique", "syn.example")
NOTICES = tuple(NoticeKind[name] for name in ("CUT", "UPDATE", "RESTORED", "CUT_AND_RESTORED"))
"""What the notices of an incident tell, but for the receipt of PP's own report."""

CHECKPOINT = "halfgateway/node-1\n412\nsmFf0nGJCzcHgh8xlIIbRSMbLpQoZ4LRg7EFxcwMhCM=\n\n— halfgateway/node-1 AbCd/+09\n"


def opened(
    ground: Ground | None = Ground.CRITICAL_INCIDENT,
    *,
    by: Author = Author.OPS,
    t0: datetime = T0,
    source: Source = Source.HEARTBEAT,
    stopped: datetime | None = T0 + timedelta(minutes=4),
    closed: int | None = 7,
    critical: bool | None = None,
    reason: str = "baie de commutation hors tension",
    scope: str | None = None,
) -> Opened:
    """How an incident begins; a drill interrupts nothing."""
    drill = ground is Ground.DRILL
    return Opened(
        t0=t0,
        t0_source=source,
        critical=ground is Ground.CRITICAL_INCIDENT if critical is None else critical,
        by=by,
        reason=reason,
        ground=ground,
        interrupted_at=None if drill else stopped,
        streams_closed=None if drill else closed,
        scope=scope,
    )


def incident(*said: Said, at: datetime = T0 + timedelta(minutes=4), ref: str = REF) -> Incident:
    """The incident of which this was said, all of it at one instant."""
    told = incident_of(ref, [Event(n=n, at=at, who="syn-ops-01", said=one) for n, one in enumerate(said)])
    assert told is not None
    return told


def queued(notice: str, tells: NoticeKind = NoticeKind.CUT) -> NoticeQueued:
    """A notice that waits to be sent."""
    return NoticeQueued(
        notice=notice,
        tells=tells,
        message_id=f"<{REF}.{notice}@syn.example>",
        sha256="0" * 64,
        recipients=("pvpp@pp.example",),
    )


def composer(signer: SmimeSigner | None = None, checkpoint: str | None = None) -> Composer:
    """What composes the mails of this incident."""
    return Composer(SENDER, lambda: DIRECTORY, lambda: 10, signer, lambda: checkpoint)


BACK = Recovered(at=T0 + timedelta(hours=4), reason="alimentation rétablie")
STEP = StepTold(text="L'alimentation est en cours de remplacement.", next_by=T0 + timedelta(hours=6))
SOON = T0 + timedelta(minutes=5)
LATE = T0 + timedelta(hours=9, minutes=30)
MISSED = DeadlineMissed(deadline=T0 + timedelta(hours=8), reason="les deux serveurs de messagerie étaient arrêtés.")
NATURE = Noted(about="nature", text="panne d'alimentation électrique")
CAUSE = Noted(about="cause", text="défaut d'un onduleur")
GAP = Noted(about="recordings", text="2026-11-21T02:12:00Z")


def measure(
    act: Act,
    touches: Narrowed,
    name: str,
    reason: str,
    *,
    reference: str = "m-1",
    by: Author = Author.OPS,
    until: datetime | None = None,
) -> Measure:
    """A measure short of a cut, taken at T0."""
    return Measure(reference=reference, act=act, touches=touches, name=name, reason=reason, by=by, at=T0, until=until)


def announced(filed: Announcement) -> Announced:
    """What the node has filed, as its correspondence has it."""
    return Announced(reference=filed.id, to=filed.to, subject=filed.subject, text=filed.text, answers=filed.answers)


def planned_window() -> MaintenanceWindow:
    """Two hours of maintenance from T0."""
    return MaintenanceWindow(
        number=1,
        starts_at=T0,
        ends_at=T0 + timedelta(hours=2),
        drain=timedelta(minutes=10),
        reason="remplacement d'un commutateur",
        announced_at=T0 - timedelta(days=3),
        planned_by="syn-ops-01",
        author=Author.OPS,
        change=None,
    )


def annex(which: Annex, summary: str, *, by: Party, reference: str | None = None) -> AnnexVersion:
    """A version of which the other party is informed at T0."""
    return AnnexVersion(
        annex=which,
        version=2,
        party=by,
        summary=summary,
        reference=reference,
        media_type=MediaType.TEXT,
        sha256="5e" * 32,
        size_bytes=34,
        informed_at=T0,
        informed_by="pp-supervisor-01",
        effective_at=T0 + timedelta(days=15),
    )


def announcements() -> dict[str, Announcement]:
    """What the parties are told of the convention's life, filed at T0."""
    window = planned_window()
    change = Change(
        number=7,
        party=Party.PP,
        title="Remplacement du pare-feu",
        description="Pare-feu de la Demi-Passerelle PP.",
        reference=None,
        announced_at=T0,
        wished_on=date(2027, 1, 4),
    )
    sites = annex(Annex.VIEWING_SITES, "salle de commandement confirmée", by=Party.PP)
    end = T0 + timedelta(days=100)

    def act(kind: ActKind, effect: datetime | None = None) -> Announcement:
        recorded = ConventionAct(
            number=3,
            kind=kind,
            party=Party.PP,
            reference="lettre AR 1A-2",
            day=date(2026, 11, 20),
            recorded_at=T0,
            recorded_by="syn-cp-01",
            effect=effect,
        )
        return act_recorded(recorded)

    return {
        "fenetre": window_planned(window),
        "fenetre-annulee": window_withdrawn(replace(window, withdrawal="pièce non livrée"), T0),
        "evolution": change_announced(change),
        "evolution-programmee": change_scheduled(change, date(2027, 1, 4), T0),
        "annexe": annex_informed(sites),
        "annexe-avenant": annex_informed(annex(Annex.CHARTER, "texte refondu", by=Party.SYN, reference="avenant n° 2")),
        "annexe-opposee": annex_opposed(replace(sites, party=Party.SYN, opposition="liste incomplète"), T0),
        "acte-denonciation": act(ActKind.DENOUNCED),
        "acte-retrait": act(ActKind.DENUNCIATION_WITHDRAWN),
        "acte-fin": act(ActKind.END_RECORDED, end),
        "rappel": reminded(Reminder("renewal-1m", "renewal", end, "1m"), T0),
    }


def letters() -> dict[str, Wording]:
    """Every text in every variant, by the name of the file that holds it in ``letters/``."""

    def notice(tells: NoticeKind, said: Sequence[Said], now: datetime = SOON, *, answers: bool = False) -> Wording:
        return wording_of(incident(*said), tells, TERMS, now, answers=answers)

    cut, both = NoticeKind.CUT, NoticeKind.CUT_AND_RESTORED
    after = BACK.at + timedelta(minutes=5)
    automatic = opened(by=Author.DETECTION, stopped=None, closed=None)
    others = (Ground.SECURITY, Ground.MAINTENANCE, Ground.END)
    block = measure(Act.BLOCKED, Narrowed.CAMERA, "mairie", "travaux", until=T0 + timedelta(days=2))
    return {
        "incident": notice(cut, [opened()]),
        "incident-tardif": notice(cut, [opened(), NATURE, GAP, MISSED], LATE),
        "incident-constate": notice(cut, [automatic]),
        "incident-sans-interruption": notice(cut, [opened(None, critical=True, stopped=None, source=Source.DECLARED)]),
        **{f"{ground}": notice(cut, [opened(ground, by=Author.OFFICER)]) for ground in others},
        "exercice": notice(cut, [opened(Ground.DRILL)]),
        "point-etape": notice(NoticeKind.UPDATE, [opened(), NATURE, STEP], answers=True),
        "retablissement": notice(NoticeKind.RESTORED, [opened(), CAUSE, BACK], after, answers=True),
        "retablissement-lacune": notice(NoticeKind.RESTORED, [opened(), GAP, BACK], after, answers=True),
        "retablissement-exercice": notice(NoticeKind.RESTORED, [opened(Ground.DRILL), BACK], after, answers=True),
        **{
            f"retablissement-{ground}": notice(NoticeKind.RESTORED, [opened(ground), BACK], after, answers=True)
            for ground in others
        },
        "interruption-retablissement": notice(both, [opened(), BACK], after),
        "interruption-retablissement-tardif": notice(both, [opened(), CAUSE, GAP, MISSED, BACK], LATE),
        "signalement": of_report(incident(opened(None, stopped=None, closed=None, reason="image figée")), TERMS, SOON),
        "essai": of_contact_test(MAILBOX, TERMS, T0),
        "essai-prestataire": of_contact_test(CONTRACTOR, TERMS, T0),
        "mesure": of_measure(block, TERMS, T0),
        "mesure-levee": of_measure(
            measure(Act.UNBLOCKED, Narrowed.AGENT, "pp-7f3a", "terme échu", reference="m-2", by=Author.OFFICER),
            TERMS,
            T0,
        ),
        "mesure-flux": of_measure(
            measure(Act.CLOSED, Narrowed.STREAM, "s-41", "caméra en réparation", reference="m-3"), TERMS, T0
        ),
        **{name: of_announcement(announced(each), TERMS, each.made_at) for name, each in announcements().items()},
        "point-de-controle": of_anchoring(
            Anchoring(month="2026-11", node="node-1"), replace(TERMS, checkpoint=CHECKPOINT), T0
        ),
        **{
            f"alarme-{condition}": of_alarm(AlarmRaised(condition=condition, node="node-1", since=T0), TERMS, SOON)
            for condition in Condition
        },
        "bris-de-glace": of_break_glass(BreakGlass(number=3, at=T0, until=T0 + timedelta(hours=1)), TERMS, SOON),
    }
