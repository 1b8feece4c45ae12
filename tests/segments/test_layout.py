"""Where segments lie: paths and instants, also on the days when a local clock is put forward or back (T13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from halfgateway.segments.layout import Layout

PARIS = ZoneInfo("Europe/Paris")
LOCAL = Layout("%Y-%m-%d/%H/%Y%m%d_%H%M%S.ts", PARIS)
PATTERNS = [
    "%Y-%m-%d/%Y%m%dT%H%M%S.%fZ.mp4",
    "%Y/%m/%d/%H/%M/%Y%m%d%H%M%S%f.mp4",
    "%Y/%j/%H%M%S-%f.mp4",
    "%Y%m%d %H.%M.%S.%f%z.mp4",
]
instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(instants, st.sampled_from(PATTERNS))
@example(datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC), "%Y/%j/%H%M%S-%f.mp4")
def test_a_path_tells_the_instant_that_it_was_made_of(instant: datetime, pattern: str) -> None:
    layout = Layout(pattern)
    assert layout.instant_of(layout.path_of(instant)) == instant


@given(instants, st.sampled_from(PATTERNS), st.timedeltas(timedelta(0), timedelta(days=40)))
def test_a_folder_that_holds_a_segment_is_never_left_out(instant: datetime, pattern: str, since: timedelta) -> None:
    for zone in (UTC, PARIS):
        layout = Layout(pattern, zone)
        for folder in list(layout.path_of(instant).parents)[:-1]:
            assert layout.may_hold(str(folder), instant - since, instant + since)


def test_folders_of_other_days_are_left_out() -> None:
    layout = Layout(PATTERNS[0])
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    days = [day for day in range(1, 31) if layout.may_hold(f"2026-11-{day:02}", noon, noon + timedelta(minutes=1))]
    assert days == [20]
    assert not layout.may_hold("lost+found", noon, noon)


def test_the_hour_that_comes_twice_is_read_as_summer_time() -> None:
    # T13, 25 October: 2.30 am is at half past midnight UTC, and again an hour later
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert LOCAL.path_of(first) == LOCAL.path_of(second)
    assert LOCAL.instant_of(LOCAL.path_of(second)) == first
    before, after = first - timedelta(hours=1), second + timedelta(hours=1)
    assert [LOCAL.instant_of(LOCAL.path_of(each)) for each in (before, after)] == [before, after]
    told = Layout("%Y%m%d_%H%M%S%z.ts", PARIS)
    assert [told.instant_of(told.path_of(each)) for each in (first, second)] == [first, second]


def test_a_local_time_that_is_skipped_is_none() -> None:
    # T13, 29 March: two o'clock is three
    assert LOCAL.instant_of("2026-03-29/02/20260329_023000.ts") is None
    before = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
    assert LOCAL.instant_of("2026-03-29/01/20260329_015959.ts") == before
    assert LOCAL.instant_of("2026-03-29/03/20260329_030000.ts") == before + timedelta(seconds=1)


@pytest.mark.parametrize(
    "path",
    [
        "2026-02-30/00/20260230_000000.ts",
        "2026-11-20/25/20261120_250000.ts",
        "2026-11-20/10/20261121_100000.ts",
        "2026-11-20/10/20261120_100000.ts.part",
        "2026-11-20/10/20261120_100060.ts",
        "2026-11-20/10/２０２６1120_100000.ts",
        "0000-11-20/10/00001120_100000.ts",
        "2026-11-20/10/\n20261120_100000.ts",
        "",
    ],
)
def test_a_name_that_is_no_segments_is_none(path: str) -> None:
    assert LOCAL.instant_of(path) is None


def test_a_day_of_the_year_is_one_of_that_year() -> None:
    layout = Layout("%Y/%j/%H%M%S.mp4")
    assert layout.instant_of("2028/366/000000.mp4") == datetime(2028, 12, 31, tzinfo=UTC)
    assert layout.instant_of("2026/366/000000.mp4") is None
    assert layout.instant_of("2026/000/000000.mp4") is None


@given(st.text("0123456789-_T/.Zmp4%+\n\0é", max_size=40))
def test_no_name_is_fatal(name: str) -> None:
    for pattern in PATTERNS:
        Layout(pattern, PARIS).instant_of(name)
