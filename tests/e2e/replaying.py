"""Playing recordings on a bare socket: asking for a passage, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from halfgateway.protocol.ranges import ClockRange
from halfgateway.protocol.replay_header import ReplayHeader, read_replay_header
from tests.e2e.conftest import until
from tests.e2e.recorders import Recorded
from tests.raw_player import RawPlayer

REPLAY = {"Require": "onvif-replay"}


async def of_each(kinds: Iterable[str], watch: Callable[[str], Awaitable[None]]) -> None:
    """Watch recordings of several kinds at once: film takes its time. Tells which kinds failed."""

    async def named(kind: str) -> None:
        try:
            await watch(kind)
        except Exception as error:
            error.add_note(f"recorded by: {kind}")
            raise

    async with asyncio.TaskGroup() as group:
        for kind in kinds:
            group.create_task(named(kind))


async def until_over(recorded: Recorded) -> None:
    """Wait until every stream has ended, its end is told, and the recorder has its sessions back."""

    async def over() -> bool:
        return await recorded.gateway.slots_used() == 0 and recorded.recorder.session_count == 0

    await until(over)
    await recorded.gateway.node.control.tracer.settle(5.0)


def clock(start: datetime, end: datetime | None = None) -> dict[str, str]:
    return {"Range": str(ClockRange(start, end))}


def video(player: RawPlayer) -> list[bytes]:
    return [data for channel, data, _ in player.packets if channel == 0]


def marks(player: RawPlayer) -> list[ReplayHeader]:
    """What the first packet of each picture tells (ONVIF Streaming 6.3)."""
    return [header for header in map(read_replay_header, video(player)) if header is not None]


def told(player: RawPlayer) -> list[datetime]:
    """When each picture was filmed, as its first packet tells."""
    return [header.at for header in marks(player)]


async def pictures_until(player: RawPlayer, enough: Callable[[list[datetime]], bool]) -> None:
    """Read until the pictures that were told of are as wanted."""
    await _marks_until(player, lambda found: enough([mark.at for mark in found]))


async def terminal_picture(player: RawPlayer) -> None:
    """Read until a picture is marked as the last of all."""
    await _marks_until(player, lambda found: found[-1].terminal)


async def _marks_until(player: RawPlayer, enough: Callable[[list[ReplayHeader]], bool]) -> None:
    found = marks(player)
    while not found or not enough(found):
        await player.next_packet()
        channel, data, _ = player.packets[-1]
        mark = read_replay_header(data) if channel == 0 else None
        found += [mark] if mark is not None else []


async def play(
    player: RawPlayer, recorded: Recorded, kind: str, headers: dict[str, str]
) -> tuple[int, dict[str, list[str]]]:
    answer = await player.ask("PLAY", player.url(recorded.path(kind)), {"Session": player.session or "", **headers})
    return answer.status, answer.headers
