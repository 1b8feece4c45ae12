"""Incidents in a node: those of its cuts have their books, the trace follows all of them, a total stop is found.

So does the trace follow the correspondences', and the notifier is shown what is wrong with the node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn

from auth.trace import Journal, TraceDamaged
from auth.trace import TraceUnavailable as JournalUnavailable
from camera_registry.clock import Clock
from camera_registry.retention import Breach
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.safekeeping import Safekeeping
from halfgateway.app.tls import ALARMS_AT
from halfgateway.app.watching import Loops
from halfgateway.attending import signs_before_start
from halfgateway.config import Configuration
from halfgateway.control.detection import Asking, Detection
from halfgateway.control.incident_entries import BookEntries, IncidentEntries
from halfgateway.errors import StateStoreUnavailable
from halfgateway.folder import DataFolder
from halfgateway.siem.forwarder import Forwarder
from ops.conditions import Conditions
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.correspondence.matters import Condition
from ops.errors import ConditionsError, OpsError
from ops.incidents.book import IncidentBooks
from ops.incidents.detecting import StopDetector
from ops.incidents.duties import Rules
from ops.local_record import LocalRecord
from ops.notices.watchdog import Gateway, Signs, watch_gateway

log = logging.getLogger(__name__)

SHOW_EVERY_S = 5.0
"""How often it is looked whether something is wrong with the node."""

HALF_USED, NEARLY_USED, _ = ALARMS_AT
"""Parts of a revocation list's life past which SYN is told by mail (S02)."""


async def keep_incidents(
    loops: Loops,
    folder: DataFolder,
    record: LocalRecord,
    records: Records,
    control: Control,
    journal: Journal,
    configuration: Configuration,
    used_life: Callable[[], float | None] | None,
    forwarder: Forwarder | None,
    safekeeping: Safekeeping,
    clock: Clock,
) -> None:
    """Follow and find incidents for as long as the node runs; first, that it had fallen silent before (N02).

    ``used_life`` is how much of the revocation lists' life is used, where there are any.
    """
    books, agreed = IncidentBooks(folder.incidents, clock=clock), configuration.incidents
    before = await _signs_before_start(journal)
    if before is not None:
        lost_after = agreed.gateway_lost_after(configuration.heartbeat.period_s, before.period_s)
        silent = Gateway(journal.node, lambda: before, lambda _: lost_after)
        await asyncio.to_thread(_open_for_silence, books, record, silent, agreed.rules(), clock)
    await loops.keep("incidents", IncidentEntries(books, record, control.tracer.durable).run())
    letters = CorrespondenceBooks(folder.correspondence, clock=clock)
    await loops.keep("correspondence", BookEntries("correspondence", letters, control.tracer.durable).run())
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
    await _keep_showing(loops, folder, journal, used_life, forwarder, safekeeping)


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


async def _keep_showing(
    loops: Loops,
    folder: DataFolder,
    journal: Journal,
    used_life: Callable[[], float | None] | None,
    forwarder: Forwarder | None,
    safekeeping: Safekeeping,
) -> None:
    """Show the notifier what is wrong with the node for as long as it runs; it mails SYN's own, once for each."""

    def standing() -> set[Condition]:
        used = (used_life() if used_life is not None else None) or 0.0
        wrong = {
            Condition.TRACE_UNWRITABLE: journal.unwritable_since_s is not None,
            Condition.CRL_HALF_USED: used >= HALF_USED,
            Condition.CRL_NEARLY_USED: used >= NEARLY_USED,
            Condition.SIEM_LAGGING: forwarder is not None and forwarder.alarmed,
            Condition.HOLD_WAITING: safekeeping.watch.waiting > 0,
            Condition.PURGE_LATE: safekeeping.probe.tally.breaches.get(Breach.LATE_PURGE, 0) > 0,
        }
        return {condition for condition, stands in wrong.items() if stands}

    await loops.keep("conditions", _show(Conditions(folder.conditions), standing))


async def _show(conditions: Conditions, standing: Callable[[], set[Condition]]) -> NoReturn:
    while True:
        try:
            await asyncio.to_thread(conditions.show, standing())
        except ConditionsError as error:
            log.critical("condition.not_shown error=%s", error)
        await asyncio.sleep(SHOW_EVERY_S)
