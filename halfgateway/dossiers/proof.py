"""The dossier of one entry, to hand over: what it says, that it is in the log, and how to check it (T05, T06)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.trace import ConsistencyProof, Entry, InclusionProof, SignedCheckpoint, TraceReader
from auth.trace.checkpoint import parse_note, verifier_key
from auth.trace.dossier import CONSISTENCY, EARLIER, ENTRY, HANDOVER, INCLUSION, LEAF_RECORD, README, SALT, VERIFIER
from auth.trace.layout import origin
from auth.trace.notes import key_name, write_key
from auth.trace.proofs import ConsistencyFile
from auth.trace.reader import Opening
from auth.trace.single_file import single_file
from halfgateway.dossiers.extract import PARIS, inclusion_file

ZIP_SUFFIX = ".zip"
_EXECUTABLE = 0o755 << 16
_READABLE = 0o644 << 16


@dataclass(frozen=True, slots=True)
class EntryDossier:
    """One entry under one head; ``earlier`` and ``consistency`` where the head is to be tied to an older one.

    ``handovers`` are the notes by which the log's key was changed. ``opening`` without salt and payload shows that
    the entry is there, and nothing of what it says.
    """

    entry: Entry
    opening: Opening
    inclusion: InclusionProof
    head: SignedCheckpoint
    keys: tuple[Ed25519PublicKey, ...]
    earlier: SignedCheckpoint | None = None
    consistency: ConsistencyProof | None = None
    handovers: tuple[bytes, ...] = ()


async def entry_dossier(
    reader: TraceReader,
    n: int,
    head: SignedCheckpoint,
    keys: tuple[Ed25519PublicKey, ...],
    *,
    opened: bool,
    earlier: SignedCheckpoint | None = None,
    handovers: tuple[bytes, ...] = (),
) -> EntryDossier:
    """Collect what a dossier needs. Raises ValueError where the head does not cover the entry, TraceUnavailable."""
    opening = await reader.opening(n)
    consistency = None
    if earlier is not None:
        consistency = await reader.prove_consistency(earlier.checkpoint.size, head.checkpoint.size)
    return EntryDossier(
        entry=await reader.entry(n),
        opening=opening if opened else Opening(opening.leaf, None, None),
        inclusion=await reader.prove_inclusion(n, head.checkpoint.size),
        head=head,
        keys=keys,
        earlier=earlier,
        consistency=consistency,
        handovers=handovers,
    )


def dossier_files(dossier: EntryDossier) -> dict[str, bytes]:
    """Return the dossier's files by name."""
    node = dossier.entry.node
    files = {
        README: _readme(dossier).encode(),
        VERIFIER: single_file().encode(),
        key_name(node): b"".join(map(write_key, dossier.keys)),
        INCLUSION: inclusion_file(dossier.inclusion, dossier.head).encode(),
        LEAF_RECORD: dossier.opening.leaf,
    }
    if dossier.handovers:
        files[HANDOVER] = b"".join(note + b"\n" for note in dossier.handovers)
    if dossier.opening.salt is not None and dossier.opening.payload is not None:
        files |= {SALT: dossier.opening.salt, ENTRY: dossier.opening.payload}
    if dossier.earlier is not None and dossier.consistency is not None:
        note = parse_note(dossier.head.note.encode())
        files[EARLIER] = dossier.earlier.note.encode()
        files[CONSISTENCY] = str(
            ConsistencyFile(dossier.earlier.checkpoint.size, dossier.consistency.path, note)
        ).encode()
    return files


def write_files(files: Mapping[str, bytes], target: Path) -> None:
    """Write files into a new folder, or a new ``.zip``; nothing that is there is overwritten. Raises OSError."""
    if target.suffix == ZIP_SUFFIX:
        with target.open("xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                member = zipfile.ZipInfo(f"{target.stem}/{name}")
                member.external_attr = _EXECUTABLE if name == VERIFIER else _READABLE
                archive.writestr(member, data, zipfile.ZIP_DEFLATED)
        return
    target.mkdir(parents=True)
    for name, data in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name == VERIFIER else 0o644)


def _readme(dossier: EntryDossier) -> str:
    entry, head = dossier.entry, dossier.head.checkpoint
    at = entry.at.astimezone(PARIS)
    opened = dossier.opening.salt is not None
    says = (
        f"Le fichier {ENTRY} est cette entrée, à l'octet près."
        if opened
        else "Le contenu de cette entrée n'est pas communiqué, ou a été éliminé à l'échéance de sa conservation ;"
        " sa feuille prouve qu'elle existe, son heure et sa nature."
    )
    checks = f"    cat {SALT} {ENTRY} | sha256sum        (les 32 derniers octets de {LEAF_RECORD})\n" if opened else ""
    older = (
        f"Le fichier {CONSISTENCY} prouve que ce point de contrôle prolonge celui de"
        f" {dossier.earlier.checkpoint.size} entrées ({EARLIER}), sans que rien en ait été changé.\n\n"
        if dossier.earlier is not None
        else ""
    )
    return f"""DOSSIER DE PREUVE - JOURNAL DES ACCÈS
Seine-et-Yvelines Numérique, Demi-Passerelle Partenaire

Ce dossier prouve qu'une entrée figure au journal des accès.

    Nœud       {entry.node}
    Entrée     n° {entry.n}, {entry.kind.value}
    Heure      {at:%d/%m/%Y à %H:%M:%S} (heure de Paris)
    Journal    {head.size} entrées au point de contrôle joint

{says}

{older}VÉRIFIER (sans réseau ; il faut Python 3.11 et le paquet « cryptography »)

    python3 {VERIFIER} .
    python3 {VERIFIER} . --anchor POINT_DE_CONTRÔLE_QUE_VOUS_AVEZ_CONSERVÉ
    python3 {VERIFIER} . --cosigner CLÉ_DU_COSIGNATAIRE

Codes de retour : 0 valide, 3 invalide, 4 divergent, 5 incomplet, 6 valide mais non ancré.

Clé du journal, à comparer avec celle que vous tenez d'ailleurs :

    {verifier_key(origin(entry.node), dossier.keys[0])}

À LA MAIN
{checks}    (printf '\\0'; cat {LEAF_RECORD}) | sha256sum        (l'empreinte de la feuille)

{INCLUSION} suit la norme C2SP tlog-proof, et le point de contrôle C2SP tlog-checkpoint :
d'autres outils que celui-ci les vérifient. Le format est décrit octet par octet dans docs/trace.md.
"""
