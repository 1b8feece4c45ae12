"""The inspection dossier (L21): the whole journal, what verifies it, and an extract that people can read."""

from __future__ import annotations

from pathlib import Path

from auth.trace import SignedCheckpoint
from auth.trace.anchors import AnchorStore
from auth.trace.checkpoint import parse_note
from auth.trace.dossier import JOURNAL, README, VERIFIER
from auth.trace.layout import CHECKPOINTS, leaves_name, payloads_name
from auth.trace.notes import key_name
from auth.trace.scan import segment_starts
from auth.trace.single_file import single_file


def inspection_files(trace: Path, head: SignedCheckpoint, extract_name: str, extract: bytes) -> dict[str, bytes]:
    """Return the dossier's files by name. Blocking. Raises OSError, TraceDamaged.

    The checkpoints are read first, then leaves, then payloads: so nothing is signed for that the copy lacks.
    """
    node = head.node
    checkpoints = (trace / CHECKPOINTS).read_bytes()
    starts = segment_starts(trace)
    leaves = {leaves_name(first): (trace / leaves_name(first)).read_bytes() for first in starts}
    payloads = {payloads_name(first): (trace / payloads_name(first)).read_bytes() for first in starts}
    anchors = AnchorStore(trace).files()
    journal = {CHECKPOINTS: checkpoints, key_name(node): (trace / key_name(node)).read_bytes(), **leaves, **payloads}
    return {
        README: _readme(head).encode(),
        VERIFIER: single_file().encode(),
        extract_name: extract,
        **{f"{JOURNAL}/{name}": data for name, data in journal.items()},
        **{name: data for name, data in anchors.items() if _size_of(name) <= head.checkpoint.size},
    }


def _size_of(anchor: str) -> int:
    """Entries of the tree that an anchor's file name tells: one made meanwhile may be of more than the copy has."""
    return int(Path(anchor).name.partition("-")[0])


def _readme(head: SignedCheckpoint) -> str:
    signer = parse_note(head.note.encode()).signatures[0].name
    return f"""DOSSIER DE CONTRÔLE - JOURNAL DES ACCÈS
Seine-et-Yvelines Numérique, Demi-Passerelle Partenaire

Établi pour un agent de contrôle (article L. 254-1 du code de la sécurité intérieure). Sa remise est elle-même une
entrée du journal.

    journal/             copie intégrale du journal du nœud {head.node} ({signer}),
                         {head.checkpoint.size} entrées au dernier point de contrôle
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
