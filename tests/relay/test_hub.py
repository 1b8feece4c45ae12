"""One pull per camera profile, shared, lingering, and given up only after its readers were held."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from halfgateway.errors import CameraUnreachable, Refusal
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.relay.chunk import Chunk
from halfgateway.relay.hub import Hub
from halfgateway.relay.reader import Gate, Reader
from halfgateway.relay.source import Source, SourceKey, SourceState, VideoFormat
from tests.relay.packets import IDR, NON_IDR, channels, chunk, frames, rtp

KEY = SourceKey("cam-1", "main")
H264 = VideoFormat(Codec.H264, 90_000)


class Sink:
    def __init__(self) -> None:
        self.writable = True
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


class Cameras:
    """Pulls that the test drives: each begins at once unless told to fail or to wait."""

    def __init__(self) -> None:
        self.started: list[Source] = []
        self.cancelled = 0
        self.on_start: Callable[[Source], None] = lambda source: (source.prepare(H264), source.begin())[0]

    async def pull(self, source: Source) -> None:
        self.started.append(source)
        self.on_start(source)
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1


class House:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.cameras = Cameras()
        self.hub = Hub(self.cameras.pull, now=lambda: self.now_s, linger_s=10, hold_s=30, open_timeout_s=0.05)

    def reader(self) -> tuple[Sink, Reader]:
        sink = Sink()
        return sink, Reader(sink, Gate(), now=lambda: self.now_s)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.hub.close()


async def test_readers_of_one_profile_share_one_pull(house: House) -> None:
    one, two = await asyncio.gather(house.hub.enter(KEY), house.hub.enter(KEY))
    assert one is two
    assert len(house.cameras.started) == 1
    await house.hub.enter(SourceKey("cam-1", "sub"))
    assert len(house.cameras.started) == 2


async def test_a_pull_lingers_after_its_last_reader_and_then_ends(house: House) -> None:
    await house.hub.enter(KEY)
    house.hub.leave(KEY)
    house.now_s = 9.9
    house.hub.sweep()
    assert len(tuple(house.hub)) == 1
    await house.hub.enter(KEY)
    house.now_s = 100
    house.hub.sweep()
    assert len(tuple(house.hub)) == 1
    house.hub.leave(KEY)
    house.now_s = 111
    house.hub.sweep()
    assert tuple(house.hub) == ()
    await asyncio.sleep(0)
    assert house.cameras.cancelled == 1
    await house.hub.enter(KEY)
    assert len(house.cameras.started) == 2


async def test_an_unreachable_camera_is_told_at_once_and_holds_no_one(house: House) -> None:
    house.cameras.on_start = lambda source: source.interrupt(CameraUnreachable("no route"))
    with pytest.raises(CameraUnreachable, match="no route"):
        await house.hub.enter(KEY)
    house.now_s = 11
    house.hub.sweep()
    assert tuple(house.hub) == ()


async def test_a_camera_that_says_nothing_is_given_up_after_the_open_timeout(house: House) -> None:
    house.cameras.on_start = lambda source: None
    with pytest.raises(CameraUnreachable):
        await house.hub.enter(KEY)


async def test_cancelled_while_it_waits_a_reader_leaves(house: House) -> None:
    house.cameras.on_start = lambda source: None
    entering = asyncio.create_task(house.hub.enter(KEY))
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    house.now_s = 11
    house.hub.sweep()
    assert tuple(house.hub) == ()


async def test_readers_are_held_while_their_camera_is_lost_then_let_go(house: House) -> None:
    source = await house.hub.enter(KEY)
    _, reader = house.reader()
    ended: list[Refusal] = []
    source.attach(reader, ended.append)
    house.now_s = 5
    source.interrupt(CameraUnreachable("lost"))
    house.now_s = 34.9
    house.hub.sweep()
    assert ended == []
    house.now_s = 35
    house.hub.sweep()
    house.hub.sweep()
    assert [str(cause) for cause in ended] == ["lost"]


async def test_a_camera_that_comes_back_in_time_keeps_its_readers(house: House) -> None:
    source = await house.hub.enter(KEY)
    sink, reader = house.reader()
    ended: list[Refusal] = []
    source.attach(reader, ended.append)
    source.feed(chunk((0, rtp(1, 0, IDR))))
    source.interrupt(CameraUnreachable("lost"))
    house.now_s = 20
    source.prepare(H264)
    source.begin()
    source.feed(chunk((0, rtp(900, 77, NON_IDR)), (0, rtp(901, 3677, IDR))))
    house.now_s = 60
    house.hub.sweep()
    assert ended == []
    assert source.state is SourceState.LIVE
    assert channels(sink.data) == [0, 0]
    assert int.from_bytes(sink.data[-13:-11], "big") == 3


async def test_a_pull_that_dies_of_a_bug_ends_its_readers(house: House) -> None:
    failure = asyncio.Event()

    async def broken(source: Source) -> None:
        source.prepare(H264)
        source.begin()
        await failure.wait()

    hub = Hub(broken, now=lambda: 0.0)
    source = await hub.enter(KEY)
    _, reader = house.reader()
    ended: list[Refusal] = []
    source.attach(reader, ended.append)
    failure.set()
    while not ended:
        await asyncio.sleep(0)
    assert isinstance(ended[0], CameraUnreachable)
    assert tuple(hub) == ()


async def test_every_reader_gets_the_same_bytes_and_a_late_one_waits_for_a_keyframe(house: House) -> None:
    source = await house.hub.enter(KEY)
    early_sink, early = house.reader()
    late_sink, late = house.reader()
    source.feed(chunk((0, rtp(0, 0, NON_IDR))))
    source.attach(early, lambda cause: None)
    source.feed(chunk((0, rtp(1, 0, IDR))))
    source.attach(late, lambda cause: None)
    source.feed(chunk((0, rtp(2, 3600, NON_IDR))))
    data = frames((0, rtp(3, 7200, IDR)), (0, b"\x90" + rtp(4, 7200, b"broken")[1:]))
    source.feed(Chunk(InterleavedBatch(data)))
    assert channels(early_sink.data) == [0] * 4
    assert late_sink.data == data
    assert source.readers == 2
    source.detach(late)
    source.detach(late)
    assert source.readers == 1


async def test_a_reader_that_takes_nothing_is_ended_after_the_limit_and_the_others_lose_nothing(house: House) -> None:
    # failure table, slow reader; T10
    source = await house.hub.enter(KEY)
    stuck_sink, stuck = house.reader()
    prompt_sink, prompt = house.reader()
    ended: list[Refusal] = []
    source.attach(stuck, ended.append)
    source.attach(prompt, ended.append)
    source.feed(chunk((0, rtp(0, 0, IDR))))
    stuck_sink.writable = False
    for second in range(1, 31):
        house.now_s = second
        source.feed(chunk((0, rtp(second, 3600 * second, IDR))))
        house.hub.sweep()
        assert ended == []
    house.now_s = 31
    house.hub.sweep()
    assert [cause.code for cause in ended] == ["reader-too-slow"]
    assert source.readers == 1
    assert channels(prompt_sink.data).count(0) == 31
    assert prompt.lost_packets == 0


async def test_a_reader_that_takes_a_little_is_kept(house: House) -> None:
    # failure table, slow reader
    source = await house.hub.enter(KEY)
    sink, slow = house.reader()
    ended: list[Refusal] = []
    source.attach(slow, ended.append)
    for second in range(100):
        house.now_s = second
        source.feed(chunk((0, rtp(second, 3600 * second, IDR))))
        sink.writable = second % 25 == 0
        slow.drain()
        house.hub.sweep()
    assert ended == []


async def test_what_slow_readers_lose_is_told_once_a_second(house: House, caplog: pytest.LogCaptureFixture) -> None:
    # T10: four seconds of it
    caplog.set_level(logging.INFO)
    source = await house.hub.enter(KEY)
    sinks = [Sink(), Sink()]
    for sink in sinks:
        source.attach(Reader(sink, Gate(), now=lambda: house.now_s, limit_bytes=40), lambda cause: None)
    source.feed(chunk((0, rtp(0, 0, IDR))))
    for sink in sinks:
        sink.writable = False
    for tenth in range(1, 41):
        house.now_s = tenth / 10
        source.feed(chunk((0, rtp(tenth, 3600 * tenth, NON_IDR))))
        house.hub.sweep()
    told = [record.getMessage() for record in caplog.records]
    assert 4 <= len(told) <= 5
    assert all(line.startswith("readers.slow camera=cam-1 lost_packets=") for line in told)


async def test_a_camera_that_is_withdrawn_is_pulled_anew_for_who_comes_later(house: House) -> None:
    # L07: the pull may be of a profile that is to be shown no more
    watched, lingering, another = KEY, SourceKey("cam-1", "sub"), SourceKey("cam-2", "main")
    for key in (watched, lingering, another):
        await house.hub.enter(key)
    house.hub.leave(lingering)
    house.hub.withdraw("cam-1")
    assert [source.key for source in house.hub] == [another]
    source = await house.hub.enter(watched)
    assert house.cameras.started[-1] is source
    assert house.cameras.cancelled == 2
    house.hub.leave(watched)
    house.hub.leave(watched)


async def test_who_waits_for_a_camera_that_is_withdrawn_is_told(house: House) -> None:
    house.cameras.on_start = lambda source: None
    entering = asyncio.create_task(house.hub.enter(KEY))
    await asyncio.sleep(0)
    house.hub.withdraw("cam-1")
    with pytest.raises(CameraUnreachable, match="mise"):
        await entering
