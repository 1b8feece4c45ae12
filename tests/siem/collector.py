"""A real collector: rsyslog with its GnuTLS driver, which takes TLS from certified clients alone and writes a file."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auth.demo_authority import DemoAuthority
from halfgateway.siem.link import Collector
from tests.e2e.cluster import until
from tests.e2e.nodes import Process

_CONFIGURATION = """\
global(workDirectory="{folder}" net.enableDNS="off" maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{authority}" defaultNetstreamDriverCertFile="{certificate}"
  defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="parsed" type="string" string="%pri% %hostname% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{received}" template="parsed")
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Rsyslog:
    """One collector and its authority, in a folder. ``received`` is what it has written, parsed by its own rules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.authority = DemoAuthority.open(folder / "ca", datetime.now(UTC))
        self._file = folder / "received"
        now = datetime.now(UTC)
        server, client = self.authority.server(now), self.authority.client("node-1", now)
        self.address = Collector(
            "127.0.0.1",
            self.port,
            "localhost",
            self.authority.certificate_path,
            client.certificate_path,
            client.key_path,
        )
        configuration = folder / "rsyslog.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                authority=self.authority.certificate_path,
                certificate=server.certificate_path,
                key=server.key_path,
                port=self.port,
                received=self._file,
            )
        )
        program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin")
        assert program is not None, "tests/install-peers installs it"
        command = [program, "-n", "-f", str(configuration), "-i", str(folder / "pid")]
        self.process = Process(command, folder / "log")

    async def start(self) -> None:
        self.process.spawn()

        async def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        await until(listens)

    @property
    def received(self) -> list[tuple[str, dict[str, Any]]]:
        """Each whole line: what comes before the event, and the event."""
        text = self._file.read_text() if self._file.exists() else ""
        lines = [line.partition("{") for line in text.split("\n")[:-1] if "{" in line]
        return [(head.strip(), json.loads(brace + rest)) for head, brace, rest in lines]

    def numbers(self) -> list[int]:
        return [event["metadata"]["sequence"] for _, event in self.received]


@contextlib.asynccontextmanager
async def running_collector(folder: Path) -> AsyncIterator[Rsyslog]:
    folder.mkdir()
    collector = Rsyslog(folder)
    await collector.start()
    try:
        yield collector
    finally:
        collector.process.kill()


def in_order(numbers: list[int]) -> bool:
    """Whether each number first comes after all before it: duplicates are allowed, gaps and disorder are not."""
    next_ = 0
    for number in numbers:
        if number > next_:
            return False
        next_ = max(next_, number + 1)
    return True


async def eventually(holds: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return holds()

    await until(asked)
