"""How players fall back, come back and double up, on one ticket or machine account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from auth.trace import Entry, Kind
from halfgateway.protocol.rtcp import Goodbye, parse_compound
from tests.e2e.conftest import Gateway, credentials_of, until
from tests.e2e.inventory import QUICK_FRAMES, record_of_simulated, simulated_camera
from tests.raw_player import RawPlayer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAMERA, OTHER = "quick-1", "quick-2"
PATH, SUB_PATH = f"/live/{CAMERA}", f"/live/{CAMERA}/sub"


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def quick_cameras(module_gateway: Gateway) -> AsyncIterator[None]:
    """Two cameras of two profiles each, with a key frame every 0.4 s."""
    async with simulated_camera(frames=QUICK_FRAMES) as camera:
        for name in (CAMERA, OTHER):
            await module_gateway.node.records.cameras.upsert(record_of_simulated(camera, name, ("main", "sub")))
        yield


async def start(player: RawPlayer, path: str) -> None:
    """SETUP without a Session, PLAY, and see a picture come."""
    player.session = None
    assert (await player.set_up(path)).status == 200
    assert (await player.play(path)).status == 200
    await more_packets(player)


async def more_packets(player: RawPlayer, count: int = 5) -> None:
    await player.packets_until(sum(channel == 0 for channel, _, _ in player.packets) + count)


async def story(gateway: Gateway, stream: str) -> list[Entry]:
    return [entry for entry in await gateway.trace() if entry.stream == stream]


async def ends_of(gateway: Gateway, stream: str, times: int) -> list[str]:
    """Wait until the trace tells so many ends of a stream; their causes."""

    async def are_told() -> list[str]:
        causes = [entry.detail["cause"] for entry in await story(gateway, stream) if entry.kind is Kind.STREAM_STOPPED]
        return causes if len(causes) >= times else []

    await until(are_told)
    return await are_told()


async def test_a_setup_without_session_replaces_the_session_before(shared: Gateway) -> None:
    # the slot and the ticket stay
    ticket = await shared.ticket(CAMERA)
    async with shared.player(credentials_of(ticket)) as player:
        await start(player, PATH)
        first = player.session or ""
        assert (await player.set_up(PATH)).status == 200
        assert (await player.play(PATH)).status == 200
        of_the_second = len(player.packets)
        await more_packets(player, 20)
        assert player.session != first
        assert await shared.slots_used() == 1
        assert (await player.ask("GET_PARAMETER", player.url(PATH), {"Session": first})).status == 454
        assert {channel for channel, _, _ in player.packets} <= {0, 1}
        sequences = [packet[2:4] for channel, packet, _ in player.packets[of_the_second:] if channel == 0]
        assert len(set(sequences)) == len(sequences), "the first session delivers no more"
        assert (await player.tear_down(PATH)).status == 200
        assert await shared.slots_used() == 0
    kinds = [entry.kind for entry in await story(shared, ticket["id"])]
    assert kinds.count(Kind.STREAM_REQUESTED) == 1
    assert await ends_of(shared, ticket["id"], 1) == ["teardown"]


async def test_after_teardown_a_new_connection_plays_again_within_the_grace(shared: Gateway) -> None:
    # the slot is free at once, the ticket good for a little longer
    ticket = await shared.ticket(CAMERA)
    for _ in range(3):
        async with shared.player(credentials_of(ticket)) as player:
            await start(player, PATH)
            assert await shared.slots_used() == 1
            assert (await player.tear_down(PATH)).status == 200
            assert await shared.slots_used() == 0
    async with shared.player(credentials_of(ticket)) as player:

        async def has_ended() -> bool:
            return (await player.ask("DESCRIBE", player.url(PATH))).status == 401

        await until(has_ended)
        late = await player.set_up(PATH)
        assert (late.status, late.header("x-refusal")) == (401, "unauthenticated")
        assert len(late.headers["www-authenticate"]) == 2
    assert await ends_of(shared, ticket["id"], 3) == ["teardown"] * 3


async def test_of_two_connections_with_one_ticket_only_the_newer_delivers(shared: Gateway) -> None:
    # a ticket delivers on one connection at a time
    ticket = await shared.ticket(CAMERA)
    async with shared.player(credentials_of(ticket)) as older, shared.player(credentials_of(ticket)) as newer:
        await start(older, PATH)
        ended = asyncio.ensure_future(older.read_to_end())
        await start(newer, PATH)
        assert await ended == "reset"
        *_, (channel, last, _) = older.packets
        assert channel == 1
        assert any(isinstance(packet, Goodbye) for packet in parse_compound(last))
        assert await shared.slots_used() == 1
        await more_packets(newer)
        assert (await newer.tear_down(PATH)).status == 200


async def test_of_many_connections_at_once_with_one_ticket_only_one_delivers(shared: Gateway) -> None:
    # C01: while it is reserved, and when it is taken up again in its grace
    ticket = await shared.ticket(CAMERA)
    for _ in range(2):
        players = [shared.player(credentials_of(ticket)) for _ in range(4)]
        for player in players:
            await player.__aenter__()
        answers = await asyncio.gather(*(player.set_up(PATH) for player in players), return_exceptions=True)
        assert sum(getattr(answer, "status", 0) == 200 for answer in answers) >= 1
        await until(lambda: len(shared.node.control.table) == 1)
        (stream,) = shared.node.control.table
        assert len(stream.seats) == 1
        assert await shared.slots_used() == 1
        played = await asyncio.gather(*(player.play(PATH) for player in players), return_exceptions=True)
        assert [getattr(answer, "status", 0) for answer in played].count(200) == 1
        winner = next(
            player for player, answer in zip(players, played, strict=True) if getattr(answer, "status", 0) == 200
        )
        await more_packets(winner)
        assert await shared.slots_used() == 1
        assert (await winner.tear_down(PATH)).status == 200
        for player in players:
            await player.__aexit__()
        assert await shared.slots_used() == 0


@pytest.mark.parametrize("by", ["ticket", "machine"])
async def test_a_lost_connection_keeps_its_slot_for_its_holder(shared: Gateway, by: str) -> None:
    # S15: one slot, one stream, one end
    credentials = shared.machine if by == "machine" else credentials_of(await shared.ticket(CAMERA))
    async with shared.player(credentials) as lost:
        await start(lost, PATH)
        (stream,) = shared.node.control.table
        lost.vanish()
        await until(lambda: not stream.seats)
        assert await shared.slots_used() == 1
    async with shared.player(credentials) as back:
        await start(back, PATH)
        assert list(shared.node.control.table) == [stream]
        assert await shared.slots_used() == 1
        back.vanish()
    assert await ends_of(shared, stream.id, 1) == ["not-resumed"]
    assert await shared.slots_used() == 0
    resumed = [entry for entry in await story(shared, stream.id) if entry.kind is Kind.STREAM_RESUMED]
    assert len(resumed) == 1


async def test_a_goodbye_said_while_leaving_frees_the_slot_at_once(shared: Gateway) -> None:
    # row 19, C01: ffmpeg says TEARDOWN and closes; the twelfth stream need not wait
    for _ in range(12):
        async with shared.player(shared.machine) as player:
            await start(player, PATH)
            (stream,) = shared.node.control.table
            session = {"Session": player.session or ""}
            await player.send(player.request("TEARDOWN", player.url(PATH), session))
            player.vanish()
        assert await ends_of(shared, stream.id, 1) == ["teardown"]


async def test_another_profile_of_a_camera_shares_the_machines_slot(shared: Gateway) -> None:
    # C02
    async with shared.player(shared.machine) as one, shared.player(shared.machine) as two:
        await start(one, PATH)
        await start(two, SUB_PATH)
        assert await shared.slots_used() == 1
        assert (await one.tear_down(PATH)).status == 200
        assert await shared.slots_used() == 1
        await more_packets(two)
        assert (await two.tear_down(SUB_PATH)).status == 200
        assert await shared.slots_used() == 0


async def test_the_same_profile_twice_takes_two_slots_and_replaces_nothing(shared: Gateway) -> None:
    # C02: even by one machine, even on one connection
    async with shared.player(shared.machine) as one, shared.player(shared.machine) as two:
        await start(one, SUB_PATH)
        await start(two, SUB_PATH)
        assert await shared.slots_used() == 2
        first = two.session
        await start(two, SUB_PATH)
        assert await shared.slots_used() == 3
        await more_packets(one)
        for session in (first, two.session):
            assert (await two.ask("TEARDOWN", two.url(SUB_PATH), {"Session": session or ""})).status == 200
        await more_packets(one)
        assert (await one.tear_down(SUB_PATH)).status == 200


async def test_another_camera_takes_another_slot(shared: Gateway) -> None:
    # C01
    async with shared.player(shared.machine) as player:
        await start(player, PATH)
        await start(player, f"/live/{OTHER}")
        assert await shared.slots_used() == 2
        player.vanish()
    await until(lambda: len(shared.node.control.table) == 0)


async def test_a_ticket_is_good_for_its_camera_alone(shared: Gateway) -> None:
    # section 1.7; C08
    ticket = await shared.ticket(CAMERA)
    async with shared.player(credentials_of(ticket)) as player:
        for path in (f"/live/{OTHER}", SUB_PATH, "/live/none"):
            refused = await player.set_up(path)
            assert (refused.status, refused.header("x-refusal")) == (403, "not-habilitated")
        await start(player, PATH)
        assert (await player.tear_down(PATH)).status == 200
