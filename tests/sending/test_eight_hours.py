"""The eight hours, on a clock that a test moves, with real SMTP over loopback (C11, C12, N01 to N04, N10)."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes
from itertools import pairwise
from pathlib import Path

from ops.incidents.events import (
    DeadlineMissed,
    Level,
    NoticeAttempted,
    NoticeFailed,
    Recovered,
    Relapsed,
    StepTold,
)
from ops.incidents.incident import State
from ops.interconnection import Author
from ops.notices.sending import Pace
from tests.held_clock import HeldClock
from tests.sending.stage import ESCALATION, OURS, PP, RULES, black_hole, mail_server, opened, stage_of

HOUR = timedelta(hours=1)


async def test_a_server_that_is_down_for_seven_hours_gets_it_in_time(tmp_path: Path, clock: HeldClock) -> None:
    # C11
    async with mail_server() as server:
        await server.down()
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(7 * HOUR)
        assert stage.incident().informed_at is None
        await server.up()
        await stage.pass_time(timedelta(minutes=20))
        incident = stage.incident()
        assert incident.informed_at is not None
        assert incident.informed_at < incident.deadline
        assert not stage.events(DeadlineMissed)
        assert [len(server.mails_of(one)) for one in (*PP, OURS)] == [1, 1, 1, 1]
        outcomes = [attempt.outcome for attempt in stage.events(NoticeAttempted)]
        assert outcomes[-1] == "taken"
        assert set(outcomes[:-1]) == {"unreachable"}
        assert len(outcomes) > 7 * 4  # never longer than a quarter of an hour between two


async def test_one_that_is_down_for_nine_hours_gets_what_says_that_it_is_late(tmp_path: Path, clock: HeldClock) -> None:
    # C11, N10: the breach is recorded when it happens, the text is written anew, the Message-ID stays
    async with mail_server() as server:
        await server.down()
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        deadline = stage.incident().deadline
        await stage.pass_time(8 * HOUR)
        assert not stage.events(DeadlineMissed)
        last_hour = [attempt.at for attempt in stage.incident().notices[0].attempts if attempt.at > deadline - HOUR]
        quarter = [at for at in last_hour if at >= deadline - timedelta(minutes=15)]
        gaps = [later - earlier for earlier, later in pairwise(quarter)]
        assert max(gaps) <= timedelta(minutes=1)
        assert quarter[-1] <= deadline
        await stage.pass_time(HOUR)
        missed = stage.events(DeadlineMissed)
        assert [one.deadline for one in missed] == [deadline]
        await server.up()
        await stage.pass_time(timedelta(minutes=6), step=timedelta(minutes=1))
        first, again = stage.queued()
        assert (first.late, again.late) == (False, True)
        assert first.message_id == again.message_id
        assert first.sha256 != again.sha256
        (mail,) = server.mails_of(PP[0])
        assert b"HORS DELAI" in mail
        assert stage.incident().informed_at == clock.now() or stage.incident().informed_at > deadline + HOUR
        assert len(stage.incident().notices) == 1


async def test_a_grey_list_is_waited_out(tmp_path: Path, clock: HeldClock) -> None:
    # N03: 451 is no refusal
    async with mail_server(all_refused="451 4.7.1 greylisted, come back") as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.round()
        assert [attempt.outcome for attempt in stage.events(NoticeAttempted)] == ["deferred"]
        assert not stage.events(NoticeFailed)
        await stage.round()
        assert server.connections == 1  # not before its time
        server.all_refused = None
        await stage.pass_time(timedelta(minutes=1), step=timedelta(seconds=30))
        assert {recipient.level for recipient in stage.incident().notices[0].recipients} == {Level.SUBMITTED}
        assert len(server.taken) == 1


async def test_a_recipient_refused_for_good_gives_its_place_to_the_next_contact(
    tmp_path: Path, clock: HeldClock
) -> None:
    # N04: one 550 among three is not success; that we have our own copy tells PP nothing
    refusals = {PP[1]: "550 5.1.1 no such mailbox", ESCALATION[0]: "550 unknown"}
    async with mail_server(refusals=refusals) as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(timedelta(seconds=4), step=timedelta(seconds=1))
        levels = {one.address: one.level for one in stage.incident().notices[0].recipients}
        assert levels == {
            PP[0]: Level.SUBMITTED,
            PP[1]: Level.FAILED,
            PP[2]: Level.SUBMITTED,
            OURS: Level.SUBMITTED,
            ESCALATION[0]: Level.FAILED,
            ESCALATION[1]: Level.SUBMITTED,
        }
        assert len({content for _, content in server.taken}) == 1
        assert len(server.mails_of(PP[0])) == 1


async def test_our_own_copy_does_not_inform_the_prefecture(tmp_path: Path, clock: HeldClock) -> None:
    # C11, N04
    async with mail_server(refusals=dict.fromkeys(PP, "451 4.3.0 later")) as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.round()
        assert len(server.mails_of(OURS)) == 1
        assert stage.incident().informed_at is None
        await stage.pass_time(8 * HOUR + timedelta(minutes=1))
        assert stage.events(DeadlineMissed)
        assert len(server.mails_of(OURS)) == 1


async def test_a_black_hole_is_left_for_the_second_way(tmp_path: Path, clock: HeldClock) -> None:
    # N03: after three failures, and each conversation is bounded
    async with black_hole() as nowhere, mail_server() as server:
        stage = stage_of(tmp_path, clock, nowhere, server.route("second"), pace=Pace(limit_s=0.2))
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(timedelta(minutes=5), step=timedelta(seconds=15))
        attempts = [(attempt.route, attempt.outcome) for attempt in stage.events(NoticeAttempted)]
        assert attempts == [("black hole", "unreachable")] * 3 + [("second", "taken")]


async def test_a_gateway_that_was_down_does_not_move_the_deadline(tmp_path: Path, clock: HeldClock) -> None:
    # N02: found three hours late by whoever looked first
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route())
        t0 = clock.now()
        clock.advance(3 * HOUR)
        stage.books.update("i1", "watchdog", lambda _: [opened(t0, by=Author.DETECTION)])
        await stage.round()
        assert stage.incident().deadline == t0 + 8 * HOUR
        assert len(server.mails_of(PP[0])) == 1


async def test_a_stop_of_forty_seconds_mails_nobody(tmp_path: Path, clock: HeldClock) -> None:
    # N03
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "detection", lambda _: [opened(clock.now(), by=Author.DETECTION)])
        await stage.pass_time(timedelta(seconds=40), step=timedelta(seconds=10))
        stage.books.say("i1", "detection", Recovered(at=clock.now(), reason="rétabli"))
        await stage.pass_time(timedelta(minutes=20))
        assert server.taken == []
        assert stage.incident().state is State.RESOLVED


async def test_a_stop_of_six_minutes_is_told_and_so_is_its_end(tmp_path: Path, clock: HeldClock) -> None:
    # N03, C12
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route())
        t0 = clock.now()
        stage.books.update("i1", "detection", lambda _: [opened(t0, by=Author.DETECTION)])
        await stage.pass_time(timedelta(minutes=6), step=timedelta(seconds=30))
        assert stage.incident().informed_at == t0 + RULES.critical_after
        stage.books.say("i1", "detection", Recovered(at=clock.now(), reason="rétabli"))
        await stage.pass_time(timedelta(minutes=4), step=timedelta(minutes=1))
        assert len(server.taken) == 1  # the recovery has to hold first
        await stage.pass_time(timedelta(minutes=3), step=timedelta(minutes=1))
        first, second = (message_from_bytes(content) for _, content in server.taken)
        assert second["In-Reply-To"] == first["Message-ID"]
        assert stage.incident().state is State.RESOLVED


async def test_a_link_that_flaps_is_one_incident_one_notice_one_restoration(tmp_path: Path, clock: HeldClock) -> None:
    # C12: 20 times in 10 minutes
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "detection", lambda _: [opened(clock.now(), by=Author.DETECTION)])
        for _ in range(20):
            stage.books.say("i1", "detection", Recovered(at=clock.now(), reason="revenu"))
            await stage.pass_time(timedelta(seconds=15), step=timedelta(seconds=15))
            stage.books.say("i1", "detection", Relapsed(at=clock.now(), reason="reparti"))
            await stage.pass_time(timedelta(seconds=15), step=timedelta(seconds=15))
        stage.books.say("i1", "detection", Recovered(at=clock.now(), reason="revenu"))
        await stage.pass_time(timedelta(minutes=15), step=timedelta(minutes=1))
        assert server.subjects() == ["cut cut-1", "restored restored-1"]
        assert stage.books.ids() == ("i1",)


async def test_what_is_restored_before_the_first_left_is_told_in_one_mail(tmp_path: Path, clock: HeldClock) -> None:
    # C12
    async with mail_server() as server:
        await server.down()
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(HOUR)
        stage.books.say("i1", "ops", Recovered(at=clock.now(), reason="rétabli"))
        await stage.pass_time(HOUR)
        await server.up()
        await stage.pass_time(HOUR)
        assert server.subjects() == ["cut-and-restored both-1"]
        assert [notice.withdrawn for notice in stage.incident().notices] == [True, False]


async def test_each_step_that_a_person_tells_leaves_once(tmp_path: Path, clock: HeldClock) -> None:
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.round()
        for text in ("diagnostic en cours", "pièce commandée"):
            stage.books.say("i1", "ops", StepTold(text=text, next_by=clock.now() + HOUR))
            await stage.pass_time(HOUR)
        assert server.subjects() == ["cut cut-1", "update update-1", "update update-2"]


async def test_a_mail_that_nobody_takes_is_given_up_after_five_days(tmp_path: Path, clock: HeldClock) -> None:
    refusals = {PP[2]: "451 4.2.2 full"}
    async with mail_server(refusals=refusals) as server:
        stage = stage_of(tmp_path, clock, server.route(), escalation=())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.round()
        clock.advance(timedelta(days=5))
        await stage.round()
        await stage.round()
        assert [one.recipient for one in stage.events(NoticeFailed)] == [PP[2]]
