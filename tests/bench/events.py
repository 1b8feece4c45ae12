"""What is measured of moments: joining, a reader that cannot keep up, a cut, being let in."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

from halfgateway.control.beacon import make_node_follow
from ops import interconnection as states
from ops.interconnection import Author, Ground
from ops.local_record import LocalRecord
from tests.bench.child import BenchError
from tests.bench.kernel import HandedOver, watched
from tests.bench.results import Results, Setting
from tests.bench.rig import Rig
from tests.bench.scenes import ONE, SOME, TEN, Scene
from tests.bench.subjects import Gateway, Peer

LAG_AFTER_S: Final = 10.0
WARM_AFTER_S: Final = 2.5
"""Between the first reader's first picture and the joining one: more than the longest group that we keep."""

SLOW_BPS: Final = 2e6
"""What a slow reader reads."""

SLOW_SECONDS: Final = 15.0
"""How long it is watched: some ten times what its queue holds."""

CUT_AFTER_S: Final = 3.0
FOLLOW_LIMIT_S: Final = 5.0
ENDINGS_LIMIT_S: Final = 30.0
GRANTING_PLAYERS: Final = 10
GRANTING_S: Final = 3.0


async def joining(rig: Rig, results: Results, peer: Peer, *, runs: int) -> None:
    """PLAY to a decodable picture: of a camera that nobody watches, and of one that somebody does.

    Each run comes at another place in the group of pictures, the same for every peer. Some relays call the camera
    before they answer SETUP and some at PLAY: hence ``cold_open_ms`` too, from the connection's first packet.
    """
    for run in range(runs):
        before_key_s = rig.stream.gop_s * (run + 0.5) / runs
        await rig.quiet()
        cold = await _join(rig, peer, before_key_s, stay_s=0.0)
        results.add(_setting(rig, ONE, peer), "cold_join_ms", cold["join_ms"])
        results.add(_setting(rig, ONE, peer), "cold_open_ms", cold["open_ms"])
        await rig.open([peer.target(0)])
        await asyncio.sleep(WARM_AFTER_S)
        warm = await _join(rig, peer, before_key_s, stay_s=LAG_AFTER_S)
        results.add(_setting(rig, ONE, peer), "warm_join_ms", warm["join_ms"])
        results.add(_setting(rig, ONE, peer), "lag_after_join_ms", warm["lag_ms"])
        await rig.close()


async def slow_reader(rig: Rig, results: Results, peer: Peer, *, runs: int) -> None:
    """One reader of ten takes a quarter of what the camera sends."""
    for _ in range(runs):
        await rig.quiet()
        assert peer.process is not None
        await rig.open([peer.target(0)] * (SOME.readers - 1))
        before = peer.process.rss_mb()
        await rig.open([peer.target(0, slow_bps=SLOW_BPS)])
        told = await rig.readers.ask({"do": "measure", "seconds": SLOW_SECONDS})
        grown = peer.process.rss_mb() - before
        await rig.close()
        slow = [reader for reader in told["readers"] if reader["slow"]]
        prompt = [reader for reader in told["readers"] if not reader["slow"]]
        setting = _setting(rig, SOME, peer, reader="slow")
        results.add(setting, "lost_packets", sum(reader["lost"] for reader in slow))
        results.add(setting, "resumed_off_keyframe", sum(reader["gaps_off_key"] for reader in slow))
        results.add(setting, "last_latency_ms", slow[0]["latencies_ms"][-1])
        results.add(setting, "prompt_lost_packets", sum(reader["lost"] for reader in prompt))
        results.add(setting, "rss_grown_mb", grown)


async def cutting(rig: Rig, results: Results, peer: Peer, scene: Scene, *, slow: bool, runs: int) -> None:
    """Cut all streams, as ``halfgateway cut`` does, and restore; one of the readers may be slow."""
    for _ in range(runs):
        await rig.quiet()
        targets = [peer.target(number % scene.cameras) for number in range(scene.readers)]
        if slow:
            targets[0] = peer.target(0, slow_bps=SLOW_BPS)
        ports = (await rig.open(targets))["ports"]
        await asyncio.sleep(CUT_AFTER_S)
        async with watched(peer.port, ports) as handed:
            decided_s = time.monotonic()
            incident = await asyncio.to_thread(_cut, rig.ours)
            followed_s = time.monotonic()
            ended = await rig.readers.ask({"do": "endings", "seconds": ENDINGS_LIMIT_S})
        groups = {"slow": slice(0, 1), "prompt": slice(1, None)} if slow else {"prompt": slice(None)}
        for kind, group in groups.items():
            setting = _setting(rig, scene, peer, reader=kind)
            results.add(setting, "cut_followed_ms", (followed_s - decided_s) * 1000)
            _note_cut(results, setting, handed, ports[group], decided_s, followed_s)
            last_s = max(ended["last_bytes_s"][group])
            results.add(setting, "last_byte_after_cut_ms", max(0.0, last_s - decided_s) * 1000)
        await asyncio.to_thread(_restore, rig.ours, incident)


