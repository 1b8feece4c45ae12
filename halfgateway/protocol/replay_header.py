"""The RTP header extension of a replay: when each picture was filmed (ONVIF Streaming 6.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from halfgateway.protocol.rtp import RTP_HEADER_BYTES, Bytes

PROFILE: Final = 0xABAC
"""The identifier of the extension."""

HEADER_BYTES: Final = 16
"""What the extension adds to a packet: its own header and three words."""

_WORDS: Final = 3
_HAS_EXTENSION: Final = 0x10
_C, _E, _D, _T = 0x80, 0x40, 0x20, 0x10
_LAYOUT = struct.Struct("!HHIIBBH")

_NTP_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_ERA = timedelta(seconds=1 << 32)
_SECOND_ERA = _NTP_EPOCH + _ERA
_MIDDLE_OF_ERA: Final = 0x80000000


@dataclass(frozen=True, slots=True)
class ReplayHeader:
    """``at`` is when the picture was filmed (aware, UTC).

    ``clean``: a decoder can begin here. ``last``: no footage follows directly. ``discontinuous``: it follows nothing
    that was sent before. ``terminal``: it is the last that will be sent. ``cseq`` is the low byte of PLAY's ``CSeq``.
    """

    at: datetime
    clean: bool = False
    last: bool = False
    discontinuous: bool = False
    terminal: bool = False
    cseq: int = 0

    def pack(self) -> bytes:
        """The extension as it stands in a packet."""
        seconds, fraction = _ntp(self.at)
        flags = self.clean * _C | self.last * _E | self.discontinuous * _D | self.terminal * _T
        return _LAYOUT.pack(PROFILE, _WORDS, seconds, fraction, flags, self.cseq & 0xFF, 0)


def read_replay_header(packet: Bytes) -> ReplayHeader | None:
    """The extension of an RTP packet; None where it has none, or another."""
    start = RTP_HEADER_BYTES + 4 * (packet[0] & 0x0F) if len(packet) >= RTP_HEADER_BYTES else 0
    if not start or not packet[0] & _HAS_EXTENSION or start + HEADER_BYTES > len(packet):
        return None
    profile, words, seconds, fraction, flags, cseq, _ = _LAYOUT.unpack_from(packet, start)
    if profile != PROFILE or words < _WORDS:
        return None
    return ReplayHeader(
        _instant(seconds, fraction),
        clean=bool(flags & _C),
        last=bool(flags & _E),
        discontinuous=bool(flags & _D),
        terminal=bool(flags & _T),
        cseq=cseq,
    )


def with_replay_header(packet: bytes, header: ReplayHeader) -> bytes:
    """The packet with this extension, in place of one of the same kind; one that has another keeps it and gets none."""
    start = RTP_HEADER_BYTES + 4 * (packet[0] & 0x0F)
    if not packet[0] & _HAS_EXTENSION:
        return bytes((packet[0] | _HAS_EXTENSION,)) + packet[1:start] + header.pack() + packet[start:]
    if read_replay_header(packet) is None:
        return packet
    # Behind our three words may stand JPEG's own (6.3.2): the length is left as it is.
    packed = header.pack()
    return packet[:start] + packet[start : start + 4] + packed[4:] + packet[start + HEADER_BYTES :]


def _ntp(instant: datetime) -> tuple[int, int]:
    """Seconds and fraction of NTP time, modulo its era (RFC 5905 section 6)."""
    since = instant - _NTP_EPOCH
    seconds, fraction = since.days * 86_400 + since.seconds, (since.microseconds << 32) // 1_000_000
    return seconds & 0xFFFFFFFF, fraction + (1 if since.microseconds else 0)


def _instant(seconds: int, fraction: int) -> datetime:
    """The instant of NTP time: from 1968 on, in the era after 2036 for numbers that are small."""
    epoch = _NTP_EPOCH if seconds >= _MIDDLE_OF_ERA else _SECOND_ERA
    return epoch + timedelta(seconds=seconds, microseconds=(fraction * 1_000_000) >> 32)
