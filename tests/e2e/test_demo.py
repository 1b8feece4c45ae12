"""The product as a stranger starts it: the README's own commands, on a free port, leaving nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from halfgateway.folder import DataFolder
from halfgateway.protocol.ranges import clock_text
from tests.conftest import uncounted_environment
from tests.e2e.conftest import Visit, until

REPOSITORY = Path(__file__).parents[2]
START_S = 150.0
"""The first start encodes the clips; a later one takes seconds."""

pytestmark = pytest.mark.demo


def readme_commands() -> list[str]:
    """Every command in the README's shell blocks, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


class Demo:
    """A demo started by ``make demo`` in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready

    async def stopped_by(self, number: signal.Signals) -> int:
        """Send a signal to the node itself, as ``kill`` does; returns make's exit code."""
        os.kill(node_pid(Path(self.ready["data"])), number)
        async with asyncio.timeout(30):
            return await self.process.wait()


def node_pid(data: Path) -> int:
    pid: int = json.loads((data / "run" / "node.lock").read_text())["pid"]
    return pid


def processes_of(data: Path) -> list[str]:
    """The command lines of living processes that name the demo's folder or belong to its node."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(data) in command or cwd.startswith(str(data)):
            found.append(command)
    return found


def family_of(data: Path) -> set[tuple[int, str]]:
    """The node and its children, each by its process id and the instant it began."""
    node = node_pid(data)
    stats = {int(entry.name): stat for entry in Path("/proc").glob("[0-9]*") if (stat := stat_of(entry))}
    return {(pid, stat[19]) for pid, stat in stats.items() if pid == node or int(stat[1]) == node}


def command_of(pid: int) -> str:
    return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def bound_to_the_node(command: str) -> bool:
    """Whether it is one of what ends with the node, even after SIGKILL: the cameras, and what records them."""
    return "halfgateway simulate" in command or "halfgateway recorder" in command


def living(family: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of a family that still live."""
    return {(pid, began) for pid, began in family if (stat := stat_of(Path(f"/proc/{pid}"))) and stat[19] == began}


def stat_of(entry: Path) -> list[str]:
    """The fields of a process's ``stat`` from its state on; empty once it is gone."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


@asynccontextmanager
async def made_demo(data: Path, environment: dict[str, str] | None = None) -> AsyncIterator[Demo]:
    arguments = f"--json --data {data} --http-port 0 --https-port 0 --rtsp-port 0 --rtsps-port 0"
    process = await asyncio.create_subprocess_exec(
        *["make", "--silent", "demo"],
        f"ARGS={arguments}",
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        yield Demo(process, json.loads(line))
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGINT)
            await process.wait()


def test_the_readme_says_what_is_tested_here() -> None:
    commands = readme_commands()
    assert commands[:2] == ["make demo", "make test"]
    assert (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("make test")


async def refused_beside(data: Path) -> bytes:
    """What a second demo in one folder says; it does not begin."""
    second = await asyncio.create_subprocess_exec(
        str(REPOSITORY / ".venv/bin/halfgateway"),
        *f"demo --json --data {data} --http-port 0 --https-port 0 --rtsp-port 0 --rtsps-port 0".split(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await second.communicate()
    assert (second.returncode, output) == (1, b"")
    return complaint


async def test_make_demo_serves_alone_and_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    async with made_demo(data) as demo:
        family = family_of(data)
        members = "the node, its cameras, its Valkey, what asks by ONVIF, what sends, what watches, what records"
        assert len(family) == 7, members
        assert demo.ready["ready"] is True
        assert len(demo.ready["cameras"]) == 12
        assert processes_of(data), "the embedded Valkey runs in the demo's folder"
        machine = demo.ready["accounts"]["machine"]
        url = demo.ready["rtsp"].replace("//", f"//{machine['id']}:{machine['password']}@")
        assert await played(f"{url}/live/{demo.ready['cameras'][0]}")
        await shows_what_it_records(demo.ready, url)
        assert b"another node serves" in await refused_beside(data)
        outcomes = await readme_outcomes(data)
        assert [code for _, code, _ in outcomes] == [0, 6], outcomes
        assert "Interconnexion interrompue" in outcomes[0][2]
        await until(lambda: any(Path(demo.ready["mailbox"]).glob("*.cut-1.*.eml")))  # C11
        assert await demo.stopped_by(signal.SIGTERM) == 0
    await until(lambda: not processes_of(data))
    await until(lambda: not living(family))


async def played(url: str) -> bool:
    """Whether ffmpeg decodes pictures of it."""
    player = f"ffmpeg -nostdin -loglevel error -rtsp_transport tcp -i {url} -frames:v 5 -f null -"
    playing = await asyncio.create_subprocess_exec(*player.split())
    return await playing.wait() == 0


async def shows_what_it_records(ready: dict[str, Any], url: str) -> None:
    """C01, C04: one camera is recorded by ``halfgateway recorder``, and shown while it is; it is too young to judge."""
    (folder,) = DataFolder(Path(ready["data"])).footage.iterdir()
    camera = folder.name
    async with aiohttp.ClientSession() as http:
        visit = Visit(ready, http)

        async def recorded() -> list[dict[str, Any]]:
            status, found = await visit.call("operator", "GET", f"/cameras/{camera}/recordings")
            assert status == 200, found
            return list(found["intervals"])

        await until(recorded, START_S)
        (first,) = await recorded()

        async def grows() -> bool:
            (now,) = await recorded()
            return bool(now["start"] == first["start"] and now["end"] > first["end"])

        await until(grows, START_S)
        assert await played(f"{url}/recorded/{camera}?start={clock_text(datetime.fromisoformat(first['start']))}")
        status, found = await visit.call("ops", "POST", "/retention/probe")
        assert status == 200, found
        (ours,) = [each for each in found["items"] if each["camera"] == camera]
        assert (ours["reached"], ours["breaches"]) == (True, [])


async def readme_outcomes(data: Path) -> list[tuple[str, int, str]]:
    """Run each ``halfgateway`` command of the README on this demo's folder."""
    outcomes = []
    for command in readme_commands():
        if not command.startswith(".venv/bin/halfgateway"):
            continue
        process = await asyncio.create_subprocess_shell(
            command.replace("--data demo", f"--data {data}"), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        outcomes.append((command, process.returncode or 0, output.decode()))
    return outcomes


async def test_a_folder_used_again_keeps_its_accounts_and_stays_cut_even_after_kill_9(tmp_path: Path) -> None:
    # C10; ADR 16: a later node takes over the Valkey that a killed one left
    data, environment = tmp_path / "demo", uncounted_environment()
    async with made_demo(data, environment) as first:
        bound = {member for member in family_of(data) if bound_to_the_node(command_of(member[0]))}
        assert len(bound) == 2
        cut = await asyncio.create_subprocess_exec(
            str(REPOSITORY / ".venv/bin/halfgateway"), "cut", "--reason", "essai", "--data", str(data), "--json"
        )
        assert await cut.wait() == 0
        assert await first.stopped_by(signal.SIGKILL) != 0
    await until(lambda: not living(bound), START_S)
    async with made_demo(data, environment) as second:
        assert second.ready["accounts"] == first.ready["accounts"]
        assert await second.stopped_by(signal.SIGHUP) == 0
    await until(lambda: not processes_of(data))
