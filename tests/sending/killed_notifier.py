"""A notifier that is killed at each of its steps in turn, and started again after it: ``PORT FOLDER``.

Forks, so that nothing has to be loaded again. Says, as JSON, for each step at which it died what the books hold then
and after the next start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from ops.incidents.book import IncidentBooks
from ops.incidents.events import Opened
from ops.incidents.incident import Incident
from ops.notices.conversation import Conversation, Letter
from ops.notices.sending import Pace
from ops.notices.smtp import SmtpRoute
from tests.held_clock import HeldClock
from tests.sending.stage import DOMAIN, Stage, opened, stage_of

Step = Callable[[], None]


class Counted:
    """Dies at its n-th step."""

    def __init__(self, fatal: int) -> None:
        self._left = fatal

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class SteppedRoute(SmtpRoute):
    step: Step

    async def converse(self, letter: Letter, *, limit_s: float) -> Conversation:
        self.step()
        spoken = await super().converse(letter, limit_s=limit_s)
        self.step()
        return spoken


def stepped(method: Any, step: Step) -> Any:
    def run(*args: Any) -> Any:
        step()
        done = method(*args)
        step()
        return done

    return run


def staged(folder: Path, port: int, step: Step) -> Stage:
    SteppedRoute.step = staticmethod(step)  # type: ignore[assignment]
    clock = HeldClock()
    route = SteppedRoute("first", "127.0.0.1", port, DOMAIN, security="none")
    stage = stage_of(folder, clock, route, pace=Pace(limit_s=5.0))
    books: Any = stage.books
    for name in ("keep_message", "update", "message"):
        setattr(books, name, stepped(getattr(books, name), step))
    return stage


async def rounds(stage: Stage) -> None:
    await stage.pass_time(timedelta(seconds=80), step=timedelta(seconds=40))


def killed_at(fatal: int, folder: Path, port: int) -> bool:
    """Run in a child of ours that dies at this step; return whether it did."""
    child = os.fork()
    if child == 0:
        asyncio.run(rounds(staged(folder, port, Counted(fatal))))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _begun(beginning: Opened, _: Incident | None) -> list[Opened]:
    return [beginning]


def main(port: int, folder: Path) -> None:
    told = []
    for fatal in range(1, 100):
        name, own = f"i{fatal}", folder / str(fatal)
        clock = HeldClock()
        beginning = opened(clock.now())
        IncidentBooks(own / "incidents", clock=clock).update(name, "ops", partial(_begun, beginning))
        if not killed_at(fatal, own, port):
            break
        stage = staged(own, port, lambda: None)
        before = len(stage.incident(name).timeline)
        asyncio.run(rounds(stage))
        after = stage.incident(name)
        told.append(
            {
                "incident": name,
                "events_at_death": before,
                "notices": [notice.id for notice in after.notices],
                "message_ids": [notice.message_id for notice in after.notices],
                "informed": after.informed_at is not None,
                "damaged": after.damaged,
                "queued": len(stage.queued(name)),
            }
        )
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
