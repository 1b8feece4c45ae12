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


def require_agreed(rules: ExportRules | None, request: AccessRequest, end: datetime, now: datetime) -> ExportRules:
    """The rules under which this may be exported until ``end``, as far as they say; the door decides the rest.

    Raises NotHabilitated, InvalidRequest, OutsideRetention.
    """
    if rules is None:
        raise NotHabilitated("Aucun export n'est convenu entre les parties (article 6).", reason="exports-not-agreed")
    if request.principal.account not in rules.accounts:
        raise NotHabilitated("Ce compte ne peut demander d'export (article 6).", reason="account-not-agreed")
    if request.camera not in rules.cameras:
        raise NotHabilitated("Aucun export n'est convenu de cette caméra (article 6).", reason="camera-not-agreed")
    if request.start is None or end <= request.start:
        raise InvalidRequest("end : postérieure à start")
    if end - request.start > rules.max_duration:
        hours = rules.max_duration.total_seconds() / 3600
        raise InvalidRequest(f"Un export ne peut dépasser {hours:g} heures.", reason="too-long")
    if end > now:
        raise OutsideRetention("La période demandée s'étend au-delà de l'heure actuelle.", reason="period-to-come")
    return rules
