"""Recorders of ONVIF Profile G: intervals from their events, asked once, and replays where they say."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, NoSuchRecording, NotSupported, RegistryError, Unreachable
from camera_registry.onvif_port import RecordingSpan, StateChange
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.replay import PlayOptions
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.coverage import clipped, intervals
from halfgateway.replay.footage import Interval, Passage
from halfgateway.replay.onvif_recorder import FOUND_FOR_S, OnvifFootage, OnvifRecorder
from tests.held_clock import HeldClock
from tests.replay.scripted_recorder import NOON, Manner, scripted_recorder
from tests.replay.test_rtsp_replay import some

SECOND = timedelta(seconds=1)
DAY = 86_400
START, END = NOON, NOON + timedelta(days=1)
NOW = END + timedelta(days=1)
WHOLE = RecordingSpan(token="1", earliest=START - timedelta(days=5), latest=NOW, tracks=("v",))


def change(after_s: int, present: bool, track: str = "v") -> StateChange:
    return StateChange(at=START + after_s * SECOND, present=present, track=track)


def spans(found: Sequence[Interval]) -> list[tuple[int, int]]:
    return [(int((each.start - START) / SECOND), int((each.end - START) / SECOND)) for each in found]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([change(0, True), change(100, False), change(200, True), change(300, False)], [(0, 100), (200, 300)]),
        ([change(100, False), change(200, True)], [(0, 100), (200, DAY)]),
        ([change(0, False), change(0, True), change(50, False)], [(0, 50)]),
        ([change(0, True), change(60, False), change(60, True), change(90, False)], [(0, 90)]),
        ([change(-100, True), change(30, False), change(2 * DAY, True)], [(0, 30)]),
        ([change(-100, True)], [(0, DAY)]),
        ([change(-100, False)], []),
        ([change(5, True, "a"), change(9, False, "a"), change(7, True), change(8, False)], [(7, 8)]),
        ([change(5, True, ""), change(9, False, ""), change(1, True, "a")], [(5, 9)]),
        ([change(5, True, "x"), change(9, False, "x")], [(5, 9)]),
    ],
)
def test_changes_make_intervals(changes: list[StateChange], expected: list[tuple[int, int]]) -> None:
    found = intervals(changes, WHOLE, START, END, NOW)
    assert spans(found) == expected
    assert all(each.verified for each in found)


def test_a_span_alone_is_not_verified() -> None:
    # FindRecordings tells no gaps: FindEvents does
    assert intervals([], WHOLE, START, END, NOW) == [Interval(START, END, verified=False)]
    assert intervals([], RecordingSpan(token="1"), START, END, NOW) == []


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_is_open_ends_now_or_with_the_recording(goes_on: bool) -> None:
    span = RecordingSpan(token="1", earliest=START, latest=START + 500 * SECOND, goes_on=goes_on, tracks=("v",))
    now = START + 600 * SECOND
    assert spans(intervals([change(100, True)], span, START, END, now)) == [(100, 600 if goes_on else 500)]


def test_what_is_older_than_the_recording_is_gone() -> None:
    span = RecordingSpan(token="1", earliest=START + 50 * SECOND, latest=NOW, tracks=("v",))
    found = intervals([change(0, True), change(10, False), change(20, True)], span, START, END, NOW)
    assert spans(found) == [(50, DAY)]


CHANGES = st.lists(st.builds(change, st.integers(-DAY, 2 * DAY), st.booleans()), max_size=30)


@given(CHANGES, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(changes: list[StateChange], chance: random.Random) -> None:
    found = intervals(changes, WHOLE, START, END, NOW)
    mixed = changes + changes[: len(changes) // 2]
    chance.shuffle(mixed)
    assert intervals(mixed, WHOLE, START, END, NOW) == found
    assert all(START <= each.start < each.end <= END for each in found)
    assert all(earlier.end < later.start for earlier, later in pairwise(found))


@given(st.lists(st.integers(0, DAY), unique=True, min_size=1, max_size=20).map(sorted), st.booleans())
def test_what_alternates_is_told_exactly(instants: list[int], first: bool) -> None:
    changes = [change(after_s, first == (number % 2 == 0)) for number, after_s in enumerate(instants)]
    found = intervals(changes, WHOLE, START, END, NOW)
    edges = sorted({*instants, 0, DAY})
    for begin, end in pairwise(edges):
        before = [each for each in changes if each.at <= START + begin * SECOND]
        present = before[-1].present if before else not changes[0].present
        middle = START + (begin + end) / 2 * SECOND
        assert any(each.start <= middle < each.end for each in found) == present


def test_clipped_leaves_nothing_empty() -> None:
    found = [Interval(START, START + 10 * SECOND), Interval(START + 20 * SECOND, END)]
    assert spans(clipped(found, START + 10 * SECOND, START + 25 * SECOND)) == [(20, 25)]


class Device:
    """A recorder whose answers a test says."""

    def __init__(self, url: str = "rtsp://127.0.0.1:1/x") -> None:
        self.url = url
        self.asked: list[str] = []
        self.failure: RegistryError | None = None
        self.events: RegistryError | None = None
        self.changes: tuple[StateChange, ...] = (change(0, True), change(100, False))
        self.held = asyncio.Event()
        self.held.set()

    async def recordings(self) -> tuple[RecordingSpan, ...]:
        return (WHOLE,)

    async def recording(self, token: str) -> RecordingSpan:
        await self._asked("recording")
        return WHOLE

    async def state_changes(self, token: str, start: datetime, end: datetime) -> tuple[StateChange, ...]:
        await self._asked("state_changes")
        if self.events is not None:
            raise self.events
        return self.changes

    async def replay_url(self, token: str) -> str:
        await self._asked("replay_url")
        return self.url

    async def reverses(self) -> bool:
        await self._asked("reverses")
        return True

    async def _asked(self, what: str) -> None:
        self.asked.append(what)
        await self.held.wait()
        if self.failure is not None:
            raise self.failure


def recorded(device: Device, clock: HeldClock) -> tuple[OnvifRecorder, OnvifFootage]:
    access = RecorderAccess("nvr", 1, chance=lambda: 0.0, now=clock.monotonic)
    credentials = Credentials(username="passerelle", password="x")
    recorder = OnvifRecorder(device, credentials, access, clock=clock, coalescing=Coalescing())
    return recorder, recorder.footage("1")


@pytest.fixture
def clock() -> HeldClock:
    held = HeldClock()
    held.advance(NOW - held.now())
    return held


async def test_several_that_look_for_the_same_ask_once(clock: HeldClock) -> None:
    device = Device()
    recorder, footage = recorded(device, clock)
    device.held.clear()
    asking = [asyncio.ensure_future(footage.find(START, END + number * SECOND)) for number in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()  # the others have their answer all the same
    await asyncio.wait({asking[0]})
    device.held.set()
    for found in await asyncio.gather(*asking[1:]):
        assert spans(found) == [(0, 100)]
    assert device.asked == ["reverses", "recording", "state_changes"]
    assert footage.reverses
    clock.advance(timedelta(seconds=FOUND_FOR_S))
    await footage.find(START, END)
    assert device.asked.count("state_changes") == 2
    await recorder.aclose()


async def test_without_events_the_span_is_told_as_unverified(clock: HeldClock) -> None:
    device = Device()
    device.events = NotSupported("no events")
    recorder, footage = recorded(device, clock)
    assert await footage.find(START, END) == [Interval(START, END, verified=False)]
    await recorder.aclose()


@pytest.mark.parametrize(
    ("failure", "error", "said"),
    [
        (Unreachable("10.9.9.9 is gone"), RecorderUnreachable, "ne répond pas"),
        (AuthRejected("user syn"), RecorderUnreachable, "identifiants"),
        (NoSuchRecording("token"), NoRecording, "pas d'images"),
    ],
)
async def test_failures_are_told_without_a_word_of_the_recorder(
    clock: HeldClock, failure: RegistryError, error: type[Exception], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    # C16
    device = Device()
    device.failure = failure
    recorder, footage = recorded(device, clock)
    for ask in (footage.find(START, END), footage.open(START), footage.describe(START)):
        with pytest.raises(error, match=said) as refusal:
            await ask
        assert str(failure) not in str(refusal.value) + caplog.text
    device.failure = None
    assert await footage.find(START, END)
    await recorder.aclose()


async def test_it_is_played_where_it_says_and_in_reverse(clock: HeldClock) -> None:
    async with scripted_recorder(Manner()) as played:
        device = Device(played.url)
        recorder, footage = recorded(device, clock)
        assert (await footage.describe(NOON)).media[0].kind == "video"
        replay = await footage.open(NOON)
        (picture,) = await some(replay, Passage(NOON, None, PlayOptions(rate_control=False)), 1)
        await replay.close()
        assert picture.at == NOON
        assert device.asked.count("replay_url") == 1
        assert footage.reverses
        await recorder.aclose()


async def test_it_knows_when_footage_begins_again(clock: HeldClock) -> None:
    device = Device()
    device.changes = (change(0, True), change(100, False), change(5000, True))
    recorder, footage = recorded(device, clock)
    assert await footage._next_footage(START + 100 * SECOND) == START + 5000 * SECOND
    assert await footage._next_footage(START + 6000 * SECOND) is None
    device.failure = Unreachable("gone")
    clock.advance(timedelta(minutes=1))
    assert await footage._next_footage(START + 100 * SECOND) is None
    await recorder.aclose()


async def test_a_url_that_fails_is_asked_for_anew(clock: HeldClock) -> None:
    device = Device()
    recorder, footage = recorded(device, clock)
    for _ in range(2):
        with pytest.raises(RecorderUnreachable):
            await footage.open(NOON)
        clock.advance(timedelta(minutes=1) - SECOND)
    assert device.asked.count("replay_url") == 2
    await recorder.aclose()
