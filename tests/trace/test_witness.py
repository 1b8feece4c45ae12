"""Cosignatures under a checkpoint: C2SP cosignature/v1 with Ed25519, checked and counted (T04)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.errors import NoteError
from auth.trace.checkpoint import NoteSignature, SignedNote, parse_note
from auth.trace.dossier import ANCHORS, JOURNAL, verify_dossier
from auth.trace.verifier import judge
from auth.trace.witness import COSIGNATURE_V1, Cosigner, cosigned_message, cosigner_key_id
from tests.trace.tampering import notes

NAME, KEY, AT = "pp.example/half-gateway", Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1"), 1_790_000_000
RAW = KEY.public_key().public_bytes_raw()
VKEY = f"{NAME}+{cosigner_key_id(NAME, RAW).hex()}+{b64encode(bytes([COSIGNATURE_V1]) + RAW).decode()}"


def cosigned(note: str, at: int = AT, signed_at: int = AT) -> SignedNote:
    parsed = parse_note(note.encode())
    blob = at.to_bytes(8) + KEY.sign(cosigned_message(parsed.text, signed_at))
    return SignedNote(parsed.text, (*parsed.signatures, NoteSignature(NAME, cosigner_key_id(NAME, RAW), blob)))


def test_a_cosignature_tells_who_and_when(journal: Path) -> None:
    # T04
    cosigner = Cosigner.parse(VKEY)
    note = notes(journal)[-1]
    assert cosigner.cosigned_at(cosigned(note)) == AT
    assert cosigner.cosigned_at(parse_note(note.encode())) is None
    with pytest.raises(NoteError, match="est fausse"):
        cosigner.cosigned_at(cosigned(note, at=AT + 1))
    short = SignedNote(note, (NoteSignature(NAME, cosigner_key_id(NAME, RAW), bytes(9)),))
    with pytest.raises(NoteError, match="mal formée"):
        cosigner.cosigned_at(short)


@pytest.mark.parametrize(
    "vkey", ["", NAME, VKEY.replace("pp.", "qq."), VKEY[:-4], f"{NAME}+00000000+{VKEY[-48:]}", "a+b+c"]
)
def test_what_is_no_cosigners_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        Cosigner.parse(vkey)


def test_an_anchor_in_the_dossier_counts_only_when_a_known_cosigner_signed_it(journal: Path, tmp_path: Path) -> None:
    # T04, T06: no trust in whoever handed the dossier over
    dossier = tmp_path / "dossier"
    (dossier / ANCHORS).mkdir(parents=True)
    journal.rename(dossier / JOURNAL)
    (dossier / ANCHORS / "1.note").write_text(str(cosigned(notes(dossier / JOURNAL)[-1])), encoding="utf-8")
    assert verify_dossier(dossier).verification.exit_code == 6
    found = judge(dossier, cosigners=[VKEY])
    assert (found.verification.exit_code, found.verification.anchored) == (0, 5)
    assert [(seen.name, seen.size, seen.at) for seen in found.cosigned] == [(NAME, 5, AT)]
    (dossier / ANCHORS / "1.note").write_text(str(cosigned(notes(dossier / JOURNAL)[-1], AT + 1)), encoding="utf-8")
    assert judge(dossier, cosigners=[VKEY]).verification.exit_code == 3
