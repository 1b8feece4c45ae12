"""What the simulated recorder has, and the order in which it shows it: T13's gaps and edges, row 57."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from halfgateway.simulator.film import (
    GROUP,
    GROUP_FRAMES,
    PICTURE,
    FilmScene,
    clean_at,
    filmed_at,
    frame_at,
    instant_of,
)
from halfgateway.simulator.recordings import (
    GAPS,
    KEEPS,
    Kind,
    Shown,
    Stretch,
    backward,
    forward,
    recordings,
    step_of,
    stretches,
)

NOON = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)


def instants(shown: list[Shown]) -> list[datetime]:
    return [instant_of(each.frame) for each in shown]


@pytest.mark.parametrize(
    "instant",
    [
        NOON,
        NOON + 37 * PICTURE,
        datetime(2026, 10, 25, 0, 59, 59, 960_000, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2031, 12, 31, 23, 59, 59, 960_000, tzinfo=UTC),
    ],
)
def test_a_picture_tells_its_instant_whatever_the_day(instant: datetime) -> None:
    """T13: the instant is read from the picture, in full."""
    picture = FilmScene(width=640, height=360).picture(frame_at(instant))
    assert filmed_at(picture[:360]) == instant


def test_a_damaged_picture_tells_nothing() -> None:
    picture = FilmScene(width=640, height=360).picture(frame_at(NOON))[:360]
    picture[225:235, 200:300] = 128
    assert filmed_at(picture) is None


def test_an_instant_is_that_of_the_picture_shown_then() -> None:
    assert instant_of(frame_at(NOON + timedelta(milliseconds=39))) == NOON
    assert instant_of(frame_at(NOON + timedelta(milliseconds=40))) == NOON + PICTURE
    assert instant_of(clean_at(frame_at(NOON + timedelta(milliseconds=1999)))) == NOON


def test_one_recording_of_each_kind_goes_back_more_than_ten_days() -> None:
    """C01: a camera of each kind, the instants of each known from when the recorder started."""
    whole, gaps, changed, added, none = recordings([(kind.value, kind.value) for kind in Kind], NOON)
    assert timedelta(days=10) < KEEPS
    assert whole.stretches == (Stretch(NOON - KEEPS),)
    ends = [stretch.end for stretch in gaps.stretches]
    assert ends == [*(NOON - gap.ago for gap in GAPS), None]
    assert [after.start for after in gaps.stretches[1:]] == [NOON - gap.ago + gap.lasts for gap in GAPS]
    assert changed.codecs == ("h264", "h265")
    assert changed.stretches[0].end == changed.stretches[1].start
    assert added.stretches == (Stretch(NOON - timedelta(days=5)),)
    assert none.stretches == ()
    assert recordings([(str(n), "") for n in range(7)], NOON)[6].stretches == whole.stretches


def test_a_replay_begins_at_the_key_picture_at_or_before_and_tells_the_end() -> None:
    """Row 57; ONVIF 6.5.4, 6.3."""
    start = NOON + timedelta(seconds=1)
    shown = list(forward([Stretch(NOON - GROUP)], frame_at(start), frame_at(NOON + GROUP)))
    assert instants(shown) == [NOON + n * PICTURE for n in range(GROUP_FRAMES)]
    assert [each.frame for each in shown if each.clean or each.discontinuous] == [frame_at(NOON)]
    assert [each.frame for each in shown if each.terminal] == [shown[-1].frame]
    assert not any(each.last for each in shown)


def test_a_gap_is_told_and_its_time_not_compressed() -> None:
    """Row 57: E before the gap, D after it."""
    of = [Stretch(NOON - GROUP, NOON), Stretch(NOON + 2 * GROUP)]
    shown = list(islice(forward(of, frame_at(NOON - GROUP), None), 2 * GROUP_FRAMES))
    assert [instant_of(each.frame) for each in shown if each.last] == [NOON - PICTURE]
    assert [instant_of(each.frame) for each in shown if each.discontinuous] == [NOON - GROUP, NOON + 2 * GROUP]
    assert shown[GROUP_FRAMES].elapsed == 3 * GROUP_FRAMES
    assert not any(each.terminal for each in shown)


@pytest.mark.parametrize("asked", [NOON, NOON + GROUP, NOON + 2 * GROUP - PICTURE])
def test_in_a_gap_the_next_key_picture_is_first_and_in_reverse_the_one_before(asked: datetime) -> None:
    of = [Stretch(NOON - 3 * GROUP, NOON), Stretch(NOON + 2 * GROUP)]
    assert instant_of(next(forward(of, frame_at(asked), None)).frame) == NOON + 2 * GROUP
    assert instant_of(next(backward(of, frame_at(asked), None)).frame) == NOON - GROUP


def test_nothing_is_shown_of_an_empty_range_nor_past_the_end() -> None:
    of = [Stretch(NOON, NOON + GROUP)]
    assert not list(forward(of, frame_at(NOON), frame_at(NOON)))
    assert not list(forward(of, frame_at(NOON + GROUP), None))
    assert not list(backward(of, frame_at(NOON - PICTURE), None))


def test_in_reverse_groups_come_backwards_and_each_of_them_forwards() -> None:
    """ONVIF 6.6."""
    shown = list(backward([Stretch(NOON - KEEPS)], frame_at(NOON + 3 * PICTURE), frame_at(NOON - GROUP)))
    assert instants(shown[:4]) == [NOON + n * PICTURE for n in range(4)]
    assert instants(shown[4:]) == [NOON - GROUP + n * PICTURE for n in range(GROUP_FRAMES)]
    assert [n for n, each in enumerate(shown) if each.discontinuous] == [0, 4]
    assert [n for n, each in enumerate(shown) if each.terminal] == [len(shown) - 1]
    assert shown[4].elapsed == GROUP_FRAMES


@pytest.mark.parametrize(("interval_ms", "apart"), [(0, GROUP), (2000, GROUP), (2001, 2 * GROUP), (10_000, 5 * GROUP)])
def test_key_pictures_alone_are_at_least_so_far_apart(interval_ms: int, apart: timedelta) -> None:
    """ONVIF 6.5.3."""
    of = stretches(Kind.CONTINUOUS, NOON)
    start = frame_at(NOON - timedelta(days=10))
    ahead = instants(list(islice(forward(of, start, None, step=step_of(interval_ms)), 3)))
    back = instants(list(islice(backward(of, start, None, step=step_of(interval_ms)), 3)))
    assert [ahead[1] - ahead[0], ahead[2] - ahead[1], back[0] - back[1]] == [apart] * 3
