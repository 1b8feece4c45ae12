"""Which scenes a run measures, in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.results import Results
from tests.bench.rig import Stream, rig
from tests.bench.scenes import MANY, ONE, SOME, TEN, relaying

MANNERS: Final = ("nodelay", "nagle", "frame")


@dataclass(frozen=True, slots=True)
class Length:
    """How often each figure is taken, over how many seconds, and whether every combination is measured."""

    runs: int
    seconds: float
    whole: bool


QUICK: Final = Length(3, 5.0, whole=False)
WHOLE: Final = Length(5, 10.0, whole=True)

Part = Callable[[Results, Length], Awaitable[None]]


async def relay(results: Results, length: Length) -> None:
    """CPU, added latency, loss and memory in the aims' own setting: 4 Mb/s, paced, NODELAY."""
    async with rig(Stream(4, 2), 10) as house:
        for scene in (TEN, SOME, MANY, ONE):
            await relaying(house, results, scene, "nodelay", house.relays, runs=length.runs, seconds=length.seconds)


async def secure(results: Results, length: Length) -> None:
    """The same over RTSPS beside RTSP."""
    async with rig(Stream(4, 2), 10, with_gst=False) as house:
        for scene in (TEN, SOME, MANY) if length.whole else (TEN,):
            peers = (house.ours.rtsp, house.ours.rtsps)
            await relaying(house, results, scene, "nodelay", peers, runs=length.runs, seconds=length.seconds)


async def manners(results: Results, length: Length) -> None:
    """Cameras that write whole frames, and cameras without NODELAY."""
    async with rig(Stream(4, 2), 10) as house:
        for manner in MANNERS[1:]:
            for scene in (TEN, SOME, MANY) if length.whole else (TEN,):
                await relaying(house, results, scene, manner, house.relays, runs=length.runs, seconds=length.seconds)


async def heavy(results: Results, length: Length) -> None:
    """Twice the bitrate."""
    async with rig(Stream(8, 2), 10) as house:
        for manner in MANNERS if length.whole else MANNERS[:1]:
            for scene in (TEN, SOME, MANY) if length.whole else (TEN,):
                await relaying(house, results, scene, manner, house.relays, runs=length.runs, seconds=length.seconds)


PARTS: Final[Mapping[str, Part]] = {"relay": relay, "secure": secure, "manners": manners, "heavy": heavy}


async def carry_out(results: Results, length: Length, parts: Iterable[str]) -> None:
    """Measure these parts."""
    for name in parts:
        await PARTS[name](results, length)
