"""What the API asks of the rest of the house; ``app`` gives the implementations.

Every method may raise a :class:`~halfgateway.errors.Refusal`, which becomes the answer; the service behind has
traced it already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from auth.assertion_keys import AssertionKey
from auth.break_glass import BreakGlass
from auth.interventions import Intervention
from auth.login import Credentials
from auth.principals import Principal, Role
from auth.sessions import OpenedSession, RunningSession
from auth.trace import Draft, Entry, Kind
from auth.trace.retention import RetentionClass
from camera_registry.cameras import Camera
from halfgateway.api.export_shapes import ExportRequest
from halfgateway.api.operation import Download
from halfgateway.api.restoration_shapes import PreflightShape, ProposalShape
from halfgateway.api.shapes import Checkpoint, InterconnectionView, NodeCut, Proof, Recordings
from halfgateway.api.stream_shapes import (
    PassRequest,
    ReservationRequest,
    ReservationShape,
    StreamRequest,
    StreamView,
    Ticket,
)
from halfgateway.api.trace_shapes import Consistency, Cosignature, KeyRotation
from halfgateway.control.custody import Actor, KeyDeclaration
from halfgateway.dossiers.elimination import Elimination
from halfgateway.dossiers.tables import TableFormat
from halfgateway.exporting.export import Export
from ops.interconnection import Ground

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Part of a list, newest first; ``next`` is the cursor of what follows, None at the end.

    A cursor has 1 to 256 letters, digits, ``-`` and ``_``; one that the service did not give is an InvalidRequest.
    """

    items: Sequence[Item]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which entries are wanted; None is no condition. ``since`` is inclusive, ``until`` exclusive.

    ``kind`` is one, or all of a subject (``export.*``). ``motive`` is why who of PP did what is to be seen, traced
    before; without one they are masked (L19).
    """

    kind: Kind | str | None = None
    agent: str | None = None
    account: str | None = None
    camera: str | None = None
    stream: str | None = None
    incident: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    node: str | None = None
    motive: str | None = None


@dataclass(frozen=True, slots=True)
class CutOutcome:
    """What a cut did, on every node that has answered."""

    incident: str
    at: datetime
    nodes: Sequence[NodeCut]


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What a reload has done: the hash of the file that is in force now, and the keys that differed."""

    sha256: str
    changed: Sequence[str]


class AccessTrace(Protocol):
    """The trace, as this layer writes it."""

    async def durable(self, draft: Draft) -> object:
        """Write an entry that the answer depends on. Raises TraceUnavailable."""

    def refusal(self, draft: Draft) -> None:
        """Write a refusal soon; identical ones within a second are one entry with their count."""


class Authenticator(Protocol):
    """The login (:class:`auth.login.Login`)."""

    async def authenticate(self, credentials: Credentials, *, source: str) -> OpenedSession:
        """Raises AuthenticationError, ThrottledError, RecordsUnavailableError."""


class SessionStore(Protocol):
    """The sessions (:class:`auth.sessions.Sessions`)."""

    async def resolve(self, token: str) -> Principal:
        """Raises AuthenticationError, RecordsUnavailableError."""

    async def close(self, token: str) -> None:
        """Raises RecordsUnavailableError."""

    async def close_all(self, account_id: str) -> None:
        """Raises RecordsUnavailableError."""

    async def close_one(self, account_id: str, session_id: str) -> bool:
        """Raises RecordsUnavailableError."""

    async def list_of(self, account_id: str, token: str) -> list[RunningSession]:
        """Raises RecordsUnavailableError."""


class CameraCatalogue(Protocol):
    """The cameras that a viewer may know of."""

    async def list_cameras(self, viewer: Principal, *, limit: int, cursor: str | None) -> Page[Camera]:
        """The newest first."""

    async def camera(self, viewer: Principal, camera_id: str) -> Camera:
        """Raises UnknownCamera."""

    async def recordings(
        self, viewer: Principal, camera_id: str, *, start: datetime | None, end: datetime | None
    ) -> Recordings:
        """The intervals with footage. Raises UnknownCamera, NoRecording."""


