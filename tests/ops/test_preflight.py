"""What keeps the interconnection cut: essential checks always, others until a motive is stated (article 8)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ops.preflight import CHECKS, Outcome, Preflight
from tests.preflights import looked

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ESSENTIAL = {"trace", "state-store"}


@pytest.mark.parametrize("check", [check.id for check in CHECKS])
def test_a_motive_passes_over_all_but_the_trace_and_the_slots(check: str) -> None:
    # T01, C01: without them nothing could be granted that may be
    found = looked(NOW, failed={check})
    assert [each.check for each in found.blocking(passed_over=False)] == [check]
    assert [each.check for each in found.blocking(passed_over=True)] == ([check] if check in ESSENTIAL else [])


def test_what_could_not_be_known_refuses_nothing_and_is_shown() -> None:
    found = looked(NOW, unknown={"clock", "watchdog"})
    assert (found.failed, found.blocking(passed_over=False)) == ((), ())
    assert found.to_detail()["clock"] == {"outcome": "unknown", "observation": "vu de clock"}
    assert found.told().count("non vérifié") == 2


def test_a_pre_flight_answers_every_check() -> None:
    with pytest.raises(ValueError, match="every check"):
        Preflight(NOW, looked(NOW).findings[1:])
    told = looked(NOW, failed={"cameras"}).told()
    assert "Les caméras sont joignables : EN DÉFAUT (vu de cameras)" in told
    assert {each.outcome for each in looked(NOW).findings} == {Outcome.PASSED}
