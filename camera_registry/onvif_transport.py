"""HTTP to one device: bounded in time and size, within the allow-list, one try with a new password.

How a device wants to be authenticated is learnt from its refusal of a request *without* credentials, so that
finding out never costs a try: HTTP Digest if it challenges, WS-UsernameToken otherwise (ONVIF Core 7.9).
"""

from __future__ import annotations

import asyncio
import copy
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Final

from aiohttp import ClientConnectionError, ClientError, ClientSession, DigestAuthMiddleware, InvalidURL, TCPConnector
from lxml import etree

from camera_registry import soap
from camera_registry.clock import Clock
from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, Malformed, NotSupported, RegistryError, Timeout, Unreachable
from camera_registry.guard import Guard
from camera_registry.hosts import AllowedHosts

TIMEOUT_S: Final = 10.0
"""How long a device may take for one answer, in seconds."""

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Size of one answer. A recorder with a hundred profiles sends 1 MB; a larger one is refused as malformed."""

DOUBTFUL_OFFSET: Final = timedelta(minutes=10)
"""An offset from which a refused signature may be the clock's fault: devices let signatures be 5 minutes off, and those
that call their local time UTC are off by a quarter of an hour at least."""

_CHUNK_BYTES: Final = 64 * 1024
_NONCE_BYTES: Final = 16
# Without credentials even once they are known: its answer decides how the others are signed (Core 8.3.1).
_OPEN_CALLS: Final = frozenset({"GetSystemDateAndTime"})
_HEADERS: Final = {
    "Content-Type": "application/soap+xml; charset=utf-8",
    "Accept-Encoding": "identity",  # A compressed answer could unfold past every bound.
}


class _Scheme(Enum):
    UNKNOWN = "unknown"
    HTTP_DIGEST = "http-digest"
    USERNAME_TOKEN = "username-token"  # noqa: S105 (the name of a scheme)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer without fault, in the shape that zeep reads."""

    content: bytes
    status_code: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/soap+xml"})
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class DateHeader:
    """The HTTP ``Date:`` of an answer, and our clock halfway between request and answer."""

    device: datetime
    ours: datetime


