"""Logging in and out."""

from __future__ import annotations

import logging
from http.cookies import SimpleCookie

from auth.errors import AuthenticationError, ThrottledError
from auth.login import Credentials
from auth.principals import Principal
from auth.sessions import OpenedSession
from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.api.dispatch import SESSION_COOKIE
from halfgateway.api.operation import EVERYONE, Call, operation
from halfgateway.api.paths import API
from halfgateway.api.ports import AccessTrace, Authenticator, SessionStore
from halfgateway.api.problems import UnknownSession
from halfgateway.api.rights_ports import Gatekeeper
from halfgateway.api.shapes import (
    ById,
    LoginAnswer,
    LoginRequest,
    LogoutQuery,
    SessionList,
    SessionShape,
)
from halfgateway.errors import NotHabilitated, StateStoreUnavailable, Throttled, TraceUnavailable, Unauthenticated

log = logging.getLogger(__name__)


class LoginRoutes:
    """A login is granted once its entry is durable; a failure tells the caller nothing but that."""

    def __init__(
        self,
        authenticator: Authenticator,
        sessions: SessionStore,
        gatekeeper: Gatekeeper,
        trace: AccessTrace,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._gatekeeper = gatekeeper
        self._trace = trace
        self._clock = clock

    @operation(
        "POST",
        f"{API}/login",
        summary="Open a session, with a password and a card, a certificate or a one-time code",
        roles=None,
        errors=(Unauthenticated, NotHabilitated, Throttled, TraceUnavailable, StateStoreUnavailable),
        traces=(Kind.AUTH_SUCCEEDED, Kind.AUTH_FAILED, Kind.AUTH_LOCKED, Kind.BREAK_GLASS_USED),
    )
    async def log_in(self, call: Call, body: LoginRequest) -> LoginAnswer:
        """Authenticate by what the body and the TLS connection bring."""
        credentials = Credentials(
            account_id=body.id,
            password=body.password.get_secret_value(),
            totp=body.totp,
            certificate_der=call.certificate_der,
        )
        try:
            opened = await self._authenticator.authenticate(credentials, source=call.source)
        except AuthenticationError as failure:
            await self._trace.durable(_failed(failure, call))
            raise
        except ThrottledError as throttled:
            if throttled.just_locked:
                await self._trace.durable(Draft(kind=Kind.AUTH_LOCKED, refusal=Throttled.code, source=call.source))
            raise
        principal = opened.principal
        await self._require_standing(call, opened)
        proof = {"factors": list(principal.factors), "role": principal.role.value}
        try:
            await self._trace.durable(call.entry(Kind.AUTH_SUCCEEDED, principal, proof))
            if opened.break_glass is not None:
                await self._alarm(call, opened, opened.break_glass)
        except TraceUnavailable:
            await self._sessions.close(opened.token)
            raise
        lasts_s = int((opened.expires_at - self._clock.now()).total_seconds())
        call.headers["Set-Cookie"] = _cookie(opened.token, lasts_s=lasts_s, secure=call.secure)
        return LoginAnswer(
            token=opened.token,
            expires_at=opened.expires_at,
            role=principal.role,
            factors=principal.factors,
        )

    async def _require_standing(self, call: Call, opened: OpenedSession) -> None:
        """Who has proved who they are, and has no right to come in or not from here, does not. Raises a Refusal."""
        refusal = self._gatekeeper.refusal_of(opened.principal, call.source)
        if refusal is None:
            return
        await self._sessions.close(opened.token)
        detail = {"reason": refusal.reason} if refusal.reason is not None else {}
        await self._trace.durable(call.entry(Kind.AUTH_FAILED, opened.principal, detail, refusal=refusal.code))
        raise refusal

    @operation(
        "POST",
        f"{API}/logout",
        summary="End the session, or all of one's own",
        roles=EVERYONE,
        status=204,
        errors=(TraceUnavailable,),
        traces=(Kind.SESSION_CLOSED,),
    )
    async def log_out(self, call: Call, principal: Principal, query: LogoutQuery) -> None:
        """End the session that this call was made with; ``everywhere``, every session of its account."""
        if query.everywhere:
            await self._sessions.close_all(principal.account)
        else:
            await self._sessions.close(call.token or "")
        call.headers["Set-Cookie"] = _cookie("", lasts_s=0, secure=call.secure)
        cause = "logout-everywhere" if query.everywhere else "logout"
        await self._trace.durable(call.entry(Kind.SESSION_CLOSED, principal, {"cause": cause}))

    @operation(
        "GET",
        f"{API}/sessions",
        summary="List one's own sessions",
        roles=EVERYONE,
        untraced="shows one's own logins, to oneself",
    )
    async def list_sessions(self, call: Call, principal: Principal) -> SessionList:
        """List those that still run, newest first."""
        running = await self._sessions.list_of(principal.account, call.token or "")
        return SessionList(items=tuple(SessionShape.model_validate(each) for each in running), next=None)

    @operation(
        "DELETE",
        f"{API}/sessions/{{id}}",
        summary="End one of one's own sessions",
        roles=EVERYONE,
        status=204,
        errors=(UnknownSession, TraceUnavailable),
        traces=(Kind.SESSION_CLOSED,),
    )
    async def close_session(self, call: Call, principal: Principal, path: ById) -> None:
        """End it, wherever it is used; the streams that it opened go on (S15)."""
        if not await self._sessions.close_one(principal.account, path.id):
            raise UnknownSession("Vous n'avez pas de session ouverte de cet identifiant.")
        closed = {"cause": "closed-by-owner", "session": path.id}
        await self._trace.durable(call.entry(Kind.SESSION_CLOSED, principal, closed))

    async def _alarm(self, call: Call, opened: OpenedSession, number: int) -> None:
        """A sealed credential was opened: it is seen at once, and a report is due (C21)."""
        log.critical("break_glass.used number=%d role=%s", number, opened.principal.role.value)
        until = {"number": number, "until": rfc3339(opened.expires_at)}
        await self._trace.durable(call.entry(Kind.BREAK_GLASS_USED, opened.principal, until))


def _failed(failure: AuthenticationError, call: Call) -> Draft:
    """The account is named only if it exists: what was typed in its place may be a password."""
    return Draft(
        kind=Kind.AUTH_FAILED,
        account=failure.account,
        refusal=failure.public_code,
        source=call.source,
        detail={"reason": failure.reason.value},
    )


def _cookie(token: str, *, lasts_s: int, secure: bool) -> str:
    cookie: SimpleCookie = SimpleCookie({SESSION_COOKIE: token})
    morsel = cookie[SESSION_COOKIE]
    morsel["path"], morsel["samesite"], morsel["max-age"] = "/", "Strict", str(lasts_s)
    morsel["httponly"], morsel["secure"] = True, secure
    return morsel.OutputString()
