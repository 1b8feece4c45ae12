"""The door as RTSP comes to it: by a ticket, or by a machine account (docs/integration-pp.md)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from auth.policy import Mode
from auth.trace import Draft, Kind
from camera_registry.cameras import Camera
from halfgateway.control.access import AccessRequest
from halfgateway.control.admission import Admission
from halfgateway.control.callers import Callers
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.endings import NotPlayed, NotResumed
from halfgateway.control.replay_seat import RecordedSeat, Recording
from halfgateway.control.replays import Presentation, Replays
from halfgateway.control.seat import House, Place, StreamSeat
from halfgateway.control.streams import Stream
from halfgateway.downstream.door import Caller, ReplaySeat, Seat, StreamPath, Viewer
from halfgateway.downstream.paths import TRACK
from halfgateway.errors import Refusal, StateStoreUnavailable, TransportNotOffered, UnknownCamera
from halfgateway.protocol.digest import Secrets
from halfgateway.protocol.ranges import ClockRange
from halfgateway.protocol.reader_sdp import describe_for_reader
from halfgateway.relay.source import Source, SourceKey
from halfgateway.replay.footage import Footage

DESCRIBED_EVERY_S = 60.0
"""A VMS describes every camera every 30 s; one entry a minute says so (S13)."""

REPLAY_TRACK = "VIDEO001"
"""The token of the one track of every recording (ONVIF Streaming 6.2)."""

SDP_SESSION_ID = 1
"""The ``o=`` session id of every description: a reader's SDP says nothing of the house (C16)."""

MAX_REMEMBERED_DESCRIPTIONS = 10_000
"""Pairs of account and camera whose last description is remembered. When full, the oldest are forgotten, and
described again in the trace."""


