"""The table of quirks is held to its word: what it names exists, is used, and is all there is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from camera_registry.quirks import QUIRKS, Quirk
from tests.registry.quirks_page import COMMAND, PAGE, ROOT, page

CORPUS = ROOT / "tests" / "corpus"
MAX_CORPUS_FILE_BYTES = 4096
SOURCE = re.compile(r"[\w.-]+/[\w.-]+#[0-9]+|https://[^\s<>]+")

each_quirk = pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.id)


@cache
def functions_of(path: str) -> dict[str, ast.AST]:
    """The test functions of a file, by name."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: node for node in functions}


def named_tests(quirk: Quirk) -> Iterator[ast.AST]:
    for node in quirk.tests:
        path, _, name = node.partition("::")
        yield functions_of(path)[name]


def words(test: ast.AST) -> set[str]:
    """The strings that a test holds, its decorators' among them."""
    return {node.value for node in ast.walk(test) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_no_two_quirks_have_the_same_id() -> None:
    assert len({quirk.id for quirk in QUIRKS}) == len(QUIRKS)


@each_quirk
def test_every_test_that_is_named_exists(quirk: Quirk) -> None:
    assert quirk.tests
    for node in quirk.tests:
        path, _, name = node.partition("::")
        assert name in functions_of(path), node


@each_quirk
def test_every_corpus_file_is_there_and_replayed_by_a_test_that_is_named(quirk: Quirk) -> None:
    assert quirk.corpus
    used = set().union(*map(words, named_tests(quirk)))
    for name in quirk.corpus:
        assert 0 < (CORPUS / name).stat().st_size <= MAX_CORPUS_FILE_BYTES
        assert name in used, f"no test of {quirk.id} replays {name}"


@each_quirk
def test_a_quirk_is_told_in_full_and_was_seen_by_somebody(quirk: Quirk) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", quirk.id)
    assert quirk.devices
    assert quirk.symptom
    assert quirk.answer
    assert quirk.sources
    assert all(SOURCE.fullmatch(source) for source in quirk.sources)


def test_nothing_lies_in_the_corpus_that_no_quirk_names() -> None:
    named = {name for quirk in QUIRKS for name in quirk.corpus}
    assert named | {"README.md"} == {path.name for path in CORPUS.iterdir()}


def test_the_page_says_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"write it anew: {COMMAND}"
