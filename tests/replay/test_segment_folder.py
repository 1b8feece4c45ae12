"""A folder of segments played: edges, gaps, the live edge, scale, reverse and pace (T13; rows 55, 57, 58, 59, 60)."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from camera_registry.clock import SystemClock
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.replay import FrameKind, Frames, PlayOptions
from halfgateway.protocol.rtp import RtpView
from halfgateway.replay import read_ahead, segment_folder
from halfgateway.replay.footage import Interval, Passage, Picture
from halfgateway.replay.segment_folder import LOOK_AGAIN_S, SegmentFolder
from halfgateway.segments.catalogue import STILL_RECORDING
from halfgateway.segments.layout import Layout
from tests.depacketise import decoded_counters
from tests.segments.footage import DAY, DEFAULT, PICTURE, Kind, cut, number_at, write

TEN = DAY + timedelta(hours=10)
LONG_AFTER = DAY + timedelta(days=1)
UNPACED = PlayOptions(rate_control=False)
INTRA = PlayOptions(rate_control=False, frames=Frames(FrameKind.INTRA))


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


class Timeline:
    """A clock that a sleep moves on. ``written`` is what a recorder does meanwhile, by the instant it is done at."""

    def __init__(self, now: datetime) -> None:
        self._start = self._now = now
        self.written: list[tuple[datetime, Path, bytes]] = []
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    async def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self._now += timedelta(seconds=duration_s)
        while self.written and self.written[0][0] <= self._now:
            _, path, content = self.written.pop(0)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            # Two changes within one tick of the kernel's clock would look like one.
            os.utime(path.parent, (self._now.timestamp(),) * 2)
        await asyncio.sleep(0)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(LONG_AFTER)


@pytest.fixture
def folder(tmp_path: Path, timeline: Timeline, threads: ThreadPoolExecutor) -> SegmentFolder:
    return folder_of(tmp_path, timeline, threads)


def folder_of(
    root: Path, timeline: Timeline, threads: ThreadPoolExecutor, layout: Layout | None = None
) -> SegmentFolder:
    layout = layout or Layout(DEFAULT)
    return SegmentFolder(root, "cam", layout, clock=timeline, threads=threads, sleep=timeline.sleep)


async def played(
    folder: SegmentFolder, start: datetime, end: datetime | None = None, options: PlayOptions = UNPACED
) -> list[Picture]:
    replay = await folder.open(start)
    pictures = [picture async for picture in replay.play(Passage(start, end, options))]
    await replay.close()
    return pictures


def at(pictures: list[Picture]) -> list[float]:
    """When they were filmed, in seconds since ten o'clock."""
    return [(picture.at - TEN).total_seconds() for picture in pictures]


def flagged(pictures: list[Picture], flag: str) -> list[float]:
    return at([picture for picture in pictures if getattr(picture, flag)])


def rtp_seconds(pictures: list[Picture]) -> list[float]:
    """The RTP times of pictures in seconds since that of the first."""
    stamps = [RtpView(picture.packets[0]).timestamp for picture in pictures]
    return [((stamp - stamps[0] + (1 << 31)) % (1 << 32) - (1 << 31)) / 90_000 for stamp in stamps]


def shown(pictures: list[Picture], codec: Codec = Codec.H264) -> list[int | None]:
    return decoded_counters([packet for picture in pictures for packet in picture.packets], codec)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@pytest.mark.parametrize("kind", ["mp4", "fmp4", "ts"])
async def test_every_picture_is_shown_at_its_own_instant_across_edges_and_gaps(
    tmp_path: Path, folder: SegmentFolder, kind: Kind, codec: Codec
) -> None:
    # T13: segment edge, gap; row 57
    for start in (0, 4, 20):
        write(tmp_path / "cam", TEN + seconds(start), kind=kind, codec=codec)
    assert await folder.find(DAY, LONG_AFTER) == [
        Interval(TEN, TEN + seconds(8)),
        Interval(TEN + seconds(20), TEN + seconds(24)),
    ]
    pictures = await played(folder, TEN + seconds(2.5))
    assert shown(pictures, codec) == [number_at(picture.at) for picture in pictures]
    assert at(pictures) == [index / 25 for index in [*range(50, 200), *range(500, 600)]]
    assert flagged(pictures, "clean") == [2, 3, 4, 5, 6, 7, 20, 21, 22, 23]
    assert flagged(pictures, "discontinuous") == [2, 20]
    assert flagged(pictures, "last") == [7.96, 23.96]
    assert rtp_seconds(pictures) == pytest.approx([instant - 2 for instant in at(pictures)])
    (video,) = (await folder.describe(TEN)).media
    assert video.codec is codec


