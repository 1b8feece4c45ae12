"""What a cut does to ten streams: nine of real players, one of a reader that is slow. Seen by bystanders.

For each player: what its connection was given and has read (the kernel's counters, looked at each millisecond), what
was on the wire for it (:mod:`tests.bench.wire`), when it gave out its last, and how it ended.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from tests.bench.cuts import Cut, Way, by_api, by_command, by_record, by_signal, restore, services_stopped
from tests.bench.kernel import HandedOver, watched
from tests.bench.players import TEN, Kind, Player, start
from tests.bench.results import Results, Setting, p99
from tests.bench.rig import Rig
from tests.bench.subjects import Gateway
from tests.bench.wire import Wire
from tests.sending.stage import MailServer

SETTLE_S: Final = 1.0
"""Between the last player's first picture and the cut: the slow one's buffers are full long before."""

SAMPLES_BEFORE_S: Final = 0.05
ENDING_LIMIT_S: Final = 60.0

ALONE: Final = "cut-alone"
"""The scene in which SQL, Valkey and SMTP are stopped."""

WAYS: Final[dict[str, Way]] = {
    "cut": by_record,
    ALONE: by_record,
    "cut-by-api": by_api,
    "cut-by-signal": by_signal,
    "cut-by-command": by_command,
}
"""How it is cut, by scene."""


@dataclass(frozen=True, slots=True)
class End:
    """How one player's stream ended; instants are monotonic seconds."""

    kind: Kind
    code: int
    said: str
    was_reset: bool
    bytes_handed_after: int
    bytes_on_wire_after: int
    unread_bytes: int
    read_after_bytes: int | None
    last_on_wire_s: float
    last_byte_s: float
    last_output_s: float
    ended_s: float
    last_packet: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Witness:
    """What bystanders saw of one cut."""

    wire: Wire
    handed: dict[str, HandedOver]

    def end_of(self, player: Player, cut: Cut) -> End:
        """What they saw of one player. Over UDP its connection carries answers alone, which are not counted."""
        handed, port, by_udp = self.handed[player.kind.transport], player.tcp_port, player.kind.transport == "udp"
        media = player.udp_ports if by_udp else {port}
        on_wire_s, on_wire_after = self.wire.last_s(media) or 0.0, self.wire.after(media, cut.followed_s)
        read_s = on_wire_s if by_udp else max(on_wire_s, handed.last_read_s(port) or 0.0)
        reads = player.reads() if player.kind.is_slow else []
        return End(
            kind=player.kind,
            code=player.code,
            said=player.said(),
            was_reset=self.wire.was_reset(port),
            bytes_handed_after=on_wire_after if by_udp else handed.after(port, cut.followed_s),
            bytes_on_wire_after=on_wire_after,
            unread_bytes=0 if by_udp else handed.unread_bytes(port),
            read_after_bytes=sum(size for at_s, size in reads if at_s > cut.called_s) if reads else None,
            last_on_wire_s=on_wire_s,
            last_byte_s=reads[-1][0] if reads else read_s,
            last_output_s=player.last_output_s,
            ended_s=player.ended_s,
            last_packet=self.wire.last_packet(player.udp_ports),
        )


async def cut_ten(rig: Rig, way: Way, *, without: MailServer | None = None) -> tuple[Cut, list[End]]:
    """Have ten watch, cut, and wait until all have ended by themselves; it is cut still when this returns.

    ``without``: while this mail server, Valkey and the database are stopped. Raises BenchError.
    """
    async with AsyncExitStack() as stack:
        players = []
        for number, kind in enumerate(TEN):
            player = await start(kind, rig.ours, number % len(rig.ours.served.paths))
            stack.push_async_callback(player.kill)
            players.append(player)
        for player in players:
            await player.plays()
            player.find_ports((rig.ours.rtsp.port, rig.ours.rtsps.port))
        await asyncio.sleep(SETTLE_S)
        witness = await _watch(stack, rig.ours, players)
        async with AsyncExitStack() as stopped:
            if without is not None:
                await stopped.enter_async_context(services_stopped(rig.ours, without))
            cut = await way(rig.ours)
            for player in players:
                await player.ends(ENDING_LIMIT_S)
        return cut, [witness.end_of(player, cut) for player in players]


