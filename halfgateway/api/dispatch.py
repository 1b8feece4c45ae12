"""From an HTTP request to a handler and back: who asks, may they, is it well formed, what is the answer.

What this layer refuses to someone who is logged in is an ``action.refused`` entry; a token that opens nothing is
``auth.failed``. What a service refuses, the service has traced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError

from auth.errors import AuthenticationError, AuthError
from auth.principals import Factor, Principal
from auth.rights import LOCAL
from auth.trace import Draft, Kind
from camera_registry.errors import StoreUnavailable
from halfgateway.api.downloads import send_file
from halfgateway.api.local import local_account, local_principal
from halfgateway.api.operation import JSON_MEDIA_TYPE, Answer, Attachment, Call, Download, Forbidden, Operation, Text
from halfgateway.api.ports import AccessTrace, SessionStore
from halfgateway.api.problems import Fault, InvalidCall, faults_of, problem_response, refusal_of
from halfgateway.api.rights_ports import Gatekeeper
from halfgateway.api.shapes import Nothing
from halfgateway.errors import NotHabilitated, Refusal, Unauthenticated

SESSION_COOKIE = "halfgateway_session"

LOG_IN_AGAIN = "Ce jeton n'ouvre pas, ou n'ouvre plus, d'accès : authentifiez-vous de nouveau."
"""Of a session that has expired and of one that never was, the same (S15, C08)."""

_SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_OWN_SITE = frozenset({"same-origin", "none"})


class Dispatcher:
    """Runs operations: authenticates, authorises, validates, calls, answers."""

    def __init__(self, sessions: SessionStore, gatekeeper: Gatekeeper, trace: AccessTrace) -> None:
        self._sessions = sessions
        self._gatekeeper = gatekeeper
        self._trace = trace

    async def run(self, operation: Operation, routes: object, request: web.Request) -> web.StreamResponse:
        """Answer one request to ``operation``, which ``routes`` declares."""
        call = _call_of(request)
        try:
            answer = await self._answer(operation, routes, request, call)
            if isinstance(answer, Download):
                return await send_file(request, answer, status=operation.status)
        except Refusal as refusal:
            response = problem_response(refusal)
        except (AuthError, StoreUnavailable) as error:
            public = refusal_of(error)
            if public is None:
                raise
            response = problem_response(public)
        else:
            response = _response(operation, answer)
        response.headers.update(call.headers)
        return response

    async def _answer(self, operation: Operation, routes: object, request: web.Request, call: Call) -> Answer:
        if operation.roles is None:
            return await operation.handler(routes, call, **await _read_inputs(operation, request))
        principal = await self._identify(operation, call)
        try:
            self._require_standing(call, principal)
            _authorise(operation, request, call, principal)
            inputs = await _read_inputs(operation, request)
            return await operation.handler(routes, call, principal=principal, **inputs)
        except (Forbidden, InvalidCall) as refusal:
            attempt = {"action": _action(operation), "role": principal.role.value}
            attempt |= {"reason": refusal.reason} if refusal.reason is not None else {}
            self._trace.refusal(call.entry(Kind.ACTION_REFUSED, principal, attempt, refusal=refusal.code))
            raise

    def _require_standing(self, call: Call, principal: Principal) -> None:
        """A right that has ended since the login opens nothing (C09). Raises a Refusal."""
        refusal = self._gatekeeper.refusal_of(principal, call.source) if call.local is None else None
        if isinstance(refusal, NotHabilitated):
            raise Forbidden(refusal.detail, reason=refusal.reason)
        if refusal is not None:
            raise refusal

    async def _identify(self, operation: Operation, call: Call) -> Principal:
        if call.local is not None:
            return local_principal(call.local)
        if call.token is None:
            raise Unauthenticated
        try:
            return await self._sessions.resolve(call.token)
        except AuthenticationError as failure:
            self._trace.refusal(
                Draft(
                    kind=Kind.AUTH_FAILED,
                    account=failure.account,
                    refusal=failure.public_code,
                    source=call.source,
                    detail={"action": _action(operation), "reason": failure.reason.value},
                )
            )
            raise Unauthenticated(LOG_IN_AGAIN) from failure


def _action(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def _authorise(operation: Operation, request: web.Request, call: Call, principal: Principal) -> None:
    if principal.role not in (operation.roles or ()):
        raise Forbidden("Ce rôle ne permet pas cette action (article 6).")
    if operation.lasting and Factor.BREAK_GLASS in principal.factors:
        raise Forbidden("Un accès de secours ne permet pas d'établir ce qui lui survivrait.")
    if call.token_from_cookie and operation.method not in _SAFE_METHODS and not _from_own_page(request):
        raise Forbidden("Cette action doit être demandée depuis une page de la passerelle elle-même.")


def _from_own_page(request: web.Request) -> bool:
    """Whether a call that carries a cookie was made by our own page: browsers say so, other clients need not."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in _OWN_SITE
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or urlsplit(origin).netloc == request.host


def _call_of(request: web.Request) -> Call:
    tls = request.get_extra_info("ssl_object")
    scheme, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    has_bearer = scheme.lower() == "bearer" and bool(bearer)
    return Call(
        source=request.remote or LOCAL,
        secure=tls is not None,
        local=local_account(request),
        token=bearer.strip() if has_bearer else request.cookies.get(SESSION_COOKIE),
        token_from_cookie=not has_bearer,
        certificate_der=tls.getpeercert(binary_form=True) if tls is not None else None,
    )


async def _read_inputs(operation: Operation, request: web.Request) -> dict[str, BaseModel]:
    inputs: dict[str, BaseModel] = {}
    faults: list[Fault] = []
    places: list[tuple[str, type[BaseModel] | None, Mapping[str, str] | bytes]] = [
        ("path", operation.path_model, dict(request.match_info)),
        ("query", operation.query_model or Nothing, _single_values(request, faults)),
    ]
    if operation.body_model is not None:
        places.append(("body", operation.body_model, await _json_body(request, operation.max_body_bytes)))
    for place, model, raw in places:
        if model is None:
            continue
        try:
            value = model.model_validate_json(raw) if isinstance(raw, bytes) else model.model_validate(raw)
        except ValidationError as error:
            faults += faults_of(place, error)
        else:
            inputs[place] = value
    if faults:
        raise InvalidCall(faults)
    if operation.query_model is None:
        del inputs["query"]
    return inputs


def _single_values(request: web.Request, faults: list[Fault]) -> dict[str, str]:
    values: dict[str, Any] = {}
    for name, value in request.query.items():
        if name in values:
            faults.append(Fault(where=f"query.{name}", message="Given more than once"))
        values[name] = value
    return values


async def _json_body(request: web.Request, max_bytes: int | None) -> bytes:
    if request.content_type != JSON_MEDIA_TYPE:
        raise web.HTTPUnsupportedMediaType
    return await (request if max_bytes is None else request.clone(client_max_size=max_bytes)).read()


def _response(operation: Operation, answer: BaseModel | Text | Attachment | None) -> web.Response:
    if answer is None:
        return web.Response(status=operation.status)
    if isinstance(answer, Attachment):
        headers = {
            hdrs.CONTENT_TYPE: answer.media_type,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{answer.name}"',
        }
        return web.Response(status=operation.status, body=answer.content, headers=headers)
    body = answer.content if isinstance(answer, Text) else answer.model_dump_json()
    return web.Response(status=operation.status, body=body.encode(), headers={hdrs.CONTENT_TYPE: operation.media_type})
