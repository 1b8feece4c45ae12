"""The node's heartbeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from auth.trace import Journal
from camera_registry.clock import Clock
from halfgateway.app.door import Control
from halfgateway.config import Configuration
from halfgateway.control.clock_reference import read_kernel_clock
from halfgateway.control.heartbeat import Heartbeat, offset_from_store
from halfgateway.database import EMBEDDED
from halfgateway.errors import StateStoreUnavailable


@dataclass(frozen=True, slots=True)
class _Node:
    """Fills :class:`~halfgateway.control.heartbeat.Watched`."""

    control: Control
    journal: Journal

    def streams(self) -> int:
        return len(self.control.table)

    def checkpoint(self) -> int:
        signed = self.journal.checkpoint
        return signed.size if signed is not None else 0

    def require_serving(self) -> None:
        self.control.interconnection.require_open()
        if not self.control.rights.holds:
            raise StateStoreUnavailable


def open_heartbeat(current: Callable[[], Configuration], control: Control, journal: Journal, clock: Clock) -> Heartbeat:
    """The heartbeats of this node; a store of its own has no other clock than its own."""
    has_own_store = current().state_store.url == EMBEDDED
    return Heartbeat(
        record=journal.record,
        node=_Node(control, journal),
        period_s=lambda: current().heartbeat.period_s,
        kernel_clock=read_kernel_clock,
        store_clock=None if has_own_store else partial(offset_from_store, control.store, clock),
    )
