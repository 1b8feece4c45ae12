"""A reader that costs next to nothing: it counts packets, finds gaps, and notes when each frame was whole."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

from halfgateway.protocol import digest
from tests.bench.frames import MARK, NUMBER_DIGITS

ANSWER_LIMIT_S: Final = 20.0
BUFFER_BYTES: Final = 1 << 20
SLOW_BUFFER_BYTES: Final = 64 * 1024
"""A slow reader's kernel buffer."""

SLOW_READ_BYTES: Final = 4096

_RTP: Final = 12
_HEADER: Final = 4
_SEI: Final = 6
_IDR: Final = 5
_FRAGMENT: Final = 28


@dataclass(frozen=True, slots=True)
class Target:
    """What to play: the URL without credentials; over TLS with these PEM files; ``slow_bps``: no faster than that.

    ``begins`` is the ``Range`` of a recording, whose pictures bear no numbers.
    """

    url: str
    camera: int
    username: str = ""
    password: str = field(default="", repr=False)
    tls: Mapping[str, str] | None = None
    slow_bps: float | None = None
    begins: str | None = None


@dataclass(slots=True)
class Seen:
    """What has come since it was last asked; ``frames``: number, arrival of the last packet, RTP timestamp, if key."""

    packets: int = 0
    pictures: int = 0
    lost: int = 0
    gaps: int = 0
    gaps_off_key: int = 0
    bytes: int = 0
    frames: list[tuple[int, float, int, bool]] = field(default_factory=list)


class ReaderError(RuntimeError):
    """The server has not done what was asked of it."""


