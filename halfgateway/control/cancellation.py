"""A cancellation that a library has swallowed is noticed before anything is granted to who is gone."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError if the running task was cancelled and something it awaited kept that to itself.

    Before Python 3.12 ``asyncio.wait_for`` does, where what it waits for has come at the same time; the Redis client
    sends each question through it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
