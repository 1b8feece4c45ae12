"""Cancels a coroutine at each of its awaits, one after the other (as httpcore's test_cancellations does)."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any

MAX_STEPS = 200


class _Interrupter:
    """Drives a coroutine inside a task and has the task cancelled at its ``at``-th suspension.

    ``late`` cancels when what is awaited has come, in the moment before the coroutine sees it: the effect is there,
    and its author does not learn of it. Else it is cancelled while it waits.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, object], at: int, *, late: bool) -> None:
        self._coroutine = coroutine
        self._at = at
        self._late = late
        self.steps = 0

    @types.coroutine
    def run(self) -> Generator[Any, Any, object]:
        raised: BaseException | None = None
        while True:
            try:
                awaited = self._coroutine.send(None) if raised is None else self._coroutine.throw(raised)
            except StopIteration as returned:
                return returned.value
            self.steps += 1
            if self.steps == self._at:
                self._cancel(awaited)
            raised = None
            try:
                yield awaited
            except BaseException as error:
                raised = error

    def _cancel(self, awaited: asyncio.Future[object] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._late and awaited is not None:
            awaited.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)


async def cancelled_at(coroutine: Coroutine[Any, Any, object], at: int, *, late: bool) -> bool:
    """Run a coroutine to its ``at``-th await and cancel it there; False if it ended before, with whatever it gives."""
    interrupter = _Interrupter(coroutine, at, late=late)

    async def run() -> object:
        return await interrupter.run()

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    reached = interrupter.steps >= at
    assert task.cancelled() == reached, f"a cancellation was swallowed: {task!r} {task.exception()!r}"
    if not reached:
        task.result()
    return reached


async def every_await(start: Callable[[], Awaitable[Coroutine[Any, Any, object]]]) -> AsyncIterator[str]:
    """Name each await of what ``start`` prepares, in both ways, once the coroutine has been cancelled there.

    The test then checks that nothing is left, and ``start`` prepares the next from the beginning.
    """
    for late in (False, True):
        for at in range(1, MAX_STEPS):
            if not await cancelled_at(await start(), at, late=late):
                assert at > 1, "it never waits"
                break
            yield f"await {at}, {'late' if late else 'early'}"
        else:
            raise AssertionError("it never ends")
