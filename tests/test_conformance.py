"""``docs/conformance.md`` is held to its word: all rows, tests that exist, and tests that name what they show."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "conformance.md"

OPTIONAL_ROWS = {37, 40}
"""SRTP, and RTSP over WebSocket."""

ROWS = {str(number) for number in range(1, 61) if number not in OPTIONAL_ROWS}
CASES = {f"1.7 {case}" for case in ("cap", "cut", "running", "rights", "stores", "camera", "mandate")}
ACCEPTANCE = {f"T{number}" for number in range(1, 16)}

LINE = re.compile(r"\| (?P<key>[^|]+) \| (?P<what>[^|]+) \| (?P<answer>[^|]+) \| (?P<tests>[^|]+) \|")
NODE_ID = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<name>test_\w+)`")
ROW_LIST = re.compile(
    r"\brows? ((?:\d{1,2}(?:-| to )\d{1,2}|\d{1,2})(?:(?:, | and )(?:\d{1,2}(?:-| to )\d{1,2}|\d{1,2}))*)"
)


class Shown(NamedTuple):
    """One line of a table: a row or a T-test, and the tests that show it."""

    key: str
    tests: tuple[tuple[str, str], ...]


def lines() -> list[Shown]:
    found = [match for text in PAGE.read_text().splitlines() if (match := LINE.fullmatch(text)) is not None]
    return [
        Shown(match["key"], tuple((node["file"], node["name"]) for node in NODE_ID.finditer(match["tests"])))
        for match in found
        if match["key"] not in {"Row", "Test"}
    ]


@cache
def texts_of(file: str) -> dict[str, str]:
    """Each test function of a file as it is written, its comments included."""
    source = (ROOT / file).read_text()
    written = source.splitlines()
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        node.name: "\n".join(written[node.lineno - 1 : node.end_lineno])
        for node in functions
        if node.name.startswith("test_")
    }


def mentioned(text: str) -> Iterator[str]:
    """The rows and T-tests that a test says that it shows."""
    for group in ROW_LIST.findall(text):
        for part in re.split(r", | and ", group):
            first, *last = re.split(r"-| to ", part)
            yield from map(str, range(int(first), int(last[0] if last else first) + 1))
    yield from re.findall(r"\bT[1-9]\d?\b", text)
    if "section 1.7" in text:
        yield from CASES


def test_every_row_is_on_the_page_once_and_in_order() -> None:
    keys = [line.key for line in lines()]
    assert len(keys) == len(set(keys))
    assert set(keys) == ROWS | CASES | ACCEPTANCE
    numbers = [int(key) for key in keys if key.isdecimal()]
    assert all(earlier < later for earlier, later in pairwise(numbers))


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.key)
def test_what_a_row_is_shown_by_exists_and_names_it(line: Shown) -> None:
    assert line.tests
    for file, name in line.tests:
        text = texts_of(file).get(name)
        assert text is not None, f"{file}::{name} does not exist"
        assert line.key in set(mentioned(text)), f"{file}::{name} does not name {line.key}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("row 9, C01", {"9"}),
        ("rows 1 to 4, 8 to 10; T12", {"1", "2", "3", "4", "8", "9", "10", "T12"}),
        ("rows 27 and 28: ten minutes", {"27", "28"}),
        ("(rows 2, 10-12)", {"2", "10", "11", "12"}),
        ("T02 is a requirement, T2 a test", {"T2"}),
        ("arrows 5, row of 6", set()),
    ],
)
def test_rows_are_found_as_people_write_them(text: str, found: set[str]) -> None:
    assert set(mentioned(text)) == found
