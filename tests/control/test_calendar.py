"""What a node does because a time has come: windows drain, cut and reopen; the convention ends (P07, C18, C07)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from auth.policy import Convention
from auth.trace import Draft, Kind
from halfgateway.control.calendar import CALENDAR, ConventionCalendar
from halfgateway.control.rights_view import RightsView
from halfgateway.control.streams import Timings
from halfgateway.control.terms import Terms
from halfgateway.database import Database
from halfgateway.errors import ConventionNotInForce, InterconnectionCut, StateStoreUnavailable
from ops.annex_store import AnnexStore
from ops.annexes import Annex, sites_document
from ops.announcements import Announcements
from ops.change_store import WindowStore
from ops.convention_store import ConventionStore
from ops.interconnection import Author, Ground, Status
from ops.parties import Party
from ops.preflight import Preflight
from ops.windows import MaintenanceWindow, WindowState
from tests.control.doors import BY_MACHINE, Place, open_place, wish
from tests.control.test_interconnection import BY_SYN, NodeView, node
from tests.control.valkeys import Nodes
from tests.held_clock import HeldClock
from tests.preflights import looked
from tests.rights import LONG_AGO, SITE

__all__ = ["node"]

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@dataclass
class Keeper:
    """A node's calendar on a real record and a real database; ``ill`` is what its pre-flight finds."""

    node: NodeView
    calendar: ConventionCalendar
    windows: WindowStore
    conventions: ConventionStore
    annexes: AnnexStore
    view: RightsView
    terms: Terms
    announcements: Announcements
    told: list[Draft]
    ill: list[str] = field(default_factory=list)

    async def plan(self) -> MaintenanceWindow:
        """A window in an hour, of two hours, with ten minutes of drain."""
        now = self.node.clock.now()

        async def traced(window: MaintenanceWindow) -> None:
            self.told.append(Draft(kind=Kind.CHANGE_ANNOUNCED, detail={"window": window.number}))

        window = await self.windows.plan(
            starts_at=now + HOUR,
            ends_at=now + 3 * HOUR,
            drain=10 * MINUTE,
            reason="mise à jour",
            change=None,
            by="syn-ops-01",
            author=Author.OPS,
            traced=traced,
        )
        await self.view.refresh()
        return window

    async def after(self, passed: timedelta) -> Status:
        """Let time pass, and the calendar look."""
        self.node.clock.advance(passed)
        await self.calendar.keep_time()
        await self.node.interconnection.settle()
        return self.node.interconnection.state.state


@pytest.fixture
async def keeper(node: NodeView, database: Database, clock: HeldClock, tmp_path: Path) -> Keeper:
    stores = database.sessions, clock
    view = RightsView(*stores, sites=lambda: frozenset({SITE}))
    await view.refresh()
    node.interconnection.observe(None)
    terms, told, ill = Terms(Convention("c", LONG_AGO), Timings()), list[Draft](), list[str]()

    async def preflight() -> Preflight:
        return looked(clock.now(), failed=ill)

    async def record(draft: Draft) -> None:
        told.append(draft)

    windows, conventions, annexes = WindowStore(*stores), ConventionStore(*stores), AnnexStore(*stores)
    announcements = Announcements(tmp_path / "announcements")
    calendar = ConventionCalendar(
        interconnection=node.interconnection,
        view=view,
        terms=terms,
        conventions=conventions,
        annexes=annexes,
        windows=windows,
        announcements=announcements,
        preflight=preflight,
        record=record,
        node="node-1",
        clock=clock,
    )
    return Keeper(node, calendar, windows, conventions, annexes, view, terms, announcements, told, ill)


async def test_a_window_begins_and_ends_by_the_clock_and_by_who_planned_it(keeper: Keeper) -> None:
    # P07
    window = await keeper.plan()
    await keeper.calendar.keep_records()
    assert [each.id for each in keeper.announcements.pending()] == [f"window-{window.number}-planned"]
    keeper.node.serve(3)
    assert await keeper.after(HOUR) is Status.OPEN
    assert len(keeper.node.table) == 3  # it drains
    assert await keeper.after(10 * MINUTE) is Status.CUT
    state = keeper.node.interconnection.state
    assert (state.ground, state.by, state.incident) == (Ground.MAINTENANCE, Author.CALENDAR, window.incident)
    assert len(keeper.node.table) == 0
    assert keeper.node.record.load() == state
    assert await keeper.after(109 * MINUTE) is Status.CUT
    assert await keeper.after(MINUTE) is Status.OPEN
    cut, restored = keeper.node.ledger.told
    assert (cut.kind, cut.account) == (Kind.INTERCONNECTION_CUT, CALENDAR)
    assert (restored.kind, restored.account) == (Kind.INTERCONNECTION_RESTORED, "syn-ops-01")
    assert f"n° {window.number}" in restored.detail["reason"]
    assert restored.detail["preflight"]["trace"]["outcome"] == "passed"
    assert await keeper.after(HOUR) is Status.OPEN


