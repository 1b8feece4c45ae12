"""The closed list of entry kinds, each with its stable number.

A number is never reused nor changed: it is in the leaf, which outlives the payload (T09). Thousands are
subjects, hundreds are families, and the gaps are for kinds to come.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an entry says; ``value`` is its name in ``docs/trace.md``, ``code`` its number."""

    code: int

    def __new__(cls, name: str, code: int = 0) -> Kind:
        """Build a member from its name and number; ``Kind(name)`` alone looks one up."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.code = code
        return member

    # 1000: who comes in
    AUTH_SUCCEEDED = "auth.succeeded", 1001
    AUTH_FAILED = "auth.failed", 1002
    AUTH_LOCKED = "auth.locked", 1003
    SESSION_OPENED = "session.opened", 1101
    SESSION_CLOSED = "session.closed", 1102
    ASSERTION_ACCEPTED = "assertion.accepted", 1201
    ASSERTION_REFUSED = "assertion.refused", 1202
    ASSERTION_KEY_DECLARED = "assertion.key-declared", 1211
    ASSERTION_KEY_REVOKED = "assertion.key-revoked", 1212
    BREAK_GLASS_ISSUED = "break-glass.issued", 1301
    BREAK_GLASS_USED = "break-glass.used", 1302
    BREAK_GLASS_ENDED = "break-glass.ended", 1303
    BREAK_GLASS_REPORTED = "break-glass.reported", 1304

    # 2000: what is watched (L11)
    STREAM_DESCRIBED = "stream.described", 2100
    STREAM_REQUESTED = "stream.requested", 2101
    STREAM_GRANTED = "stream.granted", 2102
    STREAM_REFUSED = "stream.refused", 2103
    STREAM_STARTED = "stream.started", 2104
    STREAM_MOVED = "stream.moved", 2105
    STREAM_RESUMED = "stream.resumed", 2106
    STREAM_HANDED_OVER = "stream.handed-over", 2107
    STREAM_UNMASKED = "stream.unmasked", 2108
    STREAM_STOPPED = "stream.stopped", 2109
    RESERVATION_MADE = "reservation.made", 2151
    RESERVATION_PASSED = "reservation.passed", 2152
    RESERVATION_ENDED = "reservation.ended", 2153
    RECORDING_SEARCHED = "recording.searched", 2201
    RECORDING_DESTROYED = "recording.destroyed", 2251
    RECORDING_GAP = "recording.gap", 2252
    RECORDING_PURGED_EARLY = "recording.purged-early", 2253
    RECORDING_DISK_LOW = "recording.disk-low", 2254
    EXPORT_MADE = "export.made", 2301
    EXPORT_REQUESTED = "export.requested", 2302
    EXPORT_REFUSED = "export.refused", 2303
    EXPORT_FAILED = "export.failed", 2304
    EXPORT_CANCELLED = "export.cancelled", 2305
    EXPORT_DOWNLOADED = "export.downloaded", 2306
    EXPORT_REMOVED = "export.removed", 2307
    ACTION_REFUSED = "action.refused", 2401
    HOLD_PLACED = "hold.placed", 2501
    HOLD_EXTRACTED = "hold.extracted", 2502
    HOLD_ENDED = "hold.ended", 2503
    HOLD_ALARMED = "hold.alarmed", 2504
    HOLD_EXTRACTING = "hold.extracting", 2505
    REQUEST_RECEIVED = "request.received", 2601
    REQUEST_ANSWERED = "request.answered", 2602

    # 3000: the interconnection (articles 8 and 11)
    INTERCONNECTION_CUT = "interconnection.cut", 3001
    INTERCONNECTION_RESTORED = "interconnection.restored", 3002
    INTERCONNECTION_DEGRADED = "interconnection.degraded", 3003
    INTERCONNECTION_RESTORATION_PROPOSED = "interconnection.restoration-proposed", 3004
    INTERCONNECTION_RESTORATION_REFUSED = "interconnection.restoration-refused", 3005
    INCIDENT_OPENED = "incident.opened", 3101
    INCIDENT_ACKNOWLEDGED = "incident.acknowledged", 3102
    INCIDENT_RESOLVED = "incident.resolved", 3103
    INCIDENT_REPORTED = "incident.reported", 3104
    INCIDENT_REVISED = "incident.revised", 3105
    INCIDENT_ESCALATED = "incident.escalated", 3106
    INCIDENT_DEADLINE_MISSED = "incident.deadline-missed", 3107
    INCIDENT_NOTED = "incident.noted", 3108
    INCIDENT_CLASSIFIED = "incident.classified", 3109
    INCIDENT_INTERRUPTED = "incident.interrupted", 3110
    INCIDENT_STEP_TOLD = "incident.step-told", 3111
    INCIDENT_CLOCK_STARTED = "incident.clock-started", 3112
    INCIDENT_CLOCK_STOPPED = "incident.clock-stopped", 3113
    INCIDENT_RECOVERED = "incident.recovered", 3114
    INCIDENT_RELAPSED = "incident.relapsed", 3115
    NOTICE_QUEUED = "notice.queued", 3201
    NOTICE_SUBMITTED = "notice.submitted", 3202
    NOTICE_RELAYED = "notice.relayed", 3203
    NOTICE_DELIVERED = "notice.delivered", 3204
    NOTICE_ACKNOWLEDGED = "notice.acknowledged", 3205
    NOTICE_FAILED = "notice.failed", 3206
    NOTICE_ATTEMPTED = "notice.attempted", 3207
    NOTICE_WITHDRAWN = "notice.withdrawn", 3208
    CORRESPONDENCE_OPENED = "correspondence.opened", 3211
    CORRESPONDENCE_NOTED = "correspondence.noted", 3212
    BLOCK_SET = "block.set", 3301
    BLOCK_LIFTED = "block.lifted", 3302
    BLOCK_EXPIRED = "block.expired", 3303

    # 4000: the convention's life and the equipment
    ANNEX_INFORMED = "annex.informed", 4001
    ANNEX_IN_FORCE = "annex.in-force", 4002
    ANNEX_OPPOSED = "annex.opposed", 4003
    ANNEX_ACKNOWLEDGED = "annex.acknowledged", 4004
    CHANGE_ANNOUNCED = "change.announced", 4101
    CHANGE_CLASSIFIED = "change.classified", 4102
    CHANGE_AGREED = "change.agreed", 4103
    CHANGE_SCHEDULED = "change.scheduled", 4104
    CHANGE_WENT_LIVE = "change.went-live", 4105
    CHANGE_WITHDRAWN = "change.withdrawn", 4106
    CHANGE_WINDOW_HELD = "change.window-held", 4107
    INTERVENTION_STARTED = "intervention.started", 4201
    INTERVENTION_ENDED = "intervention.ended", 4202
    REGISTRY_CHANGED = "registry.changed", 4301
    ORDER_RECORDED = "order.recorded", 4311
    ORDER_SUSPENDED = "order.suspended", 4312
    ORDER_RESUMED = "order.resumed", 4313
    ORDER_WITHDRAWN = "order.withdrawn", 4314
    ACCEPTANCE_RECORDED = "acceptance.recorded", 4321
    CONFIG_CHANGED = "config.changed", 4401
    CONVENTION_RENEWED = "convention.renewed", 4501
    CONVENTION_DENOUNCED = "convention.denounced", 4502
    CONVENTION_DENUNCIATION_WITHDRAWN = "convention.denunciation-withdrawn", 4503
    CONVENTION_FORMAL_NOTICE = "convention.formal-notice", 4504
    CONVENTION_FORMAL_NOTICE_MET = "convention.formal-notice-met", 4505
    CONVENTION_END_RECORDED = "convention.end-recorded", 4506
    CONVENTION_END_WITHDRAWN = "convention.end-withdrawn", 4507
    CONVENTION_PVPP_ORDER = "convention.pvpp-order", 4508
    CONVENTION_REMINDED = "convention.reminded", 4509
    RETENTION_PROBED = "retention.probed", 4621
    RETENTION_BREACH = "retention.breach", 4622

    # 5000: who may (article 6)
    AGENT_ADDED = "agent.added", 5001
    AGENT_CHANGED = "agent.changed", 5002
    AGENT_ENROLLED = "agent.enrolled", 5003
    AGENT_REVOKED = "agent.revoked", 5004
    AGENT_ENDED = "agent.ended", 5005
    HABILITATION_GRANTED = "habilitation.granted", 5101
    HABILITATION_CONFIRMED = "habilitation.confirmed", 5102
    HABILITATION_ENDED = "habilitation.ended", 5103

    # 9000: the node and its trace
    NODE_STARTED = "node.started", 9001
    NODE_RECOVERED = "node.recovered", 9002
    NODE_STOPPED = "node.stopped", 9003
    HEARTBEAT = "heartbeat", 9101
    CLOCK_STEPPED = "clock.stepped", 9102
    CLOCK_REFERENCE = "clock.reference", 9103
    TRACE_READ = "trace.read", 9201
    TRACE_EXPORTED = "trace.exported", 9202
    TRACE_PURGED = "trace.purged", 9203
    TRACE_ANCHORED = "trace.anchored", 9204
    TRACE_KEY_ROTATED = "trace.key-rotated", 9205
    TRACE_CONTINUED = "trace.continued", 9206
    SIEM_OPENED = "siem.opened", 9301
    SIEM_LAGGING = "siem.lagging", 9302
    SIEM_CAUGHT_UP = "siem.caught-up", 9303


KIND_BY_CODE: dict[int, Kind] = {kind.code: kind for kind in Kind}
"""Every kind by its number."""
