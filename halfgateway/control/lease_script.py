"""How a node asks ``slots.lua``: one request, one reply, and what the two clocks say of each other.

A lease lapses by the server's clock, and its holder lets go by its own, monotonic one. Two things keep the holder
the earlier of the two: its deadline is counted from before the question was sent, less a margin for clocks that run
unevenly; and each question carries the latest instant at which the server may answer it. Past that instant nothing
is done: either the question took too long, as this node's own clock tells, and its caller is told no; or the server's
clock was set forward, and leases only seem to have lapsed: then nothing new is granted for one lease. (A step that no
node saw both sides of stays unseen.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from auth.rights import Rights
from camera_registry.clock import Clock
from halfgateway.control.shared_state import KEY as INTERCONNECTION
from halfgateway.control.store import RETRY_AFTER_S, StateStore
from halfgateway.errors import StateStoreUnavailable

CLOCK_DRIFT = 1e-3
"""Seconds that a sound clock may gain on another in one second; NTP slews at half of this."""

_KEYS = ("leases", "records", "epoch", "nodes", INTERCONNECTION)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the script answered. ``asked_at`` is this node's monotonic clock before the question was sent."""

    asked_at: float
    status: str
    now_ms: int
    hold_s: float = 0.0
    used: int = 0
    cap: int = 0
    interconnection: bytes = b""
    rows: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How many streams may be open at once, and how many kb/s they may take of the line together (None: any).

    ``rights`` are the records of who may, where they have been read: what is reserved in them, and how new they are.
    """

    cap: int
    line_kbps: int | None = None
    rights: Rights | None = None

    def request(self) -> dict[str, Any]:
        """As the script is told."""
        told: dict[str, Any] = {"cap": self.cap}
        if self.line_kbps is not None:
            told["line"] = self.line_kbps
        if self.rights is not None:
            told["revision"] = self.rights.revision
            told["reserved"] = [
                {"service": each.service, "slots": each.slots, "until_ms": math.floor(each.until.timestamp() * 1000)}
                for each in self.rights.reservations
            ]
        return told


class LeaseScript:
    """Asks the script in one node's name. All nodes have the same ``lease_s``, and ``limits`` but in a change."""

    def __init__(
        self, store: StateStore, *, node: str, limits: Callable[[], Limits], lease_s: float, clock: Clock
    ) -> None:
        self._store = store
        self._node = node
        self._limits = limits
        self._lease_s = lease_s
        self._clock = clock
        self._keys = [store.key(name) for name in _KEYS]
        text = resources.files("halfgateway.control").joinpath("slots.lua").read_text(encoding="ascii")
        self._script = store.client.register_script(text)
        self._seen: Reply | None = None

    async def ask(
        self,
        op: str,
        *,
        slots: Iterable[Mapping[str, Any]] = (),
        release: Iterable[str] = (),
    ) -> Reply:
        """Ask, and ask again where the server's clock was seen to be set forward. Raises StateStoreUnavailable."""
        request = {
            "op": op,
            "node": self._node,
            **self._limits().request(),
            "lease": math.floor(self._lease_s * 1000),
            "slots": list(slots),
            "release": list(release),
        }
        async with self._store.limited():
            reply = await self._once(request, self._seen)
            if reply.status == "late" and self._clock.monotonic() - reply.asked_at < self._store.call_limit_s:
                reply = await self._once(request | {"stepped": True}, reply)
        if reply.status == "late":
            raise StateStoreUnavailable("L'état partagé a répondu trop tard.", retry_after_s=RETRY_AFTER_S)
        if reply.status == "disagreed":
            raise StateStoreUnavailable(
                "Les nœuds n'ont pas la même durée de réservation.", retry_after_s=RETRY_AFTER_S
            )
        return reply

    async def _once(self, request: Mapping[str, Any], seen: Reply | None) -> Reply:
        """Ask once. A reply that came too late tells nothing of the server's clock that the next would not show."""
        asked_at = self._clock.monotonic()
        latest = {} if seen is None else {"latest": self._latest_answer_ms(seen, asked_at)}
        answer = await self._script(keys=self._keys, args=[json.dumps({**request, **latest})])
        status, now_ms, *rest = answer
        reply = Reply(asked_at, status.decode("ascii"), now_ms)
        if rest:
            hold_ms, used, cap, interconnection, rows = rest
            reply = Reply(asked_at, reply.status, now_ms, hold_ms / 1000, used, cap, interconnection, tuple(rows))
        if reply.status != "late":
            self._seen = reply
        return reply

    def _latest_answer_ms(self, seen: Reply, asked_at: float) -> int:
        """Return the server's instant past which our question must not be answered any more."""
        elapsed_s = asked_at - seen.asked_at
        return seen.now_ms + math.ceil(1000 * (elapsed_s * (1 + CLOCK_DRIFT) + self._store.call_limit_s))
