"""A person's restoration, put together: what is looked at before it, who may confirm it, where it is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from auth.trace import Journal
from camera_registry.clock import Clock
from halfgateway.app.answering import probes_of
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.preflight import NodePreflight
from halfgateway.config import Configuration
from halfgateway.control.clock_reference import read_kernel_clock
from halfgateway.control.heartbeat import offset_from_store
from halfgateway.control.proposals import Proposals
from halfgateway.control.restoration import Look, Restoration
from halfgateway.database import EMBEDDED
from halfgateway.folder import DataFolder
from halfgateway.survey import knock
from ops.errors import OpsError
from ops.incidents.book import IncidentBooks
from ops.incidents.events import Noted
from ops.incidents.following import follow_record
from ops.local_record import LocalRecord

log = logging.getLogger(__name__)

NODE = "node"
"""Who writes in a book what the node has looked at."""


def preflight_of(
    current: Callable[[], Configuration],
    folder: DataFolder,
    records: Records,
    control: Control,
    journal: Journal,
    clock: Clock,
) -> Look:
    """What is looked at before this node's interconnection is restored, by a person or at a window's end."""
    has_own_store = current().state_store.url == EMBEDDED
    return NodePreflight(
        probes=probes_of(journal, control, records),
        cameras=records.cameras,
        knock=knock,
        kernel_clock=read_kernel_clock,
        store_clock=None if has_own_store else partial(offset_from_store, control.store, clock),
        current=current,
        folder=folder,
        clock=clock,
    ).look


def open_restoration(
    look: Look,
    current: Callable[[], Configuration],
    folder: DataFolder,
    record: LocalRecord,
    control: Control,
    key: bytes,
    clock: Clock,
) -> Restoration:
    """The one way by which a person restores this node's interconnection; ``key`` seals what one proposes."""
    books = IncidentBooks(folder.incidents, clock=clock)

    def write(incident: str, text: str) -> None:
        follow_record(books, record.history())
        books.say(incident, NODE, Noted(about="timeline", text=text))

    async def note(incident: str, text: str) -> None:
        try:
            await asyncio.to_thread(write, incident, text)
        except OpsError as error:
            log.error("restoration.not_noted incident=%s error=%s", incident, error)

    def confirm_within() -> timedelta | None:
        return current().restoration.confirm_within()

    return Restoration(
        interconnection=control.interconnection,
        look=look,
        proposals=Proposals(control.store, key),
        confirm_within=confirm_within,
        record=control.tracer.durable,
        refused=control.tracer.refusal,
        note=note,
        clock=clock,
    )
