"""The embedded Valkey: started for one node, taken over after a kill, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions

from halfgateway.net import valkey
from halfgateway.net.valkey import EmbeddedValkey, EmbeddedValkeyError, connect

KILLED_NODE = """
import asyncio, os, signal, sys
from pathlib import Path
from halfgateway.net.valkey import EmbeddedValkey, connect
async def main():
    server = EmbeddedValkey(Path(sys.argv[1]))
    client = connect(await server.start())
    await client.set("left", "behind")
    print(server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "valkey")
    yield server
    await server.stop()


@pytest.fixture
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the system's whose path is short, as it is outside of tests."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="hg-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def running_pid(server: EmbeddedValkey) -> int:
    assert server.pid is not None
    return server.pid


def node_killed_with_its_server_running(folder: Path) -> int:
    """Return the pid of the server that a node left behind when it was killed -9."""
    node = subprocess.run(
        [sys.executable, "-c", KILLED_NODE, str(folder)], check=False, capture_output=True, timeout=60
    )
    assert node.returncode == -signal.SIGKILL, node.stderr
    return int(node.stdout)


async def write(address: str, key: str, value: str) -> None:
    async with connect(address) as client:
        await client.set(key, value)


async def read(address: str, key: str) -> bytes | None:
    async with connect(address) as client:
        found = await client.get(key)
    assert not isinstance(found, str)
    return found


async def test_it_listens_on_a_private_socket_only_in_its_own_session(server: EmbeddedValkey, tmp_path: Path) -> None:
    # S01
    address = await server.start()
    pid = running_pid(server)
    assert stat.S_IMODE(os.stat(address).st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "valkey").stat().st_mode) == 0o700
    assert os.getsid(pid) == pid != os.getsid(0)
    async with connect(address) as client:
        settings = await client.config_get("port", "maxmemory-policy", "appendonly", "appendfsync", "dir")
    assert settings == {
        "port": "0",
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "dir": str(tmp_path / "valkey"),
    }
    inodes = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    listening = [
        line for line in Path("/proc/net/tcp").read_text().splitlines() if f"socket:[{line.split()[9]}]" in inodes
    ]
    assert listening == []


async def test_stop_leaves_no_process_and_no_socket_and_what_was_written_is_kept(server: EmbeddedValkey) -> None:
    address = await server.start()
    pid = running_pid(server)
    await write(address, "kept", "yes")
    await server.stop()
    assert not alive(pid)
    assert not Path(address).exists()
    assert server.pid is None
    await server.stop()
    assert await read(await server.start(), "kept") == b"yes"


async def test_start_again_leaves_a_running_server_alone_and_restarts_a_dead_one(server: EmbeddedValkey) -> None:
    address = await server.start()
    pid = running_pid(server)
    assert (await server.start(), server.pid) == (address, pid)
    await write(address, "kept", "yes")
    os.kill(pid, signal.SIGKILL)
    while server.pid is not None:
        await asyncio.sleep(0.01)
    assert await read(await server.start(), "kept") == b"yes"
    assert running_pid(server) != pid


async def test_the_next_node_takes_over_the_server_of_a_killed_one(tmp_path: Path) -> None:
    # C01
    left = node_killed_with_its_server_running(tmp_path)
    assert alive(left)
    server = EmbeddedValkey(tmp_path)
    address = await server.start()
    assert server.pid == left
    assert await read(address, "left") == b"behind"
    await server.stop()
    assert not alive(left)


async def test_a_server_left_behind_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # C01
    monkeypatch.setattr(valkey, "ANSWER_LIMIT_S", 0.2)
    left = node_killed_with_its_server_running(tmp_path)
    os.kill(left, signal.SIGSTOP)
    server = EmbeddedValkey(tmp_path)
    address = await server.start()
    assert not alive(left)
    assert await read(address, "left") == b"behind"
    await server.stop()


async def test_a_stopped_server_that_hangs_is_killed(server: EmbeddedValkey, tmp_path: Path) -> None:
    hasty = EmbeddedValkey(tmp_path / "hasty", stop_limit_s=0.1)
    await hasty.start()
    pid = running_pid(hasty)
    os.kill(pid, signal.SIGSTOP)
    await hasty.stop()
    assert not alive(pid)


async def test_one_node_at_a_time_has_the_folder(server: EmbeddedValkey, tmp_path: Path) -> None:
    # C01
    address = await server.start()
    second = EmbeddedValkey(tmp_path / "valkey")
    with pytest.raises(EmbeddedValkeyError, match="another node"):
        await second.start()
    await second.stop()
    await write(address, "still", "here")
    await server.stop()
    await second.start()
    await second.stop()


