"""The watchdog: it sees that each incident is told, and shouts where it is not (N09); and that the gateway lives (N02).

A process of its own that trusts nobody's word: it reads the books and the record on disk, the notifier's sign of life,
and the gateway's last proven-good instant. It opens an incident where the gateway has fallen silent, with that instant
as T0, however late it looks; and says of it when the gateway is back, and when it fell again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from camera_registry.clock import Clock
from ops.errors import CallFailed, OpsError
from ops.incidents.book import IncidentBooks
from ops.incidents.duties import Rules, relapses, to_be_shouted
from ops.incidents.events import Opened, Recovered, Relapsed, Said, Source
from ops.incidents.following import RecordFollower
from ops.incidents.incident import Incident, RunningClock
from ops.interconnection import Author
from ops.local_record import LocalRecord
from ops.notices.escalation import EscalationPlan, is_red
from ops.notices.shelf import Shelf
from ops.notices.shouting import Alarm, AlarmKind, Alarms, Pulse

log = logging.getLogger(__name__)

WHO: Final = "watchdog"

ROUND_S: Final = 5.0
"""Seconds between two rounds: what it watches is counted in minutes and hours."""

SILENT_AFTER: Final = timedelta(minutes=2)
"""How old the notifier's last sign of life may be. It goes round each second, and is restarted within seconds."""

LOST_AFTER: Final = timedelta(seconds=150)
"""How old the gateway's last sign of life may be before an incident is opened: two heartbeats and a half (T07). It is
well under ``critical_after``, which decides whether anybody is told (N03)."""


CLOCK_LEFT: Final = 0.25
"""The part of a legal clock's time that is left when it is shouted: six hours of a day, a week of a month (L22)."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What a gateway's trace proves: when it last lived, and when it last could serve (N02), which is never later.

    ``period_s`` is how long after its last heartbeat the next was to come, by its own word; 0 where there is none.
    """

    alive: datetime
    good: datetime
    period_s: float = 0.0


LastSigns = Callable[[], Signs | None]
"""Gives the newest signs; None where there is nothing to watch: it has never run, or was stopped in good order. Blocks
on the disk."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The node that is watched; ``lost_after`` is how old these signs of life may be now."""

    node: str
    last_signs: LastSigns
    lost_after: Callable[[Signs], timedelta] = lambda _: LOST_AFTER


class Watchdog:
    """One node's watchdog; see the module. :meth:`once` goes round once."""

    def __init__(
        self,
        books: IncidentBooks,
        record: LocalRecord,
        alarms: Alarms,
        *,
        rules: Rules,
        clock: Clock,
        plan: Callable[[], EscalationPlan] = EscalationPlan,
        notifier: Pulse | None = None,
        pulse: Pulse | None = None,
        gateway: Gateway | None = None,
    ) -> None:
        """``plan`` is asked with each round; ``notifier`` is the notifier's sign of life, ``pulse`` our own."""
        self._books = books
        self._record = record
        self._follower = RecordFollower(books, record)
        self._alarms = alarms
        self._rules = rules
        self._clock = clock
        self._plan = plan
        self._notifier = notifier
        self._pulse = pulse
        self._gateway = gateway
        self._shelf = Shelf(books)
        self._began = clock.now()

    async def run(self) -> NoReturn:
        """Go round for ever."""
        while True:
            await self.once()
            await asyncio.sleep(ROUND_S)

    async def once(self) -> None:
        """Look at everything once, and shout what has to be. Never raises OpsError."""
        now = self._clock.now()
        incidents = await asyncio.to_thread(self._look, now)
        await self._alarms.stand(self._standing(incidents, now), now)

    def _look(self, now: datetime) -> tuple[Incident, ...]:
        try:
            self._follower.follow()
            if self._gateway is not None:
                watch_gateway(self._books, self._record, self._gateway, rules=self._rules, now=now)
            if self._pulse is not None:
                self._pulse.beat(now)
        except (OpsError, CallFailed) as error:
            log.error("watchdog.failed error=%s", error)
        return self._shelf.look()

    def _standing(self, incidents: Sequence[Incident], now: datetime) -> list[Alarm]:
        alarms = [alarm for incident in incidents if (alarm := self._of(incident, now)) is not None]
        alarms += [alarm for incident in incidents for alarm in _running_out(incident, now)]
        damaged = [incident.id for incident in incidents if incident.damaged]
        for name in (*damaged, *self._shelf.unreadable):
            text = "Le registre de l'incident est endommagé : informer la Préfecture de police par téléphone."
            alarms.append(Alarm(AlarmKind.BOOK_DAMAGED, name, text))
        if self._notifier is not None and now >= max(self._began, self._notifier.last() or self._began) + SILENT_AFTER:
            text = "L'envoi des courriels ne répond plus : aucun courriel d'information ne part."
            alarms.append(Alarm(AlarmKind.NOTIFIER_SILENT, "notifier", text))
        return alarms

    def _of(self, incident: Incident, now: datetime) -> Alarm | None:
        if not to_be_shouted(incident, self._rules, now):
            return None
        drill = "[EXERCICE] " if incident.drill else ""
        if now > incident.deadline:
            text = f"{drill}Le délai de huit heures est dépassé et aucun courriel d'information n'est parti."
            return Alarm(AlarmKind.DEADLINE_MISSED, incident.id, text, incident.deadline)
        red = "ROUGE – " if is_red(incident, self._plan(), self._rules, now) else ""
        text = f"{drill}{red}Aucun serveur n'a pris le courriel d'information ; il reste {incident.deadline - now}."
        return Alarm(AlarmKind.NOTICE_LATE, incident.id, text, incident.deadline)


