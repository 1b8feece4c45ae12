"""A ticket that comes to another node: the node that served it lets go before the new one delivers (C01).

The slot itself moves in one step (``slots.lua``), but the former node would learn it with its next renewal, and until
then two nodes would deliver one stream. So the new node tells it, and it renews at once, ends the stream and says so
in the store. One that does not say so in time is dead, frozen, or out of the store's reach, and may still deliver: the
new node refuses, keeping the slot, until the lease of the former one has lapsed.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from halfgateway.control.errands import ANSWER_LIMIT_S, Answer, Errands
from halfgateway.control.slots import Lease, Moving, SlotTable
from halfgateway.control.streams import StreamTable
from halfgateway.errors import StateStoreUnavailable

LET_GO = "let-go"

log = logging.getLogger(__name__)


class Handover:
    """One node's part in it, ``table`` being what it serves."""

    def __init__(
        self, errands: Errands, slots: SlotTable, table: StreamTable, *, answer_limit_s: float = ANSWER_LIMIT_S
    ) -> None:
        self._errands = errands
        self._slots = slots
        self._table = table
        self._answer_limit_s = answer_limit_s

    async def claim(self, slot_id: str) -> Lease | None:
        """Take over a slot that any node holds, once its former nodes have let go; None if nobody holds it.

        Raises StateStoreUnavailable, also for one that a former node may still deliver: the slot then stays this
        node's for one lease, for whom it was kept to come again.
        """
        slot = await self._slots.claim(slot_id)
        if isinstance(slot, Moving):
            await asyncio.gather(*(self._ask_to_let_go(former, slot_id) for former in slot.formers))
            slot = await self._slots.claim(slot_id)
        if isinstance(slot, Moving):
            raise StateStoreUnavailable(
                "Le nœud qui servait ce Flux ne répond pas ; il sera libre sous peu.",
                retry_after_s=max(1, math.ceil(slot.free_in_s)),
            )
        return slot

    async def follow(self, renew: Callable[[], Awaitable[None]]) -> NoReturn:
        """Let go, for ever, of what others have taken over, and do what else they ask; ``renew`` finds out what moved
        and ends it. Run it as a task."""

        async def let_go(about: Mapping[str, Any]) -> Answer | None:
            await renew()
            return await self._let_go(about["slot"])

        self._errands.serve(LET_GO, let_go)
        await self._errands.follow()

    async def _ask_to_let_go(self, former: str, slot_id: str) -> None:
        if await self._errands.ask(former, LET_GO, {"slot": slot_id}, limit_s=self._answer_limit_s) is None:
            log.warning("handover.unanswered stream=%s former=%s", slot_id, former)

    async def _let_go(self, slot_id: str) -> Answer | None:
        """Say that we have let go, if we have: a renewal that failed has told us nothing.

        Nor have we of a slot whose stream is about to be granted here: it is found out by a later renewal.
        """
        if self._table.get(slot_id) is not None or self._slots.holds(slot_id):
            return None
        await self._slots.let_go(slot_id)
        return {"done": True}
