"""The cut: media ends at once, for good, and with everything else down (article 8; C10)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from auth.trace import Kind
from halfgateway.protocol.rtcp import Goodbye, parse_compound
from tests.databases import databases
from tests.e2e.conftest import STEADY, SWIFT, Gateway, credentials_of, open_gateway, records_of, until
from tests.raw_player import RawPlayer

PROMPT_S = 1.0
"""Ten times what a prompt reader may take to end (100 ms): machines that test are noisy."""


@asynccontextmanager
async def ten_streams(gateway: Gateway) -> AsyncIterator[list[RawPlayer]]:
    """Five streams by ticket and five by machine account, over the three cameras, all delivering."""
    async with AsyncExitStack() as players:
        playing = []
        for number in range(10):
            camera = gateway.cameras[number % len(gateway.cameras)]
            credentials = credentials_of(await gateway.ticket(camera)) if number % 2 else gateway.machine
            player = await players.enter_async_context(gateway.player(credentials))
            assert (await player.set_up(f"/live/{camera}")).status == 200
            assert (await player.play(f"/live/{camera}")).status == 200
            playing.append(player)
        await asyncio.gather(*(player.packets_until(5) for player in playing))
        yield playing


async def run_command(gateway: Gateway, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command line against this node, as operations would."""
    command = [sys.executable, "-m", "halfgateway", *arguments, "--data", str(gateway.data), "--json"]
    pipe, nobody = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL  # a terminal would be asked
    process = await asyncio.create_subprocess_exec(*command, stdin=nobody, stdout=pipe)
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output) if output else {}


async def test_a_cut_ends_ten_streams_at_once_and_hands_over_nothing_more(gateway: Gateway) -> None:
    # C10, section 1.7, T3: media stops, BYE on every source, reset, 503 to who comes back
    async with ten_streams(gateway) as players:
        reading = [asyncio.create_task(player.read_to_end()) for player in players]
        status, answer = await gateway.call(
            "ops", "POST", "/interconnection/cut", {"ground": "critical-incident", "reason": "essai"}
        )
        handed_over = {stream.id: stream.traffic().bytes for stream in gateway.node.control.table}
        cut_at = time.monotonic()
        assert status == 200, answer
        assert handed_over == {}
        assert await asyncio.gather(*reading) == ["reset"] * 10
        assert time.monotonic() - cut_at < PROMPT_S
        for player in players:
            assert player.goodbyes() == player.sources() != set()
        assert answer["state"] == "cut"
        assert answer["nodes"] == [{"id": "demo", "streams_closed": 10}]

    results = await all_results(gateway, 10)
    assert {entry.detail["cause"] for entry in results} == {"interconnection-cut"}
    # N15: the attestation tells the very last packet that each reader had
    attested = Counter((end["ssrc"], end["sequence"]) for r in results for end in r.detail["end_of_transmission"])
    assert attested == Counter(last_packet(player) for player in players)
    assert all(end["withheld_bytes"] == 0 for r in results for end in r.detail["end_of_transmission"])
    received = sum(4 + len(data) for player in players for channel, data, _ in player.packets)
    goodbye_bytes = sum(
        4 + len(data)
        for player in players
        for channel, data, _ in player.packets
        if channel == 1 and any(isinstance(packet, Goodbye) for packet in parse_compound(data))
    )
    assert received - goodbye_bytes <= sum(entry.detail["bytes"] for entry in results)

    async def all_free() -> bool:
        return await gateway.slots_used() == 0

    await until(all_free)
    await refused_everywhere(gateway)


def last_packet(player: RawPlayer) -> tuple[int, int]:
    """The source and the sequence number of the last RTP packet that came."""
    packet = next(data for channel, data, _ in reversed(player.packets) if channel == 0)
    return int.from_bytes(packet[8:12], "big"), int.from_bytes(packet[2:4], "big")


