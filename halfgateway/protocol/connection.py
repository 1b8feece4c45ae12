"""One RTSP connection without its socket: bytes in, requests, responses and interleaved frames out.

RTSP text and ``$`` frames share a TCP connection (RFC 2326 section 10.12). Frames are the hot path: a chunk
is walked once, from header to header, and the whole frames leave in one piece, copied once.
"""

from __future__ import annotations

import enum
import re
from dataclasses import replace
from typing import Final, TypeAlias

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, FRAME_MARK, Bytes, InterleavedBatch
from halfgateway.protocol.messages import Request, Response
from halfgateway.protocol.wire import (
    MAX_HEAD_BYTES,
    MAX_REQUEST_BODY_BYTES,
    MAX_RESPONSE_BODY_BYTES,
    MAX_START_LINE_BYTES,
    body_size,
    read_request,
    read_response,
)

#: Bytes that may wait here: the largest message and a few chunks. More means that the caller feeds without
#: taking events, which is its bug.
MAX_WAITING_BYTES: Final = MAX_HEAD_BYTES + MAX_RESPONSE_BODY_BYTES + 1024 * 1024

#: Frames that are believed after rubbish: cameras number their channels from 0, two a track ...
RESYNC_MAX_CHANNEL: Final = 19
#: ... and a packet on a channel not seen before fits an Ethernet frame. Both are go2rtc's numbers.
RESYNC_MAX_FRAME_BYTES: Final = 1500
#: Starts tried since the last two frames that followed each other. Past it the camera is given up.
RESYNC_MAX_TRIES: Final = 10
#: Bytes skipped since then: two full frames. Past it the camera is given up.
RESYNC_MAX_SKIPPED_BYTES: Final = 128 * 1024

_HEAD_END = re.compile(rb"\n\r?\n")
_BLANK_LINES = re.compile(rb"[\r\n]+")
_METHOD_START = re.compile(rb"[!#%&'*+.^_`|~0-9A-Za-z-]{1,32}(?:\Z| )")
#: What a server may ask its client (RFC 2326 section 10, and PLAY_NOTIFY of RFC 7826). A client knows the
#: words, so that rubbish is not taken for a method.
_SERVER_METHODS = tuple(
    f"{method} ".encode()
    for method in (
        "OPTIONS",
        "ANNOUNCE",
        "GET_PARAMETER",
        "SET_PARAMETER",
        "PAUSE",
        "REDIRECT",
        "TEARDOWN",
        "PLAY_NOTIFY",
    )
)
_CSEQ = re.compile(rb"\ncseq[ \t]*:[ \t]*(?P<number>[0-9]{1,10})[ \t]*\r?(?:\n|\Z)", re.IGNORECASE)
_RESPONSE_MARK = b"RTSP/"
_POSSIBLE_START = re.compile(rb"\$|R(?:\Z|T(?:\Z|S(?:\Z|P(?:\Z|/))))")


class Role(enum.Enum):
    """Which side of the connection we are."""

    SERVER = "server"
    CLIENT = "client"


class Pause(enum.Enum):
    """What ``next_event`` answers when there is no event."""

    NEED_DATA = "need data"


NEED_DATA: Final = Pause.NEED_DATA


Event: TypeAlias = Request | Response | InterleavedBatch


