"""What a running node does by signal: follow its record, or cut at once (C10).

Whoever may signal the node may write its record too: a signal gives no right that the account had not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from halfgateway.control.beacon import CUT_SIGNAL, FOLLOW_SIGNAL, Beacon
from halfgateway.control.interconnection import AuthorOf, Interconnection
from ops.errors import LocalRecordError
from ops.interconnection import Author, Ground

log = logging.getLogger(__name__)

BY_SIGNAL: Final = "local:signal"
"""Who cut, as the trace has it: the kernel does not tell an event loop which account has sent a signal."""

REASON: Final = "Interruption par signal sur le serveur."


def obey_signals(beacon: Beacon, interconnection: Interconnection, author_of: AuthorOf, life: AsyncExitStack) -> None:
    """Follow the record whenever the command line has changed it, and cut what is open, until ``life`` ends."""
    loop = asyncio.get_running_loop()
    doing: set[asyncio.Task[None]] = set()

    async def follow() -> None:
        closed = await interconnection.follow_record(author_of)
        await asyncio.to_thread(beacon.followed, interconnection.state.serial, closed)

    async def cut() -> None:
        if interconnection.state.closed:
            log.info("signal.cut_already incident=%s", interconnection.state.incident)
            return
        try:
            cutting = await interconnection.cut(
                ground=Ground.CRITICAL_INCIDENT, reason=REASON, by=Author.OPS, actor=BY_SIGNAL, source="local"
            )
        except LocalRecordError as error:
            log.critical("signal.cut_not_durable error=%s: tried again", error)
        else:
            await asyncio.to_thread(beacon.followed, interconnection.state.serial, cutting.streams_closed)

    def begin(act: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(act())
        doing.add(task)
        task.add_done_callback(doing.discard)

    for number, act in ((FOLLOW_SIGNAL, follow), (CUT_SIGNAL, cut)):
        loop.add_signal_handler(number, begin, act)
        life.callback(loop.remove_signal_handler, number)
