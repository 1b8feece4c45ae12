"""Whatever fails or dies at any step of request, grant, play and stop: no media byte without its durable intent, and
every intent gets its result (T01, T02, C01).

The steps are every call that the door makes of what it stands on: journal, slots, tickets, cameras. They are counted
as they come, so that a call that is added is a step of these tests too.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import pytest

from auth.trace import Draft, Entry, Journal, Kind, Status, TraceFilter, verify_folder
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.acts import open_streams
from camera_registry.clock import SystemClock
from halfgateway.app import keeping
from halfgateway.errors import CameraUnreachable, Refusal, StateStoreUnavailable
from halfgateway.relay.reader import Reader
from halfgateway.relay.source import Source
from tests.control.doors import BY_MACHINE, KEY, Place, open_place
from tests.control.valkeys import Nodes
from tests.relay.packets import IDR, chunk, rtp

MOST_STEPS = 100
INTENTS = {Kind.STREAM_REQUESTED, Kind.STREAM_RESUMED}


class How(StrEnum):
    """What happens at a step: the call fails, with or without effect, or the node dies, before it or after."""

    FAILS = "fails"
    LOSES_THE_ANSWER = "loses the answer"
    DIES_BEFORE = "dies before"
    DIES_AFTER = "dies after"

    @property
    def is_death(self) -> bool:
        return self in {How.DIES_BEFORE, How.DIES_AFTER}

    @property
    def has_effect(self) -> bool:
        return self in {How.LOSES_THE_ANSWER, How.DIES_AFTER}


class Steps:
    """Stands between a door and its ports, and lets something happen at the ``at``-th call of any of them.

    A node that has died calls nothing any more, sends nothing, and leaves its trace as it is at that instant.
    """

    def __init__(self, place: Place, at: int, how: How, remains: Path) -> None:
        self.calls = 0
        self._dead = asyncio.Event()
        self.watched: set[str] = set()
        self._place, self._at, self._how, self._remains = place, at, how, remains
        self._durable: set[str | None] = set()
        self._record, self._pull = place.journal.record, place.hub._start_pull
        place.tracer._journal = self
        place.hub._start_pull = self.pull
        for port, name in (
            (place.slots._script, "ask"),
            *((place.tickets, name) for name in ("put", "get", "keep", "end")),
        ):
            setattr(port, name, self._before(getattr(port, name)))

    @property
    def is_dead(self) -> bool:
        return self._dead.is_set()

    def end(self) -> bool:
        """Let nothing happen any more; whether it has."""
        reached, self._at = self.calls >= self._at, 0
        return reached

    async def record(self, draft: Draft) -> Entry:
        entry: Entry = await self._step(JournalUnavailable("a fault"), lambda: self._record(draft))
        if entry.kind in INTENTS:
            self._durable.add(entry.stream)
        return entry

    async def pull(self, source: Source) -> None:
        try:
            await self._step(CameraUnreachable("a fault"), lambda: asyncio.sleep(0))
        except Refusal as refusal:
            source.interrupt(refusal)
            await asyncio.Event().wait()
        await self._pull(source)

    async def settle(self) -> None:
        """What is still open ends, and what was to be done later is done, unless the node dies over it."""
        settling = asyncio.create_task(self._place.from_the_beginning())
        dying = asyncio.create_task(self._dead.wait())
        await asyncio.wait([settling, dying], return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        settling.cancel()
        await asyncio.wait([settling, dying])
        assert self.is_dead or settling.exception() is None

    def send(self, stream: str) -> None:
        """A media byte of a stream leaves the node."""
        if not self.is_dead:
            assert stream in self._durable, "media without a durable intent"
            self.watched.add(stream)

    def _before(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stepped(*arguments: Any, **options: Any) -> Any:
            return await self._step(StateStoreUnavailable("a fault"), lambda: call(*arguments, **options))

        return stepped

    async def _step(self, fault: Exception, call: Callable[[], Awaitable[Any]]) -> Any:
        self._go_on()
        self.calls += 1
        if self.calls != self._at:
            answer = await call()
            self._go_on()
            return answer
        if self._how.has_effect:
            await call()
        if self._how.is_death:
            self._die()
        raise fault

    def _go_on(self) -> None:
        if self.is_dead:
            raise asyncio.CancelledError

    def _die(self) -> NoReturn:
        self._dead.set()
        shutil.copytree(self._place.journal.folder, self._remains)
        raise asyncio.CancelledError


class Wire:
    """A player's connection."""

    writable = True

    def __init__(self, steps: Steps, stream: str) -> None:
        self._steps, self._stream = steps, stream

    def write(self, data: bytes) -> None:
        if data:
            self._steps.send(self._stream)


