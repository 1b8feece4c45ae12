"""The API's ports, filled by the door, the registry and the trace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from auth.policy import Mode, may_know_of, oldest_accessible
from auth.principals import Principal, Role
from auth.rights import Rights
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from camera_registry.store import CameraStore
from halfgateway.api.local import is_local
from halfgateway.api.ports import CutOutcome, Page
from halfgateway.api.restoration_shapes import PreflightShape, ProposalShape
from halfgateway.api.shapes import InterconnectionView, Interval, NodeCut, Recordings, Slots, Window
from halfgateway.api.stream_shapes import StreamRequest, StreamView, Ticket
from halfgateway.control.access import AccessRequest, Via
from halfgateway.control.assertions import Assertions, Claim
from halfgateway.control.desk import Desk
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.open_streams import OpenStreams
from halfgateway.control.proposals import Person
from halfgateway.control.relief import Newcomer
from halfgateway.control.restoration import Restoration
from halfgateway.control.slots import SlotTable
from halfgateway.control.streams import StreamTable
from halfgateway.control.terms import Terms
from halfgateway.errors import InvalidRequest, NoRecording, OutsideRetention, StateStoreUnavailable, UnknownCamera
from halfgateway.replay.footage import Recorders
from ops.interconnection import Author, Ground


@dataclass(frozen=True, slots=True)
class StreamAddresses:
    """How the outside reaches this node's RTSP: ``rtsp://HOST:PORT``, empty where it does not listen."""

    rtsp: str
    rtsps: str


class CatalogueService:
    """Fills :class:`~halfgateway.api.ports.CameraCatalogue` from memory: the registry's, and that of who may."""

    def __init__(
        self,
        store: CameraStore,
        who_may: Callable[[], Rights | None],
        terms: Terms,
        clock: Clock,
        recorders: Recorders,
    ) -> None:
        self._store = store
        self._who_may = who_may
        self._terms = terms
        self._clock = clock
        self._recorders = recorders

    async def list_cameras(self, viewer: Principal, *, limit: int, cursor: str | None) -> Page[Camera]:
        """See the port; the cursor is the last identifier given."""
        known = [
            camera
            for camera in self._store.list()
            if (cursor is None or camera.id > cursor) and self._may_know(viewer, camera)
        ]
        page = known[:limit]
        return Page(page, page[-1].id if len(known) > limit else None)

    async def camera(self, viewer: Principal, camera_id: str) -> Camera:
        """See the port: one that is not exposed to the viewer does not exist for them (L06)."""
        camera = self._store.get(camera_id)
        if camera is None or not self._may_know(viewer, camera):
            raise UnknownCamera("Caméra inconnue.")
        return camera

    async def recordings(
        self, viewer: Principal, camera_id: str, *, start: datetime | None, end: datetime | None
    ) -> Recordings:
        """See the port: what there is, clipped to the window (C03)."""
        camera, rights = await self.camera(viewer, camera_id), self._who_may()
        footage, now = self._recorders.of(camera.id), self._clock.now()
        if footage is None or rights is None:
            raise NoRecording("Aucun enregistrement n'est disponible pour cette caméra sur la période demandée.")
        oldest = oldest_accessible(viewer, camera, now, self._terms.convention, rights)
        if oldest is None or (end is not None and end <= oldest):
            raise OutsideRetention("La période demandée n'est pas accessible.")
        if start is not None and start >= now:
            raise OutsideRetention("La période demandée est postérieure à l'heure actuelle.")
        found = await footage.find(max(start or oldest, oldest), min(end or now, now))
        return Recordings(
            camera=camera.id,
            window=Window(start=oldest, end=now),
            intervals=tuple(Interval(start=each.start, end=each.end, verified=each.verified) for each in found),
        )

    def _may_know(self, viewer: Principal, camera: Camera) -> bool:
        rights = self._who_may()
        return rights is not None and may_know_of(viewer, camera, self._clock.now(), self._terms.convention, rights)


