"""Which scenes a run measures, in which order."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.cuts import by_command, has_namespaces
from tests.bench.ends import ALONE, WAYS, cuts
from tests.bench.events import cutting, granting, joining, memory, slow_reader
from tests.bench.exports import exporting
from tests.bench.footage import KINDS
from tests.bench.replay import replaying, seeking
from tests.bench.results import Results
from tests.bench.rig import Rig, Stream, rig
from tests.bench.scenes import MANY, ONE, SOME, TEN, Scene, relaying
from tests.bench.trace import durable_entries, verification
from tests.sending.stage import mail_server

MANNERS: Final = ("nodelay", "nagle", "frame")
REPLAYS: Final = (1, 10, 50)
"""Recordings that are replayed at once."""


@dataclass(frozen=True, slots=True)
class Length:
    """How often a figure is taken, and over how many seconds; ``whole``: every combination, and not the aims' alone.

    ``runs`` are of what the aims name, ``other_runs`` of all else; ``cuts`` are made of real players' streams with
    everything open, and as many with what a cut does not need stopped.
    """

    runs: int
    other_runs: int
    seconds: float
    whole: bool
    cuts: int

    @property
    def other_scenes(self) -> tuple[Scene, ...]:
        """Those that no aim names."""
        return (ONE,) if self.whole else ()


QUICK: Final = Length(3, 1, 5.0, whole=False, cuts=10)
WHOLE: Final = Length(5, 5, 10.0, whole=True, cuts=100)

Part = Callable[[Results, Length], Awaitable[None]]


async def relay(results: Results, length: Length) -> None:
    """CPU, added latency, loss and memory in the aims' own setting: 4 Mb/s, paced, NODELAY; RTSPS beside RTSP."""
    async with rig(Stream(4, 2), 10) as house:
        for scene in (TEN, SOME, MANY, *length.other_scenes):
            peers = [*house.relays, house.ours.rtsps] if length.whole or scene is TEN else house.relays
            await relaying(house, results, scene, "nodelay", peers, runs=length.runs, seconds=length.seconds)


async def manners(results: Results, length: Length) -> None:
    """Cameras that write whole frames, and cameras without NODELAY."""
    async with rig(Stream(4, 2), 10) as house:
        for manner in MANNERS[1:]:
            await _others(house, results, length, manner)


async def heavy(results: Results, length: Length) -> None:
    """Twice the bitrate."""
    async with rig(Stream(8, 2), 10) as house:
        for manner in MANNERS if length.whole else MANNERS[:1]:
            await _others(house, results, length, manner)


async def _others(house: Rig, results: Results, length: Length, manner: str) -> None:
    peers = [*house.relays, house.ours.rtsps] if length.whole else house.relays
    for scene in (TEN, SOME, MANY, ONE) if length.whole else (TEN,):
        await relaying(house, results, scene, manner, peers, runs=length.other_runs, seconds=length.seconds)


async def memories(results: Results, length: Length) -> None:
    """Memory of processes that have just been started, once for each."""
    async with rig(Stream(4, 2), 10) as house:
        for peer in house.relays:
            await memory(house, results, peer)


async def joins(results: Results, length: Length) -> None:
    """Joining, with short and with long groups of pictures."""
    for gop_s, runs in ((2, length.runs), (10, length.other_runs)):
        async with rig(Stream(4, gop_s), 1) as house:
            for peer in (house.direct, *house.relays):
                await joining(house, results, peer, runs=runs)


async def slow(results: Results, length: Length) -> None:
    """A slow reader among prompt ones, and a cut of both kinds."""
    async with rig(Stream(8, 2), 1) as house:
        for peer in house.relays:
            await slow_reader(house, results, peer, runs=length.runs)
        await cutting(house, results, house.ours.rtsp, SOME, slow=True, runs=length.runs)


async def door(results: Results, length: Length) -> None:
    """A cut of ten cameras' streams, and how fast streams are granted."""
    async with rig(Stream(4, 2), 10, with_gst=False) as house:
        for peer in (house.ours.rtsp, house.ours.rtsps):
            await cutting(house, results, peer, TEN, slow=False, runs=length.runs)
        await granting(house, results, runs=length.runs)


async def cut(results: Results, length: Length) -> None:
    """Cuts of nine real players' streams and a slow reader's, by every way, and with what they need not stopped."""
    async with mail_server() as mail, rig(Stream(8, 2), 1, with_gst=False, mail_port=mail.port) as house:
        for scene in ("cut", ALONE) * length.cuts:  # by turns: whatever else the machine does meets both alike
            await cuts(house, results, scene, mail=mail, runs=1)
        for scene in (scene for scene in WAYS if scene not in {"cut", ALONE}):
            if WAYS[scene] is by_command and not await asyncio.to_thread(has_namespaces):
                print(f"bench: {scene}: no namespaces here", file=sys.stderr)
                continue
            await cuts(house, results, scene, mail=mail, runs=length.other_runs)


async def replay(results: Results, length: Length) -> None:
    """Recordings: what replays cost, at two kinds of recorder, each at a new process; seeks at all; exports."""
    for kind in ("segments", "onvif"):
        async with rig(Stream(4, 2), len(KINDS), with_gst=False, with_recorders=True) as house:
            await replaying(house, results, kind, REPLAYS, runs=length.other_runs, seconds=length.seconds)
            for sought in ("segments",) if kind == "segments" else ("onvif", "url"):
                await seeking(house, results, sought, runs=length.runs)
            if kind == "segments":
                await exporting(house, results, runs=length.runs)


async def trace(results: Results, length: Length) -> None:
    """The trace: what it takes to be durable, and to be verified."""
    await durable_entries(results, runs=length.runs, seconds=length.seconds)
    await asyncio.to_thread(verification, results, runs=length.runs)


PARTS: Final[Mapping[str, Part]] = {
    "relay": relay,
    "joins": joins,
    "slow": slow,
    "door": door,
    "cut": cut,
    "memory": memories,
    "manners": manners,
    "heavy": heavy,
    "trace": trace,
    "replay": replay,
}
NAMED_BY_NO_AIM: Final = frozenset({"manners", "heavy"})
"""Parts that a quick run leaves out unless they are asked for."""


def parts(words: Iterable[str]) -> list[str]:
    """What is measured: the parts that are asked for, else all, but a quick run's."""
    asked = list(words)
    left_out = NAMED_BY_NO_AIM if "quick" in asked else frozenset[str]()
    return [word for word in asked if word in PARTS] or [part for part in PARTS if part not in left_out]


async def carry_out(results: Results, length: Length, parts: Iterable[str]) -> None:
    """Measure these parts."""
    for name in parts:
        await PARTS[name](results, length)
