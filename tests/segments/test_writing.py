"""Footage on disk: the camera's bits, cut at keyframes, told by its instants (L08, L15, C03)."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import pytest
from simulated_cameras import SMALL

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.depacketise import START_CODE, AccessUnit, Depacketiser
from halfgateway.segments.writing import (
    LONGEST_PAUSE_S,
    MAX_HELD_BACK,
    Gap,
    SegmentWriter,
    UnwritablePicture,
    parameter_sets,
)
from halfgateway.simulator.clips import default_cache, ensure_clip
from halfgateway.simulator.packets import VIDEO_TICKS, load_clip
from tests.recorder.filmed import LAYOUT
from tests.relay.packets import rtp

START = datetime(2026, 10, 25, 0, 59, 59, 250_000, tzinfo=UTC)  # a second before summer time ends
PICTURE = timedelta(milliseconds=40)


def units_of(codec: Codec, count: int, *, first_timestamp: int = 4_294_960_000) -> list[AccessUnit]:
    """What a simulated camera sends, put together again; its timestamps go past their width."""
    spec = SMALL if codec is Codec.H264 else replace(SMALL, codec="h265")
    clip = load_clip(spec, ensure_clip(spec, default_cache(os.environ)))
    depacketiser, numbers, units = Depacketiser(codec), itertools.count(), list[AccessUnit]()
    for number in range(count + 1):
        at = (first_timestamp + number * VIDEO_TICKS) % (1 << 32)
        for packet in clip.access_units[number % len(clip.access_units)].packets:
            unit = depacketiser.feed(rtp(next(numbers) & 0xFFFF, at, packet.payload, marker=packet.marker))
            units += [unit] if unit is not None else []
    return units


@pytest.fixture(scope="module", params=[Codec.H264, Codec.H265], ids=lambda codec: codec.value)
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec(request.param)


@pytest.fixture(scope="module")
def units(codec: Codec) -> list[AccessUnit]:
    return units_of(codec, 250)


def segments(folder: Path) -> list[tuple[datetime, Path]]:
    named = [(LAYOUT.instant_of(str(path.relative_to(folder))), path) for path in sorted(folder.rglob("*.*"))]
    return [(instant, path) for instant, path in named if instant is not None]


def pictures(path: Path) -> Iterator[tuple[bytes, Fraction, bool]]:
    """The NAL units of each sample, length before each, its seconds from the first, and whether it is a keyframe."""
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert stream.time_base is not None
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                yield bytes(packet), packet.pts * stream.time_base, packet.is_keyframe


def as_samples(units: Sequence[AccessUnit]) -> list[bytes]:
    return [b"".join(len(nal).to_bytes(4, "big") + nal for nal in unit.nal_units) for unit in units]


def film(writer: SegmentWriter, units: Sequence[AccessUnit], start: datetime = START) -> list[Gap]:
    """Write pictures one after the other; the gaps that they ended."""
    gaps = [writer.write(unit, start + number * PICTURE) for number, unit in enumerate(units)]
    return [gap for gap in gaps if gap is not None]


def test_what_is_read_back_is_bit_for_bit_what_was_sent(tmp_path: Path, codec: Codec, units: list[AccessUnit]) -> None:
    # L15: the elementary stream is the camera's
    writer = SegmentWriter(tmp_path, codec, 90_000, layout=LAYOUT, length_s=3)
    assert film(writer, units) == []
    writer.close()
    found = segments(tmp_path)
    assert len(found) >= 3
    read = [list(pictures(path)) for _, path in found]
    assert [data for samples in read for data, _, _ in samples] == as_samples(units)
    assert all(samples[0][2] for samples in read)
    filmed = [start + timedelta(seconds=float(after)) for (start, _), samples in zip(found, read, strict=True)
              for _, after, _ in samples]  # fmt: skip
    assert filmed == [START + number * PICTURE for number in range(len(units))]
    assert writer.end == START + len(units) * PICTURE
    with av.open(str(found[1][1])) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(read[1])


def test_a_file_is_readable_while_it_is_written_but_for_the_open_fragment(
    tmp_path: Path, codec: Codec, units: list[AccessUnit]
) -> None:
    writer = SegmentWriter(tmp_path, codec, 90_000, layout=LAYOUT)
    film(writer, units[:130])
    ((_, path),) = segments(tmp_path)
    readable = list(pictures(path))
    assert 130 - 27 <= len(readable) < 130
    assert [data for data, _, _ in readable] == as_samples(units[: len(readable)])
    writer.close()
    assert len(list(pictures(path))) == 130


def test_other_parameter_sets_begin_another_segment(tmp_path: Path) -> None:
    units = units_of(Codec.H264, 150)
    sets = parameter_sets(Codec.H264, units[0])
    key = next(index for index, unit in enumerate(units) if unit.key and index)
    other = (*sets, sets[-1][:-1] + bytes([sets[-1][-1] ^ 0x80]))
    rest = [each for each in units[key].nal_units if each not in sets]
    units[key] = replace(units[key], nal_units=(*other, *rest))
    writer = SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT)
    film(writer, units)
    writer.close()
    first, second, *_ = segments(tmp_path)
    assert second[0] == START + key * PICTURE
    assert len(list(pictures(first[1]))) == key


def test_sets_of_the_description_make_a_film_of_a_stream_that_has_none(tmp_path: Path) -> None:
    # quirk sets-only-in-band
    units = units_of(Codec.H264, 60)
    sets = parameter_sets(Codec.H264, units[0])
    bare = [replace(unit, nal_units=tuple(each for each in unit.nal_units if each not in sets)) for unit in units]
    with pytest.raises(UnwritablePicture):
        SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT).write(bare[0], START)
    assert segments(tmp_path) == []
    writer = SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT, sets=sets)
    film(writer, bare)
    writer.close()
    ((_, path),) = segments(tmp_path)
    assert [data for data, _, _ in pictures(path)] == as_samples(bare)
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60


def test_pictures_that_are_sent_out_of_their_order_are_shown_in_it(tmp_path: Path) -> None:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = {"bf": "2", "b_strategy": "0", "g": "20", "x264-params": "log-level=none"}
    packets = [packet for _ in range(60) for packet in encoder.encode(av.VideoFrame(320, 180, "yuv420p"))]
    packets += encoder.encode(None)
    shown = [packet.pts for packet in packets if packet.pts is not None]
    assert shown != sorted(shown)
    units = [
        AccessUnit(tuple(filter(None, bytes(packet).replace(START_CODE, START_CODE[1:]).split(START_CODE[1:]))),
                   packet.pts * 3600, packet.is_keyframe)
        for packet in packets if packet.pts is not None
    ]  # fmt: skip
    writer = SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT)
    film(writer, units)
    writer.close()
    ((_, path),) = segments(tmp_path)
    read = list(pictures(path))
    assert [data for data, _, _ in read] == as_samples(units)
    assert [after - read[0][1] for _, after, _ in read] == [Fraction(pts, 25) for pts in shown]


def test_a_pause_is_a_gap_and_no_long_picture(tmp_path: Path) -> None:
    units = units_of(Codec.H264, 150)
    key = next(index for index, unit in enumerate(units) if unit.key and index)
    away = timedelta(seconds=LONGEST_PAUSE_S + 1)
    late = [
        replace(unit, timestamp=(unit.timestamp + int(away.total_seconds() * 90_000)) % (1 << 32)) for unit in units
    ]
    writer = SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT)
    assert film(writer, units[:10]) == []
    assert film(writer, late[10:], START + 10 * PICTURE + away) == [
        Gap(START + 10 * PICTURE, START + key * PICTURE + away)
    ]
    writer.close()
    assert [start for start, _ in segments(tmp_path)] == [START, START + key * PICTURE + away]


@pytest.mark.parametrize("step", [timedelta(seconds=-1), timedelta(minutes=-50), timedelta(minutes=50)])
def test_a_step_of_the_clock_never_lets_two_segments_tell_of_one_time(tmp_path: Path, step: timedelta) -> None:
    units = units_of(Codec.H264, 250)
    writer = SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT, length_s=2)
    film(writer, units[:120])
    film(writer, units[120:], START + 120 * PICTURE + step)
    writer.close()
    found = segments(tmp_path)
    told = [(start, start + timedelta(seconds=float(list(pictures(path))[-1][1]))) for start, path in found]
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(told))
    assert [data for _, path in found for data, _, _ in pictures(path)] == as_samples(units)


def test_a_clock_that_was_far_ahead_is_believed_once_it_is_set_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    units = units_of(Codec.H264, 150)
    right = START - MAX_HELD_BACK - timedelta(minutes=1)
    writer = SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT, after=START)
    film(writer, units, right)
    writer.close()
    assert segments(tmp_path)[0][0] == right
    assert "recording.clock_back" in caplog.text


def test_a_stream_faster_than_the_clock_is_placed_by_the_clock(tmp_path: Path) -> None:
    # 200 ppm: what would be a minute in three days, were segments placed by the stream's own clock
    units = units_of(Codec.H264, 250)
    second = PICTURE * 0.9998
    writer = SegmentWriter(tmp_path, Codec.H264, 90_000, layout=LAYOUT, length_s=2)
    for number, unit in enumerate(units):
        writer.write(unit, START + number * second)
    writer.close()
    starts = [start for start, _ in segments(tmp_path)]
    assert len(starts) > 3
    assert [round((start - START) / second) % 25 for start in starts] == [0] * len(starts)
    assert all(abs((start - START) / second % 1) < 0.01 or (start - START) / second % 1 > 0.99 for start in starts)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_a_full_disk_ends_the_segment_where_it_was_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        units = units_of(Codec.H264, 250)
        writer = SegmentWriter(disk / "cam", Codec.H264, 90_000, layout=LAYOUT)
        with pytest.raises(OSError, match="No space"):
            film(writer, units * 3)
        ((_, path),) = segments(disk / "cam")
        kept = list(pictures(path))
        assert kept
        assert [data for data, _, _ in kept] == as_samples(units * 3)[: len(kept)]
        (disk / "cam").rename(disk / "held")
        path = disk / "held" / path.relative_to(disk / "cam")
        path.unlink()
        film(writer, units[:100], START + timedelta(hours=1))
        writer.close()
        assert len(segments(disk / "cam")) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)