async def watch(place: Place, steps: Steps, seat: Any) -> None:
    """PLAY, some pictures, PAUSE, PLAY, TEARDOWN."""
    for _ in range(2):
        await seat.start()
        reader = Reader(Wire(steps, seat._stream.id), seat.gate, now=time.monotonic)
        seat.flow(reader, seat.opening())
        for source in place.hub:
            source.feed(chunk((0, rtp(1, 0, IDR))))
        await seat.pause()
    await seat.leave()


async def by_ticket(place: Place, steps: Steps) -> None:
    _, holder = await place.open()
    await watch(place, steps, await place.sit(holder))


async def by_machine(place: Place, steps: Steps) -> None:
    await watch(place, steps, await place.sit(BY_MACHINE))


Life = Callable[[Place, Steps], Awaitable[None]]


@pytest.fixture
async def each_step(nodes: Nodes, tmp_path: Path) -> Callable[[Life, How], AsyncIterator[tuple[Place, Steps, Path]]]:
    """Live a life once for each of its steps, on a node of its own, and show what is left each time."""

    async def lived(life: Life, how: How) -> AsyncIterator[tuple[Place, Steps, Path]]:
        watched = set[str]()
        for at in range(1, MOST_STEPS):
            remains = tmp_path / f"{at}-remains"
            async with open_place(nodes, tmp_path / f"{at}", slots=await nodes.opened("a")) as place:
                steps = Steps(place, at, how, remains)
                task = asyncio.create_task(life(place, steps))  # type: ignore[arg-type]
                await asyncio.wait([task])
                assert task.cancelled() or isinstance(task.exception(), Refusal | None), task.exception()
                await steps.settle()
                reached, watched = steps.end(), watched | steps.watched
                yield place, steps, remains
            await nodes.store().client.flushall()
            if not reached:
                assert at > 9, "a life has more steps than that"
                assert watched, "nobody ever saw a picture"
                return
        raise AssertionError("it never ends")

    return lived


@pytest.mark.parametrize("life", [by_ticket, by_machine])
@pytest.mark.parametrize("how", [How.FAILS, How.LOSES_THE_ANSWER])
async def test_whatever_fails_nothing_is_kept_and_every_intent_has_its_result(
    each_step: Any, life: Life, how: How
) -> None:
    # C01, T01, T02
    async for place, _, _ in each_step(life, how):
        await place.slots.renew([])
        assert await place.slots.holders() == []
        assert place.users() == 0
        assert await place.open_acts() == []


@pytest.mark.parametrize("life", [by_ticket, by_machine])
@pytest.mark.parametrize("how", [How.DIES_BEFORE, How.DIES_AFTER])
async def test_whenever_the_node_dies_what_was_watched_is_in_its_trace_and_gets_its_result(
    each_step: Any, life: Life, how: How
) -> None:
    # T01, T02
    async for _, steps, remains in each_step(life, how):
        if not steps.is_dead:
            continue
        async with await Journal.open(remains, node="a", key=KEY, clock=SystemClock()) as journal:
            intended = (await journal.reader().entries(TraceFilter(kinds=frozenset(INTENTS)))).items
            assert steps.watched <= {entry.stream for entry in intended}
            await keeping._recover(journal)
            told = (await journal.reader().entries(limit=100)).items
            assert open_streams(told[::-1]) == []
        assert verify_folder(remains).status is Status.UNANCHORED
