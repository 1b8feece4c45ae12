"""Logging in and out."""

from __future__ import annotations

from http.cookies import SimpleCookie

from auth.errors import AuthenticationError, ThrottledError
from auth.login import Credentials
from auth.principals import Principal
from auth.sessions import OpenedSession
from auth.trace import Draft, Kind
from camera_registry.clock import Clock
from halfgateway.api.dispatch import SESSION_COOKIE
from halfgateway.api.operation import API, EVERYONE, Call, operation
from halfgateway.api.ports import AccessTrace, Authenticator, SessionStore
from halfgateway.api.rights_ports import Gatekeeper
from halfgateway.api.shapes import LoginAnswer, LoginRequest
from halfgateway.errors import NotHabilitated, StateStoreUnavailable, Throttled, TraceUnavailable, Unauthenticated


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
        traces=(Kind.AUTH_SUCCEEDED, Kind.AUTH_FAILED, Kind.AUTH_LOCKED),
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
        summary="End the session",
        roles=EVERYONE,
        status=204,
        errors=(TraceUnavailable,),
        traces=(Kind.SESSION_CLOSED,),
    )
    async def log_out(self, call: Call, principal: Principal) -> None:
        """End the session that this call was made with."""
        await self._sessions.close(call.token or "")
        call.headers["Set-Cookie"] = _cookie("", lasts_s=0, secure=call.secure)
        await self._trace.durable(call.entry(Kind.SESSION_CLOSED, principal, {"cause": "logout"}))


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
