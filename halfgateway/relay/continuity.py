"""Keeps a reader's RTP stream one stream, whatever its camera does to it (RFC 3550 section 5.1).

A camera that comes back begins with another SSRC, sequence number and timestamp; some change them while they play.
Strict players take that for another stream and stop, so what follows is renumbered as the sequel. As long as the
camera's own numbers go on, not a bit is changed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, Frame, InterleavedBatch
from halfgateway.protocol.rtp import RTP_HEADER_BYTES, RtpView, sequence_distance, timestamp_distance
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL, Chunk

MAX_DROPOUT = 3000
"""Sequence numbers that may be missing before the camera is taken to have begun anew (RFC 3550 appendix A.1)."""

MAX_MISORDER = 100
"""Sequence numbers by which a packet may be late before the camera is taken to have begun anew (the same)."""

MAX_TIMESTAMP_LEAD_S = 10.0
"""By how much more than the time that has passed a timestamp may advance: more than any camera holds back and then
sends at once, less than a jump at which players stall for long."""

MAX_TIMESTAMP_RETREAT_S = 1.0
"""By how much a timestamp may go back, as it does where pictures are sent in the order of their decoding."""

TWO_SOURCES_S = 1.0
"""A source that goes on within this time of having been left was never replaced: two are on one channel. The one that
is not relayed is heeded once the other has been silent for as long."""

_SENDER_REPORT = 200
_SENDER_REPORT_BYTES = 28
_SOURCE_DESCRIPTION = 202
_SEQUENCE_MODULUS = 1 << 16
_TIMESTAMP_MODULUS = 1 << 32
_NUMBERS = struct.Struct("!HII")


class Continuity:
    """The packets of one video in one numbering.

    ``clock_rate_hz`` is that of the RTP timestamps; ``payload_types`` are those of the video, and no others pass;
    without any, all do.
    """

    def __init__(self, clock_rate_hz: int, payload_types: frozenset[int] = frozenset()) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._payload_types = payload_types
        self._shown: int | None = None
        self._source: int | None = None
        self._left: int | None = None
        self._left_at_s = 0.0
        self._shunned: int | None = None
        self._last_sequence = 0
        self._last_timestamp = 0
        self._last_arrival_s = 0.0
        self._sequence_shift = 0
        self._timestamp_shift = 0
        self._rebase = False

    @property
    def ssrc(self) -> int | None:
        """The source that readers see; None before the first packet."""
        return self._shown

    def reconnected(self) -> None:
        """The next RTP packet is the first of a new connection to the camera."""
        self._rebase = self._shown is not None
        self._left = self._shunned = None

    def apply(self, chunk: Chunk, now: float) -> Chunk:
        """The frames of the video as the sequel of all before; ``now`` is their arrival in monotonic seconds."""
        if self._goes_on(chunk, now):
            return chunk
        sequel = bytearray(chunk.data)
        kept = [frame for frame in chunk.batch.frames if self._renumber(sequel, frame, now)]
        return Chunk(InterleavedBatch(_only(sequel, kept) if len(kept) < len(chunk.batch.ends) else bytes(sequel)))

    def _goes_on(self, chunk: Chunk, now: float) -> bool:
        """Whether all is as it was, so that nothing need be changed; if so, notes how far the numbers have come.

        The numbers of the first packet and of the last tell: within one read of a socket they do not come back.
        """
        if self._rebase or self._source is None or self._source != self._shown:
            return False
        if self._sequence_shift or self._timestamp_shift or not self._are_of_source(chunk):
            return False
        if chunk.video:
            for packet in (chunk.first_packet, chunk.last_packet):
                sequence, timestamp, _ = _NUMBERS.unpack_from(chunk.data, packet + 2)
                if not (self._follows(sequence) and self._is_timely(timestamp, now)):
                    return False
            self._note(sequence, timestamp, now)
        return True

    def _are_of_source(self, chunk: Chunk) -> bool:
        """Whether every frame names the source that is relayed, and every packet is of the video's types."""
        source, types = self._source, self._payload_types
        for stretch in chunk.video:
            if stretch.source != source or (types and stretch.payload_type not in types):
                return False
        # A report's source stands where a packet has its timestamp.
        return not chunk.others or all(
            stretch.channel == RTCP_CHANNEL and stretch.is_rtp and stretch.timestamp == source
            for stretch in chunk.others
        )

    def _renumber(self, data: bytearray, frame: Frame, now: float) -> bool:
        """Write the readers' numbers into one frame; False if it is none of the video's."""
        channel, start, end = frame
        packet = start + FRAME_HEADER_BYTES
        if channel != RTP_CHANNEL:
            return self._renumber_report(data, packet, end)
        if end - packet < RTP_HEADER_BYTES or data[packet] >> 6 != 2:
            return False
        if self._payload_types and data[packet + 1] & 0x7F not in self._payload_types:
            return False
        sequence, timestamp, source = _NUMBERS.unpack_from(data, packet + 2)
        if not self._takes(source, sequence, timestamp, memoryview(data)[packet:end], now):
            return False
        sequence = (sequence + self._sequence_shift) % _SEQUENCE_MODULUS
        timestamp = (timestamp + self._timestamp_shift) % _TIMESTAMP_MODULUS
        _NUMBERS.pack_into(data, packet + 2, sequence, timestamp, self._shown)
        return True

    def _takes(self, source: int, sequence: int, timestamp: int, packet: memoryview, now: float) -> bool:
        """Follow a packet's numbers, whatever they are, and know how readers see them; False if it is not to pass."""
        if self._shown is None:
            self._shown = self._source = source
            self._last_sequence = sequence
            self._note(sequence, timestamp, now)
            return True
        turns = not self._rebase and source != self._source
        if turns and not (_is_whole(packet) and self._turns_to(source, now)):
            return False
        if self._rebase or turns or not self._follows(sequence):
            shift = self._sequence_shift + self._last_sequence + 1 - sequence
            self._sequence_shift = shift % _SEQUENCE_MODULUS
            self._last_sequence = sequence
        if self._rebase or not self._is_timely(timestamp, now):
            elapsed = max(1, round((now - self._last_arrival_s) * self._clock_rate_hz))
            shift = self._timestamp_shift + self._last_timestamp + elapsed - timestamp
            self._timestamp_shift = shift % _TIMESTAMP_MODULUS
        self._source, self._rebase = source, False
        self._note(sequence, timestamp, now)
        return True

    def _turns_to(self, source: int, now: float) -> bool:
        """Whether another source is to be relayed from now on."""
        if source == self._left and now - self._left_at_s < TWO_SOURCES_S:
            self._shunned, self._left = self._source, None
            return True
        if source == self._shunned and now - self._last_arrival_s < TWO_SOURCES_S:
            return False
        self._left, self._left_at_s = self._source, now
        return True

    def _renumber_report(self, data: bytearray, report: int, end: int) -> bool:
        """Sender reports of the source that is relayed pass, with its name after them; no other RTCP does."""
        if end - report < _SENDER_REPORT_BYTES or data[report + 1] != _SENDER_REPORT or self._rebase:
            return False
        source, timestamp = struct.unpack_from("!I8xI", data, report + 4)
        if self._shown is None:
            return True
        if source != self._source:
            return False
        struct.pack_into("!I", data, report + 4, self._shown)
        struct.pack_into("!I", data, report + 16, (timestamp + self._timestamp_shift) % _TIMESTAMP_MODULUS)
        name = report + _SENDER_REPORT_BYTES
        if end - name >= 8 and data[name + 1] == _SOURCE_DESCRIPTION:
            struct.pack_into("!I", data, name + 4, self._shown)
        return True

    def _follows(self, sequence: int) -> bool:
        return -MAX_MISORDER <= sequence_distance(self._last_sequence, sequence) <= MAX_DROPOUT

    def _is_timely(self, timestamp: int, now: float) -> bool:
        moved_s = timestamp_distance(self._last_timestamp, timestamp) / self._clock_rate_hz
        return -MAX_TIMESTAMP_RETREAT_S <= moved_s <= now - self._last_arrival_s + MAX_TIMESTAMP_LEAD_S

    def _note(self, sequence: int, timestamp: int, now: float) -> None:
        if sequence_distance(self._last_sequence, sequence) > 0:
            self._last_sequence = sequence
        self._last_timestamp, self._last_arrival_s = timestamp, now


def _is_whole(packet: memoryview) -> bool:
    try:
        RtpView(packet)
    except RemoteProtocolError:
        return False
    return True


def _only(data: bytearray, frames: Iterable[Frame]) -> bytes:
    """The frames without what stood between them."""
    return b"".join(data[start:end] for _, start, end in frames)
