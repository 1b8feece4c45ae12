"""Players as people use them, and a slow one: each a process that is watched from outside until it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.child import BenchError
from tests.bench.subjects import Gateway, Peer

PLAYING_LIMIT_S: Final = 60.0
"""How long a player may take for its first output: ten start at once, on two cores."""

READ_BYTES: Final = 256 * 1024

_WHAT_CHANGES: Final = re.compile(r"^\d:\d\d:\d\d\.\d+ *| @ 0x[0-9a-f]+|\S*://\S+|/GstPipeline\S+ ?|\S+\.c\(\d+\): ")
_OF_ELSE: Final = re.compile(
    r"^\[h264\]|^\[NULL\]|^\[rtsp\] RTP|^Last message repeated|^Additional debug info|\(\):$|^\{"
)
"""What ffmpeg says of pictures and packets, GStreamer's headings, and what the slow one tells of its reads."""

_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of watching."""

    name: str
    transport: str
    command: Callable[[Gateway, int], list[str]]

    @property
    def is_slow(self) -> bool:
        """Whether it takes less than it is sent."""
        return self.name == "slow"


def _with_credentials(peer: Peer, camera: int) -> str:
    return peer.urls[camera].replace("://", f"://{peer.username}:{peer.password}@")


def _ffmpeg(transport: str) -> Callable[[Gateway, int], list[str]]:
    def command(ours: Gateway, camera: int) -> list[str]:
        source = ["-rtsp_transport", transport, "-i", _with_credentials(ours.rtsp, camera)]
        return ["ffmpeg", "-nostdin", "-v", "error", *source, "-an", "-c", "copy", "-f", "h264", "pipe:1"]

    return command


def _gstreamer(protocols: str) -> Callable[[Gateway, int], list[str]]:
    def command(ours: Gateway, camera: int) -> list[str]:
        peer = ours.rtsp
        source = ["rtspsrc", f"location={peer.urls[camera]}", f"protocols={protocols}"]
        source += [f"user-id={peer.username}", f"user-pw={peer.password}"]
        return [
            "gst-launch-1.0",
            "-q",
            *source,
            "!",
            "application/x-rtp,media=video",
            "!",
            *["rtph264depay", "!", "fdsink"],
        ]

    return command


def _files(peer: Peer) -> list[str]:
    assert peer.tls is not None
    return [peer.tls[name] for name in ("authority", "certificate", "key")]


def _pyav(ours: Gateway, camera: int) -> list[str]:
    script = str(Path(__file__).with_name("pyav_player.py"))
    return [sys.executable, script, _with_credentials(ours.rtsps, camera), *_files(ours.rtsps)]


def _slow(ours: Gateway, camera: int) -> list[str]:
    peer = ours.rtsps
    module = [sys.executable, "-m", "tests.bench.slow_player"]
    return [*module, peer.urls[camera], peer.username, peer.password, *_files(peer)]


FFMPEG_TCP: Final = Kind("ffmpeg", "rtsp", _ffmpeg("tcp"))
FFMPEG_UDP: Final = Kind("ffmpeg", "udp", _ffmpeg("udp"))
GSTREAMER_TCP: Final = Kind("gstreamer", "rtsp", _gstreamer("tcp"))
GSTREAMER_UDP: Final = Kind("gstreamer", "udp", _gstreamer("udp"))
PYAV_TLS: Final = Kind("pyav", "rtsps", _pyav)
SLOW_TLS: Final = Kind("slow", "rtsps", _slow)

KINDS: Final = (FFMPEG_TCP, FFMPEG_UDP, GSTREAMER_TCP, GSTREAMER_UDP, PYAV_TLS, SLOW_TLS)

TEN: Final = (*[FFMPEG_TCP] * 3, *[FFMPEG_UDP] * 2, GSTREAMER_TCP, GSTREAMER_UDP, *[PYAV_TLS] * 2, SLOW_TLS)
"""The convention's ten streams: nine players and one that is slow."""


