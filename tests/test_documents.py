"""What code and documents name is here: pages, their headings, refusals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMING = ("halfgateway", "camera_registry", "auth", "ops", "docs", "examples", "tests")
FORMS = {".py", ".md", ".toml", ".lua", ".service", ".yml", ".sh", ".cfg", ".conf", ".soap", ".rtsp", ""}
FROZEN = ROOT / "docs" / "examples"
"""A dossier as it was handed out: nothing in it is written anew."""

PAGE = re.compile(r"(?<![\w/.:-])(?:\.\./)*[\w./-]*[\w-]\.md\b")
LINK = re.compile(r"\]\((?P<page>[^)#:\s]*)(?:#(?P<heading>[^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


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
