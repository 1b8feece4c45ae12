"""The watchdog: it shouts by every way it has, and opens an incident where the gateway has fallen silent (N09, N02)."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiohttp import web

from ops.errors import NoContact
from ops.incidents.book import IncidentBooks
from ops.incidents.events import ClockStarted, ClockStopped, Escalated, NoticeSubmitted, Recovered, Relapsed
from ops.incidents.incident import State
from ops.interconnection import Author, Ground, cut, first_open
from ops.local_record import LocalRecord
from ops.notices.escalation import EscalationPlan, Step
from ops.notices.notifier import Neighbours, OnCall
from ops.notices.shouting import Alarms, MailVoice, MetricsFile, Pulse, StderrVoice, Voice, WebhookVoice
from ops.notices.watchdog import Gateway, Signs, Watchdog
from tests.held_clock import HeldClock
from tests.sending.stage import (
    DOMAIN,
    ESCALATION,
    PP,
    RULES,
    SENDER,
    Written,
    black_hole,
    mail_server,
    opened,
    stage_of,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Post:
    """A webhook that keeps what it is told, or answers as it is bidden."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.status = 204
        self.url = ""

    async def hear(self, request: web.Request) -> web.Response:
        if self.status < 300:
            self.heard.append(await request.json())
            self.tokens.append(request.headers.get("Authorization"))
        return web.Response(status=self.status)


@asynccontextmanager
async def webhook() -> AsyncIterator[Post]:
    post, app = Post(), web.Application()
    app.router.add_post("/alarm", post.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0]
        post.url = f"http://{host}:{port}/alarm"
        yield post
    finally:
        await runner.cleanup()


def watching(folder: Path, clock: HeldClock, *voices: Voice, gateway: Gateway | None = None, **more: Any) -> Watchdog:
    record = LocalRecord(folder / "record", clock=clock)
    record.initialise(first_open(clock.now()))
    books = IncidentBooks(folder / "incidents", clock=clock)
    return Watchdog(
        books,
        record,
        Alarms(lambda: voices, MetricsFile(folder / "halfgateway.prom")),
        rules=RULES,
        clock=clock,
        gateway=gateway,
        **more,
    )


async def test_without_a_notifier_it_shouts_before_two_hours_by_every_way(tmp_path: Path, clock: HeldClock) -> None:
    # N09: stderr, webhook, metrics, and a mail by the second way while the first swallows it
    said = io.StringIO()
    async with webhook() as post, black_hole() as nowhere, mail_server() as second:
        books = IncidentBooks(tmp_path / "incidents", clock=clock)
        t0 = clock.now()
        books.update("i1", "ops", lambda _: [opened(t0)])
        voices = [
            StderrVoice(said),
            WebhookVoice(post.url, "jeton"),
            MailVoice((second.route("second"), nowhere), SENDER, ("astreinte@syn.example",), DOMAIN),
        ]
        watchdog = watching(tmp_path, clock, *voices, notifier=Pulse(tmp_path / "notifier.alive"))
        await watchdog.once()
        assert post.heard == []
        clock.advance(3 * MINUTE)
        await watchdog.once()
        assert [one["alarm"] for one in post.heard] == ["notifier-silent"]
        clock.advance(2 * HOUR - 3 * MINUTE)
        await watchdog.once()
        assert clock.now() <= t0 + 2 * HOUR
        assert [one["alarm"] for one in post.heard if one["about"] == "i1"] == ["notice-late"]
        assert post.tokens[-1] == "Bearer jeton"
        assert "ALARM notice-late i1" in said.getvalue()
        mails = [message_from_bytes(content, policy=policy.default) for _, content in second.taken]
        assert any("6:00:00" in mail.get_content() for mail in mails if "notice-late" in mail["Subject"])
        assert 'halfgateway_alarm{kind="notice-late",about="i1"} 1' in (tmp_path / "halfgateway.prom").read_text()

        before = len(post.heard)
        clock.advance(MINUTE)
        await watchdog.once()
        assert len(post.heard) == before  # not each round
        clock.advance(15 * MINUTE)
        await watchdog.once()
        assert len(post.heard) > before  # but again while it stands
        clock.advance(6 * HOUR)
        await watchdog.once()
        assert "deadline-missed" in {one["alarm"] for one in post.heard}


async def test_it_is_quiet_once_a_server_took_the_notice(tmp_path: Path, clock: HeldClock) -> None:
    said, alive = io.StringIO(), Pulse(tmp_path / "notifier.alive")
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route())
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.round()
    watchdog = watching(tmp_path, clock, StderrVoice(said), notifier=alive)
    clock.advance(3 * HOUR)
    alive.beat(clock.now())
    await watchdog.once()
    assert said.getvalue() == ""


