"""The same door over TLS: tickets from anyone who has one, machines with their certificate (S01, L09)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from auth.trace import Kind
from tests.e2e.conftest import Gateway, credentials_of, until
from tests.e2e.inventory import QUICK_FRAMES, record_of_simulated, simulated_camera
from tests.players import FRAMES, counters_of, ffmpeg_command, in_turn, needs_ffmpeg
from tests.raw_player import Credentials, RawPlayer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAMERA = "quick-over-tls"
PATH = f"/live/{CAMERA}"


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def quick_camera(module_gateway: Gateway) -> AsyncIterator[None]:
    async with simulated_camera(frames=QUICK_FRAMES) as camera:
        await module_gateway.node.records.cameras.upsert(record_of_simulated(camera, CAMERA))
        yield


def over_tls(gateway: Gateway, credentials: Credentials, account: str | None = None) -> RawPlayer:
    """A player that trusts the demo's authority, and shows the certificate of an account."""
    tls = ssl.create_default_context(cafile=gateway.ready["ca"])
    if account is not None:
        shown = gateway.ready["accounts"][account]
        tls.load_cert_chain(shown["certificate"], shown["key"])
    host, _, port = gateway.ready["rtsps"].removeprefix("rtsps://").partition(":")
    return RawPlayer(host, int(port), credentials, tls=tls)


async def plays(player: RawPlayer) -> None:
    assert (await player.set_up(PATH)).status == 200
    assert (await player.play(PATH)).status == 200
    await player.packets_until(20)


async def test_a_ticket_plays_without_a_certificate(shared: Gateway) -> None:
    async with over_tls(shared, credentials_of(await shared.ticket(CAMERA))) as player:
        described = await player.ask("DESCRIBE", player.url(PATH))
        assert described.header("content-base").startswith("rtsps://")
        await plays(player)
        assert (await player.tear_down(PATH)).status == 200
        assert await shared.slots_used() == 0


async def test_a_machine_plays_with_its_own_certificate_and_no_other(shared: Gateway) -> None:
    # row 38; C08, S01
    for account in (None, "operator"):
        async with over_tls(shared, shared.machine, account) as player:
            refused = await player.set_up(PATH)
            assert (refused.status, refused.header("x-refusal")) == (403, "not-habilitated")
    async with over_tls(shared, shared.machine, "machine") as player:
        await plays(player)
        (stream,) = shared.node.control.table
        assert stream.request.via.value == "rtsps"
        assert (await player.tear_down(PATH)).status == 200


async def test_datagrams_which_nothing_would_encrypt_are_not_offered(shared: Gateway) -> None:
    # row 38, L09
    udp = "RTP/AVP;unicast;client_port=5000-5001"
    async with over_tls(shared, credentials_of(await shared.ticket(CAMERA))) as player:
        assert (await player.set_up(PATH, transport=udp)).status == 461
        answer = await player.set_up(PATH, transport=f"{udp},RTP/AVP/TCP;unicast;interleaved=0-1")
        assert (answer.status, answer.header("transport")) == (200, "RTP/AVP/TCP;unicast;interleaved=0-1")
        assert (await player.tear_down(PATH)).status == 200


async def test_an_end_comes_at_once_over_tls_too(shared: Gateway) -> None:
    # C10: below TLS, without a word; the slot is free
    ticket = await shared.ticket(CAMERA)
    async with over_tls(shared, credentials_of(ticket)) as player:
        await plays(player)
        ended = asyncio.ensure_future(player.read_to_end())
        status, _ = await shared.call("operator", "DELETE", f"/streams/{ticket['id']}")
        assert status < 300
        assert await ended == "reset"


async def test_a_connection_that_is_lost_keeps_its_slot_for_a_while(shared: Gateway) -> None:
    # S15
    async with over_tls(shared, shared.machine, "machine") as player:
        await plays(player)
        (stream,) = shared.node.control.table
        player.vanish()
    await until(lambda: not stream.seats)
    assert await shared.slots_used() == 1
    await shared.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED and entry.stream == stream.id)


@needs_ffmpeg
@pytest.mark.peer
async def test_ffmpeg_plays_over_tls(shared: Gateway) -> None:
    camera = shared.cameras[0]
    credentials = credentials_of(await shared.ticket(camera))
    address = shared.ready["rtsps"].removeprefix("rtsps://")
    url = f"rtsps://{credentials.username}:{credentials.password}@{address}/live/{camera}"
    counters = await counters_of(ffmpeg_command(url))
    assert (len(counters), in_turn(counters)) == (FRAMES, True)
