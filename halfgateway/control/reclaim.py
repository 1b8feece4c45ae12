"""An idle stream gives way to a new one at the cap: PP's rule for its own slots, off unless it is configured (S16).

The slot table names the streams that have been idle the longest, on whichever node. The stream's own node finds it
idle still, ends it, and only then lets the new stream have its slot, in one step: nobody comes between, one stream
ends, and never do two deliver on one slot (C01).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from halfgateway.control.closing import Closer
from halfgateway.control.endings import GaveWay
from halfgateway.control.errands import Answer, Errands
from halfgateway.control.holders import HolderInfo, SlotsTaken
from halfgateway.control.slots import Heir, Lease, SlotTable
from halfgateway.control.streams import StreamTable
from halfgateway.control.terms import Terms

GIVE_WAY = "give-way"


class IdleReclaim:
    """One node's part in it, ``node`` being its name. ``now`` is the monotonic clock in seconds."""

    def __init__(
        self,
        *,
        node: str,
        table: StreamTable,
        slots: SlotTable,
        closer: Closer,
        errands: Errands,
        terms: Terms,
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._table = table
        self._slots = slots
        self._closer = closer
        self._errands = errands
        self._terms = terms
        self._now = now
        errands.serve(GIVE_WAY, self._give_way)

    async def acquire(self, slot_id: str, holder: HolderInfo, *, kbps: int) -> tuple[Lease, str | None]:
        """Take a slot, and the one of an idle stream where no other is free: the lease, and the stream that gave way.

        Raises as :meth:`~halfgateway.control.slots.SlotTable.acquire` does.
        """
        rule = self._terms.idle_rule
        try:
            after_s = rule.after_s if rule is not None else None
            return await self._slots.acquire(slot_id, holder, kbps=kbps, idle_after_s=after_s), None
        except SlotsTaken as taken:
            gave_way = await self._first_to_give_way(taken, Heir(slot_id, self._node, holder, kbps))
            if gave_way is None:
                raise
        return await self._slots.acquire(slot_id, holder, kbps=kbps), gave_way

    async def _first_to_give_way(self, taken: SlotsTaken, heir: Heir) -> str | None:
        """Have one stream give way. A node that does not answer may have done it: no other is asked then."""
        about = {"heir": heir.slot_id, "node": heir.node, "holder": dict(heir.holder), "kbps": heir.kbps}
        for idle in taken.idle:
            answer = await self._errands.ask(idle.node, GIVE_WAY, {"slot": idle.slot_id, **about})
            if answer is None or answer["done"]:
                return idle.slot_id
        return None

    async def _give_way(self, about: Mapping[str, Any]) -> Answer:
        stream, rule = self._table.get(about["slot"]), self._terms.idle_rule
        if stream is None or rule is None:
            return {"done": False}
        idle_s = stream.look(self._now())
        if idle_s < rule.after_s:
            return {"done": False}
        cause = GaveWay(f"Flux inactif depuis {idle_s:.0f} s ; sa place est reprise (règle {rule.reference}).")
        heir = Heir(about["heir"], about["node"], about["holder"], about["kbps"])
        return {"done": await self._closer.bequeath(stream, cause, heir)}