async def _watch(stack: AsyncExitStack, ours: Gateway, players: Sequence[Player]) -> Witness:
    def ports(*transports: str) -> list[int]:
        return [player.tcp_port for player in players if player.kind.transport in transports]

    plain = await stack.enter_async_context(watched(ours.rtsp.port, ports("rtsp", "udp"), readers_too=True))
    secure = await stack.enter_async_context(watched(ours.rtsps.port, ports("rtsps"), readers_too=True))
    called = (ours.rtsp.port, ours.rtsps.port)
    wire = stack.enter_context(Wire((port for player in players for port in player.ports), called))
    await asyncio.sleep(SAMPLES_BEFORE_S)
    return Witness(wire, {"rtsp": plain, "udp": plain, "rtsps": secure})


async def cuts(rig: Rig, results: Results, scene: str, *, mail: MailServer, runs: int) -> None:
    """Cut again and again, and restore each time."""
    for _ in range(runs):
        cut, ends = await cut_ten(rig, WAYS[scene], without=mail if scene == ALONE else None)
        for end in ends:
            _note(rig, results, scene, cut, end)
        await restore(rig.ours, cut.incident)


def _note(rig: Rig, results: Results, scene: str, cut: Cut, end: End) -> None:
    stream = rig.stream

    def setting(reader: str, transport: str) -> Setting:
        return Setting(scene, transport, "nodelay", stream.mbps, stream.gop_s, reader, "halfgateway")

    figures = {
        "bytes_handed_after_cut": end.bytes_handed_after,
        "wire_bytes_after_cut": end.bytes_on_wire_after,
        "unread_at_cut_bytes": end.unread_bytes,
        "last_byte_on_wire_ms": _ms(end.last_on_wire_s, cut.called_s),
        "last_byte_after_cut_ms": _ms(end.last_byte_s, cut.called_s),
        "last_byte_after_record_ms": _ms(end.last_byte_s, cut.recorded_s),
        "last_output_after_cut_ms": _ms(end.last_output_s, cut.called_s),
        "ended_after_cut_ms": _ms(end.ended_s, cut.called_s),
    }
    if end.read_after_bytes is not None:
        figures["read_after_cut_bytes"] = end.read_after_bytes
    of_all = [] if end.kind.is_slow else [setting("prompt", "all")]
    for each in (setting(end.kind.name, end.kind.transport), *of_all):
        for metric, figure in figures.items():
            results.add(each, metric, figure)
    how = f"exit {end.code}, {'reset' if end.was_reset else 'hung up'}{': ' + end.said if end.said else ''}"
    results.count_end(setting(end.kind.name, end.kind.transport), how)


def _ms(instant_s: float, since_s: float) -> float:
    return max(0.0, instant_s - since_s) * 1000


def table(results: Results) -> Iterator[str]:
    """What was measured of cuts: median, p99 and maximum of each kind of reader, and how they ended."""
    columns = (
        ("bytes_handed_after_cut", "bytes handed after"),
        ("last_byte_on_wire_ms", "last byte on the wire, ms"),
        ("last_byte_after_cut_ms", "last byte read, ms"),
        ("last_byte_after_record_ms", "... after the record, ms"),
        ("ended_after_cut_ms", "player gone, ms"),
    )
    rows: dict[Setting, dict[str, list[float]]] = {}
    for setting, metric, values in results.values():
        if setting.scene in WAYS:
            rows.setdefault(setting, {})[metric] = values
    if rows:
        yield f"{'cut: p50 / p99 / max':40}" + "".join(f"{head:>26}" for _, head in columns)
    for setting, metrics in sorted(rows.items(), key=lambda row: (row[0].scene, row[0].reader, row[0].transport)):
        count = len(metrics["ended_after_cut_ms"])
        where = f"{setting.scene:15}{setting.reader:10}{setting.transport:6}{count:5} x"
        read_after = metrics.get("read_after_cut_bytes")
        of_slow = f"   {_three(read_after)} bytes read after" if read_after else ""
        yield f"{where:40}" + "".join(f"{_three(metrics[metric]):>26}" for metric, _ in columns) + of_slow
    for setting, how, times in results.ends():
        yield f"{setting.scene:15}{setting.reader:10}{setting.transport:6}{times:5} x  {how}"


def _three(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} / {p99(values):.1f} / {max(values):.1f}"
