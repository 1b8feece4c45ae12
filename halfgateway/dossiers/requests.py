"""The register of requests made outside the link and of requisitions, as a table (C05)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from camera_registry.paris import PARIS
from halfgateway.dossiers.tables import Column, Document
from ops.requests import Cause, Channel, Outcome, Sort

_COLUMNS = (
    Column("N°", 2),
    Column("Nature", 4),
    Column("Reçue le", 6),
    Column("Voie", 4),
    Column("Demandeur", 6),
    Column("Référence", 6),
    Column("Caméra", 5),
    Column("Début", 6),
    Column("Fin", 6),
    Column("Suite", 5),
    Column("Cause", 7),
    Column("Réponse", 10),
    Column("Répondue le", 6),
    Column("Délai", 4),
)


def requests_document(found: Sequence[Mapping[str, Any]]) -> Document:
    """Lay out requests as the API shows them."""
    return Document(
        title="Registre des réquisitions et des demandes faites hors de l'Interconnexion",
        introduction=(
            "Article 6 de la convention (obligation de moyens). Heures de Paris. Les demandeurs sont des services ou"
            " des juridictions.",
        ),
        columns=_COLUMNS,
        rows=[_row(each) for each in found],
    )


def _row(found: Mapping[str, Any]) -> list[str]:
    return [
        str(found["number"]),
        Sort(found["sort"]).wording,
        in_paris(found["received_at"]),
        Channel(found["channel"]).wording,
        found["service"],
        found["reference"] or "",
        found["camera"] or "",
        in_paris(found["start"]),
        in_paris(found["end"]),
        Outcome(found["outcome"]).wording if found["outcome"] is not None else "sans réponse",
        Cause(found["cause"]).wording if found["cause"] is not None else "",
        found["text"] or "",
        in_paris(found["answered_at"]),
        str(timedelta(seconds=found["delay_s"])),
    ]


def in_paris(instant: str | None) -> str:
    """An RFC 3339 instant as a clock in Paris shows it, with its offset: an hour of October is struck twice."""
    if instant is None:
        return ""
    return f"{datetime.fromisoformat(instant).astimezone(PARIS):%Y-%m-%d %H:%M:%S %z}"
