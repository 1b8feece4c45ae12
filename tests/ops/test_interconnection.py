"""The interconnection's states: who may change what, and which of two holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import (
    DamagedState,
    DegradationRefused,
    DrillRefused,
    IncidentReused,
    NothingToRestore,
    OfficerRequired,
    PersonRequired,
    TransitionRefused,
    WrongIncident,
)
from ops.interconnection import (
    MAX_SETTLED,
    Author,
    Ground,
    InterconnectionState,
    Status,
    cut,
    degrade,
    first_open,
    merge,
    restore,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_cut(
    current: InterconnectionState, incident: str, ground: Ground = Ground.CRITICAL_INCIDENT, by: Author = Author.OPS
) -> InterconnectionState:
    return cut(current, ground=ground, reason="fuite", by=by, since=NOON, incident=incident)


def a_restoration(current: InterconnectionState, incident: str, by: Author = Author.OPS) -> InterconnectionState:
    return restore(current, incident=incident, reason="résolu", by=by, since=NOON)


INCIDENTS = st.sampled_from(["i1", "i2", "i3", "i4"])


@st.composite
def histories(draw: st.DrawFn, start: InterconnectionState | None = None) -> InterconnectionState:
    """Any state that a series of accepted transitions leads to."""
    state = start or first_open(NOON)
    for _ in range(draw(st.integers(0, 4))):
        try:
            if draw(st.booleans()):
                state = a_cut(state, draw(INCIDENTS), draw(st.sampled_from(Ground)), draw(st.sampled_from(Author)))
            else:
                state = a_restoration(state, draw(INCIDENTS), draw(st.sampled_from(Author)))
        except TransitionRefused:
            continue
    return state


@st.composite
def diverged(draw: st.DrawFn) -> tuple[InterconnectionState, InterconnectionState]:
    """Two states of nodes that went apart after a common past."""
    past = draw(histories())
    return draw(histories(past)), draw(histories(past))


def test_one_person_cuts_and_the_cut_names_its_ground() -> None:
    # C10
    for ground in (Ground.CRITICAL_INCIDENT, Ground.SECURITY, Ground.MAINTENANCE, Ground.END):
        state = a_cut(first_open(NOON), "i1", ground)
        assert (state.state, state.ground, state.incident, state.closed) == (Status.CUT, ground, "i1", True)


def test_the_calendar_ends_the_convention() -> None:
    # C18
    state = a_cut(first_open(NOON), "i1", Ground.END, Author.CALENDAR)
    assert state.state is Status.OUT_OF_CONVENTION
    assert state.closed


def test_a_drill_closes_nothing_and_its_end_changes_nothing() -> None:
    # N14
    drill = a_cut(first_open(NOON), "i1", Ground.DRILL)
    assert (drill.state, drill.incident, drill.closed) == (Status.OPEN, "i1", False)
    after = a_restoration(drill, "i1")
    assert (after.state, after.incident, after.ground) == (Status.OPEN, None, None)
    degraded = degrade(first_open(NOON), mode="live-only", reason="recorder", by=Author.OPS, since=NOON)
    after = a_restoration(a_cut(degraded, "i2", Ground.DRILL), "i2")
    assert (after.state, after.mode) == (Status.DEGRADED, "live-only")


def test_a_degraded_mode_has_its_name_and_takes_a_person_and_an_open_interconnection() -> None:
    # P01
    opened = first_open(NOON)
    degraded = degrade(opened, mode="live-only", reason="recorder", by=Author.OPS, since=NOON)
    assert (degraded.state, degraded.mode, degraded.closed) == (Status.DEGRADED, "live-only", False)
    assert InterconnectionState.from_json(degraded.to_json()) == degraded
    back = degrade(degraded, mode=None, reason="mended", by=Author.OFFICER, since=NOON)
    assert (back.state, back.mode, back.serial) == (Status.OPEN, None, 2)
    with pytest.raises(DegradationRefused):
        degrade(degraded, mode="live-only", reason="again", by=Author.OPS, since=NOON)
    with pytest.raises(DegradationRefused):
        degrade(a_cut(opened, "i1"), mode="live-only", reason="recorder", by=Author.OPS, since=NOON)
    with pytest.raises(DegradationRefused):
        degrade(a_cut(opened, "i1", Ground.DRILL), mode="live-only", reason="x", by=Author.OPS, since=NOON)
    with pytest.raises(PersonRequired):
        degrade(opened, mode="live-only", reason="recorder", by=Author.DETECTION, since=NOON)
    with pytest.raises(ValueError, match="mode"):
        replace(opened, state=Status.DEGRADED)


def test_a_cut_keeps_when_its_incident_occurred() -> None:
    # N02
    occurred = datetime(2026, 11, 21, 11, 20, tzinfo=UTC)
    state = cut(
        first_open(NOON),
        ground=Ground.CRITICAL_INCIDENT,
        reason="fuite",
        by=Author.OPS,
        since=NOON,
        incident="i1",
        occurred_at=occurred,
    )
    assert InterconnectionState.from_json(state.to_json()).occurred_at == occurred
    with pytest.raises(ValueError, match="occurred_at"):
        replace(first_open(NOON), occurred_at=occurred)


def test_no_drill_hides_a_real_cut() -> None:
    # N14
    with pytest.raises(DrillRefused):
        a_cut(a_cut(first_open(NOON), "i1"), "i2", Ground.DRILL)
    real = a_cut(a_cut(first_open(NOON), "i1", Ground.DRILL), "i2")
    assert real.closed


def test_a_restoration_names_the_open_incident() -> None:
    # C12
    state = a_cut(first_open(NOON), "i1")
    with pytest.raises(WrongIncident) as refused:
        a_restoration(state, "i2")
    assert refused.value.current == "i1"
    assert a_restoration(state, "i1").state is Status.OPEN
    with pytest.raises(NothingToRestore):
        a_restoration(a_restoration(state, "i1"), "i1")


@pytest.mark.parametrize("by", [Author.DETECTION, Author.CALENDAR])
def test_only_a_person_restores(by: Author) -> None:
    # C10
    with pytest.raises(PersonRequired):
        a_restoration(a_cut(first_open(NOON), "i1"), "i1", by)


def test_after_a_security_measure_only_the_officer_restores_even_under_another_cut() -> None:
    # C10
    security = a_cut(first_open(NOON), "i1", Ground.SECURITY)
    above = a_cut(security, "i2", Ground.MAINTENANCE)
    for state, incident in ((security, "i1"), (above, "i2")):
        with pytest.raises(OfficerRequired):
            a_restoration(state, incident, Author.OPS)
        restored = a_restoration(state, incident, Author.OFFICER)
        assert not restored.closed
        assert not restored.officer_only


def test_an_incident_is_cut_once() -> None:
    state = a_cut(first_open(NOON), "i1")
    for before in (state, a_restoration(state, "i1")):
        with pytest.raises(IncidentReused):
            a_cut(before, "i1")


@pytest.mark.parametrize(
    "change",
    [
        {"serial": -1},
        {"since": NOON.replace(tzinfo=None)},
        {"reason": ""},
        {"reason": "x" * 501},
        {"incident": "i 1"},
        {"incident": None},
        {"settled": tuple(f"i{n}" for n in range(2, MAX_SETTLED + 3))},
        {"state": Status.OPEN},
        {"state": Status.OPEN, "incident": None, "ground": None, "officer_only": True},
    ],
)
def test_a_state_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        replace(a_cut(first_open(NOON), "i1"), **change)  # type: ignore[arg-type]  # wrong on purpose


def test_only_the_latest_settled_incidents_are_remembered() -> None:
    state = first_open(NOON)
    for n in range(MAX_SETTLED + 5):
        state = a_restoration(a_cut(state, f"i{n}"), f"i{n}")
    assert len(state.settled) == MAX_SETTLED
    assert state.settled[-1] == f"i{MAX_SETTLED + 4}"


@given(diverged())
def test_merging_is_symmetric_settled_and_never_goes_back(
    pair: tuple[InterconnectionState, InterconnectionState],
) -> None:
    # C10
    one, other = pair
    merged = merge(one, other)
    assert merge(other, one) == merged
    assert merge(merged, one) == merge(merged, other) == merged
    assert merged.serial == max(one.serial, other.serial)
    assert merge(one, one) == one


@given(diverged())
def test_merging_never_opens_what_nobody_restored(pair: tuple[InterconnectionState, InterconnectionState]) -> None:
    # C10
    merged = merge(*pair)
    for state in pair:
        if state.closed and not merged.closed:
            assert state.incident in merged.settled
        if state.officer_only and not merged.officer_only:
            assert state.incident in {merged.incident, *merged.settled}


@given(histories())
def test_silence_never_opens(state: InterconnectionState) -> None:
    # C10
    assert merge(state, None) == state


@given(st.lists(diverged(), min_size=1, max_size=3))
def test_nodes_that_talk_in_turn_agree(pairs: list[tuple[InterconnectionState, InterconnectionState]]) -> None:
    nodes = [state for pair in pairs for state in pair]
    for turn in range(2 * len(nodes) ** 2):
        one, other = turn % len(nodes), (turn + 1) % len(nodes)
        nodes[one] = nodes[other] = merge(nodes[one], nodes[other])
    assert len(set(nodes)) == 1


def test_a_cut_made_out_of_reach_stands_over_what_happened_meanwhile() -> None:
    # C10: another node cut and restored another incident while this one could not be reached
    start = first_open(NOON)
    alone = a_cut(start, "alone")
    meanwhile = a_restoration(a_cut(start, "theirs"), "theirs")
    merged = merge(alone, meanwhile)
    assert (merged.closed, merged.incident, merged.serial) == (True, "alone", meanwhile.serial)
    assert not merge(a_restoration(merged, "alone"), meanwhile).closed


@given(histories())
def test_a_state_is_read_as_it_was_written(state: InterconnectionState) -> None:
    assert InterconnectionState.from_json(state.to_json()) == state


@given(st.text(max_size=400))
def test_any_text_is_a_state_or_a_declared_error(reason: str) -> None:
    for text in (reason, first_open(NOON).to_json().replace("mise", reason)):
        try:
            state = InterconnectionState.from_json(text)
        except DamagedState:
            continue
        assert state.to_json() == text


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "[" * 9000, "9" * 9000, "x" * 20000]
    + [
        a_cut(first_open(NOON), "i1").to_json().replace(old, new)
        for old, new in (
            ('"format":1', '"format":2'),
            ('"serial":1', '"serial":true'),
            ('"serial":1', '"serial":1.0'),
            ('"reason":"fuite"', '"reason":["fuite"]'),
            ('"settled":[]', '"settled":[1]'),
            ('"settled":[]', '"settled":{}'),
            ('"officer_only":false', '"officer_only":0'),
            ('"state":"cut"', '"state":"open"'),
            ('"by":', '"also":1,"by":'),
            ('"by":', ' "by":'),
        )
    ],
)
def test_what_is_not_a_state_is_damage(text: str) -> None:
    with pytest.raises(DamagedState):
        InterconnectionState.from_json(text)


def test_since_keeps_its_instant_in_any_zone() -> None:
    paris = NOON.astimezone(timezone(timedelta(hours=1)))
    read = InterconnectionState.from_json(first_open(paris).to_json())
    assert (read.since, read.since.tzinfo) == (NOON, UTC)
