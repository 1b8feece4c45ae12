"""haproxy as a site runs it, by the very file that the examples give, before two nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.nodes import START_LIMIT_S, Estate, Process, Ready, ServedNode
from tests.e2e.watching import Watcher
from tests.raw_player import Credentials, RawPlayer

CONFIGURATION = Path(__file__).parents[2] / "examples" / "balancer" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
REACHES_NODES_FROM = "127.0.0.1"
"""Whatever loopback address a node has, Linux comes to it from this one."""

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="apt: haproxy; make test installs it")


def addresses() -> list[str]:
    """The balancer's and two nodes' addresses on the loopback: this process's own, for their ports are fixed."""
    number = os.getpid() % 0x4000
    return [f"127.{64 + number // 256}.{number % 256}.{host}" for host in (1, 2, 3)]


class Balancer(Process):
    """A running haproxy, to be asked like a node."""

    def __init__(self, shared: Estate, listen: str, node_a: str, node_b: str) -> None:
        assert HAPROXY is not None
        self.estate = shared
        environment = [f"LISTEN={listen}", f"NODE_A={node_a}", f"NODE_B={node_b}"]
        command = ["/usr/bin/env", *environment, HAPROXY, "-db", "-f", str(CONFIGURATION)]
        super().__init__(command, shared.folder / "balancer.log")
        self.host = listen
        self.ready = Ready("", f"https://{listen}:8443", "", f"rtsps://{listen}:8322")

    def start(self) -> None:
        self.spawn()
        deadline = time.monotonic() + START_LIMIT_S
        while not self._listens():
            assert self.runs, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, 8443)):
            return True
        return False

    def trust(self, *, card: bool) -> ssl.SSLContext:
        """What a client believes; with the machine's card, what it shows."""
        tls = ssl.create_default_context(cafile=str(self.estate.authority.certificate_path))
        if card:
            shown = self.estate.machine_card
            tls.load_cert_chain(shown.certificate_path, shown.key_path)
        return tls

    def watcher(self, credentials: Credentials, camera: str, source: str) -> Watcher:
        """A player that comes from ``source``, over TLS, with the machine's card."""
        return Watcher(
            self.host,
            8322,
            credentials,
            path=f"/live/{camera}",
            watch=self.estate.watch,
            tls=self.trust(card=True),
            source=source,
        )

    def player(self, credentials: Credentials, source: str) -> RawPlayer:
        """One with a small buffer of its own, that may be told to read nothing for a while."""
        tls = self.trust(card=True)
        return RawPlayer(self.host, 8322, credentials, receive_buffer_bytes=65_536, tls=tls, source=source)


@contextlib.contextmanager
def balanced_nodes(shared: Estate) -> Iterator[tuple[Balancer, list[ServedNode]]]:
    """Two nodes of this estate that take connections from the balancer, and the balancer; none is left running."""
    listen, *hosts = addresses()
    ports = {"http_port": 8080, "https_port": 8443, "rtsps_port": 8322, "full_api_on_http": False}
    public = {"proxies": [REACHES_NODES_FROM], "public_rtsps": f"rtsps://{listen}:8322"}
    nodes = [
        shared.node(name, listen={"host": host, **ports, **public}) for name, host in zip("ab", hosts, strict=True)
    ]
    balancer = Balancer(shared, listen, *hosts)
    try:
        yield balancer, nodes
    finally:
        for process in (balancer, *nodes):
            process.kill()
