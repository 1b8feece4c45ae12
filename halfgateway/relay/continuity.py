"""Keeps a reader's RTP stream whole when its camera reconnects (RFC 3550 section 5.1).

A camera that comes back begins with another SSRC, sequence number and timestamp; strict players take that for
another stream and stop. From the second connection on, packets are renumbered as the sequel of the first. As
long as the camera has not been lost, not a bit is changed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from halfgateway.relay.chunk import INTERLEAVED_HEADER_BYTES, RTCP_CHANNEL, RTP_CHANNEL, Frame

_RTCP_SENDER_REPORT = 200
_SEQUENCE_MODULUS = 1 << 16
_TIMESTAMP_MODULUS = 1 << 32


class Continuity:
    """Renumbers what comes after a reconnection; ``clock_rate_hz`` is that of the RTP timestamps."""

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._ssrc: int | None = None
        self._last_sequence = 0
        self._last_timestamp = 0
        self._last_arrival_s = 0.0
        self._shift: tuple[int, int] | None = None
        self._rebase = False

    def reconnected(self) -> None:
        """The next RTP packet is the first of a new connection to the camera."""
        if self._ssrc is not None:
            self._rebase = True

    @property
    def ssrc(self) -> int | None:
        """The first connection's synchronisation source, which all later ones are given."""
        return self._ssrc

    @property
    def awaits_packet(self) -> bool:
        """Whether the camera has come back and its first RTP packet has not: how to renumber is not known yet."""
        return self._rebase

    def apply(self, data: bytes, frames: Sequence[Frame], now: float) -> bytes:
        """The frames as the sequel of all before; ``now`` is the monotonic time of arrival in seconds."""
        packets = [
            start + INTERLEAVED_HEADER_BYTES
            for channel, start, end in frames
            if channel == RTP_CHANNEL and end - start >= INTERLEAVED_HEADER_BYTES + 12
        ]
        if packets and self._rebase:
            self._begin_sequel(data, packets[0], now)
        if packets and self._ssrc is None:
            self._ssrc = int.from_bytes(data[packets[0] + 8 : packets[0] + 12], "big")
        if self._shift is not None:
            data = self._renumbered(data, packets, frames)
        if packets:
            self._last_sequence, self._last_timestamp = struct.unpack_from("!HI", data, packets[-1] + 2)
            self._last_arrival_s = now
        return data

    def _begin_sequel(self, data: bytes, packet: int, now: float) -> None:
        sequence, timestamp = struct.unpack_from("!HI", data, packet + 2)
        elapsed = max(1, round((now - self._last_arrival_s) * self._clock_rate_hz))
        self._shift = (
            (self._last_sequence + 1 - sequence) % _SEQUENCE_MODULUS,
            (self._last_timestamp + elapsed - timestamp) % _TIMESTAMP_MODULUS,
        )
        self._rebase = False

    def _renumbered(self, data: bytes, packets: Sequence[int], frames: Sequence[Frame]) -> bytes:
        if self._shift is None or self._ssrc is None:
            return data
        sequence_shift, timestamp_shift = self._shift
        sequel = bytearray(data)
        for packet in packets:
            sequence, timestamp = struct.unpack_from("!HI", sequel, packet + 2)
            struct.pack_into(
                "!HII",
                sequel,
                packet + 2,
                (sequence + sequence_shift) % _SEQUENCE_MODULUS,
                (timestamp + timestamp_shift) % _TIMESTAMP_MODULUS,
                self._ssrc,
            )
        for channel, start, end in frames:
            report = start + INTERLEAVED_HEADER_BYTES
            if channel == RTCP_CHANNEL and end - report >= 28 and sequel[report + 1] == _RTCP_SENDER_REPORT:
                (timestamp,) = struct.unpack_from("!I", sequel, report + 16)
                struct.pack_into("!I", sequel, report + 4, self._ssrc)
                struct.pack_into("!I", sequel, report + 16, (timestamp + timestamp_shift) % _TIMESTAMP_MODULUS)
        return bytes(sequel)
