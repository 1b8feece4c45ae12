"""The register of requests made outside the link, and of requisitions (C05)."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from halfgateway.api.safekeeping_shapes import OutsideRequestShape
from halfgateway.database import Database
from halfgateway.dossiers.requests import requests_document
from halfgateway.dossiers.tables import TableFormat, write_table
from ops.errors import RequestRefused, UnknownItem
from ops.request_store import RequestStore
from ops.requests import Cause, Channel, Outcome, OutsideRequest, Sort
from tests.held_clock import HeldClock

HOUR = timedelta(hours=1)


class Register(RequestStore):
    """The store, with what it told the trace."""

    def __init__(self, database: Database, clock: HeldClock) -> None:
        super().__init__(database.sessions, clock)
        self.told: list[OutsideRequest] = []

    async def tell(self, request: OutsideRequest) -> None:
        self.told.append(request)

    async def received(self, **changes: Any) -> OutsideRequest:
        usual: dict[str, Any] = {
            "sort": Sort.REQUISITION,
            "channel": Channel.MAIL,
            "service": "=TJ de Versailles",
            "reference": "TJ78-2026-1",
            "camera": "cam-1",
            "start": None,
            "end": None,
            "received_at": None,
            "by": "ops",
        }
        return await self.receive(traced=self.tell, **(usual | changes))

    async def answered(self, number: int, **changes: Any) -> OutsideRequest:
        usual: dict[str, Any] = {"outcome": Outcome.SERVED, "cause": None, "text": "remise", "at": None, "by": "ops"}
        return await self.answer(number, traced=self.tell, **(usual | changes))


@pytest.fixture
def register(database: Database, clock: HeldClock) -> Register:
    return Register(database, clock)


async def test_a_request_is_answered_once_with_its_cause_and_its_delay(register: Register, clock: HeldClock) -> None:
    # C05
    received = await register.received(received_at=clock.now() - 2 * HOUR)
    assert received.delay(clock.now()) == 2 * HOUR
    clock.advance(HOUR)
    answered = await register.answered(
        received.number, outcome=Outcome.NOT_SERVED, cause=Cause.NO_RECORDING, text="aucun enregistrement"
    )
    clock.advance(5 * HOUR)
    assert answered.delay(clock.now()) == 3 * HOUR
    assert (await register.list_all(), register.told) == ([answered], [received, answered])
    with pytest.raises(RequestRefused, match="déjà"):
        await register.answered(received.number)
    with pytest.raises(UnknownItem):
        await register.answered(received.number + 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reference": None},
        {"start": HeldClock().now()},
        {"start": HeldClock().now(), "end": HeldClock().now() - HOUR},
        {"received_at": HeldClock().now() + HOUR},
    ],
)
async def test_what_cannot_be_a_request_is_refused(register: Register, wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused):
        await register.received(**wrong)
    assert await register.list_all() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"cause": Cause.OTHER},
        {"outcome": Outcome.PARTLY},
        {"outcome": Outcome.NOT_SERVED},
        {"at": HeldClock().now() - HOUR},
        {"at": HeldClock().now() + HOUR},
    ],
)
async def test_an_answer_has_a_cause_where_less_was_served_and_comes_after_the_request(
    register: Register, wrong: dict[str, Any]
) -> None:
    received = await register.received()
    with pytest.raises(RequestRefused):
        await register.answered(received.number, **wrong)
    assert (await register.list_all())[0].answer is None


async def test_the_register_is_a_table(register: Register, clock: HeldClock) -> None:
    # P08
    await register.received()
    shown = [OutsideRequestShape.of(each, clock.now()).model_dump(mode="json") for each in await register.list_all()]
    table = write_table(requests_document(shown), TableFormat.CSV).decode("utf-8-sig")
    heading, row = csv.reader(io.StringIO(table), delimiter=";")
    told = dict(zip(heading, row, strict=True))
    assert (told["Nature"], told["Demandeur"], told["Suite"]) == ("réquisition", "'=TJ de Versailles", "sans réponse")
    assert told["Reçue le"] == "2026-11-21 11:15:00 +0100"
    assert write_table(requests_document(shown), TableFormat.XLSX).startswith(b"PK")
