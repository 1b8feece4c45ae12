"""What is agreed of exports: who may have which cameras' footage as files, and the bounds of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from halfgateway.control.access import AccessRequest
from halfgateway.errors import InvalidRequest, NotHabilitated, OutsideRetention


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRules:
    """``agreement`` is the reference of what allows exports. Files lie below ``folder`` for as long as ``kept``.

    One export is of at most ``max_duration`` of footage and ``max_bytes`` of files; ``at_once`` are made together.
    """

    agreement: str
    accounts: frozenset[str]
    cameras: frozenset[str]
    folder: Path
    max_duration: timedelta
    max_bytes: int
    kept: timedelta
    at_once: int


def refuse_all() -> NotHabilitated:
    """The refusal where nothing is agreed."""
    return NotHabilitated("Aucun export n'est convenu entre les parties (article 6).", reason="exports-not-agreed")


def require_agreed(rules: ExportRules, request: AccessRequest, now: datetime) -> None:
    """Return if the rules let this be exported, as far as they say; the door decides the rest.

    Raises NotHabilitated, InvalidRequest, OutsideRetention.
    """
    start, end = period_of(request)
    if request.principal.account not in rules.accounts:
        raise NotHabilitated("Ce compte ne peut demander d'export (article 6).", reason="account-not-agreed")
    if request.camera not in rules.cameras:
        raise NotHabilitated("Aucun export n'est convenu de cette caméra (article 6).", reason="camera-not-agreed")
    if end <= start:
        raise InvalidRequest("end : postérieure à start")
    if end > now:
        raise OutsideRetention("La période demandée s'étend au-delà de l'heure actuelle.", reason="period-to-come")
    if end - start > rules.max_duration:
        hours = rules.max_duration.total_seconds() / 3600
        raise InvalidRequest(f"Un export ne peut dépasser {hours:g} heures.", reason="too-long")


def period_of(request: AccessRequest) -> tuple[datetime, datetime]:
    """From when to when footage is asked for. Raises InvalidRequest where the request does not say."""
    if request.start is None or request.end is None:
        raise InvalidRequest("start, end : un export a un début et une fin")
    return request.start, request.end
