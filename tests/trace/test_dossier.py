"""One entry's dossier, from whoever hands it over: what is in it is checked as in a journal (T05, T06)."""

from __future__ import annotations

from pathlib import Path

from auth.trace import Checkpoint, Kind, leaf_hash
from auth.trace.checkpoint import sign_checkpoint
from auth.trace.dossier import ENTRY, INCLUSION, LEAF_RECORD, SALT
from auth.trace.entry import Entry, unix_us
from auth.trace.layout import LEAF, StampWriter, commitment
from auth.trace.notes import key_name, write_key
from auth.trace.proofs import InclusionFile
from auth.trace.verifier import main
from camera_registry.clock import SystemClock
from tests.trace.journals import KEY, NODE, draft

CODE = Kind.STREAM_REQUESTED.code


def hand_over(folder: Path, payload: bytes, at_us: int) -> int:
    """Make the dossier of a journal's only entry, as one who has the key can make any, and judge it."""
    folder.mkdir()
    record = LEAF.pack(0, at_us, CODE, commitment(bytes(32) + payload))
    note = sign_checkpoint(Checkpoint(f"halfgateway/{NODE}", 1, leaf_hash(record)), KEY)
    (folder / LEAF_RECORD).write_bytes(record)
    (folder / SALT).write_bytes(bytes(32))
    (folder / ENTRY).write_bytes(payload)
    (folder / key_name(NODE)).write_bytes(write_key(KEY.public_key()))
    (folder / INCLUSION).write_text(str(InclusionFile(0, (), note)))
    return main([str(folder)])


def test_what_is_no_entry_is_invalid_in_a_dossier_too(tmp_path: Path) -> None:
    # T03, T05, T06
    at = SystemClock().now()
    good = Entry.from_draft(draft(), node=NODE, n=0, at_us=unix_us(at)).payload()
    stamp = StampWriter(NODE).write(0, unix_us(at), Kind.STREAM_REQUESTED.value, CODE).encode()
    assert hand_over(tmp_path / "good", good, unix_us(at)) == 6
    for name, payload in {
        "rubbish": stamp + b"no json",
        "twice": good.replace(b'"agent":null', b'"agent":null,"agent":null'),
        "more": good + b" ",
    }.items():
        assert hand_over(tmp_path / name, payload, unix_us(at)) == 3
