"""Judicial holds, requests made outside the link and the retention probe, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from camera_registry.clock import Clock
from camera_registry.hold_store import HoldStore
from camera_registry.retention_store import RetentionStore
from halfgateway.api.safekeeping_service import HoldService, RequestService, RetentionService
from halfgateway.app.keeping import Records
from halfgateway.app.watching import Loops
from halfgateway.control.hold_watch import HoldWatch
from halfgateway.control.retention_probe import RetentionProbe
from halfgateway.control.tracing import Tracer
from halfgateway.replay.footage import Footage, Recorders
from ops.request_store import RequestStore


class NoRecorders:
    """Fills :class:`~halfgateway.replay.footage.Recorders` where none is configured."""

    def of(self, camera: str) -> Footage | None:
        """See the port."""
        return None


@dataclass(frozen=True, slots=True)
class Safekeeping:
    """The services that keep them, and what watches; ``store`` is for a recorder that obeys the holds in force."""

    store: HoldStore
    holds: HoldService
    requests: RequestService
    retention: RetentionService
    watch: HoldWatch
    probe: RetentionProbe


def open_safekeeping(
    records: Records, tracer: Tracer, clock: Clock, *, recorders: Recorders, obeys: Callable[[str], bool]
) -> Safekeeping:
    """Put them together. ``obeys`` tells the cameras whose recorder obeys a hold: SYN's own, and no other."""
    sessions, record = records.database.sessions, tracer.durable
    store, found = HoldStore(sessions, clock), RetentionStore(sessions, clock)
    watch = HoldWatch(holds=store, obeys=obeys, record=record, clock=clock)
    return Safekeeping(
        store=store,
        holds=HoldService(store=store, watch=watch, record=record, clock=clock),
        requests=RequestService(store=RequestStore(sessions, clock), record=record, clock=clock),
        retention=RetentionService(found),
        watch=watch,
        probe=RetentionProbe(
            recorders=recorders, recorded=records.cameras.list, store=found, record=record, clock=clock
        ),
    )


async def keep_safe(loops: Loops, safekeeping: Safekeeping) -> None:
    """Watch over what is to be kept and what is to be destroyed."""
    await loops.keep("holds", safekeeping.watch.run())
    await loops.keep("retention", safekeeping.probe.run())


def nobody_obeys(_camera: str) -> bool:
    """No recorder of SYN's own keeps any camera's footage."""
    return False