async def test_a_long_data_path_gets_a_private_short_socket(tmp_path: Path, short_folder: Path) -> None:
    long = EmbeddedValkey(tmp_path / ("long" * 25) / "valkey")
    address = await long.start()
    assert Path(address).parent.parent == short_folder
    assert len(address) <= valkey.MAX_SOCKET_PATH_BYTES
    assert stat.S_IMODE(Path(address).parent.stat().st_mode) == 0o700
    await long.stop()
    assert not Path(address).parent.exists()


@pytest.mark.parametrize("prepare", ["link", "open", "other"])
async def test_a_short_folder_that_another_could_have_made_is_refused(
    tmp_path: Path, short_folder: Path, prepare: str
) -> None:
    long = EmbeddedValkey(tmp_path / ("long" * 25) / "valkey")
    trap = Path(await long.start()).parent
    await long.stop()
    if prepare == "link":
        (short_folder / "elsewhere").mkdir(mode=0o700)
        trap.symlink_to(short_folder / "elsewhere")
    elif prepare == "open":
        trap.mkdir()
        trap.chmod(0o755)
    elif os.geteuid() == 0:
        trap.mkdir(mode=0o700)
        os.chown(trap, 65534, 65534)
    else:
        pytest.skip("only root can give a folder away")
    with pytest.raises(EmbeddedValkeyError, match="private"):
        await long.start()


async def test_a_path_with_spaces_quotes_and_accents(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / 'données d\'essai "1"')
    await write(await server.start(), "a", "b")
    await server.stop()


async def test_a_damaged_append_only_file_never_keeps_the_node_down(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await write(await server.start(), "a", "b")
    await server.stop()
    (journal,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    journal.write_bytes(b"garbage\n" * 100)
    assert await read(await server.start(), "a") is None
    assert (tmp_path / "appendonlydir.damaged" / journal.name).read_bytes().startswith(b"garbage")
    await server.stop()


async def test_it_has_started_once_its_data_is_there(tmp_path: Path) -> None:
    # C01
    server = EmbeddedValkey(tmp_path)
    await server.start()
    await server.stop()
    (journal,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    with journal.open("ab") as entries:
        for n in range(200_000):
            entries.write(b"*3\r\n$3\r\nSET\r\n$6\r\n%06d\r\n$1\r\nx\r\n" % n)
    assert await read(await server.start(), "199999") == b"x"
    await server.stop()


async def test_a_server_that_cannot_start_is_a_declared_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedValkeyError, match="ended at once"):
        await EmbeddedValkey(tmp_path / "a", binary=Path("/bin/false")).start()
    with pytest.raises(EmbeddedValkeyError, match="did not start"):
        await EmbeddedValkey(tmp_path / "b", binary=Path("/nonexistent")).start()
    sleeper = tmp_path / "sleeper"
    sleeper.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    sleeper.chmod(0o755)
    with pytest.raises(EmbeddedValkeyError, match="did not start"):
        await EmbeddedValkey(tmp_path / "c", binary=sleeper, start_limit_s=0.5).start()
    assert not alive(int((tmp_path / "pid").read_text()))


async def cancelled_after(steps: int, act: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Run a coroutine and cancel it after some turns of the loop; return whether that was in time."""
    task = asyncio.create_task(act())
    for _ in range(steps):
        await asyncio.sleep(0)
        if task.done():
            break
    task.cancel()
    return isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)


@pytest.mark.parametrize("steps", [*range(8), 30, 100, 300])
async def test_start_and_stop_cancelled_anywhere_leave_nothing(tmp_path: Path, steps: int) -> None:
    server = EmbeddedValkey(tmp_path)
    if await cancelled_after(steps, server.start):
        assert server.pid is None
    await server.start()
    pid = running_pid(server)
    if await cancelled_after(steps, server.stop) and steps == 0:
        await server.stop()
    assert not alive(pid)
    assert not (tmp_path / "valkey.sock").exists()


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_connect_speaks_to_a_server_on_tcp(tmp_path: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(valkey.find_binary()), "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen([*command, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        async with connect(f"{scheme}://127.0.0.1:{port}/0") as client:
            for _ in range(500):
                try:
                    await client.set("a", "b")
                    break
                except redis.exceptions.ConnectionError:
                    await asyncio.sleep(0.02)
            assert await client.get("a") == b"b"
    finally:
        server.kill()
        server.wait()


async def test_connect_gives_up_in_time_on_a_server_that_hangs(server: EmbeddedValkey) -> None:
    address = await server.start()
    os.kill(running_pid(server), signal.SIGSTOP)
    async with connect(f"unix://{address}", time_limit_s=0.2) as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises((redis.exceptions.TimeoutError, redis.exceptions.ConnectionError), match="Timeout"):
            await client.get("a")
        assert asyncio.get_running_loop().time() - started < 2
    os.kill(running_pid(server), signal.SIGCONT)


def test_an_unknown_address_is_refused() -> None:
    with pytest.raises(ValueError, match="scheme"):
        connect("http://127.0.0.1/")
