"""Replays at a recorder by RTSP: what is asked of it, what is made of what it sends, and how it is held back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from camera_registry.clock import SystemClock
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, Response, response
from halfgateway.protocol.replay import FrameKind, Frames, PlayOptions
from halfgateway.replay import playing
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.backlog import MOST_BYTES
from halfgateway.replay.footage import Passage, Picture
from halfgateway.replay.rtsp_replay import RtspReplay
from halfgateway.upstream.client import Target
from tests.held_clock import HeldClock
from tests.replay.scripted_recorder import NOON, PICTURE, PICTURES_A_GROUP, Manner, ScriptedRecorder, scripted_recorder
from tests.upstream.scripted import challenge

SECOND = timedelta(seconds=1)
FAST = PlayOptions(rate_control=False)
READ_AT_ONCE_BYTES = 256 * 1024


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def access(clock: HeldClock) -> RecorderAccess:
    return RecorderAccess("nvr", 2, chance=lambda: 0.0, now=clock.monotonic)


@asynccontextmanager
async def replaying(
    recorder: ScriptedRecorder, access: RecorderAccess, *, silence_limit_s: float = 5.0, password: str = "x"
) -> AsyncIterator[RtspReplay]:
    target = Target(recorder.url, "passerelle", password)
    replay = await RtspReplay.open(
        target, access, clock=SystemClock(), coalescing=Coalescing(), silence_limit_s=silence_limit_s
    )
    try:
        yield replay
    finally:
        await replay.close()


async def some(replay: RtspReplay, passage: Passage, count: int) -> list[Picture]:
    """The first pictures of a passage, which is then left."""
    pictures = replay.play(passage)
    found = []
    async for picture in pictures:
        found.append(picture)
        if len(found) == count:
            break
    await pictures.aclose()
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("extension", [True, False])
async def test_a_passage_is_played_from_its_start_to_its_end(access: RecorderAccess, extension: bool) -> None:
    # row 59; ONVIF Streaming 6.3, 6.9: the recorder stays in PLAY, and the passage is over
    passage = Passage(NOON + 2 * SECOND, NOON + 6 * SECOND, FAST)
    manner = Manner(extension=extension, says_goodbye=not extension)
    async with scripted_recorder(manner) as recorder, replaying(recorder, access) as replay:
        pictures = [picture async for picture in replay.play(passage)]
    assert [picture.at for picture in pictures] == [passage.start + PICTURE * number for number in range(20)]
    assert [picture.clean for picture in pictures] == [number % PICTURES_A_GROUP == 0 for number in range(20)]
    assert pictures[0].discontinuous
    assert not any(picture.discontinuous for picture in pictures[1:])
    assert pictures[-1].last == extension
    assert recorder.methods() == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]  # it is not paused: it is over


async def test_what_is_asked_is_what_onvif_has_written_down(access: RecorderAccess) -> None:
    options = PlayOptions(scale=-1.0, rate_control=False, frames=Frames(FrameKind.INTRA, 4000))
    async with scripted_recorder() as recorder, replaying(recorder, access) as replay:
        await some(replay, Passage(NOON + SECOND, NOON + timedelta(seconds=3, milliseconds=500), options), 1)
        (setup,) = [request for request in recorder.asked if request.method == "SETUP"]
        (play,) = recorder.plays()
    said = {name: play.headers.get(name) for name in ("Require", "Range", "Scale", "Rate-Control", "Frames")}
    assert setup.headers.get("Require") == "onvif-replay"
    assert said == {
        "Require": "onvif-replay",
        "Range": "clock=20261120T120001Z-20261120T120003.5Z",
        "Scale": "-1.000000",
        "Rate-Control": "no",
        "Frames": "intra/4000",
    }


async def test_it_begins_at_the_first_clean_picture(access: RecorderAccess) -> None:
    manner = Manner(names_cseq=False, stragglers=3)
    async with scripted_recorder(manner) as recorder, replaying(recorder, access) as replay:
        first, *_ = await some(replay, Passage(NOON, None, FAST), 3)
    assert first.clean


async def test_a_recorder_that_knows_no_replay_is_asked_without_it_from_then_on(access: RecorderAccess) -> None:
    # GStreamer's server answers 551
    async with scripted_recorder(Manner(knows_replay=False)) as recorder:
        for _ in range(2):
            async with replaying(recorder, access) as replay:
                await some(replay, Passage(NOON, None, FAST), 1)
    assert [bool(request.headers.get("Require")) for request in recorder.asked if request.method == "SETUP"] == [
        True,
        False,
        False,
    ]


async def test_one_that_refuses_to_hear_of_replay_only_when_it_plays(access: RecorderAccess) -> None:
    async with scripted_recorder() as recorder:
        recorder.script = lambda request: (
            response(551) if request.method == "PLAY" and "Require" in request.headers else None
        )
        async with replaying(recorder, access) as replay:
            for start in (NOON, NOON + 9 * SECOND):
                (found,) = await some(replay, Passage(start, None, FAST), 1)
                assert found.at == start
    assert ["Require" in request.headers for request in recorder.plays()] == [True, False, False]


@pytest.mark.parametrize(
    "manner",
    [
        Manner(stragglers=7),
        Manner(stragglers=7, names_cseq=False),
        Manner(stragglers=7, extension=False, tells_rtp_info=True),
        Manner(extension=False, knows_replay=False),
    ],
    ids=["by-cseq", "by-d", "by-rtp-info", "by-pause"],
)
async def test_a_seek_is_another_play_and_nothing_of_before_is_given(access: RecorderAccess, manner: Manner) -> None:
    # ONVIF Streaming 6.10; row 31: one session whatever is sought
    async with scripted_recorder(replace(manner, pause_s=0.001)) as recorder:
        recorder.manner.stragglers, stragglers = 0, manner.stragglers
        async with replaying(recorder, access) as replay:
            await some(replay, Passage(NOON, None, FAST), 2)
            recorder.manner.stragglers = stragglers
            for minute in (30, 10, 50):
                start = NOON + timedelta(minutes=minute)
                found = await some(replay, Passage(start, None, FAST), 6)
                assert [picture.at for picture in found] == [start + PICTURE * number for number in range(6)]
                assert found[0].discontinuous
        assert recorder.connections == 1
        assert ("PAUSE" in recorder.methods()) == (not manner.knows_replay)
        assert [request.headers.get("Immediate") for request in recorder.plays()][-3:] == [
            "yes" if manner.knows_replay else None
        ] * 3


async def test_one_that_nobody_plays_is_paused_and_kept(access: RecorderAccess) -> None:
    # row 27: signs of life, playing or not (the recorder's sessions last a second)
    async with scripted_recorder(Manner(pause_s=0.002)) as recorder, replaying(recorder, access) as replay:
        await some(replay, Passage(NOON, None, FAST), 2)
        await until(lambda: "PAUSE" in recorder.methods())
        await until(lambda: "GET_PARAMETER" in recorder.methods())
        found = await some(replay, Passage(NOON + 9 * SECOND, None, FAST), 2)
        assert found[0].at == NOON + 9 * SECOND
        assert "Immediate" not in recorder.plays()[-1].headers


async def test_who_takes_slowly_holds_the_recorder_back(access: RecorderAccess) -> None:
    # row 58
    # S14, C02: 1 kB/s of a replay without rate control; nothing piles up here, and the recorder cannot send
    async with scripted_recorder(Manner(padding=50_000)) as recorder, replaying(recorder, access) as replay:
        pictures = replay.play(Passage(NOON, None, FAST))
        first = await anext(pictures)
        sent = -1
        while sent != recorder.sent_bytes:  # until it is stuck
            sent = recorder.sent_bytes
            await asyncio.sleep(0.05)
        all_bytes = 50_000 * 5 * 3600
        assert sent < all_bytes / 10
        current = replay._current
        assert current is not None
        assert current.backlog.held
        assert current.backlog.size_bytes <= MOST_BYTES + READ_AT_ONCE_BYTES + 50_000
        signs = len(recorder.heard)
        await until(lambda: len(recorder.heard) > signs)  # of life (row 27), whose answers nobody reads
        assert recorder.methods()[-1] == "GET_PARAMETER"
        taken = [first] + [await anext(pictures) for _ in range(200)]
        assert [later.at - earlier.at for earlier, later in pairwise(taken)] == [PICTURE] * 200
        await until(lambda: recorder.sent_bytes > sent)
        await pictures.aclose()
        (found,) = await some(replay, Passage(NOON + timedelta(minutes=40), None, FAST), 1)
        assert found.at == NOON + timedelta(minutes=40)


async def test_a_gap_that_the_recorder_skips_is_waited_out(
    access: RecorderAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playing, "SKIPPED_GAP", timedelta(seconds=0.1))
    footage = ((NOON, NOON + SECOND), (NOON + 101 * SECOND, NOON + 102 * SECOND))
    options = PlayOptions(scale=200.0)
    async with scripted_recorder(Manner(footage=footage)) as recorder, replaying(recorder, access) as replay:
        began_s = asyncio.get_running_loop().time()
        found = [picture async for picture in replay.play(Passage(NOON, None, options))]
    assert found[5].at == NOON + 101 * SECOND
    assert found[5].discontinuous
    assert found[4].last
    assert found[-1].last
    assert asyncio.get_running_loop().time() - began_s >= 0.5


@pytest.mark.parametrize(
    ("manner", "ends"),
    [
        (Manner(marks_end=False, extension=False, hangs_up=True), True),
        (Manner(marks_end=False, extension=False), True),
        (Manner(marks_end=False, footage=((NOON, NOON + 3 * SECOND),), hangs_up=True), False),
        (Manner(marks_end=False, footage=((NOON, NOON + 3 * SECOND),)), False),
    ],
    ids=["hangs-up-at-the-end", "silent-at-the-end", "hangs-up-before", "silent-before"],
)
async def test_the_end_and_a_loss_are_told_apart(access: RecorderAccess, manner: Manner, ends: bool) -> None:
    # row 59
    found: list[Picture] = []
    lost: RecorderUnreachable | None = None
    async with scripted_recorder(manner) as recorder, replaying(recorder, access, silence_limit_s=0.3) as replay:
        try:
            async for picture in replay.play(Passage(NOON, NOON + 10 * SECOND, FAST)):
                found += [picture]
        except RecorderUnreachable as failure:
            lost = failure
    assert (lost is None) == ends
    assert len(found) == (50 if ends else 15)


@pytest.mark.parametrize("more", [True, False])
async def test_one_that_is_silent_throughout_a_gap_is_waited_for(access: RecorderAccess, more: bool) -> None:
    async def next_footage(at: datetime) -> datetime | None:
        assert at == NOON + SECOND - PICTURE
        return NOON + 101 * SECOND if more else None

    footage = ((NOON, NOON + SECOND), (NOON + 101 * SECOND, NOON + 102 * SECOND))
    async with scripted_recorder(Manner(footage=footage, gap_s=0.4, marks_end=True)) as recorder:
        replay = await RtspReplay.open(
            Target(recorder.url),
            access,
            clock=SystemClock(),
            coalescing=Coalescing(),
            silence_limit_s=0.1,
            next_footage=next_footage,
        )
        found = [picture async for picture in replay.play(Passage(NOON, None, PlayOptions(scale=200.0)))]
        await replay.close()
    assert len(found) == (10 if more else 5)


async def test_nothing_past_the_end_is_given_whatever_comes(access: RecorderAccess) -> None:
    def without_end(request: Request) -> Response | None:
        request.headers.set("Range", (request.headers.get("Range") or "").partition("Z-")[0] + "Z-")
        return None

    async with scripted_recorder() as recorder:
        recorder.script = without_end
        async with replaying(recorder, access) as replay:
            found = [picture async for picture in replay.play(Passage(NOON, NOON + 2 * SECOND, FAST))]
            await until(lambda: "PAUSE" in recorder.methods())  # it plays on, until it is told not to
    assert found[-1].at == NOON + 2 * SECOND


async def test_to_close_ends_what_is_played(access: RecorderAccess) -> None:
    async with scripted_recorder(Manner(pause_s=0.01)) as recorder, replaying(recorder, access) as replay:
        pictures = replay.play(Passage(NOON, None, FAST))
        await anext(pictures)
        await replay.close()
        assert len([picture async for picture in pictures]) < 200
        with pytest.raises(RecorderUnreachable):
            await some(replay, Passage(NOON, None), 1)
    assert access.taken == 0


async def test_one_session_more_than_configured_is_refused_here(access: RecorderAccess) -> None:
    async with scripted_recorder() as recorder, replaying(recorder, access), replaying(recorder, access):
        with pytest.raises(RecorderUnreachable, match="session"):
            await RtspReplay.open(Target(recorder.url), access, clock=SystemClock(), coalescing=Coalescing())
        assert recorder.connections == 2
    assert access.taken == 0


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (453, RecorderUnreachable, "n'a plus de session"),
        (503, RecorderUnreachable, "n'a plus de session"),
        (404, NoRecording, "pas d'images"),
        (500, RecorderUnreachable, "refuse la lecture"),
    ],
)
async def test_refusals_say_what_they_are(
    access: RecorderAccess, status: int, error: type[Exception], said: str
) -> None:
    async with scripted_recorder() as recorder:
        recorder.script = lambda request: response(status) if request.method == "SETUP" else None
        with pytest.raises(error, match=said) as refusal:
            await RtspReplay.open(Target(recorder.url), access, clock=SystemClock(), coalescing=Coalescing())
        assert "127.0.0.1" not in str(refusal.value)
    assert access.taken == 0


async def test_a_range_that_is_refused_is_no_recording(access: RecorderAccess) -> None:
    async with scripted_recorder() as recorder, replaying(recorder, access) as replay:
        recorder.script = lambda request: response(457) if request.method == "PLAY" else None
        with pytest.raises(NoRecording):
            await some(replay, Passage(NOON, None), 1)
        recorder.script = lambda request: None
        assert len(await some(replay, Passage(NOON, None), 1)) == 1


async def test_a_wrong_password_is_tried_once(
    access: RecorderAccess, clock: HeldClock, caplog: pytest.LogCaptureFixture
) -> None:
    # quirk lock-out; C16: neither password nor address is told
    async with scripted_recorder() as recorder:
        recorder.script = lambda request: challenge('Digest realm="nvr", nonce="1"')
        for _ in range(3):
            with pytest.raises(RecorderUnreachable, match="identifiants") as refusal:
                async with replaying(recorder, access, password="hunter2"):
                    pass
            assert "hunter2" not in str(refusal.value) + caplog.text
            assert "127.0.0.1" not in str(refusal.value) + caplog.text
        assert sum("Authorization" in request.headers for request in recorder.asked) == 1
        clock.advance(timedelta(minutes=10))
        recorder.script = lambda request: None
        async with replaying(recorder, access, password="better"):
            assert access.taken == 1


async def test_a_recorder_that_is_gone_says_so(access: RecorderAccess) -> None:
    async with scripted_recorder() as recorder:
        pass
    with pytest.raises(RecorderUnreachable, match="ne répond pas"):
        await RtspReplay.open(Target(recorder.url), access, clock=SystemClock(), coalescing=Coalescing())
    assert access.taken == 0


async def test_every_await_can_be_cancelled_and_leaves_nothing_open(access: RecorderAccess) -> None:
    async with scripted_recorder() as recorder:
        for silent in ("OPTIONS", "DESCRIBE", "SETUP"):
            recorder.script = lambda request, silent=silent: (
                Response(100, "Continue", Headers()) if request.method == silent else None
            )
            opening = asyncio.ensure_future(
                RtspReplay.open(Target(recorder.url), access, clock=SystemClock(), coalescing=Coalescing())
            )
            await until(lambda silent=silent: silent in recorder.methods())
            opening.cancel()
            await asyncio.wait({opening})
        assert access.taken == 0
