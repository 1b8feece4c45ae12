"""A whole notice through a real Postfix: taken, delivered, relayed, refused later, deferred (N03, N05, N06, N07)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ops.incidents.duties import Duty
from ops.incidents.events import Level, NoticeAttempted
from ops.incidents.incident import Incident
from ops.notices.mailboxes import Maildir
from ops.notices.smtp import SmtpRoute
from tests.held_clock import HeldClock
from tests.sending.postfix import Postfix, installed, postfix
from tests.sending.stage import DOMAIN, SENDER, Stage, Written, compose, mail_server, opened, stage_of

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not installed(), reason="Postfix is not installed, or not root")]

HERE, RELAYED, REFUSED = "permanence@pp.example", "a@beyond.example", "b@beyond.example"
MAILBOXES = {HERE: "permanence", SENDER: "notices"}


def to(*recipients: str) -> Callable[[Incident, Duty, str, datetime], Written]:
    def write(incident: Incident, duty: Duty, notice: str, now: datetime) -> Written:
        return replace(compose(incident, duty, notice, now), recipients=recipients, in_copy=())

    return write


def route_to(server: Postfix) -> SmtpRoute:
    tls = ssl.create_default_context(cafile=str(server.ca))
    return SmtpRoute("primary", "127.0.0.1", server.port, DOMAIN, "starttls", tls)


async def until(what: Callable[[], bool], stage: Stage, limit_s: float = 20) -> None:
    """Go round until something holds, on the real clock of whoever delivers."""
    end = time.monotonic() + limit_s
    while not what() and time.monotonic() < end:
        await stage.round()
        await asyncio.sleep(0.05)


async def test_reports_say_how_far_a_notice_came(tmp_path: Path, clock: HeldClock) -> None:
    async with mail_server(refusals={REFUSED: "550 5.1.1 unknown there"}) as beyond:
        with postfix(MAILBOXES, beyond=beyond.port) as server:
            returns = Maildir(server.maildir("notices"))
            (returns.folder / "new").mkdir(parents=True)
            for folder in (returns.folder, returns.folder / "new"):
                folder.chmod(0o777)
            stage = stage_of(
                tmp_path, clock, route_to(server), writes=to(HERE, RELAYED, REFUSED), mailbox=returns, escalation=()
            )
            stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
            await stage.round()
            (attempt,) = stage.events(NoticeAttempted)
            assert attempt.outcome == "taken", attempt.dialogue
            assert attempt.server == "mx.test"
            assert attempt.tls.startswith("TLSv1.3")
            assert "NOTIFY=SUCCESS,FAILURE,DELAY" in attempt.dialogue
            assert all("queued as" in one.evidence for one in stage.incident().notices[0].recipients)

            def levels() -> dict[str, Level]:
                return {one.address: one.level for one in stage.incident().notices[0].recipients}

            expected = {HERE: Level.DELIVERED, RELAYED: Level.RELAYED, REFUSED: Level.FAILED}
            await until(lambda: levels() == expected, stage)
            assert levels() == expected, server.log()
            (mail,) = server.mails("permanence")
            kept = stage.books.message("i1", attempt.sha256)
            assert mail.replace(b"\n", b"\r\n").endswith(kept)  # the bytes of the book, behind Postfix's own headers
            assert stage.incident().acknowledged_at is None


async def test_a_server_that_defers_everybody_is_tried_again(tmp_path: Path, clock: HeldClock) -> None:
    with postfix(MAILBOXES, access="451 4.7.1 come back") as server:
        stage = stage_of(tmp_path, clock, route_to(server), writes=to(HERE))
        stage.books.update("i1", "ops", lambda _: [opened(clock.now())])
        await stage.pass_time(timedelta(minutes=3), step=timedelta(minutes=1))
        attempts = stage.events(NoticeAttempted)
        assert {attempt.outcome for attempt in attempts} == {"deferred"}
        assert len(attempts) > 1
        assert server.mails("permanence") == []
