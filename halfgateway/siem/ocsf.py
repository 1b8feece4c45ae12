"""An entry of the trace as an OCSF event (Open Cybersecurity Schema Framework 1.5), pure.

The class is that of what happened: somebody came in (Authentication 3002), something was asked of the gateway (API
Activity 6003), a right or a record changed (Account Change 3001, Entity Management 3004, User Access Management 3005),
an incident (Incident Finding 2005), the node's own life (Application Lifecycle 6002). ``metadata.uid`` is ``node/n``,
by which a duplicate is known and the entry is found in the trace; what OCSF has no place for is in ``unmapped`` under
the trace's own names. Nothing is said of a person that the entry does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
from typing import Any

from auth.trace import Entry, Kind
from auth.trace.entry import unix_us
from camera_registry.clock import rfc3339

VERSION = "1.5.0"
"""Of the schema."""

PRODUCT = "halfgateway"

OTHER = 99
"""An activity, a status or a type that the schema does not number; its name is beside it."""

_NOBODY = "unknown"
"""Whom an entry does not name, or a scope does not show: the schema wants a user where somebody acted."""

_MAPPED = frozenset({"node", "n", "at", "code", "agent", "account", "source"})


class Class(IntEnum):
    """The schema's classes that are used, each with its name there; the thousands are the category."""

    wording: str

    def __new__(cls, number: int, wording: str) -> Class:
        """Build a member from its number and name."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.wording = wording
        return member

    INCIDENT_FINDING = 2005, "Incident Finding"
    ACCOUNT_CHANGE = 3001, "Account Change"
    AUTHENTICATION = 3002, "Authentication"
    ENTITY_MANAGEMENT = 3004, "Entity Management"
    USER_ACCESS = 3005, "User Access Management"
    APPLICATION_LIFECYCLE = 6002, "Application Lifecycle"
    API_ACTIVITY = 6003, "API Activity"


_CATEGORIES = {2: "Findings", 3: "Identity & Access Management", 6: "Application Activity"}


class Severity(IntEnum):
    """How much a person should mind."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


@dataclass(frozen=True, slots=True)
class Sort:
    """What sort of event a kind is; ``activity`` is the class's own number."""

    of: Class
    activity: int = OTHER


