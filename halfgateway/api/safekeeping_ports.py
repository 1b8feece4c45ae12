"""What the API asks of whoever keeps holds, requests made outside the link, and what the retention probe found.

Each act is traced before it takes effect, behind these ports. Methods raise InvalidCall for what is not allowed, and
UnknownRecord.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from auth.register import Actor
from halfgateway.api.safekeeping_shapes import (
    AnswerRequest,
    FindingShape,
    HoldRequest,
    HoldShape,
    OutsideRequestRequest,
    OutsideRequestShape,
    SealRequest,
)


class Holds(Protocol):
    """Judicial holds (L26)."""

    async def holds(self) -> Sequence[HoldShape]:
        """Every hold, newest first."""

    async def place(self, wish: HoldRequest, *, by: Actor) -> HoldShape:
        """Hold footage."""

    async def release(self, number: int, *, reason: str, by: Actor) -> HoldShape:
        """End a hold."""

    async def extracting(self, number: int, *, by: Actor) -> HoldShape:
        """Have it told that its interval is about to be extracted."""

    async def sealed(self, number: int, wish: SealRequest, *, by: Actor) -> HoldShape:
        """Record that its interval was extracted to a sealed medium."""


class OutsideRequests(Protocol):
    """Requests made outside the link, and requisitions (C05)."""

    async def requests(self) -> Sequence[OutsideRequestShape]:
        """Every request, newest first."""

    async def receive(self, wish: OutsideRequestRequest, *, by: Actor) -> OutsideRequestShape:
        """Put one on record."""

    async def answer(self, number: int, wish: AnswerRequest, *, by: Actor) -> OutsideRequestShape:
        """Record what was answered."""


class RetentionRecords(Protocol):
    """What the retention probe found (C04)."""

    async def findings(self) -> tuple[Sequence[FindingShape], datetime | None]:
        """What was last found of each camera, and when the last round was over."""


class Probe(Protocol):
    """The probe itself."""

    async def ask(self, by: Actor) -> None:
        """Have a round made now, and wait for its end."""
