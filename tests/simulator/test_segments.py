"""The simulated recorder's film as files: T13's folder of segments, in the layout of ``[[recorders]]``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import pytest

from halfgateway.config_recordings import SegmentRecorderSection
from halfgateway.simulator.film import GROUP, GROUP_FRAMES, PICTURE
from halfgateway.simulator.recordings import CHANGED_CODEC, GAPS, Kind, recordings
from halfgateway.simulator.segments import PATTERN, SegmentWriter, passages
from tests.replay.filmed import instants_in_file

NOON = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)
HELD = {each.camera: each for each in recordings([(kind.value, kind.value) for kind in Kind], NOON)}


def begins(path: Path) -> datetime:
    return datetime.strptime(path.name, PATTERN.rpartition("/")[2]).replace(tzinfo=UTC)


def codec_of(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


def test_a_segment_is_named_by_its_first_picture_and_ends_at_the_whole_minute(tmp_path: Path) -> None:
    start = NOON - timedelta(days=10) + timedelta(seconds=55)
    paths = SegmentWriter(tmp_path).write(HELD[Kind.CONTINUOUS], start, start + timedelta(seconds=10))
    assert SegmentRecorderSection.model_fields["pattern"].default == PATTERN
    assert [begins(path) for path in paths] == [start - timedelta(seconds=1), start + timedelta(seconds=5)]
    assert paths[0].relative_to(tmp_path).parts[0] == Kind.CONTINUOUS
    for path in paths:
        with av.open(str(path)) as container:
            assert [stream.type for stream in container.streams] == ["video"]
            packets = [packet for packet in container.demux(video=0) if packet.size]
            assert packets[0].pts == 0
            assert packets[0].is_keyframe
            assert sum(packet.is_keyframe for packet in packets) == -(-len(packets) // GROUP_FRAMES)
    filmed = [instant for path in paths for instant in instants_in_file(str(path))]
    assert filmed == [start - timedelta(seconds=1) + n * PICTURE for n in range(11 * 25)]


def test_gaps_and_a_change_of_codec_end_a_segment(tmp_path: Path) -> None:
    gap = NOON - GAPS[-1].ago
    around = SegmentWriter(tmp_path).write(HELD[Kind.GAPS], gap - GROUP, gap + GAPS[-1].lasts + GROUP)
    assert [begins(path) for path in around] == [gap - GROUP, gap + GAPS[-1].lasts]
    changed = NOON - CHANGED_CODEC
    old, new = SegmentWriter(tmp_path).write(HELD[Kind.CODEC_CHANGE], changed - GROUP, changed + GROUP)
    assert instants_in_file(str(old))[-1] == changed - PICTURE
    assert instants_in_file(str(new))[0] == changed
    assert [codec_of(old), codec_of(new)] == ["h264", "hevc"]
    assert SegmentWriter(tmp_path).write(HELD[Kind.NONE], changed, NOON) == []


def test_twelve_days_are_laid_sparsely_and_the_same_film_only_once(tmp_path: Path) -> None:
    held = tuple(HELD.values())
    twelve_days = NOON - timedelta(days=12), NOON

    def lay() -> None:
        writer = SegmentWriter(tmp_path)
        for start, end in passages(*twelve_days, every=timedelta(days=2), lasts=GROUP):
            for recording in held:
                writer.write(recording, start, end)

    lay()
    files = sorted(tmp_path.rglob("*.mp4"))
    assert len([path for path in files if Kind.CONTINUOUS in path.parts]) == 6
    assert len([path for path in files if Kind.ADDED_LATER in path.parts]) == 2
    assert len({path.stat().st_ino for path in files}) == 6
    assert not list(tmp_path.rglob("*.part"))
    before = files[0].stat().st_mtime_ns
    lay()
    assert files[0].stat().st_mtime_ns == before


def test_a_segment_is_whole_groups(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 2 s"):
        SegmentWriter(tmp_path, segment_s=3)
