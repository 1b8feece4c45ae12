"""A door of real parts but for the cameras: Valkey, journal, hub, tables, and the one way in."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.errors import AuthenticationError, FailureReason
from auth.policy import Convention, Mode
from auth.principals import Attribution, Principal, Role
from auth.rights import Rights
from auth.throttle import Throttle
from auth.trace import Entry, Journal, Kind
from auth.trace.acts import OpenAct, open_streams
from camera_registry.cameras import Camera, Profile
from camera_registry.clock import Clock, SystemClock
from halfgateway.control.access import AccessRequest, Via
from halfgateway.control.admission import Admission
from halfgateway.control.callers import Callers, MachineAccount
from halfgateway.control.closing import Closer
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.desk import Desk
from halfgateway.control.endings import ClosedOnRequest, MovedToAnotherNode
from halfgateway.control.errands import Errands
from halfgateway.control.freshness import Freshness
from halfgateway.control.handover import Handover
from halfgateway.control.open_streams import OpenStreams
from halfgateway.control.reclaim import IdleReclaim
from halfgateway.control.relief import Relief
from halfgateway.control.replays import Replays
from halfgateway.control.rtsp_door import RtspDoor
from halfgateway.control.seat import House
from halfgateway.control.slots import SlotTable
from halfgateway.control.streams import Stream, StreamTable, Timings
from halfgateway.control.terms import Terms
from halfgateway.control.tickets import TicketKey, TicketStore
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.door import Caller, EndOfTransmission, StreamPath, Viewer
from halfgateway.errors import Refusal
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.digest import Secrets
from halfgateway.protocol.sdp import SessionDescription, parse
from halfgateway.relay.hub import Hub
from halfgateway.relay.reader import Reader
from halfgateway.relay.source import Source, SourceKey, VideoFormat
from halfgateway.replay.footage import Recorders
from tests.control.valkeys import Nodes
from tests.rights import SERVICE, SITE, rights

CAMERA, MACHINE, OPERATOR = "cam-1", "vms", "operator"
AGENT, RESPONSIBLE = "agent-1", "agent-2"
SOURCE = "198.51.100.7"
LEASE_S = 10.0
HOUR_S = 3600.0
REALM = "halfgateway"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SDP = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


def principal(role: Role) -> Principal:
    machine = role is Role.MACHINE
    return Principal(
        account=MACHINE if machine else role.value,
        role=role,
        agent=RESPONSIBLE if machine else AGENT,
        service=SERVICE,
        site=SITE,
        attribution=Attribution.MACHINE_ONLY if machine else Attribution.AGENT_AUTHENTICATED,
        factors=(),
        scope=None,
    )


def wish(role: Role = Role.OPERATOR, profile: str | None = "main", camera: str = CAMERA) -> AccessRequest:
    """A request as the API builds it."""
    return AccessRequest(
        principal=principal(role),
        camera=camera,
        profile=profile,
        mode=Mode.LIVE,
        reason="L251-2-5",
        reference=None,
        source=SOURCE,
        via=Via.API,
    )


@dataclass(eq=False)
class Player:
    """An RTSP session, as the door sees it."""

    ended_by: Refusal | None = None
    gave_way_to: Viewer | None = None
    refuses: Refusal | None = None
    hesitates: bool = False
    is_choosing: bool = False

    async def choose_transport(self, source: Source) -> None:
        self.is_choosing = True
        await asyncio.sleep(HOUR_S if self.hesitates else 0)
        if self.refuses is not None:
            raise self.refuses

    def end(self, cause: Refusal) -> EndOfTransmission | None:
        self.ended_by = cause
        return None

    def give_way(self, other: Viewer) -> None:
        self.gave_way_to = other


class Nowhere:
    """A sink that is always writable."""

    writable = True

    def write(self, data: bytes) -> None:
        """Forget it."""


@dataclass
class Machines:
    """One machine, whose certificate is ``b"its"``."""

    account: MachineAccount = field(
        default_factory=lambda: MachineAccount(
            principal(Role.MACHINE), Secrets("", ""), "L251-2-5", over_plain_rtsp=True
        )
    )

    def find(self, username: str) -> MachineAccount | None:
        return self.account if username == MACHINE else None

    def verify(self, certificate: bytes | None) -> None:
        if certificate not in {None, b"its"}:
            raise AuthenticationError(FailureReason.CERTIFICATE_UNTRUSTED)

    async def present(self, machine: MachineAccount, certificate: bytes | None) -> None:
        await asyncio.sleep(0)
        if certificate != b"its":
            raise AuthenticationError(FailureReason.CERTIFICATE_NOT_BOUND)


@dataclass
class State:
    """The interconnection, as the door asks for it."""

    closed_by: Refusal | None = None
    mode: str | None = None

    def require_open(self) -> None:
        if self.closed_by is not None:
            raise self.closed_by


@dataclass
class Cameras:
    """Cameras that play at once, unless they are told not to."""

    camera: Camera
    failure: Refusal | None = None
    plays: asyncio.Event = field(default_factory=asyncio.Event)

    def find(self, camera: str) -> Camera | None:
        return self.camera if camera == self.camera.id else None

    async def pull(self, source: Source) -> None:
        await asyncio.sleep(0)
        if self.failure is not None:
            source.interrupt(self.failure)
        else:
            await self.plays.wait()
            source.prepare(VideoFormat(Codec.H264, 90_000))
            source.begin()
        await asyncio.Event().wait()

    async def describe(self, key: SourceKey) -> SessionDescription:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return parse(SDP)


@dataclass
class WhoMay:
    """The records of who may, as a test wants them."""

    rights: Rights | None = field(
        default_factory=lambda: rights({AGENT: Role.OPERATOR, RESPONSIBLE: Role.MACHINE}, [CAMERA])
    )


@dataclass
class Place:
    """The door and what it stands on, of one node."""

    state: State
    cameras: Cameras
    rights: Freshness
    who_may: WhoMay
    journal: Journal
    tracer: Tracer
    slots: SlotTable
    handover: Handover
    tickets: TicketStore
    table: StreamTable
    closer: Closer
    hub: Hub
    house: House
    admission: Admission
    desk: Desk
    door: RtspDoor
    errands: Errands
    relief: Relief
    open_streams: OpenStreams
    replays: Replays

    async def open(self, wanted: AccessRequest | None = None) -> tuple[Stream, Caller]:
        """A ticket's reserved stream, and its holder."""
        stream, _, credentials = await self.desk.open(wanted or wish())
        return stream, Caller(credentials.username, SOURCE, secure=False)

    async def sit(self, caller: Caller, player: Player | None = None, profile: str | None = None) -> Any:
        """SETUP."""
        return await self.door.take_seat(caller, path(profile), player or Player())

    async def play(self, seat: Any) -> Reader:
        """PLAY, to nobody's eyes."""
        await seat.start()
        reader = Reader(Nowhere(), seat.gate, now=time.monotonic)
        seat.flow(reader, None)
        return reader

    async def renew(self) -> None:
        """What the node's enforcement does every few seconds."""
        doing = {stream.id: stream.activity(time.monotonic()) for stream in self.table}
        renewal = await self.slots.renew(doing.keys(), doing=doing)
        for stream in self.table:
            if stream.id in renewal.moved | renewal.lost:
                self.closer.end(stream, MovedToAnotherNode())

    async def from_the_beginning(self) -> None:
        """Nothing is open, and no camera is pulled."""
        for stream in self.table:
            self.closer.end(stream, ClosedOnRequest())
        await self.settle()
        await self.hub.close()

    async def settle(self) -> None:
        """Everything that was to be done later is done."""
        await self.closer.settle()
        await self.replays.settle()
        async with asyncio.timeout(10):
            await self.tracer.settle(10)

    async def told(self, stream: str | None = None) -> list[Entry]:
        """What the trace tells, oldest first."""
        page = await self.journal.reader().entries(limit=1000)
        return [entry for entry in reversed(page.items) if stream is None or entry.stream == stream]

    async def kinds(self, stream: str) -> list[Kind]:
        return [entry.kind for entry in await self.told(stream)]

    async def open_acts(self) -> list[OpenAct]:
        """What the trace has an intent of, and no result."""
        return open_streams(await self.told())

    async def ticket_life_s(self, ticket: str) -> float:
        """How much longer a ticket is good."""
        store = self.tickets._store
        left_ms: int = await store.client.pttl(store.key(f"ticket:{ticket}"))
        return left_ms / 1000

    def users(self) -> int:
        """How many take part in the hub's pulls."""
        return sum(self.hub._users.values())

    async def holds_only(self, where: str, *streams: Stream, users: int = 0) -> None:
        """Nothing is held by anybody but these streams: no slot, no place in table or hub; every intent is answered."""
        await self.settle()
        ids = {stream.id for stream in streams}
        assert set(self.table) == set(streams), where
        assert {holder.slot_id for holder in await self.slots.holders()} == ids, where
        assert self.users() == users, where
        assert {act.stream for act in await self.open_acts()} == ids, where


