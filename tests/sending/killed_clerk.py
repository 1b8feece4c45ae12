"""A clerk that is killed at each of its steps in turn, and started again after it: ``PORT FOLDER``.

As :mod:`tests.sending.killed_notifier` does for an incident's notice. Says, as JSON, what the books hold at each death
and after the next start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from auth.trace import Draft, Kind
from ops.incidents.events import NoticeQueued
from tests.held_clock import HeldClock
from tests.sending.killed_notifier import Counted, Step, SteppedRoute, stepped
from tests.sending.office import Office, office_of, traced
from tests.sending.stage import DOMAIN


def staged(folder: Path, port: int, step: Step) -> Office:
    SteppedRoute.step = staticmethod(step)  # type: ignore[assignment]
    office = office_of(folder, HeldClock(), SteppedRoute("first", "127.0.0.1", port, DOMAIN, security="none"))
    books: Any = office.books
    for name in ("keep_message", "update", "message"):
        setattr(books, name, stepped(getattr(books, name), step))
    clerk: Any = office.clerk
    for source in clerk._sources:
        source.taken = stepped(source.taken, step)
    return office


async def rounds(office: Office) -> None:
    for _ in range(3):
        await office.round(timedelta(seconds=40))


def killed_at(fatal: int, folder: Path, port: int) -> bool:
    """Run in a child of ours that dies at this step; return whether it did."""
    child = os.fork()
    if child == 0:
        asyncio.run(rounds(staged(folder, port, Counted(fatal))))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def main(port: int, folder: Path) -> None:
    told = []
    for fatal in range(1, 100):
        own, block = folder / str(fatal), f"b-{fatal}"
        detail = {"block": block, "of": "camera", "subject": "mairie", "ground": "securite", "reason": "essai"}
        asyncio.run(traced(own, HeldClock(), Draft(kind=Kind.BLOCK_SET, account="rssi", detail=detail)))
        if not killed_at(fatal, own, port):
            break
        office, name = staged(own, port, lambda: None), f"mesure-{block}-blocked"
        at_death = len(office.books.read(name).timeline) if name in office.books.ids() else 0
        asyncio.run(rounds(office))
        after = office.only(name)
        queued = sum(isinstance(event.said, NoticeQueued) for event in after.timeline)
        told.append({"block": block, "events_at_death": at_death, "queued": queued, "owed": after.owed})
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
