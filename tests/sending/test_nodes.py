"""Several notifiers, a full disk, a slow neighbour: what does not send twice, and what still sends (N01)."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path

import pytest

from ops.errors import BookError
from ops.incidents.book import IncidentBooks
from ops.incidents.continuing import carry_on
from ops.incidents.events import Level, NoticeQueued, NoticeSubmitted, Recovered, Said
from ops.incidents.following import follow_record
from ops.interconnection import Author, Ground, cut, first_open, restore
from ops.notices.conversation import Conversation, Letter, Route
from ops.notices.folder_route import FolderRoute
from ops.notices.queueing import StandIn
from ops.notices.sending import Pace
from tests.held_clock import HeldClock
from tests.sending.stage import PP, black_hole, mail_server, opened, stage_of

MINUTE = timedelta(minutes=1)


async def test_the_second_node_is_silent_where_the_first_was_heard(tmp_path: Path, clock: HeldClock) -> None:
    async with mail_server() as server:
        first = stage_of(tmp_path / "a", clock, server.route())

        def heard(name: str) -> list[Said]:
            told = [event.said for event in first.incident(name).timeline]
            return [one for one in told if isinstance(one, NoticeQueued | NoticeSubmitted)]

        second = stage_of(tmp_path / "b", clock, server.route(), stand_in=StandIn(10 * MINUTE, heard))
        for stage in (first, second):
            stage.books.update("i1", "record", lambda _: [opened(clock.now())])
        await first.round()
        await second.pass_time(30 * MINUTE)
        assert len(server.taken) == 1
        assert second.incident().informed_at is not None

        # the first dies before it has told of the restoration
        for stage in (first, second):
            stage.books.say("i1", "record", Recovered(at=clock.now(), reason="rétabli"))
        await second.pass_time(10 * MINUTE)
        assert len(server.taken) == 1
        await second.pass_time(10 * MINUTE)
        assert server.subjects() == ["cut cut-1", "restored restored-1"]


async def test_the_second_node_sends_the_same_notice_where_nothing_was_heard(tmp_path: Path, clock: HeldClock) -> None:
    async with mail_server() as server:
        second = stage_of(tmp_path, clock, server.route(), stand_in=StandIn(10 * MINUTE))
        second.books.update("i1", "record", lambda _: [opened(clock.now())])
        await second.pass_time(9 * MINUTE, step=MINUTE)
        assert server.taken == []
        await second.pass_time(2 * MINUTE, step=MINUTE)
        assert b"Message-ID: <i1.cut-1@syn.example>" in server.mails_of(PP[0])[0]


async def test_a_disk_that_is_full_does_not_send_a_mail_again_and_again(
    tmp_path: Path, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])

        def full(*_: object) -> None:
            raise BookError(f"i1: {errno.ENOSPC}")

        with monkeypatch.context() as disk:
            disk.setattr(stage.books, "say", full)
            await stage.pass_time(30 * MINUTE, step=MINUTE)
            assert len(server.taken) == 1
            assert stage.incident().informed_at is None
        await stage.round()
        assert stage.incident().informed_at is not None
        await stage.pass_time(30 * MINUTE)
        assert len(server.taken) == 1


@dataclass(frozen=True)
class Forked:
    """A way on which the first incident's mails are swallowed, and no other's."""

    swallowing: Route
    taking: Route
    name: str = "forked"

    async def converse(self, letter: Letter, *, limit_s: float) -> Conversation:
        way = self.swallowing if b"<i1." in letter.content else self.taking
        return await way.converse(letter, limit_s=limit_s)


async def test_a_server_that_swallows_one_notice_holds_up_no_other(tmp_path: Path, clock: HeldClock) -> None:
    async with black_hole() as nowhere, mail_server() as server:
        stage = stage_of(tmp_path, clock, Forked(nowhere, server.route()), pace=Pace(limit_s=2.0))
        for name in ("i1", "i2"):
            stage.books.update(name, "ops", lambda _: [opened(clock.now())])
        await stage.notifier.once()
        async with asyncio.timeout(60):
            while stage.incident("i2").informed_at is None:
                await asyncio.sleep(0.01)
        assert stage.incident("i1").notices[0].attempts == ()
        await stage.notifier.close()


async def test_the_demos_folder_keeps_each_mail_once(tmp_path: Path, clock: HeldClock) -> None:
    stage = stage_of(tmp_path, clock, FolderRoute("mailbox", tmp_path / "mail"))
    stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
    await stage.round()
    (path,) = (tmp_path / "mail").iterdir()
    assert path.name.startswith("i1.cut-1.")
    (queued,) = stage.queued()
    assert path.read_bytes() == stage.books.message("i1", queued.sha256)
    assert {one.level for one in stage.incident().notices[0].recipients} == {Level.SUBMITTED}


async def test_what_a_damaged_book_still_owes_leaves_from_one_beside_it(tmp_path: Path, clock: HeldClock) -> None:
    # N01: nobody is told less because a disk failed
    async with mail_server() as server:
        await server.down()
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(MINUTE, step=MINUTE)
        path = tmp_path / "incidents" / "i1" / "events"
        lines = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([*lines[:2], lines[2].replace(b"unreachable", b"taken______"), *lines[3:]]))
        assert stage.incident().damaged
        await server.up()
        await stage.pass_time(2 * MINUTE, step=MINUTE)
        assert stage.incident("i1.2").informed_at is not None
        assert stage.incident("i1.2").deadline == stage.incident("i1").deadline
        assert [message_from_bytes(mail)["Message-ID"] for _, mail in server.taken] == ["<i1.cut-1@syn.example>"]


def test_a_restoration_is_followed_past_a_damaged_book(tmp_path: Path, clock: HeldClock) -> None:
    books = IncidentBooks(tmp_path / "incidents", clock=clock)
    current = first_open(clock.now())
    history = [current]
    for name in ("i1", "i2"):
        current = cut(
            current, ground=Ground.CRITICAL_INCIDENT, reason="essai", by=Author.OPS, since=clock.now(), incident=name
        )
        history.append(current)
        current = restore(current, incident=name, reason="fini", by=Author.OPS, since=clock.now())
        history.append(current)
        follow_record(books, history[:2])
        path = tmp_path / "incidents" / "i1" / "events"
        path.write_bytes(path.read_bytes() + b"no line of ours\n")
        carry_on(books, books.read("i1"), "notifier")
    follow_record(books, history)
    assert books.read("i1").recovered_at is None
    assert books.read("i1.2").recovered_at is not None
    assert books.read("i2").recovered_at is not None
