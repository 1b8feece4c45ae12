"""A camera that drops, refuses, stalls or writes rubbish, and readers that are held through it."""

from __future__ import annotations

import asyncio
import random

import pytest

from halfgateway.errors import CameraUnreachable
from halfgateway.protocol.digest import Algorithm
from halfgateway.relay.source import SourceState
from halfgateway.simulator.behaviour import Refusal
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.upstream.backoff import (
    BUSY_DELAY_S,
    FIRST_DELAY_S,
    LOCKOUT_DELAY_S,
    LONGEST_DELAY_S,
    CameraFailure,
)
from halfgateway.upstream.client import Target
from tests.upstream.conftest import OpenLine
from tests.upstream.line import KEY, Line, eventually, target_of

FRAME_TICKS = 3600


async def test_a_reader_begins_at_a_key_frame_and_misses_nothing(line: Line) -> None:
    watcher = await line.watch()
    await watcher.packets(50)
    assert watcher.video[0].payload[0] & 0x1F in {7, 24}
    assert watcher.sequence_steps == {1}
    assert {0, FRAME_TICKS} <= watcher.timestamp_steps
    assert all(step % FRAME_TICKS == 0 for step in watcher.timestamp_steps), (
        "a camera on a busy machine leaves some out"
    )


@pytest.mark.parametrize(
    "offered", [(Algorithm.MD5,), (Algorithm.SHA256,), (Algorithm.SHA256, Algorithm.MD5)], ids=["md5", "sha", "both"]
)
async def test_it_logs_in_by_digest(line: Line, short_camera: SimulatedCamera, offered: tuple[Algorithm, ...]) -> None:
    # row 44, quirk several-challenges
    short_camera.behaviour.digest = offered
    await (await line.watch()).packets(10)
    asked = short_camera.rtsp_counters.requests
    assert (asked["OPTIONS"], asked["DESCRIBE"], asked["SETUP"], asked["PLAY"]) == (1, 2, 1, 1)


async def test_one_pull_serves_all_readers(line: Line, short_camera: SimulatedCamera) -> None:
    # quirk few-sessions: a camera has few sessions to give
    short_camera.behaviour.session_limit = 1
    watchers = await asyncio.gather(*(line.watch() for _ in range(10)))
    await asyncio.gather(*(watcher.packets(10) for watcher in watchers))
    assert short_camera.session_count == 1
    assert short_camera.rtsp_counters.connections == 1
    assert {tuple(watcher.sequence_steps) for watcher in watchers} == {(1,)}


async def test_a_drop_holds_the_reader_and_its_stream_goes_on(line: Line, short_camera: SimulatedCamera) -> None:
    # row 52: one source, one sequence, time that moves on
    watcher = await line.watch()
    for drops in range(1, 4):
        await watcher.packets(10)
        short_camera.drop_connections()
        await line.waited(drops)
        await watcher.packets(20)
    assert watcher.ended == []
    assert len(watcher.sources) == 1
    assert watcher.sequence_steps == {1}
    assert min(watcher.timestamp_steps) >= 0
    assert short_camera.rtsp_counters.connections == 4


async def test_waits_grow_while_the_camera_is_gone(open_line: OpenLine, short_camera: SimulatedCamera) -> None:
    await short_camera.stop()
    line = open_line(target_of(short_camera))
    with pytest.raises(CameraUnreachable):
        await line.watch()
    await line.waited(9)
    expected = [FIRST_DELAY_S * 2**failures for failures in range(6)] + [30.0] * 3
    assert line.waits[:9] == pytest.approx(expected, abs=0.25)


async def test_a_dead_camera_is_left_alone_for_times_that_no_two_of_us_share(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    # T15: jittered back-off, so that a thousand cameras behind one switch are not dialled in step
    await short_camera.stop()
    lines = [open_line(target_of(short_camera), chance=random.Random(seed).random) for seed in range(4)]
    for line in lines:
        with pytest.raises(CameraUnreachable):
            await line.watch()
    for line in lines:
        await line.waited(8)
        for failures, wait_s in enumerate(line.waits[:8]):
            delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**failures)
            assert delay_s - 0.25 <= wait_s <= 1.5 * delay_s
    for waits in zip(*(line.waits[3:8] for line in lines), strict=True):
        assert max(waits) - min(waits) > 0.05 * min(waits)


