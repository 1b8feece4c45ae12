"""Which segments there are: runs and gaps, what is being written or damaged, and what is no segment (T13, row 57)."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.segments import catalogue as subject
from halfgateway.segments.catalogue import JOIN_TOLERANCE, Catalogue, runs
from halfgateway.segments.layout import Layout
from tests.segments.footage import DAY, DEFAULT, Kind, write

TEN = DAY + timedelta(hours=10)
NEXT_DAY = DAY + timedelta(days=1)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def catalogue_of(root: Path, layout: Layout | None = None, *, now: datetime = NEXT_DAY) -> Catalogue:
    return Catalogue(root, "cam", layout or Layout(DEFAULT), now=lambda: now)


def spans(catalogue: Catalogue, start: datetime = DAY, end: datetime = NEXT_DAY) -> list[tuple[float, float]]:
    """The intervals, in seconds since ten o'clock."""
    found = catalogue.intervals(start, end)
    return [((begins - TEN).total_seconds(), (ends - TEN).total_seconds()) for begins, ends in found]


@pytest.mark.parametrize("kind", ["mp4", "fmp4", "ts"])
def test_segments_that_join_are_one_interval_and_a_gap_parts_them(tmp_path: Path, kind: Kind) -> None:
    # row 57; requirement C04
    for start in (0, 4, 10, 14.5):
        write(tmp_path / "cam", TEN + seconds(start), kind=kind)
    catalogue = catalogue_of(tmp_path)
    assert spans(catalogue) == [(0, 8), (10, 18.5)]
    assert spans(catalogue, TEN + seconds(2), TEN + seconds(11)) == [(2, 8), (10, 11)]
    assert spans(catalogue, TEN + seconds(8), TEN + seconds(10)) == []
    assert spans(catalogue, TEN + seconds(7), TEN + seconds(7.5)) == [(7, 7.5)]


times = st.integers(0, 10_000).map(lambda deciseconds: DAY + seconds(deciseconds / 10))
segments = st.lists(st.tuples(times, st.integers(1, 600)), max_size=40)


@given(segments, times, times)
def test_intervals_are_in_order_apart_and_cover_what_there_is(
    drawn: list[tuple[datetime, int]], start: datetime, end: datetime
) -> None:
    found = sorted((begins, begins + seconds(lasts / 10)) for begins, lasts in drawn)
    intervals = runs(found, start, end)
    assert all(start <= begins < ends <= end for begins, ends in intervals)
    assert all(after[0] - before[1] > JOIN_TOLERANCE for before, after in pairwise(intervals))
    for begins, ends in found:
        shown = max(begins, start), min(ends, end)
        if shown[0] < shown[1]:
            assert any(interval[0] <= shown[0] and shown[1] <= interval[1] for interval in intervals)
    edges = {edge for span in found for edge in span} | {start, end}
    assert all(edge in edges for interval in intervals for edge in interval)


def test_a_segment_that_is_still_written_grows(tmp_path: Path) -> None:
    # row 59
    path = write(tmp_path / "cam", TEN, 8, kind="fmp4")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    catalogue = catalogue_of(tmp_path, now=TEN + seconds(9))
    ((start, cut),) = spans(catalogue)
    assert start == 0
    assert 2 < cut < 6
    path.write_bytes(whole)
    assert spans(catalogue) == [(0, 8)]
    segment = catalogue.at_or_after(TEN + seconds(8.5))
    assert segment is not None
    assert catalogue.is_recording(segment)
    assert catalogue_of(tmp_path, now=TEN + timedelta(hours=1)).at_or_after(TEN + seconds(8.5)) is None


