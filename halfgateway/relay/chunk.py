"""What goes through the hub: a run of whole interleaved frames, walked once for all that is asked of its packets.

The packets of a picture are alike but for their number and their length. So the walk tells stretches of packets that
are alike, and who comes after it looks at two or three stretches and not at sixteen packets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from halfgateway.protocol.connection import frame

Frame: TypeAlias = tuple[int, int, int]
"""Channel, offset of the ``$``, end of the payload; the payload begins four bytes after the ``$``."""

RTP_CHANNEL: Final = 0
"""The channel on which every pull sets up the camera's video."""

RTCP_CHANNEL: Final = 1
"""The channel of that video's RTCP."""

INTERLEAVED_HEADER_BYTES: Final = 4
"""``$``, channel, 16-bit length (RFC 2326 section 10.12)."""

FRAMED_RTP_HEADER_BYTES: Final = INTERLEAVED_HEADER_BYTES + 12
"""The same and the fixed part of the RTP header (RFC 3550 section 5.1): what every frame with a packet has."""

_ALIKE: Final = struct.Struct("!4xH2xII")
"""Of a frame with an RTP packet: its first two bytes, its timestamp, its source."""


class Stretch(NamedTuple):
    """RTP packets between two frames that differ in nothing but sequence number and length.

    ``first`` is the index of the first one's frame, ``after`` of the first that is not of them; frames between them
    that hold no RTP packet are none of them. ``kind`` is the packets' first two bytes.
    """

    first: int
    after: int
    kind: int
    timestamp: int
    source: int

    @property
    def is_rtp(self) -> bool:
        """Whether they are of RTP's version 2."""
        return self.kind >> 14 == 2

    @property
    def marker(self) -> bool:
        """Whether each has the marker bit: for video, it ends a picture."""
        return self.kind & 0x80 != 0

    @property
    def payload_type(self) -> int:
        """The payload type, 0 to 127."""
        return self.kind & 0x7F


class Chunk:
    """Whole frames of one camera: RTP on channel 0, RTCP on channel 1, from 0 to ``len(data)`` without a gap.

    ``keyframe`` is the index in ``frames`` of the first packet from which a decoder can start, or None; ``others``
    are the indices of the frames without an RTP packet. ``packets`` counts those with one, ``last_packet`` is where
    the last of them begins in ``data``; ``largest_bytes`` is the size of the largest frame's payload.
    """

    __slots__ = ("data", "frames", "keyframe", "largest_bytes", "last_packet", "others", "packets", "stretches")

    def __init__(self, data: bytes, frames: Sequence[Frame], keyframe: int | None = None) -> None:
        self.data = data
        self.frames = frames
        self.keyframe = keyframe
        self.stretches: list[Stretch] = []
        self.others: list[int] = []
        self._walk()

    def _walk(self) -> None:
        """Look at each frame, once: this is what the relay costs for each packet."""
        data, alike_at = self.data, _ALIKE.unpack_from
        alike: tuple[int, int, int] | None = None
        first, largest, last = 0, INTERLEAVED_HEADER_BYTES, -INTERLEAVED_HEADER_BYTES
        # Plain numbers, not the constants above, and no max(): what is looked up or called here is so once a frame.
        for index, (channel, start, end) in enumerate(self.frames):
            size = end - start
            if size > largest:  # noqa: PLR1730
                largest = size
            if channel != 0 or size < 16:
                self.others.append(index)
                continue
            before, alike, last = alike, alike_at(data, start), start
            if alike != before:
                if before is not None:
                    self.stretches.append(Stretch(first, index, *before))
                first = index
        if alike is not None:
            self.stretches.append(Stretch(first, len(self.frames), *alike))
        self.packets = len(self.frames) - len(self.others)
        self.last_packet = last + INTERLEAVED_HEADER_BYTES
        self.largest_bytes = largest - INTERLEAVED_HEADER_BYTES

    @property
    def first_packet(self) -> int:
        """Where the first RTP packet begins in ``data``; there is one."""
        return self.frames[self.stretches[0].first][1] + INTERLEAVED_HEADER_BYTES

    @property
    def is_video_alone(self) -> bool:
        """Whether every frame holds an RTP packet."""
        return not self.others

    @property
    def octets(self) -> int:
        """Bytes of the RTP packets without the fixed part of their headers (RFC 3550 section 6.4.1)."""
        octets = len(self.data) - FRAMED_RTP_HEADER_BYTES * self.packets
        for index in self.others:
            _, start, end = self.frames[index]
            octets -= end - start
        return octets

    @property
    def is_within_picture(self) -> bool:
        """Whether more of the same picture is to come at once: it ends with a packet of video that has no marker."""
        if not self.stretches or (self.others and self.others[-1] == len(self.frames) - 1):
            return False
        last = self.stretches[-1]
        return last.is_rtp and not last.marker

    def followed_by(self, channel: int, payload: bytes) -> Chunk:
        """The same, with one frame more."""
        added = frame(channel, payload)
        begin, end = len(self.data), len(self.data) + len(added)
        return Chunk(self.data + added, (*self.frames, (channel, begin, end)), self.keyframe)

    def packets_from(self, index: int) -> int:
        """How many RTP packets the frames from ``index`` on hold."""
        return self.packets - index + sum(other < index for other in self.others)

    def bytes_from(self, index: int, channels: tuple[int, int]) -> bytes:
        """The frames from ``index`` on, with their channel numbers as the reader set them up.

        The very bytes of the camera where the reader uses channels 0 and 1, as players do.
        """
        start = self.frames[index][1] if index else 0
        if channels == (RTP_CHANNEL, RTCP_CHANNEL):
            return self.data[start:] if start else self.data
        renumbered = bytearray(self.data[start:])
        for channel, offset, _ in self.frames[index:]:
            renumbered[offset - start + 1] = channels[channel]
        return bytes(renumbered)

    def pieces(self, size_bytes: int) -> Iterator[Chunk]:
        """The same frames in order, in chunks of about ``size_bytes``, each of whole frames."""
        begin, frames = 0, list[Frame]()
        for channel, start, end in self.frames:
            frames.append((channel, start - begin, end - begin))
            if end - begin >= size_bytes:
                yield Chunk(self.data[begin:end], frames)
                begin, frames = end, []
        if frames:
            yield Chunk(self.data[begin:], frames)
