"""The notifier and the watchdog as processes: restarted, outliving a killed node, gone after a clean stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from halfgateway.net.attendants import AttendantRunsError, only_one
from ops.interconnection import Author, Ground, cut, first_open, new_incident
from ops.local_record import LocalRecord
from tests.contacts import CONTACTS

NODE = """
import asyncio, sys
from pathlib import Path
from halfgateway.cli.attendants import commands_of
from halfgateway.config import read_configuration
from halfgateway.folder import DataFolder
from halfgateway.net.attendants import attended

async def live(config):
    configuration = read_configuration(Path(config))
    folder = DataFolder(configuration.node.data)
    async with attended(folder.root, folder.run, commands_of(["--config", config], configuration)):
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(live(sys.argv[1]))
"""
"""A node that does nothing but have attendants, until its standard input ends."""

LIMIT_S = 60.0


@dataclass(frozen=True)
class Place:
    root: Path
    config: Path

    def pid(self, name: str) -> int | None:
        try:
            pid = int((self.root / "run" / f"{name}.lock").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def node(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", NODE, str(self.config)], stdin=subprocess.PIPE)

    def mails(self) -> list[str]:
        return sorted(path.name for path in (self.root / "mail").glob("*.eml"))

    def cut(self) -> str:
        record, now = LocalRecord(self.root / "interconnection.record"), datetime.now(UTC)
        incident = new_incident(now)
        record.update(
            lambda state: cut(
                state,
                ground=Ground.CRITICAL_INCIDENT,
                reason="essai",
                by=Author.OPS,
                since=now,
                incident=incident,
            )
        )
        return incident


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "data"
    (root / "run").mkdir(parents=True)
    LocalRecord(root / "interconnection.record").initialise(first_open(datetime.now(UTC)))
    lines = [
        f'node = {{ data = "{root}" }}',
        "convention = { in_force_from = 2025-10-21T00:00:00Z }",
        'listen = { http_port = "off", https_port = "off", rtsps_port = "off" }',
        f'mail = {{ sender = "dpp@syn.example", domain = "syn.example", mailbox = "{root / "mail"}" }}',
        *(
            "[[contacts]]\n"
            + "\n".join(f"{key} = {value if key == 'valid_from' else json.dumps(value)}" for key, value in one.items())
            for one in CONTACTS
        ),
    ]
    (tmp_path / "gateway.toml").write_text("\n".join(lines), encoding="utf-8")
    found = Place(root, tmp_path / "gateway.toml")
    yield found
    for name in ("notifier", "watchdog"):
        pid = found.pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


async def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not what() and time.monotonic() < end:
        await asyncio.sleep(0.05)
    assert what()


async def test_they_outlive_a_killed_node_and_end_with_one_that_stops(place: Place) -> None:
    # Decision 11, N01: what the books owe leaves with the gateway dead
    first = place.node()
    await until(lambda: place.pid("notifier") and place.pid("watchdog"))
    assert first.stdin is not None
    first.kill()
    first.wait()
    first.stdin.close()
    notifier, watchdog = place.pid("notifier"), place.pid("watchdog")
    assert notifier is not None
    assert os.getsid(notifier) == notifier

    incident = place.cut()
    await until(place.mails)
    assert [name.startswith(f"{incident}.cut-1.") for name in place.mails()] == [True]

    with pytest.raises(AttendantRunsError), only_one(place.root / "run", "notifier"):
        raise AssertionError("there is one of each")

    second = place.node()
    assert second.stdin is not None
    os.kill(notifier, signal.SIGKILL)
    await until(lambda: place.pid("notifier") not in {None, notifier})
    assert place.pid("watchdog") == watchdog  # taken over, not started again
    second.stdin.close()
    await until(lambda: second.poll() is not None)
    assert (place.pid("notifier"), place.pid("watchdog")) == (None, None)
    assert len(place.mails()) == 1
