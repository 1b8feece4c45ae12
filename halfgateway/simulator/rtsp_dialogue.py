"""One RTSP connection as every simulated device answers it: authentication, states, sessions.

One session a connection, as small devices have it. Everything but OPTIONS wants Digest.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from camera_registry.clock import Clock
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, Response, response
from halfgateway.protocol.session import Session
from halfgateway.protocol.states import PUBLIC_METHODS, ServerState, allowed, next_server_state
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.datagrams import DatagramWire
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.identity import DeviceIdentity
from halfgateway.simulator.media_session import MediaCounters

_SESSION_BYTES: Final = 8  # Short ids, as devices have: the gateway must not expect better.
_REFUSED_METHODS: Final = frozenset({"DESCRIBE", "SETUP", "PLAY"})
_NEED_SESSION: Final = frozenset({"PLAY", "PAUSE", "TEARDOWN"})
_KEEP_ALIVES: Final = frozenset({"OPTIONS", "GET_PARAMETER"})


@dataclass(slots=True)
class RtspCounters:
    """What a device was asked over RTSP: requests by method, set-ups of an audio track, connections."""

    requests: Counter[str] = field(default_factory=Counter)
    audio_setups: int = 0
    connections: int = 0


class Desk(ABC):
    """What all RTSP connections to one device share."""

    def __init__(
        self,
        *,
        identity: DeviceIdentity,
        behaviour: Behaviour,
        gate: DigestGate,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.identity = identity
        self.behaviour = behaviour
        self.media_counters = MediaCounters()
        self.counters = RtspCounters()
        self.sessions: set[str] = set()
        self.gate = gate
        self._clock = clock
        self._random_bytes = random_bytes

    @abstractmethod
    def dialogue(self, transport: asyncio.Transport, open_datagrams: Callable[[], DatagramWire]) -> Dialogue[Any]:
        """What answers a new connection; ``open_datagrams`` gives the wire of a session that wants UDP."""

    def refusal_of(self, request: Request) -> Response | None:
        """Return the 401 that a request earns, or None if its credentials are good."""
        challenges = self.gate.check(request.headers.get("Authorization"), request.method, request.uri)
        return unauthorised(challenges) if challenges else None

    def random_32(self) -> int:
        """Return 32 random bits."""
        return int.from_bytes(self._random_bytes(4), "big")

    def new_session_id(self) -> str:
        """Return a session id that no other session has."""
        return self._random_bytes(_SESSION_BYTES).hex().upper()


OwnDesk = TypeVar("OwnDesk", bound=Desk)


class Dialogue(ABC, Generic[OwnDesk]):
    """One connection's requests and its one session, if it has set one up."""

    def __init__(self, desk: OwnDesk) -> None:
        self._desk = desk
        self._session_id = ""
        self._state = ServerState.INIT

    @property
    def in_session(self) -> bool:
        """Whether there is a session, which a sign of life must keep."""
        return bool(self._session_id)

    @abstractmethod
    def end(self) -> None:
        """End the session, if there is one."""

    @property
    @abstractmethod
    def _handlers(self) -> Mapping[str, Callable[[Request], Response]]:
        """What answers each method but OPTIONS and those that ask for parameters."""

    def respond(self, request: Request) -> Response | None:
        """Answer a request; None if this device is set to leave it unanswered."""
        self._desk.counters.requests[request.method] += 1
        if self.in_session and request.method in _KEEP_ALIVES and not self._desk.behaviour.answers_keep_alive:
            return None
        cseq = request.headers.get("CSeq")
        if cseq is None:
            return response(400)
        try:
            answer = self._answer(request)
        except RemoteProtocolError as error:
            answer = response(error.status)
            if error.status == 455:
                answer.headers.set("Allow", ", ".join(allowed(self._state)))
        answer.headers.set("CSeq", cseq)
        return answer

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return response(200, Headers([("Public", ", ".join(PUBLIC_METHODS))]))
        unproven = self._desk.refusal_of(request)
        if unproven is not None:
            return unproven
        refusal = self._desk.behaviour.rtsp_refusal
        if refusal is not None and request.method in _REFUSED_METHODS:
            answer = unauthorised(self._desk.gate.challenges()) if refusal.status == 401 else response(refusal.status)
            if refusal.retry_after_s is not None:
                answer.headers.set("Retry-After", str(refusal.retry_after_s))
            return answer
        if request.method in _NEED_SESSION and not self._names_session(request):
            return response(454)
        after = next_server_state(self._state, request.method)
        answer = self._handlers.get(request.method, self._parameters)(request)
        if answer.status == 200 and request.method != "TEARDOWN":
            self._state = after
        return answer

    def _names_session(self, request: Request) -> bool:
        header = request.headers.get("Session")
        return self.in_session and header is not None and Session.parse(header).id == self._session_id

    def _begin_session(self) -> bool:
        """Take a session, in place of the one before; False where the device has none left."""
        self.end()
        if len(self._desk.sessions) >= self._desk.behaviour.session_limit:
            return False
        self._session_id = self._desk.new_session_id()
        self._desk.sessions.add(self._session_id)
        return True

    def _end_session(self) -> None:
        self._desk.sessions.discard(self._session_id)
        self._session_id, self._state = "", ServerState.INIT

    def _parameters(self, request: Request) -> Response:
        """GET_PARAMETER and SET_PARAMETER without parameters are signs of life; there are none to give."""
        return response(451) if request.body.strip() else response(200)

    def _session_header(self) -> str:
        return str(Session(self._session_id, round(self._desk.behaviour.session_timeout_s)))


def unauthorised(challenges: tuple[str, ...]) -> Response:
    """Return a 401 with these challenges."""
    return response(401, Headers([("WWW-Authenticate", value) for value in challenges]))