def path(profile: str | None = None, camera: str = CAMERA) -> StreamPath:
    return StreamPath("live", camera, profile, None)


class NoRecorders:
    """SYN records nothing here."""

    def of(self, camera: str) -> None:
        return None


BY_MACHINE = Caller(MACHINE, SOURCE, secure=True, certificate=b"its")


@asynccontextmanager
async def open_place(
    nodes: Nodes,
    folder: Path,
    node: str = "a",
    *,
    timings: Timings | None = None,
    slots: SlotTable | None = None,
    recorders: Recorders | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Place]:
    """A node's door; its timings let nothing end by itself unless they are given."""
    timings = timings or Timings(lease_s=LEASE_S, play_before_s=600, setup_to_play_s=600, resume_s=600)
    clock, now = clock or SystemClock(), time.monotonic
    async with AsyncExitStack() as life:
        journal = await Journal.open(folder / node, node=node, key=KEY, clock=clock)
        life.push_async_callback(journal.close)
        tracer = Tracer(journal, now=now, retry_s=0.01)
        writing = asyncio.create_task(tracer.run())
        life.push_async_callback(_cancelled, writing)
        slots = slots or await nodes.opened(node, lease_s=LEASE_S)
        tickets = TicketStore(nodes.store())
        table = StreamTable(now=now)
        closer = Closer(table=table, slots=slots, tickets=tickets, tracer=tracer, clock=clock)
        profiles = tuple(Profile(id=name, codec="H264", width=0, height=0, fps=0) for name in ("main", "sub"))
        described = Camera(id=CAMERA, name="Place", site="", commune="", latitude=0, longitude=0, profiles=profiles)
        cameras = Cameras(replace(described, recorded=recorders is not None))
        cameras.plays.set()
        hub = Hub(cameras.pull, now=now)
        life.push_async_callback(hub.close)
        terms = Terms(Convention("c", datetime(2025, 1, 1, tzinfo=UTC), machine_only_agreement="agreed"), timings)
        house = House(hub=hub, table=table, closer=closer, tracer=tracer, terms=terms, now=now)
        state, freshness = State(), Freshness(now=now, max_age_s=math.inf)
        freshness.seen()
        who_may = WhoMay()
        errands = Errands(nodes.store(), node=node)
        handover = Handover(errands, slots, table)
        reclaim = IdleReclaim(node=node, table=table, slots=slots, closer=closer, errands=errands, terms=terms, now=now)
        admission = Admission(
            state=state,
            rights=freshness,
            who_may=lambda: who_may.rights,
            reclaim=reclaim,
            handover=handover,
            terms=terms,
            find_camera=cameras.find,
            slots=slots,
            tracer=tracer,
            table=table,
            closer=closer,
            clock=clock,
        )
        relief = Relief(table=table, slots=slots, tickets=tickets, admission=admission, tracer=tracer, terms=terms)
        key = TicketKey(b"k" * 32)
        desk = Desk(house=house, admission=admission, key=key, tickets=tickets, find_camera=cameras.find, clock=clock)
        replays = Replays(recorders or NoRecorders(), admission, clock, now=now)
        callers = Callers(
            house=house,
            admission=admission,
            machines=Machines(),
            ticket_key=key,
            tickets=tickets,
            find_camera=cameras.find,
            realm=REALM,
            throttle=Throttle(SystemClock()),
        )
        door = RtspDoor(
            house=house,
            admission=admission,
            callers=callers,
            find_camera=cameras.find,
            descriptions=Descriptions(cameras.describe),
            replays=replays,
        )
        open_streams = OpenStreams(
            node=node,
            table=table,
            slots=slots,
            holder_of=admission.holder_of,
            desk=desk,
            relief=relief,
            errands=errands,
            terms=terms,
            clock=clock,
            now=now,
        )
        yield Place(
            state,
            cameras,
            freshness,
            who_may,
            journal,
            tracer,
            slots,
            handover,
            tickets,
            table,
            closer,
            hub,
            house,
            admission,
            desk,
            door,
            errands,
            relief,
            open_streams,
            replays,
        )


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