class RtspDoor:
    """Fills :class:`~halfgateway.downstream.door.Door` with descriptions and seats, live and recorded."""

    def __init__(
        self,
        *,
        house: House,
        admission: Admission,
        callers: Callers,
        find_camera: Callable[[str], Camera | None],
        descriptions: Descriptions,
        replays: Replays,
    ) -> None:
        self._house = house
        self._admission = admission
        self._callers = callers
        self._find_camera = find_camera
        self._descriptions = descriptions
        self._replays = replays
        self._arrivals: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._described: OrderedDict[tuple[str, str], float] = OrderedDict()

    def secrets(self, username: str) -> Secrets | None:
        """See :class:`~halfgateway.downstream.door.Door`."""
        return self._callers.secrets(username)

    def wrong_credentials(self, username: str, source: str, *, of_another_resource: bool = False) -> None:
        """See :class:`~halfgateway.downstream.door.Door`."""
        self._callers.wrong_credentials(username, source, of_another_resource=of_another_resource)

    def refuse_while_closed(self, caller: Caller, path: StreamPath) -> None:
        """See :class:`~halfgateway.downstream.door.Door`. The store is not asked."""
        self._callers.refuse_while_closed(caller, path)

    def refused_action(self, caller: Caller, action: str, path: str) -> None:
        """See :class:`~halfgateway.downstream.door.Door`."""
        draft = Draft(
            kind=Kind.ACTION_REFUSED,
            account=caller.username,
            source=caller.source,
            detail={"action": action, "path": path},
        )
        self._house.tracer.refusal(draft)

    async def describe(self, caller: Caller, path: StreamPath) -> bytes:
        """See :class:`~halfgateway.downstream.door.Door`."""
        request = await self._callers.request_of(caller, path)
        if path.is_recorded:
            return await self._describe_recording(request, path, caller)
        self._admission.recheck(request)
        camera, key = self._source_of(request)
        try:
            description = await self._descriptions.of(key)
        except Refusal as refusal:
            self._traced(request, refusal)
            raise
        if self._first_for_a_while(request.principal.account, camera.id):
            await self._house.tracer.durable(request.entry(Kind.STREAM_DESCRIBED))
        return describe_for_reader(
            description,
            control=TRACK,
            session_id=SDP_SESSION_ID,
            name=camera.name,
            over_ipv6=":" in caller.source,
        )

    async def _describe_recording(self, request: AccessRequest, path: StreamPath, caller: Caller) -> bytes:
        """A recording's description is that of the footage where its presentation begins."""
        presentation, _ = await self._presented(request, path)
        try:
            description = await self._replays.describe(request, path.span, presentation)
        except Refusal as refusal:
            self._traced(request, refusal)
            raise
        if self._first_for_a_while(request.principal.account, f"{request.camera} {request.mode}"):
            await self._house.tracer.durable(request.entry(Kind.STREAM_DESCRIBED))
        camera = self._find_camera(request.camera)
        return describe_for_reader(
            description,
            control=TRACK,
            session_id=SDP_SESSION_ID,
            name=camera.name if camera is not None else request.camera,
            span=str(ClockRange(presentation.begin, presentation.end)),
            over_ipv6=":" in caller.source,
            replay_track=REPLAY_TRACK,
        )

    async def take_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> Seat:
        """See :class:`~halfgateway.downstream.door.Door`."""
        request = await self._callers.request_of(caller, path)
        async with self._one_at_a_time(request):
            return await self._seat(request, viewer)

    async def take_replay_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> ReplaySeat:
        """See :class:`~halfgateway.downstream.door.Door`. No session is asked of the recorder before PLAY."""
        request = await self._callers.request_of(caller, path)
        async with self._one_at_a_time(request):
            presentation, footage = await self._presented(request, path)
            stream = await self._stream_of(request)
            recording = Recording(footage, presentation)
            seat = RecordedSeat(self._house, stream, viewer, recording, self._replays, self._admission)
            await self._sit_down(seat, stream, request, None, viewer)
            return seat

    async def _presented(self, request: AccessRequest, path: StreamPath) -> tuple[Presentation, Footage]:
        """What a request for a recording presents, if it may be seen. Raises a Refusal, traced."""
        start = path.span.start if path.span is not None else request.start
        self._admission.recheck(replace(request, start=start))
        try:
            footage = self._replays.footage(request.camera)
            return await self._replays.presentation(request, path.span), footage
        except Refusal as refusal:
            self._traced(request, refusal)
            raise

    def _one_at_a_time(self, request: AccessRequest) -> asyncio.Lock:
        holder = (request.ticket or request.principal.account, request.camera)
        return self._arrivals.setdefault(holder, asyncio.Lock())

    async def _seat(self, request: AccessRequest, viewer: Viewer) -> Seat:
        self._admission.recheck(request)
        _, key = self._source_of(request)
        stream = await self._stream_of(request)
        try:
            source = await self._house.hub.enter(key)
        except BaseException as error:
            self._not_seated(stream, request, error)
            raise
        seat = StreamSeat(self._house, stream, source, viewer)
        await self._sit_down(seat, stream, request, source, viewer)
        return seat

    async def _sit_down(
        self, seat: Place, stream: Stream, request: AccessRequest, source: Source | None, viewer: Viewer
    ) -> None:
        try:
            await viewer.choose_transport(source)
        except TransportNotOffered as refusal:
            seat.give_up()
            self._ask_for_another_transport(stream, refusal)
            raise
        except BaseException as error:
            seat.give_up()
            self._not_seated(stream, request, error)
            raise
        if stream not in self._house.table:
            seat.give_up()
            self._admission.recheck(request)
            raise StateStoreUnavailable("Le Flux a pris fin avant d'avoir commencé.")
        if request.ticket is not None:
            for occupant in tuple(stream.seats):
                occupant.give_way(viewer)
        seat.take()

    async def _stream_of(self, request: AccessRequest) -> Stream:
        return await (self._stream_of_machine(request) if request.ticket is None else self._stream_of_ticket(request))

    async def _stream_of_ticket(self, request: AccessRequest) -> Stream:
        stream = self._house.table.get(request.stream)
        if stream is None:
            await self._house.closer.let_go(request.stream)
            ticket = await self._callers.good_ticket(request.ticket or "", request.source)
            stream = await self._admission.admit(request)
            stream.ticket = ticket
            stream.end_unless(NotPlayed, self._house.timings.setup_to_play_s, self._house.now())
        elif stream.parked:
            await self._resume(stream, request)
        return stream

    async def _stream_of_machine(self, request: AccessRequest) -> Stream:
        """A slot that this machine may share or take up again, else one of its own."""
        table, account = self._house.table, request.principal.account
        if request.mode is Mode.LIVE:
            stream = table.shareable(account, request.camera, request.profile or "")
            if stream is not None:
                return stream
        stream = table.parked(account, request.camera, request.mode, request.source)
        if stream is not None:
            await self._resume(stream, stream.request)
            stream.parked = False
        else:
            stream = await self._admission.admit(request)
        stream.end_unless(NotPlayed, self._house.timings.setup_to_play_s, self._house.now())
        return stream

    async def _resume(self, stream: Stream, request: AccessRequest) -> None:
        """Take up a stream whose connection was lost: it came in time, and does not lapse while that is written."""
        if stream.expiry is NotResumed:
            stream.end_unless(NotPlayed, self._house.timings.setup_to_play_s, self._house.now())
        await self._house.tracer.durable(request.entry(Kind.STREAM_RESUMED, {"slot": stream.slot}))

    def _not_seated(self, stream: Stream, request: AccessRequest, error: BaseException) -> None:
        """The camera did not come: a ticket keeps its reservation, a machine its slot only if it is used elsewise."""
        if isinstance(error, Refusal):
            self._house.tracer.refusal(request.refused(error))
        if stream.request.ticket is None and not stream.seats:
            self._house.closer.end(stream, error if isinstance(error, Refusal) else NotPlayed())

    def _ask_for_another_transport(self, stream: Stream, refusal: TransportNotOffered) -> None:
        """The player asks again at once, by TCP: the slot is kept for that."""
        about = {"action": "SETUP over UDP", "path": ""}
        self._house.tracer.refusal(stream.request.entry(Kind.ACTION_REFUSED, about, refusal=refusal.code))
        if stream.request.ticket is None and not stream.seats:
            stream.parked = True

    def _source_of(self, request: AccessRequest) -> tuple[Camera, SourceKey]:
        camera = self._find_camera(request.camera)
        if camera is None or request.profile not in {profile.id for profile in camera.profiles}:
            raise self._traced(request, UnknownCamera("Profil inconnu pour cette caméra."))
        return camera, SourceKey(camera.id, request.profile or "")

    def _traced(self, request: AccessRequest, refusal: Refusal) -> Refusal:
        self._house.tracer.refusal(request.refused(refusal))
        return refusal

    def _first_for_a_while(self, account: str, camera: str) -> bool:
        now, pair = self._house.now(), (account, camera)
        last_s = self._described.get(pair)
        if last_s is not None and now - last_s < DESCRIBED_EVERY_S:
            return False
        self._described[pair] = now
        self._described.move_to_end(pair)
        if len(self._described) > MAX_REMEMBERED_DESCRIPTIONS:
            self._described.popitem(last=False)
        return True