class Streams(Protocol):
    """The one door, and what it has let in, on every node."""

    async def open(
        self, requester: Principal, wish: StreamRequest, *, source: str, certificate_der: bytes | None
    ) -> Ticket:
        """Take a slot and give a ticket for it; the intent is traced. The certificate is the TLS connection's."""

    async def list_open(self) -> Sequence[StreamView]:
        """Every open stream, unmasked, in any order; there are not more than the convention's slots."""

    async def find(self, stream_id: str) -> StreamView | None:
        """The open stream of that id, unmasked."""

    async def close(self, stream_id: str, *, by: Principal, reason: str | None, source: str) -> None:
        """Close a stream that the caller may close, whichever node serves it; one that has ended is no error."""

    async def hand_over(
        self,
        stream_id: str,
        *,
        by: Principal,
        assertion: str | None,
        source: str,
        certificate_der: bytes | None,
    ) -> bool:
        """Let the relief have a stream: the agent of the assertion, or ``by``; False if it has ended. Traced."""


class Exports(Protocol):
    """Footage as files, where that is agreed. Every refusal is traced before it is raised."""

    async def open(
        self, requester: Principal, wish: ExportRequest, *, source: str, certificate_der: bytes | None
    ) -> Export:
        """Begin an export, or have it wait for its turn; its intent is durable."""

    async def list_of(self, owner: Principal) -> Sequence[Export]:
        """The exports of this account or agent, in any order."""

    async def find(self, export_id: str) -> Export | None:
        """The export of this id."""

    async def cancel(self, export: Export, *, by: Principal, source: str) -> None:
        """End one that is not over; remove the files of one that is."""

    async def download(self, export: Export, name: str, *, by: Principal, source: str) -> Download:
        """A file, for as long as it may be handed out. Raises UnknownExport."""


class Reservations(Protocol):
    """The slots that PP keeps free for its services; each change is traced behind this port."""

    async def list_open(self) -> Sequence[ReservationShape]:
        """Those in force, unmasked, in any order."""

    async def make(self, wish: ReservationRequest, *, by: Principal, source: str) -> ReservationShape:
        """Reserve. Raises InvalidRequest where that is more than is left."""

    async def pass_on(self, reservation_id: str, wish: PassRequest, *, by: Principal, source: str) -> ReservationShape:
        """Let another service have it, or part of it; the other's is returned. Raises UnknownRecord, InvalidRequest."""

    async def end(self, reservation_id: str, *, reason: str | None, by: Principal, source: str) -> None:
        """Free it. Raises UnknownRecord."""


class Interconnection(Protocol):
    """The interconnection's state, the cut and the restoration; each change is traced behind this port."""

    async def view(self) -> InterconnectionView:
        """The state as this node enforces it."""

    async def cut(
        self, *, by: Principal, ground: Ground, reason: str, occurred_at: datetime | None, source: str
    ) -> CutOutcome:
        """Cut at once. Raises ops.errors.TransitionRefused, LocalRecordError."""

    async def preflight(self) -> PreflightShape:
        """What is well and what is not, before a restoration."""

    async def restore(
        self, *, by: Principal, incident: str, reason: str, motive: str | None, source: str
    ) -> ProposalShape | None:
        """Restore, or propose it where another person is to confirm: then return the proposal.

        Raises PreflightFailed, ProposalLapsed, ops.errors.TransitionRefused, LocalRecordError.
        """

    async def degrade(self, *, by: Principal, mode: str | None, reason: str, source: str) -> None:
        """Go on in a degraded mode, or without one. Raises InvalidRequest for a mode not agreed to, and as restore."""


class Administration(Protocol):
    """What SYN's operations may do to the node itself; each change is traced behind this port."""

    async def reload(self, *, account: str, source: str) -> ReloadOutcome:
        """Read the configuration again and apply what differs. Raises ConfigurationError with every fault."""


