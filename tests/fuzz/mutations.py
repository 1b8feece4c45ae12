"""How transcripts are spoilt: their requests before they are signed, and their bytes on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeAlias

from tests.fuzz.transcripts import SESSION, Item, Step

METHODS = (
    *("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"),
    *("ANNOUNCE", "RECORD", "REDIRECT", "PLAY_NOTIFY", "setup", "GET", "POST", "M" * 32, "M" * 33, "$", "é"),
)
VALUES: dict[str, tuple[str, ...]] = {
    "CSeq": ("", "0", "-1", "99999999999999999999", "1 2", "é", "1, 2", "\x00"),
    "Session": ("", ";", SESSION + ";timeout=1", SESSION[::-1], "0" * 32, "x" * 4000, f"{SESSION}, {SESSION}", "\x7f"),
    "Transport": (
        "",
        ",",
        "RTP/AVP/TCP",
        "RTP/AVP/TCP;unicast;interleaved=0-0",
        "RTP/AVP/TCP;unicast;interleaved=254-255",
        "RTP/AVP/TCP;unicast;interleaved=255-256",
        "RTP/AVP/TCP;unicast;interleaved=1-0;mode=record",
        "RTP/AVP;unicast;client_port=0-65536,RTP/AVP/TCP;unicast",
        "RTP/AVP;unicast;client_port=50000-50001;destination=192.0.2.1",
        "RTP/AVP;multicast;ttl=127",
        "RTP/SAVP;unicast;interleaved=2-3",
        ",".join(["RTP/AVP/TCP;unicast;interleaved=4-5"] * 500),
        "RTP/AVP/TCP;" + ";" * 3000,
        'RTP/AVP/TCP;x="',
    ),
    "Range": ("npt=now-", "npt=-", "clock=20261301T000000Z-", "npt=" + "9" * 400, "smpte=0:0:0", "npt=1e309-", "="),
    "Scale": ("0", "-1", "nan", "inf", "1e400"),
    "Content-Length": ("-1", "1", "70000", "9" * 30, "0x10", "1, 1", " "),
    "Require": ("onvif-replay", "implicit-play", "x" * 5000, "\x01"),
    "Accept": ("", "text/html", "*/*", "application/sdp;q=0"),
    "Content-Type": ("text/parameters", "application/x-rtsp-tunnelled"),
    "Connection": ("close", "upgrade"),
    "Authorization": ("", "Digest", "Basic eDp5", 'Digest username="', "Digest " + 'a="b",' * 2000),
}
BODIES = (b"", b"\r\n", b"position\r\n", b"\x00" * 64, b"OPTIONS * RTSP/1.0\r\n\r\n", b"x" * 65_537)
HUGE_BYTES = (1_000, 60_000, 65_600, 200_000)
OTHER_TARGETS = (
    *("*", "/", "", "rtsp://", "rtsp://[::1", "rtsp://h:99999/live/x", "rtsp://u:p@h/live/x", "http://h/live/x"),
    *("rtsp://h/live/%00", "rtsp://h/live/../..", "rtsp://h/live/" + "a" * 4100, "rtsp://h/live/é", 'rtsp://h/"'),
)
SUFFIXES = (
    *("/", "/main", "/sub", "/none", "/trackID=0", "/trackID=1", "/trackID=0/trackID=0", "?start=20261120T101500Z"),
    *("?", "#", "%2e%2e", "/main/trackID=0?x=1", "//"),
)

Mutation: TypeAlias = Callable[[Random, list[Item]], None]


def mutated(chance: Random, items: Sequence[Item], others: Sequence[Sequence[Item]]) -> list[Item]:
    """A transcript with up to four of its parts changed; one in six is left as it was."""
    changed = list(items)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        if chance.random() < 0.1:
            changed[chance.randrange(len(changed) + 1) :] = chance.choice(others)
        chance.choice(_MUTATIONS)(chance, changed)
    return changed


def spoilt(chance: Random, data: bytes) -> bytes:
    """Bytes after one to four faults of a line, or of a hand, have come over them."""
    spoiling = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if spoiling:
            chance.choice(_FAULTS)(chance, spoiling)
    return bytes(spoiling)


def rubbish(chance: Random) -> bytes:
    """What may stand between requests: frames, whole, cut or lying about their size, or noise."""
    size = chance.choice((0, 1, 12, 200, 65_535))
    payload = chance.randbytes(size)
    told = chance.choice((size, size, size, 65_535, 0))
    frame = b"$" + bytes([chance.choice((0, 1, 7, 255))]) + told.to_bytes(2, "big") + payload
    return chance.choice((frame, frame * 3, frame[: chance.randint(1, 5)], chance.randbytes(40), b"\r\n" * 50))


def _drop(chance: Random, items: list[Item]) -> None:
    if items:
        del items[chance.randrange(len(items))]


def _repeat(chance: Random, items: list[Item]) -> None:
    if items:
        items.insert(chance.randrange(len(items)), chance.choice(items))


def _swap(chance: Random, items: list[Item]) -> None:
    if items:
        a, b = chance.randrange(len(items)), chance.randrange(len(items))
        items[a], items[b] = items[b], items[a]


def _interleave(chance: Random, items: list[Item]) -> None:
    items.insert(chance.randrange(len(items) + 1), rubbish(chance))


def _of_a_step(change: Callable[[Random, Step], Step]) -> Mutation:
    def mutate(chance: Random, items: list[Item]) -> None:
        places = [place for place, item in enumerate(items) if isinstance(item, Step)]
        if places:
            place = chance.choice(places)
            step = items[place]
            if isinstance(step, Step):
                items[place] = change(chance, step)

    return mutate


def _method(chance: Random, step: Step) -> Step:
    return replace(step, method=chance.choice(METHODS))


def _target(chance: Random, step: Step) -> Step:
    if chance.random() < 0.6:
        return replace(step, uri=step.uri + chance.choice(SUFFIXES))
    if chance.random() < 0.3:
        return replace(step, uri=step.uri.replace("/live/", "/recorded/"))
    return replace(step, uri=chance.choice(OTHER_TARGETS))


def _value(chance: Random, step: Step) -> Step:
    name = chance.choice(tuple(VALUES))
    value = chance.choice(VALUES[name])
    others = tuple(field for field in step.fields if field[0] != name)
    return replace(step, fields=((name, value), *(step.fields if chance.random() < 0.3 else others)))


def _without_a_field(chance: Random, step: Step) -> Step:
    kept = list(step.fields)
    if kept:
        del kept[chance.randrange(len(kept))]
    return replace(step, fields=tuple(kept))


def _huge(chance: Random, step: Step) -> Step:
    size = chance.choice(HUGE_BYTES)
    huge = [("X-Huge", "h" * size), ("h" * size, "x"), *[("X", "y")] * (size // 100)]
    extra = tuple(huge[2:]) if chance.random() < 0.4 else (chance.choice(huge[:2]),)
    return replace(step, fields=(*step.fields, *extra))


def _folded(chance: Random, step: Step) -> Step:
    fold = chance.choice(("\r\n ", "\n\t", "\r\n", "\r", "\n"))
    return replace(step, fields=tuple((name, value.replace(";", f";{fold}")) for name, value in step.fields))


def _body(chance: Random, step: Step) -> Step:
    body = chance.choice(BODIES)
    told = len(body) + chance.choice((0, 0, 0, 1, -1))
    return replace(step, body=body, fields=(*step.fields, ("Content-Length", str(told))))


_MUTATIONS: tuple[Mutation, ...] = (
    *(_drop, _repeat, _swap, _interleave),
    *(_of_a_step(change) for change in (_method, _target, _value, _value, _without_a_field, _huge, _folded, _body)),
)


def _flip_bits(chance: Random, data: bytearray) -> None:
    for _ in range(chance.choice((1, 1, 3, 20))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(chance: Random, data: bytearray) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 2, 10, len(data)))]


def _double(chance: Random, data: bytearray) -> None:
    start = chance.randrange(len(data))
    part = data[start : start + chance.choice((1, 20, 500))]
    data[start:start] = part * chance.choice((1, 1, 50))


def _insert(chance: Random, data: bytearray) -> None:
    place = chance.randrange(len(data))
    data[place:place] = chance.choice((rubbish(chance), chance.randbytes(3), b"\x00", b"\r", b"\n", b":", b"\xff\xfe"))


def _bare_line_feeds(chance: Random, data: bytearray) -> None:
    data[:] = data.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\n\r", b"\r\r\n")))


_FAULTS: tuple[Callable[[Random, bytearray], None], ...] = (
    _flip_bits,
    _flip_bits,
    _cut,
    _double,
    _insert,
    _bare_line_feeds,
)
