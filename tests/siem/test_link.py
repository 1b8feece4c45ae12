"""What the end of a session proves of a collector that does not wait for ours (S06)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auth.demo_authority import DemoAuthority
from halfgateway.siem.link import Collector, Link, LinkError


def read_to_its_end(peer: socket.socket, secured: ssl.SSLObject, incoming: ssl.MemoryBIO) -> int:
    """Read until the sender ends the session; how many bytes of messages."""
    count = 0
    while True:
        try:
            if not (message := secured.read()):
                return count
            count += len(message)
        except ssl.SSLWantReadError:
            incoming.write(peer.recv(65536))


@dataclass
class Peer:
    """A collector that ends its session as ``end`` does; ``read`` is how much it has read before."""

    address: Collector
    server: socket.socket
    tls: ssl.SSLContext
    end: str
    ended: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    read: int = 0

    def serve(self) -> None:
        """Take one connection."""
        peer, _ = self.server.accept()
        with peer:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secured = self.tls.wrap_bio(incoming, outgoing, server_side=True)
            self._shake(peer, secured, incoming, outgoing)
            if self.end == "after ours":
                self.ended.set()
                self.read = read_to_its_end(peer, secured, incoming)
            if self.end == "without a word":
                peer.shutdown(socket.SHUT_WR)
            else:
                self._say(peer, secured.unwrap, outgoing)
            self.ended.set()
            self.over.wait(10)

    def _shake(
        self, peer: socket.socket, secured: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        while not self._say(peer, secured.do_handshake, outgoing):
            incoming.write(peer.recv(65536))

    @staticmethod
    def _say(peer: socket.socket, step: Callable[[], object], outgoing: ssl.MemoryBIO) -> bool:
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        finally:
            peer.sendall(outgoing.read())
        return True


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Peer]:
    authority, now = DemoAuthority.open(tmp_path / "ca", datetime.now(UTC)), datetime.now(UTC)
    own, ours = authority.server(now), authority.client("node-1", now)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own.certificate_path, own.key_path)

    def make(end: str) -> Peer:
        server = socket.create_server(("127.0.0.1", 0))
        files = authority.certificate_path, ours.certificate_path, ours.key_path
        return Peer(Collector("127.0.0.1", server.getsockname()[1], "localhost", *files), server, tls, end)

    return make


@pytest.mark.parametrize("end", ["before ours", "without a word", "after ours"])
async def test_only_an_end_that_comes_after_ours_proves_anything(made: Callable[[str], Peer], end: str) -> None:
    # S06: one that stops in good order says goodbye first, takes what comes, and reads none of it
    peer = made(end)
    with peer.server:
        serving = asyncio.create_task(asyncio.to_thread(peer.serve))
        link = Link(peer.address)
        await asyncio.to_thread(link.open)
        assert await asyncio.to_thread(peer.ended.wait, 10)
        link.send(b"x" * 5000)
        if end == "after ours":
            await asyncio.to_thread(link.finish)
        else:
            with pytest.raises(LinkError, match="before we did"):
                await asyncio.to_thread(link.finish)
        peer.over.set()
        await serving
    assert peer.read == (5000 if end == "after ours" else 0)