async def test_in_a_gap_it_begins_at_the_next_picture_and_where_nothing_is_not_at_all(
    tmp_path: Path, folder: SegmentFolder
) -> None:
    # ONVIF 6.5.4; row 57
    write(tmp_path / "cam", TEN, 2)
    write(tmp_path / "cam", TEN + seconds(10), 2).with_name("notes.txt").touch()
    pictures = await played(folder, TEN + seconds(5))
    assert at(pictures)[0] == 10
    assert folder.passed_over == 1
    assert flagged(pictures, "discontinuous") == [10]
    for opening in (folder.open, folder.describe):
        with pytest.raises(NoRecording):
            await opening(TEN + seconds(12))


async def test_it_ends_at_its_end(tmp_path: Path, folder: SegmentFolder) -> None:
    # row 55: closed ranges
    write(tmp_path / "cam", TEN, 4)
    write(tmp_path / "cam", TEN + seconds(10), 4)
    pictures = await played(folder, TEN, TEN + seconds(1.5))
    assert at(pictures)[-1] == 1.48
    assert flagged(pictures, "last") == []
    in_a_gap = await played(folder, TEN, TEN + seconds(6))
    assert flagged(in_a_gap, "last") == [3.96]


async def test_a_gap_is_waited_out_and_its_length_is_in_the_rtp_time(
    tmp_path: Path, folder: SegmentFolder, timeline: Timeline
) -> None:
    # row 57: no time compression
    write(tmp_path / "cam", TEN, 1)
    write(tmp_path / "cam", TEN + seconds(30), 1)
    began_s = timeline.monotonic()
    replay = await folder.open(TEN)
    given = [(round(timeline.monotonic() - began_s, 3), picture) async for picture in replay.play(Passage(TEN))]
    pictures = [picture for _, picture in given]
    assert [when_s for when_s, _ in given] == at(pictures) == rtp_seconds(pictures)


@pytest.mark.parametrize("scale", [4.0, 0.5])
async def test_scale_changes_the_pace_and_the_rtp_time_together(
    tmp_path: Path, folder: SegmentFolder, timeline: Timeline, scale: float
) -> None:
    # RFC 2326 12.34 and appendix B
    write(tmp_path / "cam", TEN, 2)
    pictures = await played(folder, TEN, options=PlayOptions(scale=scale))
    assert timeline.monotonic() == pytest.approx(49 * 0.04 / scale)
    assert rtp_seconds(pictures) == pytest.approx([instant / scale for instant in at(pictures)], abs=1e-4)


async def test_backwards_groups_come_last_first_and_each_in_time_to_be_shown(
    tmp_path: Path, folder: SegmentFolder, timeline: Timeline
) -> None:
    # ONVIF 6.6
    for start in (0, 2, 10):
        write(tmp_path / "cam", TEN + seconds(start), 2)
    start = TEN + seconds(11.48)
    replay = await folder.open(start)
    began_s = timeline.monotonic()
    playing = replay.play(Passage(start, TEN + seconds(1.5), PlayOptions(scale=-2.0)))
    given = [(timeline.monotonic() - began_s, picture) async for picture in playing]
    pictures = [picture for _, picture in given]
    groups = [[11 + index / 25 for index in range(13)]]
    groups += [[begin + index / 25 for index in range(25)] for begin in (10, 3, 2, 1)]
    assert at(pictures) == pytest.approx([instant for group in groups for instant in group])
    assert flagged(pictures, "discontinuous") == [11, 10, 3, 2, 1]
    assert flagged(pictures, "last") == [10.96]
    assert shown(pictures) == [number_at(picture.at) for picture in pictures]
    due = [(11.48 - instant) / 2 for instant in at(pictures)]
    assert rtp_seconds(pictures) == pytest.approx([each - due[0] for each in due], abs=1e-4)
    for group in groups:
        (whole_s,) = (when_s for when_s, picture in given if at([picture]) == pytest.approx([group[-1]]))
        assert whole_s == pytest.approx((11.48 - group[-1]) / 2)


