"""Clips cut into RTP packets once, when they are loaded, so that playing them costs next to nothing.

FFmpeg's own ``rtp`` muxer does the packetisation (RFC 6184, RFC 7798); only the header is written anew for
each session. PCMA needs no format: its payload is the samples (RFC 3551 section 4.5.14).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from halfgateway.simulator.clips import AUDIO_RATE_HZ, FPS, ClipError, ClipSpec, Codec

VIDEO_PAYLOAD_TYPE: Final = 96
AUDIO_PAYLOAD_TYPE: Final = 8  # PCMA's static number, RFC 3551 table 4.
VIDEO_CLOCK_HZ: Final = 90_000
VIDEO_TICKS: Final = VIDEO_CLOCK_HZ // FPS
"""RTP clock ticks from one access unit to the next."""

AUDIO_TICKS: Final = AUDIO_RATE_HZ // 50
"""RTP clock ticks, and bytes, of one audio packet: 20 ms, as RFC 3551 section 4.2 recommends."""

AUDIO_PER_FRAME: Final = AUDIO_RATE_HZ // FPS // AUDIO_TICKS
"""Audio packets that last as long as one frame."""

PACKET_BYTES: Final = 1400
"""The largest RTP packet, its header included, where nothing else is said: within an Ethernet frame, as cameras do."""

_RTP_HEADER_BYTES: Final = 12
_RTCP_TYPES: Final = range(200, 205)


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet without its header."""

    payload: bytes
    marker: bool


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """The packets of one frame; ``key`` if a decoder may begin here."""

    packets: tuple[Packet, ...]
    key: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip ready to be played: one access unit a frame, and 20 ms audio packets (none without audio)."""

    spec: ClipSpec
    access_units: tuple[AccessUnit, ...]
    format_parameters: str
    """The ``a=fmtp`` parameters, with the parameter sets (RFC 6184 section 8.1, RFC 7798 section 7.1)."""
    audio: tuple[bytes, ...]

    @property
    def encoding(self) -> str:
        """The encoding name of ``a=rtpmap``."""
        return "H264" if self.spec.codec == "h264" else "H265"


def load_clip(spec: ClipSpec, path: Path, *, packet_bytes: int = PACKET_BYTES) -> Clip:
    """Read a clip's file and cut it into RTP packets of at most ``packet_bytes``.

    Blocks for some tens of milliseconds. Raises :class:`ClipError`.
    """
    try:
        with av.open(str(path)) as container:
            access_units, parameters = _video(container, spec.codec, packet_bytes)
        with av.open(str(path)) as container:
            audio = tuple(_audio(container, spec.frames)) if spec.audio else ()
    except (av.FFmpegError, IndexError) as error:
        raise ClipError(f"{path} is not a clip; delete it and it is made again: {error}") from error
    if len(access_units) != spec.frames or not access_units[0].key:
        raise ClipError(f"{path} has {len(access_units)} frames, not {spec.frames}; delete it")
    return Clip(spec, access_units, parameters, audio)


class _PacketSink:
    """The file that FFmpeg's muxer writes to: one RTP or RTCP packet a call."""

    def __init__(self) -> None:
        self._packets: list[Packet] = []

    def write(self, data: bytes) -> int:
        if data[1] not in _RTCP_TYPES:
            self._packets.append(Packet(bytes(data[_RTP_HEADER_BYTES:]), marker=bool(data[1] & 0x80)))
        return len(data)

    def take(self) -> tuple[Packet, ...]:
        packets, self._packets = tuple(self._packets), []
        return packets


class Packetiser:
    """Cuts access units into RTP packets; ``source`` says what they are, as its container stores them."""

    def __init__(self, source: VideoStream, packet_bytes: int) -> None:
        self._sink = _PacketSink()
        options = {"packetsize": str(packet_bytes), "payload_type": str(VIDEO_PAYLOAD_TYPE)}
        self._muxer = av.open(self._sink, "w", format="rtp", options=options, buffer_size=packet_bytes + 100)
        self._stream = self._muxer.add_stream_from_template(source)

    def cut(self, packet: av.Packet[Any]) -> tuple[Packet, ...]:
        """The packets of one access unit; its times must be after those of the last. Raises av.FFmpegError."""
        packet.stream = self._stream
        self._muxer.mux(packet)
        return self._sink.take()

    def close(self) -> None:
        """Cut nothing more."""
        self._muxer.close()


def _video(container: InputContainer, codec: Codec, packet_bytes: int) -> tuple[tuple[AccessUnit, ...], str]:
    source: VideoStream = container.streams.video[0]
    packetiser = Packetiser(source, packet_bytes)
    units: list[AccessUnit] = []
    parameters = ""
    try:
        for packet in container.demux(source):
            if not packet.size:
                continue
            key = packet.is_keyframe
            if not units:
                parameters = format_parameters(codec, bytes(packet))
            units.append(AccessUnit(packetiser.cut(packet), key))
    finally:
        packetiser.close()
    return tuple(units), parameters


def _audio(container: InputContainer, frames: int) -> Iterator[bytes]:
    samples = b"".join(bytes(packet) for packet in container.demux(container.streams.audio[0]))
    for first in range(0, frames * AUDIO_RATE_HZ // FPS, AUDIO_TICKS):
        yield samples[first : first + AUDIO_TICKS]


def _nal_units(access_unit: bytes) -> Iterator[bytes]:
    """Split an access unit as the container stores it: each NAL unit after its length in four bytes."""
    position = 0
    while position + 4 <= len(access_unit):
        size = int.from_bytes(access_unit[position : position + 4], "big")
        yield access_unit[position + 4 : position + 4 + size]
        position += 4 + size


def format_parameters(codec: Codec, first: bytes) -> str:
    """The ``a=fmtp`` parameters that a first access unit, as the container stores it, holds (see :class:`Clip`)."""
    if codec == "h264":
        sets = {unit[0] & 0x1F: unit for unit in _nal_units(first)}
        level = sets[7][1:4].hex().upper()
        sprop = f"{_base64(sets[7])},{_base64(sets[8])}"
        return f"packetization-mode=1;profile-level-id={level};sprop-parameter-sets={sprop}"
    sets = {unit[0] >> 1 & 0x3F: unit for unit in _nal_units(first)}
    return f"sprop-vps={_base64(sets[32])};sprop-sps={_base64(sets[33])};sprop-pps={_base64(sets[34])}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
