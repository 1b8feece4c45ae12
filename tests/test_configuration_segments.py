"""`[[recorders]]` of kind segments: which patterns and folders are refused, each with its own words (issue 7)."""

from __future__ import annotations

from typing import Any

import pytest

from halfgateway.config import Configuration, ConfigurationError, parse_configuration
from halfgateway.config_recordings import SegmentRecorderSection

CAMERA = {
    "id": "cam-1", "name": "Gare", "site": "Gare", "commune": "Trappes", "latitude": 48.8, "longitude": 2.1,
    "onvif_url": "http://192.0.2.10/onvif/device_service", "username": "u", "password_file": "camera.password",
}  # fmt: skip


def configured(**changes: Any) -> Configuration:
    recorder = {"kind": "segments", "id": "nas", "folder": "footage", "cameras": {"cam-1": "12"}, **changes}
    document = {
        "node": {"data": "data"},
        "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
        "listen": {"https_port": "off", "rtsps_port": "off"},
        "cameras": [CAMERA],
        "recorders": [recorder],
    }
    return parse_configuration(document)


def fault_of(**changes: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        configured(**changes)
    (fault,) = refused.value.faults
    return fault


def test_a_camera_that_is_none_of_ours_is_refused() -> None:
    assert "recorders.nas.cameras: cam-2 is none of cameras" in fault_of(cameras={"cam-1": "12", "cam-2": "13"})


def test_segments_lie_where_our_own_recorder_writes_them_by_default() -> None:
    (recorder,) = configured().recorders
    assert isinstance(recorder, SegmentRecorderSection)
    assert (recorder.pattern, recorder.time_zone) == ("%Y-%m-%d/%Y%m%dT%H%M%S.%fZ.mp4", "UTC")


@pytest.mark.parametrize(
    "pattern",
    [
        "%Y%m%d_%H%M%S.ts",
        "%Y/%m/%d/%H/%M.%S.mp4",
        "rec/%Y-%j/%H%M%S.mp4",
        "%Y-%m-%dT%H-%M-%S%z.mp4",
        "100%% %Y%m%d%H%M%S.mp4",
    ],
)
def test_a_pattern_that_tells_the_whole_instant_passes(pattern: str) -> None:
    (recorder,) = configured(pattern=pattern).recorders
    assert isinstance(recorder, SegmentRecorderSection)
    assert recorder.pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("%Y-%m-%d.mp4", "full date and time"),
        ("%H%M%S.mp4", "full date and time"),
        ("%Y%m%d%H%M.mp4", "full date and time"),
        ("%c.mp4", "%c cannot be read back"),
        ("%Y-%b-%d/%H%M%S.mp4", "%b cannot be read back"),
        ("%Y%m%d%H%M%S%", "cannot be read back"),
        ("/%Y%m%d%H%M%S.mp4", "below the camera's folder"),
        ("../%Y%m%d%H%M%S.mp4", "below the camera's folder"),
        ("%d/%Y%m%d%H%M%S.mp4", "folders may tell"),
        ("%Y%m%d/%H/%M/%S/%f.mp4", "folders may tell"),
    ],
)
def test_a_pattern_that_does_not_is_a_fault_of_the_configuration(pattern: str, word: str) -> None:
    fault = fault_of(pattern=pattern)
    assert fault.startswith("recorders.0")
    assert word in fault


@pytest.mark.parametrize("folder", ["../other", "/etc", "a/../../b", "a\0b"])
def test_a_camera_has_its_folder_below_the_recorders(folder: str) -> None:
    # C16
    assert "below the recorder's" in fault_of(cameras={"cam-1": folder})