async def test_a_voice_that_fails_is_tried_again_and_the_others_are_not(tmp_path: Path, clock: HeldClock) -> None:
    said = io.StringIO()
    async with webhook() as post:
        post.status = 503
        watchdog = watching(tmp_path, clock, StderrVoice(said), WebhookVoice(post.url), notifier=Pulse(tmp_path / "x"))
        clock.advance(3 * MINUTE)
        await watchdog.once()
        post.status = 204
        await watchdog.once()
        assert len(post.heard) == 1
        assert said.getvalue().count("notifier-silent") == 1


async def test_a_legal_clock_is_shouted_when_a_quarter_of_it_is_left_until_it_is_stopped(
    tmp_path: Path, clock: HeldClock
) -> None:
    # L22, L23
    said = io.StringIO()
    books = IncidentBooks(tmp_path / "incidents", clock=clock)
    start = clock.now()
    clocks = (
        ClockStarted(clock="nis2-24h", start=start, deadline=start + 24 * HOUR),
        ClockStarted(clock="cnil-72h", start=start, deadline=start + 72 * HOUR),
    )
    books.update(
        "i1", "officer", lambda _: (opened(start).model_copy(update={"critical": False, "ground": None}), *clocks)
    )
    watchdog = watching(tmp_path, clock, StderrVoice(said))
    clock.advance(18 * HOUR - MINUTE)
    await watchdog.once()
    assert said.getvalue() == ""
    clock.advance(MINUTE)
    await watchdog.once()
    assert "clock-runs-out i1/nis2-24h: Délai nis2-24h : il reste 6 h 00 min pour déclarer." in said.getvalue()
    clock.advance(6 * HOUR + MINUTE)
    await watchdog.once()
    assert "Le délai nis2-24h est dépassé" in said.getvalue()
    assert "cnil" not in said.getvalue()
    books.update("i1", "officer", lambda _: (ClockStopped(clock="nis2-24h", done="déclaré"),))
    said.truncate(0)
    clock.advance(HOUR)
    await watchdog.once()
    assert said.getvalue() == ""


async def test_a_damaged_book_is_shouted(tmp_path: Path, clock: HeldClock) -> None:
    said = io.StringIO()
    books = IncidentBooks(tmp_path / "incidents", clock=clock)
    for name in ("i1", "i2"):
        books.update(name, "ops", lambda _: [opened(clock.now())])
    books.say("i1", "notifier", NoticeSubmitted(notice="cut-1", recipient=PP[0], evidence="250"))
    for name, at in (("i1", -20), ("i2", 80)):
        path = tmp_path / "incidents" / name / "events"
        damaged = bytearray(path.read_bytes())
        damaged[at] ^= 1
        path.write_bytes(damaged)
    await watching(tmp_path, clock, StderrVoice(said)).once()
    assert [line.split()[1:4] for line in said.getvalue().splitlines()] == [
        ["ALARM", "book-damaged", "i1:"],
        ["ALARM", "book-damaged", "i2:"],
    ]


async def test_a_cut_that_nobody_followed_has_its_incident(tmp_path: Path, clock: HeldClock) -> None:
    # N01: the record alone is enough, with the node and the notifier dead
    watchdog = watching(tmp_path, clock)
    LocalRecord(tmp_path / "record", clock=clock).update(
        lambda state: cut(
            state,
            ground=Ground.CRITICAL_INCIDENT,
            reason="panne",
            by=Author.OPS,
            since=clock.now(),
            incident="i7",
        )
    )
    await watchdog.once()
    assert IncidentBooks(tmp_path / "incidents", clock=clock).read("i7").critical


async def test_a_gateway_that_falls_silent_is_an_incident_from_its_last_good_instant(
    tmp_path: Path, clock: HeldClock
) -> None:
    # N02, C12: found three hours late, it is from three hours ago; back, silent again within the hold-down, back
    books = IncidentBooks(tmp_path / "incidents", clock=clock)
    good: list[Signs | None] = [None]
    watchdog = watching(tmp_path, clock, gateway=Gateway("node-1", lambda: good[-1]))
    await watchdog.once()
    assert books.ids() == ()
    good.append(Signs(clock.now(), clock.now()))
    await watchdog.once()
    assert books.ids() == ()
    t0 = clock.now()
    clock.advance(3 * HOUR)
    await watchdog.once()
    await watchdog.once()
    (name,) = books.ids()
    assert books.read(name).deadline == t0 + 8 * HOUR
    good.append(Signs(clock.now(), clock.now()))
    await watchdog.once()
    assert books.read(name).recovered_at == clock.now()
    clock.advance(3 * MINUTE)
    await watchdog.once()
    incident = books.read(name)
    assert books.ids() == (name,)
    assert incident.recovered_at is None
    good.append(Signs(clock.now(), clock.now()))
    await watchdog.once()
    kinds = [type(event.said) for event in books.read(name).timeline[1:]]
    assert kinds == [Recovered, Relapsed, Recovered]


