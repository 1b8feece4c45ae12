"""One HTTP operation, declared beside its handler: the router, the checks and the OpenAPI document all read it.

A handler is a method whose parameters say by name what it takes: ``call`` always; ``principal`` when a login is
needed; ``path``, ``query`` and ``body``, each a pydantic model. Its return annotation is the answer's model,
:class:`Text`, :class:`Attachment`, :class:`Download`, or None.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel

from auth.principals import Principal, Role
from auth.register import Actor
from auth.trace import Draft, Kind
from halfgateway.errors import InvalidRequest, NotHabilitated, Refusal, StateStoreUnavailable, Unauthenticated

JSON_MEDIA_TYPE = "application/json"

EVERYONE = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not a model: its media type is the operation's."""

    content: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """An answer that is a file to keep: its media type and its name."""

    content: bytes
    media_type: str
    name: str


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that is a file too large for memory: it is sent piece by piece, for as long as it may be.

    ``may_go_on`` is asked before each piece and while one is taken slowly: where it says no, the connection is cut
    there and then. ``ended`` is told how many bytes went.
    """

    path: Path
    size_bytes: int
    media_type: str
    name: str
    may_go_on: Callable[[], bool]
    ended: Callable[[int], None]


Answer = BaseModel | Text | Attachment | Download | None
Handler = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Call:
    """What every handler may know of the request; ``headers`` are sent with its answer.

    ``local`` is the account of this machine that asks through the node's own socket; None from the network.
    """

    source: str
    secure: bool
    token: str | None
    token_from_cookie: bool
    certificate_der: bytes | None
    local: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def actor(self, principal: Principal) -> Actor:
        """Who makes a change by this call."""
        return Actor(account=principal.account, source=self.source, agent=principal.agent)

    def entry(
        self,
        kind: Kind,
        principal: Principal,
        detail: Mapping[str, Any],
        *,
        camera: str | None = None,
        mode: str | None = None,
        refusal: str | None = None,
    ) -> Draft:
        """An entry of what ``principal`` does by this call."""
        return Draft(
            kind=kind,
            agent=principal.agent,
            account=principal.account,
            attribution=principal.attribution,
            camera=camera,
            mode=mode,
            refusal=refusal,
            source=self.source,
            detail=detail,
        )


class Forbidden(NotHabilitated):
    """This layer refuses a call of someone it knows: by role, by ownership, or by where it comes from."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A declared operation.

    ``roles`` is None where no login is needed. ``traces`` are the kinds of entry that it leaves, written by this
    layer or by the service behind it; where there is none, ``untraced`` says why (T10). ``files`` are the media types
    of an :class:`Attachment` or a :class:`Download`; ``max_body_bytes`` is for one whose body may be larger.
    """

    method: str
    path: str
    summary: str
    roles: frozenset[Role] | None
    status: int
    errors: tuple[type[Refusal], ...]
    traces: tuple[Kind, ...]
    untraced: str | None
    media_type: str
    files: tuple[str, ...]
    max_body_bytes: int | None
    lasting: bool
    handler: Handler
    path_model: type[BaseModel] | None
    query_model: type[BaseModel] | None
    body_model: type[BaseModel] | None
    answer_model: type[BaseModel] | None

    @property
    def name(self) -> str:
        """A name for documents and metrics, such as ``open_stream``."""
        return self.handler.__name__


def operation(
    method: str,
    path: str,
    *,
    summary: str,
    roles: Collection[Role] | None,
    status: int = 200,
    errors: tuple[type[Refusal], ...] = (),
    traces: tuple[Kind, ...] = (),
    untraced: str | None = None,
    media_type: str = JSON_MEDIA_TYPE,
    files: tuple[str, ...] = (),
    max_body_bytes: int | None = None,
    lasting: bool = False,
) -> Callable[[Handler], Operation]:
    """Declare the decorated method as an operation; ``errors`` are its own, those of every call are added.

    ``lasting``: it makes what outlives the hour of a sealed credential, or is about one: none opens it.
    """
    if bool(traces) == bool(untraced):
        raise TypeError(f"{method} {path}: say what it traces, or why it traces nothing")

    def declare(handler: Handler) -> Operation:
        hints: dict[str, Any] = get_type_hints(handler)
        answer = hints.pop("return")
        if (roles is not None) != (hints.get("principal") is Principal):
            raise TypeError(f"{method} {path}: a principal is taken where, and only where, a login is needed")
        inputs = {place: hints.get(place) for place in ("path", "query", "body")}
        return Operation(
            method=method,
            path=path,
            summary=summary,
            roles=None if roles is None else frozenset(roles),
            status=status,
            errors=(*_errors_of_every_call(roles is not None, any(inputs.values())), *errors),
            traces=traces,
            untraced=untraced,
            media_type=media_type,
            files=files,
            max_body_bytes=max_body_bytes,
            lasting=lasting,
            handler=handler,
            path_model=inputs["path"],
            query_model=inputs["query"],
            body_model=inputs["body"],
            answer_model=answer if isinstance(answer, type) and issubclass(answer, BaseModel) else None,
        )

    return declare


def operations_of(routes: object) -> Iterator[Operation]:
    """Every operation that is declared in the class of ``routes``."""
    return (member for member in vars(type(routes)).values() if isinstance(member, Operation))


def _errors_of_every_call(needs_login: bool, takes_input: bool) -> tuple[type[Refusal], ...]:
    login = (Unauthenticated, NotHabilitated, StateStoreUnavailable) if needs_login else ()
    return (*login, InvalidRequest) if takes_input else login
