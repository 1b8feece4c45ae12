"""An RTSP client for one camera over one TCP connection, with the RTP that is interleaved (RFC 2326 section 10.12)."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from halfgateway.errors import RemoteProtocolError
from halfgateway.net.coalescing import Coalescing, Reading
from halfgateway.net.sockets import tune_upstream
from halfgateway.protocol import digest
from halfgateway.protocol.connection import NEED_DATA, Connection, Role
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.messages import Request, Response, serialise
from halfgateway.protocol.uri import RtspUri
from halfgateway.upstream.backoff import CameraFailure

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
"""How long a camera may take to accept a connection."""

REQUEST_TIMEOUT_S = 5.0
"""How long a camera may take to answer; past it the attempt has failed."""

MAX_AUTHENTICATIONS = 2
"""A first challenge, and one renewed nonce: more would be guessing, and cameras lock accounts for it."""

GIVEN_UP_REMEMBERED = 256
"""Requests without an answer in time whose late answer is still known for what it is: two hours of signs of life in a
replay whose taker holds it back. An answer older than so many unanswered requests would be taken for one without a
right number."""

USER_AGENT = "halfgateway"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a camera profile is, and who we are there. The URL bears no credentials."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


OnMedia = Callable[[InterleavedBatch], bool]
"""Takes a run of frames; answers whether more of the same picture is to come at once."""


OnDatagrams = Callable[[InterleavedBatch], object]
"""Takes what came by another way than the connection, as frames."""


class CameraClient(asyncio.Protocol):
    """Requests and their answers on one connection; media goes to ``on_media`` as it comes.

    A picture that is on its way is waited for, and read at once.
    """

    def __init__(self, target: Target, on_media: OnMedia) -> None:
        self._target = target
        self._on_media = on_media
        self._connection = Connection(Role.CLIENT, lenient_resync=True)
        self._transport: asyncio.Transport | None = None
        self._reading: Reading | None = None
        self._answers: dict[int, asyncio.Future[Response]] = {}
        self._given_up: deque[int] = deque(maxlen=GIVEN_UP_REMEMBERED)
        self._next_cseq = 1
        self._challenge: digest.Challenge | None = None
        self._nonce_count = 0
        self._accepted = False
        self._hosts: tuple[str, str] | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, target: Target, on_media: OnMedia, *, coalescing: Coalescing | None = None) -> CameraClient:
        """Open the connection. Raises CameraFailure."""
        client = cls(target, on_media)
        try:
            uri = RtspUri.parse(target.url)
            if uri.scheme != "rtsp":
                raise CameraFailure("La caméra demande RTSPS, qui n'est pas parlé vers les caméras.")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: client, uri.address, uri.port)
            client._begin_reading(coalescing or Coalescing())
        except (OSError, TimeoutError, RemoteProtocolError) as error:
            raise CameraFailure("La caméra est injoignable.") from error
        return client

    async def request(
        self,
        method: str,
        uri: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Response:
        """Send a request and return its final answer, having answered the camera's challenge if it has one.

        Raises CameraFailure with the camera's status when it is not a success, or none when it did not come.
        """
        response = await self._exchange(method, uri, headers or {}, timeout_s)
        for _ in range(MAX_AUTHENTICATIONS):
            if response.status != 401 or not self._take_challenge(response):
                break
            response = await self._exchange(method, uri, headers or {}, timeout_s)
        self._accepted = self._challenge is not None and response.status != 401
        if response.status != 200:
            raise CameraFailure(
                f"La caméra refuse la demande ({response.status}).",
                status=response.status,
                wait_s=_retry_after_s(response),
            )
        return response

    def tell(self, method: str, uri: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a request whose answer nobody waits for: it may stand behind media that is not read yet."""
        if not self.closed.done():
            self._given_up.append(self._send(method, uri, headers or {}))

    @property
    def last_cseq(self) -> int:
        """The number of the request that was sent last."""
        return self._next_cseq - 1

    def pause_reading(self) -> None:
        """Hold the sender back: what it sends is left in the kernel, answers too. To pause twice does nothing."""
        if self._reading is not None:
            self._reading.pause()

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._reading is not None:
            self._reading.resume()

    @property
    def hosts(self) -> tuple[str, str]:
        """Our address on this connection, and the camera's, as numbers. Raises CameraFailure: it is closed."""
        if self._hosts is None:
            raise CameraFailure("La caméra a fermé la connexion.")
        return self._hosts

    def send_media(self, data: bytes) -> None:
        """Send interleaved bytes (our receiver reports)."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection once what was written has gone."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        tune_upstream(transport)
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are of no asyncio class
        ours, theirs = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        self._hosts = (ours[0], theirs[0]) if ours and theirs else None

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._reading is not None:
            self._reading.stop()
        self._fail(CameraFailure("La caméra a fermé la connexion."))

    def _begin_reading(self, coalescing: Coalescing) -> None:
        """Raises OSError: the connection is closed already."""
        if self._transport is not None and not self._transport.is_closing():
            self._reading = coalescing.read(self._transport, self._take)

    def _take(self, data: bytes) -> bool:
        """Take what was read; answers whether more of the same picture is to come at once."""
        more_to_come = False
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not NEED_DATA:
                if isinstance(event, InterleavedBatch):
                    more_to_come = self._on_media(event)
                else:
                    self._handle(event)
        except RemoteProtocolError as error:
            log.warning("camera.rubbish error=%s", error)
            self._fail(CameraFailure("La caméra ne respecte pas le protocole RTSP."))
        return more_to_come

    def _handle(self, event: object) -> None:
        if isinstance(event, Response):
            self._take_answer(event)
        elif isinstance(event, Request) and self._transport is not None:
            status, reason = (200, "OK") if event.method == "OPTIONS" else (501, "Not Implemented")
            reply = Response(status, reason, Headers([("CSeq", event.headers.get("CSeq") or "0")]))
            self._transport.write(serialise(reply))

    def _take_answer(self, response: Response) -> None:
        """Hand an answer to whoever asked: by its ``CSeq``, or else to who has waited longest.

        Some cameras count wrongly (``Cseq: 0``, that of the request before), some leave the number out. An answer
        that nobody waits for any more is dropped.
        """
        cseq = _cseq(response.headers)
        if cseq not in self._answers and cseq not in self._given_up:
            cseq = next(iter(self._answers), -1)
        answer = self._answers.pop(cseq, None)
        if answer is not None and not answer.done():
            answer.set_result(response)

    async def _exchange(self, method: str, uri: str, headers: Mapping[str, str], timeout_s: float) -> Response:
        if self.closed.done():
            raise CameraFailure("La caméra a fermé la connexion.")
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        cseq = self._send(method, uri, headers)
        self._answers[cseq] = answer
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise CameraFailure("La caméra ne répond pas.") from error
        finally:
            if self._answers.pop(cseq, None) is not None:
                self._given_up.append(cseq)

    def _send(self, method: str, uri: str, headers: Mapping[str, str]) -> int:
        cseq = self._next_cseq
        self._next_cseq += 1
        lines = Headers([("CSeq", str(cseq)), ("User-Agent", USER_AGENT), *headers.items()])
        if self._challenge is not None:
            lines.add("Authorization", self._authorisation(self._challenge, method, uri))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(serialise(Request(method, uri, lines)))
        return cseq

    def _take_challenge(self, response: Response) -> bool:
        """Keep the camera's best challenge; False when asking again would be guessing.

        A first challenge is answered, and one that the camera calls stale; so is a new nonce after our password
        has been accepted, for many cameras renew theirs without a word.
        """
        best = digest.best(digest.parse_challenges(response.headers.get_all("WWW-Authenticate")))
        if best is None or not self._target.username:
            return False
        renewed = best.stale or (self._accepted and best != self._challenge)
        if self._challenge is not None and not renewed:
            return False
        self._challenge, self._nonce_count, self._accepted = best, 0, False
        return True

    def _authorisation(self, challenge: digest.Challenge, method: str, uri: str) -> str:
        self._nonce_count += 1
        return digest.authorise(
            challenge,
            self._target.username,
            self._target.password,
            method,
            uri,
            nonce_count=self._nonce_count,
            cnonce=secrets.token_hex(8),
        )

    def _fail(self, failure: CameraFailure) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(failure)
        self._answers.clear()
        if not self.closed.done():
            self.closed.set_result(None)
        if self._transport is not None:
            self._transport.abort()


def _cseq(headers: Headers) -> int:
    text = (headers.get("CSeq") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _retry_after_s(response: Response) -> float | None:
    text = (response.headers.get("Retry-After") or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