async def test_a_camera_with_another_address_is_dialled_without_waiting_for_the_old_one(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    # T15: its configuration was put right
    line = open_line(target_of(short_camera, password="wrong"))
    line.patience.clear()
    with pytest.raises(CameraFailure):
        await line.watch()
    await line.waited(1)
    line.target = target_of(short_camera)
    line.puller.reconsider("another")
    line.puller.reconsider(KEY.camera)
    (source,) = line.hub
    await eventually(lambda: source.state is SourceState.LIVE)
    await (await line.watch()).packets(5)
    assert len(line.waits) == 1


async def test_a_camera_that_drops_as_soon_as_it_plays_is_left_alone_for_longer_and_longer(
    line: Line, short_camera: SimulatedCamera
) -> None:
    watcher = await line.watch()
    for drops in range(1, 5):
        await watcher.packets(1)
        short_camera.drop_connections()
        await line.waited(drops)
    assert line.waits == pytest.approx([0.5, 1.0, 2.0, 4.0], abs=0.25)
    await watcher.packets(1)
    line.skipped_s += 60
    await watcher.packets(10)
    short_camera.drop_connections()
    await line.waited(5)
    assert line.waits[-1] == pytest.approx(FIRST_DELAY_S, abs=0.25)


@pytest.mark.parametrize(
    ("refusal", "wait_s"),
    [
        (Refusal(453), BUSY_DELAY_S),
        (Refusal(503), BUSY_DELAY_S),
        (Refusal(503, retry_after_s=77), 77.0),
        (Refusal(453, retry_after_s=25), 25.0),
        (Refusal(503, retry_after_s=90_000), 300.0),
        (Refusal(404), FIRST_DELAY_S),
    ],
)
async def test_a_refusal_is_heeded(line: Line, short_camera: SimulatedCamera, refusal: Refusal, wait_s: float) -> None:
    # quirk few-sessions; the camera's Retry-After
    line.patience.clear()
    short_camera.behaviour.rtsp_refusal = refusal
    with pytest.raises(CameraFailure) as failed:
        await line.watch()
    assert failed.value.status == refusal.status
    await line.waited(1)
    assert line.waits == pytest.approx([wait_s], abs=0.25)
    connections = short_camera.rtsp_counters.connections
    for _ in range(5):
        with pytest.raises(CameraFailure):
            await line.watch()
        with pytest.raises(CameraFailure):
            await line.puller.describe(KEY)
    assert short_camera.rtsp_counters.connections == connections == 1


async def test_a_wrong_password_is_tried_once_and_not_again_until_it_is_changed(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    # quirk lock-out: devices lock accounts
    line = open_line(target_of(short_camera, password="wrong"), linger_s=0.0)
    line.patience.clear()
    for _ in range(20):
        with pytest.raises(CameraFailure) as failed:
            await line.watch()
        assert failed.value.status == 401
        line.hub.sweep()
        with pytest.raises(CameraFailure):
            await line.puller.describe(KEY)
        await asyncio.sleep(0)
    asked = short_camera.rtsp_counters
    assert (asked.connections, asked.requests["DESCRIBE"], asked.requests["SETUP"]) == (1, 2, 0)
    assert line.waits[0] == pytest.approx(LOCKOUT_DELAY_S, abs=0.25)
    line.target = target_of(short_camera)
    assert (await line.puller.describe(KEY)).video is not None
    await (await line.watch()).packets(10)


async def test_a_camera_that_stalls_is_dialled_again(open_line: OpenLine, short_camera: SimulatedCamera) -> None:
    # quirk no-more-pictures: connected, and no frames for hours
    line = open_line(target_of(short_camera), silence_limit_s=0.4)
    watcher = await line.watch()
    await watcher.packets(20)
    short_camera.behaviour.stalled = True
    await line.waited(1)
    short_camera.behaviour.stalled = False
    await watcher.packets(40)
    assert watcher.ended == []
    assert len(watcher.sources) == 1
    assert watcher.sequence_steps == {1}
    assert short_camera.rtsp_counters.connections >= 2


async def test_a_camera_that_plays_and_sends_nothing_is_no_camera(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    short_camera.behaviour.stalled = True
    line = open_line(target_of(short_camera), silence_limit_s=0.2, open_timeout_s=5.0)
    line.patience.clear()
    with pytest.raises(CameraUnreachable):
        await line.watch()
    assert line.described == []


async def test_readers_of_a_camera_that_is_lost_for_too_long_are_ended(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    # ADR 2, Numbers: held 30 s, though the camera answers PLAY each time
    line = open_line(target_of(short_camera), silence_limit_s=0.2)
    watcher = await line.watch()
    await watcher.packets(5)
    short_camera.behaviour.stalled = True
    await line.waited(2)
    line.hub.sweep()
    assert watcher.ended == []
    line.skipped_s += 31
    line.hub.sweep()
    assert [cause.code for cause in watcher.ended] == ["camera-unreachable"]


async def test_rubbish_between_frames_costs_nothing(line: Line, short_camera: SimulatedCamera) -> None:
    # row 7
    watcher = await line.watch()
    for _ in range(5):
        await watcher.packets(5)
        short_camera.write_rubbish()
    await watcher.packets(20)
    assert watcher.sequence_steps == {1}
    assert short_camera.rtsp_counters.connections == 1


@pytest.mark.parametrize("answers", [True, False], ids=["answered", "unanswered"])
async def test_a_session_is_kept_alive(line: Line, short_camera: SimulatedCamera, answers: bool) -> None:
    # row 27, quirk get-parameter-unanswered: and no answer is no fault
    short_camera.behaviour.session_timeout_s = 1.0
    short_camera.behaviour.answers_keep_alive = answers
    watcher = await line.watch()
    asked = short_camera.rtsp_counters
    await eventually(lambda: asked.requests["GET_PARAMETER"] >= 4)
    await watcher.packets(10)
    assert asked.connections == 1
    assert watcher.ended == []


async def test_a_pull_lingers_and_then_gives_the_camera_its_session_back(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    line = open_line(target_of(short_camera), linger_s=100.0)
    watcher = await line.watch()
    await watcher.packets(5)
    await line.leave(watcher)
    line.hub.sweep()
    await (await line.watch()).packets(5)
    assert short_camera.rtsp_counters.connections == 1
    await line.leave(watcher)
    line.skipped_s += 101
    line.hub.sweep()
    await eventually(lambda: short_camera.session_count == 0 and short_camera.connection_count == 0)
    assert short_camera.rtsp_counters.requests["TEARDOWN"] == 1


async def test_who_comes_back_at_the_last_moment_finds_the_session_free(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    # a camera with one session to give would refuse the second
    short_camera.behaviour.session_limit = 1
    line = open_line(target_of(short_camera), linger_s=0.0)
    for _ in range(3):
        watcher = await line.watch()
        await watcher.packets(1)
        await line.leave(watcher)
        line.hub.sweep()
    await (await line.watch()).packets(5)
    assert line.waits == []


async def test_credentials_are_not_sent_in_clear_to_who_wants_tls(
    open_line: OpenLine, short_camera: SimulatedCamera
) -> None:
    line = open_line(Target(short_camera.rtsp_url.replace("rtsp:", "rtsps:"), "gateway", "secret"))
    with pytest.raises(CameraFailure):
        await line.puller.describe(KEY)
    assert short_camera.rtsp_counters.connections == 0


async def test_closing_says_goodbye_to_every_camera(line: Line, short_camera: SimulatedCamera) -> None:
    await (await line.watch()).packets(5)
    await line.hub.close()
    assert short_camera.rtsp_counters.requests["TEARDOWN"] == 1
    assert short_camera.session_count == 0


async def test_a_description_takes_no_session(line: Line, short_camera: SimulatedCamera) -> None:
    # S13
    presentation = await line.puller.describe(KEY)
    assert presentation.track_url.endswith("/trackID=0")
    assert short_camera.rtsp_counters.requests["SETUP"] == 0
    await eventually(lambda: short_camera.connection_count == 0)


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:1/x", "rtsp://[::1]:1/x", "rtsp://no host/x", "http://127.0.0.1/"])
async def test_an_address_that_leads_nowhere_is_a_failure_like_others(open_line: OpenLine, url: str) -> None:
    line = open_line(Target(url))
    with pytest.raises(CameraFailure):
        await line.puller.describe(KEY)
    with pytest.raises(CameraFailure):
        await line.watch()
