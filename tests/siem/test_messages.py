"""What is sent of an entry: its class and members in OCSF, its syslog frame, and nothing about persons beyond it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from auth.trace import Entry, Kind
from auth.trace.scopes import Scope, seen
from halfgateway.siem.messages import Protocol, Writer
from halfgateway.siem.ocsf import OTHER, Class, event_of

REQUIRED = {
    Class.INCIDENT_FINDING: {"finding_info_list", "status_id"},
    Class.ACCOUNT_CHANGE: {"user"},
    Class.AUTHENTICATION: {"user", "service"},
    Class.ENTITY_MANAGEMENT: {"entity"},
    Class.USER_ACCESS: {"user", "privileges"},
    Class.APPLICATION_LIFECYCLE: {"app"},
    Class.API_ACTIVITY: {"actor", "api", "src_endpoint"},
}
"""What schema 1.5 requires of each class beside what it requires of all."""
OF_ALL = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}

HEADER = re.compile(
    r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) ([!-~]{1,48}) - ([!-~]{1,32})"
    r' \[origin software="halfgateway" swVersion="0\.1"\] (\{.*\})'
)
"""RFC 5424 section 6, as far as it is used."""


def entry(kind: Kind = Kind.STREAM_REFUSED, **members: Any) -> Entry:
    given = {
        "agent": "pp-7f3a",
        "account": "pvpp",
        "attribution": "agent-asserted",
        "camera": "mairie",
        "stream": "5f1c",
        "reason": "L251-2-5",
        "source": "198.51.100.7",
        "detail": {"service": "DOPC", "site": "PP-CITE", "reference": "r-1", "via": "rtsps"},
    }
    at = datetime(2026, 11, 21, 10, 15, 0, 123456, tzinfo=UTC)
    return Entry(kind=kind, node="gw1", n=412, at=at, **{**given, **members})


def event(of: Entry) -> dict[str, Any]:
    return event_of(of, product_version="0.1")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("source", [None, "local", "2001:db8::1"])
def test_every_kind_is_an_event_of_a_class_with_all_that_the_class_requires(kind: Kind, source: str | None) -> None:
    # S06
    for about in ({}, {"agent": None, "account": None, "camera": None, "detail": {}}):
        made = event(entry(kind, source=source, **about))
        of = Class(made["class_uid"])
        assert OF_ALL | REQUIRED[of] <= made.keys()
        assert made["type_uid"] == of * 100 + made["activity_id"]
        assert (made["activity_id"] == OTHER) == ("activity_name" in made)
        assert made["metadata"]["uid"] == "gw1/412"
        assert made["unmapped"]["kind"] == kind.value
        assert all(made[name] for name in REQUIRED[of])
        assert made["src_endpoint"] in ({"name": "unknown"}, {"name": "local"}, {"ip": "2001:db8::1"})


def test_what_ocsf_has_a_place_for_is_there_and_the_rest_is_unmapped() -> None:
    made = event(entry(refusal="cap-reached"))
    assert (made["class_uid"], made["status_id"], made["status_code"]) == (6003, 2, "cap-reached")
    assert made["actor"]["user"] == {"name": "pvpp", "uid": "pp-7f3a"}
    assert made["api"] == {"operation": "stream.refused"}
    assert made["resources"] == [{"uid": "mairie", "type": "camera"}]
    assert made["time"] == 1795256100123
    assert made["unmapped"]["detail"]["service"] == "DOPC"
    assert event(entry(Kind.AUTH_SUCCEEDED))["class_uid"] == 3002
    assert event(entry(Kind.AUTH_FAILED))["status_id"] == 2


def test_what_the_scope_masks_is_nowhere_in_the_event() -> None:
    # L19: SYN's collector learns no agent, service, site, purpose or reference of PP's
    masked = seen(entry(), Scope.SYN)
    assert masked is not None
    told = json.dumps(event(masked))
    for personal in ("pp-7f3a", "DOPC", "PP-CITE", "r-1", "L251-2-5"):
        assert personal in json.dumps(event(entry()))
        assert personal not in told


@pytest.mark.parametrize(
    ("kind", "priority"),
    [(Kind.HEARTBEAT, 110), (Kind.STREAM_REFUSED, 109), (Kind.AUTH_FAILED, 108), (Kind.AUTH_LOCKED, 107)],
)
def test_a_syslog_message_is_framed_by_its_length(kind: Kind, priority: int) -> None:
    # S06: RFC 5425 section 4.3, RFC 5424 section 6
    writer = Writer(Protocol.SYSLOG, max_bytes=8192, product_version="0.1")
    framed = writer.write(entry(kind, detail={"é": "\n] ü"}))
    length, _, message = framed.partition(b" ")
    assert int(length) == len(message)
    fields = HEADER.fullmatch(message.decode("ascii"))
    assert fields is not None
    assert fields.groups()[:5] == (str(priority), "2026-11-21T10:15:00.123456Z", "gw1", "halfgateway", kind.value)
    assert json.loads(fields[6])["unmapped"]["detail"] == {"é": "\n] ü"}


def test_what_is_too_large_goes_without_its_detail_and_says_so() -> None:
    writer = Writer(Protocol.SYSLOG, max_bytes=2048, product_version="0.1")
    _, _, message = writer.write(entry(detail={"assertion": "x" * 3000})).partition(b" ")
    assert len(message) <= 2048
    (unmapped,) = [json.loads(message[message.index(b"{") :])["unmapped"]]
    assert "detail" not in unmapped
    assert unmapped["detail_omitted_bytes"] == len('{"assertion":""}') + 3000


def test_json_lines_are_lines_of_json() -> None:
    written = Writer(Protocol.JSON_LINES, max_bytes=8192, product_version="0.1").write(entry(detail={"text": "a\nb"}))
    assert written.count(b"\n") == 1
    assert json.loads(written) == event(entry(detail={"text": "a\nb"}))
