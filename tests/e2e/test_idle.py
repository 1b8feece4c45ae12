"""A node that nobody watches through costs little, whatever its cameras do (the whole measure: tests/soak)."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.idling import answering, gone, idle_node, onvif_process, settle, share_of_a_core, taken, until

WATCHED_S = 5.0
LIMIT_S = 120.0


def test_cameras_that_are_gone_take_no_process_and_next_to_no_time(tmp_path: Path) -> None:
    with idle_node(tmp_path / "estate", gone(100)) as (_, node):
        until(lambda: node.log().count("survey.camera") >= 100, LIMIT_S)
        settle(node, LIMIT_S)
        share, took = share_of_a_core(node, WATCHED_S), taken(node)
        assert onvif_process(node) is None
    print(f"{took}; {share:.1%} of a core")
    assert took.rss_mb < 150
    assert share < 0.1


def test_a_killed_node_leaves_no_onvif_process(tmp_path: Path) -> None:
    with idle_node(tmp_path / "estate", answering(3)) as (_, node):
        until(lambda: node.log().count("state=available") >= 3, LIMIT_S)
        onvif = onvif_process(node)
        assert onvif is not None
        assert taken(node).rss_mb < 150
        node.kill()
    until(lambda: not Path("/proc", str(onvif)).exists(), LIMIT_S)