_BY_SUBJECT: Mapping[str, Sort] = {
    "auth": Sort(Class.AUTHENTICATION),
    "session": Sort(Class.AUTHENTICATION),
    "assertion": Sort(Class.AUTHENTICATION),
    "break-glass": Sort(Class.ACCOUNT_CHANGE),
    "agent": Sort(Class.ACCOUNT_CHANGE),
    "habilitation": Sort(Class.USER_ACCESS),
    "block": Sort(Class.ENTITY_MANAGEMENT),
    "registry": Sort(Class.ENTITY_MANAGEMENT),
    "config": Sort(Class.ENTITY_MANAGEMENT),
    "annex": Sort(Class.ENTITY_MANAGEMENT),
    "order": Sort(Class.ENTITY_MANAGEMENT, 3),
    "acceptance": Sort(Class.ENTITY_MANAGEMENT, 1),
    "change": Sort(Class.ENTITY_MANAGEMENT),
    "convention": Sort(Class.ENTITY_MANAGEMENT),
    "incident": Sort(Class.INCIDENT_FINDING, 2),
    "interconnection": Sort(Class.APPLICATION_LIFECYCLE),
    "node": Sort(Class.APPLICATION_LIFECYCLE),
    "heartbeat": Sort(Class.APPLICATION_LIFECYCLE),
    "clock": Sort(Class.APPLICATION_LIFECYCLE),
    "siem": Sort(Class.APPLICATION_LIFECYCLE),
}
_BY_KIND: Mapping[Kind, Sort] = {
    Kind.AUTH_SUCCEEDED: Sort(Class.AUTHENTICATION, 1),
    Kind.AUTH_FAILED: Sort(Class.AUTHENTICATION, 1),
    Kind.SESSION_OPENED: Sort(Class.AUTHENTICATION, 1),
    Kind.SESSION_CLOSED: Sort(Class.AUTHENTICATION, 2),
    Kind.ASSERTION_KEY_DECLARED: Sort(Class.ENTITY_MANAGEMENT, 1),
    Kind.ASSERTION_KEY_REVOKED: Sort(Class.ENTITY_MANAGEMENT, 4),
    Kind.BREAK_GLASS_ISSUED: Sort(Class.ACCOUNT_CHANGE, 1),
    Kind.BREAK_GLASS_USED: Sort(Class.AUTHENTICATION, 1),
    Kind.BREAK_GLASS_ENDED: Sort(Class.ACCOUNT_CHANGE, 5),
    Kind.AGENT_ADDED: Sort(Class.ACCOUNT_CHANGE, 1),
    Kind.AGENT_REVOKED: Sort(Class.ACCOUNT_CHANGE, 5),
    Kind.AGENT_ENDED: Sort(Class.ACCOUNT_CHANGE, 6),
    Kind.HABILITATION_GRANTED: Sort(Class.USER_ACCESS, 1),
    Kind.HABILITATION_ENDED: Sort(Class.USER_ACCESS, 2),
    Kind.BLOCK_SET: Sort(Class.ENTITY_MANAGEMENT, 1),
    Kind.BLOCK_LIFTED: Sort(Class.ENTITY_MANAGEMENT, 4),
    Kind.BLOCK_EXPIRED: Sort(Class.ENTITY_MANAGEMENT, 4),
    Kind.ORDER_RECORDED: Sort(Class.ENTITY_MANAGEMENT, 1),
    Kind.ORDER_WITHDRAWN: Sort(Class.ENTITY_MANAGEMENT, 4),
    Kind.REGISTRY_CHANGED: Sort(Class.ENTITY_MANAGEMENT, 3),
    Kind.CONFIG_CHANGED: Sort(Class.ENTITY_MANAGEMENT, 3),
    Kind.INCIDENT_OPENED: Sort(Class.INCIDENT_FINDING, 1),
    Kind.INCIDENT_RESOLVED: Sort(Class.INCIDENT_FINDING, 3),
    Kind.INTERCONNECTION_CUT: Sort(Class.APPLICATION_LIFECYCLE, 7),
    Kind.INTERCONNECTION_RESTORED: Sort(Class.APPLICATION_LIFECYCLE, 6),
    Kind.NODE_STARTED: Sort(Class.APPLICATION_LIFECYCLE, 3),
    Kind.NODE_STOPPED: Sort(Class.APPLICATION_LIFECYCLE, 4),
    Kind.STREAM_REQUESTED: Sort(Class.API_ACTIVITY, 1),
    Kind.STREAM_GRANTED: Sort(Class.API_ACTIVITY, 1),
    Kind.STREAM_REFUSED: Sort(Class.API_ACTIVITY, 1),
    Kind.STREAM_DESCRIBED: Sort(Class.API_ACTIVITY, 2),
    Kind.STREAM_STARTED: Sort(Class.API_ACTIVITY, 2),
    Kind.STREAM_RESUMED: Sort(Class.API_ACTIVITY, 2),
    Kind.STREAM_UNMASKED: Sort(Class.API_ACTIVITY, 2),
    Kind.STREAM_MOVED: Sort(Class.API_ACTIVITY, 3),
    Kind.STREAM_HANDED_OVER: Sort(Class.API_ACTIVITY, 3),
    Kind.STREAM_STOPPED: Sort(Class.API_ACTIVITY, 4),
    Kind.RECORDING_SEARCHED: Sort(Class.API_ACTIVITY, 2),
    Kind.EXPORT_MADE: Sort(Class.API_ACTIVITY, 2),
    Kind.EXPORT_REQUESTED: Sort(Class.API_ACTIVITY, 1),
    Kind.EXPORT_REFUSED: Sort(Class.API_ACTIVITY, 1),
    Kind.EXPORT_FAILED: Sort(Class.API_ACTIVITY, 1),
    Kind.EXPORT_CANCELLED: Sort(Class.API_ACTIVITY, 4),
    Kind.EXPORT_DOWNLOADED: Sort(Class.API_ACTIVITY, 2),
    Kind.EXPORT_REMOVED: Sort(Class.API_ACTIVITY, 4),
    Kind.TRACE_READ: Sort(Class.API_ACTIVITY, 2),
    Kind.TRACE_EXPORTED: Sort(Class.API_ACTIVITY, 2),
    Kind.TRACE_PURGED: Sort(Class.API_ACTIVITY, 4),
}
_SEVERITIES: Mapping[Kind, Severity] = {
    Kind.STREAM_REFUSED: Severity.LOW,
    Kind.EXPORT_REFUSED: Severity.MEDIUM,
    Kind.AUTH_FAILED: Severity.MEDIUM,
    Kind.ASSERTION_REFUSED: Severity.MEDIUM,
    Kind.ACTION_REFUSED: Severity.MEDIUM,
    Kind.STREAM_UNMASKED: Severity.MEDIUM,
    Kind.BLOCK_SET: Severity.MEDIUM,
    Kind.INTERCONNECTION_RESTORATION_REFUSED: Severity.MEDIUM,
    Kind.CLOCK_REFERENCE: Severity.MEDIUM,
    Kind.RETENTION_BREACH: Severity.MEDIUM,
    Kind.HOLD_ALARMED: Severity.HIGH,
    Kind.AUTH_LOCKED: Severity.HIGH,
    Kind.BREAK_GLASS_USED: Severity.HIGH,
    Kind.INTERCONNECTION_CUT: Severity.HIGH,
    Kind.INTERCONNECTION_DEGRADED: Severity.HIGH,
    Kind.INCIDENT_OPENED: Severity.HIGH,
    Kind.NOTICE_FAILED: Severity.HIGH,
    Kind.CLOCK_STEPPED: Severity.HIGH,
    Kind.NODE_RECOVERED: Severity.HIGH,
    Kind.SIEM_LAGGING: Severity.HIGH,
    Kind.INCIDENT_DEADLINE_MISSED: Severity.CRITICAL,
}
_FAILURES = frozenset({Kind.AUTH_FAILED, Kind.AUTH_LOCKED, Kind.NOTICE_FAILED, Kind.INCIDENT_DEADLINE_MISSED})
_INCIDENT_NEW, _INCIDENT_IN_PROGRESS, _INCIDENT_RESOLVED = 1, 2, 4


