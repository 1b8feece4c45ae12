"""What SYN's point of contact is to see to is on record, once for each request that was told a number (L06, C05)."""

from __future__ import annotations

import time
from pathlib import Path

from auth.trace import Draft, Kind
from halfgateway.control.order_requests import order_requests
from halfgateway.control.tracing import Tracer
from tests.trace.journals import open_journal


def refused(stream: str, camera: str, code: str = "camera-not-authorised") -> Draft:
    detail = {"reason": "order-expired", "service": "DOPC"}
    return Draft(kind=Kind.STREAM_REFUSED, stream=stream, camera=camera, refusal=code, agent="pp-1", detail=detail)


async def test_each_request_without_an_order_is_told_once_and_names_nobody(tmp_path: Path) -> None:
    async with await open_journal(tmp_path / "trace") as journal:
        tracer = Tracer(journal, now=time.monotonic)
        for draft in (refused("r-1", "mairie"), refused("r-2", "gare", "cap-reached"), refused("r-3", "port")):
            await tracer.durable(draft)
        found, end = await order_requests(journal.reader(), 0)
        assert end == journal.size
        assert [(each.n, each.camera, each.why, each.numbers, each.count) for each in found] == [
            (0, "mairie", "order-expired", ("r-1",), 1),
            (2, "port", "order-expired", ("r-3",), 1),
        ]
        assert "pp-1" not in repr(found)
        assert "DOPC" not in repr(found)
        assert await order_requests(journal.reader(), end) == ([], end)
        again = refused("r-1", "mairie")
        await tracer.durable(Draft(kind=again.kind, camera="mairie", stream="r-1", refusal=again.refusal,
                                   detail={**again.detail, "repeated": 2, "streams": ["r-4", "r-5"]}))  # fmt: skip
        ((told,), _) = await order_requests(journal.reader(), end)
        assert (told.numbers, told.count) == (("r-4", "r-5"), 2)
