"""Lists of cameras: every fault by its line, and a configuration that gets all of a list or none of it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from halfgateway.cli import build
from halfgateway.config import ConfigurationError, read_configuration
from halfgateway.inspection.camera_list import CameraListError, append_to, as_toml, read_list

HEADER = "id,name,site,commune,latitude,longitude,onvif_url,username,password_file"
ROW = "place,Place d'Armes,Place,Versailles,48.803,2.1262,http://10.78.1.20/onvif/device_service,halfgateway,a.password"
CONFIGURATION = """\
# kept as it is
[node]
data = "data"
[convention]
in_force_from = 2025-10-21T00:00:00Z
[listen]
https_port = 8443
rtsps_port = 8322
[tls]
certificate = "a.password"
key = "a.password"
client_ca = "a.password"
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "a.password").write_text("p@ss:w0rd\n", encoding="utf-8")
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIGURATION, encoding="utf-8")
    path.chmod(0o640)
    return path


def listed(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "cameras.csv"
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    return path


def faults(folder: Path, *lines: str, encoding: str = "utf-8") -> list[str]:
    with pytest.raises(CameraListError) as refused:
        read_list(listed(folder, *lines, encoding=encoding), folder=folder, taken={"mairie"})
    return refused.value.faults


def test_a_list_becomes_part_of_the_configuration_which_stays_as_it_was(configuration: Path) -> None:
    folder = configuration.parent
    second = ROW.replace("place,", 'gare,"Gare, côté ""nord""",', 1).replace("Place d'Armes,", "")
    sections = read_list(listed(folder, HEADER, ROW, "", second), folder=folder)
    append_to(configuration, sections)
    text = configuration.read_text(encoding="utf-8")
    assert text.startswith(CONFIGURATION)
    assert configuration.stat().st_mode & 0o777 == 0o640
    cameras = read_configuration(configuration).cameras
    assert [each.id for each in cameras] == ["place", "gare"]
    assert cameras[1].name == 'Gare, côté "nord"'
    assert (cameras[0].latitude, cameras[0].password_file) == (48.803, folder / "a.password")
    assert sorted(each.name for each in folder.iterdir()) == ["a.password", "cameras.csv", "gateway.toml"]


def test_a_french_spreadsheet_is_understood(configuration: Path) -> None:
    header = HEADER.replace(",", ";") + ";masked_profile"
    row = ROW.replace(",", ";").replace("48.803", "48,803").replace("2.1262", "2,1262") + ";Profile_3"
    (section,) = read_list(listed(configuration.parent, header, row, encoding="utf-8-sig"), folder=configuration.parent)
    assert (section.latitude, section.longitude, section.masked_profile) == (48.803, 2.1262, "Profile_3")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], ["line 1: column id is missing"]),
        ([HEADER], ["names no camera"]),
        ([HEADER.replace(",site", "")], ["line 1: column site is missing"]),
        ([f"{HEADER},password", ROW], ["line 1: a column of passwords is refused"]),
        ([f"{HEADER},colour", ROW], ["line 1: column 'colour' is not known"]),
        ([f"{HEADER},id", ROW], ["line 1: column id appears twice"]),
        ([HEADER, ROW.replace("48.803", "91")], ["line 2: latitude"]),
        ([HEADER, ROW.replace("48.803", "")], ["line 2: latitude"]),
        ([HEADER, ROW.replace("http:", "ftp:")], ["line 2: onvif_url"]),
        ([HEADER, ROW.replace("http://", "http://admin:secret@")], ["line 2: onvif_url"]),
        ([HEADER, ROW.replace("place,", "Place 1,")], ["line 2: id"]),
        ([HEADER, ROW.replace("place,", "mairie,")], ["line 2: id: mairie is in the configuration"]),
        ([HEADER, ROW, ROW], ["line 3: id: place is on line 2"]),
        ([HEADER, ROW.replace("a.password", "none.password")], ["line 2: password_file"]),
        ([HEADER, f"{ROW},more"], ["line 2: more cells than columns"]),
        ([HEADER, f'{ROW[:-1]}"'], ["line 2: password_file"]),
        ([HEADER, ROW.replace("place,", "A,"), '"never'], ["line 2: id", "line 3: unexpected end of data"]),
        ([HEADER, '"never closed'], ["line 2: unexpected end of data"]),
        (
            [HEADER, ROW.replace("48.803", "x"), "", ROW.replace("http:", "x:").replace("2.1262", "999")],
            ["line 2: latitude", "line 4: longitude", "line 4: onvif_url"],
        ),
    ],
)
def test_every_fault_is_told_with_its_line(configuration: Path, lines: list[str], told: list[str]) -> None:
    found = faults(configuration.parent, *lines)
    if lines:
        assert len(found) == len(told), found
    for fault, words in zip(found, told, strict=False):
        assert fault.startswith(words) or words in fault
    assert "secret" not in "".join(found)


