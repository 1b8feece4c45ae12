"""What the recorders were last found to have of each camera, and which breaches began or ended with it (C04)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from camera_registry.clock import Clock, rfc3339
from camera_registry.hold_store import holds_in_force
from camera_registry.holds import Hold
from camera_registry.keeping_tables import FindingRow, ProbeRow
from camera_registry.order_store import recorded_orders
from camera_registry.orders import Order
from camera_registry.records import SessionMaker, settle, transaction
from camera_registry.retention import Breach, Terms, Verdict
from camera_registry.spans import Span
from camera_registry.tables import CameraRow

CLAIM_LASTS: Final = timedelta(hours=1)
"""How long a round may take; another node then takes over one that a node has begun and not ended."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a round is judged by: the orders, since when each camera is on record, the holds in force."""

    orders: tuple[Order, ...]
    added_at: Mapping[str, datetime]
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was last found of one camera: the verdict on its recorder's last answer, None where it never answered.

    ``reached``: it answered in the last round.
    """

    camera: str
    probed_at: datetime
    reached: bool
    verdict: Verdict | None

    @property
    def breaches(self) -> frozenset[Breach]:
        """Those that stand."""
        return self.verdict.breaches if self.verdict is not None else frozenset()


@dataclass(frozen=True, slots=True)
class Transition:
    """A breach of one camera that has ``begun``, or is mended."""

    breach: Breach
    begun: bool
    finding: Finding


@dataclass(frozen=True, slots=True)
class Standing:
    """The findings of the cameras, by identifier, and when the last round was over."""

    findings: tuple[Finding, ...]
    probed_at: datetime | None


TracedRound = Callable[[Sequence[Finding], Sequence[Transition]], Awaitable[object]]
"""Makes the entries of a round durable, awaited last within its transaction."""


class _Taken(Exception):
    """Another node has begun the day's round at the same instant."""


class RetentionStore:
    """The probe's records in SQL. Every method raises StoreUnavailable."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def facts(self) -> Facts:
        """What a round is judged by, as of now."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            orders = [each.order for each in await recorded_orders(session)]
            added = await session.execute(select(CameraRow.id, CameraRow.created_at))
            return Facts(
                tuple(order for order in orders if order.withdrawn_at is None),
                {row.id: row.created_at for row in added},
                tuple(await holds_in_force(session, now)),
            )

    async def claim(self, day: date | None) -> int | None:
        """Begin a round and return its number: the calendar's of a day, once over all nodes, or one that is asked for.

        None where another node has begun it.
        """
        now = self._clock.now()
        try:
            async with transaction(self._sessions) as session:
                begun = await session.scalar(select(ProbeRow).where(ProbeRow.day == day)) if day is not None else None
                if begun is not None:
                    left = ProbeRow.finished_at.is_(None), ProbeRow.begun_at <= now - CLAIM_LASTS
                    taken_over = update(ProbeRow).where(ProbeRow.number == begun.number, *left).values(begun_at=now)
                    return await session.scalar(taken_over.returning(ProbeRow.number))
                row = ProbeRow(day=day, begun_at=now)
                session.add(row)
                await _flush(session)
                return row.number
        except _Taken:
            return None

    async def keep(self, number: int, findings: Sequence[Finding], traced: TracedRound) -> list[Transition]:
        """Keep what a round has found and return what has begun or is mended.

        A recorder that did not answer leaves the verdict before as it was. Raises what ``traced`` raises: then nothing
        is kept.
        """
        async with transaction(self._sessions) as session:
            rows = {row.camera: row for row in await session.scalars(select(FindingRow).with_for_update())}
            transitions: list[Transition] = []
            for finding in findings:
                row = rows.get(finding.camera)
                if row is None:
                    row = FindingRow(camera=finding.camera)
                    session.add(row)
                row.probed_at, row.reached = finding.probed_at, finding.reached
                if finding.verdict is not None:
                    transitions += _transitions(_finding(row).breaches if row.verdict else frozenset(), finding)
                    row.verdict = _written(finding.verdict)
            gone = rows.keys() - {finding.camera for finding in findings}
            for camera in gone:
                await session.delete(rows[camera])
            await session.execute(
                update(ProbeRow).where(ProbeRow.number == number).values(finished_at=self._clock.now())
            )
            await settle(session, lambda: traced(findings, transitions))
        return transitions

    async def standing(self) -> Standing:
        """What was last found."""
        async with transaction(self._sessions) as session:
            rows = await session.scalars(select(FindingRow).order_by(FindingRow.camera))
            findings = tuple(_finding(row) for row in rows)
            newest = select(ProbeRow.finished_at).where(ProbeRow.finished_at.is_not(None))
            return Standing(findings, await session.scalar(newest.order_by(ProbeRow.finished_at.desc()).limit(1)))


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        raise _Taken from error


def _transitions(before: frozenset[Breach], finding: Finding) -> list[Transition]:
    now = finding.breaches
    return [
        *(Transition(breach, True, finding) for breach in sorted(now - before)),
        *(Transition(breach, False, finding) for breach in sorted(before - now)),
    ]


def _finding(row: FindingRow) -> Finding:
    return Finding(
        camera=row.camera,
        probed_at=row.probed_at,
        reached=row.reached,
        verdict=_read(row.verdict) if row.verdict is not None else None,
    )


def _written(verdict: Verdict) -> str:
    return json.dumps(
        {
            "terms": [
                rfc3339(verdict.terms.destroyed_before),
                rfc3339(verdict.terms.kept_from),
                rfc3339(verdict.terms.accessible_from),
            ],
            "oldest": _instant(verdict.oldest),
            "newest": _instant(verdict.newest),
            "gaps": [[rfc3339(gap.start), rfc3339(gap.end)] for gap in verdict.gaps],
            "gap_count": verdict.gap_count,
            "breaches": sorted(verdict.breaches),
            "verified": verdict.verified,
        }
    )


def _read(text: str) -> Verdict:
    found = json.loads(text)
    return Verdict(
        terms=Terms(*map(datetime.fromisoformat, found["terms"])),
        oldest=_parsed(found["oldest"]),
        newest=_parsed(found["newest"]),
        gaps=tuple(Span(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in found["gaps"]),
        gap_count=found["gap_count"],
        breaches=frozenset(map(Breach, found["breaches"])),
        verified=found["verified"],
    )


def _instant(instant: datetime | None) -> str | None:
    return rfc3339(instant) if instant is not None else None


def _parsed(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None
