"""A recorder in memory: footage that PyAV encoded and its RTP muxer cut into packets."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache
from io import BytesIO
from typing import Literal

import av
import numpy as np

from halfgateway.errors import NoRecording, Refusal
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.sdp import SessionDescription, parse
from halfgateway.relay.source import VideoFormat
from halfgateway.replay.footage import Footage, Interval, Passage, Picture, Replay

FPS = 10
GOP = 5
PERIOD = timedelta(seconds=1) / FPS
_RTCP = range(200, 205)
_ENCODERS: dict[Codec, Literal["libx264", "libx265"]] = {Codec.H264: "libx264", Codec.H265: "libx265"}


@dataclass(frozen=True)
class Shot:
    """Encoded pictures in the order of decoding: when each is shown, as it was encoded, and as RTP packets."""

    codec: Codec
    shown: tuple[timedelta, ...]
    units: tuple[bytes, ...]
    packets: tuple[tuple[bytes, ...], ...]
    keys: tuple[bool, ...]

    @property
    def duration(self) -> timedelta:
        return len(self.units) * PERIOD

    def sha256(self, first: int = 0, after: int | None = None) -> str:
        """Of the elementary stream, as ``docs/exports.md`` defines it, from what the encoder gave."""
        found = hashlib.sha256()
        for unit in self.units[first:after]:
            for nal_unit in re.split(b"\0\0\0\1|\0\0\1", unit):
                if nal_unit:
                    found.update(len(nal_unit).to_bytes(4, "big") + nal_unit)
        return found.hexdigest()


@cache
def shot(codec: Codec = Codec.H264, pictures: int = 20, *, reordered: int = 0, width: int = 160) -> Shot:
    """Encode a shot; with ``reordered`` pictures between two that others depend on."""
    groups = f"keyint={GOP}:min-keyint={GOP}:scenecut=0:open-gop=0:bframes={reordered}:repeat-headers=1"
    quiet = ":pools=none:frame-threads=1:log-level=none:info=0" if codec is Codec.H265 else ":threads=1"
    name = _ENCODERS[codec]
    options = {"preset": "ultrafast", name.removeprefix("lib") + "-params": groups + quiet}
    stream = BytesIO()
    with av.open(stream, "w", format=_format(codec)) as output:
        video = output.add_stream(name, rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = width, 96, "yuv420p"
        encoded = []
        for number in range(pictures):
            noise = np.random.default_rng(number).integers(0, 255, (96, width, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            encoded += video.encode(frame)
        encoded += video.encode(None)
        for packet in encoded:
            output.mux(packet)
        shows = [packet.pts or 0 for packet in encoded]
        units = tuple(bytes(packet) for packet in encoded)
        keys = tuple(packet.is_keyframe for packet in encoded)
    return Shot(codec, tuple(PERIOD * each for each in shows), units, _packets(codec, units, shows), keys)


def _format(codec: Codec) -> str:
    return "hevc" if codec is Codec.H265 else "h264"


class _Sink:
    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def write(self, data: bytes) -> int:
        if data[1] not in _RTCP:
            self.packets.append(bytes(data))
        return len(data)

    def take(self) -> tuple[bytes, ...]:
        packets, self.packets = tuple(self.packets), []
        return packets


def _packets(codec: Codec, units: tuple[bytes, ...], shows: list[int]) -> tuple[tuple[bytes, ...], ...]:
    sink, cut = _Sink(), []
    with (
        av.open(BytesIO(units[0]), format=_format(codec)) as probe,
        av.open(sink, "w", format="rtp", options={"packetsize": "1400"}, buffer_size=1500) as muxer,
    ):
        stream = muxer.add_stream_from_template(probe.streams.video[0], opaque=True)
        stream.time_base = Fraction(1, 90_000)
        for number, (unit, shown) in enumerate(zip(units, shows, strict=True)):
            packet = av.Packet(unit)
            packet.stream, packet.time_base = stream, Fraction(1, 90_000)
            packet.pts, packet.dts = (shown + 4) * 90_000 // FPS, number * 90_000 // FPS
            muxer.mux(packet)
            cut.append(sink.take())
    return tuple(cut)


@dataclass
class Take:
    """A shot as it was filmed from an instant on; pictures in ``lost`` lost a packet on the way."""

    start: datetime
    shot: Shot
    lost: frozenset[int] = frozenset()

    @property
    def end(self) -> datetime:
        return self.start + self.shot.duration

    def pictures(self, start: datetime) -> list[Picture]:
        """From the clean one at or before an instant on, or the first."""
        shown = [self.start + each for each in self.shot.shown]
        clean = [number for number, key in enumerate(self.shot.keys) if key and shown[number] <= start]
        first = clean[-1] if clean else 0
        return [
            Picture(
                self.shot.packets[number][:-1] if number in self.lost else self.shot.packets[number],
                shown[number],
                self.shot.keys[number],
                discontinuous=number == first,
                last=number == len(shown) - 1,
            )
            for number in range(first, len(shown))
        ]


@dataclass
class Reel:
    """The footage of one camera. ``held`` is waited for before each picture from number ``hold_at`` on."""

    takes: list[Take]
    reverses: bool = False
    fails: Refusal | None = None
    fails_at: int = 0
    hold_at: int | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: int = 0
    opened: int = 0
    asked: list[Passage] = field(default_factory=list)

    async def find(self, start: datetime, end: datetime) -> Sequence[Interval]:
        found = [Interval(max(take.start, start), min(take.end, end)) for take in self.takes]
        return [interval for interval in found if interval.start < interval.end]

    async def describe(self, at: datetime) -> SessionDescription:
        codec = self._codec(at).value
        return parse(
            f"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 {codec}/90000\r\n"
        )

    async def open(self, at: datetime) -> Replay:
        self.opened += 1
        codec = self._codec(at)
        self.sessions += 1
        return _Session(self, VideoFormat(codec, 90_000))

    def _codec(self, at: datetime) -> Codec:
        here = [take for take in self.takes if take.end > at]
        if not here:
            raise NoRecording("Aucun enregistrement.")
        return here[0].shot.codec


@dataclass
class _Session:
    reel: Reel
    video: VideoFormat
    given: int = 0

    async def play(self, passage: Passage) -> AsyncIterator[Picture]:
        """All takes of the session's codec, until one of another."""
        self.reel.asked.append(passage)
        here = [take for take in self.reel.takes if take.end > passage.start]
        for take in here:
            if take.shot.codec is not self.video.codec:
                return
            for picture in take.pictures(passage.start):
                if passage.end is not None and picture.at >= passage.end:
                    return
                await self._wait()
                yield picture
                self.given += 1

    async def _wait(self) -> None:
        if self.reel.fails is not None and self.given >= self.reel.fails_at:
            raise self.reel.fails
        if self.reel.hold_at is not None and self.given >= self.reel.hold_at:
            self.reel.reached.set()
            await self.reel.held.wait()

    async def close(self) -> None:
        self.reel.sessions -= 1


@dataclass
class Recorder:
    """Recorders of some cameras."""

    reels: dict[str, Footage]

    def of(self, camera: str) -> Footage | None:
        return self.reels.get(camera)
