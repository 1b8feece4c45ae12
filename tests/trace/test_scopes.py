"""Who sees what of the history: every kind of entry against every scope, as a matrix (T11, L19, C17)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from auth.trace import Entry, Kind
from auth.trace.scopes import Scope, is_of_pp, seen

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
WHOLE, MASKED, COMMON, NOTHING = "whole", "masked", "common", "nothing"

PP_ACCESS: dict[str, Any] = {
    "agent": "pp-0001",
    "account": "pvpp-vms",
    "attribution": "agent-asserted",
    "camera": "mairie",
    "reason": "L251-2-5",
    "source": "198.51.100.7",
    "detail": {"role": "machine", "service": "DOPC", "site": "PP-CITE", "reference": "PP-1", "slot": "3/10"},
}
SYN_ACT: dict[str, Any] = {"account": "syn-ops-01", "source": "10.78.0.5", "detail": {"role": "ops", "reason": "essai"}}

# kind, members, what SYN's auditor sees, what PP's sees
MATRIX: list[tuple[Kind, dict[str, Any], str, str]] = [
    *((kind, PP_ACCESS, MASKED, WHOLE) for kind in Kind
      if kind.value.startswith(("stream.", "reservation.", "recording.", "export."))
      and kind is not Kind.STREAM_UNMASKED),
    (Kind.ASSERTION_REFUSED, PP_ACCESS, MASKED, WHOLE),
    (Kind.AUTH_SUCCEEDED, PP_ACCESS, MASKED, WHOLE),
    (Kind.TRACE_READ, {"account": "pp-auditor", "detail": {"scope": "PP"}}, WHOLE, WHOLE),
    (Kind.STREAM_UNMASKED, SYN_ACT, WHOLE, NOTHING),
    (Kind.AUTH_SUCCEEDED, SYN_ACT, WHOLE, NOTHING),
    (Kind.AUTH_FAILED, {"source": "198.51.100.7", "detail": {"reason": "unknown-account"}}, WHOLE, NOTHING),
    (Kind.TRACE_READ, {"account": "syn-auditor-01", "detail": {"scope": "SYN"}}, WHOLE, NOTHING),
    (Kind.REGISTRY_CHANGED, {"camera": "mairie", "detail": {"firmware": "5.7"}}, WHOLE, NOTHING),
    (Kind.CONFIG_CHANGED, {"detail": {"files": ["tls.key"]}}, WHOLE, NOTHING),
    (Kind.INTERVENTION_STARTED, SYN_ACT, WHOLE, NOTHING),
    (Kind.BREAK_GLASS_USED, SYN_ACT, WHOLE, NOTHING),
    (Kind.AGENT_ADDED, SYN_ACT, WHOLE, NOTHING),
    *((kind, SYN_ACT, WHOLE, COMMON) for kind in Kind
      if kind.value.startswith(
          ("interconnection.", "incident.", "notice.", "annex.", "change.", "convention.", "node."))),
    (Kind.HEARTBEAT, {}, WHOLE, COMMON),
    (Kind.CLOCK_STEPPED, {"detail": {"step_us": 3}}, WHOLE, COMMON),
    (Kind.TRACE_PURGED, SYN_ACT, WHOLE, COMMON),
]  # fmt: skip


def entry(kind: Kind, members: dict[str, Any]) -> Entry:
    return Entry(kind=kind, node="gw1", n=3, at=NOW, **members)


def shown(entry: Entry, other: Entry | None) -> str:
    if other is None:
        return NOTHING
    if other == entry:
        return WHOLE
    secrets = ("pp-0001", "DOPC", "PP-CITE", "PP-1", "L251-2-5")
    if is_of_pp(entry):
        assert not any(secret in str(other.to_json()) for secret in secrets)
        assert other.detail.get("slot") == entry.detail.get("slot")
        return MASKED
    assert "10.78" not in str(other.to_json())
    assert other.account in (None, "SYN")
    return COMMON


@pytest.mark.parametrize(("kind", "members", "syn", "pp"), [pytest.param(*row, id=row[0].value) for row in MATRIX])
def test_each_scope_sees_its_own(kind: Kind, members: dict[str, Any], syn: str, pp: str) -> None:
    # T11, L19, C17
    written = entry(kind, members)
    assert shown(written, seen(written, Scope.SYN)) == syn
    assert seen(written, Scope.SYN, unmasked=True) == written
    expected = {WHOLE} if pp != COMMON else {COMMON, WHOLE}  # nothing of SYN's in it: nothing to take out
    assert shown(written, seen(written, Scope.PP)) in ({pp} if pp != COMMON else expected)
    assert seen(written, Scope.INSPECTION) == written


def test_a_personal_account_is_masked_with_its_agent() -> None:
    # L19: its name is the agent's
    members = {**PP_ACCESS, "account": "pp-operator-01", "attribution": "agent-authenticated"}
    masked = seen(entry(Kind.STREAM_GRANTED, members), Scope.SYN)
    assert masked is not None
    assert (masked.account, masked.camera) == (None, "mairie")


def test_who_was_relieved_and_whose_slots_were_passed_on_is_masked_too() -> None:
    # L19, S15, S16
    detail = {"from_agent": "pp-0002", "from_account": "pp-0002", "from_service": "DRPJ", "motive": "G7", "slots": 2}
    for kind in (Kind.STREAM_HANDED_OVER, Kind.RESERVATION_PASSED):
        masked = seen(entry(kind, {**PP_ACCESS, "detail": detail}), Scope.SYN)
        assert masked is not None
        assert masked.detail == {"slots": 2}


def test_who_of_pp_ended_a_stream_is_masked_and_who_of_syn_did_is_not() -> None:
    # L19
    for cause, told in (("closed-on-request", None), ("closed-by-syn", "syn-ops-01")):
        by = told or "pp-supervisor-01"
        ended = seen(entry(Kind.STREAM_STOPPED, {**PP_ACCESS, "detail": {"cause": cause, "by": by}}), Scope.SYN)
        assert ended is not None
        assert ended.detail.get("by") == told
    enrolled = {"detail": {"role": "operator", "for": "pp-0001", "by": "syn-rssi-01"}}
    recorded = seen(entry(Kind.AGENT_ENROLLED, enrolled), Scope.SYN)
    assert recorded is not None
    assert recorded.detail["by"] == "syn-rssi-01"


def test_whom_pps_auditor_looked_for_is_masked() -> None:
    # L19
    read = {"account": "pp-auditor-01", "detail": {"what": "entries", "scope": "PP", "asked": {"agent": "pp-0001"}}}
    told = seen(entry(Kind.TRACE_READ, read), Scope.SYN)
    assert told is not None
    assert told.detail == {"what": "entries", "scope": "PP"}


def test_whom_syns_auditor_looked_for_with_a_motive_is_masked_to_the_next() -> None:
    # L19
    asked = {"agent": "pp-0001", "camera": "mairie"}
    read = entry(Kind.TRACE_READ, {"account": "syn-auditor-01", "detail": {"scope": "SYN", "asked": asked}})
    told = seen(read, Scope.SYN)
    assert told is not None
    assert (told.account, told.detail) == ("syn-auditor-01", {"scope": "SYN", "asked": {"camera": "mairie"}})
    assert seen(read, Scope.SYN, unmasked=True) == seen(read, Scope.INSPECTION) == read


def test_pp_does_not_read_who_of_syn_ended_its_stream() -> None:
    # C16, T11
    members = {**PP_ACCESS, "detail": {"cause": "closed", "by": "syn-ops-01"}}
    ended = seen(entry(Kind.STREAM_STOPPED, members), Scope.PP)
    assert ended is not None
    assert ended.detail == {"cause": "closed"}


def test_every_kind_is_decided() -> None:
    # T11: what is of no list is SYN's own, and PP does not see it
    for kind in Kind:
        assert seen(entry(kind, {}), Scope.SYN) is not None
        assert seen(entry(kind, {}), Scope.INSPECTION) is not None
