"""Exports from a folder of segments: across files, gaps and formats, with nothing lost (L15)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import pytest

from camera_registry.clock import SystemClock, rfc3339
from halfgateway.control.replays import Replays
from halfgateway.exporting.export import ExportState
from halfgateway.exporting.manifest import MANIFEST
from halfgateway.protocol.codec import Codec
from halfgateway.replay.segment_folder import SegmentFolder
from halfgateway.segments.layout import Layout
from tests.control.doors import CAMERA
from tests.exporting.conftest import Studio
from tests.exporting.footages import Recorder
from tests.segments.footage import DEFAULT, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = timedelta(seconds=1)


def pictures_of(path: Path, codec: str) -> list[bytes]:
    """The slices of a file, in their order: what of it is pictures, whatever stands between them."""
    units = []
    with av.open(str(path)) as container:
        in_lengths = container.format.name != "mpegts"
        for packet in container.demux(video=0):
            data = bytes(packet)
            units += _by_length(data) if in_lengths else [unit for unit in data.split(b"\0\0\1") if unit]
    slices = range(1, 6) if codec == "H264" else range(32)
    kind = (lambda unit: unit[0] & 0x1F) if codec == "H264" else (lambda unit: unit[0] >> 1 & 0x3F)
    return [unit.rstrip(b"\0") for unit in units if unit.strip(b"\0") and kind(unit) in slices]


def _by_length(data: bytes) -> list[bytes]:
    units, here = [], 0
    while here < len(data):
        size = int.from_bytes(data[here : here + 4], "big")
        units.append(data[here + 4 : here + 4 + size])
        here += 4 + size
    return units


@pytest.mark.parametrize("reordered", [False, True], ids=["in-order", "reordered"])
async def test_a_folder_of_segments_is_copied_picture_by_picture(
    studio: Studio, tmp_path: Path, reordered: bool
) -> None:
    # L14, L15, T13: an edge between two segments, a gap, a change of codec
    root, start = tmp_path / "recorder", studio.start
    how: dict[str, Any] = {"reordered": reordered}
    first = [write(root / "c", start, 2, **how), write(root / "c", start + 2 * SECONDS, 2, **how)]
    later = write(root / "c", start + 9 * SECONDS, 2, **how)
    other = write(root / "c", start + 11 * SECONDS, 2, codec=Codec.H265, **how)
    with ThreadPoolExecutor(4) as threads:
        layout, clock = Layout(DEFAULT, ZoneInfo("UTC")), SystemClock()
        footage = SegmentFolder(root, "c", layout, clock=clock, threads=threads)
        replays = Replays(Recorder({CAMERA: footage}), studio.place.admission, clock, now=clock.monotonic)
        studio.exports = studio.reopened(replace(studio.workshop, replays=replays))
        export = await studio.made(end=start + 20 * SECONDS)
        await replays.settle()
    assert (export.state, export.detail) == (ExportState.DONE, None)
    folder = studio.folder / "a" / export.id
    said = json.loads((folder / MANIFEST).read_bytes())
    assert [(file["codec"], file["start"], file["pictures"]) for file in said["files"]] == [
        ("H264", rfc3339(start), 100),
        ("H264", rfc3339(start + 9 * SECONDS), 50),
        ("H265", rfc3339(start + 11 * SECONDS), 50),
    ]
    for file, sources in zip(said["files"], (first, [later], [other]), strict=True):
        recorded = [unit for source in sources for unit in pictures_of(source, file["codec"])]
        assert pictures_of(folder / file["name"], file["codec"]) == recorded
    assert [(gap["start"], gap["end"]) for gap in said["gaps"]] == [
        (rfc3339(start + 4 * SECONDS), rfc3339(start + 9 * SECONDS)),
        (rfc3339(start + 13 * SECONDS), rfc3339(start + 20 * SECONDS)),
    ]
    assert said["obtained"]["duration_s"] == 8.0
