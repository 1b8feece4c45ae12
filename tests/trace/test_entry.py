"""One canonical form for each entry, and a closed list of kinds."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.trace import Draft, Entry, EntryRefused, Kind, TraceDamaged
from auth.trace.kinds import KIND_BY_CODE
from auth.trace.layout import MAX_PAYLOAD_BYTES

AT = datetime(2026, 11, 21, 10, 15, 0, 42, tzinfo=UTC)
FAMILIES = {
    "acceptance", "agent", "annex", "block", "break-glass", "change", "convention", "correspondence", "habilitation",
    "hold", "incident", "intervention", "notice", "order", "request", "reservation",
    "retention",
}  # fmt: skip
DECLARED = {
    "action.refused", "assertion.accepted", "assertion.key-declared", "assertion.key-revoked", "assertion.refused",
    "auth.failed", "auth.locked", "auth.succeeded",
    "clock.reference", "clock.stepped", "config.changed",
    "export.cancelled", "export.downloaded", "export.failed", "export.made", "export.refused", "export.removed",
    "export.requested", "heartbeat", "interconnection.cut",
    "interconnection.degraded", "interconnection.restoration-proposed", "interconnection.restoration-refused",
    "interconnection.restored", "node.recovered", "node.started", "node.stopped",
    "recording.destroyed", "recording.disk-low", "recording.gap", "recording.purged-early",
    "recording.searched", "registry.changed", "session.closed", "session.opened", "siem.caught-up", "siem.lagging",
    "siem.opened", "stream.described",
    "stream.granted", "stream.handed-over", "stream.moved", "stream.refused", "stream.requested",
    "stream.resumed", "stream.started", "stream.stopped", "stream.unmasked", "trace.anchored",
    "trace.continued", "trace.exported", "trace.key-rotated",
    "trace.purged", "trace.read",
}  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
members = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def entry(**changed: Any) -> Entry:
    return Entry(**{"kind": Kind.STREAM_REFUSED, "node": "gw1", "n": 412, "at": AT, **changed})


def test_an_entry_is_what_the_interface_shows() -> None:
    shown = entry(refusal="cap-reached", source="198.51.100.7", mode="live").to_json()
    assert list(shown) == [
        "node", "n", "at", "kind", "code", "agent", "account", "attribution", "camera", "stream", "mode",
        "reason", "refusal", "source", "detail",
    ]  # fmt: skip
    assert shown | {} == {
        "node": "gw1", "n": 412, "at": "2026-11-21T10:15:00.000042Z", "kind": "stream.refused", "code": 2103,
        "agent": None, "account": None, "attribution": None, "camera": None, "stream": None, "mode": "live",
        "reason": None, "refusal": "cap-reached", "source": "198.51.100.7", "detail": {},
    }  # fmt: skip
    assert (
        json.dumps(shown, separators=(",", ":")).encode()
        == entry(refusal="cap-reached", source="198.51.100.7", mode="live").payload()
    )


def test_detail_is_sorted_at_every_depth() -> None:
    payload = entry(detail={"b": [{"d": 1, "c": 2}], "a": "é"}).payload()
    assert payload.endswith('"detail":{"a":"é","b":[{"c":2,"d":1}]}}'.encode())


@given(st.sampled_from(Kind), members, members, members, st.dictionaries(st.text('abc"\\é\n'), json_values, max_size=3))
def test_an_entry_survives_its_canonical_form(
    kind: Kind, agent: str | None, camera: str | None, reason: str | None, detail: dict[str, Any]
) -> None:
    given_entry = entry(kind=kind, agent=agent, camera=camera, reason=reason, detail=detail)
    assert Entry.from_payload(given_entry.payload()) == given_entry


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"n":412', b'"n": 412'),
        (b'"n":412', b'"n":412.0'),
        (b'"n":412', b'"n":"412"'),
        (b'"code":2103', b'"code":2104'),
        (b'"kind":"stream.refused"', b'"kind":"stream.forgotten"'),
        (b'"agent":null', b'"agent":null,"agent":null'),
        (b'"agent":null,"account":null', b'"account":null,"agent":null'),
        (b'"agent":null,', b""),
        (b"000042Z", b"000042+00:00"),
        (b"2026", b"noon"),
        (b'"gw1"', b'"gw 1"'),
        (b'"gw1"', b"7"),
        (b'"detail":{}', b'"detail":[]'),
        (b'"detail":{}', b'"detail":{"b":1,"a":1}'),
        (b'"detail":{}', b'"detail":{"a":1e400}'),
        (b'"detail":{}', b'"detail":{"a":"\\u00e9"}'),
        (b'"detail":{}}', b'"detail":{}'),
        (b"{", b"["),
        (b"{", b"\xff"),
    ],
)
def test_any_other_form_is_no_entry(old: bytes, new: bytes) -> None:
    # T03: an entry has one reading
    payload = entry().payload()
    assert old in payload
    with pytest.raises(TraceDamaged):
        Entry.from_payload(payload.replace(old, new, 1))


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"assertion": "x" * MAX_PAYLOAD_BYTES}, "more than the 16128"),
        ({"ratio": float("nan")}, "not JSON"),
        ({"camera": object()}, "not JSON"),
        ({"name": "\ud800"}, "not JSON"),
        ({"a": 1, 2: 3}, "not JSON"),
    ],
)
def test_a_draft_that_can_be_no_entry_is_refused(detail: dict[str, Any], message: str) -> None:
    with pytest.raises(EntryRefused, match=message):
        Draft(kind=Kind.HEARTBEAT, detail=detail).body()


def test_the_largest_draft_of_the_longest_stamp_fits() -> None:
    room = MAX_PAYLOAD_BYTES - 256 - len(Draft(kind=Kind.HEARTBEAT, detail={"a": ""}).body())
    longest = max(Kind, key=len)
    largest = entry(kind=longest, node="n" * 64, n=10**12 - 1, detail={"a": "x" * room})
    assert MAX_PAYLOAD_BYTES - 256 < len(largest.payload()) <= MAX_PAYLOAD_BYTES


def test_the_kinds_are_those_of_the_interface() -> None:
    names = {kind.value for kind in Kind}
    assert {name for name in names if name.split(".")[0] not in FAMILIES} == DECLARED
    assert {name.split(".")[0] for name in names - DECLARED} == FAMILIES


def test_the_numbers_are_stable_and_each_its_own() -> None:
    # A number once given is in leaves that are never rewritten: this list only grows.
    assert len(KIND_BY_CODE) == len(Kind)
    assert Kind("stream.refused") is Kind.STREAM_REFUSED is KIND_BY_CODE[2103]
    assert all(re.fullmatch(r"[a-z]+([.-][a-z]+)*", kind.value) for kind in Kind)
    recorded = (Path(__file__).parent / "kinds.txt").read_text().splitlines()
    assert [f"{kind.code} {kind.value}" for kind in sorted(Kind, key=lambda kind: kind.code)] == recorded
