"""The house behind the API, as small as can be: fixed answers, and every entry kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry

from auth.errors import AuthenticationError, FailureReason
from auth.login import Credentials
from auth.policy import Mode
from auth.principals import Attribution, Factor, Principal, Role
from auth.sessions import OpenedSession
from auth.trace import Draft, Entry, Kind
from camera_registry.cameras import Camera, CameraState, Profile
from halfgateway.api.application import Ports
from halfgateway.api.ports import CutOutcome, Page, TraceFilter
from halfgateway.api.shapes import (
    Checkpoint,
    InterconnectionView,
    Interval,
    NodeCut,
    Proof,
    Recordings,
    Slots,
    StreamRequest,
    StreamView,
    Ticket,
    Window,
)
from halfgateway.control.streams import StreamState
from halfgateway.errors import NoRecording, Refusal, UnknownCamera
from ops.interconnection import Author, Ground, Status
from tests.api.fake_office import FakeGatekeeper, FakeOrders, FakePersonnel
from tests.held_clock import HeldClock

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)

CAMERA = Camera(
    id="cam-1",
    name="Place d'Armes",
    site="Versailles 1",
    commune="Versailles",
    latitude=48.8033,
    longitude=2.1234,
    state=CameraState.AVAILABLE,
    profiles=(Profile(id="main", codec="H264", width=1920, height=1080, fps=25.0),),
    recorded=True,
)


def principal(role: Role, account: str | None = None) -> Principal:
    """Whoever holds this role, with the factors that it takes."""
    name = account or role.value
    attribution = {
        Role.OPERATOR: Attribution.AGENT_AUTHENTICATED,
        Role.SUPERVISOR: Attribution.AGENT_AUTHENTICATED,
        Role.MACHINE: Attribution.MACHINE_ONLY,
    }.get(role)
    return Principal(
        account=name,
        role=role,
        agent=f"agent-of-{name}",
        service="DOPC",
        site="salle-2",
        attribution=attribution,
        factors=("password", "totp") if attribution is None else ("card", "password"),
        scope="SYN" if role is Role.AUDITOR else None,
    )


def stream_of(owner: Principal, stream_id: str = "stream-1", *, age_s: int = 0) -> StreamView:
    """A live stream that ``owner`` watches."""
    return StreamView(
        id=stream_id,
        camera=CAMERA.id,
        mode=Mode.LIVE,
        account=owner.account,
        agent=owner.agent,
        service=owner.service,
        site=owner.site,
        attribution=owner.attribution or Attribution.MACHINE_ONLY,
        reason="L251-2-5",
        reference="PP-2026-17",
        state=StreamState.PLAYING,
        since=NOW - timedelta(seconds=age_s),
        position=None,
        bytes=1000,
        packets=10,
        lost=0,
        slot="1/10",
    )


@dataclass
class FakeTrace:
    """Keeps what was recorded; ``broken`` stands for an unwritable journal."""

    entries: list[Draft] = field(default_factory=list)
    broken: Refusal | None = None

    async def durable(self, draft: Draft) -> None:
        if self.broken:
            raise self.broken
        self.entries.append(draft)

    def refusal(self, draft: Draft) -> None:
        self.entries.append(draft)

    def kinds(self) -> list[str]:
        return [entry.kind.value for entry in self.entries]


@dataclass
class FakeSessions:
    """Every role's name is its token; ``other-operator`` is one more operator's."""

    closed: list[str] = field(default_factory=list)
    failure: Exception | None = None

    async def resolve(self, token: str) -> Principal:
        if self.failure:
            raise self.failure
        if token == "other-operator":
            return principal(Role.OPERATOR, "other-operator")
        if token not in set(Role):
            raise AuthenticationError(FailureReason.SESSION_UNKNOWN)
        return principal(Role(token))

    async def close(self, token: str) -> None:
        self.closed.append(token)


@dataclass
class FakeLogin:
    """Lets everyone in whose password is ``right``; or fails as told."""

    failure: Exception | None = None

    async def authenticate(self, credentials: Credentials, *, source: str) -> OpenedSession:
        if self.failure:
            raise self.failure
        if credentials.password != "right":
            raise AuthenticationError(FailureReason.WRONG_PASSWORD, account="ops")
        opened = replace(principal(Role.OPS), factors=(Factor.PASSWORD.value, Factor.TOTP.value))
        return OpenedSession("ops", NOW + timedelta(hours=12), opened)


@dataclass
class FakeCatalogue:
    """Three cameras; only the first has footage."""

    async def list_cameras(self, viewer: Principal, *, limit: int, cursor: str | None) -> Page[Camera]:
        return Page([CAMERA], None)

    async def camera(self, viewer: Principal, camera_id: str) -> Camera:
        if camera_id != CAMERA.id:
            raise UnknownCamera("Caméra inconnue.")
        return CAMERA

    async def recordings(
        self, viewer: Principal, camera_id: str, *, start: datetime | None, end: datetime | None
    ) -> Recordings:
        await self.camera(viewer, camera_id)
        if start is not None and start > NOW:
            raise NoRecording("Aucun enregistrement.")
        window = Window(start=NOW - timedelta(days=10), end=NOW)
        hour = Interval(start=NOW - timedelta(hours=1), end=NOW, verified=True)
        return Recordings(camera=camera_id, window=window, intervals=(hour,))


@dataclass
class FakeStreams:
    """Gives a ticket for every wish, or the refusal it was told to give."""

    refusal: Refusal | None = None
    wishes: list[StreamRequest] = field(default_factory=list)
    running: list[StreamView] = field(default_factory=lambda: [stream_of(principal(Role.OPERATOR))])
    closed: list[tuple[str, str, str | None]] = field(default_factory=list)

    async def open(self, requester: Principal, wish: StreamRequest, *, source: str) -> Ticket:
        if self.refusal:
            raise self.refusal
        self.wishes.append(wish)
        return Ticket(
            id="stream-2",
            camera=wish.camera,
            mode=wish.mode,
            rtsp_url="rtsp://127.0.0.1:8554/live/cam-1",
            rtsps_url="rtsps://127.0.0.1:8322/live/cam-1",
            username="t-1",
            password="secret",
            play_before=NOW + timedelta(seconds=30),
            slot="2/10",
        )

    async def list_open(self) -> Sequence[StreamView]:
        return self.running

    async def find(self, stream_id: str) -> StreamView | None:
        return next((stream for stream in self.running if stream.id == stream_id), None)

    async def close(self, stream_id: str, *, by: Principal, reason: str | None, source: str) -> None:
        self.closed.append((stream_id, by.account, reason))


@dataclass
class FakeInterconnection:
    """Open until cut."""

    state: Status = Status.OPEN
    failure: Exception | None = None

    async def view(self) -> InterconnectionView:
        is_cut = self.state is Status.CUT
        return InterconnectionView(
            state=self.state,
            since=NOW,
            by=Author.OPS,
            ground=Ground.SECURITY if is_cut else None,
            incident="incident-1" if is_cut else None,
            slots=Slots(used=0, cap=10),
        )

    async def cut(
        self, *, by: Principal, ground: Ground, reason: str, occurred_at: datetime | None, source: str
    ) -> CutOutcome:
        if self.failure:
            raise self.failure
        if ground is not Ground.DRILL:
            self.state = Status.CUT
        return CutOutcome("incident-1", NOW, [NodeCut(id="node-1", streams_closed=3)])

    async def restore(self, *, by: Principal, incident: str, reason: str, source: str) -> None:
        if self.failure:
            raise self.failure
        self.state = Status.OPEN


@dataclass
class FakeHistory:
    """One entry, one head, one proof."""

    wanted: list[TraceFilter] = field(default_factory=list)

    async def entries(self, viewer: Principal, wanted: TraceFilter, *, limit: int, cursor: str | None) -> Page[Entry]:
        self.wanted.append(wanted)
        entry = Entry(kind=Kind.STREAM_REFUSED, refusal="cap-reached", node="node-1", n=412, at=NOW)
        return Page([entry], "older")

    async def checkpoints(self, viewer: Principal) -> Sequence[Checkpoint]:
        return [Checkpoint(node="node-1", size=413, root="cm9vdA==", note="origin\n413\nroot\n\n— name sig\n")]

    async def proof(self, viewer: Principal, *, node: str, n: int, size: int | None) -> Proof | None:
        if node != "node-1" or n >= (size or 413):
            return None
        return Proof(node=node, n=n, size=size or 413, leaf="bGVhZg==", path=("aGFzaA==",))


@dataclass
class FakeHealth:
    """Waits for what it is told to."""

    waiting_for: tuple[str, ...] = ()

    async def missing(self) -> Sequence[str]:
        return self.waiting_for


@dataclass
class FakeHouse:
    """All ports, each within a test's reach."""

    login: FakeLogin = field(default_factory=FakeLogin)
    sessions: FakeSessions = field(default_factory=FakeSessions)
    trace: FakeTrace = field(default_factory=FakeTrace)
    cameras: FakeCatalogue = field(default_factory=FakeCatalogue)
    streams: FakeStreams = field(default_factory=FakeStreams)
    interconnection: FakeInterconnection = field(default_factory=FakeInterconnection)
    history: FakeHistory = field(default_factory=FakeHistory)
    health: FakeHealth = field(default_factory=FakeHealth)
    gatekeeper: FakeGatekeeper = field(default_factory=FakeGatekeeper)
    personnel: FakePersonnel = field(default_factory=FakePersonnel)
    orders: FakeOrders = field(default_factory=FakeOrders)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    clock: HeldClock = field(default_factory=HeldClock)

    def ports(self) -> Ports:
        return Ports(
            authenticator=self.login,
            sessions=self.sessions,
            trace=self.trace,
            cameras=self.cameras,
            streams=self.streams,
            interconnection=self.interconnection,
            history=self.history,
            health=self.health,
            gatekeeper=self.gatekeeper,
            personnel=self.personnel,
            orders=self.orders,
            registry=self.registry,
            clock=self.clock,
        )
