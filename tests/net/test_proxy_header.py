"""The PROXY header, version 1 and 2: read whole or cut anywhere, never a byte too many, and refused when hostile."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.net.proxy_header import MAX_V1_BYTES, MAX_V2_BYTES, ProxyHeader, ProxyHeaderReader, crc32c
from tests.proxy_headers import (
    LOCAL,
    PROXY,
    SIGNATURE,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    UNIX,
    UNSPECIFIED,
    addition,
    addresses,
    raw_v2,
    summed,
    v1,
    v2,
)

TIME_BOUND_S = 8.0
MUTATIONS = 20_000
SEED = 20261122
CLIENTS_OWN = b"\x16\x03\x01\x02\x00"
"""What follows the header: the beginning of a TLS handshake."""

FOUR, SIX = "198.51.100.7", "2001:db8::7"
NOOP = addition(0x04, bytes(40))
UNIQUE = addition(0x05, b"0123456789abcdef")
AUTHORITY = addition(0x02, b"video.example")


def read(data: bytes, *, at_most: int = 10_000) -> tuple[ProxyHeader | None, int]:
    """What a listener makes of these bytes, given at most so many at once: the header, and how many were taken.

    The header is None where the bytes end before it does.
    """
    reader, place = ProxyHeaderReader(), 0
    while place < len(data):
        wanted = reader.wanted_bytes
        assert wanted > 0
        taken = data[place : place + min(wanted, at_most)]
        place += len(taken)
        header = reader.receive_data(taken)
        if header is not None:
            return header, place
    return None, place


def outcome(data: bytes, *, at_most: int = 10_000) -> tuple[ProxyHeader | None, int] | str:
    try:
        return read(data, at_most=at_most)
    except RemoteProtocolError:
        return "refused"


GOOD: dict[str, tuple[bytes, tuple[str, int] | None]] = {
    "v1 IPv4": (v1(FOUR), (FOUR, 51000)),
    "v1 IPv6": (v1(SIX), (SIX, 51000)),
    "v1 IPv6 in capitals": (v1("2001:DB8:0:0:0:0:0:7"), (SIX, 51000)),
    "v1 of a client that the balancer heard on IPv6": (v1("::ffff:198.51.100.7"), (FOUR, 51000)),
    "v1, the longest addresses": (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        ("ffff:" * 7 + "ffff", 65535),
    ),
    "v1, port 0": (v1(FOUR, 0), (FOUR, 0)),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1 unknown, with what is to be ignored": (
        b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        None,
    ),
    "v2 IPv4": (v2(FOUR), (FOUR, 51000)),
    "v2 IPv6": (v2(SIX), (SIX, 51000)),
    "v2 of a client that the balancer heard on IPv6": (v2("::ffff:198.51.100.7"), (FOUR, 51000)),
    "v2 with additions": (v2(FOUR, 51000, AUTHORITY + UNIQUE + NOOP), (FOUR, 51000)),
    "v2 with a checksum": (summed(FOUR), (FOUR, 51000)),
    "v2 with a checksum between additions": (summed(SIX, 51000, UNIQUE, NOOP), (SIX, 51000)),
    "v2 of the greatest length": (
        v2(FOUR, 51000, addition(0x04, bytes(MAX_V2_BYTES - 16 - 12 - 3))),
        (FOUR, 51000),
    ),
    "v2 local": (raw_v2(LOCAL, UNSPECIFIED, b""), None),
    "v2 local, with addresses to be ignored": (raw_v2(LOCAL, TCP4, addresses(FOUR, 1)), None),
    "v2 local, with a family to be ignored": (raw_v2(LOCAL, 0xEE, b"\xff" * 7), None),
    "v2 of no family": (raw_v2(PROXY, UNSPECIFIED, b""), None),
    "v2 of no family, with additions": (raw_v2(PROXY, UNSPECIFIED, b"", UNIQUE), None),
    "v2 of a Unix socket": (raw_v2(PROXY, UNIX, bytes(216)), None),
}

BAD: dict[str, bytes] = {
    "an RTSP request": b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "an HTTP request": b"GET /healthz HTTP/1.1\r\n\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "another method": b"PROXYING / RTSP/1.0\r\n\r\n",
    "small letters": b"proxy TCP4 198.51.100.7 203.0.113.9 51000 8322\r\n",
    "no word after": b"PROXY \r\n             ",
    "v1, a third protocol": b"PROXY UDP4 198.51.100.7 203.0.113.9 51000 8322\r\n",
    "v1 nearly unknown": b"PROXY UNKNOWNS\r\n",
    "v1, an address of the other family": b"PROXY TCP4 2001:db8::7 203.0.113.9 51000 8322\r\n",
    "v1, no address": b"PROXY TCP4 198.51.100.700 203.0.113.9 51000 8322\r\n",
    "v1, no target": b"PROXY TCP4 198.51.100.7 203.0.113 51000 8322\r\n",
    "v1, an address in octal": b"PROXY TCP4 198.51.100.007 203.0.113.9 51000 8322\r\n",
    "v1, a zone": b"PROXY TCP6 fe80::1%lo 2001:db8::9 51000 8322\r\n",
    "v1, a name": b"PROXY TCP4 client.example 203.0.113.9 51000 8322\r\n",
    "v1, a port too large": b"PROXY TCP4 198.51.100.7 203.0.113.9 65536 8322\r\n",
    "v1, a target port too large": b"PROXY TCP4 198.51.100.7 203.0.113.9 1 99999\r\n",
    "v1, a port with zeros before": b"PROXY TCP4 198.51.100.7 203.0.113.9 051000 8322\r\n",
    "v1, a port below zero": b"PROXY TCP4 198.51.100.7 203.0.113.9 -1 8322\r\n",
    "v1, Arabic digits": "PROXY TCP4 198.51.100.7 203.0.113.9 \u0661 8322\r\n".encode(),
    "v1, two blanks": b"PROXY TCP4  198.51.100.7 203.0.113.9 51000 8322\r\n",
    "v1, one word too many": b"PROXY TCP4 198.51.100.7 203.0.113.9 51000 8322 1\r\n",
    "v1, one word too few": b"PROXY TCP4 198.51.100.7 203.0.113.9 51000\r\n",
    "v1, a line feed alone": b"PROXY TCP4 198.51.100.7 203.0.113.9 51000 8322\n\r\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * (MAX_V1_BYTES - 15) + b"\r\n",
    "v1 without end": b"PROXY UNKNOWN " + b"x" * 500,
    "v2, nearly its signature": SIGNATURE[:-1] + b"\r" + v2(FOUR)[12:],
    "v2, version 1": raw_v2(0x11, TCP4, addresses(FOUR, 1)),
    "v2, version 3": raw_v2(0x31, TCP4, addresses(FOUR, 1)),
    "v2, a third command": raw_v2(0x22, TCP4, addresses(FOUR, 1)),
    "v2, a fourth family": raw_v2(PROXY, 0x41, addresses(FOUR, 1)),
    "v2, a family without its transport": raw_v2(PROXY, 0x10, addresses(FOUR, 1)),
    "v2, a transport without its family": raw_v2(PROXY, 0x01, b""),
    "v2, datagrams": raw_v2(PROXY, UDP4, addresses(FOUR, 1)),
    "v2, datagrams of IPv6": raw_v2(PROXY, UDP6, addresses(SIX, 1)),
    "v2, shorter than its addresses": raw_v2(PROXY, TCP6, addresses(FOUR, 1)),
    "v2, a Unix socket's cut off": raw_v2(PROXY, UNIX, bytes(215)),
    "v2, an addition's head cut off": v2(FOUR, 1, UNIQUE + b"\x04\x00"),
    "v2, an addition cut off": v2(FOUR, 1, UNIQUE[:-1]),
    "v2, a wrong checksum": v2(FOUR, 1, addition(0x03, b"\x00\x00\x00\x01")),
    "v2, a checksum of three bytes": v2(FOUR, 1, addition(0x03, b"\x00\x00\x01")),
    "v2, a source changed after its checksum": summed(FOUR).replace(b"\xc6\x33\x64\x07", b"\xc6\x33\x64\x08"),
    "v2 too long": v2(FOUR, 1, addition(0x04, bytes(MAX_V2_BYTES - 16 - 12 - 2))),
    "v2, as long as can be said": SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("at_most", [1, 2, 7, 10_000])
def test_a_header_is_read_however_cut_and_what_follows_is_left(name: str, at_most: int) -> None:
    header, source = GOOD[name]
    assert read(header + CLIENTS_OWN, at_most=at_most) == (ProxyHeader(source), len(header))
    for end in range(len(header) if len(header) < 300 else 30):
        assert read(header[:end], at_most=at_most) == (None, end)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header_is_refused_however_cut(name: str) -> None:
    assert outcome(BAD[name]) == "refused"
    assert outcome(BAD[name], at_most=1) == "refused"


def test_what_is_no_header_is_refused_at_its_first_wrong_byte() -> None:
    for first in range(256):
        hopeful = first in {ord("P"), ord("\r")}
        assert (outcome(bytes([first])) != "refused") is hopeful


def test_who_gives_more_than_is_wanted_has_a_bug() -> None:
    reader = ProxyHeaderReader()
    with pytest.raises(LocalProtocolError):
        reader.receive_data(v2(FOUR))


def test_the_checksum_is_the_published_one() -> None:
    # RFC 3720 appendix B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(st.ip_addresses(), st.integers(0, 65535), st.booleans(), st.integers(1, 40))
def test_any_address_comes_out_as_it_went_in(address: object, port: int, newer: bool, at_most: int) -> None:
    source = str(address)
    header = summed(source, port) if newer else v1(source, port)
    read_header, taken = read(header + CLIENTS_OWN, at_most=at_most)
    assert read_header is not None
    assert read_header.source is not None
    assert taken == len(header)
    assert read_header.source[1] == port
    assert read_header.source[0] in {source, source.removeprefix("::ffff:")} or "ffff:" in source


@given(st.binary(max_size=120), st.sampled_from([b"", SIGNATURE, SIGNATURE + b"\x21\x11\x00", b"PROXY TCP4 "]))
def test_any_bytes_mean_the_same_however_cut(data: bytes, beginning: bytes) -> None:
    said = beginning + data
    whole = outcome(said)
    assert outcome(said, at_most=1) == whole == outcome(said, at_most=5)


@pytest.mark.usefixtures("uncounted")
def test_twenty_thousand_mutations_end_in_declared_ways() -> None:
    chance, starts = random.Random(SEED), [header for header, _ in GOOD.values() if len(header) < 400]
    refused = 0
    for _ in range(MUTATIONS):
        data = bytearray(chance.choice(starts) + CLIENTS_OWN)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[place] = chance.randrange(256)
                case 1:
                    del data[place : place + chance.randint(1, 4)]
                case _:
                    data[place:place] = chance.choice((b" ", b"\r\n", b"\x00", b"\xff\xff", data[:16]))
        whole = outcome(bytes(data))
        assert outcome(bytes(data), at_most=chance.randint(1, 20)) == whole
        refused += whole == "refused"
    assert MUTATIONS * 0.2 < refused < MUTATIONS * 0.9


@pytest.mark.usefixtures("uncounted")
def test_the_time_grows_with_the_bytes_and_no_faster() -> None:
    started = time.thread_time()
    for additions in (addition(0x04, b"") * 1300, addition(0x04, bytes(4000))):
        for _ in range(20):
            read(v2(FOUR, 1, additions), at_most=1)
    outcome(b"PROXY UNKNOWN " + b" " * 60_000)
    assert time.thread_time() - started < TIME_BOUND_S
