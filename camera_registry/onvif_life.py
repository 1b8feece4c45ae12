"""One life of the ONVIF process: started, asked, watched, and over; another one is another object.

All that waits for it when it ends fails with ClientLost; its socket pair is the node's only hold on it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, ClientLost, Locked
from camera_registry.guard import Guard
from camera_registry.onvif_port import RecordingQuery, VideoProfile
from camera_registry.onvif_wire import (
    FROM_PROCESS,
    Answer,
    Begin,
    Call,
    Cancel,
    Close,
    Failure,
    FromNode,
    FromProcess,
    Method,
    Outcome,
    Permit,
    Ping,
    Tried,
    Try,
    WireError,
    frame_of,
    read_message,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the ONVIF process is waited for, in seconds.

    One that nobody has asked for ``idle_s`` is ended, for the memory it takes: a survey of a thousand cameras asks all
    the time, and is followed by an hour of nothing. One that has said nothing for ``silent_s`` although it was asked
    hangs, and is killed: no answer of a device keeps it from saying that it lives. Both are looked at every ``look_s``.
    It has ``stop_s`` to end by itself once its socket is closed. After a death it rests ``rest_s``, doubled with each
    further one up to ``longest_rest_s``; one that has lived for ``steady_s`` makes earlier deaths forgotten.
    """

    idle_s: float = 120.0
    silent_s: float = 60.0
    look_s: float = 5.0
    stop_s: float = 2.0
    rest_s: float = 1.0
    longest_rest_s: float = 60.0
    steady_s: float = 60.0


class Party(Protocol):
    """A device as a life is told of it. ``name`` is that by which the guard knows it."""

    session: int
    url: str
    name: str
    credentials: Credentials | None
    clock_offset_s: float


class Life:
    """A running process; ``over`` from the instant at which it takes no more calls, ``ended`` is done when it is gone.

    ``unwanted`` is whether it was ended by us, and has not died.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        guard: Guard,
        party: Callable[[int], Party | None],
        patience: Patience,
        now: Callable[[], float],
    ) -> None:
        self.began_s = now()
        self.over = False
        self.unwanted = False
        self._process = process
        self._reader, self._writer = streams
        self._guard = guard
        self._party = party
        self._patience = patience
        self._now = now
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._outcomes: dict[int, asyncio.Future[Outcome]] = {}
        self._trying: set[asyncio.Task[None]] = set()
        self._used_s = self.began_s
        self._unheard_since_s: float | None = None
        self.ended = asyncio.create_task(self._run(), name="onvif process")

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        begin: Begin,
        *,
        guard: Guard,
        party: Callable[[int], Party | None],
        patience: Patience,
        now: Callable[[], float],
    ) -> Self:
        """Start the process. Raises ClientLost if there can be none."""
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                streams = await asyncio.open_unix_connection(sock=ours)
                try:
                    process = await asyncio.create_subprocess_exec(
                        *command,
                        stdin=theirs.fileno(),
                        stdout=asyncio.subprocess.DEVNULL,
                        start_new_session=True,  # Ctrl-C is for the node, which ends it in good order
                    )
                except BaseException:
                    streams[1].close()
                    raise
        except OSError as error:
            raise ClientLost(f"the ONVIF process cannot be started: {error.strerror}") from error
        life = cls(process, streams, guard=guard, party=party, patience=patience, now=now)
        life._send(begin)
        return life

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def call(
        self, party: Party, method: Method, profile: VideoProfile | None, recording: RecordingQuery | None = None
    ) -> Any:
        """Have a device asked; return the answer as JSON gives it. Raises RegistryError."""
        if self.over:
            raise ClientLost("the ONVIF process has ended")
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        call = Call(
            number=number,
            session=party.session,
            url=party.url,
            credentials=party.credentials,
            clock_offset_s=party.clock_offset_s,
            method=method,
            profile=profile,
            recording=recording,
        )
        self._send(call)
        try:
            return await answer
        except asyncio.CancelledError:
            self._send(Cancel(number=number))
            raise
        finally:
            del self._answers[number]
            self._used_s = self._now()

    def forget(self, session: int) -> None:
        """Have a device closed."""
        self._send(Close(session=session))

    def retire(self) -> None:
        """Take no more calls, and let the process end."""
        self.unwanted = True
        self._finish()

    async def _run(self) -> None:
        watching = asyncio.create_task(self._watch(), name="onvif process watch")
        try:
            while (message := await read_message(self._reader, FROM_PROCESS)) is not None:
                self._unheard_since_s = None
                self._take(message)
        except WireError as error:
            log.error("onvif.nonsense error=%s", error)
        finally:
            watching.cancel()
            self._finish()
            await self._reap()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._patience.look_s)
            now_s = self._now()
            if not self._answers and now_s - self._used_s >= self._patience.idle_s:
                self.retire()
                return
            if self._unheard_since_s is not None and now_s - self._unheard_since_s >= self._patience.silent_s:
                log.error("onvif.hangs pid=%d: it is killed", self.pid)
                self._kill()
                return
            if self._answers and self._unheard_since_s is None:
                self._unheard_since_s = now_s
                self._send(Ping())

    def _take(self, message: FromProcess) -> None:
        match message:
            case Answer():
                self._settle(message.number, message.value, None)
            case Failure():
                self._settle(message.number, None, message.error())
            case Try():
                self._outcomes[message.number] = asyncio.get_running_loop().create_future()
                trying = asyncio.create_task(self._let_try(message), name="onvif try")
                self._trying.add(trying)
                trying.add_done_callback(self._trying.discard)
            case Tried():
                outcome = self._outcomes.get(message.number)
                if outcome is not None and not outcome.done():
                    outcome.set_result(message.outcome)

    def _settle(self, number: int, value: object, error: Exception | None) -> None:
        answer = self._answers.get(number)
        if answer is None or answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)

    async def _let_try(self, wish: Try) -> None:
        """Have credentials sent once, if the guard lets them be, and tell the guard what became of them."""
        party, outcome = self._party(wish.session), self._outcomes[wish.number]

        async def permitted() -> None:
            if not outcome.done():
                self._send(Permit(number=wish.number))
            became = await outcome
            if became is Outcome.REJECTED:
                raise AuthRejected("the device refused these credentials")
            if became is Outcome.UNKNOWN:
                raise ClientLost("nothing is known of this try")

        try:
            if party is None or party.credentials is None:
                self._send(Permit(number=wish.number, refusal="nobody asks this device any more"))
                return
            await self._guard.run(party.name, party.credentials, permitted)
        except Locked as locked:
            self._send(Permit(number=wish.number, refusal=str(locked)))
        except (AuthRejected, ClientLost):
            return  # who asked is told by the process
        finally:
            del self._outcomes[wish.number]

    def _send(self, message: FromNode) -> None:
        if not self.over:
            self._writer.write(frame_of(message))

    def _finish(self) -> None:
        """Fail all that waits; nothing is asked of this process any more."""
        self.over = True
        self._writer.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ClientLost("the ONVIF process ended before the device had answered"))
        for outcome in self._outcomes.values():
            if not outcome.done():
                outcome.set_result(Outcome.UNKNOWN)

    async def _reap(self) -> None:
        try:
            async with asyncio.timeout(self._patience.stop_s):
                code = await self._process.wait()
        except TimeoutError:
            self._kill()
            code = await self._process.wait()
        level = logging.DEBUG if self.unwanted else logging.ERROR
        log.log(level, "onvif.process_ended pid=%d code=%d", self.pid, code)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
