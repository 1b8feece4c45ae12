"""Recorders that are played by a URL of their maker's: what is written, in whose time, and one session at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_registry.connections import Credentials
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.replay import PlayOptions
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.footage import Interval, Passage
from halfgateway.replay.url_recorder import OPEN_END, ReplayUrl, UrlFootage
from tests.held_clock import HeldClock
from tests.replay.scripted_recorder import NOON, PICTURE, Manner, ScriptedRecorder, scripted_recorder
from tests.replay.test_rtsp_replay import some

PARIS = ZoneInfo("Europe/Paris")
HIKVISION = ReplayUrl(
    "rtsp://nvr/Streaming/tracks/{channel}01?starttime={start}&endtime={end}", "%Y%m%dT%H%M%Sz", ZoneInfo("UTC")
)
DAHUA = ReplayUrl(
    "rtsp://nvr/cam/playback?channel={channel}&subtype=0&starttime={start}&endtime={end}", "%Y_%m_%d_%H_%M_%S", PARIS
)
SECOND = timedelta(seconds=1)
FIRST = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 2:30 in summer time
SECOND_TIME = FIRST + timedelta(hours=1)  # 2:30 in winter time
KEEPS = timedelta(days=10)


@pytest.mark.parametrize(
    ("url", "start", "written"),
    [
        (
            HIKVISION,
            datetime(2018, 11, 13, 12, 38, 12, tzinfo=UTC),
            "rtsp://nvr/Streaming/tracks/201?starttime=20181113T123812z&endtime=20181113T124812z",
        ),
        (
            DAHUA,
            datetime(2018, 11, 13, 11, 38, 12, tzinfo=UTC),
            "rtsp://nvr/cam/playback?channel=2&subtype=0&starttime=2018_11_13_12_38_12&endtime=2018_11_13_12_48_12",
        ),
    ],
)
def test_makers_write_it_so(url: ReplayUrl, start: datetime, written: str) -> None:
    # mpromonet/webrtc-streamer#174
    assert url.write("2", start, start + timedelta(minutes=10)) == written


def test_the_first_of_two_hours_is_written_and_the_second_refused() -> None:
    # the 25 October: an hour off is worse than no answer
    assert "starttime=2026_10_25_02_30_00" in DAHUA.write("1", FIRST, FIRST + timedelta(days=1))
    with pytest.raises(NoRecording, match="heure d'hiver"):
        DAHUA.write("1", SECOND_TIME, SECOND_TIME + timedelta(days=1))
    assert "T013000z" in HIKVISION.write("1", SECOND_TIME, SECOND_TIME + timedelta(days=1))


@pytest.mark.parametrize("end", [FIRST, SECOND_TIME])
def test_an_end_within_two_hours_written_alike_is_written_after_them(end: datetime) -> None:
    assert DAHUA.write("1", FIRST - timedelta(hours=1), end).endswith("endtime=2026_10_25_03_00_00")


def test_the_hour_that_there_is_not_is_never_written() -> None:
    # 29 March 2026: from 2:00 to 3:00
    before = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
    assert "starttime=2026_03_29_01_59_59" in DAHUA.write("1", before, before + SECOND * 2)
    assert DAHUA.write("1", before, before + SECOND * 2).endswith("endtime=2026_03_29_03_00_01")


@given(st.integers(0, 6 * 366 * 86_400 * 1000), st.integers(0, 86_400 * 3))
def test_what_is_written_can_be_read_back(milliseconds: int, seconds: int) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    begins, end = DAHUA.begins(start), start + timedelta(seconds=seconds)
    try:
        url = DAHUA.write("1", begins, end)
    except NoRecording:
        return
    first, last = (text[:19] for text in url.partition("starttime=")[2].split("&endtime="))
    read = [datetime.strptime(text, DAHUA.time_format).replace(tzinfo=PARIS).astimezone(UTC) for text in (first, last)]
    assert read[0] == begins
    assert start - SECOND < read[0] <= start
    assert end <= read[1] <= end + timedelta(hours=2, minutes=15)


@asynccontextmanager
async def played_by_url(manner: Manner, clock: HeldClock) -> AsyncIterator[tuple[ScriptedRecorder, UrlFootage]]:
    async with scripted_recorder(manner) as recorder:
        access = RecorderAccess("nvr", 1, chance=lambda: 0.0, now=clock.monotonic)
        url = ReplayUrl(f"{recorder.url}/{{channel}}?start={{start}}&end={{end}}", "%Y%m%dT%H%M%SZ", ZoneInfo("UTC"))
        credentials = Credentials(username="passerelle", password="x")
        yield (
            recorder,
            UrlFootage("7", url, credentials, access, keeps=KEEPS, clock=clock, coalescing=Coalescing()),
        )
        assert access.taken == 0


async def test_each_passage_has_a_session_of_its_own_and_never_two() -> None:
    clock = HeldClock()
    clock.advance(timedelta(days=1))
    async with played_by_url(Manner(extension=False, knows_replay=False), clock) as (recorder, footage):
        replay = await footage.open(NOON)
        first = await some(replay, Passage(NOON, None), 3)
        later = NOON + timedelta(minutes=5, milliseconds=700)
        second = await some(replay, Passage(later, later + 60 * SECOND), 3)
        await replay.close()
        await replay.close()
    assert [picture.at for picture in first] == [NOON + PICTURE * number for number in range(3)]
    assert second[0].at == later.replace(microsecond=0)
    end = (clock.now() + OPEN_END).strftime("%Y%m%dT%H%M%SZ")
    assert [request.uri.rpartition("/")[2] for request in recorder.asked if request.method == "DESCRIBE"] == [
        f"7?start=20261120T120000Z&end={end}",
        "7?start=20261120T120500Z&end=20261120T120601Z",
    ]
    methods = [method for method in recorder.methods() if method != "PAUSE"]
    assert methods == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"] * 2
    assert not any(request.headers.get("Require") for request in recorder.asked)


async def test_reverse_is_not_asked_of_it() -> None:
    clock = HeldClock()
    async with played_by_url(Manner(), clock) as (recorder, footage):
        assert not footage.reverses
        replay = await footage.open(NOON)
        with pytest.raises(RecorderUnreachable, match="arrière"):
            await some(replay, Passage(NOON, None, PlayOptions(scale=-1.0)), 1)
        await replay.close()
    assert not recorder.plays()


async def test_what_it_is_said_to_keep_is_believed_and_never_verified() -> None:
    clock = HeldClock()
    now = clock.now()
    async with played_by_url(Manner(), clock) as (recorder, footage):
        assert await footage.find(now - timedelta(days=20), now + SECOND) == [
            Interval(now - KEEPS, now, verified=False)
        ]
        assert await footage.find(now - timedelta(hours=1), now - timedelta(minutes=1)) == [
            Interval(now - timedelta(hours=1), now - timedelta(minutes=1), verified=False)
        ]
        assert await footage.find(now - timedelta(days=20), now - timedelta(days=11)) == []
        assert (await footage.describe(NOON)).media[0].kind == "video"
    assert recorder.methods() == ["DESCRIBE"]