async def test_backwards_ends_with_the_first_footage_and_begins_before_a_gap(
    tmp_path: Path, folder: SegmentFolder
) -> None:
    write(tmp_path / "cam", TEN, 2)
    write(tmp_path / "cam", TEN + timedelta(days=3), 1)
    backwards = PlayOptions(scale=-1.0, rate_control=False, frames=Frames(FrameKind.INTRA))
    replay = await folder.open(TEN)
    pictures = [picture async for picture in replay.play(Passage(TEN + timedelta(days=2), None, backwards))]
    assert at(pictures) == flagged(pictures, "discontinuous") == [1, 0]
    assert flagged(pictures, "last") == [0]
    assert rtp_seconds(pictures) == [0, -1]


@pytest.mark.parametrize(
    ("frames", "given"),
    [
        (Frames(FrameKind.INTRA), [0, 1, 2, 3, 4, 5]),
        (Frames(FrameKind.INTRA, 2000), [0, 2, 4]),
        (Frames(FrameKind.INTRA, 1500), [0, 2, 4]),
        (Frames(FrameKind.PREDICTED), [index / 25 for index in range(150)]),
    ],
)
async def test_frames_choose(tmp_path: Path, folder: SegmentFolder, frames: Frames, given: list[float]) -> None:
    # ONVIF 6.5.3
    write(tmp_path / "cam", TEN, 4)
    write(tmp_path / "cam", TEN + seconds(4), 2)
    pictures = await played(folder, TEN, options=PlayOptions(rate_control=False, frames=frames))
    assert at(pictures) == given
    assert flagged(pictures, "last") == given[-1:]
    assert shown(pictures) == [number_at(picture.at) for picture in pictures]