class Custody(Protocol):
    """Keys, sealed credentials, interventions (:class:`halfgateway.control.custody.Custody`); it traces each act."""

    async def actor(self, principal: Principal, source: str) -> Actor:
        """Whoever calls, as the entries name them."""

    async def list_keys(self) -> list[AssertionKey]:
        """The newest first."""

    async def declare_key(self, declaration: KeyDeclaration, by: Actor) -> AssertionKey:
        """Raises InvalidRequest."""

    async def revoke_key(self, kid: str, reason: str, by: Actor) -> None:
        """Raises InvalidRequest."""

    async def replace_revocation_lists(self, pem: bytes, by: Actor) -> list[str]:
        """Raises InvalidRequest."""

    async def issue_recovery_codes(self, account: str, by: Actor) -> list[str]:
        """A new set, shown once."""

    async def list_break_glass(self) -> list[BreakGlass]:
        """The newest first."""

    async def issue_break_glass(self, role: Role, by: Actor) -> tuple[BreakGlass, str]:
        """A credential and its secret. Raises InvalidRequest."""

    async def report_break_glass(self, number: int, text: str, by: Actor) -> None:
        """Raises InvalidRequest."""

    async def list_interventions(self) -> list[Intervention]:
        """The newest first."""

    async def start_intervention(self, person: str, contractor: str | None, reason: str, by: Actor) -> Intervention:
        """Declare its beginning."""

    async def end_intervention(self, number: int, by: Actor) -> Intervention:
        """Declare its end. Raises InvalidRequest."""


class TraceHistory(Protocol):
    """The history, within the viewer's scope (T11)."""

    async def entries(self, viewer: Principal, wanted: TraceFilter, *, limit: int, cursor: str | None) -> Page[Entry]:
        """The newest first."""

    async def checkpoints(self, viewer: Principal) -> Sequence[Checkpoint]:
        """The latest signed head of each node."""

    async def proof(self, viewer: Principal, *, node: str, n: int, size: int | None) -> Proof | None:
        """The inclusion proof of an entry, or None if there is no such entry or no tree of that size."""

    async def consistency(self, viewer: Principal, *, node: str, first: int, second: int) -> Consistency | None:
        """The proof that one tree extends another, or None if there are no trees of those sizes."""

    async def extract(self, viewer: Principal, wanted: TraceFilter, form: TableFormat, *, asked: str) -> bytes:
        """The entries with checkpoint and proofs, as a file; ``asked`` are the criteria in words."""


class TracePurge(Protocol):
    """Eliminating what has been kept long enough (L17)."""

    async def purge(
        self, draft: Draft, wanted: RetentionClass, *, older_than_days: int, visa: str
    ) -> Elimination | None:
        """Eliminate a class; ``draft`` names who does. None where there was nothing. Raises InvalidRequest."""


class Health(Protocol):
    """Whether this node may serve."""

    async def missing(self) -> Sequence[str]:
        """What it waits for, by short names such as ``state-store``; empty when it may serve."""


class Anchors(Protocol):
    """The trace anchored outside (:class:`halfgateway.control.anchoring.Anchoring`)."""

    async def cosign(self, note: str, draft: Draft) -> Cosignature:
        """Take a cosignature over a head of this node's trace. Raises InvalidRequest, TraceUnavailable."""

    async def statement(self) -> str:
        """The text of the daily mail. Raises TraceUnavailable."""


class TraceCustody(Protocol):
    """What a person at the node's own machine does to its running trace; each act is an entry."""

    async def rotate_key(self, draft: Draft) -> KeyRotation:
        """Hand the log over to a new key. Raises InvalidRequest where its key is no file, TraceUnavailable."""

    async def disclose(self, draft: Draft) -> int:
        """Record a reading or an export, and sign it; the size of that head. Raises TraceUnavailable."""
