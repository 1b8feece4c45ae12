"""Incidents in a node: those of its cuts have their books, the trace follows all of them, a total stop is found."""

from __future__ import annotations

from auth.trace import Journal
from camera_registry.clock import Clock
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.watching import Loops
from halfgateway.config_incidents import IncidentsSection
from halfgateway.control.detection import Asking, Detection
from halfgateway.control.incident_entries import IncidentEntries
from halfgateway.errors import StateStoreUnavailable
from halfgateway.folder import DataFolder
from ops.incidents.book import IncidentBooks
from ops.incidents.detecting import StopDetector
from ops.local_record import LocalRecord


async def keep_incidents(
    loops: Loops,
    agreed: IncidentsSection,
    folder: DataFolder,
    record: LocalRecord,
    records: Records,
    control: Control,
    journal: Journal,
    clock: Clock,
) -> None:
    """Follow and find incidents for as long as the node runs."""
    books = IncidentBooks(folder.incidents, clock=clock)
    await loops.keep("incidents", IncidentEntries(books, record, control.tracer.durable).run())
    asking = Asking(lambda: _require_able(control))
    control.tracer.tell_of_refusals(asking.refused)
    detection = Detection(
        detector=StopDetector(books, agreed.rules(), clock, lasting=agreed.lasting()),
        asking=asking,
        cameras=records.cameras.list,
        trace_writable=lambda: journal.unwritable_since_s is None,
        closed=lambda: control.interconnection.state.closed,
    )
    await loops.keep("detection", detection.run())


def _require_able(control: Control) -> None:
    """Return if a stream could be granted to somebody now. Raises the Refusal that would keep it from anybody."""
    control.interconnection.require_open()
    if control.view.current() is None or not control.rights.holds:
        raise StateStoreUnavailable("Les habilitations ne peuvent être vérifiées.")
