"""The register of requests in SQL; each act with its entry, or not at all (C05)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select

from camera_registry.clock import Clock
from camera_registry.records import SessionMaker, settle, transaction
from ops import requests
from ops.errors import UnknownItem
from ops.request_tables import OutsideRequestRow
from ops.requests import Answer, Cause, Channel, Outcome, OutsideRequest, Sort

TracedRequest = Callable[[OutsideRequest], Awaitable[object]]
"""Makes the entry of an act durable, awaited last within its transaction."""


class RequestStore:
    """Requests in SQL. Every method raises StoreUnavailable, and what its ``traced`` raises: then nothing is done."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def receive(
        self,
        *,
        sort: Sort,
        channel: Channel,
        service: str,
        reference: str | None,
        camera: str | None,
        start: datetime | None,
        end: datetime | None,
        received_at: datetime | None,
        by: str,
        traced: TracedRequest,
    ) -> OutsideRequest:
        """Put a request on record, which came now unless it says when. Raises RequestRefused."""
        now = self._clock.now()
        wanted = requests.receive(
            OutsideRequest(
                number=0,
                sort=sort,
                channel=channel,
                service=service,
                reference=reference,
                camera=camera,
                start=start,
                end=end,
                received_at=received_at or now,
                recorded_at=now,
                recorded_by=by,
            )
        )
        row = OutsideRequestRow(
            sort=sort.value,
            channel=channel.value,
            service=service,
            reference=reference,
            camera=camera,
            start=start,
            end=end,
            received_at=wanted.received_at,
            recorded_at=now,
            recorded_by=by,
        )
        async with transaction(self._sessions) as session:
            session.add(row)
            await session.flush()
            received = replace(wanted, number=row.number)
            await settle(session, lambda: traced(received))
        return received

    async def answer(
        self,
        number: int,
        *,
        outcome: Outcome,
        cause: Cause | None,
        text: str,
        at: datetime | None,
        by: str,
        traced: TracedRequest,
    ) -> OutsideRequest:
        """Record what was answered, now unless it says when. Raises UnknownItem, RequestRefused."""
        now = self._clock.now()
        given = Answer(outcome=outcome, cause=cause, text=text, at=at or now, by=by)
        async with transaction(self._sessions) as session:
            row = await session.get(OutsideRequestRow, number, with_for_update=True)
            if row is None:
                raise UnknownItem(str(number))
            requests.answer(_request(row), given, now)
            row.outcome, row.cause = outcome.value, cause.value if cause is not None else None
            row.answer, row.answered_at, row.answered_by = text, given.at, by
            answered = _request(row)
            await settle(session, lambda: traced(answered))
        return answered

    async def list_all(self) -> list[OutsideRequest]:
        """Every request, the newest first."""
        newest_first = select(OutsideRequestRow).order_by(OutsideRequestRow.number.desc())
        async with transaction(self._sessions) as session:
            return [_request(row) for row in await session.scalars(newest_first)]


def _request(row: OutsideRequestRow) -> OutsideRequest:
    return OutsideRequest(
        number=row.number,
        sort=Sort(row.sort),
        channel=Channel(row.channel),
        service=row.service,
        reference=row.reference,
        camera=row.camera,
        start=row.start,
        end=row.end,
        received_at=row.received_at,
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
        answer=_answer(row),
    )


def _answer(row: OutsideRequestRow) -> Answer | None:
    if row.answered_at is None or row.outcome is None:
        return None
    return Answer(
        outcome=Outcome(row.outcome),
        cause=Cause(row.cause) if row.cause is not None else None,
        text=row.answer or "",
        at=row.answered_at,
        by=row.answered_by or "",
    )
