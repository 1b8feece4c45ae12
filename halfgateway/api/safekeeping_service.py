"""The API's holds, requests and findings, filled by their stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from auth.register import Actor
from auth.trace import Draft, Kind
from camera_registry.clock import Clock
from camera_registry.errors import HoldRefused, UnknownCamera, UnknownHold
from camera_registry.hold_store import HoldStore
from camera_registry.holds import Hold
from camera_registry.retention_store import RetentionStore
from halfgateway.api.acts import in_our_words
from halfgateway.api.problems import Fault, InvalidCall, UnknownRecord
from halfgateway.api.safekeeping_shapes import (
    AnswerRequest,
    FindingShape,
    HoldRequest,
    HoldShape,
    OutsideRequestRequest,
    OutsideRequestShape,
    SealRequest,
)
from halfgateway.control.hold_watch import HoldWatch
from halfgateway.control.safekeeping_entries import hold_entry, request_entry
from ops.request_store import RequestStore
from ops.requests import OutsideRequest

Record = Callable[[Draft], Awaitable[object]]
"""Makes an entry durable."""


class HoldService:
    """Fills :class:`~halfgateway.api.safekeeping_ports.Holds`."""

    def __init__(self, *, store: HoldStore, watch: HoldWatch, record: Record, clock: Clock) -> None:
        self._store = store
        self._watch = watch
        self._record = record
        self._clock = clock

    async def holds(self) -> Sequence[HoldShape]:
        """See the port."""
        return [self._shown(hold) for hold in await self._store.list_all()]

    async def place(self, wish: HoldRequest, *, by: Actor) -> HoldShape:
        """See the port."""
        with _in_our_words():
            placed = await self._store.place(
                camera=wish.camera,
                start=wish.start,
                end=wish.end,
                reference=wish.reference,
                until=wish.until,
                by=by.account,
                traced=self._traced(Kind.HOLD_PLACED, by),
            )
        return self._shown(placed)

    async def release(self, number: int, *, reason: str, by: Actor) -> HoldShape:
        """See the port."""
        with _in_our_words():
            ended = await self._store.release(
                number, reason=reason, by=by.account, traced=self._traced(Kind.HOLD_ENDED, by)
            )
        return self._shown(ended)

    async def extracting(self, number: int, *, by: Actor) -> HoldShape:
        """See the port."""
        with _in_our_words():
            hold = await self._store.extracting(number, self._traced(Kind.HOLD_EXTRACTING, by))
        return self._shown(hold)

    async def sealed(self, number: int, wish: SealRequest, *, by: Actor) -> HoldShape:
        """See the port."""
        with _in_our_words():
            extracted = await self._store.extracted(
                number,
                medium=wish.medium,
                sha256=wish.manifest_sha256,
                by=by.account,
                traced=self._traced(Kind.HOLD_EXTRACTED, by),
            )
        return self._shown(extracted)

    def _traced(self, kind: Kind, by: Actor) -> Callable[[Hold], Awaitable[object]]:
        return lambda hold: self._record(hold_entry(kind, hold, by))

    def _shown(self, hold: Hold) -> HoldShape:
        return HoldShape.of(hold, self._clock.now(), alarm=bool(self._watch.alarmed([hold])))


class RequestService:
    """Fills :class:`~halfgateway.api.safekeeping_ports.OutsideRequests`."""

    def __init__(self, *, store: RequestStore, record: Record, clock: Clock) -> None:
        self._store = store
        self._record = record
        self._clock = clock

    async def requests(self) -> Sequence[OutsideRequestShape]:
        """See the port."""
        now = self._clock.now()
        return [OutsideRequestShape.of(request, now) for request in await self._store.list_all()]

    async def receive(self, wish: OutsideRequestRequest, *, by: Actor) -> OutsideRequestShape:
        """See the port."""
        with in_our_words():
            received = await self._store.receive(
                sort=wish.sort,
                channel=wish.channel,
                service=wish.service,
                reference=wish.reference,
                camera=wish.camera,
                start=wish.start,
                end=wish.end,
                received_at=wish.received_at,
                by=by.account,
                traced=self._traced(Kind.REQUEST_RECEIVED, by),
            )
        return OutsideRequestShape.of(received, self._clock.now())

    async def answer(self, number: int, wish: AnswerRequest, *, by: Actor) -> OutsideRequestShape:
        """See the port."""
        with in_our_words():
            answered = await self._store.answer(
                number,
                outcome=wish.outcome,
                cause=wish.cause,
                text=wish.text,
                at=wish.answered_at,
                by=by.account,
                traced=self._traced(Kind.REQUEST_ANSWERED, by),
            )
        return OutsideRequestShape.of(answered, self._clock.now())

    def _traced(self, kind: Kind, by: Actor) -> Callable[[OutsideRequest], Awaitable[object]]:
        return lambda request: self._record(request_entry(kind, request, by))


class RetentionService:
    """Fills :class:`~halfgateway.api.safekeeping_ports.RetentionRecords`."""

    def __init__(self, store: RetentionStore) -> None:
        self._store = store

    async def findings(self) -> tuple[Sequence[FindingShape], datetime | None]:
        """See the port."""
        standing = await self._store.standing()
        return [FindingShape.of(finding) for finding in standing.findings], standing.probed_at


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except HoldRefused as error:
        raise InvalidCall([Fault(where="body", message=str(error))]) from error
    except UnknownCamera as error:
        raise InvalidCall([Fault(where="body.camera", message=f"aucune caméra {error} n'est connue")]) from error
    except UnknownHold as error:
        raise UnknownRecord(f"Aucune mise sous réserve n° {error}.") from error
