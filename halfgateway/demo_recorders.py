"""Which of the demo's cameras is recorded by which kind of recorder: the simulated one answers in all three ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from halfgateway.config_recordings import (
    OnvifRecorderSection,
    RecorderSection,
    SegmentRecorderSection,
    UrlRecorderSection,
)

ONVIF_CAMERAS: Final = 6
"""The first cameras of the demo are replayed over ONVIF: the simulated recorder has one of each kind, and one more."""

URL_CAMERAS: Final = 3
"""The next are replayed by a maker's URL; all further ones from the folder of segments, where there is one."""


def recorder_sections(recorder: dict[str, Any] | None, password_file: Path) -> tuple[RecorderSection, ...]:
    """The recorders of a demo, from what ``halfgateway simulate --json`` tells of the simulated one."""
    if recorder is None:
        return ()
    held = recorder["recordings"]
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
    return tuple(sections)
