"""The files of an export: found again after a crash or a restart, handed out, removed, and each act told (S14, T02)."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from auth.principals import Role
from auth.trace import Draft, Entry, Kind
from auth.trace import TraceUnavailable as JournalUnavailable
from camera_registry.clock import SystemClock
from halfgateway.app.keeping import borrow_journal
from halfgateway.errors import (
    InterconnectionCut,
    NotHabilitated,
    TraceUnavailable,
)
from halfgateway.exporting.export import ExportState
from halfgateway.exporting.failures import ExportFailed
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.net.valkey import EmbeddedValkey
from tests.control.doors import principal
from tests.exporting.conftest import Studio, open_studio

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_node_that_starts_again_finds_what_was_finished_and_removes_what_was_not(studio: Studio) -> None:
    # T02: its trace has told of that by then
    export = await studio.made()
    left = studio.folder / "a" / ".making-0123456789abcdef"
    left.mkdir()
    (left / "mairie.mp4").write_bytes(b"half a film")
    again = studio.reopened()
    await again.begin()
    found = again.find(export.id)
    assert found is not None
    assert (found.files, found.state, found.percent) == (export.files, ExportState.DONE, 100)
    assert found.belongs_to(principal(Role.OPERATOR))
    assert not left.exists()


async def test_a_crash_between_its_result_and_its_name_loses_nothing(studio: Studio) -> None:
    # T02: what the trace says was made can be had; what it says was removed, or failed in the end, is gone
    ends = {"removed": Kind.EXPORT_REMOVED, "failed": Kind.EXPORT_FAILED}
    made, *ended = [await studio.made(stream=name) for name in ("made", *ends)]
    for export in (made, *ended):
        studio.workshop.shelf.withdraw(export.id)
    for export in ended:
        await studio.place.tracer.durable(export.request.entry(ends[export.id]))
    again = studio.reopened()
    await again.begin()
    found = again.find(made.id)
    assert found is not None
    assert (found.files, [again.find(export.id) for export in ended]) == (made.files, [None, None])
    assert {path.parent.name for path in studio.files()} == {made.id}


async def test_files_stay_while_it_cannot_be_told_that_they_are_removed(
    tmp_path: Path, valkey: tuple[EmbeddedValkey, str], authority: tuple[Path, Path, Path]
) -> None:
    # T01: and go with the first round in which it can
    async with open_studio(tmp_path, valkey, authority, kept=timedelta(0)) as studio:
        export = await studio.made()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(studio.place.journal, "record", no_journal)
            await studio.exports.remove_due()
            with pytest.raises(TraceUnavailable):
                await studio.exports.cancel(export, by=principal(Role.OPERATOR), source="198.51.100.7")
        assert studio.exports.find(export.id) is export
        assert {path.name for path in studio.files()} == {file.name for file in export.files}
        await studio.exports.remove_due()
        assert (studio.exports.find(export.id), studio.files()) == (None, [])
        assert Kind.EXPORT_REMOVED in await studio.told(export)


async def test_files_that_the_disk_does_not_let_go_of_are_removed_later(studio: Studio) -> None:
    export = await studio.made()
    node = studio.folder / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", refused_by_the_disk)
        with pytest.raises(ExportFailed):
            await studio.exports.cancel(export, by=principal(Role.OPERATOR), source="198.51.100.7")
    assert (studio.exports.find(export.id), (node / export.id).is_dir()) == (export, True)
    assert Kind.EXPORT_REMOVED not in await studio.told(export)
    await studio.exports.cancel(export, by=principal(Role.OPERATOR), source="198.51.100.7")
    assert studio.files() == []


async def no_journal(_draft: Draft) -> Entry:
    raise JournalUnavailable("the disk is full")


def refused_by_the_disk(_path: Path, _to: Path) -> Path:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


async def test_what_a_crash_left_open_has_its_result_at_the_next_start(studio: Studio, tmp_path: Path) -> None:
    # T02
    folder, clock, intent = DataFolder(tmp_path / "node"), SystemClock(), studio.wish().entry(Kind.EXPORT_REQUESTED)
    folder.make()
    keys = NodeKeys.open(folder.secrets, None)
    for draft in (intent, Draft(kind=Kind.HEARTBEAT)):
        async with AsyncExitStack() as life:
            journal = await borrow_journal(folder, "a", keys, clock, life)
            await journal.record(draft)
            page = await journal.reader().entries(limit=10)
    told = [entry for entry in page.items if entry.stream == intent.stream]
    assert [(entry.kind, entry.detail.get("cause")) for entry in told] == [
        (Kind.EXPORT_FAILED, "node-crashed"),
        (Kind.EXPORT_REQUESTED, None),
    ]


async def test_files_are_removed_when_their_time_is_over(
    tmp_path: Path, valkey: tuple[EmbeddedValkey, str], authority: tuple[Path, Path, Path]
) -> None:
    async with open_studio(tmp_path, valkey, authority, kept=timedelta(0)) as studio:
        export = await studio.made()
        await studio.exports.remove_due()
        assert (studio.exports.find(export.id), studio.files()) == (None, [])
        assert (await studio.told(export))[Kind.EXPORT_REMOVED].detail["cause"] == "kept-long-enough"


async def test_a_file_is_handed_out_while_that_is_allowed_and_each_time_is_told(studio: Studio) -> None:
    # a file is media: refused while cut, and when the right is gone
    export = await studio.made()
    film, by = export.files[-1], principal(Role.OPERATOR)
    path = await studio.exports.open_file(export, film, by=by, source="198.51.100.7")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == film.sha256
    studio.exports.closed_file(export, film, 10, by=by, source="198.51.100.7")
    told = (await studio.told(export))[Kind.EXPORT_DOWNLOADED]
    assert (told.detail["sent_bytes"], told.detail["whole"], told.source) == (10, False, "198.51.100.7")
    assert studio.exports.refusal_of_files(export) is None
    studio.place.state.closed_by = InterconnectionCut("Coupée.")
    assert isinstance(studio.exports.refusal_of_files(export), InterconnectionCut)
    with pytest.raises(InterconnectionCut):
        await studio.exports.open_file(export, film, by=by, source="198.51.100.7")
    studio.place.state.closed_by = None
    known = studio.place.who_may.rights
    assert known is not None
    studio.place.who_may.rights = replace(known, habilitations=())
    assert isinstance(studio.exports.refusal_of_files(export), NotHabilitated)
    assert (await studio.told(export))[Kind.EXPORT_REFUSED].refusal == "interconnection-cut"


async def test_its_owner_removes_its_files(studio: Studio) -> None:
    export = await studio.made()
    await studio.exports.cancel(export, by=principal(Role.OPERATOR), source="198.51.100.7")
    assert (studio.exports.find(export.id), studio.files()) == (None, [])
    assert (await studio.told(export))[Kind.EXPORT_REMOVED].detail["cause"] == "removed-by-owner"
