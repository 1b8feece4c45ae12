"""An export from the wish to its files: one door, one slot, a signed manifest, and nothing left where it ends early."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from auth.policy import Action
from auth.principals import Role
from auth.rights import USUAL_ACTIONS
from auth.trace import Draft, Entry, Kind
from auth.trace.acts import open_streams
from camera_registry.clock import rfc3339
from halfgateway.control.access import AccessRequest
from halfgateway.control.endings import ClosedOnRequest
from halfgateway.control.streams import Stream
from halfgateway.errors import (
    CapReached,
    InterconnectionCut,
    InvalidRequest,
    NoRecording,
    NotHabilitated,
    OutsideRetention,
    RecorderUnreachable,
    Refusal,
)
from halfgateway.exporting.export import Export, ExportState
from halfgateway.exporting.film import MIN_FREE_BYTES
from halfgateway.exporting.manifest import MANIFEST, READABLE
from halfgateway.net.valkey import EmbeddedValkey
from halfgateway.protocol.codec import Codec
from tests.control.doors import AGENT, OPERATOR, principal, wish
from tests.exporting.conftest import Studio, open_studio
from tests.exporting.footages import Take, shot
from tests.rights import habilitation

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTE = timedelta(minutes=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
PAGE = Path(__file__).parents[2] / "docs" / "exports.md"


def manifest_of(studio: Studio, export: Export) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((studio.folder / "a" / export.id / MANIFEST).read_bytes())
    return document


async def test_an_export_is_a_copy_with_a_manifest_that_tells_all_of_it(studio: Studio) -> None:
    # L14, L15
    export = await studio.made()
    assert (export.state, export.percent, export.cause) == (ExportState.DONE, 100, None)
    said, folder = manifest_of(studio, export), studio.folder / "a" / export.id
    (file,) = said["files"]
    assert file["elementary_stream_sha256"] == shot().sha256()
    assert file["sha256"] == hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest()
    assert said["camera"]["name"] == "Place"
    assert said["camera"]["commune"] == "Versailles"
    assert said["asked"] == {"start": rfc3339(studio.start), "end": rfc3339(studio.end)}
    assert said["obtained"] == {**said["asked"], "duration_s": 2.0}
    assert said["gaps"] == []
    assert (said["by"]["agent"], said["by"]["attribution"]) == (AGENT, "agent-authenticated")
    assert (said["reason"]["code"], said["reference"], said["agreement"]) == ("L251-2-5", "PP-2026-7", "avenant n° 3")
    intent = (await studio.told(export))[Kind.EXPORT_REQUESTED]
    assert said["trace"] == {"node": intent.node, "n": intent.n}
    assert said["checkpoint"]["size"] > intent.n
    text = (folder / READABLE).read_bytes()
    assert said["readable"]["sha256"] == hashlib.sha256(text).hexdigest()
    assert file["sha256"] in text.decode()
    assert {each.name: each.sha256 for each in export.files} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }


@pytest.mark.peer
async def test_anybody_can_verify_it_as_the_page_says(studio: Studio) -> None:
    # L14, L15: the commands of docs/exports.md, as they stand there
    export = await studio.made()
    folder = studio.folder / "a" / export.id
    script = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]

    async def run(script: str) -> subprocess.CompletedProcess[str]:
        command, places = ["bash", "-euo", "pipefail", "-c", script], {"AUTHORITY": str(studio.authority)}
        return await asyncio.to_thread(
            subprocess.run, command, cwd=folder, env=os.environ | places, capture_output=True, text=True, check=False
        )

    verified = await run(script)
    assert verified.returncode == 0, verified.stderr
    (film,) = manifest_of(studio, export)["files"]
    assert verified.stdout.splitlines() == [
        f"{film['name']}: OK",
        f"{READABLE}: OK",
        f"SHA256={film['elementary_stream_sha256']}",
    ]
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes().replace(b"Versailles", b"Versaille5"))
    assert (await run(script)).returncode != 0


async def test_it_holds_one_slot_and_its_acts_are_told_in_order(studio: Studio) -> None:
    # C01, T02: the intents are durable before a byte is read
    studio.reel.hold_at = 3
    export = await studio.exports.ask(studio.wish())
    assert studio.reel.opened == 0
    assert await studio.place.kinds(export.id) == [Kind.STREAM_REQUESTED, Kind.EXPORT_REQUESTED]
    await studio.reel.reached.wait()
    assert await studio.place.slots.usage() == (1, 10)
    assert (export.state, studio.reel.asked[0].options.rate_control) == (ExportState.RUNNING, False)
    (shown,) = await studio.place.open_streams.list_all()
    assert (shown.id, shown.mode.value, shown.state.value) == (export.id, "recorded", "playing")
    studio.reel.held.set()
    await studio.over(export)
    assert (await studio.place.slots.usage())[0] == 0
    assert await studio.place.kinds(export.id) == [
        Kind.STREAM_REQUESTED,
        Kind.EXPORT_REQUESTED,
        Kind.EXPORT_MADE,
        Kind.STREAM_STOPPED,
    ]
    made = (await studio.told(export))[Kind.EXPORT_MADE].detail
    assert made["manifest_sha256"] == next(each.sha256 for each in export.files if each.name == MANIFEST)
    assert {"name": export.files[-1].name, "sha256": export.files[-1].sha256} in made["files"]
    assert studio.reel.sessions == 0


async def test_a_change_of_codec_and_a_gap_are_files_of_their_own(studio: Studio) -> None:
    # L14, T13: each stretch is asked for anew
    other = Take(studio.end, shot(Codec.H265))
    later = Take(other.end + MINUTE, shot())
    studio.reel.takes += [other, later]
    export = await studio.made()
    said = manifest_of(studio, export)
    assert [(file["codec"], file["elementary_stream_sha256"]) for file in said["files"]] == [
        ("H264", shot().sha256()),
        ("H265", shot(Codec.H265).sha256()),
        ("H264", shot().sha256()),
    ]
    assert said["gaps"] == [{"start": rfc3339(other.end), "end": rfc3339(later.start)}]


async def test_the_part_that_is_asked_for_is_what_is_given(studio: Studio) -> None:
    # T13: from the clean picture at or before the start; nothing filmed at or after the end
    export = await studio.made(start=studio.start + timedelta(seconds=0.7), end=studio.start + timedelta(seconds=1.5))
    (file,) = manifest_of(studio, export)["files"]
    assert file["elementary_stream_sha256"] == shot().sha256(5, 15)


def refused_as(refusal: type[Refusal], reason: str, **changes: Any) -> Any:
    return pytest.param(changes, refusal, reason, id=reason)


@pytest.mark.parametrize(
    ("changes", "refusal", "reason"),
    [
        refused_as(NotHabilitated, "account-not-agreed", principal=principal(Role.MACHINE)),
        refused_as(NotHabilitated, "camera-not-agreed", camera="cam-2"),
        refused_as(InvalidRequest, "too-long", start=datetime(2026, 1, 1, tzinfo=UTC)),
        refused_as(OutsideRetention, "period-to-come", start=TOMORROW, end=TOMORROW + MINUTE),
    ],
)
async def test_what_is_not_agreed_is_refused_and_told(
    studio: Studio, changes: dict[str, Any], refusal: type[Refusal], reason: str
) -> None:
    request = studio.wish(**changes)
    with pytest.raises(refusal):
        await studio.exports.ask(request)
    await studio.place.settle()
    (entry,) = await studio.place.told(request.stream)
    assert (entry.kind, entry.refusal, entry.detail["reason"]) == (Kind.EXPORT_REFUSED, refusal.code, reason)
    assert (studio.reel.opened, studio.files()) == (0, [])


async def test_the_right_is_one_of_its_own(studio: Studio) -> None:
    # S14: whoever may watch recordings may not keep them
    assert Action.EXPORT not in USUAL_ACTIONS
    known = studio.place.who_may.rights
    assert known is not None
    studio.place.who_may.rights = replace(known, habilitations=(habilitation(AGENT),))
    request = studio.wish()
    with pytest.raises(NotHabilitated):
        await studio.exports.ask(request)
    await studio.place.settle()
    (entry,) = await studio.place.told(request.stream)
    assert (entry.kind, entry.detail["reason"]) == (Kind.EXPORT_REFUSED, "action-not-granted")


async def test_what_begins_before_the_window_is_refused(studio: Studio) -> None:
    # C03: as for a stream
    request = studio.wish(start=datetime.now(UTC) - timedelta(days=10, seconds=1), end=studio.end)
    workshop = replace(studio.workshop, rules=replace(studio.workshop.rules, max_duration=timedelta(days=11)))
    with pytest.raises(OutsideRetention):
        await studio.reopened(workshop).ask(request)
    await studio.place.settle()
    (entry,) = await studio.place.told(request.stream)
    assert (entry.kind, entry.refusal) == (Kind.EXPORT_REFUSED, "outside-retention")


async def test_nothing_from_before_the_window_is_copied(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    # C03: the group of pictures of the first that is asked for begins before the window's edge
    edge = studio.start + timedelta(seconds=0.7)
    monkeypatch.setattr(studio.place.admission, "oldest_accessible", lambda _: edge)
    export = await studio.made(start=studio.start + timedelta(seconds=0.8))
    (file,) = manifest_of(studio, export)["files"]
    assert file["elementary_stream_sha256"] == shot().sha256(10)


async def test_eleven_are_refused_the_cap_and_told(studio: Studio) -> None:
    # C01: live and recorded counted together, exports too
    for _ in range(10):
        await studio.place.desk.open(wish())
    request = studio.wish()
    with pytest.raises(CapReached):
        await studio.exports.ask(request)
    await studio.place.settle()
    assert await studio.place.kinds(request.stream) == [Kind.EXPORT_REFUSED]


async def test_a_cut_ends_it_and_nothing_of_it_remains(studio: Studio) -> None:
    # C10, article 8
    studio.reel.hold_at = 12
    export = await studio.exports.ask(studio.wish())
    await studio.reel.reached.wait()
    for stream in studio.place.table:
        studio.place.closer.end(stream, InterconnectionCut("Coupée."))
    await studio.over(export)
    assert (export.state, export.cause, export.files) == (ExportState.FAILED, "interconnection-cut", ())
    assert (studio.files(), studio.reel.sessions) == ([], 0)
    assert (await studio.told(export))[Kind.EXPORT_FAILED].detail["cause"] == "interconnection-cut"
    assert open_streams(await studio.place.told()) == []


async def test_a_cut_before_it_has_begun_ends_it_too(studio: Studio) -> None:
    export = await studio.exports.ask(studio.wish())
    for stream in studio.place.table:
        studio.place.closer.end(stream, InterconnectionCut("Coupée."))
    await studio.over(export)
    assert (export.state, export.cause, studio.reel.opened) == (ExportState.FAILED, "interconnection-cut", 0)
    assert open_streams(await studio.place.told()) == []
    assert (await studio.made(stream="next")).state is ExportState.DONE


async def test_a_right_that_ends_is_why_it_fails(studio: Studio) -> None:
    # S12: its gate is closed before its stream ends
    studio.reel.hold_at = 12
    export = await studio.exports.ask(studio.wish())
    await studio.reel.reached.wait()
    (stream,) = studio.place.table
    studio.place.table.condemn(stream, NotHabilitated("Désignation terminée.", reason="designation-ended"))
    studio.reel.held.set()
    await studio.over(export)
    told = await studio.told(export)
    assert (export.state, export.cause, studio.files()) == (ExportState.FAILED, "not-habilitated", [])
    assert told[Kind.EXPORT_FAILED].detail["reason"] == "designation-ended"
    assert told[Kind.STREAM_STOPPED].detail["reason"] == "designation-ended"


async def test_its_owner_cancels_it(studio: Studio) -> None:
    studio.reel.hold_at = 12
    export = await studio.exports.ask(studio.wish())
    await studio.reel.reached.wait()
    await studio.exports.cancel(export, by=principal(Role.OPERATOR), source="198.51.100.7")
    await studio.over(export)
    assert (export.state, export.cause) == (ExportState.CANCELLED, ClosedOnRequest.code)
    assert studio.files() == []
    assert Kind.EXPORT_CANCELLED in await studio.told(export)


async def test_one_more_waits_for_its_turn_and_can_be_cancelled(studio: Studio) -> None:
    studio.reel.hold_at = 3
    first = await studio.exports.ask(studio.wish())
    second = await studio.exports.ask(studio.wish(stream="second"))
    third = await studio.exports.ask(studio.wish(stream="third"))
    assert [each.state for each in (first, second, third)] == ["running", "queued", "queued"]
    assert (await studio.place.slots.usage())[0] == 1
    await studio.exports.cancel(second, by=principal(Role.OPERATOR), source="198.51.100.7")
    assert second.state is ExportState.CANCELLED
    studio.reel.hold_at = None
    studio.reel.held.set()
    await studio.over(first)
    await studio.over(third)
    assert third.state is ExportState.DONE
    assert await studio.place.kinds("second") == [Kind.EXPORT_REQUESTED, Kind.EXPORT_CANCELLED]
    assert {each.id for each in studio.exports.of(principal(Role.OPERATOR))} == {first.id, "second", "third"}
    assert studio.exports.of(replace(principal(Role.OPERATOR), account="other", agent="other")) == []


async def test_one_whose_slot_is_asked_for_is_cancelled_all_the_same(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T02: it waits no more, and has no stream yet
    asked, answered, admit = asyncio.Event(), asyncio.Event(), studio.place.admission.admit

    async def slowly(request: AccessRequest) -> Stream:
        asked.set()
        await answered.wait()
        return await admit(request)

    studio.reel.hold_at = 3
    first = await studio.exports.ask(studio.wish())
    second = await studio.exports.ask(studio.wish(stream="second"))
    monkeypatch.setattr(studio.place.admission, "admit", slowly)
    studio.reel.held.set()
    await asked.wait()
    opened = studio.reel.opened
    await studio.exports.cancel(second, by=principal(Role.OPERATOR), source="198.51.100.7")
    answered.set()
    await studio.over(second)
    assert (first.state, second.state, studio.reel.opened) == (ExportState.DONE, ExportState.CANCELLED, opened)
    assert (await studio.place.slots.usage())[0] == 0
    assert await studio.place.kinds("second") == [
        Kind.EXPORT_REQUESTED,
        Kind.STREAM_REQUESTED,
        Kind.STREAM_STOPPED,
        Kind.EXPORT_CANCELLED,
    ]
    stopped = (await studio.told(second))[Kind.STREAM_STOPPED].detail
    assert (stopped["cause"], stopped["by"]) == (ClosedOnRequest.code, OPERATOR)
    assert (await studio.made(stream="third")).state is ExportState.DONE


async def test_one_whose_result_is_being_told_is_removed_once_it_is(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T02: that it was made is true; who asked for its end is answered when nothing is left
    telling, told, durable = asyncio.Event(), asyncio.Event(), studio.place.tracer.durable

    async def slowly(draft: Draft) -> Entry:
        if draft.kind is Kind.EXPORT_MADE:
            telling.set()
            await told.wait()
        return await durable(draft)

    monkeypatch.setattr(studio.place.tracer, "durable", slowly)
    export = await studio.exports.ask(studio.wish())
    await telling.wait()
    by = principal(Role.OPERATOR)
    cancelling = asyncio.create_task(studio.exports.cancel(export, by=by, source="198.51.100.7"))
    await asyncio.sleep(0)
    assert not cancelling.done()
    told.set()
    await cancelling
    assert (studio.exports.find(export.id), studio.files()) == (None, [])
    await studio.place.settle()
    results = [kind for kind in await studio.place.kinds(export.id) if kind is not Kind.STREAM_STOPPED]
    assert results[-2:] == [Kind.EXPORT_MADE, Kind.EXPORT_REMOVED]


async def test_one_that_waits_is_decided_of_again(studio: Studio) -> None:
    # C09: the right is gone when its turn comes
    studio.reel.hold_at = 3
    first = await studio.exports.ask(studio.wish())
    second = await studio.exports.ask(studio.wish(stream="second"))
    known = studio.place.who_may.rights
    assert known is not None
    studio.place.who_may.rights = replace(known, habilitations=())
    studio.reel.held.set()
    await studio.over(first)
    await studio.over(second)
    assert (second.state, second.cause) == (ExportState.FAILED, "not-habilitated")
    assert await studio.place.kinds("second") == [Kind.EXPORT_REQUESTED, Kind.EXPORT_REFUSED, Kind.EXPORT_FAILED]


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (RecorderUnreachable("L'enregistreur ne répond plus."), "recorder-unreachable"),
        (NoRecording("Aucun enregistrement."), "no-recording"),
    ],
)
async def test_a_recorder_that_fails_leaves_no_file(studio: Studio, failure: Refusal, cause: str) -> None:
    # C05
    studio.reel.fails = failure
    export = await studio.made()
    assert (export.state, export.cause) == (ExportState.FAILED, cause)
    assert (studio.files(), studio.reel.sessions) == ([], 0)


async def test_a_disk_that_is_nearly_full_leaves_no_file_and_says_so(
    tmp_path: Path, valkey: tuple[EmbeddedValkey, str], authority: tuple[Path, Path, Path]
) -> None:
    async with open_studio(tmp_path, valkey, authority) as studio:
        workshop = replace(studio.workshop, free_bytes=lambda _: MIN_FREE_BYTES - 1)
        studio.exports = studio.reopened(workshop)
        export = await studio.made()
        assert (export.state, export.cause) == (ExportState.FAILED, "export-failed")
        assert export.detail == "L'espace disque est insuffisant."
        assert (await studio.told(export))[Kind.EXPORT_FAILED].detail["reason"] == "no-space"
        assert studio.files() == []


async def test_a_folder_that_cannot_be_written_ends_it(studio: Studio) -> None:
    studio.folder.write_bytes(b"no folder")
    export = await studio.made()
    assert (export.state, (await studio.told(export))[Kind.EXPORT_FAILED].detail["reason"]) == ("failed", "not-written")


async def test_a_node_that_stops_ends_it(studio: Studio) -> None:
    studio.reel.hold_at = 12
    export = await studio.exports.ask(studio.wish())
    waiting = await studio.exports.ask(studio.wish(stream="waiting"))
    await studio.reel.reached.wait()
    await studio.exports.close()
    assert [(each.state, each.cause) for each in (export, waiting)] == [(ExportState.FAILED, "node-stopped")] * 2
    assert studio.files() == []
