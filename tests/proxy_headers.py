"""PROXY headers as a balancer writes them, made here from haproxy's doc/proxy-protocol.txt, sections 2.1 and 2.2."""

from __future__ import annotations

import ipaddress
import struct

from halfgateway.net.proxy_header import crc32c

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
LOCAL, PROXY = 0x20, 0x21
UNSPECIFIED, TCP4, UDP4, TCP6, UDP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31


def v1(source: str, port: int = 51000, *, target: str = "203.0.113.9", target_port: int = 8322) -> bytes:
    version = ipaddress.ip_address(source).version
    if version == 6 and target == "203.0.113.9":
        target = "2001:db8::9"
    return f"PROXY TCP{version} {source} {target} {port} {target_port}\r\n".encode()


def raw_v2(command: int, family: int, addresses: bytes, additions: bytes = b"") -> bytes:
    body = addresses + additions
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def addresses(source: str, port: int) -> bytes:
    packed = ipaddress.ip_address(source).packed
    return packed + bytes(len(packed)) + struct.pack("!HH", port, 8322)


def v2(source: str, port: int = 51000, additions: bytes = b"") -> bytes:
    family = TCP4 if ipaddress.ip_address(source).version == 4 else TCP6
    return raw_v2(PROXY, family, addresses(source, port), additions)


def addition(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def summed(source: str, port: int = 51000, before: bytes = b"", after: bytes = b"") -> bytes:
    """With a checksum among its additions."""
    unsummed = v2(source, port, before + addition(0x03, bytes(4)) + after)
    return v2(source, port, before + addition(0x03, crc32c(unsummed).to_bytes(4, "big")) + after)
