"""``[exports]``: off unless agreed, and refused at start when it could not be used."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from auth.demo_authority import DemoAuthority
from camera_registry.clock import SystemClock
from halfgateway.config import parse_configuration
from tests.test_configuration import EXAMPLE, MINIMAL, faults_of

CAMERA = {
    "id": "mairie",
    "name": "Mairie",
    "site": "Site",
    "commune": "Versailles",
    "latitude": 48.8,
    "longitude": 2.1,
    "onvif_url": "http://192.0.2.1/onvif/device_service",
    "username": "syn",
    "password_file": "p",
}


def example() -> dict[str, Any]:
    """The section that stands, commented out, in the example."""
    (section,) = re.findall(r"^# (\[exports\].*?)\n\n", EXAMPLE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    document: dict[str, Any] = tomllib.loads(section.replace("\n# ", "\n"))
    return document


def test_there_are_none_unless_they_are_agreed() -> None:
    # S14
    assert parse_configuration(MINIMAL).exports is None
    agreed = parse_configuration({**MINIMAL, "cameras": [CAMERA], **example()}).exports
    assert agreed is not None
    rules = agreed.record()
    assert (rules.agreement, rules.cameras, rules.at_once) == ("avenant n° 3, article 2", {"mairie"}, 1)
    assert rules.kept.total_seconds() == 86_400


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"agreement": None}, "exports.agreement"),
        ({"accounts": []}, "exports.accounts"),
        ({"cameras": ["nowhere"]}, "configuration: Value error, exports.cameras: nowhere is none of cameras"),
        ({"kept_hours": 169}, "exports.kept_hours"),
        ({"at_once": 11}, "exports.at_once"),
    ],
    ids=str,
)
def test_what_is_not_said_or_too_much_is_a_fault(change: dict[str, Any], fault: str) -> None:
    section = {name: value for name, value in (example()["exports"] | change).items() if value is not None}
    (told,) = faults_of({**MINIMAL, "cameras": [CAMERA], "exports": section})
    assert told.startswith(fault)


def test_who_signs_has_the_certificates_own_key(tmp_path: Path) -> None:
    now = SystemClock().now()
    authority = DemoAuthority.open(tmp_path, now)
    one, other = authority.client("one", now), authority.client("other", now)
    usual = example()["exports"] | {"certificate": str(one.certificate_path)}
    section = parse_configuration({**MINIMAL, "cameras": [CAMERA], "exports": usual | {"key": str(one.key_path)}})
    assert section.exports is not None
    assert section.exports.signer().certificate.serial_number == one.certificate.serial_number
    wrong = parse_configuration({**MINIMAL, "cameras": [CAMERA], "exports": usual | {"key": str(other.key_path)}})
    assert wrong.exports is not None
    with pytest.raises(ValueError, match="is not the key of"):
        wrong.exports.signer()
