"""The offline verifier's verdicts: keys, anchors, live folders and copies of them (T04, T06)."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pymerkle import InmemoryTree

from auth.trace import (
    Checkpoint,
    Draft,
    Kind,
    NoteError,
    Status,
    TraceUnavailable,
    verify_folder,
)
from auth.trace import scan as scan_module
from auth.trace.checkpoint import SignedNote, parse_note, sign, sign_checkpoint
from auth.trace.notes import record, write_key
from tests.trace.journals import (
    ERASED,
    KEY,
    LEAVES,
    NODE,
    PAYLOADS,
    FaultyStorage,
    cut,
    draft,
    frame_spans,
    leaf_spans,
    open_journal,
    patch,
    until,
    write_journal,
)
from tests.trace.tampering import COVERED, OTHER_KEY, notes, parse_root, reshuffle, verdict


def test_a_good_journal_is_unanchored_then_valid(journal: Path) -> None:
    # T04, T06
    found = verify_folder(journal)
    assert (found.status, found.exit_code, found.first_bad) == (Status.UNANCHORED, 6, None)
    assert (found.node, found.entries, found.erased, found.checkpoints) == (NODE, 5, 1, 3)
    assert (found.signed, found.unsigned_tail, found.torn_bytes, found.anchored) == (5, 0, 0, 0)
    anchored = verify_folder(journal, anchors=notes(journal)[:2])
    assert (anchored.status, anchored.exit_code, anchored.anchored) == (Status.VALID, 0, 2)
    assert anchored.to_json()["status"] == "valid"
    assert anchored.key is not None
    assert anchored.key.startswith("halfgateway/gw1+")


def test_the_exit_codes_are_those_of_the_interface() -> None:
    # T06
    codes = {status.label: status.exit_code for status in Status}
    assert codes == {"valid": 0, "invalid": 3, "diverged": 4, "incomplete": 5, "unanchored": 6}


def test_files_that_are_not_of_the_journal_are_let_be(journal: Path) -> None:
    for name in ("pp.pem", "index.sqlite", "export.json", "write-probe.lock"):
        (journal / name).write_bytes(b"anything")
    assert verdict(journal) == ("unanchored", None)


@pytest.mark.parametrize(
    "change",
    [
        lambda pieces: [pieces[0], pieces[2], pieces[1]],
        lambda pieces: [*pieces, pieces[2]],
        lambda pieces: [pieces[0], pieces[1], pieces[1], pieces[2]],
        lambda pieces: [b"\n", *pieces],
        lambda pieces: [],
    ],
)
def test_checkpoints_have_one_order(journal: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    # T03
    reshuffle(journal, change)
    assert verify_folder(journal).status in (Status.INVALID, Status.INCOMPLETE)


def test_a_stranger_cannot_sign(journal: Path) -> None:
    # T03
    root = parse_note(notes(journal)[-1].encode())
    forged = sign(root.text, "halfgateway/gw1", OTHER_KEY)
    reshuffle(journal, lambda pieces: [*pieces[:-1], record(forged)])
    found = verify_folder(journal)
    assert found.status is Status.INVALID
    assert "le point de contrôle 3" in found.message
    assert verify_folder(journal, keys=[OTHER_KEY.public_key()]).status is Status.INVALID


def test_a_key_that_hands_over_is_followed(journal: Path) -> None:
    checkpoint = Checkpoint("halfgateway/gw1", 5, parse_root(notes(journal)[-1]))
    (journal / "gw1.pem").write_bytes(write_key(KEY.public_key()) + write_key(OTHER_KEY.public_key()))
    assert verdict(journal) == ("unanchored", None)
    reshuffle(journal, lambda pieces: [*pieces[:-1], record(sign_checkpoint(checkpoint, KEY, OTHER_KEY))])
    assert verdict(journal) == ("unanchored", None)
    reshuffle(journal, lambda pieces: [*pieces[:-1], record(sign_checkpoint(checkpoint, OTHER_KEY))])
    assert verdict(journal) == ("invalid", None)


def test_a_tail_cut_with_its_checkpoint_shows_against_an_anchor(journal: Path, tmp_path: Path) -> None:
    # T04; and where what was cut off said what a purge had erased, that shows without an anchor too (T09)
    whole = tmp_path / "whole"
    asyncio.run(write_journal(whole, 2, 3))
    for folder, alone in ((journal, ("invalid", 1)), (whole, ("unanchored", None))):
        anchors = notes(folder)
        cut(folder / LEAVES, leaf_spans(folder)[1][1])
        cut(folder / PAYLOADS, frame_spans(folder)[1][1])
        reshuffle(folder, lambda pieces: pieces[:-1])
        assert verdict(folder) == alone
        assert verdict(folder, *anchors) == ("incomplete", 2)
    assert verdict(whole, *anchors[:2]) == ("valid", None)


def test_a_rewritten_history_shows_against_an_anchor(journal: Path, tmp_path: Path) -> None:
    # T04: whoever has the key can write another history, and cannot change what others have kept
    asyncio.run(write_journal(tmp_path / "other", 2, 3))
    anchors = notes(journal)
    assert verdict(tmp_path / "other") == ("unanchored", None)
    assert verdict(tmp_path / "other", *anchors) == ("diverged", 0)
    assert verdict(tmp_path / "other", anchors[2]) == ("diverged", 0)
    assert verify_folder(tmp_path / "other", anchors=anchors).exit_code == 4


async def test_a_restored_backup_shows_against_an_anchor_whether_it_goes_on_or_not(tmp_path: Path) -> None:
    # T12, T04: at first entries are missing; once it writes on, it is another history under the same name
    live = tmp_path / "live"
    await write_journal(live, 3)
    backup = Path(shutil.copytree(live, tmp_path / "backup"))
    async with await open_journal(live) as journal:
        for n in range(2):
            await journal.record(draft(f"lost-{n}"))
    anchors = await asyncio.to_thread(notes, live)
    assert verdict(live, *anchors) == ("valid", None)
    assert verdict(backup, *anchors) == ("incomplete", 3)
    async with await open_journal(backup) as journal:
        for n in range(2):
            await journal.record(draft(f"other-{n}"))
    assert verdict(backup) == ("unanchored", None)
    assert verdict(backup, *anchors) == ("diverged", 3)


def test_an_anchor_of_another_key_or_log_shows_another_log(journal: Path) -> None:
    # T04
    note = parse_note(notes(journal)[-1].encode())
    assert verdict(journal, str(sign(note.text, "halfgateway/gw1", OTHER_KEY))) == ("diverged", None)
    other = note.text.replace("gw1", "gw2")
    assert verdict(journal, str(sign(other, "halfgateway/gw2", KEY))) == ("diverged", None)
    with pytest.raises(NoteError):
        verify_folder(journal, anchors=["not a note"])


def test_an_anchor_may_carry_others_signatures(journal: Path) -> None:
    # T04
    note = parse_note(notes(journal)[-1].encode())
    witness = sign(note.text, "pp.example/witness", OTHER_KEY)
    cosigned = SignedNote(note.text, note.signatures + witness.signatures)
    assert verdict(journal, str(cosigned)) == ("valid", None)


def test_an_empty_anchor_anchors_nothing(journal: Path) -> None:
    assert verdict(journal, notes(journal)[0]) == ("unanchored", None)


def test_the_root_is_that_of_an_independent_implementation(journal: Path) -> None:
    # T06: the leaf records alone, hashed by someone else, give the signed root
    data = (journal / LEAVES).read_bytes()
    tree = InmemoryTree(algorithm="sha256")
    for start, end in leaf_spans(journal):
        tree.append_entry(data[start:end])
    assert tree.get_root() == parse_root(notes(journal)[-1])


def test_a_commitment_is_the_hash_of_a_slice_of_the_file(journal: Path) -> None:
    # T06: `tail -c +A | head -c B | sha256sum` shows it
    data = (journal / PAYLOADS).read_bytes()
    for n, (start, end) in enumerate(frame_spans(journal)):
        leaf = (journal / LEAVES).read_bytes()[slice(*leaf_spans(journal)[n])]
        assert (hashlib.sha256(data[start + 8 : end]).digest() == leaf[-32:]) == (n != ERASED)


async def test_a_copy_of_a_write_in_flight_is_incomplete_and_says_so(tmp_path: Path) -> None:
    # T06: what a writer had begun is neither an entry nor a forgery
    await write_journal(tmp_path / "trace", 3)
    whole = {name: (tmp_path / "trace" / name).read_bytes() for name in COVERED}
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(draft("next"))
    grown = {name: (tmp_path / "trace" / name).read_bytes() for name in COVERED}
    for name in COVERED:
        for size in range(len(whole[name]) + 1, len(grown[name])):
            folder = tmp_path / "copy"
            folder.mkdir(exist_ok=True)
            shutil.copy(tmp_path / "trace" / "gw1.pem", folder)
            for other in COVERED:
                (folder / other).write_bytes(whole[other])
            if name == LEAVES:
                (folder / PAYLOADS).write_bytes(grown[PAYLOADS])
            (folder / name).write_bytes(grown[name][:size])
            found = verify_folder(folder)
            assert (found.status, found.entries, found.first_bad) == (Status.INCOMPLETE, 3, None), (name, size)
            assert found.torn_bytes >= size - len(whole[name])


async def test_beside_a_live_writer_a_write_in_flight_is_no_fault(tmp_path: Path) -> None:
    # T06
    storage = FaultyStorage()
    async with await open_journal(tmp_path / "trace", storage=storage) as journal:
        await journal.record(draft("s-0"))
        storage.gate.clear()
        before = storage.syncs
        writing = asyncio.create_task(journal.record(draft("s-1")))
        await until(lambda: storage.syncs > before)
        found = verify_folder(tmp_path / "trace")
        storage.gate.set()
        assert (found.status, found.entries) == (Status.UNANCHORED, 1)
        assert found.torn_bytes > 200
        await writing
        found = verify_folder(tmp_path / "trace")
        assert (found.status, found.entries, found.torn_bytes) == (Status.UNANCHORED, 2, 0)


async def test_a_live_folder_verifies_again_and_again(tmp_path: Path) -> None:
    # T06
    async with await open_journal(tmp_path / "trace", checkpoint_interval_s=0.002) as journal:

        async def write() -> None:
            while True:
                await asyncio.gather(*(journal.record(draft()) for _ in range(20)))

        await journal.record(draft())
        writing = asyncio.create_task(write())
        sizes = {0}
        for _ in range(1000):
            found = await asyncio.to_thread(verify_folder, tmp_path / "trace")
            assert found.status is Status.UNANCHORED, found
            sizes.add(found.entries)
            if len(sizes) > 10:
                break
        writing.cancel()
        assert len(sizes) > 10


def test_nothing_there_is_incomplete(tmp_path: Path) -> None:
    assert verdict(tmp_path / "nowhere") == ("incomplete", None)
    (tmp_path / "empty").mkdir()
    assert verdict(tmp_path / "empty") == ("incomplete", None)
    (tmp_path / "file").touch()
    assert verdict(tmp_path / "file") == ("incomplete", None)


def test_a_file_that_cannot_be_read_is_no_verdict(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("auth.trace.verify.read_leaves", broken)
    with pytest.raises(TraceUnavailable, match="Input/output"):
        verify_folder(journal)


async def test_several_keys_in_the_folder_do_not_hide_whose_journal_it_is(tmp_path: Path) -> None:
    await write_journal(tmp_path / "trace", 2)
    (tmp_path / "trace" / "pp.pem").write_bytes(write_key(OTHER_KEY.public_key()))
    assert verify_folder(tmp_path / "trace").node == NODE
    patch(tmp_path / "trace" / LEAVES, 0, b"x")
    assert verify_folder(tmp_path / "trace").status is Status.INVALID


async def test_a_kind_newer_than_this_program_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T06: an older verifier knows fewer kinds; the number and the name are both in what was committed to
    async with await open_journal(tmp_path / "trace") as journal:
        await journal.record(Draft(kind=Kind.HEARTBEAT))
    monkeypatch.delitem(scan_module._KIND_NAMES, Kind.HEARTBEAT.code)
    assert verify_folder(tmp_path / "trace").status is Status.UNANCHORED
    patch(tmp_path / "trace" / LEAVES, leaf_spans(tmp_path / "trace")[0][0] + 16, (9199).to_bytes(4))
    assert verdict(tmp_path / "trace") == ("invalid", 0)


def test_a_key_of_another_kind_is_refused(journal: Path) -> None:
    key = X25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for text in (pem, pem.replace(b"M", b"N", 1)):
        (journal / "gw1.pem").write_bytes(text)
        assert verdict(journal) == ("invalid", None)
