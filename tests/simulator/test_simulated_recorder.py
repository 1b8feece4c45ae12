"""The recorder beside the simulator's cameras, its folder of footage, and the demo's recorders of all three kinds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from halfgateway.config_recordings import OnvifRecorderSection, SegmentRecorderSection, UrlRecorderSection
from halfgateway.demo_recorders import begin_our_recording, our_recorder, recorder_sections
from halfgateway.simulator.film import PICTURE
from halfgateway.simulator.footage_folder import EVERY, LASTS, FootageFolder
from halfgateway.simulator.recordings import KEEPS, Kind, recordings
from halfgateway.simulator.segments import PATTERN
from halfgateway.simulator.simulator import Simulator
from tests.held_clock import HeldClock
from tests.replay.filmed import instants_in_file


async def test_the_simulator_records_its_cameras() -> None:
    before = asyncio.all_tasks()
    async with Simulator(2, with_recorder=True) as simulator:
        listed = simulator.recorder_listing()
        assert listed is not None
        assert [each["camera"] for each in listed["recordings"]] == [each.identity.id for each in simulator.cameras]
        assert listed["onvif_url"] == simulator.recorder.onvif_url
        (onvif,) = recorder_sections(dict(listed), Path("/password"), None)
        assert isinstance(onvif, OnvifRecorderSection)
        assert set(onvif.cameras.values()) == {"RecordingToken001", "RecordingToken002"}
    with pytest.raises(RuntimeError, match="no recorder"):
        simulator.recorder.drop_connections()
    assert simulator.recorder_listing() is None
    assert asyncio.all_tasks() == before


def test_the_demos_cameras_are_recorded_in_all_three_ways_and_one_by_ours(tmp_path: Path) -> None:
    held = [{"camera": f"c{n}", "token": f"T{n}", "channel": str(n), "folder": f"c{n}"} for n in range(12)]
    recorder = {
        "id": "r",
        "onvif_url": "http://127.0.0.1:80/onvif/device_service",
        "url": "rtsp://127.0.0.1:554/Streaming/tracks/{channel}01?starttime={start}&endtime={end}",
        "username": "u",
        "password": "p",
        "footage": str(tmp_path),
        "recordings": held,
    }
    begin_our_recording(recorder, tmp_path / "ours")
    ours = our_recorder(tmp_path / "ours")
    onvif, url, segments, own = recorder_sections(recorder, tmp_path / "password", ours)
    assert isinstance(onvif, OnvifRecorderSection)
    assert isinstance(url, UrlRecorderSection)
    assert isinstance(segments, SegmentRecorderSection)
    assert isinstance(own, SegmentRecorderSection)
    assert [len(each.cameras) for each in (onvif, url, segments)] == [6, 3, 2]
    assert (own.folder, own.cameras) == (tmp_path / "ours", {"c10": "c10"})
    assert recorder_sections(None, tmp_path, ours) == ()
    begin_our_recording({**recorder, "recordings": held[:3]}, tmp_path / "three")
    assert our_recorder(tmp_path / "three") is None


async def test_the_folder_has_passages_of_all_twelve_days_and_the_last_minutes_whole(
    tmp_path: Path, clock: HeldClock
) -> None:
    """What is new is laid minute by minute, and leaves again after a while."""
    (whole,) = recordings([(Kind.CONTINUOUS.value, "")], clock.now())
    kept = timedelta(minutes=3)
    folder = FootageFolder(tmp_path, clock=clock, kept_whole=kept)
    minutes = [clock.now() - timedelta(minutes=n) for n in range(5, 0, -1)]
    new = [f"{minute:{PATTERN}}".rpartition("/")[2] for minute in minutes]
    folder.begin([whole])
    try:
        async with asyncio.timeout(20):
            while (laid := names(tmp_path))[-4:] != new[-4:] or len(laid) - 4 < KEEPS // EVERY - 2:
                await asyncio.sleep(0.02)
    finally:
        await folder.end()
    assert new[0] not in laid
    (oldest,) = tmp_path.rglob(laid[0])
    first = datetime(2026, 11, 9, 12, tzinfo=UTC)
    assert instants_in_file(str(oldest)) == [first + n * PICTURE for n in range(LASTS // PICTURE)]


def names(folder: Path) -> list[str]:
    """The segments of a folder in the order in which they were filmed."""
    return sorted(path.name for path in folder.rglob("*.mp4"))
