"""The offline verifier: every bit, every trick, every verdict (T03, T04, T06)."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from auth.trace import (
    Checkpoint,
    Draft,
    Journal,
    Kind,
    NoteError,
    Status,
    TraceReader,
    TraceUnavailable,
    verify_folder,
)
from auth.trace import scan as scan_module
from auth.trace.checkpoint import SignedNote, parse_checkpoint, parse_note, sign, sign_checkpoint
from auth.trace.layout import frame
from auth.trace.notes import record, write_key
from auth.trace.stamp import Stamper
from tests.trace.journals import (
    CHECKPOINTS,
    KEY,
    LEAVES,
    NODE,
    PAYLOADS,
    FaultyStorage,
    cut,
    draft,
    erase,
    frame_spans,
    leaf_spans,
    open_journal,
    patch,
    until,
    write_journal,
)

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ERASED = 1
COVERED = (LEAVES, PAYLOADS, CHECKPOINTS)


def verdict(folder: Path, *anchors: str) -> tuple[str, int | None]:
    found = verify_folder(folder, anchors=anchors)
    return found.status.label, found.first_bad


def copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


def owner(folder: Path, file: str, position: int) -> int | None:
    """The entry that a byte of a file belongs to; a first line belongs to the first entry, a note to none."""
    if file == CHECKPOINTS:
        return None
    spans = leaf_spans(folder) if file == LEAVES else frame_spans(folder)
    return next((n for n, (start, end) in enumerate(spans) if start <= position < end), 0)


def notes(folder: Path) -> list[str]:
    """The folder's checkpoint notes, oldest first."""
    reader = TraceReader.of(folder, NODE)
    return [signed.note for signed in reversed(asyncio.run(reader.checkpoints()).items)]


def parse_root(note: str) -> bytes:
    return parse_checkpoint(parse_note(note.encode()).text).root


