"""The shapes of requests and answers, exactly as the interface promises them.

A request with a field that is not declared is refused. Instants are RFC 3339, in UTC in every answer.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from auth.principals import Role
from auth.purposes import Purpose, normalise
from auth.trace import Entry, Kind
from camera_registry.cameras import Camera, CameraState
from camera_registry.clock import rfc3339
from ops.interconnection import MAX_REASON_CHARS, Author, Ground, Status

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
"""Items of one page of a list; the rest is behind ``next``."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _parse_instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("not an RFC 3339 date-time with its offset, such as 2026-11-21T10:15:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("no such instant") from None


Instant = Annotated[
    datetime,
    BeforeValidator(_parse_instant),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
OpaqueReference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")]
Sentence = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON_CHARS, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
"""A short text in one line, for the trace."""

LawfulPurpose = Annotated[
    Purpose,
    BeforeValidator(lambda value: normalise(value) if isinstance(value, str) else value),
    Field(description="Finalité : " + " ; ".join(f"{purpose.value} {purpose.wording}" for purpose in Purpose)),
]


class Shape(BaseModel):
    """Base of every request and answer: closed and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Shape):
    """A query without parameters."""


class Paging(Shape):
    """Which part of a list is wanted; ``cursor`` is the ``next`` of the page before."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,256}$")] | None = None


class ById(Shape):
    """One thing, by its id."""

    id: Identifier


# Login


class LoginRequest(Shape):
    """Who logs in; the certificate, if any, is that of the TLS connection."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
    password: SecretStr = Field(min_length=1, max_length=1024)
    totp: Annotated[str, StringConstraints(min_length=1, max_length=16)] | None = None


class LoginAnswer(Shape):
    """A session: send the token as ``Authorization: Bearer``."""

    token: str
    expires_at: Instant
    role: Role
    factors: tuple[str, ...]


class LogoutQuery(Shape):
    """Whether every session of the account ends, not only this one."""

    everywhere: bool = False


class SessionShape(Shape):
    """One of one's own logins; its id is not its token."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    opened_at: Instant
    last_used_at: Instant
    expires_at: Instant
    factors: tuple[str, ...]
    current: bool


class SessionList(Shape):
    """One's own sessions, newest first."""

    items: tuple[SessionShape, ...]
    next: str | None


# Cameras


class ProfileShape(Shape):
    """One way in which a camera encodes its picture; 0 where it did not say."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    codec: str
    width: int
    height: int
    fps: float


class CameraShape(Shape):
    """A camera, without anything that leads to the device (C16)."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    site: str
    commune: str
    latitude: float
    longitude: float
    state: CameraState
    cause: str | None
    profiles: tuple[ProfileShape, ...]
    recorded: bool

    @classmethod
    def of(cls, camera: Camera) -> Self:
        """Show a camera of the referential."""
        return cls.model_validate(camera)


class CameraList(Shape):
    """A page of cameras."""

    items: tuple[CameraShape, ...]
    next: str | None


class RecordingsQuery(Shape):
    """The period searched; open ends are those of the window."""

    start: Instant | None = None
    end: Instant | None = None

    @field_validator("end")
    @classmethod
    def _ends_after_its_start(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        return after_start(end, info)


class Window(Shape):
    """The period in which recordings can be reached (C03)."""

    start: Instant
    end: Instant


class Interval(Shape):
    """A stretch of footage; ``verified`` once it was seen to be there."""

    start: Instant
    end: Instant
    verified: bool


class Recordings(Shape):
    """The intervals with footage, clipped to the window."""

    camera: str
    window: Window
    intervals: tuple[Interval, ...]


# Interconnection


class Slots(Shape):
    """Slots in use, of those that the convention grants."""

    used: int
    cap: int


class InterconnectionView(Shape):
    """The interconnection as it stands."""

    state: Status
    since: Instant
    by: Author
    ground: Ground | None
    incident: str | None
    mode: str | None
    slots: Slots


class CutRequest(Shape):
    """A cut; ``occurred_at`` is when the incident itself occurred, if that is known (N02)."""

    ground: Ground
    reason: Sentence
    occurred_at: Instant | None = None


class NodeCut(Shape):
    """What a cut closed on one node."""

    id: str
    streams_closed: int


class CutAnswer(InterconnectionView):
    """The interconnection after a cut, and what the cut did."""

    at: Instant
    nodes: tuple[NodeCut, ...]


class DegradeRequest(Shape):
    """A degraded mode that PP has agreed to, by its name; None ends the one in force."""

    mode: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")] | None
    reason: Sentence


class RestoreRequest(Shape):
    """A restoration of what this incident cut; ``motive`` is for passing over what the pre-flight found not well."""

    incident: Identifier
    reason: Sentence
    motive: Sentence | None = None


# Trace


KindFamily = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,31}\.\*$")]
"""All kinds of entry of one subject: ``export.*`` is the log of exports (L14)."""


class TraceCriteria(Shape):
    """Which entries of the history are wanted; ``unmask`` is the motive for seeing who of PP did what."""

    kind: Kind | KindFamily | None = None
    agent: Identifier | None = None
    account: Identifier | None = None
    camera: Identifier | None = None
    stream: Identifier | None = None
    incident: Identifier | None = None
    since: Instant | None = None
    until: Instant | None = None
    node: Identifier | None = None
    unmask: Sentence | None = None


class TraceQuery(TraceCriteria, Paging):
    """Which entries of the history are wanted, page by page."""


class EntryShape(Shape):
    """One entry of the history."""

    node: str
    n: int
    at: Instant
    kind: str
    code: int
    agent: str | None
    account: str | None
    attribution: str | None
    camera: str | None
    stream: str | None
    mode: str | None
    reason: str | None
    refusal: str | None
    source: str | None
    detail: dict[str, JsonValue]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Show an entry of the journal."""
        members: dict[str, Any] = entry.to_json()
        return cls.model_validate(members)


class TraceList(Shape):
    """A page of the history."""

    items: tuple[EntryShape, ...]
    next: str | None


class Checkpoint(Shape):
    """A node's signed head (C2SP tlog-checkpoint); ``root`` in base64."""

    node: str
    size: int
    root: str
    note: str


class CheckpointList(Shape):
    """The latest head of each node."""

    items: tuple[Checkpoint, ...]


class EntryPath(Shape):
    """One entry, by its node and number."""

    node: Identifier
    n: Annotated[int, Field(ge=0, le=2**63 - 1)]


class ProofQuery(Shape):
    """The size of the tree to prove against; the latest head's if absent."""

    size: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None


class Proof(Shape):
    """An inclusion proof (RFC 6962 section 2.1.1); hashes in base64."""

    node: str
    n: int
    size: int
    leaf: str
    path: tuple[str, ...]


# Administration


class ReloadAnswer(Shape):
    """What is in force after a reload: its file's SHA-256, and the names of the keys that differed."""

    sha256: str
    changed: tuple[str, ...]


# Health


class Alive(Shape):
    """The process answers."""

    alive: bool = True


class Ready(Shape):
    """The node may serve."""

    ready: bool = True
    missing: tuple[str, ...] = ()


def after_start(end: datetime | None, info: ValidationInfo) -> datetime | None:
    """Let an end pass that comes after the ``start`` of the same shape. Raises ValueError."""
    start = info.data.get("start")
    if end is not None and start is not None and end <= start:
        raise ValueError("the end is not after the start")
    return end
