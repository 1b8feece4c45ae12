"""What code and documents name is here: pages, their headings, requirements, and what to do of each refusal."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from halfgateway.errors import Refusal

ROOT = Path(__file__).parent.parent
NAMING = ("halfgateway", "camera_registry", "auth", "ops", "docs", "examples", "tests")
FORMS = {".py", ".md", ".toml", ".lua", ".service", ".yml", ".sh", ".cfg", ".conf", ".soap", ".rtsp", ""}
FROZEN = ROOT / "docs" / "examples"
"""A dossier as it was handed out: nothing in it is written anew."""

PAGE = re.compile(r"(?<![\w/.:-])(?:\.\./)*[\w./-]*[\w-]\.md\b")
LINK = re.compile(r"\]\((?P<page>[^)#:\s]*)(?:#(?P<heading>[^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CITED = re.compile(r"(?<![\w}%-])([CLSTNPD]\d\d)(?![\w:])")
DEFINED = re.compile(r"^\| ([CLSTNPD]\d\d) \|", re.MULTILINE)
REQUIREMENTS = ROOT / "docs" / "requirements.md"
ACCEPTANCE = {"T13", "T14", "T15"}
"""Of the acceptance list in ``docs/conformance.md``, as tests name them."""


def sources() -> Iterator[Path]:
    """Every file that people read or run, but what was handed out."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in FORMS and path.name[0] != ".")
    for folder in NAMING:
        for path in (ROOT / folder).rglob("*"):
            readable = path.is_file() and path.suffix in FORMS and "__pycache__" not in path.parts
            if readable and FROZEN not in path.parents:
                yield path


def documents() -> list[Path]:
    return [path for path in sources() if path.suffix == ".md"]


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a page's headings are called in links: lower case, no punctuation, a hyphen for each blank."""
    titles = HEADING.findall(page.read_text(encoding="utf-8"))
    return frozenset(re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-") for title in titles)


def is_here(name: str, named_by: Path) -> bool:
    """Whether a page is there, from the root, from ``docs`` or from where it is named."""
    return any((folder / name).is_file() for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "fr", named_by.parent))


def test_every_page_that_is_named_is_here() -> None:
    named = ((path, name) for path in sources() for name in set(PAGE.findall(path.read_text(encoding="utf-8"))))
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in named if not is_here(name, path)] == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / link["page"] if link["page"] else page
        assert target.exists(), link[0]
        if link["heading"] is not None:
            assert link["heading"] in anchors(target), link[0]


def cited() -> dict[str, set[str]]:
    """Each requirement's id, with the files that name it."""
    found: dict[str, set[str]] = {}
    for path in sources():
        if path not in {REQUIREMENTS, ROOT / "pyproject.toml"}:
            for name in CITED.findall(path.read_text(encoding="utf-8")):
                found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_requirement_that_is_named_is_on_its_page_once() -> None:
    defined = DEFINED.findall(REQUIREMENTS.read_text(encoding="utf-8"))
    assert len(defined) == len(set(defined))
    assert {name: files for name, files in cited().items() if name not in {*defined, *ACCEPTANCE}} == {}
    assert set(defined) <= set(cited())


def test_the_packages_are_told_in_the_order_of_the_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (each["layers"] for each in settings["tool"]["importlinter"]["contracts"] if "containers" in each)
    page = (ROOT / "docs/adr/0001-sans-io-core-layers-one-loop.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
    assert [re.findall(r"\w+", row) for row in rows] == [re.findall(r"\w+", layer) for layer in layers]


def test_the_prefectures_side_is_told_what_to_do_of_each_refusal_of_a_stream() -> None:
    page = (ROOT / "docs" / "integration-pp.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| `[a-z-]+`[^|]*\|", page, re.MULTILINE))))
    refusals = {refusal.code for refusal in Refusal.__subclasses__() if refusal.__module__ == Refusal.__module__}
    assert refusals - told == {"preflight-failed", "proposal-lapsed"}  # of a restoration
