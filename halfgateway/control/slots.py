"""The cap: at most so many streams at once, whatever the number of nodes (article 4; C01, C02).

A slot is a lease in the shared store, taken, renewed and given back by ``slots.lua`` in one atomic step each. A node
may use it until the lease's ``deadline`` on its own monotonic clock, which always comes before the store lets go of
it; it renews in time, or closes the stream. So the slots in use never exceed the cap, whatever fails:

============================================  ====================================================================
the store does not answer                     nothing is granted; streams run until their deadlines
the store was emptied, restarted, failed over nothing new is granted for one lease; renewals put their leases back
a node dies                                   its slots are free after one lease
an idle stream gives way to a new one         its node ends it, then its slot becomes the new one's in one step
nodes know different reservations             those of the node that has read the newest records hold for all
a ticket moves to another node                its slot may be used there once the former node has let go, or could
                                              no longer deliver: one lease at most
a reply was lost                              the slot is given back with the next question, or after one lease
nodes know different caps (a change of it)    the smallest cap that a live node knows is in force; so with the line
the cap is lowered below what is in use       who holds a slot keeps it; nobody new has one until there is room
nodes know different lease lengths            the one that comes later is refused until the others have gone
============================================  ====================================================================
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from camera_registry.clock import Clock
from halfgateway.control.holders import Activity, Holder, HolderInfo, holder_from, holder_text, slots_taken
from halfgateway.control.lease_script import LeaseScript, Limits, Reply
from halfgateway.control.shared_state import decode
from halfgateway.control.store import RETRY_AFTER_S, StateStore
from halfgateway.errors import BandwidthReached, StateStoreUnavailable
from ops.interconnection import InterconnectionState

LEASE_S = 15.0
"""Seconds that a lease lasts in the store (ADR 2, Numbers). Renewed every third of it."""

MAX_OWED = 256
"""Slots that this node may hold without knowing, because a reply was lost. When full the oldest is forgotten: its
lease lapses by itself."""

NOTHING_KNOWN: Mapping[str, int] = {}

NOTHING_SEEN: Mapping[str, Activity] = {}


@dataclass(frozen=True, slots=True)
class Lease:
    """A slot that this node may use until ``deadline``, in seconds of its monotonic clock.

    ``used`` of ``cap`` slots were in use once it was granted, itself included.
    """

    slot_id: str
    used: int
    cap: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Moving:
    """A slot that is this node's, and may not be used yet: one of ``formers`` may still deliver its stream.

    They are node names. Each of them lets go (:meth:`SlotTable.let_go`), or has lapsed in ``free_in_s`` seconds.
    """

    slot_id: str
    formers: tuple[str, ...]
    free_in_s: float


@dataclass(frozen=True, slots=True)
class Heir:
    """A stream about to be granted at a node that has no slot for it: it may have another's."""

    slot_id: str
    node: str
    holder: HolderInfo
    kbps: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """What became of the slots that were to be renewed, and the shared state of the interconnection.

    Each slot is in one of three: ``deadlines`` (the new ones, monotonic seconds), ``lost`` (the stream must close
    now), ``moved`` (another node serves it: close here, free nothing). ``state`` is the interconnection's as the
    nodes shared it, not before ``asked_at``; None where the store has none: then ours holds, and must be published
    again. For ``hold_s`` more seconds nothing new is granted.
    """

    asked_at: float
    deadlines: Mapping[str, float]
    lost: frozenset[str]
    moved: frozenset[str]
    state: InterconnectionState | None
    hold_s: float
    used: int
    cap: int


class LineFull(BandwidthReached):
    """The line has no room for one more stream: what is in use of it, what was wanted and what it has, in kb/s."""

    def __init__(self, in_use_kbps: int, wanted_kbps: int, ceiling_kbps: int) -> None:
        in_use, wanted, ceiling = (
            f"{kbps / 1000:.1f}".replace(".", ",") for kbps in (in_use_kbps, wanted_kbps, ceiling_kbps)
        )
        super().__init__(
            f"Le débit de la liaison ne suffit pas : {in_use} Mbit/s sont pris, ce Flux en demande {wanted} et la "
            f"liaison en admet {ceiling}. Mettez fin à un Flux, ou réessayez plus tard.",
            retry_after_s=RETRY_AFTER_S,
        )


@dataclass(slots=True)
class _Held:
    """A lease of ours. ``term`` counts the nodes that have had it: of two that claim it, the later has the higher."""

    deadline: float
    term: int
    since_ms: int
    holder: str
    kbps: int
    activity: Activity | None = None


