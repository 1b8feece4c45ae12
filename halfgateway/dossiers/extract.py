"""An extract of the history, with the checkpoint and each entry's proof inside (T05, T11).

An entry that the reader sees masked is shown without its salt: with it, who is masked could be tried out.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from auth.trace import Entry, InclusionProof, SignedCheckpoint, TraceReader
from auth.trace.checkpoint import parse_note
from auth.trace.proofs import InclusionFile
from auth.trace.reader import Opening
from auth.trace.scopes import Scope, seen
from camera_registry.clock import rfc3339
from halfgateway.dossiers.tables import Column, Document

MAX_EXTRACT_ENTRIES = 5_000
"""Entries of one extract: ten a minute of a whole working day; a larger one is asked for by parts."""

PARIS = ZoneInfo("Europe/Paris")
_RECORD, _CHECKPOINT = "entry", "checkpoint"

COLUMNS = (
    Column("record", 0),
    Column("n", 3),
    Column("at", 9),
    Column("kind", 7),
    Column("code", 0),
    Column("agent", 6),
    Column("account", 6),
    Column("attribution", 6),
    Column("camera", 6),
    Column("stream", 7),
    Column("mode", 3),
    Column("reason", 4),
    Column("refusal", 5),
    Column("source", 6),
    Column("detail", 16),
    Column("leaf", 0),
    Column("salt", 0),
    Column("payload", 0),
    Column("path", 0),
)


@dataclass(frozen=True, slots=True)
class ExtractedEntry:
    """An entry as its reader sees it, with its proof; ``opening`` has salt and payload where nothing is masked."""

    entry: Entry
    opening: Opening
    proof: InclusionProof


@dataclass(frozen=True, slots=True)
class Extract:
    """Entries, newest first, and the head that all their proofs are against."""

    node: str
    head: SignedCheckpoint
    entries: Sequence[ExtractedEntry]
    scope: Scope
    asked: str


async def proven(reader: TraceReader, entries: Sequence[Entry], head: SignedCheckpoint, scope: Scope, *,
                 unmasked: bool) -> list[ExtractedEntry]:  # fmt: skip
    """Prove entries under a head, as a scope sees them; what the head does not cover yet is left out.

    Raises TraceDamaged, TraceUnavailable.
    """
    size = head.checkpoint.size
    found = []
    for entry in entries:
        shown = seen(entry, scope, unmasked=unmasked)
        if shown is None or entry.n >= size:
            continue
        opening = await reader.opening(entry.n)
        if shown != entry:
            opening = Opening(opening.leaf, None, None)
        found.append(ExtractedEntry(shown, opening, await reader.prove_inclusion(entry.n, size)))
    return found


def extract_document(extract: Extract) -> Document:
    """Lay an extract out as a table; its last row is the checkpoint, its annexes the note and every proof."""
    rows = [_row(each) for each in extract.entries]
    note = extract.head.note
    rows.append([_CHECKPOINT, str(extract.head.checkpoint.size), *[""] * (len(COLUMNS) - 3), note])
    annexes: list[tuple[str, Sequence[str]]] = [("Point de contrôle signé (C2SP tlog-checkpoint)", note.splitlines())]
    annexes += [
        (f"Entrée n° {each.entry.n} : feuille et preuve d'inclusion", _proof_lines(each)) for each in extract.entries
    ]
    return Document(
        title=f"Journal des accès : extrait du nœud {extract.node}",
        introduction=(
            f"Périmètre de lecture : {extract.scope}. Critères : {extract.asked or 'aucun'}.",
            f"{len(extract.entries)} entrée(s), sous le point de contrôle de {extract.head.checkpoint.size} entrées.",
            "Chaque entrée porte sa feuille et sa preuve d'inclusion (RFC 6962) ; docs/trace.md dit comment les"
            " vérifier avec sha256sum. Heures UTC.",
        ),
        columns=COLUMNS,
        rows=rows,
        annexes=annexes,
    )


def inclusion_file(proof: InclusionProof, head: SignedCheckpoint) -> str:
    """Return a proof as a C2SP ``.tlog-proof``."""
    return str(InclusionFile(proof.n, proof.path, parse_note(head.note.encode())))


def _row(each: ExtractedEntry) -> list[str]:
    entry = each.entry
    plain = (
        entry.agent, entry.account, entry.attribution, entry.camera, entry.stream, entry.mode, entry.reason,
        entry.refusal, entry.source,
    )  # fmt: skip
    return [
        _RECORD,
        str(entry.n),
        rfc3339(entry.at),
        entry.kind.value,
        str(entry.code),
        *(value or "" for value in plain),
        json.dumps(dict(entry.detail), ensure_ascii=False, sort_keys=True),
        _base64(each.opening.leaf),
        _base64(each.opening.salt or b""),
        (each.opening.payload or b"").decode(),
        " ".join(map(_base64, each.proof.path)),
    ]


def _proof_lines(each: ExtractedEntry) -> list[str]:
    opened = [f"sel {_base64(each.opening.salt)}"] if each.opening.salt is not None else []
    return [f"feuille {_base64(each.opening.leaf)}", *opened, *map(_base64, each.proof.path)]


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
