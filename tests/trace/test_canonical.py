"""An entry has one reading: other bytes, though their leaf commits to them, are no entry to anyone (T03, T06)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.trace import Draft, EntryRefused, Kind, TraceDamaged
from auth.trace.canonical import MAX_DEPTH, PLAIN_MEMBERS
from auth.trace.entry import Entry, unix_us
from auth.trace.scan import PayloadForm
from tests.trace.journals import NODE, open_journal, write_journal
from tests.trace.tampering import append_payload, copy, verdict
from tests.trace.test_entry import AT, entry, json_values, members

NEWER = 7777


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return {"a": value}


def recognised(payload: bytes, code: int = Kind.STREAM_REFUSED.code) -> bool:
    try:
        PayloadForm(NODE).check(412, unix_us(AT), code, bytes(32) + payload)
    except TraceDamaged:
        return False
    return True


def read(payload: bytes) -> bool:
    try:
        return Entry.from_payload(payload).n == 412
    except TraceDamaged:
        return False


@given(members, members, st.dictionaries(st.text('abc"\\é\n\x01', max_size=3), json_values, max_size=20))
def test_what_is_written_is_recognised(agent: str | None, reason: str | None, detail: dict[str, Any]) -> None:
    # T03
    assert recognised(entry(agent=agent, reason=reason, detail=detail).payload())


PAYLOAD = entry(agent="pp-\u00e9", camera='a"b\\c\n\x01', detail={"a": [1, {"b": None, "c": 2.5}], "d": "e"}).payload()
FLAT = entry(agent="pp-1", detail={"a": 1, "b": "x", "c": None, "d": True}).payload()


PIECES = [
    b"", b" ", b"null", b"true", b"-0", b"01", b"1.0", b"1e5", b"1E400", b"NaN", b"9" * 30, b'"', b"\\", b"\\u00e9",
    b"\\/", b"\\u0001", b"\\u000A", b"\\ud800", b"\xc3\xa9", b"\xed\xa0\x80", b"\xff", b"\0", b"\x7f", b"{", b"}", b"[",
    b"]", b"{}", b"[]", b",", b":", b',"a":1', b'"a":1,', b',"z":1', b',"Z":1',
]  # fmt: skip


@given(st.sampled_from([PAYLOAD, FLAT]), st.data())
def test_what_is_recognised_is_what_can_be_read(payload: bytes, data: st.DataObject) -> None:
    # T03: the verifier's way, which decodes little, and the reader's, which writes all of it anew
    start = data.draw(st.integers(payload.index(b'"agent"'), len(payload)))
    end = data.draw(st.integers(start, min(len(payload), start + 12)))
    piece = data.draw(st.sampled_from(PIECES) | st.binary(max_size=3))
    changed = payload[:start] + piece + payload[end:]
    assert recognised(changed) == read(changed)


def body(**changed: str) -> bytes:
    """The body of a plain entry, with other texts in the places of its members."""
    return b",".join(f'"{name}":{changed.get(name, value)}'.encode() for name, value in PLAIN.items()) + b"}"


PLAIN = {**dict.fromkeys(PLAIN_MEMBERS, "null"), "detail": "{}"}

NO_ENTRIES = {
    "rubbish": b"this is \xff no json",
    "nothing": b"",
    "an end": b"}",
    "two agents": body().replace(b'"agent":null', b'"agent":"pp-1","agent":"pp-2"'),
    "two members of the detail": body(detail='{"a":1,"a":2}'),
    "two members deeper": body(detail='{"a":{"b":1,"b":2}}'),
    "no members": b'"agent":"pp-1"}',
    "a member more": body(detail='{},"more":1'),
    "another order": body(detail='{"b":1,"a":2}'),
    "another order deeper": body(detail='{"a":[{"c":1,"b":2}]}'),
    "white space": body(detail="{ }"),
    "a detail that is a list": body(detail="[]"),
    "a number for a text": body(agent="7"),
    "a needless escape": body(agent='"\\u0041"'),
    "half a pair": body(agent='"\\ud800"'),
    "half a pair in the detail": body(detail='{"a":"\\ud800"}'),
    "no UTF-8": body(agent='"é"').replace("é".encode(), b"\xe9"),
    "infinity": body(detail='{"a":1e400}'),
    "no number": body(detail='{"a":NaN}'),
    "digits without end": body(detail='{"a":' + "9" * 5_000 + "}"),
    "too deep": body(detail=json.dumps(nested(MAX_DEPTH + 1), separators=(",", ":"))),
    "far too deep": body(detail='{"a":' + "[" * 8_000 + "]" * 8_000 + "}"),
    "too long": body(detail=f'{{"a":"{"x" * 16_000}"}}'),
    "more after it": body() + b" ",
}


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    asyncio.run(write_journal(tmp_path / "trace", 1))
    return tmp_path / "trace"


def add(folder: Path, rest: bytes, *, kind: str = "stream.requested", code: int = Kind.STREAM_REQUESTED.code) -> None:
    """Add an entry that nobody signed, of whatever follows its stamp."""
    at = json.loads(asyncio.run(first_payload(folder)))["at"]
    stamp = f'{{"node":"{NODE}","n":1,"at":"{at}","kind":"{kind}","code":{code},'
    append_payload(folder, code, stamp.encode() + rest)


async def first_payload(folder: Path) -> bytes:
    async with await open_journal(copy(folder, "read")) as journal:
        return (await journal.reader().entry(0)).payload()


@pytest.mark.parametrize("rest", [pytest.param(rest, id=name) for name, rest in NO_ENTRIES.items()])
def test_what_is_no_entry_is_invalid_and_not_taken_over(signed: Path, rest: bytes) -> None:
    # T03, T06: signed at the next start, it would make the journal unreadable for good
    add(signed, rest)
    assert verdict(signed) == ("invalid", 1)
    with pytest.raises(TraceDamaged) as caught:
        asyncio.run(open_journal(signed))
    assert caught.value.first_bad == 1


def test_what_is_an_entry_is_taken_over(signed: Path) -> None:
    add(signed, body(detail=json.dumps(nested(MAX_DEPTH), separators=(",", ":"))))
    assert verdict(signed) == ("unanchored", None)

    async def reopened() -> Entry:
        async with await open_journal(signed) as journal:
            return await journal.reader().entry(1)

    assert asyncio.run(reopened()).detail == nested(MAX_DEPTH)


@pytest.mark.parametrize(
    ("kind", "rest", "expected"),
    [
        ("stream.teleported", body(), ("unanchored", None)),
        ("stream.teleported", body(detail='{"b":1,"a":2}'), ("invalid", 1)),
        ("stream.teleported", b'"agent":"pp-1"}', ("invalid", 1)),
        ("stream.requested", body(), ("invalid", 1)),
        ("", body(), ("invalid", 1)),
        ("Stream", body(), ("invalid", 1)),
    ],
)
def test_a_newer_kind_has_a_name_of_its_own_and_the_same_form(
    signed: Path, kind: str, rest: bytes, expected: tuple[str, int | None]
) -> None:
    # T03, T06; and unsigned it is not taken over by a program that could not read it
    add(signed, rest, kind=kind, code=NEWER)
    assert verdict(signed) == expected
    with pytest.raises(TraceDamaged) as caught:
        asyncio.run(open_journal(signed))
    assert caught.value.first_bad == 1


@pytest.mark.parametrize("detail", [nested(MAX_DEPTH + 1), {"a": {2: 1, 10: 1}}, nested(5_000)])
def test_a_draft_that_would_be_read_otherwise_is_refused(detail: dict[str, Any]) -> None:
    # T03: what this program writes, it can read
    with pytest.raises(EntryRefused):
        Draft(kind=Kind.HEARTBEAT, detail=detail).body()
