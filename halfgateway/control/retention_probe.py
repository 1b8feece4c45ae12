"""The retention probe: asks the recorders what they have, daily and on demand, and judges it (C04, L02).

The calendar's round begins at five in the morning in Paris, once over all nodes. One round runs at a time; whoever asks
while one is under way is answered by it. A recorder that does not answer is not judged: what was last found stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, NoReturn

from auth.register import Actor
from auth.rights import Rights
from auth.trace import Draft
from camera_registry.cameras import Camera
from camera_registry.clock import Clock
from camera_registry.errors import StoreUnavailable
from camera_registry.paris import PARIS
from camera_registry.retention import Breach, judge, keeping_order
from camera_registry.retention_store import Facts, Finding, RetentionStore, Standing, Transition
from camera_registry.spans import Span
from halfgateway.control.safekeeping_entries import breach_entry, round_entry
from halfgateway.errors import NoRecording, RecorderUnreachable, TraceUnavailable
from halfgateway.replay.footage import Footage, Interval, Recorders

PROBE_AT: Final = time(5)
"""When the calendar's round begins, in Paris: a time that every day has once, when few watch."""

LOOK_EVERY_S: Final = 600.0
"""How often it is looked whether the day's round is due, and what other nodes have found."""

LOOK_BACK: Final = timedelta(days=366)
"""How far back a recorder is asked: what is older than the longest order's maximum is there by a fault, of any age."""

ASKED_AT_ONCE: Final = 4
"""Cameras that recorders are asked about at the same time: a search takes one of the few sessions that they give."""

ANSWER_LIMIT_S: Final = 300.0
"""How long a recorder may take to say what it has of one camera: ten days in a folder on a network disk are 15,000
segments, each opened once. Past it, it did not answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many cameras are in breach, by what, how many were not reached, and when the last round was over."""

    breaches: dict[Breach, int]
    unreached: int
    probed_at: datetime | None

    @classmethod
    def of(cls, standing: Standing) -> Tally:
        """Count what was last found."""
        breaches = Counter(breach for finding in standing.findings for breach in finding.breaches)
        unreached = sum(not finding.reached for finding in standing.findings)
        return cls(dict(breaches), unreached, standing.probed_at)


class RetentionProbe:
    """Probes on one node. ``recorded`` are the cameras to look for; ``record`` makes an entry durable."""

    def __init__(
        self,
        *,
        recorders: Recorders,
        recorded: Callable[[], Iterable[Camera]],
        store: RetentionStore,
        record: Callable[[Draft], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._recorders = recorders
        self._recorded = recorded
        self._store = store
        self._record = record
        self._clock = clock
        self._wanted = asyncio.Event()
        self._askers: list[tuple[Actor, asyncio.Future[None]]] = []
        self.tally = Tally({}, 0, None)

    async def run(self) -> NoReturn:
        """Probe when it is due, and when somebody asks, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wanted.wait()
            except TimeoutError:
                await self._look()
            else:
                await self._answer()

    async def ask(self, by: Actor) -> None:
        """Have a round made now, and wait for its end; who waits no longer does not stop it.

        Raises StoreUnavailable, TraceUnavailable.
        """
        answered = asyncio.get_running_loop().create_future()
        self._askers.append((by, answered))
        self._wanted.set()
        await answered

    async def probe_if_due(self) -> bool:
        """Make the calendar's round of today, if it is time and no node has; whether this one has made it.

        Raises StoreUnavailable, TraceUnavailable.
        """
        here = self._clock.now().astimezone(PARIS)
        footages = self._footages()
        if here.time() < PROBE_AT or not footages:
            return False
        number = await self._store.claim(here.date())
        if number is not None:
            await self._probe(number, footages, [None])
        return number is not None

    async def _look(self) -> None:
        try:
            await self.probe_if_due()
            self.tally = Tally.of(await self._store.standing())
        except (StoreUnavailable, TraceUnavailable) as error:
            log.warning("retention.not_probed error=%s: tried again", error)

    async def _answer(self) -> None:
        self._wanted.clear()
        askers, self._askers = self._askers, []
        try:
            number = await self._store.claim(None)
            if number is not None:
                await self._probe(number, self._footages(), [by for by, _ in askers])
        except (StoreUnavailable, TraceUnavailable) as error:
            log.warning("retention.not_probed error=%s", error)
            _settle(askers, error)
        else:
            _settle(askers, None)

    def _footages(self) -> dict[Camera, Footage]:
        found = {camera: self._recorders.of(camera.id) for camera in self._recorded()}
        return {camera: footage for camera, footage in found.items() if footage is not None}

    async def _probe(self, number: int, footages: dict[Camera, Footage], asked_by: Sequence[Actor | None]) -> None:
        facts = await self._store.facts()
        rights = Rights(orders=facts.orders)
        turns = asyncio.Semaphore(ASKED_AT_ONCE)

        async def look(camera: Camera, footage: Footage) -> Finding:
            async with turns:
                return await self._find(camera, footage, facts, rights)

        findings = await asyncio.gather(*(look(camera, footage) for camera, footage in footages.items()))

        async def traced(findings: Sequence[Finding], transitions: Sequence[Transition]) -> None:
            rounds = [round_entry(findings, by) for by in asked_by]
            await asyncio.gather(*map(self._record, [*map(breach_entry, transitions), *rounds]))

        for transition in await self._store.keep(number, findings, traced):
            _shout(transition)
        self.tally = Tally.of(await self._store.standing())

    async def _find(self, camera: Camera, footage: Footage, facts: Facts, rights: Rights) -> Finding:
        now = self._clock.now()
        intervals = await _ask(camera.id, footage, now)
        if intervals is None:
            return Finding(camera=camera.id, probed_at=now, reached=False, verdict=None)
        verdict = judge(
            [Span(each.start, each.end) for each in intervals],
            keeping_order(rights.orders_of(camera), now),
            now,
            facts.added_at.get(camera.id, now),
            held=[Span(hold.start, hold.end) for hold in facts.holds if hold.camera == camera.id],
            verified=all(each.verified for each in intervals),
        )
        return Finding(camera=camera.id, probed_at=now, reached=True, verdict=verdict)


async def _ask(camera: str, footage: Footage, now: datetime) -> Sequence[Interval] | None:
    """What a recorder says it has of a camera; None where it does not answer."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await footage.find(now - LOOK_BACK, now)
    except NoRecording:
        return ()
    except (RecorderUnreachable, TimeoutError) as error:
        log.warning("retention.recorder_unreached camera=%s error=%s", camera, error)
        return None


def _settle(askers: Sequence[tuple[Actor, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, answered in askers:
        if answered.done():
            continue
        if error is None:
            answered.set_result(None)
        else:
            answered.set_exception(error)


def _shout(transition: Transition) -> None:
    """Say it on the log: what is kept past the order's maximum is an alarm at once (L02)."""
    camera, breach = transition.finding.camera, transition.breach
    if not transition.begun:
        log.info("retention.mended camera=%s breach=%s", camera, breach)
    elif breach is Breach.LATE_PURGE:
        log.critical("retention.breach camera=%s breach=%s", camera, breach)
    else:
        log.error("retention.breach camera=%s breach=%s", camera, breach)
