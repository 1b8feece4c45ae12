"""What a node keeps doing while it runs: its loops, of which the death of one is the node's own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, NoReturn

from auth.errors import RecordsUnavailableError
from auth.register import Register
from auth.sessions import Sessions
from camera_registry.clock import Clock
from halfgateway.app.door import Control
from halfgateway.app.tls import CertificateWatch
from halfgateway.control.anchoring import Anchoring
from halfgateway.control.custody import Custody
from halfgateway.control.heartbeat import Heartbeat
from halfgateway.control.logins import LoginWatch
from halfgateway.control.rights_view import BlockCalendar, ReservationCalendar
from halfgateway.errors import TraceUnavailable
from halfgateway.siem.forwarder import Forwarder

log = logging.getLogger(__name__)

CANCEL_AGAIN_S = 1.0
"""How long a loop may take to stop before it is told again."""

CHECK_BREAK_GLASS_S = 30.0
"""How often it is looked whether a sealed credential's hour has passed; nothing works past it anyhow."""


class Loops:
    """The node's loops, until the end of its life. ``failed`` is set when one of them has died."""

    def __init__(self, life: AsyncExitStack) -> None:
        self.failed = asyncio.Event()
        self._life = life

    async def keep(self, name: str, loop: Coroutine[Any, Any, object]) -> None:
        """Run one more."""
        task = asyncio.create_task(loop, name=name)

        def notice(task: asyncio.Task[object]) -> None:
            if not task.cancelled():
                log.critical("node.loop_died loop=%s", name, exc_info=task.exception())
                self.failed.set()

        async def end() -> None:
            while not task.done():  # a library may swallow a cancellation: it is asked again
                task.cancel()
                await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)

        task.add_done_callback(notice)
        self._life.push_async_callback(end)


async def keep_watch(
    loops: Loops, custody: Custody, anchoring: Anchoring, certificates: CertificateWatch | None
) -> None:
    """Watch over what may fall: certificates, sealed credentials, the trace's anchors."""
    if certificates is not None:
        await loops.keep("certificates", certificates.run())
        await loops.keep("responders", certificates.ask_responders())
    await loops.keep("break glass", _end_break_glass(custody))
    await loops.keep("anchoring", anchoring.run())
    await loops.keep("trace head", anchoring.remember())


async def keep_calendars(loops: Loops, control: Control, register: Register, sessions: Sessions, clock: Clock) -> None:
    """Watch over what passes: blocks, PP's reservations, the logins of those who watch."""
    await loops.keep("blocks", BlockCalendar(view=control.view, register=register, clock=clock).run())
    reserved = ReservationCalendar(view=control.view, reservations=control.reservations, clock=clock)
    await loops.keep("reservations", reserved.run())
    logins = LoginWatch(
        table=control.table,
        closer=control.closer,
        tracer=control.tracer,
        logins=sessions,
        terms=control.terms,
        clock=clock,
        now=time.monotonic,
    )
    await loops.keep("logins", logins.run())


async def keep_telling(loops: Loops, heartbeat: Heartbeat, forwarder: Forwarder | None) -> None:
    """Have the trace tell that the node lives, and a SIEM's collector of all that the trace tells."""
    await loops.keep("heartbeat", heartbeat.run())
    if forwarder is not None:
        await loops.keep("siem", forwarder.run())


async def _end_break_glass(custody: Custody) -> NoReturn:
    while True:
        try:
            await custody.end_break_glass()
        except (RecordsUnavailableError, TraceUnavailable) as error:
            log.warning("break_glass.not_checked error=%s", error)
        await asyncio.sleep(CHECK_BREAK_GLASS_S)
