"""How a command on the same machine finds the node and learns that it has followed (C10)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from halfgateway.control import beacon as beacons
from halfgateway.control.beacon import FOLLOW_SIGNAL, Beacon, Followed, NodeAlreadyRunsError, make_node_follow


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The signals that this process was sent."""
    received: list[int] = []
    before = signal.signal(FOLLOW_SIGNAL, lambda number, _: received.append(number))
    yield received
    signal.signal(FOLLOW_SIGNAL, before)


async def ask(folder: Path, serial: int, timeout_s: float = 10.0) -> Followed | None:
    return await asyncio.to_thread(make_node_follow, folder, serial, timeout_s)


async def answered(beacon: Beacon, serial: int, signals: list[int]) -> None:
    """Follow once the signal has come, as the node does."""
    async with asyncio.timeout(10):
        while not signals:
            await asyncio.sleep(0.005)
    beacon.followed(serial, 10)


async def test_a_node_that_runs_is_signalled_and_says_what_it_did(tmp_path: Path, signals: list[int]) -> None:
    # C10
    with Beacon(tmp_path, "a") as beacon:
        beacon.followed(3, 0)
        asking = asyncio.create_task(ask(tmp_path, 4))
        await answered(beacon, 4, signals)
        assert await asking == Followed("a", 4, 10)


async def test_a_node_that_does_not_answer_is_waited_for_no_longer_than_told(
    tmp_path: Path, signals: list[int]
) -> None:
    # C10: the record holds it all the same
    with Beacon(tmp_path, "a") as beacon:
        assert await ask(tmp_path, 1, 0.02) is None
        beacon.followed(1, 0)
        assert await ask(tmp_path, 2, 0.02) is None
        (tmp_path / "followed.json").write_text("{")
        assert await ask(tmp_path, 1, 0.02) is None
    assert len(signals) == 3


async def test_where_no_node_runs_nobody_is_signalled(tmp_path: Path, signals: list[int]) -> None:
    # C10
    assert await ask(tmp_path, 1) is None
    with Beacon(tmp_path, "a"):
        pass
    assert await ask(tmp_path, 1) is None
    (tmp_path / "node.lock").write_text(f'{{"node": "a", "pid": {os.getpid()}}}')
    assert await ask(tmp_path, 1) is None
    assert signals == []


async def test_a_lock_that_says_nothing_signals_nobody(tmp_path: Path, signals: list[int]) -> None:
    with Beacon(tmp_path, "a"):
        for rubbish in ("", "[]", '{"pid": "x"}', "{}"):
            (tmp_path / "node.lock").write_text(rubbish)
            assert await ask(tmp_path, 1, 0.02) is None
    assert signals == []


def test_one_node_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # C10
    monkeypatch.setattr(beacons, "LET_GO_S", 0.02)
    with Beacon(tmp_path, "a"), pytest.raises(NodeAlreadyRunsError), Beacon(tmp_path, "b"):
        pass
    with Beacon(tmp_path, "b"):
        pass


async def test_a_lock_that_a_dying_child_still_holds_is_waited_for(tmp_path: Path) -> None:
    # C10: a node that is killed while it starts a process is started again at once
    held = os.open(tmp_path / "node.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    released = asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.05), os.close(held)))
    with Beacon(tmp_path, "a"):
        pass
    await released


async def test_a_node_that_died_is_not_signalled_though_its_lock_is_held(tmp_path: Path, signals: list[int]) -> None:
    # C10: the cut is durable, and nobody is there to follow it
    gone = subprocess.Popen(["true"])
    gone.wait()
    with Beacon(tmp_path, "a"):
        (tmp_path / "node.lock").write_text(f'{{"node": "a", "pid": {gone.pid}}}')
        assert await ask(tmp_path, 1) is None
    assert signals == []
