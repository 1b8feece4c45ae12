"""Pictures cut into RTP packets by FFmpeg's own muxer (RFC 6184, RFC 7798)."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.replay_header import HEADER_BYTES

PAYLOAD_TYPE: Final = 96
"""The first of the dynamic payload types (RFC 3551 section 6)."""

CLOCK_RATE_HZ: Final = 90_000
"""The RTP clock of video."""

PACKET_BYTES: Final = 1400 - HEADER_BYTES
"""The largest packet: with a replay's header on it, still one of those that cameras send, within an Ethernet frame."""

_MUXERS: Final = {Codec.H264: "h264", Codec.H265: "hevc"}
_RTCP_TYPES: Final = range(200, 205)
_TICK: Final = Fraction(1, CLOCK_RATE_HZ)
_TIMESTAMP: Final = slice(4, 8)


class _Sink:
    """The file that the muxer writes to: one RTP or RTCP packet a call."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []

    def write(self, data: bytes) -> int:
        if data[1] not in _RTCP_TYPES:
            self._packets.append(bytes(data))
        return len(data)

    def take(self) -> list[bytes]:
        packets, self._packets = self._packets, []
        return packets


class Packetiser:
    """Packets of one stream, sequence numbers and SSRC the muxer's own (random). Not for two threads at once."""

    def __init__(self, codec: Codec) -> None:
        self._sink = _Sink()
        options = {"packetsize": str(PACKET_BYTES), "payload_type": str(PAYLOAD_TYPE), "rtpflags": "skip_rtcp"}
        self._muxer = av.open(self._sink, "w", format="rtp", options=options, buffer_size=PACKET_BYTES + 100)
        self._stream = self._muxer.add_mux_stream(_MUXERS[codec], rate=25)
        self._stream.time_base = _TICK
        self._count = 0

    def packets(self, unit: bytes, timestamp: int) -> list[bytes]:
        """The packets of one picture (annex B), all with this RTP timestamp, the marker on the last."""
        packet = av.Packet(unit)
        packet.stream = self._stream
        packet.time_base = _TICK
        # The muxer wants times that grow, those of pictures need not: each packet's timestamp is written over.
        packet.pts = packet.dts = self._count
        self._count += 1
        self._muxer.mux_one(packet)
        stamp = (timestamp & 0xFFFFFFFF).to_bytes(4, "big")
        return [each[: _TIMESTAMP.start] + stamp + each[_TIMESTAMP.stop :] for each in self._sink.take()]

    def close(self) -> None:
        """Give the muxer up."""
        self._muxer.close()
