"""What the hub hands to its readers: a run of whole interleaved frames, scanned once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Frame: TypeAlias = tuple[int, int, int]
"""Channel, offset of the ``$``, end of the payload; the payload begins four bytes after the ``$``."""

RTP_CHANNEL = 0
"""The channel on which every pull sets up the camera's video."""

RTCP_CHANNEL = 1
"""The channel of that video's RTCP."""

INTERLEAVED_HEADER_BYTES = 4
"""``$``, channel, 16-bit length (RFC 2326 section 10.12)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole frames of one camera: RTP on channel 0, RTCP on channel 1, nothing else.

    ``keyframe`` is the index in ``frames`` of the first packet from which a decoder can start, or None;
    ``packets`` how many RTP packets they are.
    """

    data: bytes
    frames: tuple[Frame, ...]
    keyframe: int | None = None
    packets: int = field(init=False)

    def __post_init__(self) -> None:
        """Count once what every reader counts."""
        object.__setattr__(self, "packets", [frame[0] for frame in self.frames].count(RTP_CHANNEL))

    def packets_from(self, index: int) -> int:
        """How many RTP packets the frames from ``index`` on hold."""
        return self.packets if index == 0 else [frame[0] for frame in self.frames[index:]].count(RTP_CHANNEL)

    def rtp_offsets(self) -> Iterator[int]:
        """Where each RTP packet begins in ``data``."""
        for channel, start, _ in self.frames:
            if channel == RTP_CHANNEL:
                yield start + INTERLEAVED_HEADER_BYTES

    def bytes_from(self, index: int, channels: tuple[int, int]) -> bytes:
        """The frames from ``index`` on, with their channel numbers as the reader set them up.

        The very bytes of the camera where the reader uses channels 0 and 1, as players do.
        """
        start = self.frames[index][1]
        if channels == (RTP_CHANNEL, RTCP_CHANNEL):
            return self.data if start == 0 else self.data[start:]
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
                yield Chunk(self.data[begin:end], tuple(frames))
                begin, frames = end, []
        if frames:
            yield Chunk(self.data[begin:], tuple(frames))
