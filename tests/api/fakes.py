"""The house behind the API, as small as can be: fixed answers, and every entry kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import CollectorRegistry

from auth.assertion_keys import AssertionKey
from auth.break_glass import BreakGlass
from auth.errors import AuthenticationError, FailureReason
from auth.interventions import Intervention
from auth.login import Credentials
from auth.policy import Mode
from auth.principals import Attribution, Factor, Principal, Role
from auth.sessions import OpenedSession, RunningSession
from auth.trace import Draft
from camera_registry.cameras import Camera, CameraState, Profile
from halfgateway.api.application import Ports
from halfgateway.api.ports import CutOutcome, Page, ReloadOutcome
from halfgateway.api.restoration_shapes import PreflightShape, ProposalShape
from halfgateway.api.shapes import InterconnectionView, Interval, NodeCut, Recordings, Slots, Window
from halfgateway.api.stream_shapes import (
    PassRequest,
    ReservationRequest,
    ReservationShape,
    StreamRequest,
    StreamView,
    Ticket,
)
from halfgateway.config import ConfigurationError
from halfgateway.control.custody import Actor, KeyDeclaration
from halfgateway.control.restoration import Outlook
from halfgateway.control.streams import StreamState
from halfgateway.errors import InvalidRequest, NoRecording, PreflightFailed, Refusal, UnknownCamera
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.correspondence.matters import ContactTest
from ops.incidents.book import IncidentBooks
from ops.incidents.desk import IncidentDesk
from ops.incidents.events import ClockStarted, CorrespondenceOpened, Opened, Source
from ops.interconnection import Author, Ground, Status
from ops.preflight import Preflight
from tests.api.fake_exports import FakeExports
from tests.api.fake_life import FakeAnnexes, FakeChanges, FakeConvention
from tests.api.fake_office import FakeGatekeeper, FakeOrders, FakePersonnel
from tests.api.fake_safekeeping import FakeSafekeeping
from tests.api.fake_trace import NOW, FakeAnchors, FakeHistory, FakePurges, FakeTraceCustody
from tests.api.scratch import scratch_folder
from tests.held_clock import HeldClock
from tests.preflights import looked

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

KEY = AssertionKey(
    kid="pp-2026",
    public_key_pem=Ed25519PrivateKey.generate()
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode(),
    reference="PP-2026-1",
    declared_by="officer",
    declared_at=NOW,
    valid_from=NOW,
    valid_until=NOW + timedelta(days=365),
)
SEALED = BreakGlass(7, "break-glass-7", Role.OPS, NOW, "officer", NOW, None, None, None)
INTERVENTION = Intervention(3, "technicien-4", "Prestataire", "remplacement d'un disque", NOW, "ops", None, None)


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
        node="node-1",
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
        idle_since=None,
        login_before=None,
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

    async def close_all(self, account_id: str) -> None:
        self.closed.append(f"all of {account_id}")

    async def close_one(self, account_id: str, session_id: str) -> bool:
        self.closed.append(f"{session_id} of {account_id}")
        return session_id == "session-1"

    async def list_of(self, account_id: str, token: str) -> list[RunningSession]:
        return [RunningSession("session-1", NOW, NOW, NOW + timedelta(hours=12), ("password", "totp"), current=True)]


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
    handed_over: list[tuple[str, str, str | None]] = field(default_factory=list)

    async def open(
        self, requester: Principal, wish: StreamRequest, *, source: str, certificate_der: bytes | None
    ) -> Ticket:
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

    async def hand_over(
        self, stream_id: str, *, by: Principal, assertion: str | None, source: str, certificate_der: bytes | None
    ) -> bool:
        if self.refusal:
            raise self.refusal
        self.handed_over.append((stream_id, by.account, assertion))
        return await self.find(stream_id) is not None


@dataclass
class FakeReservations:
    """Two services' slots; keeps what was asked."""

    acts: list[tuple[str, str]] = field(default_factory=list)
    kept: list[ReservationShape] = field(
        default_factory=lambda: [
            ReservationShape(id=f"r-{n}", service=service, slots=n, until=NOW, made_at=NOW, passed_from=None)
            for n, service in ((1, "DOPC"), (2, "DRPJ"))
        ]
    )

    async def list_open(self) -> Sequence[ReservationShape]:
        return self.kept

    async def make(self, wish: ReservationRequest, *, by: Principal, source: str) -> ReservationShape:
        self.acts.append((f"make {wish.service} {wish.slots}", by.account))
        return self.kept[0]

    async def pass_on(self, reservation_id: str, wish: PassRequest, *, by: Principal, source: str) -> ReservationShape:
        self.acts.append((f"pass {reservation_id} {wish.service} {wish.slots}", by.account))
        return self.kept[1]

    async def end(self, reservation_id: str, *, reason: str | None, by: Principal, source: str) -> None:
        self.acts.append((f"end {reservation_id}", by.account))


