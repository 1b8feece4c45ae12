"""Pictures out of files: the bytes that were recorded, no others, from a place where a decoder can begin (C03, L08)."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import av
import pytest

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.reader_sdp import describe_for_reader
from halfgateway.protocol.rtp import RtpView
from halfgateway.segments import reading
from halfgateway.segments.boxes import told_duration
from halfgateway.segments.description import describe
from halfgateway.segments.packetising import PACKET_BYTES, PAYLOAD_TYPE, Packetiser
from halfgateway.segments.reading import AccessUnit, SegmentReader, UnreadableSegment, examine
from halfgateway.segments.units import START, kind_of, parameter_sets, split
from halfgateway.simulator.blockcode import read_counter
from tests.depacketise import access_units
from tests.segments.footage import DAY, PICTURE, Kind, number_at, write

TEN = DAY + timedelta(hours=10)
KINDS: list[Kind] = ["mp4", "fmp4", "ts"]
CODECS = [Codec.H264, Codec.H265]


def units_of(path: Path, at: datetime = TEN, *, whole: bool = True) -> list[AccessUnit]:
    with SegmentReader(examine(path, TEN), whole=whole) as reader:
        return list(reader.units_from(at))


def decoded(stream: list[bytes], codec: Codec) -> list[int | None]:
    decoder = av.CodecContext.create("hevc" if codec is Codec.H265 else "h264", "r")
    frames = [frame for data in stream for frame in decoder.decode(av.Packet(data))] + decoder.decode(None)
    return [read_counter(frame.to_ndarray(format="gray")) for frame in frames]


def nal_units(path: Path, codec: Codec) -> list[bytes]:
    """The NAL units that a file holds, without parameter sets."""
    with av.open(str(path)) as container:
        data = [bytes(packet) for packet in container.demux(video=0)]
    if path.read_bytes()[:1] != b"G":
        data = [START + unit for picture in data for unit in length_prefixed(picture)]
    return without_sets(b"".join(data), codec)


def length_prefixed(picture: bytes) -> Iterator[bytes]:
    while picture:
        end = 4 + int.from_bytes(picture[:4], "big")
        yield picture[4:end]
        picture = picture[end:]


def without_sets(data: bytes, codec: Codec) -> list[bytes]:
    return [unit for unit in split(data) if not parameter_sets(codec, [unit]).units]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_the_files_own_bytes_and_the_first_is_decodable(tmp_path: Path, kind: Kind, codec: Codec) -> None:
    path = write(tmp_path, TEN, 3, kind=kind, codec=codec, sound=True)
    units = units_of(path)
    assert [unit.at for unit in units] == [TEN + index * PICTURE for index in range(75)]
    assert [unit.at for unit in units if unit.clean] == [TEN + timedelta(seconds=index) for index in range(3)]
    assert without_sets(b"".join(unit.data for unit in units), codec) == nal_units(path, codec)
    later = units_of(path, TEN + timedelta(seconds=1.5))
    assert later == units[25:]
    assert decoded([unit.data for unit in later], codec) == [number_at(unit.at) for unit in later]


@pytest.mark.parametrize("kind", KINDS)
def test_it_begins_at_the_clean_picture_at_or_before(tmp_path: Path, kind: Kind) -> None:
    # row 57
    path = write(tmp_path, TEN, 3, kind=kind)
    asked_and_given = [(-5, 0), (0, 0), (0.96, 0), (1, 1), (1.000001, 1), (1.99999, 1), (2, 2), (2.9, 2), (60, 2)]
    with SegmentReader(examine(path, TEN)) as reader:
        for asked, given in asked_and_given:
            first = next(reader.units_from(TEN + timedelta(seconds=asked)))
            assert (first.at, first.clean) == (TEN + timedelta(seconds=given), True)


@pytest.mark.parametrize("kind", KINDS)
def test_reordered_pictures_keep_the_files_order_and_their_own_instants(tmp_path: Path, kind: Kind) -> None:
    units = units_of(write(tmp_path, TEN, 2, kind=kind, reordered=True))
    instants = [unit.at for unit in units]
    assert instants != sorted(instants) == [TEN + index * PICTURE for index in range(50)]
    assert instants[0] == TEN
    assert decoded([unit.data for unit in units], Codec.H264) == [number_at(instant) for instant in sorted(instants)]


@pytest.mark.parametrize("codec", CODECS)
def test_packets_are_one_picture_each_and_leave_room_for_the_replay_header(tmp_path: Path, codec: Codec) -> None:
    # row 54
    units = units_of(write(tmp_path, TEN, 2, codec=codec, size=(960, 192)))
    packetiser = Packetiser(codec)
    for index, unit in enumerate(units):
        # Timestamps may go back: B pictures, and reverse.
        packets = packetiser.packets(unit.data, (1 << 32) + 90_000 - 3600 * index)
        views = [RtpView(packet) for packet in packets]
        assert {view.timestamp for view in views} == {(90_000 - 3600 * index) % (1 << 32)}
        assert {view.payload_type for view in views} == {PAYLOAD_TYPE}
        assert [view.marker for view in views] == [False] * (len(views) - 1) + [True]
        assert max(map(len, packets)) <= PACKET_BYTES == 1384
        assert list(split(b"".join(access_units(packets, codec)))) == list(split(unit.data))
    packetiser.close()


@pytest.mark.parametrize("codec", CODECS)
def test_rubbish_makes_sound_packets_or_none(codec: Codec) -> None:
    chance = random.Random(codec.value)
    packetiser = Packetiser(codec)
    seen = set()
    for timestamp in range(500):
        parts = [b"", b"\0", b"\0\0\1", START, START]
        sizes = [0, 0, 1, 2, 3, 10, PACKET_BYTES - 12, PACKET_BYTES - 11, 5000]
        unit = b"".join(chance.choice(parts) + chance.randbytes(chance.choice(sizes)) for _ in range(3))
        views = [RtpView(packet) for packet in packetiser.packets(unit, timestamp)] if unit else []
        assert [view.marker for view in views] == [False] * (len(views) - 1) + [True] * bool(views)
        assert {view.timestamp for view in views} <= {timestamp}
        seen.add(bool(views))
    packetiser.close()
    assert seen == {True, False}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_description_has_the_parameter_sets_and_stands_before_a_reader(
    tmp_path: Path, kind: Kind, codec: Codec
) -> None:
    segment = examine(write(tmp_path, TEN, 1, kind=kind, codec=codec), TEN)
    description = describe(segment, TEN)
    (video,) = description.media
    shown = describe_for_reader(description, control="trackID=0", session_id=1, name="cam").decode()
    assert (video.codec, video.payload_types) == (codec, (PAYLOAD_TYPE,))
    assert "a=framerate:25" in shown
    for name in ("sprop-parameter-sets=",) if codec is Codec.H264 else ("sprop-vps=", "sprop-sps=", "sprop-pps="):
        assert name in shown


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_boxes_tell_of_the_end_is_what_reading_tells(tmp_path: Path, kind: Kind, reordered: bool) -> None:
    for index, seconds in enumerate((1, 2.4)):
        begins = TEN + timedelta(minutes=index)
        path = write(tmp_path, begins, seconds, kind=kind, sound=not reordered, reordered=reordered)
        told = told_duration(path)
        read = examine(path, begins).end - begins
        assert (told is None) if kind == "ts" else abs(told - read) <= PICTURE * reordered


@pytest.mark.parametrize("kind", ["mp4", "fmp4"])
def test_boxes_that_are_cut_off_or_damaged_tell_nothing_or_a_time(tmp_path: Path, kind: Kind) -> None:
    path = write(tmp_path, TEN, 2, kind=kind)
    content = path.read_bytes()
    for size in range(0, len(content), len(content) // 61):
        path.write_bytes(content[:size])
        assert told_duration(path) in {None, timedelta(seconds=1)}
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 4]) + content[at + 4 :])
        told_duration(path)


def test_what_is_still_written_in_the_middle_of_a_picture_is_left_out(tmp_path: Path) -> None:
    # row 59: of a transport stream nothing says whether the last picture is whole
    path = write(tmp_path, TEN, 2, kind="ts")
    assert units_of(path, whole=False) == units_of(path)[:-1]
    fragmented = write(tmp_path, TEN, 2, kind="fmp4")
    assert units_of(fragmented, whole=False) == units_of(fragmented)


@pytest.mark.parametrize("kind", ["fmp4", "ts"])
def test_a_file_cut_off_anywhere_gives_whole_pictures_only(tmp_path: Path, kind: Kind) -> None:
    path = write(tmp_path, TEN, 2, kind=kind)
    whole, content = units_of(path), path.read_bytes()
    lengths = set()
    for size in range(0, len(content), len(content) // 23):
        path.write_bytes(content[:size])
        try:
            units = units_of(path, whole=False)
        except UnreadableSegment:
            units = []
        assert units == whole[: len(units)]
        lengths.add(len(units))
    assert len(lengths) > 2


def test_damage_never_raises_anything_else(tmp_path: Path) -> None:
    for kind in KINDS:
        path = write(tmp_path, TEN, 1, kind=kind)
        content = path.read_bytes()
        for at in range(8, len(content), len(content) // 29):
            path.write_bytes(content[:at] + bytes(byte ^ 0xA5 for byte in content[at : at + 16]) + content[at + 16 :])
            try:
                units = units_of(path, TEN + timedelta(seconds=0.5))
            except UnreadableSegment:
                continue
            assert all(len(unit.data) < len(content) * 2 for unit in units)


def test_a_text_that_names_other_files_is_not_opened(tmp_path: Path) -> None:
    # C16: libavformat would fetch what a play list names
    secret = write(tmp_path, TEN, 1)
    for text in (f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n", f"ffconcat version 1.0\nfile {secret}\n", "v=0\r\n"):
        path = tmp_path / "list.mp4"
        path.write_text(text)
        with pytest.raises(UnreadableSegment):
            examine(path, TEN)


def test_no_file_stays_open(tmp_path: Path) -> None:
    path = write(tmp_path, TEN, 2)
    before = len(os.listdir("/proc/self/fd"))
    with SegmentReader(examine(path, TEN)) as reader:
        next(reader.units_from(TEN))
        assert len(os.listdir("/proc/self/fd")) == before + 1
    (tmp_path / "sound.mp4").write_bytes(b"\0\0\0\x08ftyp")
    with pytest.raises(UnreadableSegment):
        examine(tmp_path / "sound.mp4", TEN)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_picture_that_no_camera_makes_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, TEN, 1)
    largest = max(len(unit.data) for unit in units_of(path))
    monkeypatch.setattr(reading, "MAX_PICTURE_BYTES", largest // 2)
    units = units_of(path)
    assert len(units) < 25
    assert kind_of(Codec.H264, next(split(units[0].data))) == 1
