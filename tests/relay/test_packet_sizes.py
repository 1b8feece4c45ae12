"""How large a camera's packets are, and when that is known."""

from __future__ import annotations

import asyncio

import pytest

from halfgateway.protocol.codec import Codec
from halfgateway.relay import hub, packet_sizes
from halfgateway.relay.hub import Hub
from halfgateway.relay.packet_sizes import WINDOW_S, LargestPacket
from halfgateway.relay.source import Source, SourceKey, VideoFormat
from tests.relay.packets import IDR, NON_IDR, chunk, rtp, sender_report

KEY = SourceKey("cam-1", "main")
RTP_HEADER_BYTES = 12


class Now:
    """Monotonic time that a test sets."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def playing_source(now: Now | None = None, largest: LargestPacket | None = None) -> Source:
    source = Source(KEY, now=now or Now(), largest_packet=largest)
    source.prepare(VideoFormat(Codec.H264, 90_000))
    source.begin()
    return source


def feed(source: Source, payload: bytes, timestamp: int) -> None:
    source.feed(chunk((0, rtp(1, timestamp, payload))))


def is_known(source: Source) -> bool:
    """Whether a reader would be told at once."""
    asking = source.largest_packet.known()
    try:
        asking.send(None)
    except StopIteration:
        return True
    asking.close()
    return False


async def test_the_size_is_known_when_a_key_picture_has_ended() -> None:
    source = playing_source()
    feed(source, NON_IDR.ljust(500), 0)
    feed(source, NON_IDR.ljust(500), 3600)
    assert not is_known(source)
    feed(source, IDR.ljust(900), 7200)
    feed(source, IDR.ljust(1200), 7200)
    source.feed(chunk((1, sender_report(1, 7200))))
    assert not is_known(source)
    feed(source, NON_IDR, 10800)
    assert is_known(source)
    assert await source.largest_packet.known() == 1200 + RTP_HEADER_BYTES


async def test_a_key_picture_may_begin_and_end_in_one_chunk() -> None:
    source = playing_source()
    source.feed(chunk(*((0, rtp(n, n * 3600, unit)) for n, unit in enumerate((NON_IDR, IDR.ljust(700), NON_IDR)))))
    assert is_known(source)


async def test_a_camera_without_key_pictures_is_not_waited_for_longer_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packet_sizes, "EVIDENCE_TIMEOUT_S", 0.01)
    source = playing_source()
    feed(source, NON_IDR.ljust(500), 0)
    assert await source.largest_packet.known() == 500 + RTP_HEADER_BYTES


def test_reports_count_too() -> None:
    source = playing_source()
    source.feed(chunk((1, sender_report(1, 0) * 9)))
    assert source.largest_packet.size_bytes == 9 * len(sender_report(1, 0))


def test_what_has_not_come_for_two_windows_is_forgotten() -> None:
    # a camera that was given smaller packets; as long as nothing comes, nothing is forgotten
    now = Now()
    source = playing_source(now, LargestPacket(now=now))
    feed(source, IDR.ljust(5000), 0)
    now.s += 100 * WINDOW_S
    assert source.largest_packet.size_bytes == 5000 + RTP_HEADER_BYTES
    feed(source, IDR.ljust(1000), 3600)
    assert source.largest_packet.size_bytes == 5000 + RTP_HEADER_BYTES
    now.s += WINDOW_S
    feed(source, IDR.ljust(900), 7200)
    assert source.largest_packet.size_bytes == 1000 + RTP_HEADER_BYTES


async def test_a_size_outlives_the_pull_and_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MAX_REMEMBERED_SIZES", 2)

    async def pull(source: Source) -> None:
        source.prepare(VideoFormat(Codec.H264, 90_000))
        source.begin()
        await asyncio.Event().wait()

    now = Now()
    opened = Hub(pull, now=now, linger_s=0.0)

    async def size_of(camera: str, payload_bytes: int = 0) -> int:
        key = SourceKey(camera, "main")
        source = await opened.enter(key)
        if payload_bytes:
            feed(source, IDR.ljust(payload_bytes), 0)
        opened.leave(key)
        opened.sweep()
        return source.largest_packet.size_bytes

    first = await size_of("a", 3000)
    assert first == 3000 + RTP_HEADER_BYTES
    assert await size_of("b", 2000) > 0
    assert await size_of("a") == first
    assert await size_of("c", 1000) > 0
    assert await size_of("b") == 0
    await opened.close()
