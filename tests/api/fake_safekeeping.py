"""Holds, requests and findings behind the API, as small as can be: what is asked for is said to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from auth.register import Actor
from camera_registry.holds import Hold
from camera_registry.retention import judge
from camera_registry.retention_store import Finding
from halfgateway.api.safekeeping_shapes import (
    AnswerRequest,
    FindingShape,
    HoldRequest,
    HoldShape,
    OutsideRequestRequest,
    OutsideRequestShape,
    SealRequest,
)
from ops.requests import Channel, OutsideRequest, Sort

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
HOLD = Hold(
    number=1,
    camera="cam-1",
    start=NOW - timedelta(days=2),
    end=NOW - timedelta(days=1),
    reference="TJ78-2026-1",
    until=None,
    placed_at=NOW,
    placed_by="officer",
)
REQUEST = OutsideRequest(
    number=1,
    sort=Sort.REQUEST,
    channel=Channel.MAIL,
    service="DOPC",
    reference=None,
    camera="cam-1",
    start=None,
    end=None,
    received_at=NOW,
    recorded_at=NOW,
    recorded_by="ops",
)
FINDING = Finding(camera="cam-1", probed_at=NOW, reached=True, verdict=judge([], None, NOW, NOW - timedelta(days=40)))


@dataclass
class FakeSafekeeping:
    """One hold, one request, one camera without footage; fills the four ports."""

    actors: list[Actor] = field(default_factory=list)

    async def holds(self) -> Sequence[HoldShape]:
        return [HoldShape.of(HOLD, NOW, alarm=True)]

    async def place(self, wish: HoldRequest, *, by: Actor) -> HoldShape:
        return self._held(by)

    async def release(self, number: int, *, reason: str, by: Actor) -> HoldShape:
        return self._held(by)

    async def extracting(self, number: int, *, by: Actor) -> HoldShape:
        return self._held(by)

    async def sealed(self, number: int, wish: SealRequest, *, by: Actor) -> HoldShape:
        return self._held(by)

    async def requests(self) -> Sequence[OutsideRequestShape]:
        return [OutsideRequestShape.of(REQUEST, NOW)]

    async def receive(self, wish: OutsideRequestRequest, *, by: Actor) -> OutsideRequestShape:
        self.actors.append(by)
        return OutsideRequestShape.of(REQUEST, NOW)

    async def answer(self, number: int, wish: AnswerRequest, *, by: Actor) -> OutsideRequestShape:
        self.actors.append(by)
        return OutsideRequestShape.of(REQUEST, NOW)

    async def findings(self) -> tuple[Sequence[FindingShape], datetime | None]:
        return [FindingShape.of(FINDING)], NOW

    async def ask(self, by: Actor) -> None:
        self.actors.append(by)

    def _held(self, by: Actor) -> HoldShape:
        self.actors.append(by)
        return HoldShape.of(HOLD, NOW, alarm=True)
