"""The inspection dossier (L21): the whole journal, what verifies it, and an extract that people can read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path

from auth.trace import Kind, SignedCheckpoint, SystemStorage
from auth.trace.anchors import AnchorStore
from auth.trace.checkpoint import SignedNote, parse_checkpoint, parse_note
from auth.trace.dossier import JOURNAL, README, VERIFIER
from auth.trace.layout import (
    CHECKPOINTS,
    FRAME,
    LEAF,
    SEGMENT_ENTRIES,
    frame_body,
    leaves_header,
    leaves_name,
    origin,
    payloads_header,
    payloads_name,
    segment_of,
)
from auth.trace.notes import key_name, last_notes
from auth.trace.purge import PendingPurge
from auth.trace.scan import read_leaves, segment_starts
from auth.trace.single_file import single_file

ATTEMPTS = 120
PAUSE_S = 0.5
"""How often, and how long, a purge is waited for that is overwriting frames. It takes seconds; one that has not ended
after a minute has failed, and what lies there is handed over: nobody who inspects is kept waiting for it."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """The checkpoints up to the newest that is whole, and its note."""

    checkpoints: bytes
    note: SignedNote

    @property
    def size(self) -> int:
        """Entries that it signs."""
        return parse_checkpoint(self.note.text).size


def inspection_files(trace: Path, head: SignedCheckpoint, extract_name: str, extract: bytes) -> dict[str, bytes]:
    """Return the dossier's files by name. Blocking. Raises OSError, TraceDamaged, NoteError.

    Beside a node that writes: so the journal is cut to what its newest checkpoint signs, and is copied while no purge
    overwrites it.
    """
    node = head.node
    signed, entries = _copied(trace, node)
    anchors = AnchorStore(trace).files()
    journal = {CHECKPOINTS: signed.checkpoints, key_name(node): (trace / key_name(node)).read_bytes(), **entries}
    return {
        README: _readme(node, signed).encode(),
        VERIFIER: single_file().encode(),
        extract_name: extract,
        **{f"{JOURNAL}/{name}": data for name, data in journal.items()},
        **{name: data for name, data in anchors.items() if _size_of(name) <= signed.size},
    }


def _copied(trace: Path, node: str) -> tuple[_Signed, dict[str, bytes]]:
    """Copy what is signed; a purge stands below a checkpoint before it erases, and is pending until it has erased."""
    for _ in range(ATTEMPTS):
        signed = _newest(trace, node)
        if PendingPurge(trace, SystemStorage()).read() is None:
            entries = _entries(trace, node, signed.size)
            if not _is_purged_after(trace, node, signed.size):
                return signed, entries
        time.sleep(PAUSE_S)
    signed = _newest(trace, node)
    return signed, _entries(trace, node, signed.size)


def _newest(trace: Path, node: str) -> _Signed:
    with (trace / CHECKPOINTS).open("rb") as file:
        start, note = last_notes(file, file.seek(0, SEEK_END), origin(node))[-1]
        file.seek(0)
        return _Signed(file.read(start + len(note) + 1), parse_note(note))


def _entries(trace: Path, node: str, size: int) -> dict[str, bytes]:
    """The files of leaves and of payloads, with the first ``size`` entries: what is damaged stays as it is."""
    files = dict[str, bytes]()
    for first in segment_starts(trace):
        count = min(size - first, SEGMENT_ENTRIES)
        if count > 0 or first == 0:
            leaves = (trace / leaves_name(first)).read_bytes()
            files[leaves_name(first)] = leaves[: len(leaves_header(node, first)) + count * LEAF.size]
            frames = (trace / payloads_name(first)).read_bytes()
            files[payloads_name(first)] = frames[: _end_of(frames, len(payloads_header(node, first)), count)]
    return files


def _end_of(frames: bytes, start: int, count: int) -> int:
    """Where the first frames end; after all of them where one of these is none."""
    for _ in range(count):
        head = frames[start : start + FRAME.size]
        body = frame_body(head) if len(head) == FRAME.size else None
        if body is None:
            return len(frames)
        start += FRAME.size + body[0]
    return start


def _is_purged_after(trace: Path, node: str, size: int) -> bool:
    """Whether an entry orders a purge that the copied checkpoints do not sign: it may have erased what was copied."""
    for first in segment_starts(trace):
        if first >= segment_of(size):
            records, _ = read_leaves(trace, node, first)
            if any(n >= size and code == Kind.TRACE_PURGED.code for n, _, code, _ in LEAF.iter_unpack(records)):
                return True
    return False


def _size_of(anchor: str) -> int:
    """Entries of the tree that an anchor's file name tells: one made meanwhile may be of more than the copy has."""
    return int(Path(anchor).name.partition("-")[0])


def _readme(node: str, signed: _Signed) -> str:
    signer = signed.note.signatures[0].name
    return f"""DOSSIER DE CONTRÔLE - JOURNAL DES ACCÈS
Seine-et-Yvelines Numérique, Demi-Passerelle Partenaire

Établi pour un agent de contrôle (article L. 254-1 du code de la sécurité intérieure). Sa remise est elle-même une
entrée du journal.

    journal/             copie intégrale du journal du nœud {node} ({signer}),
                         {signed.size} entrées au dernier point de contrôle
    anchors/             ce que d'autres en ont attesté : cosignatures, jetons d'horodatage (RFC 3161)
    extrait.*            les entrées demandées, lisibles, chacune avec sa preuve
    {VERIFIER}   le vérificateur, en un fichier

VÉRIFIER (sans réseau ; il faut Python 3.11 et le paquet « cryptography »)

    python3 {VERIFIER} .
    python3 {VERIFIER} . --anchor POINT_DE_CONTRÔLE_CONSERVÉ_PAR_LA_PRÉFECTURE
    python3 {VERIFIER} . --cosigner CLÉ_DU_COSIGNATAIRE --tsa CERTIFICAT_DE_L_AUTORITÉ.pem
    python3 {VERIFIER} . --tsa CERTIFICAT_DE_L_AUTORITÉ.pem --crl SA_LISTE_DE_RÉVOCATION.pem

Codes de retour : 0 valide, 3 invalide (la première entrée en cause est nommée), 4 divergent, 5 incomplet,
6 valide mais non ancré. Une entrée éliminée à l'échéance de sa conservation garde sa feuille ; l'entrée
trace.purged qui l'a ordonné dit laquelle, quand, et sous quel visa.
"""