class Player:
    """One process. ``ended_s`` is when it was gone, ``last_output_s`` when it last gave something out (monotonic)."""

    def __init__(self, kind: Kind, process: Process) -> None:
        self.kind = kind
        self.playing = asyncio.Event()
        self.last_output_s = 0.0
        self.ended_s = 0.0
        self.tcp_port = 0
        self.udp_ports: frozenset[int] = frozenset()
        self._process = process
        self._errors = b""
        self._living = asyncio.create_task(self._live())

    @property
    def code(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process.returncode is not None
        return self._process.returncode

    @property
    def ports(self) -> tuple[int, ...]:
        """All its own ports."""
        return self.tcp_port, *self.udp_ports

    def said(self) -> str:
        """What it wrote to standard error of its connection, without what is another each time."""
        lines = (_WHAT_CHANGES.sub("", line).strip() for line in self._errors.decode(errors="replace").splitlines())
        return "; ".join(dict.fromkeys(line for line in lines if line and not _OF_ELSE.search(line)))

    def reads(self) -> list[tuple[float, int]]:
        """When the slow one has read its last, and how many bytes each time."""
        told = json.loads(self._errors.splitlines()[-1])
        return [(instant_s, size) for instant_s, size in told["reads"]]

    async def plays(self) -> None:
        """Wait until it gives something out, and find its ports. Raises BenchError."""
        waiting = asyncio.ensure_future(self.playing.wait())
        await asyncio.wait({waiting, self._living}, timeout=PLAYING_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not self.playing.is_set() or self._process.returncode is not None:
            raise BenchError(f"{self.kind.name} over {self.kind.transport} does not play: {self.said()}")

    def find_ports(self, server_ports: Iterable[int]) -> None:
        """Learn from the kernel which are its sockets."""
        self.tcp_port, self.udp_ports = _ports_of(self._process.pid, frozenset(server_ports))

    async def ends(self, limit_s: float) -> None:
        """Wait until it has ended by itself. Raises BenchError."""
        await asyncio.wait({self._living}, timeout=limit_s)
        if not self._living.done():
            raise BenchError(f"{self.kind.name} over {self.kind.transport} has not ended: {self.said()}")
        self._living.result()

    async def kill(self) -> None:
        """Leave nothing of it behind."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._living

    async def _live(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        errors = asyncio.create_task(self._process.stderr.read())
        while await self._process.stdout.read(READ_BYTES):
            self.last_output_s = time.monotonic()
            self.playing.set()
        await self._process.wait()
        self.ended_s = time.monotonic()
        self._errors = await errors


async def start(kind: Kind, ours: Gateway, camera: int = 0) -> Player:
    """Have somebody watch."""
    process = await asyncio.create_subprocess_exec(*kind.command(ours, camera), stdout=PIPE, stderr=PIPE)
    return Player(kind, process)


async def refusals(ours: Gateway) -> dict[str, str]:
    """What one new player of each kind says, and by what it ends, when all of them come now. Raises BenchError."""
    came = [await start(kind, ours) for kind in KINDS]
    try:
        for player in came:
            await player.ends(PLAYING_LIMIT_S)
            if player.playing.is_set():
                raise BenchError(f"{player.kind.name} over {player.kind.transport} was let in")
    finally:
        for player in came:
            await player.kill()
    return {f"{player.kind.name} {player.kind.transport}": f"{player.code}: {player.said()}" for player in came}


def _ports_of(pid: int, server_ports: frozenset[int]) -> tuple[int, frozenset[int]]:
    """A process' port of its connection to the server, and those of its datagrams (proc_pid_fd(5), proc_net_tcp)."""
    links = []
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(descriptor.path))
    inodes = {found[1] for link in links if (found := _SOCKET.fullmatch(link)) is not None}
    tcp = [own for own, other, inode in _table("tcp") if inode in inodes and other in server_ports]
    if len(tcp) != 1:
        raise BenchError(f"process {pid} has {len(tcp)} connections to the gateway")
    return tcp[0], frozenset(own for own, _, inode in _table("udp") if inode in inodes)


def _table(name: str) -> Iterable[tuple[int, int, str]]:
    """Local port, remote port and inode of each socket of this protocol."""
    for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
        fields = line.split()
        yield int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16), fields[9]
