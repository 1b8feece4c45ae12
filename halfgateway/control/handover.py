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
import secrets
from collections.abc import Awaitable, Callable
from typing import NoReturn

from halfgateway.control.slots import Lease, Moving, SlotTable
from halfgateway.control.store import StateStore
from halfgateway.control.streams import StreamTable
from halfgateway.errors import StateStoreUnavailable

ANSWER_LIMIT_S = 1.0
"""How long the former node may take: milliseconds, unless it is dead. Players wait longer for their SETUP; past it they
are told when to come again."""

MESSAGE_LIFE_MS = 5_000
"""How long a question or an answer is kept that nobody takes: several times what anybody waits for it."""

LISTEN_S = 1.0
"""Seconds of one wait for a question: shorter than a call to the store may take in all."""

RETRY_S = 1.0
"""Seconds after which a store that did not answer is listened to again; renewals go on meanwhile."""

log = logging.getLogger(__name__)


class Handover:
    """One node's part in it, ``node`` being its name and ``table`` what it serves."""

    def __init__(
        self,
        store: StateStore,
        slots: SlotTable,
        table: StreamTable,
        *,
        node: str,
        answer_limit_s: float = ANSWER_LIMIT_S,
    ) -> None:
        self._store = store
        self._slots = slots
        self._table = table
        self._node = node
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
        """Let go, for ever, of what others have taken over; ``renew`` finds that out and ends it. Run it as a task."""
        questions = self._questions_for(self._node)
        while True:
            try:
                question = await self._next_message(questions, LISTEN_S)
                if question is not None:
                    await renew()
                    await self._answer(question)
            except StateStoreUnavailable as error:
                log.warning("handover.follow.failed retry_s=%s cause=%r", RETRY_S, error.__cause__)
                await asyncio.sleep(RETRY_S)

    async def _ask_to_let_go(self, former: str, slot_id: str) -> None:
        answer = self._store.key(f"handover:answer:{secrets.token_hex(8)}")
        await self._leave_message(self._questions_for(former), f"{slot_id} {answer}")
        if await self._next_message(answer, self._answer_limit_s) is None:
            log.warning("handover.unanswered stream=%s former=%s", slot_id, former)

    async def _answer(self, question: str) -> None:
        """Say that we have let go, if we have: a renewal that failed has told us nothing.

        Nor have we of a slot whose stream is about to be granted here: it is found out by a later renewal.
        """
        slot_id, _, answer = question.partition(" ")
        if self._table.get(slot_id) is None and not self._slots.holds(slot_id):
            await self._slots.let_go(slot_id)
            await self._leave_message(answer, self._node)

    async def _leave_message(self, key: str, message: str) -> None:
        async with self._store.limited(), self._store.client.pipeline() as together:
            together.rpush(key, message)
            together.pexpire(key, MESSAGE_LIFE_MS)
            await together.execute()

    async def _next_message(self, key: str, wait_s: float) -> str | None:
        async with self._store.limited(wait_s + self._store.call_limit_s):
            popped = await self._store.client.blpop([key], timeout=wait_s)
        if popped is None:
            return None
        _, message = popped
        return message.decode("ascii") if isinstance(message, bytes) else message

    def _questions_for(self, node: str) -> str:
        return self._store.key(f"handover:to:{node}")