class Connection:
    """The reading half of one RTSP connection.

    Feed ``receive_data`` and take ``next_event`` until it answers ``NEED_DATA``. After a declared error
    every further call of ``next_event`` raises it again: nobody can tell where the next message begins.
    """

    def __init__(self, role: Role, *, lenient_resync: bool = False) -> None:
        """``lenient_resync`` (clients only) looks for the next frame or response after a camera's rubbish."""
        if lenient_resync and role is Role.SERVER:
            raise LocalProtocolError("a server does not resynchronise: it answers 400")
        self._role = role
        self._lenient = lenient_resync
        self._buffer = bytearray()
        self._ready: InterleavedBatch | None = None
        self._head: Request | Response | None = None
        self._body_bytes = 0
        self._searched = 0
        self._starved = True
        self._failure: tuple[str, int] | None = None
        self._failed_cseq: str | None = None
        self._lost = False
        self._in_step = False
        self._tries = 0
        self._skipped_bytes = 0
        self._seen_channels: set[int] = set()

    def receive_data(self, data: Bytes) -> None:
        """Take bytes of the remote; ``data`` may be reused by the caller afterwards.

        Raises:
            LocalProtocolError: called again without taking the events.
        """
        if self._failure is not None:
            return
        if not self._starved and len(self._buffer) + len(data) > MAX_WAITING_BYTES:
            raise LocalProtocolError("take the events before giving more data")
        taken = self._take_frames(data) if self._starved and self._head is None and not self._lost else 0
        self._starved = False
        if taken < len(data):
            self._buffer += memoryview(data)[taken:]

    @property
    def failed_cseq(self) -> str | None:
        """The ``CSeq`` of the message that was refused, where it had one: the server's last answer carries it."""
        return self._failed_cseq

    def next_event(self) -> Event | Pause:
        """The next event, or ``NEED_DATA``.

        Raises:
            RemoteProtocolError: its ``status`` is the answer that a server gives before it closes.
        """
        if self._failure is not None:
            message, status = self._failure
            raise RemoteProtocolError(message, status=status)
        if self._ready is not None:
            batch, self._ready = self._ready, None
            return batch
        try:
            event = self._parse() if self._buffer or self._head is not None else None
        except RemoteProtocolError as error:
            self._failure = str(error), error.status
            self._buffer.clear()
            raise
        if event is not None:
            return event
        self._starved = True
        return NEED_DATA

    def _take_frames(self, data: Bytes) -> int:
        """Turn frames straight from the caller's bytes into the next event; answers how many bytes it took.

        The buffer holds nothing, or the beginning of the first frame.
        """
        kept = len(self._buffer)
        if kept:
            header = bytes(self._buffer[:FRAME_HEADER_BYTES]) + bytes(data[: max(0, FRAME_HEADER_BYTES - kept)])
            if header[0] != FRAME_MARK or len(header) < FRAME_HEADER_BYTES:
                return 0
            if FRAME_HEADER_BYTES + (header[2] << 8 | header[3]) > kept + len(data):
                return 0
            data = b"".join((self._buffer, data))
            self._buffer.clear()
        batch = InterleavedBatch(data)
        if batch.ends:
            self._ready = self._noted(batch)
        return len(batch.data) - kept

    def _noted(self, batch: InterleavedBatch) -> InterleavedBatch:
        if self._lenient:
            last = len(batch.ends) - 1
            self._seen_channels.update((batch.data[1], batch.data[batch.bounds(last)[0] + 1]))
            if self._in_step or last > 0:
                self._tries = self._skipped_bytes = 0
            self._in_step = True
        return batch

    def _parse(self) -> Event | None:
        buffer = self._buffer
        if self._head is not None:
            return self._take_body(self._head)
        if self._lost and not self._found_again():
            return None
        blank = _BLANK_LINES.match(buffer)
        if blank is not None:
            del buffer[: blank.end()]
        if not buffer:
            return None
        if buffer[0] == FRAME_MARK:
            return self._take_buffered_frames()
        if self._begins_message():
            return self._take_message()
        if not self._lenient:
            raise RemoteProtocolError("neither a message nor a frame begins here")
        self._lost, self._in_step = True, False
        return self._parse() if self._found_again() else None

    def _take_buffered_frames(self) -> InterleavedBatch | None:
        batch = InterleavedBatch(self._buffer)
        if not batch.ends:
            return None
        del self._buffer[: len(batch.data)]
        return self._noted(batch)

    def _begins_message(self) -> bool:
        buffer = self._buffer
        if self._role is Role.SERVER:
            return _METHOD_START.match(buffer) is not None
        starts = (_RESPONSE_MARK, *_SERVER_METHODS)
        return any(buffer.startswith(start[: len(buffer)]) for start in starts)

    def _take_message(self) -> Request | Response | None:
        buffer = self._buffer
        end = _HEAD_END.search(buffer, self._searched)
        size = end.end() if end else len(buffer)
        if buffer.find(b"\n", 0, MAX_START_LINE_BYTES + 2) < 0 and size > MAX_START_LINE_BYTES + 2:
            raise RemoteProtocolError("the start line is too long", status=414)
        if size > MAX_HEAD_BYTES:
            raise RemoteProtocolError(f"the head is larger than {MAX_HEAD_BYTES} bytes")
        if end is None:
            self._searched = max(0, size - 2)
            return None
        raw = bytes(memoryview(buffer)[: end.start()]).removesuffix(b"\r")
        del buffer[:size]
        self._searched = 0
        try:
            head = self._read_head(raw)
        except RemoteProtocolError:
            cseq = _CSEQ.search(raw)
            self._failed_cseq = cseq["number"].decode("ascii") if cseq else None
            raise
        return self._take_body(head)

    def _read_head(self, raw: bytes) -> Request | Response:
        if self._role is Role.CLIENT and raw.startswith(_RESPONSE_MARK):
            answer = read_response(raw)
            self._body_bytes = body_size(answer.headers, MAX_RESPONSE_BODY_BYTES)
            return answer
        request = read_request(raw)
        self._body_bytes = body_size(request.headers, MAX_REQUEST_BODY_BYTES)
        return request

    def _take_body(self, head: Request | Response) -> Request | Response | None:
        if len(self._buffer) < self._body_bytes:
            self._head = head
            return None
        self._head = None
        self._tries = self._skipped_bytes = 0
        if not self._body_bytes:
            return head
        body = bytes(memoryview(self._buffer)[: self._body_bytes])
        del self._buffer[: self._body_bytes]
        return replace(head, body=body)

    def _found_again(self) -> bool:
        """Drop rubbish up to the next believable start; answers whether one is there.

        Raises:
            RemoteProtocolError: too many starts tried, or too many bytes skipped.
        """
        buffer = self._buffer
        while True:
            start = _POSSIBLE_START.search(buffer)
            position = start.start() if start else len(buffer)
            self._skipped_bytes += position
            del buffer[:position]
            if self._skipped_bytes > RESYNC_MAX_SKIPPED_BYTES or self._tries > RESYNC_MAX_TRIES:
                raise RemoteProtocolError("no frame or response was found again after rubbish")
            framed = buffer.startswith(b"$")
            if len(buffer) < (FRAME_HEADER_BYTES if framed else len(_RESPONSE_MARK)):
                return False
            if not framed or self._believable_frame():
                self._lost = False
                return True
            del buffer[0]
            self._skipped_bytes += 1

    def _believable_frame(self) -> bool:
        channel, size = self._buffer[1], self._buffer[2] << 8 | self._buffer[3]
        if channel > RESYNC_MAX_CHANNEL:
            return False
        self._tries += 1
        return size <= RESYNC_MAX_FRAME_BYTES or channel in self._seen_channels