async def granting(rig: Rig, results: Results, *, runs: int) -> None:
    """SETUP and TEARDOWN, again and again, of a camera that is being watched: the whole door, and no waiting for it."""
    await rig.quiet()
    peer = rig.ours.rtsp
    await rig.open([peer.target(0)])
    path = peer.urls[0].removeprefix(f"rtsp://127.0.0.1:{peer.port}")
    for _ in range(runs):
        ends_s = time.monotonic() + GRANTING_S
        began_s = time.monotonic()
        counts = await asyncio.gather(*(_ask_again(rig.ours, path, ends_s) for _ in range(GRANTING_PLAYERS)))
        results.add(_setting(rig, SOME, peer), "grants_per_s", sum(counts) / (time.monotonic() - began_s))
    await rig.close()


async def memory(rig: Rig, results: Results, peer: Peer) -> None:
    """What a stream more, and a camera more with its stream, take of a process that has done nothing yet."""
    await rig.quiet()
    assert peer.process is not None
    taken = [await _resident_mb(rig, peer, [0])]
    taken.append(await _resident_mb(rig, peer, [0] * (SOME.readers - 1)))
    taken.append(await _resident_mb(rig, peer, list(range(1, TEN.cameras))))
    await rig.close()
    results.add(_setting(rig, ONE, peer), "rss_mb", taken[0])
    results.add(_setting(rig, SOME, peer), "rss_mb_per_stream", (taken[1] - taken[0]) / (SOME.readers - 1))
    results.add(_setting(rig, TEN, peer), "rss_mb_per_camera", (taken[2] - taken[1]) / (TEN.cameras - 1))


def _setting(rig: Rig, scene: Scene, peer: Peer, *, reader: str = "prompt") -> Setting:
    return Setting(scene.name, peer.transport, "nodelay", rig.stream.mbps, rig.stream.gop_s, reader, peer.name)


async def _join(rig: Rig, peer: Peer, before_key_s: float, *, stay_s: float) -> dict[str, Any]:
    command = {"do": "join", "target": peer.target(0), "before_key_s": before_key_s, "stay_s": stay_s}
    return await rig.readers.ask(command)


async def _resident_mb(rig: Rig, peer: Peer, cameras: list[int]) -> float:
    """With readers of these cameras besides, once a group of pictures has gone by."""
    await rig.open([peer.target(camera) for camera in cameras])
    await asyncio.sleep(rig.stream.gop_s + 1)
    assert peer.process is not None
    return peer.process.rss_mb()


async def _ask_again(ours: Gateway, path: str, ends_s: float) -> int:
    granted = 0
    async with ours.player() as player:
        while time.monotonic() < ends_s:
            answer = await player.set_up(path)
            if answer.status != 200:
                raise BenchError(f"SETUP was answered {answer.status}")
            await player.tear_down(path)
            granted += 1
    return granted


def _cut(ours: Gateway) -> str:
    """What ``halfgateway cut`` does, without the start of a command in the figures."""
    at = datetime.now(UTC)
    incident = states.new_incident(at)
    state = LocalRecord(ours.folder.interconnection).update(
        lambda current: states.cut(
            current, ground=Ground.CRITICAL_INCIDENT, reason="banc d'essai", by=Author.OPS, since=at, incident=incident
        )
    )
    if make_node_follow(ours.folder.run, state.serial, FOLLOW_LIMIT_S) is None:
        raise BenchError("the node has not followed the cut")
    return incident


def _restore(ours: Gateway, incident: str) -> None:
    at = datetime.now(UTC)
    state = LocalRecord(ours.folder.interconnection).update(
        lambda current: states.restore(current, incident=incident, reason="banc d'essai", by=Author.OPS, since=at)
    )
    make_node_follow(ours.folder.run, state.serial, FOLLOW_LIMIT_S)


def _note_cut(
    results: Results, setting: Setting, handed: HandedOver, ports: list[int], decided_s: float, followed_s: float
) -> None:
    last_s = max((handed.last_s(port) or decided_s for port in ports), default=decided_s)
    results.add(setting, "bytes_handed_after_cut", sum(handed.after(port, followed_s) for port in ports))
    results.add(setting, "last_byte_handed_ms", max(0.0, last_s - decided_s) * 1000)