class DeviceTransport:
    """Sends envelopes to one device. Not for concurrent calls: devices dislike them.

    ``clock_offset`` (the device's clock minus ours) is added to the time that a UsernameToken is signed with;
    set it once it is known. Some devices tell their local time as UTC: a refusal is followed by one more try, once in
    a transport's life, signed with our own time (docs/quirks.md, onvif-clock).
    """

    def __init__(
        self,
        *,
        device: str,
        credentials: Credentials | None,
        allowed: AllowedHosts,
        guard: Guard,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        """Name the ``device`` for the guard; ``tls`` False accepts any certificate, as self-signed ones need."""
        self.clock_offset = timedelta(0)
        self._device = device
        self._credentials = credentials
        self._allowed = allowed
        self._guard = guard
        self._clock = clock
        self._random_bytes = random_bytes
        self._timeout_s = timeout_s
        self._scheme = _Scheme.UNKNOWN
        self._clock_disbelieved = False
        self._date: DateHeader | None = None
        digest = DigestAuthMiddleware(credentials.username, credentials.password) if credentials else None
        self._digest = (digest,) if digest else ()
        # One connection a call: devices close idle ones at will, and a repeated request may be a second try.
        self._session = ClientSession(
            connector=TCPConnector(force_close=True, ssl=tls), auto_decompress=False, headers=_HEADERS
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def aclose(self) -> None:
        """Do nothing: the library calls this for each service, and the session is shared by all of them."""

    def take_date(self) -> DateHeader | None:
        """Return the ``Date:`` of the last answer since this was last asked, or None."""
        date, self._date = self._date, None
        return date

    async def post_xml(self, address: str, envelope: etree._Element, headers: Mapping[str, str]) -> Reply:
        """Send an envelope and return the answer, as zeep asks it. Raises RegistryError."""
        self._allowed.require(address)
        action = headers.get("Content-Type", "").partition("action=")[2].strip('"')
        request = _Request(address, envelope, action)
        if soap.operation(envelope) in _OPEN_CALLS:
            return await self._send(request)
        if self._scheme is _Scheme.UNKNOWN:
            try:
                return await self._send(request)
            except AuthRejected as refusal:
                self._scheme = _scheme_for(refusal)
        if self._credentials is None:
            raise AuthRejected("the device wants credentials, and none are known")
        return await self._guard.run(self._device, self._credentials, lambda: self._send_signed(request))

    async def _send_signed(self, request: _Request) -> Reply:
        if self._scheme is _Scheme.HTTP_DIGEST:
            return await self._send(request, middlewares=self._digest)
        offset = timedelta(0) if self._clock_disbelieved else self.clock_offset
        try:
            return await self._send(self._with_token(request, offset))
        except AuthRejected:
            if self._clock_disbelieved or abs(offset) < DOUBTFUL_OFFSET:
                raise
            self._clock_disbelieved = True
        return await self._send(self._with_token(request, timedelta(0)))

    def _with_token(self, request: _Request, offset: timedelta) -> _Request:
        signed = copy.deepcopy(request.envelope)
        if self._credentials is not None:
            soap.add_username_token(
                signed,
                self._credentials,
                created=self._clock.now() + offset,
                nonce=self._random_bytes(_NONCE_BYTES),
            )
        return _Request(request.address, signed, request.action)

    async def _send(self, request: _Request, *, middlewares: tuple[DigestAuthMiddleware, ...] = ()) -> Reply:
        try:
            async with asyncio.timeout(self._timeout_s):
                status, challenge, content = await self._exchange(request, middlewares)
        except TimeoutError as error:
            raise Timeout(f"no answer within {self._timeout_s:g} s") from error
        except InvalidURL as error:
            raise Malformed("the device announces something that is no address") from error
        except (ClientConnectionError, OSError) as error:
            raise Unreachable(f"no connection: {type(error).__name__}") from error
        except ClientError as error:
            raise Malformed(f"not HTTP as it should be: {type(error).__name__}") from error
        return _judge(status, challenge, content)

    async def _exchange(
        self, request: _Request, middlewares: tuple[DigestAuthMiddleware, ...]
    ) -> tuple[int, str, bytes]:
        body = etree.tostring(request.envelope, xml_declaration=True, encoding="utf-8")
        headers = {"Content-Type": f'{_HEADERS["Content-Type"]}; action="{request.action}"'} if request.action else {}
        asked = self._clock.now()
        async with self._session.post(
            request.address, data=body, headers=headers, middlewares=middlewares, allow_redirects=False
        ) as response:
            answered = self._clock.now()
            content = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise Malformed(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            self._note_date(response.headers.get("Date", ""), asked + (answered - asked) / 2)
            return response.status, response.headers.get("WWW-Authenticate", ""), bytes(content)

    def _note_date(self, header: str, ours: datetime) -> None:
        try:
            device = parsedate_to_datetime(header)
        except ValueError:
            return
        if device.tzinfo is not None:
            self._date = DateHeader(device, ours)


@dataclass(frozen=True, slots=True)
class _Request:
    address: str
    envelope: etree._Element
    action: str


class _Challenged(AuthRejected):
    """The device challenges for HTTP Digest."""


def _scheme_for(refusal: AuthRejected) -> _Scheme:
    return _Scheme.HTTP_DIGEST if isinstance(refusal, _Challenged) else _Scheme.USERNAME_TOKEN


def _judge(status: int, challenge: str, content: bytes) -> Reply:
    """Return the answer of a device if it is one, raise what it amounts to otherwise."""
    if status == HTTPStatus.UNAUTHORIZED:
        refusal = _Challenged if challenge.lower().startswith("digest") else AuthRejected
        raise refusal("the device answers 401")
    try:
        fault = soap.find_fault(soap.read_envelope(content))
    except Malformed:
        if status == HTTPStatus.OK:
            raise
        fault = None
    if fault is not None:
        raise fault.error()
    if status != HTTPStatus.OK:
        raise _failure(status)
    return Reply(content)


def _failure(status: int) -> RegistryError:
    if status == HTTPStatus.FORBIDDEN:
        return AuthRejected("the device answers 403")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED:
        return Unreachable(f"the device answers {status}")
    return NotSupported(f"the device answers {status}")