@dataclass
class FakeInterconnection:
    """Open until cut."""

    state: Status = Status.OPEN
    failure: Exception | None = None
    mode: str | None = None
    looked: Preflight = field(default_factory=lambda: looked(NOW))

    async def view(self) -> InterconnectionView:
        is_cut = self.state is Status.CUT
        return InterconnectionView(
            state=self.state,
            since=NOW,
            by=Author.OPS,
            ground=Ground.SECURITY if is_cut else None,
            incident="incident-1" if is_cut else None,
            mode=self.mode,
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

    async def degrade(self, *, by: Principal, mode: str | None, reason: str, source: str) -> None:
        if mode is not None and mode != "live-only":
            raise InvalidRequest("La Préfecture de police n'a donné son accord à aucun mode dégradé de ce nom.")
        self.mode = mode

    async def preflight(self) -> PreflightShape:
        return PreflightShape.of(Outlook(self.looked, "incident-1", False, None), "node-1")

    async def restore(
        self, *, by: Principal, incident: str, reason: str, motive: str | None, source: str
    ) -> ProposalShape | None:
        if self.failure:
            raise self.failure
        if self.looked.blocking(passed_over=motive is not None):
            raise PreflightFailed("Les caméras sont joignables : non", missing=("cameras",))
        self.state = Status.OPEN
        return None


@dataclass
class FakeAdministration:
    """Reloads, or finds faults in the file."""

    faults: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def reload(self, *, account: str, source: str) -> ReloadOutcome:
        if self.faults:
            raise ConfigurationError(self.faults)
        self.asked.append((account, source))
        return ReloadOutcome("5e" * 32, ("timings.resume_s",))


@dataclass
class FakeCustody:
    """One key, one sealed credential, one intervention; keeps what was asked."""

    acts: list[tuple[str, Actor]] = field(default_factory=list)

    async def actor(self, principal: Principal, source: str) -> Actor:
        return Actor(principal.account, source, principal.agent)

    async def list_keys(self) -> list[AssertionKey]:
        return [KEY]

    async def declare_key(self, declaration: KeyDeclaration, by: Actor) -> AssertionKey:
        self.acts.append(("declare", by))
        return KEY

    async def revoke_key(self, kid: str, reason: str, by: Actor) -> None:
        self.acts.append((f"revoke {kid}", by))

    async def replace_revocation_lists(self, pem: bytes, by: Actor) -> list[str]:
        self.acts.append((f"lists of {len(pem)} bytes", by))
        return ["00ff"]

    async def issue_recovery_codes(self, account: str, by: Actor) -> list[str]:
        self.acts.append((f"codes of {account}", by))
        return ["A" * 16]

    async def list_break_glass(self) -> list[BreakGlass]:
        return [SEALED]

    async def issue_break_glass(self, role: Role, by: Actor) -> tuple[BreakGlass, str]:
        self.acts.append((f"seal {role}", by))
        return SEALED, "SECRET"

    async def report_break_glass(self, number: int, text: str, by: Actor) -> None:
        self.acts.append((f"report {number}", by))

    async def list_interventions(self) -> list[Intervention]:
        return [INTERVENTION]

    async def start_intervention(self, person: str, contractor: str | None, reason: str, by: Actor) -> Intervention:
        self.acts.append((f"start {person}", by))
        return INTERVENTION

    async def end_intervention(self, number: int, by: Actor) -> Intervention:
        self.acts.append((f"end {number}", by))
        return INTERVENTION


@dataclass
class FakeHealth:
    """Waits for what it is told to."""

    waiting_for: tuple[str, ...] = ()

    async def missing(self) -> Sequence[str]:
        return self.waiting_for


def _incident_desk() -> IncidentDesk:
    """The real desk, over books that last as long as the tests."""
    clock = HeldClock()
    books = IncidentBooks(scratch_folder(), clock=clock)
    opened = Opened(t0=clock.now(), t0_source=Source.DECLARED, critical=True, by=Author.OPS, reason="panne")
    cnil = ClockStarted(clock="cnil-72h", start=clock.now(), deadline=clock.now() + timedelta(hours=72))
    books.update("incident-1", "ops", lambda _: (opened, cnil))
    return IncidentDesk(books, clock)


def _correspondence() -> CorrespondenceBooks:
    """The real books, with a month's test in them."""
    books = CorrespondenceBooks(scratch_folder(), clock=HeldClock())
    books.update("test-2026-11", "notifier", lambda _: (CorrespondenceOpened(matter=ContactTest(month="2026-11")),))
    return books


@dataclass
class FakeHouse:
    """All ports, each within a test's reach."""

    login: FakeLogin = field(default_factory=FakeLogin)
    sessions: FakeSessions = field(default_factory=FakeSessions)
    trace: FakeTrace = field(default_factory=FakeTrace)
    cameras: FakeCatalogue = field(default_factory=FakeCatalogue)
    streams: FakeStreams = field(default_factory=FakeStreams)
    reservations: FakeReservations = field(default_factory=FakeReservations)
    exports: FakeExports = field(default_factory=FakeExports)
    interconnection: FakeInterconnection = field(default_factory=FakeInterconnection)
    incidents: IncidentDesk = field(default_factory=_incident_desk)
    correspondence: CorrespondenceBooks = field(default_factory=_correspondence)
    history: FakeHistory = field(default_factory=FakeHistory)
    administration: FakeAdministration = field(default_factory=FakeAdministration)
    custody: FakeCustody = field(default_factory=FakeCustody)
    anchors: FakeAnchors = field(default_factory=FakeAnchors)
    trace_custody: FakeTraceCustody = field(default_factory=FakeTraceCustody)
    health: FakeHealth = field(default_factory=FakeHealth)
    gatekeeper: FakeGatekeeper = field(default_factory=FakeGatekeeper)
    personnel: FakePersonnel = field(default_factory=FakePersonnel)
    orders: FakeOrders = field(default_factory=FakeOrders)
    changes: FakeChanges = field(default_factory=FakeChanges)
    annexes: FakeAnnexes = field(default_factory=FakeAnnexes)
    convention: FakeConvention = field(default_factory=FakeConvention)
    safekeeping: FakeSafekeeping = field(default_factory=FakeSafekeeping)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    clock: HeldClock = field(default_factory=HeldClock)

    def ports(self) -> Ports:
        return Ports(
            authenticator=self.login,
            sessions=self.sessions,
            trace=self.trace,
            cameras=self.cameras,
            streams=self.streams,
            reservations=self.reservations,
            exports=self.exports,
            interconnection=self.interconnection,
            incidents=self.incidents,
            correspondence=self.correspondence,
            history=self.history,
            administration=self.administration,
            purges=FakePurges(),
            custody=self.custody,
            anchors=self.anchors,
            trace_custody=self.trace_custody,
            health=self.health,
            gatekeeper=self.gatekeeper,
            personnel=self.personnel,
            orders=self.orders,
            changes=self.changes,
            annexes=self.annexes,
            convention=self.convention,
            holds=self.safekeeping,
            requests=self.safekeeping,
            retention=self.safekeeping,
            probe=self.safekeeping,
            registry=self.registry,
            clock=self.clock,
        )