@pytest.mark.parametrize("kind", ["fmp4", "ts"])
def test_what_a_kill_cut_off_ends_with_its_last_whole_picture(tmp_path: Path, kind: Kind) -> None:
    # kill -9: the open fragment is lost, what came before it is not
    path = write(tmp_path / "cam", TEN, 8, kind=kind)
    os.truncate(path, path.stat().st_size * 3 // 5)
    write(tmp_path / "cam", TEN + seconds(8), kind=kind)
    (_, cut), rest = spans(catalogue_of(tmp_path))
    assert 3 < cut < 6
    assert rest == (8, 12)


def _rubbish(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_off(path: Path) -> None:
    path.write_bytes(write(path.parent.parent, DAY, kind="mp4").read_bytes()[:2000])


def _play_list(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _link_out(path: Path) -> None:
    path.symlink_to(write(path.parents[3] / "elsewhere", TEN + seconds(2)))


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "hostile",
    [_rubbish, _empty, _cut_off, _play_list, _pipe, _folder, _link_out, _dangling],
    ids=lambda each: each.__name__,
)
def test_what_is_no_footage_is_passed_over_and_counted(tmp_path: Path, hostile: Callable[[Path], None]) -> None:
    root = tmp_path / "root"
    good = write(root / "cam", TEN)
    write(root / "cam", TEN + seconds(4))
    hostile(root / "cam" / Layout(DEFAULT).path_of(TEN + seconds(2)))
    (good.parent / "20261120T250000.000000Z.mp4").write_bytes(good.read_bytes())
    catalogue = catalogue_of(root)
    os.utime(good.parent, (0, 0))
    assert spans(catalogue, TEN) == [(0, 8)]
    assert catalogue.passed_over == 2


def test_no_link_leads_out_of_the_recorders_folder(tmp_path: Path) -> None:
    # C16: neither a day's folder nor the camera's own
    write(tmp_path / "elsewhere", TEN)
    root = tmp_path / "root"
    (root / "cam").mkdir(parents=True)
    (root / "cam" / "2026-11-20").symlink_to(tmp_path / "elsewhere" / "2026-11-20")
    assert spans(catalogue_of(root)) == []
    (root / "other").symlink_to(tmp_path / "elsewhere")
    assert Catalogue(root, "other", Layout(DEFAULT), now=lambda: NEXT_DAY).intervals(DAY, NEXT_DAY) == []
    write(root / "store", TEN)
    (root / "within").symlink_to("store")
    assert Catalogue(root, "within", Layout(DEFAULT), now=lambda: NEXT_DAY).intervals(DAY, NEXT_DAY) != []


def test_a_camera_without_a_folder_has_nothing_and_a_disk_that_is_gone_is_told(tmp_path: Path) -> None:
    assert spans(catalogue_of(tmp_path)) == []
    with pytest.raises(FileNotFoundError):
        spans(catalogue_of(tmp_path / "unmounted"))


def test_a_minute_is_found_without_a_look_at_other_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(12):
        write(tmp_path / "cam", TEN - timedelta(days=day))
    os.utime(tmp_path / "cam", (0, 0))
    looked_at: list[str] = []
    read = Catalogue._read

    def reading(self: Catalogue, path: Path, folder: str, stamp: int) -> subject._Listing:
        looked_at.append(folder)
        return read(self, path, folder, stamp)

    opened: list[Path] = []
    examine = subject.examine
    monkeypatch.setattr(Catalogue, "_read", reading)
    monkeypatch.setattr(subject, "examine", lambda path, named: opened.append(path) or examine(path, named))
    catalogue = catalogue_of(tmp_path)
    assert spans(catalogue, TEN, TEN + timedelta(minutes=1)) == [(0, 4)]
    assert len(opened) == 1
    assert {folder for folder in looked_at if folder} <= {"2026-11-19", "2026-11-20"}
    assert spans(catalogue, TEN, TEN + timedelta(minutes=1)) == [(0, 4)]
    assert len(opened) == 1


def test_a_new_segment_is_seen_though_its_folder_was_read_before(tmp_path: Path) -> None:
    catalogue = catalogue_of(tmp_path)
    day = write(tmp_path / "cam", TEN).parent
    os.utime(day, (1, 1))
    assert spans(catalogue) == [(0, 4)]
    write(tmp_path / "cam", TEN + seconds(4))
    os.utime(day, (2, 2))
    assert spans(catalogue) == [(0, 8)]
    (day / "20261120T100004.000000Z.mp4").unlink()
    assert spans(catalogue) == [(0, 4)]


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_EXAMINED", 2)
    monkeypatch.setattr(subject, "MAX_FOLDERS", 1)
    for start in range(0, 16, 4):
        write(tmp_path / "cam", TEN + seconds(start))
    catalogue = catalogue_of(tmp_path)
    assert spans(catalogue) == [(0, 16)]
    assert len(catalogue._examined) == 2
    assert len(catalogue._listings) <= 1


@pytest.mark.parametrize(
    "before_change", [datetime(2026, 10, 25, tzinfo=DAY.tzinfo), datetime(2026, 3, 29, tzinfo=DAY.tzinfo)]
)
def test_local_names_join_across_the_nights_of_a_change(tmp_path: Path, before_change: datetime) -> None:
    # T13: 25 October and 29 March; of the hour that comes twice, the second pass has names of its own kind only
    layout = Layout("%Y-%m-%d/%H/%Y%m%d_%H%M%S.mp4", ZoneInfo("Europe/Paris"))
    autumn = before_change.month == 10
    starts = [
        before_change + timedelta(minutes=minutes) for minutes in ((0, 59, 120, 179) if autumn else range(0, 180, 59))
    ]
    for start in starts:
        write(tmp_path / "cam", start, layout=layout)
    catalogue = catalogue_of(tmp_path, layout)
    found = catalogue.intervals(before_change - timedelta(hours=3), before_change + timedelta(hours=6))
    assert [begins for begins, _ in found] == starts
