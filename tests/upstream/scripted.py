"""A camera that answers what a test says it answers: for the oddities that the simulator does not have."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from halfgateway.protocol.connection import Connection, Pause, Role
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.messages import Request, Response, response, serialise
from tests.relay.packets import IDR, frames, rtp

SDP = b"v=0\r\ns=-\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"


class ScriptedCamera:
    """Plays one key picture a packet, fifty a second, once it is asked to PLAY.

    ``script`` may answer a request instead of the camera (then its PLAY plays nothing); None lets the camera
    answer. ``asked`` is every request, ``answers`` every answer to the camera's own, ``heard`` every interleaved
    payload that came.
    """

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.heard: list[tuple[int, bytes]] = []
        self.answers: list[Response] = []
        self.script: Callable[[Request], Response | None] = lambda request: None
        self.channels = (0, 1)
        self.sdp = SDP
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._sent = 0
        self._players: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/stream"

    @property
    def connections(self) -> int:
        return len(self._writers)

    def methods(self) -> list[str]:
        return [request.method for request in self.asked]

    def send(self, *packets: tuple[int, bytes]) -> None:
        """Send packets on their channels to whoever is connected."""
        self.write(frames(*packets))

    def write(self, data: bytes) -> None:
        """Send bytes to whoever is connected."""
        for writer in self._writers:
            if not writer.is_closing():
                writer.write(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        parser = Connection(Role.SERVER)
        try:
            while data := await reader.read(65536):
                if data.startswith(b"RTSP/"):
                    self.answers += _answers(data)
                    continue
                parser.receive_data(data)
                while not isinstance(event := parser.next_event(), Pause):
                    if isinstance(event, Request):
                        self._answer(event, writer)
                    elif isinstance(event, InterleavedBatch):
                        self.heard += [(channel, event.data[start + 4 : end]) for channel, start, end in event.frames]
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.asked.append(request)
        scripted = self.script(request)
        answer = scripted or self._usual(request)
        answer.headers.set("CSeq", request.headers.get("CSeq") or "")
        writer.write(serialise(answer))
        if request.method == "PLAY" and scripted is None:
            self._start(writer)

    def _start(self, writer: asyncio.StreamWriter) -> None:
        playing = asyncio.ensure_future(self._play(writer))
        self._players.add(playing)
        playing.add_done_callback(self._players.discard)

    def _usual(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return response(200, Headers([("Public", "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")]))
        if request.method == "DESCRIBE":
            return response(200, Headers([("Content-Type", "application/sdp")]), self.sdp)
        headers = Headers([("Session", "1234;timeout=1")])
        if request.method == "SETUP":
            first, second = self.channels
            headers.set("Transport", f"RTP/AVP/TCP;unicast;interleaved={first}-{second}")
        return response(200, headers)

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            packet = rtp(self._sent & 0xFFFF, self._sent * 1800, IDR)
            self._sent += 1
            writer.write(frames((self.channels[0], packet)))
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        for playing in tuple(self._players):
            playing.cancel()
        await asyncio.gather(*self._players, return_exceptions=True)


Served = TypeVar("Served", bound=ScriptedCamera)


def _answers(data: bytes) -> list[Response]:
    parser = Connection(Role.CLIENT)
    parser.receive_data(data)
    found: list[Response] = []
    while isinstance(event := parser.next_event(), Response):
        found.append(event)
    return found


@asynccontextmanager
async def scripted_camera() -> AsyncIterator[ScriptedCamera]:
    async with serving(ScriptedCamera()) as camera:
        yield camera


@asynccontextmanager
async def serving(camera: Served) -> AsyncIterator[Served]:
    """The camera on a free port of this machine."""
    server = await asyncio.start_server(camera.serve, "127.0.0.1", 0)
    camera.port = server.sockets[0].getsockname()[1]
    try:
        yield camera
    finally:
        server.close()
        await camera.close()
        with contextlib.suppress(ConnectionError):
            await server.wait_closed()


def challenge(*values: str) -> Response:
    """A 401 with these challenges."""
    return response(401, Headers([("WWW-Authenticate", value) for value in values]))
