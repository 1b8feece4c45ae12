"""A thousand registered cameras and nobody who watches: under 1 % of a core and 150 MB (issue: fast, bounded).

The round of every hour is told apart from what is spent between two.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.idling import answering, cpu_s, gone, idle_node, onvif_process, settle, share_of_a_core, taken, until

CAMERAS = 1000
SETTLING_S = 1200.0
"""By when every back-off of cameras that are gone has grown to its longest."""
WATCHED_S = 600.0
ROUND_LIMIT_S = 900.0
HOUR_S = 3600.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_a_thousand_cameras_that_are_gone(tmp_path: Path) -> None:
    with idle_node(tmp_path / "estate", gone(CAMERAS)) as (_, node):
        until(lambda: node.log().count("survey.camera") >= CAMERAS, ROUND_LIMIT_S)
        share_of_a_core(node, SETTLING_S)
        share, took = share_of_a_core(node, WATCHED_S), taken(node)
        print(f"gone: {share:.2%} of a core; {took}")
        assert onvif_process(node) is None
    assert share < 0.01
    assert took.rss_mb < 150


def test_a_thousand_cameras_that_answer(tmp_path: Path) -> None:
    with idle_node(tmp_path / "estate", answering(CAMERAS)) as (_, node):
        started = cpu_s(node)
        until(lambda: node.log().count("survey.camera") >= CAMERAS, ROUND_LIMIT_S)
        a_round_s, asking = cpu_s(node) - started, taken(node)
        until(lambda: onvif_process(node) is None, ROUND_LIMIT_S)
        settle(node, ROUND_LIMIT_S)
        share, took = share_of_a_core(node, WATCHED_S), taken(node)
        print(f"answering: {share:.2%} of a core, and {a_round_s:.1f} s of CPU for the first round, which writes all")
        print(f"while asking: {asking}; idle: {took}")
    assert share + a_round_s / HOUR_S < 0.02  # a later round, which writes nothing, costs less
    assert share < 0.01
    assert took.rss_mb < 150
