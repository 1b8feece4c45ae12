"""Which of the demo's cameras is recorded by which recorder: one by ours, all others by the simulated one.

That one answers in three ways; ``halfgateway recorder`` writes segments, which are read as anybody's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from halfgateway.config_recorder import RecordingProcessSection
from halfgateway.config_recordings import (
    OnvifRecorderSection,
    RecorderSection,
    SegmentRecorderSection,
    UrlRecorderSection,
)

ONVIF_CAMERAS: Final = 6
"""The first cameras of the demo are replayed over ONVIF: the simulated recorder has one of each kind, and one more."""

URL_CAMERAS: Final = 3
"""The next are replayed by a maker's URL; all further ones from a folder of segments, where there is one."""

OURS: Final = 10
"""The index of the camera that ``halfgateway recorder`` records, in a demo that has so many: of those that are replayed
from a folder, the one of the fewest bits a second (13 GB a day)."""


def begin_our_recording(recorder: dict[str, Any] | None, footage: Path) -> None:
    """Make the folder of the camera that we record ourselves, where the demo has it. Raises OSError."""
    if recorder is not None and len(recorder["recordings"]) > OURS:
        (footage / recorder["recordings"][OURS]["camera"]).mkdir(mode=0o750, parents=True, exist_ok=True)


def our_recorder(footage: Path) -> RecordingProcessSection | None:
    """How ``halfgateway recorder`` records in a demo: the cameras that have a folder; None where none has."""
    cameras = tuple(sorted(path.name for path in footage.glob("*/")))
    return RecordingProcessSection(folder=footage, cameras=cameras) if cameras else None


def recorder_sections(
    recorder: dict[str, Any] | None, password_file: Path, ours: RecordingProcessSection | None
) -> tuple[RecorderSection, ...]:
    """The recorders of a demo, from what ``halfgateway simulate --json`` tells of the simulated one."""
    if recorder is None:
        return ()
    our_cameras = () if ours is None else ours.cameras
    held = [each for each in recorder["recordings"] if each["camera"] not in our_cameras]
    by_onvif, by_url = held[:ONVIF_CAMERAS], held[ONVIF_CAMERAS : ONVIF_CAMERAS + URL_CAMERAS]
    in_folder = held[ONVIF_CAMERAS + URL_CAMERAS :]
    username = recorder["username"]
    sections: list[RecorderSection] = [
        OnvifRecorderSection(
            kind="onvif",
            id="syn-onvif",
            onvif_url=recorder["onvif_url"],
            username=username,
            password_file=password_file,
            cameras={each["camera"]: each["token"] for each in by_onvif},
        )
    ]
    if by_url:
        sections.append(
            UrlRecorderSection(
                kind="url",
                id="syn-url",
                url=recorder["url"],
                username=username,
                password_file=password_file,
                cameras={each["camera"]: each["channel"] for each in by_url},
            )
        )
    if in_folder and recorder["footage"] is not None:
        sections.append(
            SegmentRecorderSection(
                kind="segments",
                id="syn-segments",
                folder=Path(recorder["footage"]),
                cameras={each["camera"]: each["folder"] for each in in_folder},
            )
        )
    if ours is not None:
        own = {camera: camera for camera in ours.cameras}
        sections.append(SegmentRecorderSection(kind="segments", id="syn-recorder", folder=ours.folder, cameras=own))
    return tuple(sections)
