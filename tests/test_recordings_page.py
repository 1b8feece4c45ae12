"""``docs/recordings.md`` is held to the code: its sections are valid, its numbers and refusals those that count."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from halfgateway.config import Configuration, parse_configuration
from halfgateway.control.replay_seat import BETWEEN_SEEKS_S, FIRST_PICTURE_S, LATER, NotInReverse
from halfgateway.control.replays import EDGE_KEPT_S, EDGE_MARGIN
from halfgateway.errors import (
    CapReached,
    InterconnectionCut,
    NoRecording,
    NotHabilitated,
    OutsideRetention,
    RecorderUnreachable,
    Refusal,
    TransportNotOffered,
)
from halfgateway.replay.backlog import MOST_BYTES, MOST_PICTURES
from halfgateway.replay.read_ahead import TURN_BYTES, TURN_ITEMS
from halfgateway.replay.transmission import SLIDE_TOLERANCE
from halfgateway.replay.url_recorder import UrlFootage
from halfgateway.segments.catalogue import JOIN_TOLERANCE, STILL_RECORDING
from halfgateway.segments.layout import DEFAULT_PATTERN
from tests.test_configuration import EXAMPLE, MINIMAL

PAGE = (Path(__file__).parents[1] / "docs" / "recordings.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PLAY_ONLY = 457


def cells(first: str) -> list[str]:
    """The cells of the table line that begins with this one."""
    (line,) = re.findall(rf"^\| {re.escape(first)} \| (.*) \|$", PAGE, re.MULTILINE)
    return [cell.strip() for cell in line.split(" | ")]


def configured(section: str) -> Configuration:
    """A section in a configuration that knows the cameras that it names."""
    document = tomllib.loads(section)
    naming = [*document.get("recorders", ()), document.get("recorder", {})]
    named = {camera for each in naming for camera in each.get("cameras", ())}
    return parse_configuration({**MINIMAL, "cameras": list(map(camera, sorted(named))), **document})


def camera(name: str) -> dict[str, Any]:
    url = "http://192.0.2.10/onvif/device_service"
    place = {"name": name, "site": "Gare", "commune": "Trappes", "latitude": 48.8, "longitude": 2.1}
    return {"id": name, "onvif_url": url, "username": "u", "password_file": "camera.password", **place}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_is_valid(section: str) -> None:
    configured(section)


def test_each_kind_has_an_example() -> None:
    recorders = [recorder for section in SECTIONS for recorder in configured(section).recorders]
    assert {recorder.kind for recorder in recorders} == {"onvif", "url", "segments"}
    assert len({recorder.id for recorder in recorders}) == len(recorders)


def test_what_our_recorder_writes_is_what_its_folder_reads() -> None:
    (ours,) = [section for section in SECTIONS if "[recorder]" in section]
    configuration = configured(ours)
    (folder,), recorder = configuration.recorders, configuration.recorder
    assert recorder is not None
    assert folder.kind == "segments"
    assert (folder.folder, folder.pattern) == (recorder.folder, DEFAULT_PATTERN)
    assert folder.cameras == {camera: camera for camera in recorder.cameras}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGE_MARGIN", EDGE_MARGIN),
        ("EDGE_KEPT_S", timedelta(seconds=EDGE_KEPT_S)),
        ("LATER", LATER),
        ("FIRST_PICTURE_S", timedelta(seconds=FIRST_PICTURE_S)),
        ("SLIDE_TOLERANCE", SLIDE_TOLERANCE),
        ("BETWEEN_SEEKS_S", timedelta(seconds=BETWEEN_SEEKS_S)),
    ],
)
def test_the_window_s_numbers_are_those_of_the_code(name: str, value: timedelta) -> None:
    # C03
    assert cells(f"`{name}`")[0] == f"{value.total_seconds():g} s"


def test_the_bounds_are_those_of_the_code() -> None:
    # row 58
    assert cells("a slow reader")[0].startswith(f"a MiB or {MOST_PICTURES} pictures")
    assert cells("a slow reader")[2].startswith(f"two turns of {TURN_ITEMS} pictures or a MiB")
    assert MOST_BYTES == TURN_BYTES == 1 << 20
    assert "segments that appear within two minutes" in PAGE
    assert timedelta(minutes=2) == STILL_RECORDING
    assert "gaps of more than a second" in cells("finds footage")[2]
    assert timedelta(seconds=1) == JOIN_TOLERANCE
    assert (cells("in reverse")[1], UrlFootage.reverses) == (str(NotInReverse.rtsp_status), False)


@pytest.mark.parametrize(
    ("case", "refusal"),
    [
        ("before the window, or to come", OutsideRetention),
        ("nothing was recorded there", NoRecording),
        ("another period than the ticket's; `Rate-Control: no` without the right", NotHabilitated),
        ("in reverse, of a recorder that cannot", NotInReverse),
        ("the eleventh", CapReached),
        ("by UDP", TransportNotOffered),
        ("the recorder is away, refuses our password, has no session left", RecorderUnreachable),
        ("cut", InterconnectionCut),
    ],
)
def test_refusals_are_answered_as_the_page_says(case: str, refusal: type[Refusal]) -> None:
    # rows 33, 56; section 1.7
    code, play, before, http = cells(case)
    assert code == f"`{refusal.code}`"
    assert play.partition(",")[0] in {str(refusal.rtsp_status), "–"}
    assert before in {"404" if refusal.rtsp_status == PLAY_ONLY else str(refusal.rtsp_status), "–"}
    assert http in {str(refusal.http_status), "–"}


def test_the_example_s_recorders_are_valid_once_they_are_switched_on() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    (block,) = re.findall(r"^# \[\[recorders\]\].*?^# bulk_agreement[^\n]*\n", text, re.MULTILINE | re.DOTALL)
    switched_on = re.sub(r"^# (?=\[|\w+ = )", "", block, flags=re.MULTILINE)
    configuration = configured(switched_on)
    assert [recorder.kind for recorder in configuration.recorders] == ["onvif", "url", "segments"]
    assert configuration.recordings.bulk_accounts
