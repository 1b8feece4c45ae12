"""The convention's life in SQL, of both kinds: each act with its entry and its announcement, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from auth.policy import Convention
from camera_registry.records import transaction
from halfgateway.database import Database
from ops.annex_store import AnnexStore
from ops.annexes import Annex, AnnexVersion, Document, MediaType, orders_document, sites_document
from ops.calendar import Act, ActKind, EndGround
from ops.change_store import ChangeStore, WindowStore
from ops.changes import Agreement, ChangeState, Classification
from ops.convention_store import ConventionStore
from ops.errors import ActRefused, AnnexRefused, ChangeRefused, UnknownItem, WindowRefused
from ops.interconnection import Author
from ops.life import Life, read_life
from ops.parties import Party
from tests.held_clock import HeldClock
from tests.rights import accept

DAY = timedelta(days=1)
SIGNED = Convention("c", HeldClock().now() - timedelta(days=200))


class Unwritable(Exception):
    """The trace cannot be written."""


@dataclass
class Desk:
    """The stores on one database, and what their acts have told the trace."""

    database: Database
    clock: HeldClock
    told: list[Any] = field(default_factory=list)
    broken: bool = False

    def __post_init__(self) -> None:
        stores = self.database.sessions, self.clock
        self.changes, self.windows = ChangeStore(*stores), WindowStore(*stores)
        self.annexes, self.conventions = AnnexStore(*stores), ConventionStore(*stores)

    async def tell(self, what: Any) -> None:
        if self.broken:
            raise Unwritable
        self.told.append(what)

    async def announced(self) -> list[str]:
        return [each.id for each in await self.conventions.unfiled()]

    async def life(self) -> Life:
        async with transaction(self.database.sessions) as session:
            return await read_life(session, self.clock.now())

    async def inform(self, annex: Annex, document: Document, **changes: Any) -> AnnexVersion:
        wanted: dict[str, Any] = {
            "party": Party.PP,
            "summary": "mise à jour",
            "reference": "avenant 1" if annex.by_avenant else None,
            "by": "officer",
            "delay": 15 * DAY,
            "effective_at": None,
        }
        return await self.annexes.inform(annex, document=document, traced=self.tell, **(wanted | changes))

    async def record(self, kind: ActKind, **changes: Any) -> Act:
        act = Act(
            number=0,
            kind=kind,
            party=Party.PP,
            reference="LRAR 1A",
            day=self.clock.now().date(),
            recorded_at=self.clock.now(),
            recorded_by="officer",
            **changes,
        )
        return await self.conventions.record(SIGNED, act, self.tell)


@pytest.fixture
def desk(database: Database, clock: HeldClock) -> Desk:
    return Desk(database, clock)


async def test_a_change_keeps_its_story(desk: Desk) -> None:
    # C15
    announced = await desk.changes.announce(
        party=Party.PP,
        title="Nouvelle version du PVPP",
        description="Mise à jour de la Demi-Passerelle PP.",
        reference="PP-3",
        announced_at=desk.clock.now() - DAY,
        wished_on=date(2026, 12, 1),
        by="ops",
        traced=desk.tell,
    )
    number, now = announced.number, desk.clock.now()
    await desk.changes.classify(number, Classification(True, True, "comité", "CT-7", now), desk.tell)
    with pytest.raises(ChangeRefused):
        await desk.changes.schedule(number, date(2026, 12, 1), desk.tell)
    for party in Party:
        await desk.changes.agree(number, party, Agreement(date(2026, 12, 1), f"{party}-9", now), desk.tell)
    await desk.changes.schedule(number, date(2026, 12, 1), desk.tell)
    desk.clock.advance(12 * DAY)
    live = await desk.changes.go_live(number, desk.tell)
    assert live.state is ChangeState.LIVE
    assert await desk.changes.list_all() == [live]
    assert [each.state for each in desk.told] == [
        "announced",
        "classified",
        "classified",
        "agreed",
        "scheduled",
        "live",
    ]
    assert [name.rpartition("-")[0] for name in await desk.announced()] == [
        f"change-{number}",
        f"change-{number}-20261201",
    ]
    with pytest.raises(UnknownItem):
        await desk.changes.withdraw(number + 1, "x", desk.tell)


async def test_a_window_is_planned_announced_and_known_to_every_node(desk: Desk) -> None:
    # P07
    starts_at = desk.clock.now() + DAY

    async def planned() -> Any:
        return await desk.windows.plan(
            starts_at=starts_at,
            ends_at=starts_at + timedelta(hours=2),
            drain=timedelta(minutes=5),
            reason="mise à jour",
            change=None,
            by="syn-ops-01",
            author=Author.OPS,
            traced=desk.tell,
        )

    window = await planned()
    with pytest.raises(WindowRefused):
        await planned()
    assert (await desk.life()).windows == (window,)
    assert await desk.announced() == [f"window-{window.number}-planned"]
    await desk.windows.hold(window.number, desk.tell)
    await desk.windows.hold(window.number, desk.tell)
    assert [each.held_at is not None for each in desk.told] == [False, True]
    starts_at += DAY
    other = await planned()
    await desk.windows.withdraw(other.number, "reportée", desk.tell)
    assert [each.number for each in (await desk.life()).windows] == [window.number]
    assert (await desk.announced())[1:] == [f"window-{other.number}-planned", f"window-{other.number}-withdrawn"]


async def test_an_annex_comes_into_force_in_silence_and_leaves_by_opposition(desk: Desk) -> None:
    # C07, C20: what is served is what the policy goes by
    assert (await desk.life()).sites is None
    first = await desk.inform(Annex.VIEWING_SITES, sites_document({"PP-CITE": "Cité"}))
    assert await desk.annexes.bring_into_force(desk.tell) == []
    desk.clock.advance(15 * DAY)
    (begun,) = await desk.annexes.bring_into_force(desk.tell)
    assert (begun.version, begun.informed_at, begun.in_force_at) == (1, first.informed_at, desk.clock.now())
    assert (await desk.life()).sites == {"PP-CITE"}
    await desk.inform(Annex.VIEWING_SITES, sites_document({"PP-17": "17e"}))
    await desk.annexes.oppose(Annex.VIEWING_SITES, 2, party=Party.SYN, reason="inconnu", traced=desk.tell)
    desk.clock.advance(15 * DAY)
    assert await desk.annexes.bring_into_force(desk.tell) == []
    await desk.inform(Annex.VIEWING_SITES, sites_document({"PP-18": "18e"}), delay=timedelta())
    await desk.annexes.bring_into_force(desk.tell)
    assert (await desk.life()).sites == {"PP-18"}
    await desk.annexes.oppose(Annex.VIEWING_SITES, 3, party=Party.SYN, reason="tardive", traced=desk.tell)
    assert (await desk.life()).sites == {"PP-CITE"}
    assert len(await desk.annexes.list_all()) == 3
    assert (await desk.annexes.document(Annex.VIEWING_SITES, 2)).media_type is MediaType.JSON
    with pytest.raises(UnknownItem):
        await desk.annexes.document(Annex.CAMERAS, 1)


async def test_the_charter_is_acknowledged_in_the_version_that_is_in_force(desk: Desk) -> None:
    # L25
    await desk.inform(Annex.CHARTER, Document(b"v1", MediaType.TEXT))
    await desk.inform(Annex.ORDERS, orders_document(["78-2025-01"]))
    with pytest.raises(AnnexRefused):
        await desk.annexes.acknowledge("pp-1", 1, desk.tell)
    await desk.annexes.bring_into_force(desk.tell)
    told = len(desk.told)
    for _ in range(2):
        await desk.annexes.acknowledge("pp-1", 1, desk.tell)
    assert len(desk.told) == told + 1
    on_record = (await desk.life()).on_record
    assert (on_record.charter, on_record.charter_read_by) == (1, {"pp-1"})
    assert on_record.orders == {"78-2025-01"}
    await desk.inform(Annex.CHARTER, Document(b"v2", MediaType.TEXT), reference="avenant 2")
    await desk.annexes.bring_into_force(desk.tell)
    assert (await desk.life()).on_record.charter_read_by == frozenset()


async def test_the_convention_is_renewed_once_and_ended_by_record_alone(desk: Desk) -> None:
    # C18
    assert await desk.conventions.renew_if_due(SIGNED, desk.tell) is None
    desk.clock.advance(SIGNED.first_term - desk.clock.now())
    renewed = await desk.conventions.renew_if_due(SIGNED, desk.tell)
    assert renewed is not None
    assert await desk.conventions.renew_if_due(SIGNED, desk.tell) is None
    assert await desk.announced() == [f"act-{renewed.number}-renewed"]
    end = desk.clock.now() + 9 * DAY
    with pytest.raises(ActRefused):
        await desk.record(ActKind.END_RECORDED, ground=EndGround.DENUNCIATION, effect=end)
    await desk.record(ActKind.END_RECORDED, ground=EndGround.AGREEMENT, effect=end)
    assert (await desk.life()).on_record.ended_at == end
    assert [each.kind for each in await desk.conventions.acts()] == [ActKind.RENEWED, ActKind.END_RECORDED]


async def test_a_reminder_is_made_once_over_all_nodes_and_filed_by_one(desk: Desk) -> None:
    # C22
    until = desk.clock.now() + 20 * DAY
    await desk.record(ActKind.PVPP_ORDER, effect=until)
    assert (await desk.life()).on_record.pvpp_until == until
    (reminder,) = await desk.conventions.remind(SIGNED, desk.tell)
    assert (reminder.what, reminder.lead) == ("pvpp-order", "1m")
    assert await desk.conventions.remind(SIGNED, desk.tell) == []
    for announcement in await desk.conventions.unfiled():
        await desk.conventions.filed(announcement.id, "node-1")
    assert await desk.announced() == []


async def test_the_access_opens_with_an_acceptance_record(desk: Desk) -> None:
    # C23
    assert not (await desk.life()).on_record.accepted
    await accept(desk.database)
    assert (await desk.life()).on_record.accepted
    (kept,) = await desk.conventions.acceptances()
    assert await desk.conventions.acceptance(kept.number) == kept
    with pytest.raises(UnknownItem):
        await desk.conventions.acceptance(kept.number + 1)


async def test_what_cannot_be_traced_is_not_done(desk: Desk) -> None:
    # T01
    desk.broken = True
    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: desk.inform(Annex.CAMERAS, Document(b"x", MediaType.CSV)),
        lambda: desk.record(ActKind.DENOUNCED),
    ]
    for act in acts:
        with pytest.raises(Unwritable):
            await act()
    assert await desk.annexes.list_all() == []
    assert await desk.conventions.acts() == []
    assert await desk.announced() == []