async def all_results(gateway: Gateway, count: int) -> list[Any]:
    async def enough() -> bool:
        return len(await gateway.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED)) >= count

    await until(enough)
    return await gateway.traced(lambda entry: entry.kind is Kind.STREAM_STOPPED)


async def refused_everywhere(gateway: Gateway) -> None:
    """While cut: 401 to strangers from memory, 503 to everyone else, by every way in."""
    camera = gateway.cameras[0]
    async with gateway.player(None) as stranger:
        assert (await stranger.ask("DESCRIBE", stranger.url(f"/live/{camera}"))).status == 401
    async with gateway.player(gateway.machine) as player:
        for method in ("DESCRIBE", "SETUP", "PLAY"):
            answer = await player.ask(
                method, player.url(f"/live/{camera}/trackID=0"), {"Transport": "RTP/AVP/TCP;interleaved=0-1"}
            )
            assert (answer.status, answer.header("x-refusal")) == (503, "interconnection-cut")
            assert int(answer.header("retry-after")) > 0
            assert "article 8" in answer.body.decode()
    wish = {"camera": camera, "mode": "live", "reason": "L251-2-5"}
    status, problem = await gateway.call("operator", "POST", "/streams", wish)
    assert status == 503
    assert problem["type"].endswith("interconnection-cut")


