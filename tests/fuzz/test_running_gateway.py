"""Mutated transcripts of real players against the whole gateway, over its own sockets (T12)."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import secrets
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.trace.acts import open_streams
from tests.e2e.conftest import SWIFT, Gateway, credentials_of, open_gateway
from tests.e2e.holdings import at_rest, descriptors, descriptors_at_rest, settled, tasks
from tests.fuzz.fuzzer import Address, Fuzzer
from tests.fuzz.transcripts import transcripts
from tests.raw_player import Credentials

TIMINGS = SWIFT.model_copy(update={"lease_s": 10.0, "renew_s": 2.0})
"""Slots come back soon, but none lapses because the machine is busy with the fuzzer."""

SEED = 20261121
"""Of the gate; ``FUZZ_SEED`` sets another, and a soak draws its own."""

GATE_S = float(os.environ.get("FUZZ_S", "60"))
"""Seconds of conversations, none of which goes into counting what they cover."""

SOAK_S = 3600.0
WARM_UP_S = 2.0
"""Until the pool of connections to the records is as large as it gets, and what is done once has been done."""

AT_ONCE = 16
TICKET_EVERY_S = 2.0


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with open_gateway(tmp_path / "demo", TIMINGS) as opened:
        yield opened


def seed_of(environment_default: int) -> int:
    seed = int(os.environ.get("FUZZ_SEED", environment_default))
    print(f"FUZZ_SEED={seed}")
    return seed


def addresses(gateway: Gateway) -> list[Address]:
    """Plain twice as often as TLS, which costs both sides most of a conversation's time."""
    tls = ssl.create_default_context(cafile=gateway.ready["ca"])
    machine = gateway.ready["accounts"]["machine"]
    tls.load_cert_chain(machine["certificate"], machine["key"])
    endpoints = gateway.node.endpoints
    assert endpoints.rtsp is not None
    assert endpoints.rtsps is not None
    plain, secure = Address("127.0.0.1", endpoints.rtsp, None), Address("127.0.0.1", endpoints.rtsps, tls)
    return [plain, plain, secure]


def fuzzer_of(gateway: Gateway, seed: int) -> Fuzzer:
    base = gateway.ready["rtsp"]
    machine = gateway.machine
    wrong = Credentials(machine.username, "wrong")
    paths = [transcripts(f"{base}/live/{camera}") for camera in gateway.cameras]
    return Fuzzer(
        seed,
        addresses(gateway),
        [*[machine] * 6, None, wrong],
        [transcript for of_camera in paths for transcript in of_camera],
    )


async def plays(gateway: Gateway, camera: str) -> None:
    async with gateway.player(gateway.machine) as player:
        path = f"/live/{camera}"
        assert (await player.set_up(path)).status == 200
        assert (await player.play(path)).status == 200
        await player.packets_until(20)
        assert (await player.tear_down(path)).status == 200


async def fuzz(gateway: Gateway, fuzzer: Fuzzer, duration_s: float) -> int:
    """Converse for so long, some at once, by the machine's name and by tickets; how many conversations."""
    numbers = itertools.count()
    deadline = time.monotonic() + duration_s
    own = list(fuzzer.identities)

    async def converse() -> None:
        while time.monotonic() < deadline:
            await fuzzer.converse(next(numbers))

    async def renew_ticket() -> None:
        wish = {"camera": gateway.cameras[0], "mode": "live", "reason": "L251-2-5"}
        while time.monotonic() < deadline:
            status, ticket = await gateway.call("operator", "POST", "/streams", wish)
            if status == 201:
                fuzzer.identities = [*own, credentials_of(ticket), credentials_of(ticket)]
            await asyncio.wait({running[0]}, timeout=TICKET_EVERY_S)

    running = [asyncio.create_task(converse()) for _ in range(AT_ONCE)]
    await asyncio.gather(renew_ticket(), *running)
    return next(numbers)


async def assert_unharmed(gateway: Gateway, caplog: pytest.LogCaptureFixture, seed: int, duration_s: float) -> None:
    for camera in gateway.cameras:
        await plays(gateway, camera)
    fuzzer = fuzzer_of(gateway, seed)
    await fuzz(gateway, fuzzer, WARM_UP_S)
    await gateway.node.control.hub.close()
    await at_rest(gateway)
    descriptors_before, tasks_before = await descriptors_at_rest(gateway), tasks()

    held = await fuzz(gateway, fuzzer, duration_s)
    print(f"{held} conversations, {fuzzer.frames} frames, {fuzzer.tunnels} tunnels, statuses {dict(fuzzer.statuses)}")

    assert fuzzer.faults == []
    await at_rest(gateway)
    gc.collect()  # a task whose exception nobody fetched says so when it is collected
    await descriptors_at_rest(gateway)
    await settled(lambda: descriptors() <= descriptors_before)
    await settled(lambda: tasks() <= tasks_before)
    assert (descriptors() - descriptors_before, tasks() - tasks_before) == (Counter(), Counter())
    bad = [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
    assert [record.getMessage() for record in bad] == []
    assert open_streams(await gateway.trace()) == []
    assert not gateway.node.failed.is_set()
    for camera in gateway.cameras:
        await plays(gateway, camera)
    assert fuzzer.statuses[500] == 0
    assert set(fuzzer.statuses) >= {200, 400, 401, 403, 404, 454, 455, 461, 551}, "the deeper paths were not reached"
    assert fuzzer.frames > 100
    assert fuzzer.tunnels > 10


@pytest.mark.usefixtures("uncounted")
async def test_mutated_players_harm_nothing(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    # row 1
    # T12, C01, row 9: no undeclared error, no slot, task or descriptor lost; players are served afterwards
    await assert_unharmed(gateway, caplog, seed_of(SEED), GATE_S)


@pytest.mark.soak
@pytest.mark.timeout(2 * SOAK_S)
async def test_an_hour_of_mutated_players_harms_nothing(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    # T12
    await assert_unharmed(gateway, caplog, seed_of(secrets.randbits(32)), SOAK_S)