class Reader(asyncio.BufferedProtocol):
    """One connection, one session."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.seen = Seen()
        self.play_asked_s = 0.0
        self.first_key_s: float | None = None
        self.first_key = asyncio.Event()
        self.last_byte_s = 0.0
        self.total_bytes = 0
        self.closed = asyncio.Event()
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._end = 0
        self._cseq = 0
        self._answer: asyncio.Future[tuple[int, dict[str, str]]] | None = None
        self._challenge: digest.Challenge | None = None
        self._session = ""
        self._sequence = -1
        self._number = -1
        self._frame_is_key = False
        self._after_gap = False
        self._in_passage = False

    async def connect(self) -> None:
        """Open the connection. Raises OSError."""
        address = urlsplit(self.target.url)
        assert address.hostname is not None
        assert address.port is not None
        sock = socket.socket()
        sock.setblocking(False)
        if self.target.slow_bps is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, (address.hostname, address.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = None if self.target.tls is None else _context(self.target.tls)
            await loop.create_connection(
                lambda: self, sock=sock, ssl=context, server_hostname=address.hostname if context else None
            )
        except BaseException:
            sock.close()
            raise

    async def set_up(self) -> None:
        """DESCRIBE and SETUP. Raises ReaderError."""
        url = self.target.url
        await self._ask("DESCRIBE", url, {"Accept": "application/sdp"})
        headers = await self._ask("SETUP", self._track, {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
        self._session = headers["session"].partition(";")[0]

    async def play(self) -> None:
        """PLAY; the clock of joining starts here. Raises ReaderError."""
        if self.target.begins is not None:
            await self.seek(self.target.begins)
            return
        self.play_asked_s = time.monotonic()
        await self._ask("PLAY", self.target.url, {"Session": self._session})

    async def seek(self, begins: str) -> None:
        """PLAY of a recording, from elsewhere: a first key frame comes behind its answer. Raises ReaderError."""
        self._in_passage = False
        self.first_key_s = None
        self.first_key.clear()
        self.play_asked_s = time.monotonic()
        await self._ask("PLAY", self.target.url, {"Session": self._session, "Range": begins})

    async def keep_alive(self) -> None:
        """A sign of life. Raises ReaderError."""
        await self._ask("GET_PARAMETER", self.target.url, {"Session": self._session})

    async def tear_down(self) -> None:
        """TEARDOWN and close. Raises ReaderError."""
        await self._ask("TEARDOWN", self.target.url, {"Session": self._session})
        self.abort()

    def abort(self) -> None:
        """Close without a word."""
        self._transport.abort()

    def take_seen(self) -> Seen:
        """What has come since the last call."""
        seen, self.seen = self.seen, Seen()
        return seen

    @property
    def is_slow(self) -> bool:
        """Whether it reads no faster than it was told."""
        return self.target.slow_bps is not None

    @property
    def local_port(self) -> int:
        """Its own port, by which the kernel's tables know the connection."""
        return cast(int, self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ReaderError("the server has closed the connection"))

    def get_buffer(self, sizehint: int) -> memoryview:
        limit = SLOW_READ_BYTES if self.is_slow else BUFFER_BYTES
        return self._view[self._end : self._end + limit]

    def buffer_updated(self, nbytes: int) -> None:
        now = time.monotonic()
        self.last_byte_s = now
        self.total_bytes += nbytes
        self.seen.bytes += nbytes
        end = self._end + nbytes
        taken = self._take(end, now)
        if taken:
            self._buffer[: end - taken] = self._buffer[taken:end]
        self._end = end - taken
        if self.target.slow_bps is not None:
            self._transport.pause_reading()
            loop = asyncio.get_running_loop()
            loop.call_later(nbytes * 8 / self.target.slow_bps, self._read_on)

    def eof_received(self) -> bool:
        return False

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _take(self, end: int, now: float) -> int:
        """Walk whole packets and answers; how many bytes they were."""
        buffer, position = self._buffer, 0
        while end - position >= _HEADER:
            if buffer[position] != 0x24:
                message_end = self._take_answer(position, end)
                if message_end == position:
                    break
                position = message_end
                continue
            after = position + _HEADER + (buffer[position + 2] << 8 | buffer[position + 3])
            if after > end:
                break
            if buffer[position + 1] == 0:
                self._take_packet(position + _HEADER, after, now)
            position = after
        return position

    def _take_packet(self, rtp: int, after: int, now: float) -> None:
        buffer, seen = self._buffer, self.seen
        sequence = buffer[rtp + 2] << 8 | buffer[rtp + 3]
        seen.packets += 1
        if sequence != self._sequence and self._sequence >= 0:
            seen.lost += (sequence - self._sequence) & 0xFFFF
            seen.gaps += 1
            self._after_gap = True
            self._number = -1
        self._sequence = (sequence + 1) & 0xFFFF
        kind = buffer[rtp + _RTP] & 0x1F
        if kind == _SEI and buffer[rtp + 15 : rtp + 31] == MARK:
            self._number = int(buffer[rtp + 31 : rtp + 31 + NUMBER_DIGITS], 16)
        elif kind == _IDR or (kind == _FRAGMENT and buffer[rtp + 13] & 0x1F == _IDR):
            self._frame_is_key = True
        if buffer[rtp + 1] & 0x80:
            self._end_frame(int.from_bytes(buffer[rtp + 4 : rtp + 8], "big"), now)

    def _end_frame(self, timestamp: int, now: float) -> None:
        key, self._frame_is_key = self._frame_is_key, False
        self.seen.pictures += 1
        if self._after_gap:
            self._after_gap = False
            self.seen.gaps_off_key += not key
        if self._number >= 0:
            self.seen.frames.append((self._number, now, timestamp, key))
            self._number = -1
        elif not self._in_passage:
            return
        if key and self.first_key_s is None:
            self.first_key_s = now
            self.first_key.set()

    def _take_answer(self, position: int, end: int) -> int:
        head_end = self._buffer.find(b"\r\n\r\n", position, end)
        if head_end < 0:
            return position
        status_line, *lines = self._buffer[position:head_end].decode().split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            headers[name] = headers[name] + ", " + value.strip() if name in headers else value.strip()
        after = head_end + 4 + int(headers.get("content-length", "0"))
        if after > end:
            return position
        self._in_passage |= self.target.begins is not None and "rtp-info" in headers
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(status_line.split(" ")[1]), headers))
        return after

    @property
    def _track(self) -> str:
        # gst-rtsp-server's name of its first stream; ours and the camera's
        return self.target.url + ("/stream=0" if self.target.url.rpartition("/")[2].isdigit() else "/trackID=0")

    async def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        status, answer = await self._exchange(method, url, headers)
        if status == 401 and self.target.username:
            self._challenge = digest.best(digest.parse_challenges([answer["www-authenticate"]]))
            status, answer = await self._exchange(method, url, headers)
        if status != 200:
            raise ReaderError(f"{method} {url}: {status} {answer.get('x-refusal', '')}")
        return answer

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        self._cseq += 1
        lines: dict[str, Any] = {"CSeq": self._cseq, **headers}
        if self._challenge is not None:
            lines["Authorization"] = digest.authorise(
                self._challenge,
                self.target.username,
                self.target.password,
                method,
                url,
                nonce_count=self._cseq,
                cnonce=secrets.token_hex(8),
            )
        text = "\r\n".join([f"{method} {url} RTSP/1.0", *(f"{k}: {v}" for k, v in lines.items()), "", ""])
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(text.encode())
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await self._answer


def _context(files: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files["authority"])
    context.load_cert_chain(files["certificate"], files["key"])
    return context