def rewrite(folder: Path, n: int, old: bytes, new: bytes) -> None:
    """Edit an entry as one who can do everything but sign: leaf and payload fit each other again."""
    start, end = frame_spans(folder)[n]
    payload = (folder / PAYLOADS).read_bytes()[start + 40 : end]
    changed = payload.replace(old, new)
    assert changed != payload
    assert len(changed) == len(payload)
    patch(folder / PAYLOADS, start, frame(bytes(32), changed))
    patch(folder / LEAVES, leaf_spans(folder)[n][1] - 32, hashlib.sha256(bytes(32) + changed).digest())


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Five entries under three checkpoints (of 0, 2 and 5), entry 1 erased."""
    asyncio.run(write_journal(tmp_path / "trace", 2, 3))
    erase(tmp_path / "trace", ERASED)
    return tmp_path / "trace"


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


def test_every_single_bit_of_every_file_counts(tmp_path: Path) -> None:
    # T03
    folder = tmp_path / "trace"
    asyncio.run(write_journal(folder, 3))
    erase(folder, ERASED)
    for file in COVERED:
        good = (folder / file).read_bytes()
        for position, byte in enumerate(good):
            belongs_to = owner(folder, file, position)
            for bit in range(8):
                patch(folder / file, position, bytes([byte ^ 1 << bit]))
                found = verify_folder(folder)
                assert found.status in (Status.INVALID, Status.INCOMPLETE), (file, position, bit, found)
                if file != CHECKPOINTS:
                    assert found.first_bad == belongs_to, (file, position, bit, found)
            patch(folder / file, position, good[position : position + 1])
    assert verify_folder(folder).status is Status.UNANCHORED


async def test_every_single_bit_of_an_unsigned_tail_counts(tmp_path: Path) -> None:
    # T03: before a checkpoint covers them, entries are covered by their commitments
    journal = await open_journal(tmp_path / "live")
    await journal.record(draft("s-0"))
    await journal.record(draft("s-1"))
    folder = copy(tmp_path / "live", "trace")
    await journal.close()
    found = verify_folder(folder)
    assert (found.status, found.signed, found.unsigned_tail) == (Status.UNANCHORED, 0, 2)
    for file in (LEAVES, PAYLOADS):
        good = (folder / file).read_bytes()
        for position, byte in enumerate(good):
            belongs_to = owner(folder, file, position)
            for bit in range(8):
                patch(folder / file, position, bytes([byte ^ 1 << bit]))
                assert verdict(folder) == ("invalid", belongs_to), (position, bit)
            patch(folder / file, position, good[position : position + 1])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.sampled_from(COVERED), st.data())
def test_every_truncation_counts(journal: Path, file: str, data: st.DataObject) -> None:
    # T03
    whole = (journal / file).read_bytes()
    size = data.draw(st.integers(0, len(whole) - 1))
    (journal / file).write_bytes(whole[:size])
    found = verify_folder(journal)
    (journal / file).write_bytes(whole)
    at_a_note = file == CHECKPOINTS and whole[:size].endswith(b"\n\n") and b"A" in whole[:size]
    if at_a_note and found.status is Status.UNANCHORED:
        assert found.unsigned_tail > 0  # said, and only an anchor can tell more
        return
    assert found.status in (Status.INVALID, Status.INCOMPLETE)
    if file != CHECKPOINTS:
        assert found.first_bad == missing_after(journal, file, size)


def missing_after(folder: Path, file: str, size: int) -> int:
    spans = leaf_spans(folder) if file == LEAVES else frame_spans(folder)
    return next(n for n, (_, end) in enumerate(spans) if end > size)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.sampled_from(COVERED), st.binary(min_size=1, max_size=600))
def test_anything_added_counts(journal: Path, file: str, more: bytes) -> None:
    # T03
    whole = (journal / file).read_bytes()
    (journal / file).write_bytes(whole + more)
    found = verify_folder(journal)
    (journal / file).write_bytes(whole)
    assert found.status in (Status.INVALID, Status.INCOMPLETE)


def swap_leaves(folder: Path, a: int, b: int) -> None:
    data = (folder / LEAVES).read_bytes()
    (first, first_end), (second, second_end) = leaf_spans(folder)[a], leaf_spans(folder)[b]
    patch(folder / LEAVES, first, data[second:second_end])
    patch(folder / LEAVES, second, data[first:first_end])


def splice(folder: Path, file: str, spans: list[tuple[int, int]], order: list[int]) -> None:
    data = (folder / file).read_bytes()
    head = data[: spans[0][0]]
    (folder / file).write_bytes(head + b"".join(data[slice(*spans[n])] for n in order))


def reorder(folder: Path, order: list[int]) -> None:
    splice(folder, PAYLOADS, frame_spans(folder), order)
    splice(folder, LEAVES, leaf_spans(folder), order)


TRICKS: list[tuple[str, Callable[[Path], None], str, int | None]] = [
    ("delete", lambda folder: reorder(folder, [0, 1, 3, 4]), "invalid", 2),
    ("delete the last", lambda folder: reorder(folder, [0, 1, 2, 3]), "incomplete", 4),
    ("reorder", lambda folder: reorder(folder, [0, 1, 3, 2, 4]), "invalid", 2),
    ("duplicate", lambda folder: reorder(folder, [0, 1, 2, 2, 3, 4]), "invalid", 3),
    ("delete a payload", lambda folder: splice(folder, PAYLOADS, frame_spans(folder), [0, 1, 3, 4]), "invalid", 2),
    ("delete a leaf", lambda folder: splice(folder, LEAVES, leaf_spans(folder), [0, 1, 3, 4]), "invalid", 2),
    ("swap leaves", lambda folder: swap_leaves(folder, 2, 3), "invalid", 2),
    ("edit", lambda folder: rewrite(folder, 3, b"cam-1", b"cam-2"), "invalid", 2),
    ("edit before an erased one", lambda folder: rewrite(folder, 0, b"cam-1", b"cam-2"), "invalid", 0),
    ("erase without right", lambda folder: erase(folder, 4), "unanchored", None),
    ("lose the leaves", lambda folder: (folder / LEAVES).unlink(), "incomplete", 0),
    ("lose the payloads", lambda folder: (folder / PAYLOADS).unlink(), "incomplete", 0),
    ("lose the checkpoints", lambda folder: (folder / CHECKPOINTS).unlink(), "incomplete", None),
    ("lose the key", lambda folder: (folder / "gw1.pem").unlink(), "incomplete", None),
    ("empty the key", lambda folder: (folder / "gw1.pem").write_bytes(b""), "invalid", None),
    ("add a file", lambda folder: (folder / "notes.txt").touch(), "invalid", None),
    ("add a folder", lambda folder: (folder / "more").mkdir(), "invalid", None),
    ("add an odd segment", lambda folder: (folder / "000000000007.leaves").touch(), "invalid", 65_536),
    ("add a far segment", lambda folder: (folder / "000000131072.leaves").touch(), "incomplete", 65_536),
]


@pytest.mark.parametrize(("trick", "status", "first_bad"), [pytest.param(*row[1:], id=row[0]) for row in TRICKS])
def test_every_trick_has_its_verdict(
    journal: Path, trick: Callable[[Path], None], status: str, first_bad: int | None
) -> None:
    # T03, T06
    trick(journal)
    found = verify_folder(journal)
    assert (found.status.label, found.first_bad) == (status, first_bad), found


def test_files_that_are_not_of_the_journal_are_let_be(journal: Path) -> None:
    for name in ("pp.pem", "index.sqlite", "export.json", "write-probe.lock"):
        (journal / name).write_bytes(b"anything")
    assert verdict(journal) == ("unanchored", None)


def test_a_link_in_a_files_place_is_not_followed(journal: Path) -> None:
    (journal / LEAVES).rename(journal.with_name("elsewhere"))
    (journal / LEAVES).symlink_to(journal.with_name("elsewhere"))
    assert verdict(journal) == ("invalid", None)


def test_an_entry_may_be_erased_only_under_a_checkpoint(journal: Path) -> None:
    # T09
    data = (journal / CHECKPOINTS).read_bytes()
    cut(journal / CHECKPOINTS, data.rindex(b"halfgateway/gw1\n"))
    assert verdict(journal) == ("unanchored", None)
    erase(journal, 3)
    assert verdict(journal) == ("invalid", 3)


def reshuffle(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    data = (folder / CHECKPOINTS).read_bytes()
    pieces = [b"halfgateway/gw1\n" + piece for piece in data.split(b"halfgateway/gw1\n")[1:]]
    (folder / CHECKPOINTS).write_bytes(b"".join(change(pieces)))


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
    assert "checkpoint 3" in found.message
    assert verify_folder(journal, keys=[OTHER_KEY.public_key()]).status is Status.INVALID


def test_a_key_that_hands_over_is_followed(journal: Path) -> None:
    checkpoint = Checkpoint("halfgateway/gw1", 5, parse_root(notes(journal)[-1]))
    (journal / "gw1.pem").write_bytes(write_key(KEY.public_key()) + write_key(OTHER_KEY.public_key()))
    assert verdict(journal) == ("unanchored", None)
    reshuffle(journal, lambda pieces: [*pieces[:-1], record(sign_checkpoint(checkpoint, KEY, OTHER_KEY))])
    assert verdict(journal) == ("unanchored", None)
    reshuffle(journal, lambda pieces: [*pieces[:-1], record(sign_checkpoint(checkpoint, OTHER_KEY))])
    assert verdict(journal) == ("invalid", None)


def test_a_tail_cut_with_its_checkpoint_shows_against_an_anchor(journal: Path) -> None:
    # T04
    anchors = notes(journal)
    cut(journal / LEAVES, leaf_spans(journal)[1][1])
    cut(journal / PAYLOADS, frame_spans(journal)[1][1])
    reshuffle(journal, lambda pieces: pieces[:-1])
    assert verdict(journal) == ("unanchored", None)
    assert verdict(journal, *anchors) == ("incomplete", 2)
    assert verdict(journal, *anchors[:2]) == ("valid", None)


def test_a_rewritten_history_shows_against_an_anchor(journal: Path, tmp_path: Path) -> None:
    # T04: whoever has the key can write another history, and cannot change what others have kept
    asyncio.run(write_journal(tmp_path / "other", 2, 3))
    anchors = notes(journal)
    assert verdict(tmp_path / "other") == ("unanchored", None)
    assert verdict(tmp_path / "other", *anchors) == ("diverged", 0)
    assert verdict(tmp_path / "other", anchors[2]) == ("diverged", 0)
    assert verify_folder(tmp_path / "other", anchors=anchors).exit_code == 4


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


@pytest.mark.parametrize("at_us", [-(1 << 63), (1 << 63) - 1, -1])
def test_an_impossible_time_is_named(journal: Path, at_us: int) -> None:
    # T08
    patch(journal / LEAVES, leaf_spans(journal)[2][0] + 8, at_us.to_bytes(8, signed=True))
    assert verdict(journal) == ("invalid", 2)


async def test_time_that_goes_back_in_silence_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # T08: only a writer that breaks the format's rule could write such a journal
    monkeypatch.setattr(Stamper, "at", lambda _self, reading, _draft: reading.wall_us - next(backwards))
    backwards = count()
    await write_journal(tmp_path / "trace", 3)
    assert verdict(tmp_path / "trace") == ("invalid", 1)


async def test_a_segment_that_others_follow_is_whole(tmp_path: Path, small_segments: int) -> None:
    # T03
    await write_journal(tmp_path / "trace", 2 * small_segments)
    short = copy(tmp_path / "trace", "short")
    cut(short / LEAVES, leaf_spans(short)[-1][0])
    assert verdict(short) == ("incomplete", small_segments - 1)
    for n in (0, 1):
        longer = copy(tmp_path / "trace", f"longer-{n}")
        with (longer / f"{n * small_segments:012d}.payloads").open("ab") as file:
            file.write(frame(bytes(32), b"{}"))
        assert verdict(longer) == ("invalid", (n + 1) * small_segments)
    for n in (0, 1):
        longer = copy(tmp_path / "trace", f"leaves-{n}")
        with (longer / f"{n * small_segments:012d}.leaves").open("ab") as file:
            file.write(b"x")
        assert verdict(longer) == ("invalid", (n + 1) * small_segments)


async def test_more_payloads_than_a_group_without_leaves_are_lost_entries(tmp_path: Path) -> None:
    # T03
    await write_journal(tmp_path / "trace", 1)
    with (tmp_path / "trace" / PAYLOADS).open("ab") as file:
        file.write(frame(bytes(32), bytes(16_000)) * 70)
    assert verdict(tmp_path / "trace") == ("incomplete", 1)


def test_a_key_of_another_kind_is_refused(journal: Path) -> None:
    key = X25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for text in (pem, pem.replace(b"M", b"N", 1)):
        (journal / "gw1.pem").write_bytes(text)
        assert verdict(journal) == ("invalid", None)
