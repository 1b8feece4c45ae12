"""Everything between a UDP camera and us passes here, and some of it does not pass."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from halfgateway.net.datagrams import DatagramPair, open_pair
from halfgateway.protocol.rtcp import RtcpPacket, parse_compound
from halfgateway.protocol.uri import RtspUri
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.upstream.client import Target
from tests.upstream.line import target_of

HOST = "127.0.0.1"
_PORTS = re.compile(rb"(client_port|server_port)=(\d+)-(\d+)")


class Detour:
    """A relay of RTSP and of the datagrams that it arranges.

    ``fault`` says what becomes of each RTP packet of the camera; ``swallows`` which requests never arrive.
    ``punches`` is every datagram that we sent from our RTP port, ``told`` every packet of our reports.
    """

    def __init__(self, camera: SimulatedCamera) -> None:
        self.fault: Callable[[bytes], list[bytes]] = lambda packet: [packet]
        self.swallows: Callable[[bytes], bool] = lambda request: False
        self.swallowed: list[bytes] = []
        self.punches: list[bytes] = []
        self.told: list[RtcpPacket] = []
        self.port = 0
        self._camera_port = RtspUri.parse(camera.rtsp_url).port
        self._target = target_of(camera)

    @property
    def target(self) -> Target:
        """The camera, by way of this."""
        return replace(self._target, url=self._target.url.replace(f":{self._camera_port}/", f":{self.port}/"))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_camera, to_camera = await asyncio.open_connection(HOST, self._camera_port)
        path = _Path(self)
        answers = asyncio.ensure_future(self._pass_on(from_camera, writer, path, path.near))
        try:
            await self._pass_on(reader, to_camera, path, path.far)
        finally:
            to_camera.transport.abort()
            await answers
            path.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: _Path, stand_in: DatagramPair
    ) -> None:
        """What one side says, with ports of ours in the place of its own."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if stand_in is path.far and self.swallows(data):
                    self.swallowed.append(data)
                    continue
                writer.write(_PORTS.sub(lambda found: path.redirected(found, stand_in), data))
        writer.transport.abort()


class _Path:
    """The datagrams of one connection: ``near`` stands for the camera, ``far`` for us."""

    def __init__(self, detour: Detour) -> None:
        self._detour = detour
        self.near, self.far = open_pair(HOST), open_pair(HOST)
        loop = asyncio.get_running_loop()
        loop.add_reader(self.far.rtp, self._pass_on, self.far.rtp, self.near.rtp, self._spoil)
        loop.add_reader(self.far.rtcp, self._pass_on, self.far.rtcp, self.near.rtcp, lambda data: [data])
        loop.add_reader(self.near.rtp, self._pass_on, self.near.rtp, self.far.rtp, self._note_punch)
        loop.add_reader(self.near.rtcp, self._pass_on, self.near.rtcp, self.far.rtcp, self._note_report)

    def redirected(self, found: re.Match[bytes], stand_in: DatagramPair) -> bytes:
        """A side's ports, replaced by those that stand for it; it is sent to from the other pair."""
        if (found[1] == b"client_port") != (stand_in is self.far):
            return found[0]  # an echo of what the other side named
        other = self.near if stand_in is self.far else self.far
        other.connect(HOST, (int(found[2]), int(found[3])))
        return found[1] + b"=%d-%d" % stand_in.ports

    def close(self) -> None:
        for pair in (self.near, self.far):
            for sock in (pair.rtp, pair.rtcp):
                asyncio.get_running_loop().remove_reader(sock)
            pair.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket, fate: Callable[[bytes], list[bytes]]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                for each in fate(data):
                    sink.send(each)

    def _spoil(self, packet: bytes) -> list[bytes]:
        return self._detour.fault(packet)

    def _note_punch(self, data: bytes) -> list[bytes]:
        self._detour.punches.append(data)
        return [data]

    def _note_report(self, data: bytes) -> list[bytes]:
        self._detour.told += parse_compound(data)
        return [data]


@asynccontextmanager
async def detour_to(camera: SimulatedCamera) -> AsyncIterator[Detour]:
    detour = Detour(camera)
    server = await asyncio.start_server(detour.serve, HOST, 0)
    detour.port = server.sockets[0].getsockname()[1]
    try:
        yield detour
    finally:
        server.close()
        await server.wait_closed()
