"""A login that ends under a running picture: asked again, a grace, then its own reason (S15)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from auth.principals import Attribution, Role
from auth.trace import Kind
from halfgateway.control.logins import LoginWatch
from halfgateway.control.relief import Newcomer
from halfgateway.control.streams import Timings
from tests.control.doors import AGENT, BY_MACHINE, CAMERA, SOURCE, Place, Player, open_place, principal, wish
from tests.control.valkeys import Nodes
from tests.held_clock import HeldClock
from tests.rights import rights

GRACE_S = 300.0


@dataclass
class Logins:
    """Whose logins stand; what was asked."""

    standing: set[str] = field(default_factory=lambda: {AGENT})
    asked: list[Collection[str]] = field(default_factory=list)

    async def agents_logged_in(self, agents: Collection[str]) -> frozenset[str]:
        self.asked.append(agents)
        return frozenset(self.standing & set(agents))


@pytest.fixture
async def place(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Place]:
    timings = Timings(lease_s=10, play_before_s=600, login_grace_s=GRACE_S)
    async with open_place(nodes, tmp_path, timings=timings) as place:
        yield place


@pytest.fixture
def logins() -> Logins:
    return Logins()


@pytest.fixture
def later() -> list[float]:
    """Seconds that have passed since, by the watch's monotonic clock."""
    return [0.0]


@pytest.fixture
def watch(place: Place, logins: Logins, later: list[float], clock: HeldClock) -> LoginWatch:
    return LoginWatch(
        table=place.table,
        closer=place.closer,
        tracer=place.tracer,
        logins=logins,
        terms=place.house.terms,
        clock=clock,
        now=lambda: time.monotonic() + later[0],
    )


async def moves(place: Place, stream: str) -> list[object]:
    await place.settle()
    return [entry.detail["to"] for entry in await place.told(stream) if entry.kind is Kind.STREAM_MOVED]


async def test_the_picture_goes_on_for_the_grace_and_then_ends_with_its_reason(
    place: Place, watch: LoginWatch, logins: Logins, later: list[float]
) -> None:
    # S15
    stream, holder = await place.open()
    player = Player()
    seat = await place.sit(holder, player)
    await place.play(seat)
    await watch.look()
    assert stream.login_asked is None
    logins.standing.clear()
    await watch.look()
    (shown,) = await place.open_streams.list_all()
    assert stream.login_asked is not None
    assert shown.login_before == stream.login_asked.before
    later[0] = GRACE_S - 1
    await watch.look()
    assert (player.ended_by, seat.playing) == (None, True)
    later[0] = GRACE_S + 1
    await watch.look()
    assert player.ended_by is not None
    assert (player.ended_by.code, player.ended_by.rtsp_status) == ("login-expired", 403)
    assert await moves(place, stream.id) == ["login-asked"]
    stopped = (await place.told(stream.id))[-1]
    assert (stopped.kind, stopped.detail["cause"]) == (Kind.STREAM_STOPPED, "login-expired")
    assert place.closer.withdrew(holder.username)


async def test_a_new_login_of_the_same_agent_keeps_it(
    place: Place, watch: LoginWatch, logins: Logins, later: list[float]
) -> None:
    # S15
    stream, _ = await place.open()
    logins.standing.clear()
    await watch.look()
    logins.standing.add(AGENT)
    later[0] = GRACE_S + 1
    await watch.look()
    assert stream.login_asked is None
    assert stream in place.table
    assert await moves(place, stream.id) == ["login-asked", "login-renewed"]


async def test_it_is_the_agent_who_watches_now_that_is_asked(place: Place, watch: LoginWatch, logins: Logins) -> None:
    # S15: after a hand-over, the relief's login
    place.who_may.rights = rights({AGENT: Role.OPERATOR, "agent-7": Role.OPERATOR}, [CAMERA])
    stream, _ = await place.open()
    logins.standing.clear()
    await watch.look()
    theirs = replace(principal(Role.OPERATOR), account="operator-7", agent="agent-7")
    assert await place.relief.take_over(stream, Newcomer(theirs, None, None, SOURCE))
    assert stream.login_asked is None
    logins.standing.add("agent-7")
    await watch.look()
    assert stream.login_asked is None


async def test_no_login_here_is_asked_of_machines_and_of_whom_they_assert(
    place: Place, watch: LoginWatch, logins: Logins
) -> None:
    # S15, C08: that login is PP's
    asserted = replace(principal(Role.MACHINE), agent=AGENT, attribution=Attribution.AGENT_ASSERTED)
    await place.desk.open(replace(wish(Role.MACHINE), principal=asserted))
    await place.sit(BY_MACHINE)
    logins.standing.clear()
    await watch.look()
    assert logins.asked == []
    assert [stream.login_asked for stream in place.table] == [None, None]
