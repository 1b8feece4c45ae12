"""A real PostgreSQL for the tests of this process: started when first asked for, gone when the process is."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian keeps them, the newest version last; none where it is not installed."""

_SWIFT = "-c fsync=off -c full_page_writes=off -c autovacuum=off"
"""What is kept need not outlive a crash."""


class PostgresqlServer:
    """A server of its own on a free loopback port, run by an unprivileged account: ``initdb`` refuses root."""

    def __init__(self) -> None:
        self._binaries = BINARIES[-1]
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._user = None
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._user = account.pw_uid
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def start(self) -> None:
        """Return once it answers."""
        data, log = self._folder / "data", self._folder / "log"
        self._run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
        options = f"-h 127.0.0.1 -p {self._port} -k {self._folder} {_SWIFT}"
        self._run("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop it, and leave nothing behind."""
        self._run("pg_ctl", "-D", self._folder / "data", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"

    def create(self, name: str, *, template: str = "template1") -> None:
        """Make a database, as another is to which nobody is connected."""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")

    def drop(self, *names: str) -> None:
        self.execute(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names))

    @contextlib.contextmanager
    def out_of_reach(self, name: str) -> Iterator[None]:
        """Whoever is connected is thrown out, and nobody comes in."""
        self.execute(
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
        try:
            yield
        finally:
            self.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and requests, and answers nothing."""
        process = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        processes = [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]
        for each in processes:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in processes:
                os.kill(each, signal.SIGCONT)

    def execute(self, *statements: str) -> None:
        """Run statements, each by itself, beside all databases of the tests."""
        commands = [argument for statement in statements for argument in ("-c", statement)]
        self._run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url("postgres"), *commands)

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._binaries / program, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            user=self._user,
        )


@functools.cache
def postgresql() -> PostgresqlServer:
    """The one that serves all tests of this process."""
    server = PostgresqlServer()
    atexit.register(server.stop)
    server.start()
    return server
