"""What the parties are told of the convention's life, in French; the notifier adds salutation and signature. Pure."""

from __future__ import annotations

from datetime import date, datetime

from camera_registry import french
from camera_registry.paris import day_of
from ops.annexes import AnnexVersion
from ops.announcements import Announcement
from ops.calendar import Act, ActKind, Reminder
from ops.changes import NOTICE_DAYS, Change
from ops.parties import Party
from ops.windows import MaintenanceWindow

_SUBJECT = "[PVPP – SYN]"
_BOTH = (Party.PP, Party.SYN)

_TERMS = {
    "renewal": "la durée de cinq ans sera échue ; sans dénonciation, la convention est reconduite tacitement, une fois",
    "last-term": "la durée totale de dix ans sera échue ; la convention prendra fin et ne peut être reconduite",
    "end": "la convention prendra fin, comme enregistré",
    "denunciation": "le préavis de trois mois de la dénonciation sera écoulé ; la fin reste à enregistrer",
    "pvpp-order": "l'arrêté qui autorise le PVPP (article 1) expirera",
}

_ACTS = {
    ActKind.DENOUNCED: "une dénonciation de la convention (article 11, préavis de trois mois)",
    ActKind.DENUNCIATION_WITHDRAWN: "le retrait de la dénonciation de la convention",
    ActKind.FORMAL_NOTICE: "une mise en demeure (article 11, délai de trente jours)",
    ActKind.FORMAL_NOTICE_MET: "la mise en conformité après mise en demeure",
    ActKind.RENEWED: "la reconduction tacite de la convention pour cinq ans (article 11)",
    ActKind.END_RECORDED: "la fin de la convention",
    ActKind.END_WITHDRAWN: "l'annulation de la fin enregistrée de la convention",
    ActKind.PVPP_ORDER: "l'arrêté préfectoral qui autorise le PVPP (article 1)",
}


def window_planned(window: MaintenanceWindow) -> Announcement:
    """Tell PP of an interruption to come (P07)."""
    return Announcement(
        id=f"window-{window.number}-planned",
        made_at=window.announced_at,
        to=_BOTH,
        subject=f"{_SUBJECT} Interruption programmée n° {window.number} le {french.moment(window.starts_at)}",
        text=(
            "Seine-et-Yvelines Numérique vous informe d'une interruption programmée de l'Interconnexion, du "
            f"{_instant(window.starts_at)} au {_instant(window.ends_at)}.\n\n"
            f"– Objet : {window.reason}\n"
            f"– Aucun nouveau Flux dès le début ; les Flux en cours sont interrompus le {_instant(window.cut_at)}\n"
            "– Le rétablissement vous sera signalé par courriel."
        ),
    )


def window_withdrawn(window: MaintenanceWindow, at: datetime) -> Announcement:
    """Tell PP that it will not take place."""
    return Announcement(
        id=f"window-{window.number}-withdrawn",
        made_at=at,
        to=_BOTH,
        subject=f"{_SUBJECT} Annulation de l'interruption programmée n° {window.number}",
        text=(
            f"L'interruption programmée du {_instant(window.starts_at)} au {_instant(window.ends_at)} n'aura pas lieu. "
            f"Motif : {window.withdrawal}"
        ),
        answers=f"window-{window.number}-planned",
    )


def change_announced(change: Change) -> Announcement:
    """Tell the other party of a planned change (article 8)."""
    return Announcement(
        id=f"change-{change.number}-announced",
        made_at=change.announced_at,
        to=_BOTH,
        subject=f"{_SUBJECT} Évolution technique n° {change.number} : {change.title}"[:200],
        text=(
            f"En application de l'article 8 (« Évolutions techniques »), {change.party.wording} fait part d'un projet "
            f"d'évolution technique, dont la mise en service est projetée le {_day(change.wished_on)}.\n\n"
            f"{change.description[:3000]}\n\n"
            f"Une évolution majeure est mise en service au plus tôt {NOTICE_DAYS} jours calendaires après son annonce."
        ),
    )


def change_scheduled(change: Change, day: date, at: datetime) -> Announcement:
    """Tell both parties of the day on which a change goes live."""
    return Announcement(
        id=f"change-{change.number}-{day:%Y%m%d}-{at:%Y%m%d%H%M%S}",
        made_at=at,
        to=_BOTH,
        subject=f"{_SUBJECT} Évolution technique n° {change.number} : mise en service le {_day(day)}",
        text=f"L'évolution « {change.title} » de {change.party.wording} sera mise en service le {_day(day)}.",
    )


def annex_informed(version: AnnexVersion) -> Announcement:
    """The « simple information » of a new version of an annex (article 11)."""
    name = f"annexe {version.annex.value} (« {version.annex.title} »), version {version.version}"
    if version.annex.by_avenant:
        rule = (
            f"Elle résulte d'un avenant (référence : {version.reference}) et prend effet le "
            f"{_instant(version.effective_at)}."
        )
    else:
        rule = (
            f"En l'absence d'opposition de la part de {version.party.other.wording}, elle entre en vigueur le "
            f"{_instant(version.effective_at)} (article 11, « Révision de la convention »)."
        )
    return Announcement(
        id=f"annex-{version.annex.value}-v{version.version}-informed",
        made_at=version.informed_at,
        to=_BOTH,
        subject=f"{_SUBJECT} Mise à jour de l'annexe {version.annex.value}, version {version.version}",
        text=f"{_opening(version.party)} met à jour l'{name}.\n\n– Objet : {version.summary}\n– {rule}\n"
        f"– Empreinte du document (SHA-256) : {version.sha256}",
    )


def annex_opposed(version: AnnexVersion, at: datetime) -> Announcement:
    """Tell both parties that a version will not be, or is no more, the one served."""
    return Announcement(
        id=f"annex-{version.annex.value}-v{version.version}-opposed",
        made_at=at,
        to=_BOTH,
        subject=f"{_SUBJECT} Opposition à l'annexe {version.annex.value}, version {version.version}",
        text=f"{_opening(version.party.other)} s'oppose à cette version, qui n'est pas en vigueur. "
        f"Motif : {version.opposition}",
    )


def act_recorded(act: Act) -> Announcement:
    """Tell both parties of an act on the convention itself."""
    effect = f"\n– Effet : le {_instant(act.effect)}" if act.effect is not None else ""
    return Announcement(
        id=f"act-{act.number}-{act.kind.value}",
        made_at=act.recorded_at,
        to=_BOTH,
        subject=f"{_SUBJECT} Convention : {_ACTS[act.kind].partition(' (')[0]}"[:200],
        text=f"Acte enregistré : {_ACTS[act.kind]}.\n\n– Référence : {act.reference}\n– Date : {_day(act.day)}{effect}",
    )


def reminded(reminder: Reminder, at: datetime) -> Announcement:
    """Remind both parties of a term that nears (C18, C22)."""
    return Announcement(
        id=f"reminder-{reminder.id}",
        made_at=at,
        to=_BOTH,
        subject=f"{_SUBJECT} Rappel d'échéance : {_day(day_of(reminder.term))}",
        text=f"Le {_instant(reminder.term)}, {_TERMS[reminder.what]}.",
    )


def _opening(party: Party) -> str:
    """Its name where a sentence begins with it."""
    return party.wording[0].upper() + party.wording[1:]


def _instant(at: datetime) -> str:
    return french.moment_in_paris(at)


def _day(day: date) -> str:
    return french.day(day)
