"""The PROXY protocol: by which a TCP balancer says, before anything else, who is connected to it.

Versions 1 and 2 of "The PROXY protocol" (haproxy, doc/proxy-protocol.txt, sections 2.1 and 2.2). What follows the
header is the client's, perhaps the first bytes of a TLS handshake: a reader here says how many bytes it may be given,
so that none of those is ever taken.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Final

from halfgateway.errors import LocalProtocolError, RemoteProtocolError

#: Bytes of a line of version 1 with its line end (section 2.1). Past it the connection is refused.
MAX_V1_BYTES: Final = 107
#: Bytes of a header of version 2. The longest addresses take 232; haproxy's and the clouds' additions, a client
#: certificate's names among them, some hundreds. Past it the connection is refused, for 65,551 would be allowed.
MAX_V2_BYTES: Final = 4096

_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED_BYTES: Final = 16
_LOCAL, _PROXY = 0, 1
_STREAM: Final = 1
_ADDRESS_BYTES: Final = {0: 0, 1: 12, 2: 36, 3: 216}
"""Bytes of both addresses and ports, by family: unspecified, IPv4, IPv6, Unix."""
_IP_BYTES: Final = {1: 4, 2: 16}

_TLV_HEAD = struct.Struct("!BH")
_TLV_CRC32C: Final = 0x03
_CRC32C_BYTES: Final = 4

_V1_PREFIX: Final = b"PROXY "
_V1_UNKNOWN: Final = b"PROXY UNKNOWN"
_V1_LINE = re.compile(
    rb"PROXY TCP(?P<version>[46]) (?P<source>[0-9A-Fa-f:.]{2,39}) (?P<target>[0-9A-Fa-f:.]{2,39})"
    rb" (?P<source_port>0|[1-9][0-9]{0,4}) (?P<target_port>0|[1-9][0-9]{0,4})"
)


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a balancer says. Without a ``source`` it speaks for itself (a health check), or does not know."""

    source: tuple[str, int] | None


class ProxyHeaderReader:
    """Reads one header, cut anywhere, and not a byte more."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def wanted_bytes(self) -> int:
        """How many bytes more are the header's for certain; never 0 before it is whole."""
        have = len(self._buffer)
        if have < len(_V2_SIGNATURE):
            return len(_V2_SIGNATURE) - have
        if not self._is_v2():
            return 1 if self._buffer.endswith(b"\r") else 2
        return (_V2_FIXED_BYTES if have < _V2_FIXED_BYTES else self._v2_bytes()) - have

    def receive_data(self, data: bytes) -> ProxyHeader | None:
        """Take at most ``wanted_bytes``; answers the header once it is whole.

        Raises:
            RemoteProtocolError: these bytes begin no header that is understood.
            LocalProtocolError: more was given than was wanted.
        """
        if len(data) > self.wanted_bytes:
            raise LocalProtocolError("bytes of the client were taken for the header's")
        self._buffer += data
        have = self._buffer
        if not _V2_SIGNATURE.startswith(have[: len(_V2_SIGNATURE)]):
            return self._read_v1()
        if len(have) < _V2_FIXED_BYTES:
            return None
        size = self._v2_bytes()
        if size > MAX_V2_BYTES:
            raise RemoteProtocolError(f"a PROXY header of {size} bytes")
        return _read_v2(bytes(have)) if len(have) == size else None

    def _is_v2(self) -> bool:
        return self._buffer.startswith(_V2_SIGNATURE)

    def _v2_bytes(self) -> int:
        return _V2_FIXED_BYTES + int.from_bytes(self._buffer[14:16], "big")

    def _read_v1(self) -> ProxyHeader | None:
        line = bytes(self._buffer)
        if not _V1_PREFIX.startswith(line[: len(_V1_PREFIX)]):
            raise RemoteProtocolError("no PROXY header")
        whole = line.endswith(b"\r\n")
        if len(line) > MAX_V1_BYTES - (not whole) or (not whole and b"\n" in line):
            raise RemoteProtocolError("a PROXY line without its end")
        return _parse_v1(line.removesuffix(b"\r\n")) if whole else None


def _parse_v1(line: bytes) -> ProxyHeader:
    if line == _V1_UNKNOWN or line.startswith(_V1_UNKNOWN + b" "):  # whatever else stands there is to be ignored
        return ProxyHeader(None)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError("not a PROXY line")
    source, port = match["source"].decode("ascii"), int(match["source_port"])
    target, target_port = match["target"].decode("ascii"), int(match["target_port"])
    if max(port, target_port) > 0xFFFF:
        raise RemoteProtocolError("a PROXY line with a port above 65535")
    address_of = ipaddress.IPv4Address if match["version"] == b"4" else ipaddress.IPv6Address
    try:
        address_of(target)
        return ProxyHeader((_shown(address_of(source)), port))
    except ValueError as error:
        raise RemoteProtocolError("a PROXY line without two addresses") from error


def _read_v2(header: bytes) -> ProxyHeader:
    version, command = divmod(header[12], 16)
    if version != 2 or command not in {_LOCAL, _PROXY}:
        raise RemoteProtocolError("a PROXY header of another version or command")
    if command == _LOCAL:
        return ProxyHeader(None)
    family, kind = divmod(header[13], 16)
    if family not in _ADDRESS_BYTES or kind != (_STREAM if family else 0):
        raise RemoteProtocolError("a PROXY header of no stream's addresses")
    additions = _V2_FIXED_BYTES + _ADDRESS_BYTES[family]
    if len(header) < additions:
        raise RemoteProtocolError("a PROXY header shorter than its addresses")
    _check_additions(header, additions)
    size = _IP_BYTES.get(family)
    if size is None:
        return ProxyHeader(None)
    address = ipaddress.ip_address(header[_V2_FIXED_BYTES : _V2_FIXED_BYTES + size])
    ports = _V2_FIXED_BYTES + 2 * size
    return ProxyHeader((_shown(address), int.from_bytes(header[ports : ports + 2], "big")))


def _check_additions(header: bytes, start: int) -> None:
    """Hold what follows the addresses (section 2.2.1 on) to its lengths, and to its checksum if it has one."""
    while start < len(header):
        if start + _TLV_HEAD.size > len(header):
            raise RemoteProtocolError("a PROXY header with an addition cut off")
        kind, size = _TLV_HEAD.unpack_from(header, start)
        value = start + _TLV_HEAD.size
        start = value + size
        if start > len(header):
            raise RemoteProtocolError("a PROXY header with an addition cut off")
        if kind == _TLV_CRC32C:
            _check_sum(header, value, size)


def _check_sum(header: bytes, start: int, size: int) -> None:
    """Section 2.2.3: of the whole header, the checksum's own four bytes taken as zero."""
    end = start + _CRC32C_BYTES
    summed = header[:start] + bytes(_CRC32C_BYTES) + header[end:]
    if size != _CRC32C_BYTES or crc32c(summed) != int.from_bytes(header[start:end], "big"):
        raise RemoteProtocolError("a PROXY header with a wrong checksum")


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 3720 appendix B.4)."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder = _CRC32C_TABLE[(remainder ^ byte) & 0xFF] ^ (remainder >> 8)
    return remainder ^ 0xFFFFFFFF


def _crc32c_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC32C_TABLE: Final = tuple(_crc32c_of(byte) for byte in range(256))


def _shown(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """One name for one host: a balancer that listens on both families writes IPv4 clients as IPv6 too."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