def severity_of(kind: Kind) -> Severity:
    """Tell how much a person should mind an entry of this kind."""
    return _SEVERITIES.get(kind, Severity.INFORMATIONAL)


def sort_of(kind: Kind) -> Sort:
    """Tell what sort of event an entry of this kind is; what is no other is an act asked of the gateway."""
    return _BY_KIND.get(kind) or _BY_SUBJECT.get(kind.value.partition(".")[0]) or Sort(Class.API_ACTIVITY)


def event_of(entry: Entry, *, product_version: str) -> dict[str, Any]:
    """Return the event, a JSON object."""
    sort = sort_of(entry.kind)
    failed = entry.refusal is not None or entry.kind in _FAILURES
    event: dict[str, Any] = {
        "activity_id": sort.activity,
        "category_uid": sort.of // 1000,
        "category_name": _CATEGORIES[sort.of // 1000],
        "class_uid": int(sort.of),
        "class_name": sort.of.wording,
        "type_uid": sort.of * 100 + sort.activity,
        "time": unix_us(entry.at) // 1000,
        "severity_id": int(severity_of(entry.kind)),
        "status_id": 2 if failed else 1,
        "message": entry.kind.value,
        "metadata": {
            "version": VERSION,
            "uid": f"{entry.node}/{entry.n}",
            "sequence": entry.n,
            "event_code": str(entry.code),
            "log_name": "trace",
            "log_provider": entry.node,
            "original_time": rfc3339(entry.at),
            "product": _product(product_version),
        },
        **_of_class(sort.of, entry, product_version),
        "unmapped": {
            name: value for name, value in entry.to_json().items() if name not in _MAPPED and value not in (None, {})
        },
    }
    if sort.activity == OTHER:
        event["activity_name"] = entry.kind.value
    if entry.refusal is not None:
        event["status_code"] = entry.refusal
    return event


def _of_class(of: Class, entry: Entry, product_version: str) -> dict[str, Any]:
    """The members that the class asks for beside those of every event."""
    about: dict[str, Any] = {"actor": {"user": _user(entry)}, "src_endpoint": _endpoint(entry)}
    if of is Class.API_ACTIVITY:
        about["api"] = {"operation": entry.kind.value}
        if entry.camera is not None:
            about["resources"] = [{"uid": entry.camera, "type": "camera"}]
    elif of is Class.AUTHENTICATION:
        about |= {"user": _user(entry), "service": {"name": PRODUCT}}
    elif of is Class.ACCOUNT_CHANGE:
        about["user"] = _subject(entry)
    elif of is Class.USER_ACCESS:
        about |= {"user": _subject(entry), "privileges": [str(entry.detail.get("role", _NOBODY))]}
    elif of is Class.ENTITY_MANAGEMENT:
        about["entity"] = {"type": entry.kind.value.partition(".")[0], "name": _named(entry)}
    elif of is Class.INCIDENT_FINDING:
        incident = str(entry.detail.get("incident", _NOBODY))
        states = {Kind.INCIDENT_OPENED: _INCIDENT_NEW, Kind.INCIDENT_RESOLVED: _INCIDENT_RESOLVED}
        about |= {
            "finding_info_list": [{"uid": incident, "title": entry.kind.value}],
            "status_id": states.get(entry.kind, _INCIDENT_IN_PROGRESS),
        }
    elif of is Class.APPLICATION_LIFECYCLE:
        about["app"] = _product(product_version)
    return about


def _product(version: str) -> dict[str, str]:
    return {"name": PRODUCT, "vendor_name": "SYN", "version": version}


def _user(entry: Entry) -> dict[str, Any]:
    """Who acted: the account, and the agent behind it by the opaque identifier."""
    user = {"name": entry.account, "uid": entry.agent}
    return {name: value for name, value in user.items() if value is not None} or {"name": _NOBODY}


def _subject(entry: Entry) -> dict[str, Any]:
    """Whose account or right it is that changed."""
    subject = entry.agent or entry.detail.get("agent") or entry.detail.get("for") or entry.detail.get("number")
    return {"uid": str(subject)} if subject is not None else {"name": _NOBODY}


def _endpoint(entry: Entry) -> dict[str, str]:
    try:
        return {"ip": str(ip_address(entry.source or ""))}
    except ValueError:
        return {"name": entry.source or _NOBODY}


def _named(entry: Entry) -> str:
    """The record that changed, by the first of the names that entries give one; else its kind of record."""
    for name in ("block", "key", "order", "subject", "file", "after"):
        if isinstance(told := entry.detail.get(name), str):
            return told
    return entry.camera or entry.kind.value.partition(".")[0]
