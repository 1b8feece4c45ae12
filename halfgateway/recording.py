"""What ``halfgateway recorder`` is made of, from the configuration, the node's records and the recorder's own folder.

It pulls as the node does, with the addresses and passwords of the node's records, and writes a journal of its own:
its register of recordings and destructions (L04). Without the records it goes on with what it last read of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from auth.errors import AuthError
from auth.sealing import Sealing
from auth.trace import Draft, Journal, Kind, TraceUnavailable
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from camera_registry.errors import StoreUnavailable
from camera_registry.hold_store import HoldStore
from camera_registry.order_store import OrderStore
from camera_registry.orders import Order
from camera_registry.retention import keeping_orders
from camera_registry.store import CameraStore
from halfgateway.attending import RECORDER, CurrentFile, voices_of
from halfgateway.config import Configuration, ConfigurationError
from halfgateway.config_recorder import RecordingProcessSection
from halfgateway.database import EMBEDDED, Database, database_at
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.net.coalescing import Coalescing
from halfgateway.opening import open_trace
from halfgateway.recorder.keeper import Keeper, Limits
from halfgateway.recorder.law import Law
from halfgateway.recorder.recorder import Footage, Recorder
from halfgateway.recorder.retention import Hold, Retention, Rule
from halfgateway.recorder.shelf import Shelf
from halfgateway.relay.source import SourceKey
from halfgateway.segments.layout import DEFAULT_PATTERN, Layout
from halfgateway.survey import target_of
from halfgateway.upstream.client import Target
from halfgateway.upstream.pull import Puller
from ops.notices.shouting import Alarms, MetricsFile

log = logging.getLogger(__name__)


def rule_of(camera: Camera, orders: Sequence[Order], now: datetime) -> Rule | None:
    """How long a camera's footage is kept by the orders that name it; None where none does.

    Several at once: the longest minimum and the shortest maximum, which prevails.
    """
    counting = keeping_orders((order for order in orders if order.perimeter.names(camera)), now)
    if not counting:
        return None
    longest = min(order.retention_max_days for order in counting)
    return Rule(min(longest, max(order.retention_min_days for order in counting)), longest)


class Records:
    """The node's records as the recorder needs them: read again with each round, and remembered in between."""

    def __init__(self, database: Database, cameras: CameraStore, clock: Clock, own_file: Path | None = None) -> None:
        self._orders = OrderStore(database.sessions, clock)
        self._holds = HoldStore(database.sessions, clock)
        self._cameras = cameras
        self._clock = clock
        self._own_file = own_file

    async def rules(self) -> Mapping[str, Rule]:
        """The rules of all cameras on record. Raises StoreUnavailable."""
        self._require_records()
        try:
            snapshot = await self._cameras.load()
        except AuthError as error:
            raise StoreUnavailable(f"the cameras' credentials cannot be read: {error}") from error
        orders, now = [each.order for each in await self._orders.list_all()], self._clock.now()
        rules = {camera.id: rule_of(camera, orders, now) for camera in snapshot.cameras}
        return {camera: rule for camera, rule in rules.items() if rule is not None}

    async def holds(self) -> Sequence[Hold]:
        """The judicial holds in force (L26). Raises StoreUnavailable."""
        self._require_records()
        return [Hold(each.camera, each.start, each.end) for each in await self._holds.in_force()]

    def target(self, key: SourceKey) -> Target | None:
        """Where and as whom a camera is pulled, None while that is not known."""
        stream = self._cameras.snapshot.source(key.camera, key.profile or None)
        return None if stream is None else target_of(stream)

    def _require_records(self) -> None:
        """Asking makes no database."""
        if self._own_file is not None and not self._own_file.exists():
            raise StoreUnavailable("the node has made no records yet")


@asynccontextmanager
async def recorder_of(
    configuration: Configuration, folder: DataFolder, clock: Clock, *, file: Path | None = None
) -> AsyncIterator[Recorder]:
    """Give the recorder of a configuration that has ``[recorder]``, its register open; who is called is as in ``file``.

    Raises ConfigurationError, DatabaseError, UnreadableKeyError, OSError, and what opening the register raises.
    """
    section = configuration.recorder
    if section is None:
        raise ConfigurationError(["recorder: nothing is recorded without it"])
    layout = Layout(DEFAULT_PATTERN)
    shelf = Shelf(section.folder, layout)
    async with AsyncExitStack() as life:
        keys = await asyncio.to_thread(NodeKeys.open, folder.secrets, configuration.trace.token_place())
        records = _records(configuration, folder, keys, clock, life)
        journal = await _open_register(configuration.node.id, folder, keys, clock, life)
        law = Law(folder.recorder.root / "law.json", records.rules, records.holds)
        await asyncio.to_thread(law.restore)
        await law.refresh()
        yield Recorder(
            Footage(section.cameras, shelf, layout, section.segment_s),
            lambda on_described: Puller(
                records.target,
                chance=random.random,
                now=time.monotonic,
                on_described=on_described,
                coalescing=Coalescing(),
            ),
            lambda pause: Keeper(
                shelf,
                law,
                Retention(section.keep_days, section.segment_s),
                Limits(section.min_free_bytes, section.min_free_percent / 100),
                record=journal.record,
                alarms=_alarms(configuration, CurrentFile(configuration, file), section, clock),
                pause=pause,
                clock=clock,
            ),
        )


def _records(
    configuration: Configuration, folder: DataFolder, keys: NodeKeys, clock: Clock, life: AsyncExitStack
) -> Records:
    database = database_at(configuration.database.address(), folder)
    life.push_async_callback(database.close)
    sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
    own_file = folder.records if configuration.database.url == EMBEDDED else None
    return Records(database, CameraStore(database.sessions, sealing, clock=clock), clock, own_file)


async def _open_register(node: str, folder: DataFolder, keys: NodeKeys, clock: Clock, life: AsyncExitStack) -> Journal:
    """The recorder's own journal, signed with a key of its own."""
    own = folder.recorder
    await asyncio.to_thread(own.secrets.mkdir, mode=0o700, parents=True, exist_ok=True)
    name = f"{node}-{RECORDER}"
    journal = await open_trace(own, name, replace(keys, folder=own.secrets, token=None), clock)
    life.push_async_callback(_close_register, journal)
    await journal.record(Draft(kind=Kind.NODE_STARTED, detail={"part": RECORDER}))
    return journal


async def _close_register(journal: Journal) -> None:
    for step in (lambda: journal.record(Draft(kind=Kind.NODE_STOPPED, detail={"part": RECORDER})), journal.close):
        try:
            await step()
        except TraceUnavailable as error:
            log.critical("recorder.register_not_closed error=%s", error)


def _alarms(
    configuration: Configuration, contacts: CurrentFile, section: RecordingProcessSection, clock: Clock
) -> Alarms:
    voices = voices_of(configuration, contacts.directory, clock, first_route_first=True)
    return Alarms(voices, None if section.metrics_file is None else MetricsFile(section.metrics_file))
