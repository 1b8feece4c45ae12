"""What the hub hands to its readers: a run of whole interleaved frames of one camera."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch, Stretch, frame
from halfgateway.protocol.rtp import RTP_HEADER_BYTES

RTP_CHANNEL: Final = 0
"""The channel on which every pull sets up the camera's video."""

RTCP_CHANNEL: Final = 1
"""The channel of that video's RTCP."""


class Chunk:
    """Whole frames of one camera: RTP on channel 0, RTCP on channel 1.

    ``keyframe`` is the index in ``frames`` of the first packet from which a decoder can start, or None. ``video`` are
    the stretches of RTP packets, ``packets`` counts those; ``others`` are all other stretches.
    """

    __slots__ = ("batch", "data", "keyframe", "others", "packets", "video")

    def __init__(self, batch: InterleavedBatch, keyframe: int | None = None) -> None:
        self.batch = batch
        self.data = batch.data
        self.keyframe = keyframe
        self.video: list[Stretch] = []
        self.others: list[Stretch] = []
        self.packets = 0
        for stretch in batch.stretches:
            if stretch.channel == RTP_CHANNEL and stretch.is_rtp:
                self.video.append(stretch)
                self.packets += stretch.after - stretch.first
            else:
                self.others.append(stretch)

    @property
    def first_packet(self) -> int:
        """Where the first RTP packet begins in ``data``; there is one."""
        return self.batch.bounds(self.video[0].first)[0] + FRAME_HEADER_BYTES

    @property
    def last_packet(self) -> int:
        """Where the last RTP packet begins in ``data``; there is one."""
        return self.batch.bounds(self.video[-1].after - 1)[0] + FRAME_HEADER_BYTES

    @property
    def octets(self) -> int:
        """Bytes of the RTP packets without the fixed part of their headers (RFC 3550 section 6.4.1)."""
        octets = len(self.data) - (FRAME_HEADER_BYTES + RTP_HEADER_BYTES) * self.packets
        for stretch in self.others:
            octets -= self.batch.ends[stretch.after - 1] - self.batch.bounds(stretch.first)[0]
        return octets

    @property
    def is_within_picture(self) -> bool:
        """Whether more of the same picture is to come at once: it ends with a packet of video that has no marker."""
        last = self.batch.stretches[-1]
        return last.channel == RTP_CHANNEL and last.is_rtp and not last.marker

    def followed_by(self, channel: int, payload: bytes) -> Chunk:
        """The same, with one frame more."""
        return Chunk(InterleavedBatch(self.data + frame(channel, payload)), self.keyframe)

    def packets_from(self, index: int) -> int:
        """How many RTP packets the frames from ``index`` on hold."""
        return sum(max(0, stretch.after - max(index, stretch.first)) for stretch in self.video)

    def bytes_from(self, index: int, channels: tuple[int, int]) -> bytes:
        """The frames from ``index`` on, with their channel numbers as the reader set them up.

        The very bytes of the camera where the reader uses channels 0 and 1, as players do.
        """
        begin = self.batch.bounds(index)[0] if index else 0
        data = self.data[begin:] if begin else self.data
        if channels == (RTP_CHANNEL, RTCP_CHANNEL):
            return data
        renumbered = bytearray(data)
        for channel, start, _ in self.batch.frames[index:]:
            renumbered[start - begin + 1] = channels[channel]
        return bytes(renumbered)

    def pieces(self, size_bytes: int) -> Iterator[Chunk]:
        """The same frames in order, in chunks of about ``size_bytes``, each of whole frames."""
        begin = 0
        for end in self.batch.ends:
            if end - begin >= size_bytes or end == len(self.data):
                yield Chunk(InterleavedBatch(self.data[begin:end]))
                begin = end
