"""The camera's clock: whole frames in order, a key frame first, one timer for all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from halfgateway.simulator.packets import AccessUnit, Clip
from halfgateway.simulator.player import MAX_LAG_S, PACKETS_AT_ONCE, Player


@dataclass(eq=False)
class Collector:
    """A reader that keeps what it is given, and tells when it has enough."""

    wanted: int
    taken: list[tuple[int, AccessUnit, int, int]] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, frame: int, unit: AccessUnit, first: int, end: int) -> None:
        self.taken.append((frame, unit, first, end))
        if len(self.frames) >= self.wanted:
            self.enough.set()

    @property
    def frames(self) -> list[int]:
        return [frame for frame, unit, _, end in self.taken if end == len(unit.packets)]

    async def has_enough(self) -> None:
        async with asyncio.timeout(20):
            await self.enough.wait()


async def test_the_first_reader_gets_a_key_frame_at_once_and_then_every_frame(small_clip: Clip) -> None:
    player, reader = Player(small_clip), Collector(wanted=12)
    begins = player.join(reader)
    await reader.has_enough()
    player.leave(reader)
    assert reader.taken[0][0] == begins
    assert reader.taken[0][1].key
    assert reader.frames == list(range(begins, begins + 12))


async def test_a_frame_leaves_in_small_groups_without_a_gap(small_clip: Clip) -> None:
    big = AccessUnit(packets=small_clip.access_units[0].packets * 9, key=True)
    clip = replace(small_clip, access_units=(big,))
    player, reader = Player(clip), Collector(wanted=3)
    player.join(reader)
    await reader.has_enough()
    player.leave(reader)
    ends = [(first, end) for frame, _, first, end in reader.taken if frame == reader.frames[0]]
    assert [first for first, _ in ends] == list(range(0, len(big.packets), PACKETS_AT_ONCE))
    assert all(end - first <= PACKETS_AT_ONCE for first, end in ends)
    assert ends[-1][1] == len(big.packets)


async def test_a_late_reader_is_told_the_next_key_frame(small_clip: Clip) -> None:
    clip = replace(small_clip, access_units=small_clip.access_units[:10])
    player, early, late = Player(clip), Collector(wanted=3), Collector(wanted=25)
    player.join(early)
    await early.has_enough()
    begins = player.join(late)
    await late.has_enough()
    player.leave(early)
    player.leave(late)
    assert begins > early.frames[0]
    unit = next(unit for frame, unit, first, _ in late.taken if frame == begins and first == 0)
    assert unit.key


async def test_nothing_runs_without_readers(small_clip: Clip) -> None:
    player, reader = Player(small_clip), Collector(wanted=1)
    player.join(reader)
    await reader.has_enough()
    player.leave(reader)
    player.leave(reader)
    assert player._timer is None
    before = len(reader.taken)
    again = Collector(wanted=1)
    begins = player.join(again)
    await again.has_enough()
    player.leave(again)
    assert len(reader.taken) == before
    assert again.taken[0][0] == begins > reader.frames[-1]


async def test_a_player_that_fell_behind_goes_on_at_the_present_with_a_key_frame(small_clip: Clip) -> None:
    player, reader = Player(small_clip), Collector(wanted=3)
    player.join(reader)
    await reader.has_enough()
    last = reader.taken[-1][0]
    player._origin_s -= 4 * MAX_LAG_S  # As if the process had been stopped for so long.
    reader.wanted += 3
    reader.enough.clear()
    await reader.has_enough()
    player.leave(reader)
    frame, unit, first, _ = next(taken for taken in reader.taken if taken[0] > last + 1)
    assert unit.key
    assert first == 0
    assert frame - last > MAX_LAG_S * 25
