"""One recorder, for all who replay from it: how many sessions it gives, what it is like, and whether to leave it alone.

What goes wrong is told here as its reader may hear it: without an address, without a name, without a word of the
recorder's own (C16).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.upstream.backoff import Backoff, CameraFailure
from halfgateway.upstream.keep_alive import KeepAlive

log = logging.getLogger(__name__)

NO_FOOTAGE = frozenset({404, 457})
"""What recorders answer where they have nothing: no such recording, no such range."""

NO_SESSION = frozenset({453, 503})
"""What they answer when all their sessions are taken."""

REFUSED = frozenset({401, 403})
"""What they answer to a password that is not theirs: asked again with it, some lock the account."""

RETRY_AFTER_S = 10
"""Seconds after which whoever found no session may ask again, where the recorder does not say."""


@dataclass(slots=True)
class Habits:
    """What was learnt of a recorder: whether it refuses to hear of ONVIF's replay, and what keeps a session alive."""

    knows_replay: bool = True
    keep_alive: KeepAlive = field(default_factory=KeepAlive)


class RecorderAccess:
    """The one owner of a recorder's sessions. ``chance`` gives a number in [0, 1), ``now`` monotonic seconds."""

    def __init__(self, recorder: str, sessions: int, *, chance: Callable[[], float], now: Callable[[], float]) -> None:
        self.recorder = recorder
        self.habits = Habits()
        self._sessions = sessions
        self._taken = 0
        self._describing = asyncio.Lock()
        self._now = now
        self._backoff = Backoff(chance)
        self._left_alone_until_s = -math.inf
        self._trouble: CameraFailure | None = None

    @property
    def taken(self) -> int:
        """How many sessions are open, or being opened."""
        return self._taken

    def take(self) -> None:
        """Take one of its sessions; :meth:`give_back` it.

        Raises:
            RecorderUnreachable: all are taken, or it failed a moment ago and is left alone.
        """
        if self._trouble is not None and self._now() < self._left_alone_until_s:
            raise told(self._trouble, retry_after_s=math.ceil(self._left_alone_until_s - self._now()))
        if self._taken >= self._sessions:
            raise _no_session(RETRY_AFTER_S)
        self._taken += 1

    def give_back(self) -> None:
        """One session is closed."""
        self._taken -= 1

    @asynccontextmanager
    async def taken_to_describe(self) -> AsyncIterator[None]:
        """Take a session to ask what it would play: one at a time, so that who only asks leaves the rest to replays.

        Raises RecorderUnreachable, as :meth:`take` does.
        """
        async with self._describing:
            self.take()
            try:
                yield
            finally:
                self.give_back()

    def failed(self, failure: CameraFailure) -> RecorderUnreachable | NoRecording:
        """Remember why a session could not be opened; return what whoever asked is told.

        A recorder that does not answer, or refuses our password, is left alone for a while, as a camera is.
        """
        log.warning("replay.failed recorder=%s status=%s", self.recorder, failure.status)
        if failure.status is None or failure.status in REFUSED:
            self._trouble = failure.with_traceback(None)
            self._left_alone_until_s = self._now() + self._backoff.failed(failure)
        return told(failure)

    def answered(self) -> None:
        """It has opened a session: earlier failures are forgotten."""
        self._trouble = None
        self._backoff.played(math.inf)


def told(failure: CameraFailure, *, retry_after_s: int | None = None) -> RecorderUnreachable | NoRecording:
    """What a failure amounts to, in words that may be told."""
    if failure.status in NO_FOOTAGE:
        return NoRecording("L'enregistreur n'a pas d'images de cette période.")
    if failure.status in NO_SESSION:
        return _no_session(retry_after_s or math.ceil(failure.wait_s or RETRY_AFTER_S))
    if failure.status in REFUSED:
        detail = "L'enregistreur refuse nos identifiants."
    elif failure.status is None:
        detail = "L'enregistreur ne répond pas comme il le doit."
    else:
        detail = f"L'enregistreur refuse la lecture ({failure.status})."
    return RecorderUnreachable(detail, retry_after_s=retry_after_s)


def _no_session(retry_after_s: int) -> RecorderUnreachable:
    return RecorderUnreachable("L'enregistreur n'a plus de session de lecture à donner.", retry_after_s=retry_after_s)
