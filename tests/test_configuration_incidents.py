"""[incidents] and [restoration]: what is refused, with every fault, and who goes by it."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from halfgateway.attending import plan_of
from halfgateway.config import ConfigurationError, parse_configuration
from halfgateway.config_incidents import IncidentsSection
from halfgateway.config_ops import directory_of
from ops.incidents.clocks import USUAL_CLOCKS
from ops.incidents.duties import Rules
from ops.notices.escalation import EscalationPlan

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EXAMPLE = Path(__file__).parent.parent / "examples" / "gateway.toml"


def configured(**sections: Any) -> Any:
    document = {
        "node": {"data": "data"},
        "convention": {"in_force_from": "2025-10-21T00:00:00Z"},
        "listen": {"https_port": "off", "rtsps_port": "off"},
    }
    return parse_configuration({**document, **sections})


def faults_of(**sections: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        configured(**sections)
    return "\n".join(refused.value.faults)


def test_by_default_an_incident_takes_the_course_that_the_requirements_name() -> None:
    # N03: 5 min; N09: T0 + 2 h; L22, L23
    section = configured().incidents
    assert section.rules() == Rules()
    assert section.legal_clocks() == {clock.name: clock for clock in USUAL_CLOCKS}
    assert section.gateway_lost_after(60) == timedelta(seconds=150)
    assert section.gateway_lost_after(600) == section.gateway_lost_after(60, 600) == timedelta(minutes=25)
    assert configured().restoration.confirm_within() is None


def test_what_is_configured_is_what_every_process_goes_by() -> None:
    agreed = {"critical_after_min": 10, "hold_down_min": 2, "shout_after_min": 90, "lasting_s": 20}
    late = {"red_before_min": 120, "red_wait_min": 3, "gateway_lost_s": 300}
    configuration = configured(incidents={**agreed, **late}, restoration={"four_eyes": True, "confirm_within_min": 5})
    section = configuration.incidents
    assert section.rules() == Rules(10 * MINUTE, 2 * MINUTE, 90 * MINUTE)
    assert (section.lasting(), section.gateway_lost_after(60)) == (timedelta(seconds=20), 5 * MINUTE)
    plan = plan_of(directory_of(configuration.contacts), configuration, NOW)
    assert plan == EscalationPlan((), 120 * MINUTE, 3 * MINUTE)
    assert configuration.restoration.confirm_within() == 5 * MINUTE


def test_clocks_of_ones_own_take_the_usual_ones_place() -> None:
    clocks = [{"name": "registre", "starts": "incident", "hours": 48}, {"name": "bilan", "months": 1}]
    named = configured(incidents={"clocks": clocks}).incidents.legal_clocks()
    assert [(each.name, each.starts.value) for each in named.values()] == [
        ("registre", "incident"),
        ("bilan", "awareness"),
    ]


def test_every_fault_is_listed() -> None:
    course = {"lasting_s": 601, "hold_down_min": 0, "shout_after_min": 480, "colour": "red"}
    clocks = [{"name": "a b", "hours": 1}, {"name": "x"}, {"name": "y", "hours": 1, "months": 1}]
    told = faults_of(incidents={**course, "clocks": clocks}, restoration={"cameras_share": 2})
    for key in ("lasting_s", "hold_down_min", "shout_after_min", "colour", "clocks.0.name", "clocks.1", "clocks.2"):
        assert f"incidents.{key}" in told
    assert "restoration.cameras_share" in told


@pytest.mark.parametrize(
    ("course", "wrong"),
    [
        ({"critical_after_min": 0.1}, "lasting_s is longer"),
        ({"critical_after_min": 120}, "nothing is owed before"),
        ({"red_before_min": 400}, "overlap within the eight hours"),
        ({"clocks": [{"name": "x", "hours": 1}] * 2}, "x appears twice"),
        ({"gateway_lost_s": 149}, "shorter than 2.5 heartbeats of 60 s"),
    ],
)
def test_a_course_that_does_not_fit_itself_is_refused(course: dict[str, Any], wrong: str) -> None:
    assert wrong in faults_of(incidents=course)


def test_several_misfits_are_told_together() -> None:
    told = faults_of(incidents={"lasting_s": 600, "critical_after_min": 9, "shout_after_min": 9, "red_before_min": 400})
    assert ("lasting_s is longer" in told, "nothing is owed before" in told) == (True, True)


def test_the_example_says_what_is_the_default() -> None:
    document = tomllib.loads(EXAMPLE.read_text())
    assert IncidentsSection(**document["incidents"]) == IncidentsSection()
    assert document["restoration"] == configured().restoration.model_dump()