async def test_silence_while_cut_is_no_second_incident(tmp_path: Path, clock: HeldClock) -> None:
    good = Signs(clock.now(), clock.now())
    watchdog = watching(tmp_path, clock, gateway=Gateway("node-1", lambda: good))
    LocalRecord(tmp_path / "record", clock=clock).update(
        lambda state: cut(
            state, ground=Ground.MAINTENANCE, reason="essai", by=Author.OPS, since=clock.now(), incident="i7"
        )
    )
    clock.advance(HOUR)
    await watchdog.once()
    assert IncidentBooks(tmp_path / "incidents", clock=clock).ids() == ("i7",)


PLAN = EscalationPlan(
    (
        Step("mail", "Responsable PVPP", 30 * MINUTE),
        Step("phone", "Point de contact PVPP (01 00 00 00 01)", 30 * MINUTE),
        Step("on-call", "Responsable d'exploitation (01 00 00 00 04)", 30 * MINUTE),
    )
)


async def test_nobody_answers_mail_then_telephone_then_on_call_and_round_again(
    tmp_path: Path, clock: HeldClock
) -> None:
    # P01, N08, C13
    async with webhook() as post, mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route(), on_call=lambda: OnCall(PLAN, (WebhookVoice(post.url),)))
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(2 * HOUR + 2 * MINUTE)
        taken = [(step.level, step.means) for step in stage.events(Escalated)]
        assert taken == [(1, "mail"), (2, "phone"), (3, "on-call"), (2, "phone")]
        assert len(server.mails_of(ESCALATION[0])) == 1
        assert [one["alarm"] for one in post.heard] == ["telephone"] * 3
        assert "01 00 00 00 01" in post.heard[0]["text"]
        assert "http" not in json.dumps([one["text"] for one in post.heard])  # no link into the enclave
        stage.books.say("i1", "ops", Escalated(level=3, contact="cabinet", means="phone", by_party="PP"))
        await stage.pass_time(30 * MINUTE)
        assert [step.level for step in stage.events(Escalated)][-2:] == [3, 2]
        assert stage.incident().state is State.OPEN


async def test_close_to_the_deadline_the_calls_turn_red_and_come_faster(tmp_path: Path, clock: HeldClock) -> None:
    # N08
    async with webhook() as post, mail_server(all_refused="451 no") as server:
        stage = stage_of(tmp_path, clock, server.route(), on_call=lambda: OnCall(PLAN, (WebhookVoice(post.url),)))
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(7 * HOUR - MINUTE)
        before = len(post.heard)
        assert not any("ROUGE" in one["text"] for one in post.heard)
        await stage.pass_time(30 * MINUTE)
        red = post.heard[before:]
        assert len(red) >= 4
        assert all("ROUGE" in one["text"] and "NON REMIS" in one["text"] for one in red)


async def test_a_call_that_nobody_hears_is_made_again_and_not_written(tmp_path: Path, clock: HeldClock) -> None:
    async with webhook() as post, mail_server() as server:
        post.status = 500
        plan = EscalationPlan(PLAN.steps[1:])
        stage = stage_of(tmp_path, clock, server.route(), on_call=lambda: OnCall(plan, (WebhookVoice(post.url),)))
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(35 * MINUTE)
        assert stage.events(Escalated) == []
        post.status = 204
        await stage.pass_time(2 * MINUTE, step=MINUTE)
        assert len(post.heard) == len(stage.events(Escalated)) == 1


async def test_what_the_node_found_is_the_nodes_to_end_and_its_death_is_no_second_incident(
    tmp_path: Path, clock: HeldClock
) -> None:
    books = IncidentBooks(tmp_path / "incidents", clock=clock)
    signs = [Signs(clock.now(), clock.now())]
    watchdog = watching(tmp_path, clock, gateway=Gateway("node-1", lambda: signs[-1]))
    books.update("i1", "detection", lambda _: [opened(clock.now(), by=Author.DETECTION)])
    clock.advance(MINUTE)
    signs.append(Signs(clock.now(), clock.now() - MINUTE))  # it lives, and cannot serve
    await watchdog.once()
    assert books.read("i1").recovered_at is None
    clock.advance(HOUR)  # and dies
    await watchdog.once()
    assert books.ids() == ("i1",)
    assert len(books.read("i1").timeline) == 1


async def test_the_notifier_shouts_what_it_cannot_write_and_that_the_watchdog_is_silent(
    tmp_path: Path, clock: HeldClock
) -> None:
    def refused(*_: object) -> Written:
        raise NoContact("annexe 2 : aucun contact")

    said = io.StringIO()
    neighbours = Neighbours(Pulse(tmp_path / "own"), Pulse(tmp_path / "watchdog"), Alarms(lambda: [StderrVoice(said)]))
    async with mail_server() as server:
        stage = stage_of(tmp_path, clock, server.route(), writes=refused, neighbours=neighbours)
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(4 * MINUTE, step=MINUTE)
    alarms = [line.split()[2] for line in said.getvalue().splitlines()]
    assert alarms == ["notice-not-written", "watchdog-silent"]
    assert Pulse(tmp_path / "own").last() == clock.now()
