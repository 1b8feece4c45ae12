"""Who holds the slots, and what they do with them, as all nodes see it: nothing secret in it, no name (C17)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from halfgateway.control.store import RETRY_AFTER_S
from halfgateway.errors import CapReached

MAX_HOLDER_BYTES = 4096
"""Bytes of what is shown of a holder, as JSON; ours take under 1,000. A longer one is refused as our own mistake."""

HolderInfo = Mapping[str, str | int | bool | None]
"""What is shown of a slot's holder in stream lists and refusals, from the grant on."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a stream was doing when its slot was last renewed: ``shown`` in lists, and for how long nothing of it has
    gone to a reader."""

    shown: HolderInfo
    idle_s: float


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a slot, as any node sees it. It lapses in ``lapses_in_s`` seconds if it is not renewed.

    ``doing`` is empty, and ``idle_s`` None, until its node has told.
    """

    slot_id: str
    node: str
    since: datetime
    lapses_in_s: float
    info: HolderInfo
    doing: HolderInfo = field(default_factory=dict)
    idle_s: float | None = None


@dataclass(frozen=True, slots=True)
class IdleSlot:
    """A slot that a new stream may have by PP's rule, if its node finds it as idle as it seems."""

    slot_id: str
    node: str


class SlotsTaken(CapReached):
    """No slot is free for this service. ``holders`` are those who hold the ``used`` ones, oldest lapse first (S16).

    ``withheld`` is what is kept free for other services; ``idle`` are the slots that PP's rule would free, the longest
    idle first.
    """

    def __init__(
        self,
        used: int,
        cap: int,
        holders: tuple[Holder, ...],
        *,
        withheld: Mapping[str, int] | None = None,
        idle: tuple[IdleSlot, ...] = (),
    ) -> None:
        super().__init__(f"Nombre maximal de Flux atteint ({used} sur {cap}).", retry_after_s=RETRY_AFTER_S)
        self.used = used
        self.cap = cap
        self.holders = holders
        self.withheld = withheld or {}
        self.idle = idle


def holder_text(holder: HolderInfo) -> str:
    """Write a holder for the store. Raises ValueError for one that is too long."""
    text = json.dumps(dict(holder), separators=(",", ":"))
    if len(text) > MAX_HOLDER_BYTES:
        raise ValueError(f"a holder of {len(text)} bytes")
    return text


def holder_from(row: Any) -> Holder:
    """Read a row of the script's list."""
    slot_id, node, since_ms, lapses_in_ms, holder, doing, idle_ms = row
    return Holder(
        slot_id.decode(),
        node.decode(),
        datetime.fromtimestamp(since_ms / 1000, UTC),
        lapses_in_ms / 1000,
        json.loads(holder),
        json.loads(doing) if doing else {},
        idle_ms / 1000 if idle_ms >= 0 else None,
    )


def slots_taken(used: int, cap: int, rows: Any) -> SlotsTaken:
    """Read the script's answer to a request for which there is no slot."""
    holders, withheld, idle = rows
    return SlotsTaken(
        used,
        cap,
        tuple(map(holder_from, holders)),
        withheld={service.decode(): slots for service, slots in withheld},
        idle=tuple(IdleSlot(slot_id.decode(), node.decode()) for slot_id, node, _ in idle),
    )
