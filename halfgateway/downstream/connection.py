"""One RTSP connection: bytes to requests, requests to answers in order, media between them.

Everything that is written is a whole answer or whole interleaved frames, by one writer, so that an answer never
falls inside a frame (docs/conformance.md row 6).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from halfgateway.downstream.door import MODERN_TLS, Caller
from halfgateway.downstream.session import RtspSession, Silent
from halfgateway.errors import Refusal, RemoteProtocolError
from halfgateway.net import sockets
from halfgateway.net.balanced import BALANCED
from halfgateway.protocol.connection import NEED_DATA, Connection, Role
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import InterleavedBatch, frame
from halfgateway.protocol.messages import Request, Response, response, serialise
from halfgateway.protocol.transport import Pair

log = logging.getLogger(__name__)

TUNNELLED = "tunnelled"
"""The extra information by which a transport says that it goes through HTTP: who needs that gets no datagrams."""

MAX_PIPELINED_REQUESTS = 32
"""Requests read ahead of their answers. When full, reading pauses until half of them are answered."""

WRITE_HIGH_WATER_BYTES = 64 * 1024
"""What the event loop may hold unsent for one reader before its queue takes over."""

MAX_UNREAD_BYTES = 1024 * 1024
"""Answers and media that a client may leave unread. Readers stop at the high water, so past it are answers to a
client that asks and never reads: it is aborted."""

LAST_WORDS_S = 0.002
"""How long a goodbye over TLS has to reach the kernel: the loop hands it over at the end of a turn. Nothing else is
said meanwhile."""

HANG_UP_S = 0.25
"""How long a player over UDP has to hang up by itself once it has been told goodbye: no media goes by its connection.
GStreamer (1.22) that is reset while it takes its leave may never end."""

FIRST_REQUEST_TIMEOUT_S = 10.0
"""How long a stranger may take for its first authenticated request before it is closed (slow loris)."""

IDLE_TIMEOUT_S = 90.0
"""How long a connection without a session may go without a whole request or frame: single bytes of one that never
ends are no sign of life (slow loris, of one who has authenticated)."""


class Answerer(Protocol):
    """Turns one request of a connection into its answer."""

    async def answer(self, connection: RtspConnection, request: Request) -> Answer:
        """Never raises but for bugs: a refusal is an answer."""


class Answer:
    """A response, and what is to happen once it has been written."""

    def __init__(self, response: Response, after: Callable[[], None] | None = None) -> None:
        self.response = response
        self.after = after


class RtspConnection(asyncio.Protocol):
    """The server side of one connection. Also the sink of its sessions' readers."""

    def __init__(
        self,
        answerer: Answerer,
        *,
        now: Callable[[], float],
        on_open: Callable[[RtspConnection], bool],
        on_closed: Callable[[RtspConnection], None],
    ) -> None:
        self.now = now
        self.sessions: dict[str, RtspSession] = {}
        self.source = ""
        self.local = ""
        self.tunnelled = False
        self.balanced = False
        self.secure = False
        self.certificate: bytes | None = None
        self.tls_version = MODERN_TLS
        self.writable = True
        self.authenticated = False
        self.last_heard_s = now()
        self.opened_at_s = now()
        self._answerer = answerer
        self._on_open = on_open
        self._on_closed = on_closed
        self._framing = Connection(Role.SERVER)
        self._transport: asyncio.Transport | None = None
        self._requests: deque[Request | RemoteProtocolError] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._answering = ""
        self._parting: asyncio.Task[None] | None = None
        self._ended = False
        self._said_over_tls = False

    def caller(self, username: str) -> Caller:
        """This connection, speaking for ``username``."""
        return Caller(username, self.source, self.secure, self.certificate, self.tls_version)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        stream = cast(asyncio.Transport, transport)  # uvloop's transports are of no asyncio class
        self._transport = stream
        peer = transport.get_extra_info("peername") or ("",)
        self.source = str(peer[0])
        self.tunnelled = bool(transport.get_extra_info(TUNNELLED))
        self.balanced = bool(transport.get_extra_info(BALANCED))
        self.local = str((transport.get_extra_info("sockname") or ("",))[0])
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.secure = tls is not None
        if tls is not None:
            self.certificate = tls.getpeercert(binary_form=True)
            self.tls_version = tls.version() or ""
        sockets.tune_downstream(transport)
        stream.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        if not self._on_open(self):
            sockets.abort(stream)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._read(data)
        self._work()

    def _read(self, data: bytes) -> None:
        try:
            self._framing.receive_data(data)
            while (event := self._framing.next_event()) is not NEED_DATA:
                self.last_heard_s = self.now()
                if isinstance(event, Request):
                    self._requests.append(event)
                elif not isinstance(event, InterleavedBatch):
                    raise RemoteProtocolError("a client sends requests, not responses")
        except RemoteProtocolError as error:
            self._hear_no_more(error)

    def refuse(self, error: RemoteProtocolError) -> None:
        """Answer what cannot be read, after all that was asked before it, and close."""
        self._hear_no_more(error)
        self._work()

    def _hear_no_more(self, error: RemoteProtocolError) -> None:
        self._requests.append(error)
        if self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Answer what was asked before the end, then close. (TLS has no half-closed connection.)"""
        self._ended = True
        return self._worker is not None and not self.secure

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self.writable = False

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self.writable = True
        for session in tuple(self.sessions.values()):
            if session.reader is not None:
                session.reader.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`. A goodbye that came with the end is heard: ffmpeg says it and closes."""
        self.writable = False
        for session in self.sessions.values():
            session.close()
        if exc is not None and self._transport is not None and not self.secure:
            self._read(sockets.last_words(self._transport))
        goodbyes = [each for each in self._requests if isinstance(each, Request) and each.method == "TEARDOWN"]
        self._requests.clear()
        if self._worker is not None and self._answering != "TEARDOWN":
            self._worker.cancel()
        self._parting = asyncio.create_task(self._part(self._worker, goodbyes))
        self._parting.add_done_callback(self._abort_if_failed)

    async def _part(self, worker: asyncio.Task[None] | None, goodbyes: list[Request]) -> None:
        """Let the client give back what it said it gives back, and lose the rest."""
        try:
            if worker is not None:
                await asyncio.wait({worker})
            for request in goodbyes:
                await self._answerer.answer(self, request)
        finally:
            for session in self.drop_sessions():
                if session.seat is not None:
                    session.seat.lose()
            self._on_closed(self)

    def write(self, data: bytes) -> None:
        """Take whole interleaved frames, or a whole answer."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close once what was written has gone."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, by a reset: nothing that waits is still delivered."""
        if self._transport is not None:
            sockets.abort(self._transport)

    def abort_if_dead(self) -> None:
        """Abort where the peer is gone without a word: then its sessions are lost, and kept for their holder."""
        if self._transport is not None and sockets.is_dead(self._transport):
            log.info("connection.dead source=%s", self.source)
            self.abort()

    def is_superseded(self, session_id: str) -> bool:
        """Whether a PLAY of this session is being answered that another one, sent already, makes pointless."""
        following = self._requests[0] if self._requests else None
        if not isinstance(following, Request) or following.method != "PLAY" or following.headers.get("Range") is None:
            return False
        return (following.headers.get("Session") or "").partition(";")[0].strip() == session_id

    def free_channels(self, wanted: Pair | None) -> Pair:
        """The client's channel numbers, or others where it names none or they are taken (row 34)."""
        taken = {channel for session in self.sessions.values() for channel in session.channels or ()}
        if wanted is not None and wanted[0] != wanted[1] and not taken.intersection(wanted):
            return wanted
        return next((first, first + 1) for first in range(0, 256, 2) if not taken.intersection((first, first + 1)))

    def lose_silent_sessions(self, since_s: float) -> None:
        """Lose the readers over UDP of which nothing has been heard since then (monotonic seconds)."""
        for session in tuple(self.sessions.values()):
            if session.is_silent_since(since_s) and self.last_heard_s < since_s:
                if session.seat is not None:
                    session.seat.lose()
                self.end_session(session, Silent())

    def drop_sessions(self) -> tuple[RtspSession, ...]:
        """Take every session off this connection, and say which they were."""
        sessions = tuple(self.sessions.values())
        self.sessions.clear()
        return sessions

    def queued_bytes(self) -> tuple[int, int]:
        """What the event loop holds for this connection, and what the kernel does that is not acknowledged."""
        if self._transport is None or self._transport.is_closing():
            return 0, 0
        return self._transport.get_write_buffer_size(), sockets.unacknowledged_bytes(self._transport)

    def end_session(self, session: RtspSession, cause: Refusal) -> None:
        """End one session for good: BYE where it can still go at a frame boundary; abort, unless others remain."""
        if self.sessions.pop(session.id, None) is None or self._transport is None:
            return
        log.info("session.ended session=%s cause=%s", session.id[:8], cause.code)
        goodbye = session.goodbye()
        if session.channels is None:
            session.close(goodbye)
            if goodbye and not self.sessions:
                asyncio.get_running_loop().call_later(HANG_UP_S, self._abort_unless_used, self._transport)
                return
        elif goodbye and self.writable and self._transport.get_write_buffer_size() == 0:
            self._say_last(self._transport, frame(session.channels[1], goodbye))
        if not self.sessions:
            self._abort_after_last_words(self._transport)

    def _say_last(self, transport: asyncio.Transport, words: bytes) -> None:
        """Say it where nothing waits to be sent before it. The loop encrypts, and sends at the end of its turn."""
        if not self.secure:
            sockets.write_now(transport, words)
        elif sockets.is_all_sent(transport):
            transport.write(words)
            self._said_over_tls = True

    def _abort_after_last_words(self, transport: asyncio.Transport) -> None:
        if self._said_over_tls:
            asyncio.get_running_loop().call_later(LAST_WORDS_S, sockets.abort, transport)
        else:
            sockets.abort(transport)

    def _abort_unless_used(self, transport: asyncio.Transport) -> None:
        """Whoever was still let in meanwhile keeps its connection; nobody is while the interconnection is cut."""
        if not self.sessions:
            sockets.abort(transport)

    def _work(self) -> None:
        if self._requests and self._worker is None:
            self._worker = asyncio.create_task(self._answer_requests())
            self._worker.add_done_callback(self._abort_if_failed)
        if len(self._requests) >= MAX_PIPELINED_REQUESTS and self._transport is not None:
            self._transport.pause_reading()

    async def _answer_requests(self) -> None:
        try:
            while self._requests:
                request = self._requests.popleft()
                if isinstance(request, RemoteProtocolError):
                    self._refuse_and_close(request)
                    return
                self._answering = request.method
                answer = await self._answerer.answer(self, request)
                self.write(serialise(answer.response))
                if answer.after is not None:
                    answer.after()
                self._abort_if_unread()
                if len(self._requests) == MAX_PIPELINED_REQUESTS // 2 and self._transport is not None:
                    self._transport.resume_reading()
            if self._ended:
                self.close()
        finally:
            self._worker = None

    def _abort_if_failed(self, worker: asyncio.Task[None]) -> None:
        """An answer that could not be made is a bug: its connection ends, and with it what it holds."""
        if not worker.cancelled() and worker.exception() is not None:
            log.critical("connection.failed source=%s", self.source, exc_info=worker.exception())
            self.abort()

    def _abort_if_unread(self) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            log.info("connection.unread source=%s", self.source)
            self.abort()

    def _refuse_and_close(self, error: RemoteProtocolError) -> None:
        log.info("connection.rubbish source=%s status=%d", self.source, error.status)
        headers = Headers([("Connection", "close")])
        if self._framing.failed_cseq is not None:
            headers.set("CSeq", self._framing.failed_cseq)
        self.write(serialise(response(error.status, headers)))
        self.close()
