"""A login's end never silently ends a running picture: its agent is asked again, has a grace, then it ends (S15).

A picture needs its agent's login where they logged in at our own door. The login stands until it is ended, or its
absolute expiry: whoever watches is not idle. Any new login of the same agent keeps the picture. Of an agent whom PP
asserts, the login is PP's, and a machine's login lets it ask and nothing more: no end of theirs counts here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import NoReturn, Protocol

from auth.errors import RecordsUnavailableError
from auth.principals import Attribution
from auth.trace import Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.closing import Closer
from halfgateway.control.endings import LoginExpired
from halfgateway.control.streams import LoginAsked, Stream, StreamTable
from halfgateway.control.terms import Terms
from halfgateway.control.tracing import Tracer

LOOK_S = 1.0
"""How often it is asked whose logins stand, while someone watches by one."""

log = logging.getLogger(__name__)


class LoginRecords(Protocol):
    """The logins (:class:`auth.sessions.Sessions`)."""

    async def agents_logged_in(self, agents: Collection[str]) -> frozenset[str]:
        """Those of whom a login stands. Raises RecordsUnavailableError."""


class LoginWatch:
    """Holds this node's streams against the logins on record. ``now`` is the monotonic clock in seconds."""

    def __init__(
        self,
        *,
        table: StreamTable,
        closer: Closer,
        tracer: Tracer,
        logins: LoginRecords,
        terms: Terms,
        clock: Clock,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._closer = closer
        self._tracer = tracer
        self._logins = logins
        self._terms = terms
        self._clock = clock
        self._now = now

    async def run(self) -> NoReturn:
        """Keep going until cancelled. While the records do not answer, what runs goes on."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except RecordsUnavailableError as error:
                log.warning("logins.unknown error=%s", error)

    async def look(self) -> None:
        """Ask of whom no login stands to log in again, and end what was asked for in vain.

        Raises RecordsUnavailableError.
        """
        watching = {stream.id: agent for stream in self._table if (agent := _agent_logged_in_here(stream))}
        if not watching:
            return
        standing = await self._logins.agents_logged_in(frozenset(watching.values()))
        for stream in self._table:
            agent = _agent_logged_in_here(stream)
            if agent is None or agent != watching.get(stream.id):  # came, or changed hands, since it was asked
                continue
            if agent in standing:
                self._keep(stream)
            elif stream.login_asked is None:
                self._ask_again(stream)
            elif self._now() >= stream.login_asked.before_s:
                self._closer.end(stream, LoginExpired("La session de l'agent a pris fin et n'a pas été renouvelée."))

    def _ask_again(self, stream: Stream) -> None:
        grace_s = self._terms.timings.login_grace_s
        before = self._clock.now() + timedelta(seconds=grace_s)
        stream.login_asked = LoginAsked(before, self._now() + grace_s)
        detail = {"to": "login-asked", "before": rfc3339(before)}
        self._tracer.eventual(stream.request.entry(Kind.STREAM_MOVED, detail))

    def _keep(self, stream: Stream) -> None:
        if stream.login_asked is not None:
            stream.login_asked = None
            self._tracer.eventual(stream.request.entry(Kind.STREAM_MOVED, {"to": "login-renewed"}))


def _agent_logged_in_here(stream: Stream) -> str | None:
    principal = stream.request.principal
    return principal.agent if principal.attribution is Attribution.AGENT_AUTHENTICATED else None