async def test_the_live_edge_is_followed_until_recording_ends(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    # T13, row 59; ONVIF 6.8: no picture is the last while more may come
    timeline = Timeline(TEN + seconds(4))
    path = write(tmp_path / "cam", TEN, 8)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 4 // 9])
    nearly = content[: len(content) * 7 // 9]
    following = write(tmp_path / "cam", TEN + seconds(8), 2)
    timeline.written = [
        (TEN + seconds(7), path, nearly),
        (TEN + seconds(9), path, content),
        (TEN + seconds(11), following, following.read_bytes()),
    ]
    following.unlink()
    folder = folder_of(tmp_path, timeline, threads)
    pictures = await played(folder, TEN + seconds(1), options=PlayOptions())
    assert at(pictures) == [index / 25 for index in range(25, 250)]
    assert flagged(pictures, "last") == []
    assert flagged(pictures, "discontinuous") == [1]
    assert rtp_seconds(pictures) == pytest.approx([instant - 1 for instant in at(pictures)])
    assert timeline.now() >= TEN + seconds(10) + STILL_RECORDING
    assert max(timeline.slept) <= LOOK_AGAIN_S


async def test_from_now_on_it_begins_at_the_newest_clean_picture(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    timeline = Timeline(TEN + seconds(3))
    write(tmp_path / "cam", TEN, 2)
    folder = folder_of(tmp_path, timeline, threads)
    replay = await folder.open(timeline.now())
    async with aclosing(replay.play(Passage(timeline.now()))) as pictures:
        first = await anext(pictures)
    assert first.at == TEN + seconds(1)
    assert first.clean


async def test_another_codec_ends_the_session_and_another_session_gives_the_rest(
    tmp_path: Path, folder: SegmentFolder
) -> None:
    write(tmp_path / "cam", TEN, 2)
    write(tmp_path / "cam", TEN + seconds(2), 2, codec=Codec.H265)
    replay = await folder.open(TEN)
    pictures = [picture async for picture in replay.play(Passage(TEN, None, UNPACED))]
    assert flagged(pictures, "last") == [1.96]
    assert replay.video.codec is Codec.H264
    with pytest.raises(NoRecording):
        await anext(aiter(replay.play(Passage(TEN + seconds(2), None, UNPACED))))
    after = await folder.open(TEN + seconds(2))
    assert after.video.codec is Codec.H265
    rest = [picture async for picture in after.play(Passage(TEN + seconds(2), None, UNPACED))]
    assert shown(rest, Codec.H265) == [number_at(picture.at) for picture in rest]


async def test_another_size_of_picture_goes_on(tmp_path: Path, folder: SegmentFolder) -> None:
    write(tmp_path / "cam", TEN, 2)
    write(tmp_path / "cam", TEN + seconds(2), 2, size=(480, 128))
    pictures = await played(folder, TEN)
    assert shown(pictures) == [number_at(TEN + index * PICTURE) for index in range(100)]
    assert flagged(pictures, "discontinuous") == [0]


async def test_segments_that_are_cut_within_a_group_lose_no_picture(
    tmp_path: Path, timeline: Timeline, threads: ThreadPoolExecutor
) -> None:
    layout = Layout("%Y%m%d%H%M%S.%f.ts")
    path = write(tmp_path / "cam", TEN, 4, kind="ts", layout=layout)
    cut(path, tmp_path / "cam" / layout.path_of(TEN + 37 * PICTURE), 37)
    folder = folder_of(tmp_path, timeline, threads, layout)
    pictures = await played(folder, TEN)
    assert shown(pictures) == [number_at(TEN + index * PICTURE) for index in range(100)]
    assert flagged(pictures, "clean") == [0, 1, 2, 3]
    assert flagged(pictures, "discontinuous") == [0]
    assert at(await played(folder, TEN + 40 * PICTURE))[0] == 2


async def test_reordered_pictures_have_the_rtp_time_of_their_showing(tmp_path: Path, folder: SegmentFolder) -> None:
    # RFC 6184 5.1
    write(tmp_path / "cam", TEN, 2, reordered=True)
    pictures = await played(folder, TEN)
    times = rtp_seconds(pictures)
    assert times == at(pictures) != sorted(times)
    backwards = await played(folder, TEN + seconds(1.96), options=PlayOptions(scale=-1.0, rate_control=False))
    assert sorted(at(backwards)) == sorted(times)


async def test_names_of_whole_seconds_play_no_time_twice(
    tmp_path: Path, timeline: Timeline, threads: ThreadPoolExecutor
) -> None:
    # segments of 1.6 s, named by the second in which they begin
    layout = Layout("%Y%m%d%H%M%S.mp4")
    for begins in (0, 1.6, 3.2):
        write(tmp_path / "cam", TEN + seconds(begins), 1.6, layout=layout)
    folder = folder_of(tmp_path, timeline, threads, layout)
    pictures = await played(folder, TEN)
    times = rtp_seconds(pictures)
    assert len(pictures) == 120
    assert times == sorted(set(times))
    assert flagged(pictures, "discontinuous") == [0]
    assert times[-1] == pytest.approx(119 / 25)


async def test_what_two_segments_hold_is_played_once(tmp_path: Path, folder: SegmentFolder) -> None:
    write(tmp_path / "cam", TEN, 6)
    write(tmp_path / "cam", TEN + seconds(1), 2)
    write(tmp_path / "cam", TEN + seconds(3.5), 4)
    pictures = await played(folder, TEN)
    assert at(pictures) == sorted(set(at(pictures)))
    assert flagged(pictures, "discontinuous") == [0, 6.5]


@pytest.mark.parametrize("day", [datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC)])
async def test_local_names_play_through_the_night_of_a_change(
    tmp_path: Path, threads: ThreadPoolExecutor, day: datetime
) -> None:
    # T13, DST days: Paris puts its clocks forward and back at 1:00 UTC
    layout = Layout("%Y-%m-%d/%Y%m%d_%H%M%S.mp4", ZoneInfo("Europe/Paris"))
    change = day + timedelta(hours=1)
    starts = [change - seconds(4), change, change + timedelta(hours=1)]
    if day.month == 10:
        starts[1] = change + timedelta(hours=1)
    for start in dict.fromkeys(starts):
        write(tmp_path / "cam", start, 4, layout=layout)
    folder = folder_of(tmp_path, Timeline(day + timedelta(days=1)), threads, layout)
    pictures = await played(folder, starts[0] + seconds(2))
    assert pictures[0].at == starts[0] + seconds(2)
    assert {picture.at for picture in pictures if picture.clean} >= set(starts[1:])
    assert shown(pictures) == [number_at(picture.at) for picture in pictures]


async def test_seeks_leave_no_thread_and_no_file(tmp_path: Path) -> None:
    # row 60: one session, played again and again; its iterators are left in the middle
    write(tmp_path / "cam", TEN, 4)
    threads, both = ThreadPoolExecutor(2), threading.Barrier(2)
    await asyncio.gather(*(asyncio.wrap_future(threads.submit(both.wait)) for _ in range(2)))  # or one comes later
    folder = SegmentFolder(tmp_path, "cam", Layout(DEFAULT), clock=SystemClock(), threads=threads)
    replay = await folder.open(TEN)

    async def first(passage: Passage) -> Picture:
        playing: AsyncIterator[Picture] = replay.play(passage)
        async with aclosing(playing):
            return await anext(playing)

    await first(Passage(TEN))
    before = open_footage(), threading.active_count()
    for place in range(20):
        picture = await first(Passage(TEN + seconds(place / 5)))
        assert at([picture]) == [place // 5]
    forever = asyncio.create_task(_exhaust(replay.play(Passage(TEN, None, PlayOptions(scale=0.001)))))
    await asyncio.sleep(0.05)
    forever.cancel()
    forever.cancel()
    with pytest.raises(asyncio.CancelledError):
        await forever
    deadline_s = time.monotonic() + 5
    while open_footage() and time.monotonic() < deadline_s:
        await asyncio.sleep(0.01)
    assert (open_footage(), threading.active_count()) == before == ([], before[1])
    await replay.close()
    await asyncio.to_thread(threads.shutdown)


async def test_a_reader_that_takes_nothing_has_a_bounded_amount_read_for_it(
    tmp_path: Path, folder: SegmentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # row 58
    write(tmp_path / "cam", TEN, 8)
    read: list[Picture] = []
    monkeypatch.setattr(read_ahead, "TURN_S", 3600)
    due = segment_folder._Due

    def reading(picture: Picture, after_s: float) -> segment_folder._Due:
        read.append(picture)
        return due(picture, after_s)

    monkeypatch.setattr(segment_folder, "_Due", reading)
    replay = await folder.open(TEN)
    async with aclosing(replay.play(Passage(TEN, None, UNPACED))) as pictures:
        for taken in range(1, 80):
            await anext(pictures)
            await asyncio.sleep(0.002)
            assert len(read) <= taken + 2 * read_ahead.TURN_ITEMS


async def test_a_disk_that_is_gone_is_told(tmp_path: Path, timeline: Timeline, threads: ThreadPoolExecutor) -> None:
    folder = folder_of(tmp_path / "unmounted", timeline, threads)
    with pytest.raises(RecorderUnreachable):
        await folder.find(DAY, LONG_AFTER)
    with pytest.raises(RecorderUnreachable):
        await folder.open(TEN)


async def test_segments_that_are_destroyed_while_they_play_end_it(
    tmp_path: Path, folder: SegmentFolder, timeline: Timeline
) -> None:
    # C04: retention runs on under who is watching
    path = write(tmp_path / "cam", TEN, 4)
    following = write(tmp_path / "cam", TEN + seconds(4), 4)
    replay = await folder.open(TEN)
    pictures = []
    async for picture in replay.play(Passage(TEN)):
        pictures.append(picture)
        if picture.at == TEN + seconds(1):
            path.unlink()
            following.unlink()
    assert 1 <= at(pictures)[-1] < 4


@pytest.mark.parametrize("kind", ["fmp4", "ts"])
async def test_a_segment_that_is_destroyed_while_it_plays_in_reverse_is_told(
    tmp_path: Path, timeline: Timeline, threads: ThreadPoolExecutor, kind: Kind
) -> None:
    # C04, C05: each group is opened anew
    layout = Layout(DEFAULT.replace("mp4", kind))
    path = write(tmp_path / "cam", TEN, 6, kind=kind, layout=layout)
    replay = await folder_of(tmp_path, timeline, threads, layout).open(TEN)
    pictures = replay.play(Passage(TEN + seconds(5.9), options=PlayOptions(scale=-1.0)))
    await anext(pictures)
    path.unlink()
    with pytest.raises(RecorderUnreachable):
        await _exhaust(pictures)


async def _exhaust(pictures: AsyncIterator[Picture]) -> None:
    async for _ in pictures:
        pass


def open_footage() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.endswith((".mp4", ".ts")):
            found.append(target)
    return found