def test_what_is_no_text_is_told_too(configuration: Path) -> None:
    (fault,) = faults(configuration.parent, HEADER, ROW.replace("Armes", "Évêché"), encoding="latin-1")
    assert fault.startswith("line 2: not UTF-8")
    with pytest.raises(CameraListError, match=r"none\.csv"):
        read_list(configuration.parent / "none.csv", folder=configuration.parent)


def test_a_password_file_holds_one_line(configuration: Path) -> None:
    (configuration.parent / "a.password").write_text("one\ntwo\n", encoding="utf-8")
    assert "one line" in faults(configuration.parent, HEADER, ROW)[0]


def test_a_configuration_that_would_not_be_valid_is_left_as_it_was(configuration: Path) -> None:
    sections = read_list(listed(configuration.parent, HEADER, ROW), folder=configuration.parent)
    append_to(configuration, sections)
    before = configuration.read_bytes()
    with pytest.raises(ConfigurationError, match="place appears twice"):
        append_to(configuration, sections)
    assert configuration.read_bytes() == before
    assert not list(configuration.parent.glob(".gateway*"))


def test_the_tables_are_toml(configuration: Path) -> None:
    row = ROW.replace("Place d'Armes", 'A \\ ""quoted"" é name').replace("A \\", '"A \\').replace(" name", ' name"')
    sections = read_list(listed(configuration.parent, HEADER, row), folder=configuration.parent)
    (table,) = tomllib.loads(as_toml(sections))["cameras"]
    assert table["name"] == 'A \\ "quoted" é name'
    assert "masked_profile" not in table


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(build(list(arguments)), list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_the_command_imports_all_or_nothing(configuration: Path) -> None:
    good = str(listed(configuration.parent, HEADER, ROW))
    named = ["--config", str(configuration)]
    code, output, _ = run("camera", "import", good, "--output", "-", *named)
    assert (code, [each["id"] for each in tomllib.loads(output)["cameras"]]) == (0, ["place"])
    assert configuration.read_text(encoding="utf-8") == CONFIGURATION
    code, output, _ = run("camera", "import", good, "--json", *named)
    assert (code, json.loads(output)["imported"]) == (0, ["place"])
    code, output, complaint = run("camera", "import", good, *named)
    assert (code, output) == (1, "")
    assert "line 2: id: place is in the configuration already" in complaint
    assert run("camera", "import", good)[0] == 2


def test_cameras_that_no_node_has_asked_yet_are_planned(configuration: Path) -> None:
    run("camera", "import", str(listed(configuration.parent, HEADER, ROW)), "--config", str(configuration))
    code, output, _ = run("camera", "list", "--json", "--config", str(configuration))
    assert code == 0
    (camera,) = json.loads(output)["cameras"]
    assert (camera["id"], camera["state"], camera["profiles"]) == ("place", "planned", [])
    code, output, _ = run("camera", "show", "place", "--config", str(configuration))
    assert code == 0
    assert "10.78.1.20" in output
    assert "p@ss" not in output
    assert "halfgateway" not in output, "the account's name is a credential too"
    assert not (configuration.parent / "data").exists(), "reading makes nothing"
    assert run("camera", "show", "none", "--config", str(configuration))[0] == 2
    assert run("doctor", "none", "--config", str(configuration))[0] == 2
