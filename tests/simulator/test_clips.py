"""Clips: encoded once whatever races for them, closed groups of pictures, packets as cameras send them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import pytest
from simulated_cameras import SMALL

from halfgateway.simulator import clips
from halfgateway.simulator.blockcode import read_counter
from halfgateway.simulator.clips import CLIP_FRAMES, GOP_FRAMES, ClipError, default_cache, ensure_clip
from halfgateway.simulator.packets import AUDIO_TICKS, Clip, load_clip

_RACER = """
import pathlib, sys
from halfgateway.simulator import clips
cache, log = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
encode = clips._encode
def counted(*arguments):
    with log.open("a") as file:
        file.write("encoded\\n")
    encode(*arguments)
clips._encode = counted
sys.stdin.read()
spec = clips.ClipSpec("Essai", "h264", 320, 180, 300_000)
print(clips.ensure_clip(spec, cache))
"""


def test_processes_that_race_for_a_clip_encode_it_once(empty_cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(empty_cache), str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    paths = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]
    assert log.read_text() == "encoded\n"
    (path,) = paths
    assert len(load_clip(SMALL, Path(path)).access_units) == CLIP_FRAMES
    assert sorted(file.suffix for file in empty_cache.iterdir()) == [".lock", ".mov"]


def test_a_failed_encoding_leaves_nothing_behind(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(spec: clips.ClipSpec, path: Path, abandoned: object) -> None:
        path.write_bytes(b"half a clip")
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(clips, "_encode", fails)
        with pytest.raises(ClipError, match="no space left"):
            ensure_clip(SMALL, empty_cache)
    assert [file.suffix for file in empty_cache.iterdir()] == [".lock"]
    assert ensure_clip(SMALL, empty_cache).exists()


def test_an_encoding_that_nobody_wants_any_more_stops(empty_cache: Path) -> None:
    with pytest.raises(ClipError, match="no longer wanted"):
        ensure_clip(SMALL, empty_cache, abandoned=lambda: True)
    assert [file.suffix for file in empty_cache.iterdir()] == [".lock"]


async def test_waiting_for_another_process_stops_too(empty_cache: Path) -> None:
    empty_cache.mkdir()
    other = clips._only_one(empty_cache / f"{SMALL.key}.lock", lambda: False)
    with other, pytest.raises(ClipError, match="no longer wanted"):
        await asyncio.to_thread(ensure_clip, SMALL, empty_cache, abandoned=lambda: True)


def test_a_cache_that_cannot_be_written_says_which(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClipError, match="XDG_CACHE_HOME"):
        ensure_clip(SMALL, tmp_path / "file" / "clips")


def test_another_content_has_another_file() -> None:
    others = [
        replace(SMALL, title="Autre"),
        replace(SMALL, codec="h265"),
        replace(SMALL, width=640),
        replace(SMALL, bit_rate=1),
        replace(SMALL, audio=True),
    ]
    assert len({spec.key for spec in [SMALL, *others]}) == 6


def test_the_cache_lies_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/syn")
    assert default_cache({"XDG_CACHE_HOME": "/var/cache"}) == Path("/var/cache/halfgateway/clips")
    assert default_cache({"XDG_CACHE_HOME": "relative"}) == Path("/home/syn/.cache/halfgateway/clips")
    assert default_cache({}) == Path("/home/syn/.cache/halfgateway/clips")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    damaged = tmp_path / "clip.mov"
    damaged.write_bytes(b"\x00" * 1000)
    with pytest.raises(ClipError, match=str(damaged)):
        load_clip(SMALL, damaged)


def test_each_frame_shows_its_number(empty_cache: Path) -> None:
    for codec in ("h264", "h265"):
        path = ensure_clip(replace(SMALL, codec=codec), empty_cache)
        with av.open(str(path)) as container:
            counters = [read_counter(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
        assert counters == list(range(CLIP_FRAMES))


def test_groups_of_pictures_are_closed_and_packets_fit_a_frame_of_ethernet(small_clip: Clip) -> None:
    keys = [number for number, unit in enumerate(small_clip.access_units) if unit.key]
    assert keys == list(range(0, CLIP_FRAMES, GOP_FRAMES))
    for unit in small_clip.access_units:
        assert [packet.marker for packet in unit.packets] == [False] * (len(unit.packets) - 1) + [True]
        assert all(0 < len(packet.payload) <= 1400 - 12 for packet in unit.packets)


def test_no_frame_is_shown_before_one_that_was_sent_earlier(empty_cache: Path) -> None:
    with av.open(str(ensure_clip(SMALL, empty_cache))) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.size and packet.pts is not None]
    assert all(earlier < later for earlier, later in pairwise(times))


def test_sound_is_cut_into_twenty_milliseconds(empty_cache: Path) -> None:
    spec = replace(SMALL, audio=True)
    clip = load_clip(spec, ensure_clip(spec, empty_cache))
    assert len(clip.audio) == CLIP_FRAMES * 2
    assert {len(block) for block in clip.audio} == {AUDIO_TICKS}
    assert len(set(clip.audio)) > 1


def test_parameter_sets_are_described_and_in_band(small_clip: Clip) -> None:
    assert small_clip.format_parameters.startswith("packetization-mode=1;profile-level-id=42")
    first = small_clip.access_units[0].packets[0].payload
    # RFC 6184: STAP-A (24) of SPS (7) and PPS (8), or the SPS itself.
    assert first[0] & 0x1F in {7, 24}
