"""What a stranger finds at the top: a compose file that is one, locked requirements, a licence, and nothing foreign."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
).stdout.splitlines()


def test_the_top_level_is_the_agreed_one() -> None:
    fixed = {
        "pyproject.toml",
        "halfgateway",
        "camera_registry",
        "auth",
        "ops",
        "docker-compose.yml",
        "tests",
        "README.md",
    }
    assert fixed <= {path.split("/")[0] for path in TRACKED}


def test_the_compose_file_is_one() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_every_requirement_is_locked_by_hash_and_names_no_registry(lock: str) -> None:
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    pinned = re.findall(r"^[a-z0-9][a-z0-9._-]*(?:\[[a-z,]+\])?==", text, re.MULTILINE)
    assert len(pinned) > 20
    for block in re.split(r"\n(?=[a-z0-9])", text):
        assert "--hash=sha256:" in block
    assert "://" not in text


def test_no_file_names_a_machine_or_a_registry() -> None:
    foreign = re.compile("|".join(("/root" + "/", "/work" + "/", "index" + "-url", "python" + "hosted")))
    for path in TRACKED:
        if not (REPOSITORY / path).is_file():
            continue
        text = (REPOSITORY / path).read_bytes().decode("utf-8", "ignore")
        assert foreign.search(text) is None, path


def test_the_licence_is_the_eupl() -> None:
    assert (REPOSITORY / "LICENSE").read_text(encoding="utf-8").startswith("EUROPEAN UNION PUBLIC LICENCE v. 1.2")
