"""Requests for cameras that no order exposes, as the trace keeps them: what SYN's point of contact is to see to.

Whoever is refused so is told a number under which the request is on record (C05). It is, in the journal, before
the refusal is known to anybody else; whoever tells the point of contact of it reads it here, from where it last was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from auth.trace import Entry, Kind
from auth.trace.reader import TraceReader
from halfgateway.errors import CameraNotAuthorised


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A request that no order lets be granted: when, for which camera, why, and the numbers that were told.

    ``count`` is how often it was made, where it was repeated within a second. Of who asked it says nothing (C17).
    """

    n: int
    at: datetime
    camera: str | None
    why: str | None
    numbers: tuple[str, ...]
    count: int


async def order_requests(reader: TraceReader, start: int) -> tuple[Sequence[OrderRequest], int]:
    """Return the requests from entry ``start`` on, oldest first, and where to go on: the journal's size once it is all.

    Raises auth.trace.TraceUnavailable, TraceDamaged.
    """
    refused, end = await reader.following(start, kinds=frozenset({Kind.STREAM_REFUSED}))
    return [_request(entry) for entry in refused if entry.refusal == CameraNotAuthorised.code], end


def _request(entry: Entry) -> OrderRequest:
    repeated = entry.detail.get("streams")
    numbers = repeated if isinstance(repeated, list) else [entry.stream]
    return OrderRequest(
        n=entry.n,
        at=entry.at,
        camera=entry.camera,
        why=entry.detail.get("reason"),
        numbers=tuple(str(number) for number in numbers if number is not None),
        count=int(entry.detail.get("repeated", 1)),
    )
