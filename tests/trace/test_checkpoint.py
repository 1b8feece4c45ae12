"""Signed notes against C2SP's own examples, and against every single bit changed."""

from __future__ import annotations

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from auth.trace import Checkpoint, NoteError
from auth.trace.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    KeyChain,
    NoteSignature,
    SignedNote,
    key_id,
    parse_checkpoint,
    parse_note,
    sign,
    sign_checkpoint,
    verifier_key,
    verify_signature,
)
from tests.trace.journals import KEY

SPECIFICATION_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPECIFICATION_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
SPECIFICATION_CHECKPOINT = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 \
jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
ORIGIN = "halfgateway/gw1"
NEXT_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
HEAD = Checkpoint(ORIGIN, 412, bytes(range(32)))


def test_the_specifications_note_verifies_under_its_key() -> None:
    # T03
    name, identifier, material = SPECIFICATION_KEY.split("+")
    key = Ed25519PublicKey.from_public_bytes(b64decode(material)[1:])
    note = parse_note(SPECIFICATION_NOTE.encode())
    (signature,) = note.signatures
    assert verifier_key(name, key) == SPECIFICATION_KEY
    assert key_id(name, key).hex() == identifier == signature.key_id.hex()
    verify_signature(note.text, signature, key)
    with pytest.raises(NoteError, match="est fausse"):
        verify_signature(note.text + "more\n", signature, key)


def test_the_specifications_checkpoint_parses_with_its_cosignature() -> None:
    # T04
    note = parse_note(SPECIFICATION_CHECKPOINT.encode())
    assert parse_checkpoint(note.text).size == 20_852_163
    assert [signature.name for signature in note.signatures] == [
        "example.com/behind-the-sofa",
        "witness.example.com/w1",
    ]
    assert str(note) == SPECIFICATION_CHECKPOINT


def test_every_single_bit_of_a_checkpoint_counts() -> None:
    # T03
    data = str(sign_checkpoint(HEAD, KEY)).encode()
    assert KeyChain(ORIGIN, [KEY.public_key()]).open(data) == HEAD
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NoteError):
            KeyChain(ORIGIN, [KEY.public_key()]).open(bytes(changed))


@given(st.binary(max_size=200))
@example(SPECIFICATION_NOTE.encode())
@example(SPECIFICATION_NOTE.replace("\n\n", "\n\n\n").encode())
@example(SPECIFICATION_NOTE.encode()[:-1])
def test_what_parses_serialises_to_the_same_bytes(data: bytes) -> None:
    try:
        note = parse_note(data)
    except NoteError:
        return
    assert str(note).encode() == data


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(lambda name: "+" not in name),
    st.lists(st.binary(min_size=5, max_size=80), min_size=1, max_size=4),
)
def test_what_serialises_parses_to_the_same_note(name: str, blobs: list[bytes]) -> None:
    signatures = tuple(NoteSignature(name, blob[:4], blob[4:]) for blob in blobs)
    note = SignedNote("a text\n", signatures)
    assert parse_note(str(note).encode()) == note


@pytest.mark.parametrize(
    "note",
    [
        SPECIFICATION_NOTE.replace("example.com/foo", "example.com/f oo"),
        SPECIFICATION_NOTE.replace("example.com/foo", "example.com/f+o"),
        SPECIFICATION_NOTE.replace("example.com/foo ", " "),
        SPECIFICATION_NOTE.replace("— ", "- "),
        SPECIFICATION_NOTE.replace("aQM=", "aQN="),
        SPECIFICATION_NOTE.replace("aQM=", "aQM"),
        SPECIFICATION_NOTE.replace("aQM=", "a\tM="),
        "text\n\n— name AAAA\n",
        "text\n",
        "\n",
        "",
        "text\n\n" + "— name AAAAAAA=\n" * (MAX_SIGNATURES + 1),
        "t" * MAX_NOTE_BYTES + "\n\n— name AAAAAAA=\n",
    ],
)
def test_a_note_that_is_not_canonical_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        parse_note(note.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n0\n",
        "\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n01\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n-1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n٣\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n9223372036854775808\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n1\nAAAA\n",
        "origin\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n",
        "origin\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nextension\n",
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text)


def test_a_key_hands_over_by_a_checkpoint_that_both_sign() -> None:
    def grown(size: int, *keys: Ed25519PrivateKey) -> bytes:
        return str(sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), *keys)).encode()

    keys = [KEY.public_key(), NEXT_KEY.public_key()]
    chain = KeyChain(ORIGIN, keys)
    chain.open(grown(1, KEY))
    with pytest.raises(NoteError):
        chain.open(grown(2, NEXT_KEY))
    with pytest.raises(NoteError):
        chain.open(grown(2, NEXT_KEY, KEY))
    chain.open(grown(2, KEY, NEXT_KEY))
    chain.open(grown(3, NEXT_KEY))
    with pytest.raises(NoteError):
        chain.open(grown(4, KEY))
    anchors = KeyChain(ORIGIN, keys)
    assert [anchors.open_any(parse_note(grown(4, key))).size for key in (KEY, NEXT_KEY)] == [4, 4]


def test_strangers_signatures_count_in_an_anchor_only() -> None:
    # T04
    cosigned = sign_checkpoint(HEAD, KEY)
    stranger = sign(cosigned.text, "pp.example/witness", NEXT_KEY)
    note = SignedNote(cosigned.text, cosigned.signatures + stranger.signatures)
    chain = KeyChain(ORIGIN, [KEY.public_key()])
    assert chain.open_any(note) == HEAD
    for refused in (str(note), str(stranger), str(sign_checkpoint(HEAD, KEY, KEY))):
        with pytest.raises(NoteError):
            chain.open(refused.encode())
    for other in (stranger, sign_checkpoint(HEAD, NEXT_KEY), sign(str(stranger), ORIGIN, KEY)):
        with pytest.raises(NoteError):
            chain.open_any(other)
    elsewhere = sign(Checkpoint("halfgateway/gw2", 1, bytes(32)).text(), ORIGIN, KEY)
    with pytest.raises(NoteError, match="halfgateway/gw2"):
        chain.open_any(elsewhere)
