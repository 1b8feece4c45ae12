"""The media of one session of a simulated camera by UDP: what is written as ``$`` frames leaves as datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from halfgateway.net.datagrams import DatagramPair, open_pair
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES

_LARGEST_REPORT_BYTES: Final = 2048
_REPORTS_AT_ONCE: Final = 16


class DatagramWire:
    """Two ports for each track, on ``own_host``, to a client at ``client_host``; ``heard`` is told of its reports."""

    def __init__(self, own_host: str, client_host: str, heard: Callable[[], None]) -> None:
        self.own_host = own_host
        self._client_host = client_host
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._pairs: list[DatagramPair] = []
        self._sockets: dict[int, socket.socket] = {}

    def add(self, channel: int, client_ports: tuple[int, int]) -> tuple[int, int]:
        """Send what is written on ``channel`` and the next to these ports; the camera's own. Raises OSError."""
        pair = open_pair(self.own_host)
        try:
            pair.connect(self._client_host, client_ports)
        except OSError:
            pair.close()
            raise
        self._pairs.append(pair)
        self._loop.add_reader(pair.rtcp, self._hear, pair.rtcp)
        self._sockets |= {channel: pair.rtp, channel + 1: pair.rtcp}
        return pair.ports

    def write(self, data: bytes) -> None:
        """Send a run of frames, each as one datagram. What the kernel does not take is lost, as on any camera."""
        view = memoryview(data)
        start = 0
        while start < len(data):
            end = start + FRAME_HEADER_BYTES + (data[start + 2] << 8 | data[start + 3])
            with contextlib.suppress(OSError):
                self._sockets[data[start + 1]].send(view[start + FRAME_HEADER_BYTES : end])
            start = end

    def get_write_buffer_size(self) -> int:
        """Nothing ever waits."""
        return 0

    def close(self) -> None:
        """Send and hear nothing more."""
        for pair in self._pairs:
            self._loop.remove_reader(pair.rtcp)
            pair.close()
        self._pairs.clear()
        self._sockets.clear()

    def _hear(self, rtcp: socket.socket) -> None:
        with contextlib.suppress(OSError):  # nothing more waits, or nobody hears what was sent
            for _ in range(_REPORTS_AT_ONCE):
                rtcp.recv(_LARGEST_REPORT_BYTES)
                self._heard()
