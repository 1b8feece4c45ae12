"""One answer for each RTSP method (RFC 2326 section 10), and for each way to ask it wrongly."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from halfgateway.downstream.connection import Answer, RtspConnection
from halfgateway.downstream.door import Door, StreamPath
from halfgateway.downstream.paths import TRACK, base_url, stream_path
from halfgateway.downstream.replaying import play_recording
from halfgateway.downstream.session import SESSION_TIMEOUT_S, RtspSession
from halfgateway.downstream.transports import ForeignDestination, Offers, UdpService, offers_of
from halfgateway.errors import Refusal, RemoteProtocolError, Unauthenticated, UnknownCamera
from halfgateway.protocol.digest import DigestVerifier, Outcome, Verdict
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, response
from halfgateway.protocol.replay import FEATURE
from halfgateway.protocol.rtp_info import StreamInfo, rtp_info
from halfgateway.protocol.session import Session
from halfgateway.protocol.states import PUBLIC_METHODS, ServerState, allowed, next_server_state
from halfgateway.protocol.uri import same_resource

log = logging.getLogger(__name__)

CUT_RETRY_AFTER_S = 30
"""What a refused client is asked to wait where the refusal itself names no time."""

REALM = "halfgateway"

MAX_SESSIONS = 32
"""Sessions of one connection. Three times the convention's cap, and few enough that a free pair of its 256
channels is left whichever pairs a client has chosen; one more is refused with 461."""

ALLOW = {405: ", ".join(PUBLIC_METHODS), 455: ", ".join(allowed(ServerState.INIT))}
"""``Allow`` of the statuses that must have it (RFC 2326 section 12.4): only what has not begun cannot go on."""


class RtspAnswers:
    """The server's answers. ``now_s`` is wall time in seconds for the nonces' life; no ``udp``, no datagrams."""

    def __init__(
        self, door: Door, verifier: DigestVerifier, *, now_s: Callable[[], float], udp: UdpService | None = None
    ) -> None:
        self._door = door
        self._udp = udp
        self._verifier = verifier
        self._now_s = now_s
        self._methods: dict[str, Callable[[RtspConnection, Request, str], Awaitable[Answer]]] = {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
            "GET_PARAMETER": self._parameter,
            "SET_PARAMETER": self._parameter,
        }

    async def answer(self, connection: RtspConnection, request: Request) -> Answer:
        """See :class:`~halfgateway.downstream.connection.Answerer`."""
        cseq = request.headers.get("CSeq")
        if cseq is None:
            return _status(400)
        if request.method == "OPTIONS":
            answer = _status(200, Public=", ".join(PUBLIC_METHODS))
        else:
            answer = await self._answer(connection, request)
        answer.response.headers.set("CSeq", cseq)
        return answer

    async def _answer(self, connection: RtspConnection, request: Request) -> Answer:
        try:
            verdict = self._verdict(connection, request)
        except Refusal as refusal:
            return _refused(refusal, request.method)
        if verdict.outcome is not Outcome.OK:
            return self._challenge(stale=verdict.outcome is Outcome.STALE)
        connection.authenticated = True
        try:
            return await self._answer_authenticated(connection, request, verdict.username)
        except Unauthenticated:
            return self._challenge(stale=False)
        except Refusal as refusal:
            return _refused(refusal, request.method)
        except RemoteProtocolError as error:
            answer = _status(error.status)
            if error.status in ALLOW:
                answer.response.headers.set("Allow", ALLOW[error.status])
            return answer

    async def _answer_authenticated(self, connection: RtspConnection, request: Request, username: str) -> Answer:
        required = [*request.headers.get_all("Require"), *request.headers.get_all("Proxy-Require")]
        unsupported = [tag for tag in required if tag != FEATURE or not stream_path(request.uri).is_recorded]
        if unsupported:
            self._door.refused_action(connection.caller(username), f"Require: {unsupported[0]}"[:100], "")
            return _status(551, Unsupported=", ".join(unsupported)[:200])
        handle = self._methods.get(request.method)
        if handle is None:
            self._door.refused_action(connection.caller(username), request.method[:32], "")
            next_server_state(ServerState.INIT, request.method)
            return _status(501)
        return await handle(connection, request, username)

    def _verdict(self, connection: RtspConnection, request: Request) -> Verdict:
        """Whether the request's digest proves a name, for this method and this resource."""
        authorization = request.headers.get("Authorization")
        if authorization is None:
            return Verdict(Outcome.WRONG)
        verdict = self._verifier.verify(authorization, request.method, self._now_s(), self._door.secrets)
        strays = verdict.outcome is Outcome.OK and not same_resource(verdict.uri, request.uri)
        if strays:
            verdict = Verdict(Outcome.WRONG, verdict.username)
        if verdict.outcome is Outcome.WRONG:
            self._door.wrong_credentials(verdict.username, connection.source, of_another_resource=strays)
        return verdict

    def _challenge(self, *, stale: bool) -> Answer:
        answer = _status(401)
        for challenge in self._verifier.challenges(self._now_s(), stale=stale):
            answer.response.headers.add("WWW-Authenticate", challenge)
        answer.response.headers.add("X-Refusal", Unauthenticated.code)
        return answer

    async def _describe(self, connection: RtspConnection, request: Request, username: str) -> Answer:
        accept = request.headers.get("Accept")
        if accept is not None and not any(
            kind in accept.lower() for kind in ("application/sdp", "application/*", "*/*")
        ):
            return _status(406)
        description = await self._door.describe(connection.caller(username), stream_path(request.uri))
        headers = Headers([("Content-Type", "application/sdp"), ("Content-Base", base_url(request.uri))])
        return Answer(response(200, headers, description))

    async def _setup(self, connection: RtspConnection, request: Request, username: str) -> Answer:
        path = stream_path(request.uri)
        if path.track not in {None, TRACK}:
            self._door.refused_action(connection.caller(username), "SETUP", path.track or "")
            raise UnknownCamera("Seule la vidéo est mise à disposition (article R. 253-1 du CSI).")
        offers = self._offers(connection, request, username)
        if request.headers.get("Session") is not None:
            session = self._session(connection, request, username)
            if not session.is_of(path):
                return _status(459)
            if not await session.set_up_again(offers):  # RFC 2326 section 10.4
                return _status(455, Allow=", ".join(m for m in allowed(ServerState.PLAYING) if m != "SETUP"))
            self._session(connection, request, username)
        else:
            if len(connection.sessions) >= MAX_SESSIONS:
                return _status(461)
            session = await self._new_session(connection, username, path, offers)
        session.state = next_server_state(session.state, "SETUP")
        return _status(200, Transport=str(session.granted()), Session=_session_header(session))

    async def _new_session(
        self, connection: RtspConnection, username: str, path: StreamPath, offers: Offers
    ) -> RtspSession:
        session, caller = RtspSession(connection, username, path, offers), connection.caller(username)
        try:
            if path.is_recorded:
                session.replay = await self._door.take_replay_seat(caller, path, session)
            else:
                session.live = await self._door.take_seat(caller, path, session)
        except BaseException:
            session.close()
            raise
        connection.sessions[session.id] = session
        return session

    async def _play(self, connection: RtspConnection, request: Request, username: str) -> Answer:
        path = stream_path(request.uri)
        self._door.refuse_while_closed(connection.caller(username), path)
        session = self._session(connection, request, username)
        if not session.is_of(path):
            return _status(454)
        if session.replay is not None:
            return await play_recording(connection, session, session.replay, request)
        if session.state is ServerState.PLAYING:
            return _status(200, Session=_session_header(session), Range="npt=now-")
        seat = session.live
        state = next_server_state(session.state, "PLAY")
        if seat is None:
            return _status(454)
        await seat.start()
        if session.id not in connection.sessions:
            return _status(454)
        session.state = state
        reader = session.make_reader(seat)
        opening = seat.opening() if session.datagrams is None else None  # a burst of datagrams would be lost on the way
        answer = _status(200, Session=_session_header(session), Range="npt=now-")
        if opening is not None:
            first = StreamInfo(base_url(request.uri) + TRACK, opening.sequence, opening.timestamp)
            answer.response.headers.add("RTP-Info", rtp_info([first]))
        return Answer(answer.response, after=lambda: seat.flow(reader, opening))

    async def _pause(self, connection: RtspConnection, request: Request, username: str) -> Answer:
        session = self._session(connection, request, username)
        was, session.state = session.state, next_server_state(session.state, "PAUSE")
        if was is ServerState.PLAYING and session.seat is not None:
            await session.seat.pause()
        return _status(200, Session=_session_header(session))

    async def _teardown(self, connection: RtspConnection, request: Request, username: str) -> Answer:
        session = self._session(connection, request, username)
        connection.sessions.pop(session.id, None)
        session.close()
        if session.seat is not None:
            await session.seat.leave()
        return _status(200)

    async def _parameter(self, connection: RtspConnection, request: Request, username: str) -> Answer:
        if request.body.strip():
            return _status(451)
        if request.headers.get("Session") is not None:
            return _status(200, Session=_session_header(self._session(connection, request, username)))
        return _status(200)

    def _session(self, connection: RtspConnection, request: Request, username: str) -> RtspSession:
        """The session that a request names, on its own connection and by the one who set it up.

        Raises RemoteProtocolError: 454, or 455 for what cannot be asked before there is any session.
        """
        header = request.headers.get("Session")
        if header is None and not connection.sessions:
            next_server_state(ServerState.INIT, request.method)
        session = connection.sessions.get((header or "").partition(";")[0].strip())
        if session is None or session.username != username:
            raise RemoteProtocolError("no such session", status=454)
        return session

    def _offers(self, connection: RtspConnection, request: Request, username: str) -> Offers:
        """What of the client's list this connection is served.

        Over TLS no datagram, which nothing would encrypt; nor through HTTP, where datagrams are known not to pass, nor
        by a balancer, which would not carry them.
        """
        header = request.headers.get("Transport")
        if header is None:
            raise RemoteProtocolError("SETUP without Transport")
        has_route = not (connection.secure or connection.tunnelled or connection.balanced)
        route = self._udp.route(connection.local, connection.source) if self._udp and has_route else None
        try:
            return offers_of(header, route)
        except ForeignDestination:
            self._door.refused_action(connection.caller(username), "SETUP to a foreign destination", "")
            raise


def _session_header(session: RtspSession) -> str:
    return str(Session(session.id, SESSION_TIMEOUT_S))


def _status(status: int, **headers: str) -> Answer:
    return Answer(response(status, Headers(headers.items())))


def _refused(refusal: Refusal, method: str) -> Answer:
    """A refusal as RTSP says it: the standard phrase, its reason code, and its French text in the body."""
    status = refusal.rtsp_status
    if status == 457 and method != "PLAY":  # RFC 2326 table 1 gives 457 to PLAY only
        status = 404
    headers = Headers([("X-Refusal", refusal.code)])
    body = b""
    if refusal.detail:
        headers.add("Content-Type", "text/plain; charset=utf-8")
        body = refusal.detail.encode()
    if status in {453, 503}:
        headers.add("Retry-After", str(refusal.retry_after_s or CUT_RETRY_AFTER_S))
    return Answer(response(status, headers, body))