class SlotTable:
    """One node's hand on the slots of one convention.

    ``node`` names this node and no other. ``limits`` are asked for with each question, so that a change of them counts
    at once. ``lease_s`` is the same on every node. All methods raise
    StateStoreUnavailable when the store fails or does not answer within its call limit; they may be called
    concurrently, and cancelled: a slot that was granted to nobody's knowledge is given back.
    """

    def __init__(
        self, store: StateStore, *, node: str, limits: Callable[[], Limits], clock: Clock, lease_s: float = LEASE_S
    ) -> None:
        self._script = LeaseScript(store, node=node, limits=limits, lease_s=lease_s, clock=clock)
        self._clock = clock
        self._lease_s = lease_s
        self._use_s = lease_s - min(store.call_limit_s, lease_s / 5)
        self._held: dict[str, _Held] = {}
        self._owed: dict[str, float] = {}
        self._leaving: Counter[str] = Counter()

    async def acquire(
        self, slot_id: str, holder: HolderInfo, *, kbps: int = 0, idle_after_s: float | None = None
    ) -> Lease:
        """Take a slot, and ``kbps`` of the line. For one that this node holds already: keep it, under a new ``holder``.

        What is reserved for other services is not free. ``idle_after_s`` is PP's rule, where there is one: who gets no
        slot is told which have been idle for so long.

        Raises SlotsTaken, LineFull, StateStoreUnavailable (also for one lease after the store has lost leases),
        ValueError for a holder that is too long.
        """
        text = holder_text(holder)
        self._require_settled(slot_id)
        self._owed.pop(slot_id, None)
        held = self._valid(slot_id)
        mine = _as_asked(slot_id, held or _Held(0.0, 0, 0, text, kbps)) | {"holder": text}
        if idle_after_s is not None:
            mine["idle_after"] = math.ceil(idle_after_s * 1000)
        try:
            reply = await self._ask("acquire", slots=[mine])
            if reply.status == "line full":
                in_use, line = reply.rows
                raise LineFull(in_use, kbps, line)
            return self._granted(slot_id, reply, kbps)
        except BaseException:
            if slot_id not in self._held:
                self._owe(slot_id)
            raise

    async def claim(self, slot_id: str) -> Lease | Moving | None:
        """Take over a slot that any node holds, for a ticket that has come here; None if nobody holds it.

        Where another node had it, it is :class:`Moving` until that one has let go: claim it again then. A former node
        learns it with its next renewal.
        """
        self._require_settled(slot_id)
        reply = await self._ask("claim", slots=[{"slot": slot_id}])
        if reply.status == "absent":
            self._held.pop(slot_id, None)
            return None
        if reply.status == "moving":
            free_in_ms, formers = reply.rows
            return Moving(slot_id, tuple(former.decode() for former in formers), free_in_ms / 1000)
        return self._granted(slot_id, reply)

    async def bequeath(self, slot_id: str, heir: Heir) -> bool:
        """Let another stream have a slot of this node's that delivers nothing more; False if it was not to be had.

        The heir's node takes it with :meth:`acquire`; if it never does, the slot is free after one lease.
        """
        self._held.pop(slot_id, None)
        asked = {
            "slot": slot_id,
            "heir": heir.slot_id,
            "node": heir.node,
            "holder": holder_text(heir.holder),
            "kbps": heir.kbps,
        }
        try:
            reply = await self._ask("bequeath", slots=[asked])
        except BaseException:
            self._owe(slot_id)
            raise
        if reply.status != "done":
            self._owe(slot_id)
        return reply.status == "done"

    def relabel(self, slot_id: str, holder: HolderInfo) -> None:
        """Let a slot of this node's be somebody else's; the other nodes see it with its next renewal."""
        held = self._valid(slot_id)
        if held is not None:
            held.holder = holder_text(holder)

    def holds(self, slot_id: str) -> bool:
        """Whether this node may use a slot now, be it for a stream that is only about to be granted."""
        return self._valid(slot_id) is not None

    async def let_go(self, slot_id: str) -> None:
        """Say that this node delivers nothing more of a slot that has moved to another one."""
        await self._ask("let_go", slots=[{"slot": slot_id}])

    async def renew(
        self,
        slot_ids: Collection[str],
        *,
        kbps: Mapping[str, int] = NOTHING_KNOWN,
        doing: Mapping[str, Activity] = NOTHING_SEEN,
    ) -> Renewal:
        """Renew slots; with none, only see the state and be seen. Call it every third of a lease.

        ``kbps`` is what each of them takes of the line now, and ``doing`` what it does, where that is known.

        After the store has lost leases this puts ours back, if their deadlines have not passed.
        """
        valid = {slot_id: held for slot_id in slot_ids if (held := self._valid(slot_id)) is not None}
        lost, moved, deadlines = set(slot_ids) - valid.keys(), set[str](), dict[str, float]()
        for slot_id in lost:
            self._give_up(slot_id)
        for slot_id, held in valid.items():
            held.kbps = kbps.get(slot_id, held.kbps)
            held.activity = doing.get(slot_id, held.activity)
        reply = await self._ask("renew", slots=[_as_asked(*item) for item in valid.items()])
        state = decode(reply.interconnection)
        for (slot_id, held), verdict in zip(valid.items(), reply.rows, strict=True):
            current = self._held.get(slot_id)
            if current is None:
                lost.add(slot_id)
            elif current is not held:
                deadlines[slot_id] = current.deadline
            elif verdict == b"moved":
                del self._held[slot_id]
                moved.add(slot_id)
            elif verdict == b"lost" or self._clock.monotonic() >= held.deadline:
                self._give_up(slot_id)
                lost.add(slot_id)
            else:
                held.deadline = deadlines[slot_id] = max(held.deadline, reply.asked_at + self._use_s)
        return Renewal(
            asked_at=reply.asked_at,
            deadlines=deadlines,
            lost=frozenset(lost),
            moved=frozenset(moved),
            state=state,
            hold_s=reply.hold_s,
            used=reply.used,
            cap=reply.cap,
        )

    async def release(self, slot_id: str) -> None:
        """Give a slot back, if this node holds it. If this fails, it goes back with the next question that succeeds."""
        self._give_up(slot_id)
        await self._ask("release")

    async def holders(self) -> list[Holder]:
        """Return who holds the slots, oldest lapse first."""
        return [holder_from(row) for row in (await self._ask("list")).rows]

    async def usage(self) -> tuple[int, int]:
        """Return how many slots are in use, and the cap in force."""
        reply = await self._ask("renew")
        return reply.used, reply.cap

    async def open_epoch(self) -> None:
        """Begin with our own slots alone, and without the hold of one lease.

        Only for the single owner of an embedded server, after it has started it
        (:meth:`halfgateway.net.valkey.EmbeddedValkey.start`): whatever leases the server remembers are those of a
        process that is no more.
        """
        valid = {slot_id: held for slot_id in self._held if (held := self._valid(slot_id)) is not None}
        await self._ask("open", slots=[_as_asked(*item) for item in valid.items()])

    async def _ask(self, op: str, *, slots: Collection[Mapping[str, Any]] = ()) -> Reply:
        now = self._clock.monotonic()
        self._owed = {slot_id: since for slot_id, since in self._owed.items() if now - since < self._lease_s}
        owed = tuple(self._owed)
        self._leaving.update(owed)
        try:
            reply = await self._script.ask(op, slots=slots, release=owed)
        finally:
            self._leaving -= Counter(owed)
        for slot_id in owed:
            self._owed.pop(slot_id, None)
        return reply

    def _require_settled(self, slot_id: str) -> None:
        """Raise StateStoreUnavailable while this slot is being given back: the store might do that after our wish."""
        if slot_id in self._leaving:
            raise StateStoreUnavailable("La place de ce Flux est en cours de libération.", retry_after_s=1)

    def _granted(self, slot_id: str, reply: Reply, kbps: int = 0) -> Lease:
        """Return the lease in a reply, or raise what the reply says instead."""
        if reply.status == "full":
            raise slots_taken(reply.used, reply.cap, reply.rows)
        if reply.status == "held back":
            raise StateStoreUnavailable(
                "L'état partagé vient d'être rétabli : les Flux en cours y reprennent leur place.",
                retry_after_s=max(1, math.ceil(reply.hold_s)),
            )
        if reply.status == "elsewhere":
            raise StateStoreUnavailable("Un autre nœud sert ce Flux.", retry_after_s=1)
        term, since_ms, holder = reply.rows
        deadline = reply.asked_at + self._use_s
        if self._clock.monotonic() >= deadline:
            raise StateStoreUnavailable("L'état partagé a répondu trop tard.", retry_after_s=RETRY_AFTER_S)
        self._held[slot_id] = _Held(deadline, term, since_ms, holder.decode(), kbps)
        return Lease(slot_id, reply.used, reply.cap, deadline)

    def _valid(self, slot_id: str) -> _Held | None:
        held = self._held.get(slot_id)
        return held if held is not None and self._clock.monotonic() < held.deadline else None

    def _give_up(self, slot_id: str) -> None:
        self._held.pop(slot_id, None)
        self._owe(slot_id)

    def _owe(self, slot_id: str) -> None:
        if len(self._owed) >= MAX_OWED:
            del self._owed[next(iter(self._owed))]
        self._owed[slot_id] = self._clock.monotonic()


def _as_asked(slot_id: str, held: _Held) -> dict[str, Any]:
    asked = {
        "slot": slot_id,
        "term": held.term,
        "since": held.since_ms,
        "holder": held.holder,
        "kbps": held.kbps,
    }
    if held.activity is not None:
        asked["doing"] = holder_text(held.activity.shown)
        asked["idle"] = math.floor(held.activity.idle_s * 1000)
    return asked
