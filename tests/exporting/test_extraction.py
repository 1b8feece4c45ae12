"""A hold's interval on a medium to be sealed: the very bits, their hashes in a manifest (L15, L26)."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from halfgateway.app.extracting import extract_held
from halfgateway.config import CameraSection, Configuration, ListenSection, NodeSection
from halfgateway.config_recordings import SegmentRecorderSection
from halfgateway.config_terms import ConventionSection
from halfgateway.errors import NoRecording
from halfgateway.exporting.extraction import HeldPeriod
from tests.segments.footage import DAY, write


def configured(folder: Path) -> Configuration:
    recorder = SegmentRecorderSection(kind="segments", id="nas", folder=folder, cameras={"mairie": "mairie"})
    camera = CameraSection(
        id="mairie",
        name="Mairie",
        site="Mairie",
        commune="Trappes",
        latitude=48.8,
        longitude=2.1,
        onvif_url="http://192.0.2.10/onvif/device_service",
        username="u",
        password_file=folder / "password",
    )
    return Configuration(
        node=NodeSection(id="node-1", data=folder / "data"),
        convention=ConventionSection(in_force_from=DAY),
        listen=ListenSection(https_port=None, rtsps_port=None),
        cameras=(camera,),
        recorders=(recorder,),
    )


async def test_the_interval_is_copied_with_its_gaps_and_hashes(tmp_path: Path) -> None:  # L15, L26
    write(tmp_path / "mairie", DAY)
    write(tmp_path / "mairie", DAY + timedelta(seconds=10))
    medium = tmp_path / "medium"
    medium.mkdir()
    held = HeldPeriod(7, "TJ78-2026-114", "mairie", DAY, DAY + timedelta(seconds=14))
    made = await extract_held(configured(tmp_path), held, medium)
    content = made.manifest.read_bytes()
    manifest = json.loads(content)
    assert hashlib.sha256(content).hexdigest() == made.sha256
    assert (manifest["hold"], manifest["reference"], manifest["camera"]) == (7, "TJ78-2026-114", "mairie")
    files = {each["name"]: each["sha256"] for each in manifest["files"]}
    assert {path.name for path in medium.iterdir()} == {*files, "manifest.json"}
    for name, sha256 in files.items():
        assert hashlib.sha256((medium / name).read_bytes()).hexdigest() == sha256
    assert sum(each["pictures"] for each in manifest["files"]) == 200
    (gap,) = manifest["gaps"]
    assert (gap["start"], gap["end"]) == ("2026-11-20T00:00:04.000000Z", "2026-11-20T00:00:10.000000Z")


async def test_where_nothing_is_recorded_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "mairie").mkdir()
    medium = tmp_path / "medium"
    medium.mkdir()
    for camera in ("mairie", "gare"):
        held = HeldPeriod(7, "TJ78-1", camera, DAY, DAY + timedelta(seconds=5))
        with pytest.raises(NoRecording):
            await extract_held(configured(tmp_path), held, medium)
    assert list(medium.iterdir()) == []
