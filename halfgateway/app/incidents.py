"""Incidents in a node: those of its cuts have their books, the trace follows all of them, a total stop is found."""

from __future__ import annotations

import asyncio
import logging

from auth.trace import Journal, TraceDamaged
from auth.trace import TraceUnavailable as JournalUnavailable
from camera_registry.clock import Clock
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.watching import Loops
from halfgateway.attending import signs_before_start
from halfgateway.config import Configuration
from halfgateway.control.detection import Asking, Detection
from halfgateway.control.incident_entries import IncidentEntries
from halfgateway.errors import StateStoreUnavailable
from halfgateway.folder import DataFolder
from ops.errors import OpsError
from ops.incidents.book import IncidentBooks
from ops.incidents.detecting import StopDetector
from ops.incidents.duties import Rules
from ops.local_record import LocalRecord
from ops.notices.watchdog import Gateway, Signs, watch_gateway

log = logging.getLogger(__name__)


async def keep_incidents(
    loops: Loops,
    folder: DataFolder,
    record: LocalRecord,
    records: Records,
    control: Control,
    journal: Journal,
    configuration: Configuration,
    clock: Clock,
) -> None:
    """Follow and find incidents for as long as the node runs; first, that it had fallen silent before (N02)."""
    books, agreed = IncidentBooks(folder.incidents, clock=clock), configuration.incidents
    before = await _signs_before_start(journal)
    if before is not None:
        silent = Gateway(journal.node, lambda: before, agreed.gateway_lost_after(configuration.heartbeat.period_s))
        await asyncio.to_thread(_open_for_silence, books, record, silent, agreed.rules(), clock)
    await loops.keep("incidents", IncidentEntries(books, record, control.tracer.durable).run())
    asking = Asking(lambda: _require_able(control))
    control.tracer.tell_of_refusals(asking.refused)
    detection = Detection(
        detector=StopDetector(
            books,
            agreed.rules(),
            clock,
            lasting=agreed.lasting(),
            all_well_at=None if before is None else before.good,
        ),
        asking=asking,
        cameras=records.cameras.list,
        trace_writable=lambda: journal.unwritable_since_s is None,
        closed=lambda: control.interconnection.state.closed,
    )
    await loops.keep("detection", detection.run())


async def _signs_before_start(journal: Journal) -> Signs | None:
    """What the trace proves of this node before it was started; None where it had stopped in good order, or never ran.

    The watchdog may have been down with it, and by now sees a node that lives.
    """
    try:
        return await signs_before_start(journal.reader())
    except (JournalUnavailable, TraceDamaged) as error:
        log.error("incidents.past_unread error=%s", error)
        return None


def _open_for_silence(books: IncidentBooks, record: LocalRecord, gateway: Gateway, rules: Rules, clock: Clock) -> None:
    try:
        watch_gateway(books, record, gateway, rules=rules, now=clock.now())
    except OpsError as error:
        log.critical("incidents.silence_not_recorded error=%s", error)


def _require_able(control: Control) -> None:
    """Return if a stream could be granted to somebody now. Raises the Refusal that would keep it from anybody."""
    control.interconnection.require_open()
    if control.view.current() is None or not control.rights.holds:
        raise StateStoreUnavailable("Les habilitations ne peuvent être vérifiées.")
