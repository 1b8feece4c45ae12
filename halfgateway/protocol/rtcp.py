"""RTCP: compound packets taken apart, and the reports and goodbyes that we send (RFC 3550 section 6)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from halfgateway.errors import LocalProtocolError, RemoteProtocolError

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203

#: Seconds from the NTP epoch (1900) to the Unix epoch.
NTP_TO_UNIX_S: Final = 2_208_988_800

_CNAME = 1
_HEADER = struct.Struct("!BBH")
_SENDER = struct.Struct("!IQIII")
_BLOCK = struct.Struct("!IIIIII")

Bytes: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one source (section 6.4.1).

    ``fraction_lost`` is in 1/256; ``cumulative_lost`` has 24 bits and a sign; ``highest_sequence`` is extended to
    32 bits; ``jitter`` is in clock units; the last two are the middle of an NTP time and 1/65536 s.
    """

    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_sender_report: int = 0
    delay_since_last_sender_report: int = 0


@dataclass(frozen=True, slots=True)
class SenderReport:
    """A sender report: ``ntp_timestamp`` (32.32 bits since 1900) and ``rtp_timestamp`` name one instant."""

    ssrc: int
    ntp_timestamp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """A receiver report: for a session that waits for signs of life it is one (docs/conformance.md row 27)."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Sources that send no more."""

    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OtherPacket:
    """Any other RTCP packet, by its type, with what follows its header."""

    packet_type: int
    count: int
    content: bytes


RtcpPacket: TypeAlias = SenderReport | ReceiverReport | Goodbye | OtherPacket


def parse_compound(data: Bytes) -> tuple[RtcpPacket, ...]:
    """The packets of one compound packet. That it begins with a report is not required: many senders err.

    Raises:
        RemoteProtocolError: empty, not RTP version 2, or a packet that does not fit its length.
    """
    view = memoryview(data)
    packets: list[RtcpPacket] = []
    start = 0
    while start < len(view) or not packets:
        if start + _HEADER.size > len(view):
            raise RemoteProtocolError("an RTCP header does not fit")
        first, packet_type, words = _HEADER.unpack_from(view, start)
        end = start + 4 * (words + 1)
        if first >> 6 != 2 or end > len(view):
            raise RemoteProtocolError("not an RTCP packet")
        content = view[start + 4 : end]
        if first & 0x20:
            content = _without_padding(content)
        packets.append(_packet(packet_type, first & 0x1F, content))
        start = end
    return tuple(packets)


def sender_report(report: SenderReport, cname: str) -> bytes:
    """A compound packet: the report and the canonical name, as section 6.1 wants."""
    numbers = _SENDER.pack(
        report.ssrc,
        report.ntp_timestamp,
        report.rtp_timestamp,
        report.packet_count & 0xFFFFFFFF,
        report.octet_count & 0xFFFFFFFF,
    )
    body = numbers + _blocks(report.reports)
    return _packed(SENDER_REPORT, len(report.reports), body) + _source_description(report.ssrc, cname)


def receiver_report(report: ReceiverReport, cname: str) -> bytes:
    """A compound packet: the report and the canonical name, as section 6.1 wants."""
    body = struct.pack("!I", report.ssrc) + _blocks(report.reports)
    return _packed(RECEIVER_REPORT, len(report.reports), body) + _source_description(report.ssrc, cname)


def bye(*ssrcs: int, cname: str | None = None) -> bytes:
    """A compound packet: an empty receiver report, the canonical name where given, and the goodbye (6.1, 6.6).

    Raises:
        LocalProtocolError: no source, or more than 31.
    """
    if not 1 <= len(ssrcs) <= 31:
        raise LocalProtocolError("a goodbye names 1 to 31 sources")
    report = _packed(RECEIVER_REPORT, 0, struct.pack("!I", ssrcs[0]))
    description = _source_description(ssrcs[0], cname) if cname else b""
    return report + description + _packed(GOODBYE, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs))


def ntp_timestamp(unix_ns: int) -> int:
    """The 64-bit NTP time of a Unix time in nanoseconds, modulo the era (2036)."""
    seconds, fraction_ns = divmod(unix_ns, 1_000_000_000)
    return ((seconds + NTP_TO_UNIX_S) & 0xFFFFFFFF) << 32 | (fraction_ns << 32) // 1_000_000_000


def unix_ns(ntp_timestamp: int, near_unix_ns: int) -> int:
    """The Unix time in nanoseconds of a 64-bit NTP time, in the era closest to ``near_unix_ns``."""
    seconds = (ntp_timestamp >> 32) - NTP_TO_UNIX_S
    era = round((near_unix_ns / 1_000_000_000 - seconds) / 2**32)
    return (seconds + era * 2**32) * 1_000_000_000 + ((ntp_timestamp & 0xFFFFFFFF) * 1_000_000_000 >> 32)


def _packet(packet_type: int, count: int, content: memoryview) -> RtcpPacket:
    if packet_type == SENDER_REPORT:
        _require(content, _SENDER.size + count * _BLOCK.size)
        ssrc, ntp, rtp, packet_count, octet_count = _SENDER.unpack_from(content)
        blocks = _parsed_blocks(content, _SENDER.size, count)
        return SenderReport(ssrc, ntp, rtp, packet_count, octet_count, blocks)
    if packet_type == RECEIVER_REPORT:
        _require(content, 4 + count * _BLOCK.size)
        return ReceiverReport(int.from_bytes(content[:4], "big"), _parsed_blocks(content, 4, count))
    if packet_type == GOODBYE:
        _require(content, 4 * count)
        return Goodbye(struct.unpack_from(f"!{count}I", content))
    return OtherPacket(packet_type, count, bytes(content))


def _require(content: memoryview, size: int) -> None:
    if len(content) < size:
        raise RemoteProtocolError("an RTCP packet is shorter than its count says")


def _without_padding(content: memoryview) -> memoryview:
    if not content or not 0 < content[-1] <= len(content):
        raise RemoteProtocolError("the RTCP padding does not fit")
    return content[: len(content) - content[-1]]


def _parsed_blocks(content: memoryview, start: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for index in range(count):
        ssrc, lost, *rest = _BLOCK.unpack_from(content, start + index * _BLOCK.size)
        cumulative = (lost & 0xFFFFFF) - ((lost & 0x800000) << 1)
        blocks.append(ReportBlock(ssrc, lost >> 24, cumulative, *rest))
    return tuple(blocks)


def _blocks(reports: Sequence[ReportBlock]) -> bytes:
    if len(reports) > 31:
        raise LocalProtocolError("a report has at most 31 blocks")
    return b"".join(
        _BLOCK.pack(
            report.ssrc,
            report.fraction_lost << 24 | report.cumulative_lost & 0xFFFFFF,
            report.highest_sequence,
            report.jitter,
            report.last_sender_report,
            report.delay_since_last_sender_report,
        )
        for report in reports
    )


def _source_description(ssrc: int, cname: str) -> bytes:
    name = cname.encode()
    if not 1 <= len(name) <= 255:
        raise LocalProtocolError("a canonical name has 1 to 255 bytes")
    chunk = struct.pack("!IBB", ssrc, _CNAME, len(name)) + name
    # The list of items ends with at least one zero, and the chunk on a 32-bit boundary (section 6.5).
    return _packed(SOURCE_DESCRIPTION, 1, chunk + bytes(4 - len(chunk) % 4))


def _packed(packet_type: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, packet_type, len(body) // 4) + body
