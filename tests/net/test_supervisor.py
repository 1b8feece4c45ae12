"""What systemd hears of a node (sd_notify(3)): ready, alive while the event loop turns, stopping."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from halfgateway.net.supervisor import supervised

LIMIT_S = 20.0


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.address = address

    async def hears(self) -> str:
        async with asyncio.timeout(LIMIT_S):
            return (await asyncio.get_running_loop().sock_recv(self.socket, 4096)).decode()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(f"@{uuid4().hex}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


async def test_a_manager_is_told_of_the_beginning_and_the_end(manager: Manager) -> None:
    async with supervised({"NOTIFY_SOCKET": manager.address}):
        assert await manager.hears() == "READY=1"
    assert await manager.hears() == "STOPPING=1"


async def test_signs_of_life_come_while_the_loop_turns(manager: Manager) -> None:
    async with supervised({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000"}):
        assert await manager.hears() == "READY=1"
        assert [await manager.hears() for _ in range(4)] == ["WATCHDOG=1"] * 4
    said = ""
    while said != "STOPPING=1":
        said = await manager.hears()


@pytest.mark.parametrize("limit", ["", "0", "soon", "-5"])
async def test_a_limit_that_is_none_is_none(manager: Manager, limit: str) -> None:
    async with supervised({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": limit}):
        assert await manager.hears() == "READY=1"
    assert await manager.hears() == "STOPPING=1"


async def test_nobody_is_told_where_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with supervised({}):
        pass
    assert caplog.records == []
    async with supervised({"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        pass
    assert "supervisor.not_told state=READY=1" in caplog.text
