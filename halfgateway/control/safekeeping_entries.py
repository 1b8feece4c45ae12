"""How holds, requests made outside the link and the retention probe are told in the trace, without names (C17)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from auth.register import Actor
from auth.trace import Draft, Kind
from camera_registry.clock import rfc3339
from camera_registry.holds import Hold
from camera_registry.retention_store import Finding, Transition
from ops.requests import OutsideRequest

CALENDAR = {"by": "calendar"}
"""In the detail of what nobody asked for at that moment."""


def hold_entry(kind: Kind, hold: Hold, by: Actor | None) -> Draft:
    """An act on a hold, or (by nobody) that it is still to be extracted."""
    sealed = hold.extraction
    about: dict[str, object] = {
        "hold": hold.number,
        "start": rfc3339(hold.start),
        "end": rfc3339(hold.end),
        "reference": hold.reference,
        "until": rfc3339(hold.until) if hold.until is not None else None,
        "medium": sealed.medium if sealed is not None else None,
        "manifest_sha256": sealed.sha256 if sealed is not None else None,
        "why": hold.release,
    }
    return _draft(kind, about, by, camera=hold.camera)


def request_entry(kind: Kind, request: OutsideRequest, by: Actor) -> Draft:
    """A request that was received, or answered: with its delay then."""
    given = request.answer
    about: dict[str, object] = {
        "request": request.number,
        "sort": request.sort.value,
        "channel": request.channel.value,
        "service": request.service,
        "reference": request.reference,
        "start": rfc3339(request.start) if request.start is not None else None,
        "end": rfc3339(request.end) if request.end is not None else None,
        "received_at": rfc3339(request.received_at),
    }
    if given is not None:
        about |= {
            "outcome": given.outcome.value,
            "cause": given.cause.value if given.cause is not None else None,
            "answered_at": rfc3339(given.at),
            "delay_s": round(request.delay(given.at).total_seconds()),
        }
    return _draft(kind, about, by, camera=request.camera)


def round_entry(findings: Sequence[Finding], by: Actor | None) -> Draft:
    """A round of the retention probe, with its counts."""
    breaches = Counter(breach.value for finding in findings for breach in finding.breaches)
    about: dict[str, object] = {
        "cameras": len(findings),
        "unreached": sum(not finding.reached for finding in findings),
        "breaches": dict(breaches),
    }
    return _draft(Kind.RETENTION_PROBED, about, by)


def breach_entry(transition: Transition) -> Draft:
    """A breach of one camera that has begun, or is mended."""
    verdict = transition.finding.verdict
    about: dict[str, object] = {"breach": transition.breach.value, "state": "begun" if transition.begun else "mended"}
    if verdict is not None:
        about |= {
            "oldest": rfc3339(verdict.oldest) if verdict.oldest is not None else None,
            "newest": rfc3339(verdict.newest) if verdict.newest is not None else None,
            "kept_from": rfc3339(verdict.terms.kept_from),
            "destroyed_before": rfc3339(verdict.terms.destroyed_before),
            "gaps": verdict.gap_count,
        }
    return _draft(Kind.RETENTION_BREACH, about, None, camera=transition.finding.camera)


def _draft(kind: Kind, about: dict[str, object], by: Actor | None, *, camera: str | None = None) -> Draft:
    detail = {name: value for name, value in about.items() if value is not None}
    if by is None:
        return Draft(kind=kind, camera=camera, detail=detail | CALENDAR)
    return Draft(kind=kind, camera=camera, agent=by.agent, account=by.account, source=by.source, detail=detail)
