"""What the configuration says of ``halfgateway recorder``: whom it records, where, and for how long (C04)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from camera_registry.orders import CONVENTION_RETENTION_DAYS, LONGEST_RETENTION_DAYS
from halfgateway.sections import Name, Section

MAX_CAMERAS = 256
"""Cameras that one recorder takes: each has a thread of its own, and one disk takes no more at 4 Mb/s."""


class RecordingProcessSection(Section):
    """SYN's recorder where a site has none: ``cameras`` are recorded into ``folder``, each into a folder of its name.

    Footage is kept for ``keep_days``, or longer where the camera's order says so, and never longer than that order
    allows. ``min_free_bytes`` and ``min_free_percent`` of the disk, whichever is more, are kept free: there is an alarm
    at twice as much. ``metrics_file`` is where the standing alarms are written for a metrics collector.
    """

    folder: Path
    cameras: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_CAMERAS)]
    segment_s: Annotated[float, Field(ge=2, le=600)] = 60.0
    keep_days: Annotated[int, Field(ge=CONVENTION_RETENTION_DAYS, le=LONGEST_RETENTION_DAYS)] = (
        CONVENTION_RETENTION_DAYS
    )
    min_free_bytes: Annotated[int, Field(ge=0)] = 256 << 20
    min_free_percent: Annotated[float, Field(ge=0, le=50)] = 5.0
    metrics_file: Path | None = None

    @field_validator("cameras")
    @classmethod
    def _are_named_once(cls, cameras: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({camera for camera in cameras if cameras.count(camera) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return cameras
