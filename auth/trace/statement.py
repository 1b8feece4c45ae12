"""The heads of the trace as a text that people keep: for each incident notice, and once a day (T04, article 8).

Whoever has received it can show later that no entry before it was changed or taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from auth.trace.reader import SignedCheckpoint

_PARIS = ZoneInfo("Europe/Paris")


def incident_statement(
    incident: str, heads: Sequence[SignedCheckpoint], at: datetime, *, missing: Sequence[str] = ()
) -> str:
    """Return the text for a notice of an incident; ``missing`` are nodes whose head could not be had."""
    return _statement(f"JOURNAL DES ACCÈS - ÉTAT À L'INCIDENT {incident}", heads, at, missing)


def daily_statement(heads: Sequence[SignedCheckpoint], at: datetime, *, missing: Sequence[str] = ()) -> str:
    """Return the text of the daily mail."""
    day = at.astimezone(_PARIS)
    return _statement(f"JOURNAL DES ACCÈS - ÉTAT DU {day:%d/%m/%Y}", heads, at, missing)


def described(heads: Sequence[SignedCheckpoint]) -> list[Mapping[str, object]]:
    """Return what the ``trace.anchored`` entry says of the heads that left."""
    return [{"origin": head.checkpoint.origin, "size": head.checkpoint.size} for head in heads]


def _statement(title: str, heads: Sequence[SignedCheckpoint], at: datetime, missing: Sequence[str]) -> str:
    local = at.astimezone(_PARIS)
    absent = "".join(f"Nœud {node} : son état n'a pas pu être lu.\n\n" for node in missing)
    return (
        f"{title}\n"
        f"Seine-et-Yvelines Numérique, Demi-Passerelle Partenaire, le {local:%d/%m/%Y à %H:%M:%S} (heure de Paris)\n\n"
        "Chaque bloc ci-dessous est le point de contrôle signé du journal d'un nœud. Conservez-le, à l'octet près,\n"
        "dans un fichier : il prouve qu'aucune des entrées qu'il compte n'a été modifiée ni retirée depuis.\n\n"
        + "".join(_block(head) for head in heads)
        + absent
        + "Vérifier plus tard une copie du journal : halfgateway-verify JOURNAL --anchor FICHIER\n"
    )


def _block(head: SignedCheckpoint) -> str:
    size = head.checkpoint.size
    return f"Nœud {head.node}, {size} entrées\n-----8<-----\n{head.note}-----8<-----\n\n"
