"""The door and what it stands on, put together."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from auth.certificates import CertificateVerifier
from auth.policy import Convention
from camera_registry.clock import Clock
from camera_registry.store import CameraStore
from halfgateway.app.keeping import EMBEDDED, Records
from halfgateway.config import Configuration
from halfgateway.control.admission import Admission
from halfgateway.control.closing import Closer
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.desk import Desk
from halfgateway.control.freshness import Freshness
from halfgateway.control.handover import Handover
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.machines import MachineDirectory, MachineUse
from halfgateway.control.rights_watch import RightsView, RightsWatch
from halfgateway.control.rtsp_door import RtspDoor
from halfgateway.control.seat import House
from halfgateway.control.shared_state import SharedInterconnection
from halfgateway.control.slots import SlotTable
from halfgateway.control.store import StateStore
from halfgateway.control.streams import StreamTable
from halfgateway.control.tickets import TicketKey, TicketStore
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.answers import REALM
from halfgateway.keys import NodeKeys
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.hub import Hub
from halfgateway.relay.source import SourceKey
from halfgateway.survey import target_of
from halfgateway.upstream.client import Target
from halfgateway.upstream.pull import Puller
from ops.local_record import LocalRecord


@dataclass(frozen=True, slots=True)
class Control:
    """The door and what it stands on."""

    convention: Convention
    rights: Freshness
    tracer: Tracer
    store: StateStore
    slots: SlotTable
    handover: Handover
    tickets: TicketStore
    shared: SharedInterconnection
    table: StreamTable
    closer: Closer
    interconnection: Interconnection
    hub: Hub
    descriptions: Descriptions
    desk: Desk
    door: RtspDoor
    view: RightsView
    watch: RightsWatch
    machines: MachineDirectory


async def open_control(
    configuration: Configuration,
    keys: NodeKeys,
    record: LocalRecord,
    records: Records,
    store: StateStore,
    tracer: Tracer,
    certificates: CertificateVerifier,
    clock: Clock,
    *,
    keyframe_wanted: Callable[[SourceKey], None],
) -> Control:
    convention, timings = configuration.convention.record(), configuration.timings.record()
    slots = SlotTable(store, node=configuration.node.id, cap=convention.cap, clock=clock, lease_s=timings.lease_s)
    if configuration.state_store.url == EMBEDDED:
        await slots.open_epoch()
    rights = Freshness(now=time.monotonic)
    sites = frozenset(site.id for site in configuration.sites)
    view = RightsView(records.database.sessions, clock, sites=lambda: sites)
    tickets, shared = TicketStore(store), SharedInterconnection(store)
    table = StreamTable(now=time.monotonic)
    handover = Handover(store, slots, table, node=configuration.node.id)
    closer = Closer(table=table, slots=slots, tickets=tickets, tracer=tracer, clock=clock)
    interconnection = Interconnection(
        record=record,
        publish=shared.publish,
        table=table,
        closer=closer,
        tracer=tracer,
        clock=clock,
        now=time.monotonic,
    )
    puller = Puller(
        lambda key: _target(records.cameras, key),
        chance=random.random,
        now=time.monotonic,
        on_described=lambda key, presentation: descriptions.remember(key, presentation.description),
        coalescing=Coalescing(),
    )
    descriptions = Descriptions(lambda key: _description(puller, key))
    hub = Hub(puller.pull, now=time.monotonic, stuck_limit_s=timings.stuck_reader_s, keyframe_wanted=keyframe_wanted)
    house = House(
        hub=hub,
        table=table,
        closer=closer,
        tracer=tracer,
        timings=timings,
        now=time.monotonic,
        join_at_keyframe=frozenset(use.id for use in configuration.machines if use.join == "keyframe"),
    )
    admission = Admission(
        state=interconnection,
        rights=rights,
        who_may=view.current,
        convention=convention,
        find_camera=records.cameras.get,
        slots=slots,
        handover=handover,
        tracer=tracer,
        table=table,
        closer=closer,
        clock=clock,
    )
    uses = [MachineUse(use.id, use.agent, use.reason, use.over_plain_rtsp) for use in configuration.machines]
    tls = configuration.tls
    all_show_one = tls is not None and tls.tickets_need_certificate
    machines = MachineDirectory(records.accounts, certificates, uses, all_show_one=all_show_one)
    await machines.load()
    ticket_key, find_camera = TicketKey(keys.ticket), records.cameras.get
    desk = Desk(house=house, admission=admission, key=ticket_key, tickets=tickets, find_camera=find_camera, clock=clock)
    door = RtspDoor(
        house=house,
        admission=admission,
        machines=machines,
        ticket_key=ticket_key,
        tickets=tickets,
        find_camera=find_camera,
        descriptions=descriptions,
        realm=REALM,
    )
    return Control(
        convention=convention,
        rights=rights,
        tracer=tracer,
        store=store,
        slots=slots,
        handover=handover,
        tickets=tickets,
        shared=shared,
        table=table,
        closer=closer,
        interconnection=interconnection,
        hub=hub,
        descriptions=descriptions,
        desk=desk,
        door=door,
        view=view,
        watch=RightsWatch(view=view, admission=admission, table=table, closer=closer, now=time.monotonic),
        machines=machines,
    )


def _target(cameras: CameraStore, key: SourceKey) -> Target | None:
    source = cameras.snapshot.source(key.camera, key.profile)
    return target_of(source) if source is not None else None


async def _description(puller: Puller, key: SourceKey) -> SessionDescription:
    return (await puller.describe(key)).description