class StreamService:
    """Fills :class:`~halfgateway.api.ports.Streams` from the desk and what all nodes serve."""

    def __init__(self, *, desk: Desk, assertions: Assertions, streams: OpenStreams, addresses: StreamAddresses) -> None:
        self._desk = desk
        self._assertions = assertions
        self._streams = streams
        self._addresses = addresses

    async def open(
        self, requester: Principal, wish: StreamRequest, *, source: str, certificate_der: bytes | None
    ) -> Ticket:
        """See the port."""
        request = AccessRequest(
            principal=requester,
            camera=wish.camera,
            profile=wish.profile,
            mode=wish.mode,
            reason=wish.reason.value,
            reference=wish.reference,
            source=source,
            via=Via.API,
            start=wish.start,
            end=wish.end,
        )
        if wish.assertion is not None:
            claim = Claim(requester, wish.assertion, request.reason, request.reference, source, certificate_der)
            asserted = await self._assertions.accept(claim)
            request = replace(
                request, principal=asserted.principal, reference=asserted.reference, assertion=asserted.entry
            )
        stream, ticket, credentials = await self._desk.open(request)
        path = f"/{ticket.mode}/{ticket.camera}" + (f"/{ticket.profile}" if wish.profile else "")
        addresses = self._addresses
        return Ticket(
            id=stream.id,
            camera=ticket.camera,
            mode=Mode(ticket.mode),
            rtsp_url=addresses.rtsp and addresses.rtsp + path,
            rtsps_url=addresses.rtsps and addresses.rtsps + path,
            username=credentials.username,
            password=credentials.password,
            play_before=ticket.play_before,
            slot=stream.slot,
        )

    async def list_open(self) -> Sequence[StreamView]:
        """See the port."""
        return [StreamView.of(stream) for stream in await self._streams.list_all()]

    async def find(self, stream_id: str) -> StreamView | None:
        """See the port."""
        stream = await self._streams.find(stream_id)
        return StreamView.of(stream) if stream is not None else None

    async def close(self, stream_id: str, *, by: Principal, reason: str | None, source: str) -> None:
        """See the port."""
        stream = await self._streams.find(stream_id)
        if stream is not None:
            await self._streams.close(stream, by=by, reason=reason)

    async def hand_over(
        self,
        stream_id: str,
        *,
        by: Principal,
        assertion: str | None,
        source: str,
        certificate_der: bytes | None,
    ) -> bool:
        """See the port."""
        stream = await self._streams.find(stream_id)
        if stream is None:
            return False
        newcomer = Newcomer(by, None, None, source)
        if assertion is not None:
            claim = Claim(by, assertion, stream.reason, None, source, certificate_der)
            asserted = await self._assertions.accept(claim)
            newcomer = Newcomer(asserted.principal, asserted.reference, asserted.entry, source)
        return await self._streams.hand_over(stream, newcomer)


class InterconnectionService:
    """Fills :class:`~halfgateway.api.ports.Interconnection`."""

    def __init__(
        self,
        *,
        interconnection: Interconnection,
        restoration: Restoration,
        slots: SlotTable,
        table: StreamTable,
        terms: Terms,
        node: str,
    ) -> None:
        self._interconnection = interconnection
        self._restoration = restoration
        self._slots = slots
        self._table = table
        self._terms = terms
        self._node = node

    async def view(self) -> InterconnectionView:
        """See the port. The slots are those of all nodes, or this node's own while the store does not answer."""
        state = self._interconnection.state
        return InterconnectionView(
            state=state.state,
            since=state.since,
            by=state.by,
            ground=state.ground,
            incident=state.incident,
            mode=state.mode,
            slots=await self._usage(),
        )

    async def _usage(self) -> Slots:
        try:
            used, cap = await self._slots.usage()
        except StateStoreUnavailable:
            used, cap = len(self._table), self._terms.convention.cap
        return Slots(used=used, cap=cap)

    async def cut(
        self, *, by: Principal, ground: Ground, reason: str, occurred_at: datetime | None, source: str
    ) -> CutOutcome:
        """See the port."""
        cutting = await self._interconnection.cut(
            ground=ground,
            reason=reason,
            by=_author(by),
            actor=by.account,
            source=source,
            occurred_at=occurred_at,
        )
        return CutOutcome(cutting.incident, cutting.at, [NodeCut(id=self._node, streams_closed=cutting.streams_closed)])

    async def preflight(self) -> PreflightShape:
        """See the port."""
        return PreflightShape.of(await self._restoration.outlook(), self._node)

    async def restore(
        self, *, by: Principal, incident: str, reason: str, motive: str | None, source: str
    ) -> ProposalShape | None:
        """See the port."""
        person = Person(_author(by), by.account, by.agent, source)
        proposal = await self._restoration.restore(person, incident=incident, reason=reason, motive=motive)
        return ProposalShape.of(proposal)

    async def degrade(self, *, by: Principal, mode: str | None, reason: str, source: str) -> None:
        """See the port."""
        if mode is not None and mode not in self._terms.modes:
            raise InvalidRequest("La Préfecture de police n'a donné son accord à aucun mode dégradé de ce nom.")
        await self._interconnection.degrade(mode=mode, reason=reason, by=_author(by), actor=by.account, source=source)


class HealthService:
    """Fills :class:`~halfgateway.api.ports.Health` from named checks; one that raises nothing is well."""

    def __init__(
        self, checks: Sequence[tuple[str, Callable[[], Awaitable[object]]]], ill: tuple[type[Exception], ...]
    ) -> None:
        self._checks = checks
        self._ill = ill

    async def missing(self) -> Sequence[str]:
        """See the port."""
        missing = []
        for name, check in self._checks:
            try:
                await check()
            except self._ill:
                missing.append(name)
        return missing


def _author(principal: Principal) -> Author:
    """In which capacity: an account of the machine has the officer's rights over registers, and never speaks for it."""
    return Author.OFFICER if principal.role is Role.OFFICER and not is_local(principal) else Author.OPS