async def test_where_the_pre_flight_fails_it_stays_cut_until_a_person_restores(keeper: Keeper) -> None:
    # P07
    window = await keeper.plan()
    assert await keeper.after(2 * HOUR) is Status.CUT
    keeper.ill.append("trace")
    assert await keeper.after(HOUR) is Status.CUT
    keeper.ill.clear()
    assert await keeper.after(HOUR) is Status.CUT
    await keeper.calendar.keep_records()
    await keeper.view.refresh()
    (held,) = await keeper.windows.list_all()
    assert held.state(keeper.node.clock.now()) is WindowState.HELD
    assert keeper.told[-1].detail["what"] == "window-held"
    await keeper.node.interconnection.restore(incident=window.incident, reason="vérifié", **BY_SYN)
    assert await keeper.after(HOUR) is Status.OPEN


async def test_a_security_measure_beneath_is_not_lifted_by_a_windows_end(keeper: Keeper) -> None:
    # C10
    await keeper.plan()
    await keeper.after(2 * HOUR)
    await keeper.node.interconnection.cut(ground=Ground.SECURITY, reason="intrusion", **BY_SYN)
    assert await keeper.after(2 * HOUR) is Status.CUT
    assert keeper.node.interconnection.state.ground is Ground.SECURITY


async def test_at_the_recorded_end_the_interconnection_is_out_of_convention(keeper: Keeper) -> None:
    # C18
    now = keeper.node.clock.now()
    keeper.terms.convention = replace(keeper.terms.convention, ended_at=now + HOUR)
    keeper.node.serve(2)
    assert await keeper.after(59 * MINUTE) is Status.OPEN
    assert await keeper.after(MINUTE) is Status.OUT_OF_CONVENTION
    assert [type(cause) for cause in keeper.node.ledger.causes] == [ConventionNotInForce] * 2
    assert await keeper.after(HOUR) is Status.OUT_OF_CONVENTION
    assert keeper.node.kinds() == [Kind.INTERCONNECTION_CUT]
    incident = keeper.node.interconnection.state.incident or ""
    await keeper.node.interconnection.restore(incident=incident, reason="fin annulée", **BY_SYN)
    assert await keeper.after(HOUR) is Status.OPEN  # one cut an end; the policy refuses by itself


async def test_ten_years_end_it_without_anybodys_record(keeper: Keeper) -> None:
    # C18
    assert await keeper.after(keeper.terms.convention.first_term - keeper.node.clock.now()) is Status.OPEN
    await keeper.calendar.keep_records()
    assert keeper.told[-1].kind is Kind.CONVENTION_RENEWED
    await keeper.after(keeper.terms.convention.last_term - keeper.node.clock.now() - HOUR)
    await keeper.calendar.keep_records()
    assert keeper.told[-1].kind is Kind.CONVENTION_REMINDED
    assert await keeper.after(keeper.terms.convention.last_term - keeper.node.clock.now()) is Status.OUT_OF_CONVENTION


async def test_a_version_comes_into_force_and_is_applied(keeper: Keeper) -> None:
    # C07, C20
    async def traced(_: object) -> None:
        """The entry of the information itself is another test's."""

    await keeper.annexes.inform(
        Annex.VIEWING_SITES,
        party=Party.PP,
        summary="nouveau site",
        reference=None,
        document=sites_document({"PP-17": "17e"}),
        by="ops",
        delay=HOUR,
        effective_at=None,
        traced=traced,
    )
    await keeper.calendar.keep_records()
    known = keeper.view.current()
    assert known is not None
    assert known.sites == {SITE}
    keeper.node.clock.advance(HOUR)
    await keeper.calendar.keep_records()
    known = keeper.view.current()
    assert known is not None
    assert known.sites == {"PP-17"}
    assert keeper.told[-1].kind is Kind.ANNEX_IN_FORCE


async def test_records_that_cannot_be_reached_delay_no_cut(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    # C10: what stops streams needs no SQL
    await keeper.plan()

    async def nowhere() -> list[object]:
        raise StateStoreUnavailable

    monkeypatch.setattr(keeper.conventions, "unfiled", nowhere)
    await keeper.calendar.keep_records()
    assert await keeper.after(2 * HOUR) is Status.CUT


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(nodes, tmp_path) as place:
        yield place


async def test_while_a_window_drains_who_is_in_stays_and_nobody_comes_in(place: Place) -> None:
    # P07
    stream, holder = await place.open()
    now = place.admission._clock.now()
    place.admission._drains_until = lambda: now + HOUR
    with pytest.raises(InterconnectionCut, match="maintenance") as refused:
        await place.desk.open(wish())
    assert 3590 <= (refused.value.retry_after_s or 0) <= 3600
    with pytest.raises(InterconnectionCut):
        await place.sit(BY_MACHINE)
    await place.play(await place.sit(holder))
    assert set(place.table) == {stream}
