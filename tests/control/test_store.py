"""One question to the store: bounded, its failures declared, and never deaf to who wants it to stop."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from halfgateway.control.store import StateStore
from halfgateway.errors import StateStoreUnavailable


@pytest.fixture
def store() -> StateStore:
    return StateStore(Redis(), "syn-pp", call_limit_s=0.02)


async def swallow() -> None:
    """Wait as redis-py does on CPython 3.11: a cancellation that comes with the answer is lost."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancellation_that_the_client_swallows_is_raised_all_the_same(store: StateStore, fails: bool) -> None:
    async def loop() -> None:
        while True:
            async with store.limited(10):
                await swallow()
                if fails:
                    raise RedisConnectionError("gone")

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled()


async def test_silence_is_a_declared_failure_and_no_cancellation(store: StateStore) -> None:
    with pytest.raises(StateStoreUnavailable):
        async with store.limited():
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_outer_time_limit_that_the_client_swallows_still_counts(store: StateStore) -> None:
    async def ask() -> None:
        async with asyncio.timeout(0.01), store.limited(10):
            await swallow()

    with pytest.raises(TimeoutError):
        await ask()


def test_a_convention_is_named_as_keys_are() -> None:
    with pytest.raises(ValueError, match="no convention"):
        StateStore(Redis(), "a b")