def _running_out(incident: Incident, now: datetime) -> list[Alarm]:
    """The legal clocks beside article 8's that nobody has stopped and that run out soon, or have (L22, L23)."""
    return [
        Alarm(AlarmKind.CLOCK_RUNS_OUT, f"{incident.id}/{clock.name}", _left(incident, clock, now), clock.deadline)
        for clock in incident.clocks.values()
        if clock.done_at is None and clock.deadline - now <= CLOCK_LEFT * (clock.deadline - clock.start)
    ]


def _left(incident: Incident, clock: RunningClock, now: datetime) -> str:
    drill = "[EXERCICE] " if incident.drill else ""
    if now > clock.deadline:
        return f"{drill}Le délai {clock.name} est dépassé, et rien ne dit que la déclaration a été faite."
    minutes = (clock.deadline - now) // timedelta(minutes=1)
    return f"{drill}Délai {clock.name} : il reste {minutes // 60} h {minutes % 60:02} min pour déclarer."


def watch_gateway(books: IncidentBooks, record: LocalRecord, gateway: Gateway, *, rules: Rules, now: datetime) -> None:
    """Open an incident where the gateway has fallen silent, and say in it when it is back, or silent again (N02).

    None is opened while the interconnection is cut: nothing more has stopped. Raises BookError.
    """
    signs = gateway.last_signs()
    if signs is None:
        return
    current = _found(books)
    if now - signs.alive >= gateway.lost_after(signs):
        if current is not None and relapses(current, rules, signs.alive):
            _say(books, current, lambda one: _fell_again(one, signs.good))
        elif not record.load().closed:
            beginning = _opening(gateway, signs.good)
            books.update(_name(gateway.node, signs.good), WHO, lambda known: () if known is not None else (beginning,))
    elif current is not None:
        _say(books, current, lambda one: _is_back(one, signs.alive))


def _found(books: IncidentBooks) -> Incident | None:
    """The newest stop that was found, by the node itself or by us, and is not resolved."""
    found = [one for one in books.all() if one.opened.by is Author.DETECTION and one.resolved_at is None]
    return max(found, key=lambda one: one.t0, default=None)


def _opening(gateway: Gateway, good: datetime) -> Opened:
    reason = f"nœud {gateway.node} : plus aucun signe de fonctionnement"
    return Opened(
        t0=good, t0_source=Source.HEARTBEAT, critical=True, by=Author.DETECTION, reason=reason, interrupted_at=good
    )


def _fell_again(incident: Incident, good: datetime) -> tuple[Said, ...]:
    if incident.recovered_at is None:
        return ()
    return (Relapsed(at=good, reason="plus aucun signe de fonctionnement, de nouveau"),)


def _is_back(incident: Incident, alive: datetime) -> tuple[Said, ...]:
    stops = [event.who for event in incident.timeline if isinstance(event.said, Opened | Relapsed)]
    if incident.recovered_at is not None or stops[-1] != WHO or alive <= incident.t0:
        return ()  # what the node found while it lived is the node's to end
    return (Recovered(at=alive, reason="le nœud fonctionne de nouveau"),)


def _say(books: IncidentBooks, incident: Incident, change: Callable[[Incident], tuple[Said, ...]]) -> None:
    if change(incident):
        books.update(incident.id, WHO, lambda current: () if current is None else change(current))


def _name(node: str, good: datetime) -> str:
    """The incident's id, by its T0: whoever finds the same silence finds the same incident."""
    return f"{good.astimezone(UTC):%Y%m%dT%H%M%SZ}-silence-{node}"
