"""The node's own record: durable, shared by processes, and closed whenever it is not whole."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.errors import LocalRecordError, OfficerRequired
from ops.interconnection import Author, Ground, InterconnectionState, cut, first_open, restore
from ops.local_record import MAX_RECORD_BYTES, LocalRecord

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_cut(current: InterconnectionState, incident: str = "i1") -> InterconnectionState:
    return cut(current, ground=Ground.CRITICAL_INCIDENT, reason="fuite", by=Author.OPS, since=NOON, incident=incident)


def a_restoration(current: InterconnectionState, by: Author = Author.OFFICER) -> InterconnectionState:
    assert current.incident is not None
    return restore(current, incident=current.incident, reason="résolu", by=by, since=NOON)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "interconnection.record"


@pytest.fixture
def record(path: Path) -> LocalRecord:
    record = LocalRecord(path)
    record.initialise(first_open(NOON))
    return record


def fresh_copy(folder: Path, raw: bytes) -> LocalRecord:
    folder.mkdir()
    path = folder / "interconnection.record"
    path.write_bytes(raw)
    return LocalRecord(path)


def test_a_new_installation_is_open_and_stays_as_it_was_left(path: Path, record: LocalRecord) -> None:
    # C10
    assert not record.load().closed
    state = record.update(a_cut)
    again = LocalRecord(path)
    assert again.load() == state
    assert again.initialise(first_open(NOON)) == state


def test_a_missing_record_is_a_cut_that_only_the_officer_restores(path: Path) -> None:
    # C10
    record = LocalRecord(path)
    state = record.load()
    assert state.closed
    assert "absent" in state.reason
    assert LocalRecord(path).load() == state
    with pytest.raises(OfficerRequired):
        record.update(lambda current: a_restoration(current, Author.OPS))
    assert record.load() == state
    assert not record.update(a_restoration).closed
    assert not LocalRecord(path).load().closed


def test_the_folder_missing_too_is_a_cut(tmp_path: Path) -> None:
    # C10
    record = LocalRecord(tmp_path / "nowhere" / "interconnection.record")
    assert record.load().closed
    with pytest.raises(LocalRecordError):
        record.update(a_cut)


def test_something_that_cannot_be_read_is_a_cut(path: Path) -> None:
    # C10
    path.mkdir()
    assert LocalRecord(path).load().closed


def test_torn_at_every_byte_a_cut_never_reads_as_open(tmp_path: Path, path: Path, record: LocalRecord) -> None:
    # C10
    before = path.read_bytes()
    record.update(a_cut)
    raw = path.read_bytes()
    for size in range(len(before) + 1, len(raw)):
        assert fresh_copy(tmp_path / f"cut-{size}", raw[:size]).load().closed, size
    assert not fresh_copy(tmp_path / "not-begun", before).load().closed


def test_torn_at_every_byte_a_restoration_leaves_the_cut_as_it_was(
    tmp_path: Path, path: Path, record: LocalRecord
) -> None:
    # C10
    state = record.update(a_cut)
    before = path.read_bytes()
    record.update(a_restoration)
    raw = path.read_bytes()
    for size in range(len(before), len(raw)):
        torn = fresh_copy(tmp_path / f"restored-{size}", raw[:size])
        assert torn.load() == state, size
    assert not torn.update(a_restoration).closed
    assert not LocalRecord(tmp_path / f"restored-{len(raw) - 1}" / path.name).load().closed


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("then_restored", [False, True])
def test_every_single_bit_flipped_reads_as_cut(
    tmp_path: Path, path: Path, record: LocalRecord, then_restored: bool
) -> None:
    # C10
    record.update(a_cut)
    if then_restored:
        record.update(a_restoration)
    raw = path.read_bytes()
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert LocalRecord(path, fsync=lambda _: None).load().closed, bit
        for kept in tmp_path.iterdir():
            kept.unlink()


@pytest.mark.parametrize("raw", [b"", b"\n", b"\0" * 4096, b"open\n", b"\xff" * 70 + b"\n"])
def test_anything_else_reads_as_cut_and_is_kept_aside(tmp_path: Path, path: Path, raw: bytes) -> None:
    # C10
    path.write_bytes(raw)
    state = LocalRecord(path).load()
    assert state.closed
    assert LocalRecord(path).load() == state
    assert raw in {kept.read_bytes() for kept in tmp_path.iterdir() if kept != path and kept.suffix != ".lock"}


def test_a_record_of_another_format_reads_as_cut(path: Path, record: LocalRecord) -> None:
    # C10, D02: a node that was rolled back does not guess what its successor wrote
    text = record.load().to_json().replace('"format":1', '"format":2').encode()
    path.write_bytes(hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n")
    assert LocalRecord(path).load().closed


def test_a_line_repeated_or_out_of_order_reads_as_cut(tmp_path: Path, path: Path, record: LocalRecord) -> None:
    # C10
    record.update(a_cut)
    record.update(a_restoration)
    lines = path.read_bytes().splitlines(keepends=True)
    for name, wrong in {"repeated": [*lines, lines[-1]], "swapped": [lines[0], lines[2], lines[1]]}.items():
        assert fresh_copy(tmp_path / name, b"".join(wrong)).load().closed


def test_a_cut_from_an_old_view_takes_effect_and_an_old_opening_does_not(record: LocalRecord) -> None:
    # C10
    old = first_open(NOON)
    stale_opening = replace(old, serial=1)
    record.update(lambda current: a_restoration(a_cut(current, "past")))
    assert record.append(a_cut(old, "now")).closed
    assert record.append(stale_opening).closed
    assert record.load().incident == "now"


def test_two_processes_never_lose_a_change(path: Path, record: LocalRecord) -> None:
    # C10
    script = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from ops.interconnection import Author, Ground, cut\n"
        "from ops.local_record import LocalRecord\n"
        "record = LocalRecord(Path(sys.argv[1]))\n"
        "for n in range(40):\n"
        "    record.update(lambda s: cut(s, ground=Ground.MAINTENANCE, reason='r', by=Author.OPS,\n"
        "                                since=datetime.now(UTC), incident=f'{sys.argv[2]}-{n}'))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert record.load().serial == 80
    assert len(path.read_bytes().splitlines()) == 81


def test_a_reader_never_sees_a_change_half_written(path: Path, record: LocalRecord) -> None:
    done = threading.Event()
    seen: list[InterconnectionState] = []

    def watch() -> None:
        while not done.is_set():
            seen.append(LocalRecord(path).load())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for n in range(60):
        record.update(lambda current, n=n: a_cut(current, f"i{n}"))  # type: ignore[misc]  # a lambda's default
        record.update(a_restoration)
    done.set()
    watcher.join()
    assert all(state.by is not Author.DETECTION for state in seen)


def test_a_lock_that_never_comes_is_a_declared_error_and_reading_goes_on(path: Path, record: LocalRecord) -> None:
    # C10
    record.update(a_cut)
    inside, leave = threading.Event(), threading.Event()

    def hold(current: InterconnectionState) -> InterconnectionState:
        inside.set()
        leave.wait(30)
        return current

    holder = threading.Thread(target=record.update, args=(hold,))
    holder.start()
    try:
        assert inside.wait(10)
        impatient = LocalRecord(path, lock_limit_s=0.05)
        with pytest.raises(LocalRecordError):
            impatient.update(a_restoration)
        assert impatient.load().closed
    finally:
        leave.set()
        holder.join()


def test_a_failing_disk_never_leaves_an_opening_behind(path: Path, record: LocalRecord) -> None:
    # C10
    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    failing = LocalRecord(path, fsync=fails)
    with pytest.raises(LocalRecordError):
        failing.update(a_cut)
    assert record.load().closed
    with pytest.raises(LocalRecordError):
        failing.update(a_restoration)
    assert record.load().closed


def test_a_refused_change_writes_nothing(path: Path, record: LocalRecord) -> None:
    # C10
    state = record.update(
        lambda current: cut(
            current, ground=Ground.SECURITY, reason="intrusion", by=Author.OFFICER, since=NOON, incident="i1"
        )
    )
    before = path.read_bytes()
    with pytest.raises(OfficerRequired):
        record.update(lambda current: a_restoration(current, Author.OPS))
    assert (path.read_bytes(), record.load()) == (before, state)


def test_a_full_record_begins_a_new_file_and_keeps_the_old_one(tmp_path: Path, path: Path, record: LocalRecord) -> None:
    # C10
    raw = b""
    state = record.load()
    while len(raw) < MAX_RECORD_BYTES:
        state = replace(state, serial=state.serial + 1, reason="x" * 500)
        text = state.to_json().encode()
        raw += hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"
    path.write_bytes(raw)
    assert record.load() == state
    cut_state = record.update(a_cut)
    assert path.stat().st_size < 4096
    assert record.load() == cut_state
    assert [kept for kept in tmp_path.iterdir() if kept.stat().st_size >= MAX_RECORD_BYTES]
