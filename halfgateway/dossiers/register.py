"""The register of recordings, destructions and transmissions, drawn from a node's trace (CSI R252-11; L04).

What SYN's recorder destroys stands in the recorder's own journal, which is read beside the node's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date

from auth.trace import Entry, Kind, TraceReader
from camera_registry.clock import rfc3339
from halfgateway.dossiers.local import Request, TooManyEntries
from halfgateway.dossiers.requests import in_paris
from halfgateway.dossiers.tables import Column, Document

MAX_LINES = 50_000
"""Lines of one register: a year of a hundred recorded streams a day. A longer time is asked for by parts."""

_PAGE = 1_000

_SUBJECTS = {
    "stream": "consultation en Temps différé",
    "recording": "enregistrement",
    "export": "transmission",
    "hold": "mise sous réserve",
    "request": "demande hors de l'Interconnexion",
    "retention": "conservation",
}
"""What a line is about, by the subject of its entry's kind."""

_NOT_REGISTERED = frozenset({Kind.RECORDING_SEARCHED, Kind.RETENTION_PROBED})
_STREAMS = frozenset({Kind.STREAM_STARTED, Kind.STREAM_STOPPED})

REGISTERED = (
    frozenset(kind for kind in Kind if kind.value.partition(".")[0] in _SUBJECTS.keys() - {"stream"}) - _NOT_REGISTERED
    | _STREAMS
)
"""The kinds of entry that a line tells of; of streams those in Temps différé alone."""

_RECORDED = "recorded"

_COLUMNS = (
    Column("Journal", 5),
    Column("N°", 2),
    Column("Le (heure de Paris)", 6),
    Column("Objet", 6),
    Column("Acte", 6),
    Column("Caméra", 5),
    Column("Début", 6),
    Column("Fin", 6),
    Column("Par", 5),
    Column("Destinataire", 5),
    Column("Motif", 4),
    Column("Référence", 6),
    Column("Précisions", 11),
)
_TOLD_APART = frozenset({"start", "end", "service", "reference"})


async def register_entries(readers: Iterable[TraceReader], request: Request) -> list[Entry]:
    """The entries of a register from one journal or several, oldest first, as the request's scope sees them.

    Raises TooManyEntries, TraceDamaged, TraceUnavailable.
    """
    found: list[Entry] = []
    for reader in readers:
        async for entry in _registered(reader, request):
            found.append(entry)
            if len(found) > MAX_LINES:
                raise TooManyEntries(f"un registre a {MAX_LINES} lignes au plus : précisez la période")
    return sorted(found, key=lambda entry: (entry.at, entry.node, entry.n))


async def _registered(reader: TraceReader, request: Request) -> AsyncIterator[Entry]:
    cursor: str | None = None
    while True:
        page = await reader.entries(request.wanted, limit=_PAGE, cursor=cursor)
        for entry in page.items:
            shown = request.shown(entry)
            if shown is not None and _is_registered(shown):
                yield shown
        if page.next is None:
            return
        cursor = page.next


def register_document(journals: Sequence[str], entries: Sequence[Entry], begins: date, ends: date) -> Document:
    """Lay the register out as a table."""
    return Document(
        title="Registre des enregistrements, destructions et transmissions",
        introduction=(
            f"Article R. 252-11 du code de la sécurité intérieure. Du {begins:%d/%m/%Y} au {ends:%d/%m/%Y} compris,"
            f" d'après {_named(journals)} ; chaque ligne porte le numéro de son entrée.",
            f"{len(entries)} ligne(s).",
        ),
        columns=_COLUMNS,
        rows=[_row(entry) for entry in entries],
    )


def _named(journals: Sequence[str]) -> str:
    node, *recorders = journals
    return ", ".join(
        [f"le journal des accès du nœud {node}", *(f"celui de l'enregistreur {name}" for name in recorders)]
    )


def _is_registered(entry: Entry) -> bool:
    return entry.kind not in _STREAMS or entry.mode == _RECORDED


def _row(entry: Entry) -> list[str]:
    detail = entry.detail
    rest = (f"{name} : {value}" for name, value in sorted(detail.items()) if name not in _TOLD_APART)
    return [
        entry.node,
        str(entry.n),
        in_paris(rfc3339(entry.at)),
        _SUBJECTS[entry.kind.value.partition(".")[0]],
        entry.kind.value,
        entry.camera or "",
        _instant(detail.get("start")),
        _instant(detail.get("end")),
        entry.agent or entry.account or "",
        str(detail.get("service") or ""),
        entry.reason or "",
        str(detail.get("reference") or ""),
        " ; ".join(rest),
    ]


def _instant(told: object) -> str:
    """An instant of an entry's detail, as a clock in Paris shows it; as it stands where it is none."""
    if not isinstance(told, str):
        return ""
    try:
        return in_paris(told)
    except ValueError:
        return told
