"""What one node asks of another: a list of errands for each node in the shared store, a list for each answer.

A stream's own node alone ends it, hands it over or finds it idle; any node may be asked to. The store carries the
errand as it carries tickets, and nothing secret. An answer that does not come says nothing of what was done.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from halfgateway import errors
from halfgateway.control.store import RETRY_AFTER_S, StateStore
from halfgateway.errors import Refusal, StateStoreUnavailable

ANSWER_LIMIT_S = 1.0
"""How long the other node may take: milliseconds, unless it is dead. Players wait longer for their SETUP; past it they
are told when to come again."""

MESSAGE_LIFE_MS = 5_000
"""How long an errand or an answer is kept that nobody takes: several times what anybody waits for it."""

LISTEN_S = 1.0
"""Seconds of one wait for an errand: shorter than a call to the store may take in all."""

RETRY_S = 1.0
"""Seconds after which a store that did not answer is listened to again; renewals go on meanwhile."""

log = logging.getLogger(__name__)

Answer = Mapping[str, Any]
Work = Callable[[Mapping[str, Any]], Awaitable[Answer | None]]
"""Does one kind of errand: an answer, or None for none. A Refusal that it raises is raised where it was asked for."""

_REFUSALS: Mapping[str, type[Refusal]] = {
    refusal.code: refusal
    for refusal in vars(errors).values()
    if isinstance(refusal, type) and issubclass(refusal, Refusal) and refusal is not Refusal
}


class Errands:
    """One node's part in it, ``node`` being its name."""

    def __init__(self, store: StateStore, *, node: str) -> None:
        self._store = store
        self._node = node
        self._works: dict[str, Work] = {}

    def serve(self, verb: str, work: Work) -> None:
        """Let ``work`` do the errands of this name here."""
        self._works[verb] = work

    async def ask(
        self, node: str, verb: str, about: Mapping[str, Any], *, limit_s: float = ANSWER_LIMIT_S
    ) -> Answer | None:
        """Have a node, which may be this one, do an errand; None if it does not answer in ``limit_s`` seconds.

        Raises StateStoreUnavailable, and the Refusal that the work there raised.
        """
        if node == self._node:
            return await self._works[verb](about)
        answer_to = self._store.key(f"errand:answer:{secrets.token_hex(8)}")
        await self._leave(self._errands_for(node), {"verb": verb, "about": dict(about), "answer_to": answer_to})
        answer = await self._next(answer_to, limit_s)
        if answer is not None and "refusal" in answer:
            raise _refusal_from(answer)
        return answer

    async def follow(self) -> NoReturn:
        """Do, for ever, what others ask for, one errand after the other: none takes longer than an entry's writing.

        Run it as a task.
        """
        errands = self._errands_for(self._node)
        while True:
            try:
                errand = await self._next(errands, LISTEN_S)
                if errand is not None:
                    await self._do(errand)
            except StateStoreUnavailable as error:
                log.warning("errands.follow.failed retry_s=%s cause=%r", RETRY_S, error.__cause__)
                await asyncio.sleep(RETRY_S)

    async def _do(self, errand: Mapping[str, Any]) -> None:
        work = self._works.get(str(errand.get("verb")))
        if work is None or not {"about", "answer_to"} <= errand.keys():  # of another version: no answer is a no
            log.warning("errand.unknown verb=%s", errand.get("verb"))
            return
        try:
            answer = await work(errand["about"])
        except (KeyError, TypeError, ValueError):  # not what the node of this version would send: no answer
            log.exception("errand.malformed verb=%s", errand["verb"])
            return
        except Refusal as refusal:
            answer = {
                "refusal": refusal.code,
                "detail": refusal.detail,
                "reason": refusal.reason,
                "retry_after_s": refusal.retry_after_s,
            }
        if answer is not None:
            await self._leave(errand["answer_to"], answer)

    async def _leave(self, key: str, message: Mapping[str, Any]) -> None:
        async with self._store.limited(), self._store.client.pipeline() as together:
            together.rpush(key, json.dumps(dict(message)))
            together.pexpire(key, MESSAGE_LIFE_MS)
            await together.execute()

    async def _next(self, key: str, wait_s: float) -> dict[str, Any] | None:
        async with self._store.limited(wait_s + self._store.call_limit_s):
            popped = await self._store.client.blpop([key], timeout=wait_s)
        if popped is None:
            return None
        try:
            message = json.loads(popped[1])
        except ValueError:
            message = None
        if not isinstance(message, dict):
            log.error("errand.unreadable key=%s", key)
            return None
        return message

    def _errands_for(self, node: str) -> str:
        return self._store.key(f"errand:to:{node}")


def _refusal_from(answer: Answer) -> Refusal:
    refusal = _REFUSALS.get(answer["refusal"])
    if refusal is None:
        return StateStoreUnavailable(answer["detail"], retry_after_s=RETRY_AFTER_S)
    return refusal(answer["detail"], reason=answer["reason"], retry_after_s=answer["retry_after_s"])