@contextmanager
def frozen(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


async def test_a_signal_alone_cuts_a_node_and_once(gateway: Gateway) -> None:
    # C10: SIGUSR1, for who has nothing but a shell
    async with gateway.player(gateway.machine) as player:
        assert (await player.set_up(f"/live/{gateway.cameras[0]}")).status == 200
        assert (await player.play(f"/live/{gateway.cameras[0]}")).status == 200
        await player.packets_until(5)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await player.read_to_end() == "reset"
    os.kill(os.getpid(), signal.SIGUSR1)
    await refused_everywhere(gateway)
    cuts = await gateway.traced(lambda entry: entry.kind is Kind.INTERCONNECTION_CUT)
    assert [(entry.account, entry.detail["ground"]) for entry in cuts] == [("local:signal", "critical-incident")]
    assert gateway.node.control.interconnection.state.serial == 1


async def test_the_command_line_cuts_with_valkey_frozen_and_sql_gone(tmp_path: Path) -> None:
    # section 1.7; C10: it needs the node's disk and nothing else
    async with open_gateway(tmp_path / "demo", STEADY) as gateway:  # no lease lapses before the command has begun
        await cut_without_valkey_and_sql(gateway)


async def cut_without_valkey_and_sql(gateway: Gateway) -> None:
    valkey = int((await gateway.node.control.store.client.info("server"))["process_id"])
    async with ten_streams(gateway) as players:
        reading = [asyncio.create_task(player.read_to_end()) for player in players]
        with frozen(valkey), databases.lost(records_of(gateway.data)):
            code, answer = await run_command(gateway, "cut", "--reason", "essai")
            cut_at = time.monotonic()
            assert code == 0
            assert answer["nodes"] == [{"id": "demo", "streams_closed": 10}]
            assert await asyncio.gather(*reading) == ["reset"] * 10
            assert time.monotonic() - cut_at < PROMPT_S
            for credentials in (gateway.machine, *(player.credentials for player in players)):
                async with gateway.player(credentials) as player:
                    assert (await player.set_up(f"/live/{gateway.cameras[0]}")).status == 503
    cut = await gateway.traced(lambda entry: entry.kind is Kind.INTERCONNECTION_CUT)
    assert cut[0].detail["incident"] == answer["incident"]
    assert cut[0].detail["streams_closed"] == 10


async def test_what_was_cut_starts_cut_and_plays_again_once_restored(tmp_path: Path) -> None:
    # T3; C10: a restart keeps a cut; only a person opens again
    async with open_gateway(tmp_path / "demo", SWIFT) as gateway:
        _, cut = await run_command(gateway, "cut", "--reason", "essai", "--ground", "maintenance")
    async with open_gateway(tmp_path / "demo", SWIFT) as gateway:
        state = (await gateway.call("ops", "GET", "/interconnection"))[1]
        assert (state["state"], state["ground"], state["incident"]) == ("cut", "maintenance", cut["incident"])
        await refused_everywhere(gateway)
        assert (await run_command(gateway, "restore", "--reason", "fin", "--incident", "another"))[0] == 1
        code, restored = await run_command(gateway, "restore", "--reason", "fin", "--incident", cut["incident"])
        assert (code, restored["state"]) == (0, "open")
        camera = gateway.cameras[0]
        async with gateway.player(credentials_of(await gateway.ticket(camera))) as player:
            assert (await player.set_up(f"/live/{camera}")).status == 200
            assert (await player.play(f"/live/{camera}")).status == 200
            await player.packets_until(3)


async def test_a_cut_made_while_the_node_is_down_is_found_at_its_start(tmp_path: Path) -> None:
    # C10, T10: nothing changes the state without an entry
    async with open_gateway(tmp_path / "demo", SWIFT) as gateway:
        pass
    code, cut = await run_command(gateway, "cut", "--reason", "essai")
    assert (code, cut["nodes"]) == (0, [])
    async with open_gateway(tmp_path / "demo", SWIFT) as gateway:
        entries = await gateway.traced(lambda entry: entry.kind is Kind.INTERCONNECTION_CUT)
        assert [entry.detail["incident"] for entry in entries] == [cut["incident"]]
        await refused_everywhere(gateway)


async def test_a_damaged_record_reads_as_cut(tmp_path: Path) -> None:
    # C10: fail closed
    root = tmp_path / "demo"
    async with open_gateway(root, SWIFT):
        pass
    record = root / "interconnection.record"
    record.write_bytes(record.read_bytes()[:-20] + b"x" * 20)
    async with open_gateway(root, SWIFT) as gateway:
        await refused_everywhere(gateway)
        assert gateway.node.control.interconnection.state.ground == "security"


async def test_a_drill_closes_nothing_and_a_security_cut_wants_the_officer(gateway: Gateway) -> None:
    # N14; article 8: after a security measure only the officer restores
    camera = gateway.cameras[0]
    async with gateway.player(gateway.machine) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.play(f"/live/{camera}")).status == 200
        await player.packets_until(3)
        status, drill = await gateway.call(
            "ops", "POST", "/interconnection/cut", {"ground": "drill", "reason": "exercice"}
        )
        assert (status, drill["state"]) == (200, "open")
        await player.packets_until(30)
    ended = {"incident": drill["incident"], "reason": "fin de l'exercice"}
    assert (await gateway.call("ops", "POST", "/interconnection/restore", ended))[0] == 200
    _, cut = await gateway.call("ops", "POST", "/interconnection/cut", {"ground": "security", "reason": "mesure"})
    restoration = {"incident": cut["incident"], "reason": "levée"}
    status, problem = await gateway.call("ops", "POST", "/interconnection/restore", restoration)
    assert status == 403, problem
    status, restored = await gateway.call("officer", "POST", "/interconnection/restore", restoration)
    assert (status, restored["state"]) == (200, "open")


async def test_a_reader_that_does_not_read_gets_next_to_nothing_after_the_cut(gateway: Gateway) -> None:
    # row 24, T3: what the kernel still holds is discarded, not delivered
    camera = gateway.cameras[0]
    async with gateway.player(gateway.machine) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.play(f"/live/{camera}")).status == 200
        await player.packets_until(1)
        transport = player._writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: not any(connection.writable for connection in gateway.node.rtsp.connections))
        await run_command(gateway, "cut", "--reason", "essai")
        transport.resume_reading()  # type: ignore[attr-defined]
        assert await player.read_to_end() == "reset"
    (result,) = await all_results(gateway, 1)
    received = sum(4 + len(data) for _, data, _ in player.packets)
    assert received <= result.detail["bytes"] + 64
