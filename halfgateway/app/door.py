"""The door and what it stands on, put together."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from auth.assertion_keys import UsedAssertions
from auth.certificates import CertificateVerifier
from auth.possession import CertificateProof
from auth.reservations import Reservations
from auth.throttle import Throttle
from camera_registry.clock import Clock
from camera_registry.store import CameraStore
from halfgateway.app.keeping import Records
from halfgateway.config import Configuration
from halfgateway.control.admission import Admission
from halfgateway.control.assertions import Assertions
from halfgateway.control.callers import Callers
from halfgateway.control.closing import Closer
from halfgateway.control.descriptions import Descriptions
from halfgateway.control.desk import Desk
from halfgateway.control.entitlement import Entitlement
from halfgateway.control.errands import Errands
from halfgateway.control.freshness import Freshness
from halfgateway.control.handover import Handover
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.lease_script import Limits
from halfgateway.control.machines import MachineDirectory, MachineUse
from halfgateway.control.open_streams import OpenStreams
from halfgateway.control.reclaim import IdleReclaim
from halfgateway.control.relief import Relief
from halfgateway.control.replays import Replays
from halfgateway.control.rights_view import RecordsWatch, RightsView
from halfgateway.control.rtsp_door import RtspDoor
from halfgateway.control.seat import House
from halfgateway.control.shared_state import SharedInterconnection
from halfgateway.control.slots import SlotTable
from halfgateway.control.store import StateStore
from halfgateway.control.streams import StreamTable
from halfgateway.control.terms import Terms
from halfgateway.control.tickets import TicketKey, TicketStore
from halfgateway.control.tracing import Tracer
from halfgateway.database import EMBEDDED
from halfgateway.downstream.answers import REALM
from halfgateway.keys import NodeKeys
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.hub import Hub
from halfgateway.relay.source import SourceKey
from halfgateway.replay.footage import Recorders
from halfgateway.survey import target_of
from halfgateway.upstream.client import Target
from halfgateway.upstream.pull import Puller
from ops.local_record import LocalRecord
from ops.windows import drains_until


@dataclass(frozen=True, slots=True)
class Control:
    """The door and what it stands on."""

    terms: Terms
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
    puller: Puller
    descriptions: Descriptions
    recorders: Recorders
    replays: Replays
    admission: Admission
    machines: MachineDirectory
    entitlement: Entitlement
    desk: Desk
    door: RtspDoor
    throttle: Throttle
    assertions: Assertions
    view: RightsView
    errands: Errands
    relief: Relief
    open_streams: OpenStreams
    reservations: Reservations
    records_watch: RecordsWatch


async def open_control(
    configuration: Configuration,
    keys: NodeKeys,
    record: LocalRecord,
    records: Records,
    store: StateStore,
    tracer: Tracer,
    certificates: CertificateVerifier,
    proof: CertificateProof,
    clock: Clock,
    *,
    keyframe_wanted: Callable[[SourceKey], None],
    recorders: Recorders,
) -> Control:
    terms = terms_of(configuration)
    node = configuration.node.id
    view = RightsView(records.database.sessions, clock, sites=lambda: terms.sites)
    slots = SlotTable(
        store,
        node=node,
        limits=lambda: Limits(terms.cap(interconnection.mode), terms.line.ceiling_kbps, view.current()),
        clock=clock,
        lease_s=terms.timings.lease_s,
    )
    rights = Freshness(now=time.monotonic)
    tickets, shared = TicketStore(store), SharedInterconnection(store)
    table = StreamTable(now=time.monotonic)
    errands = Errands(store, node=node)
    handover = Handover(errands, slots, table)
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
    if configuration.state_store.url == EMBEDDED:
        await slots.open_epoch()
    puller = Puller(
        lambda key: _target(records.cameras, key),
        chance=random.random,
        now=time.monotonic,
        on_described=lambda key, presentation: descriptions.remember(key, presentation.description),
        coalescing=Coalescing(),
    )
    descriptions = Descriptions(lambda key: _description(puller, key))
    hub = Hub(
        puller.pull,
        now=time.monotonic,
        stuck_limit_s=terms.timings.stuck_reader_s,
        keyframe_wanted=keyframe_wanted,
    )
    house = House(hub=hub, table=table, closer=closer, tracer=tracer, terms=terms, now=time.monotonic)
    admission = Admission(
        state=interconnection,
        rights=rights,
        who_may=view.current,
        terms=terms,
        find_camera=records.cameras.get,
        slots=slots,
        reclaim=IdleReclaim(
            node=node, table=table, slots=slots, closer=closer, errands=errands, terms=terms, now=time.monotonic
        ),
        handover=handover,
        tracer=tracer,
        table=table,
        closer=closer,
        clock=clock,
        drains_until=lambda: drains_until(view.life().windows, interconnection.state, clock.now()),
    )
    relief = Relief(table=table, slots=slots, tickets=tickets, admission=admission, tracer=tracer, terms=terms)
    machines = MachineDirectory(records.accounts, certificates, proof=proof)
    machines.adopt(await machines.read(machine_uses(configuration)), all_show_one=tickets_show_one(configuration))
    entitlement = Entitlement(table=table, admission=admission, machines=machines, now=time.monotonic)
    ticket_key, find_camera = TicketKey(keys.ticket), records.cameras.get
    desk = Desk(house=house, admission=admission, key=ticket_key, tickets=tickets, find_camera=find_camera, clock=clock)
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
        now=time.monotonic,
    )
    throttle = Throttle(clock)
    replays = Replays(recorders, admission, clock, now=time.monotonic)
    callers = Callers(
        house=house,
        admission=admission,
        machines=machines,
        ticket_key=ticket_key,
        tickets=tickets,
        find_camera=find_camera,
        realm=REALM,
        throttle=throttle,
    )
    door = RtspDoor(
        house=house,
        admission=admission,
        callers=callers,
        find_camera=find_camera,
        descriptions=descriptions,
        replays=replays,
    )
    agreed = configuration.assertions
    assertions = Assertions(
        rules=agreed.rules() if agreed is not None else None,
        keys=records.assertion_keys,
        used=UsedAssertions(records.database.sessions, clock),
        certificates=proof,
        tracer=tracer,
        clock=clock,
    )
    return Control(
        terms=terms,
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
        puller=puller,
        descriptions=descriptions,
        recorders=recorders,
        replays=replays,
        admission=admission,
        machines=machines,
        entitlement=entitlement,
        desk=desk,
        door=door,
        throttle=throttle,
        assertions=assertions,
        view=view,
        errands=errands,
        relief=relief,
        open_streams=open_streams,
        reservations=Reservations(records.database.sessions, clock, record=tracer.durable),
        records_watch=RecordsWatch(view),
    )


def terms_of(configuration: Configuration) -> Terms:
    """What a configuration agrees, as the door reads it."""
    return Terms(
        configuration.convention.record(),
        configuration.timings.record(),
        join_at_keyframe=frozenset(use.id for use in configuration.machines if use.join == "keyframe"),
        line=configuration.line.record(),
        sites=frozenset(site.id for site in configuration.sites),
        modes={mode.name: mode.record() for mode in configuration.degraded_modes},
        idle_rule=configuration.idle_rule.record() if configuration.idle_rule is not None else None,
        bulk_accounts=frozenset(configuration.recordings.bulk_accounts),
        bulk_agreed=configuration.recordings.bulk_agreement is not None,
    )


def machine_uses(configuration: Configuration) -> list[MachineUse]:
    """The machines of which something is agreed."""
    return [MachineUse(use.id, use.agent, use.reason, use.over_plain_rtsp) for use in configuration.machines]


def tickets_show_one(configuration: Configuration) -> bool:
    """Whether over RTSPS a certificate is asked of tickets too."""
    return configuration.tls is not None and configuration.tls.tickets_need_certificate


def _target(cameras: CameraStore, key: SourceKey) -> Target | None:
    source = cameras.snapshot.source(key.camera, key.profile)
    return target_of(source) if source is not None else None


async def _description(puller: Puller, key: SourceKey) -> SessionDescription:
    return (await puller.describe(key)).description
