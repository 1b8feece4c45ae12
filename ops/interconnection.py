"""The state of the interconnection, how it may change, and which of two states holds (article 8, C10).

Pure, but for the chance in a new incident's id: no clock, no file, no network. Two rules:

1. A cut takes one person and is always accepted; a restoration names the incident that it ends, is made by a
   person, and by the security officer after a security measure.
2. Of two states the later one (the higher serial) holds, the more closed one at equal serials; but a cut that the
   later state has neither ended nor replaced still stands. Silence never opens: no state at all changes nothing.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from camera_registry.clock import rfc3339
from ops.errors import (
    DamagedState,
    DegradationRefused,
    DrillRefused,
    IncidentReused,
    NothingToRestore,
    OfficerRequired,
    PersonRequired,
    WrongIncident,
)

MAX_REASON_CHARS = 500
"""Characters of a reason. It is a short, administrative sentence; a longer one is refused, never shortened."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

_INCIDENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""An incident's id; ours have under 40 characters. Another one is refused."""

MAX_SETTLED = 32
"""Ended or replaced incidents that a state remembers. When full the oldest is forgotten: a node that was out of
reach for 32 cuts and still stands on that one would cut again, which is the safe mistake."""

MAX_STATE_BYTES = 16 * 1024
"""Bytes of one state as JSON, all ASCII: 500 escaped characters of reason and 33 incidents take under 9 kB.
More is damage."""

_FORMAT = 1

T = TypeVar("T")


class Status(StrEnum):
    """What the interconnection is to the prefecture (`GET /interconnection`)."""

    OPEN = "open"
    DEGRADED = "degraded"
    CUT = "cut"
    OUT_OF_CONVENTION = "out-of-convention"


class Ground(StrEnum):
    """Why it was cut (C10)."""

    CRITICAL_INCIDENT = "critical-incident"
    SECURITY = "security"
    MAINTENANCE = "maintenance"
    END = "end"
    DRILL = "drill"


class Author(StrEnum):
    """What kind of hand made the change; who it was is the trace's to tell (L19)."""

    OPS = "ops"
    OFFICER = "officer"
    DETECTION = "detection"
    CALENDAR = "calendar"


_CLOSEDNESS = {Status.OPEN: 0, Status.DEGRADED: 1, Status.OUT_OF_CONVENTION: 2, Status.CUT: 3}


@dataclass(frozen=True, slots=True)
class InterconnectionState:
    """One state, by one hand, at one instant.

    ``serial`` grows by one with each change. ``since`` is an aware instant. ``incident`` is the open one, drill
    included; ``occurred_at`` is when it occurred, where whoever cut knows it (N02). ``settled`` are the incidents
    whose cut was ended by a restoration or replaced by a later cut. ``officer_only``: a security measure stands, also
    under a later cut of another ground. ``mode`` names the degraded mode, one that PP has agreed to (P01).

    Raises ValueError for a state that cannot be.
    """

    serial: int
    state: Status
    since: datetime
    by: Author
    reason: str
    ground: Ground | None = None
    incident: str | None = None
    settled: tuple[str, ...] = ()
    officer_only: bool = False
    occurred_at: datetime | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.serial < 0:
            raise ValueError("a serial is never negative")
        if self.since.tzinfo is None:
            raise ValueError("since must be an aware instant")
        if not 1 <= len(self.reason) <= MAX_REASON_CHARS:
            raise ValueError(f"a reason has 1 to {MAX_REASON_CHARS} characters")
        if len(self.settled) > MAX_SETTLED:
            raise ValueError(f"at most {MAX_SETTLED} settled incidents are remembered")
        for incident in (*self.settled, *([] if self.incident is None else [self.incident])):
            if not _INCIDENT.fullmatch(incident):
                raise ValueError("an incident's id has 1 to 64 letters, digits, dots, dashes and underscores")
        if (self.closed or self.in_drill) != (self.incident is not None):
            raise ValueError("a cut or a drill has an incident, and nothing else has one")
        if self.officer_only and not self.closed:
            raise ValueError("only a cut waits for the security officer")
        if (self.mode is not None) != (self.state is Status.DEGRADED):
            raise ValueError("a degraded state names its mode, and no other does")
        if self.mode is not None and not _NAME.fullmatch(self.mode):
            raise ValueError("a mode's name has 1 to 32 small letters, digits and dashes")
        if self.occurred_at is not None and (self.incident is None or self.occurred_at.tzinfo is None):
            raise ValueError("occurred_at is the aware instant of an incident")

    @property
    def closed(self) -> bool:
        """Whether no stream may run."""
        return self.state in {Status.CUT, Status.OUT_OF_CONVENTION}

    @property
    def in_drill(self) -> bool:
        """Whether a drill is on: its incident, deadline and notices run, and so do the streams (N14)."""
        return self.ground is Ground.DRILL

    def to_json(self) -> str:
        """Write the state in its one canonical form: ASCII, sorted keys, no space."""
        fields = {
            "by": self.by.value,
            "format": _FORMAT,
            "ground": self.ground.value if self.ground else None,
            "incident": self.incident,
            "mode": self.mode,
            "occurred_at": rfc3339(self.occurred_at) if self.occurred_at is not None else None,
            "officer_only": self.officer_only,
            "reason": self.reason,
            "serial": self.serial,
            "settled": list(self.settled),
            "since": rfc3339(self.since),
            "state": self.state.value,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> InterconnectionState:
        """Read what :meth:`to_json` wrote, to the letter, and nothing else. Raises DamagedState."""
        if len(text) > MAX_STATE_BYTES:
            raise DamagedState(f"a state of {len(text)} characters")
        try:
            state = _from_fields(json.loads(text))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DamagedState(f"not a state of the interconnection: {error}") from error
        if state.to_json() != text:
            raise DamagedState("not a state of the interconnection: not in its canonical form")
        return state


def first_open(since: datetime) -> InterconnectionState:
    """Return the state that a new installation begins with."""
    return InterconnectionState(0, Status.OPEN, since, Author.OPS, "mise en service")


def new_incident(at: datetime) -> str:
    """Return a new incident's id: its instant in UTC, and chance enough that two nodes never choose the same."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def cut(
    current: InterconnectionState,
    *,
    ground: Ground,
    reason: str,
    by: Author,
    since: datetime,
    incident: str,
    occurred_at: datetime | None = None,
) -> InterconnectionState:
    """Return the state after a cut, or after the beginning of a drill, which closes nothing.

    A cut of what is cut already is accepted: its incident replaces the one before, and a security measure beneath
    keeps its rule. The calendar's cut at the convention's end makes it ``out-of-convention`` (C18).

    Raises DrillRefused (a drill while cut), IncidentReused, ValueError (see :class:`InterconnectionState`).
    """
    if incident == current.incident or incident in current.settled:
        raise IncidentReused(f"incident {incident} has had its cut")
    if ground is Ground.DRILL and current.closed:
        raise DrillRefused("no drill while the interconnection is cut")
    if ground is Ground.DRILL:
        state = current.state
    elif ground is Ground.END and by is Author.CALENDAR:
        state = Status.OUT_OF_CONVENTION
    else:
        state = Status.CUT
    return InterconnectionState(
        serial=current.serial + 1,
        state=state,
        since=since,
        by=by,
        reason=reason,
        ground=ground,
        incident=incident,
        settled=_settled_with(current),
        officer_only=current.officer_only or ground is Ground.SECURITY,
        occurred_at=occurred_at,
        mode=current.mode if state is Status.DEGRADED else None,
    )


def restore(
    current: InterconnectionState, *, incident: str, reason: str, by: Author, since: datetime
) -> InterconnectionState:
    """Return the state after a restoration, or after the end of a drill.

    Raises NothingToRestore, WrongIncident, PersonRequired, OfficerRequired, ValueError.
    """
    if current.incident is None:
        raise NothingToRestore("the interconnection is not cut")
    if incident != current.incident:
        raise WrongIncident(current.incident)
    if by not in {Author.OPS, Author.OFFICER}:
        raise PersonRequired("only a person restores the interconnection")
    if current.officer_only and by is not Author.OFFICER:
        raise OfficerRequired("after a security measure only the security officer restores")
    return InterconnectionState(
        serial=current.serial + 1,
        state=Status.OPEN if current.closed else current.state,
        since=since,
        by=by,
        reason=reason,
        settled=_settled_with(current),
        mode=current.mode if not current.closed else None,
    )


def degrade(
    current: InterconnectionState, *, mode: str | None, reason: str, by: Author, since: datetime
) -> InterconnectionState:
    """Return the state in a degraded mode that PP has agreed to, or open again where ``mode`` is None (P01).

    Raises DegradationRefused (while cut or in a drill, or nothing changes), PersonRequired, ValueError.
    """
    if current.closed or current.in_drill:
        raise DegradationRefused("no degraded mode while the interconnection is cut or in a drill")
    if mode == current.mode:
        raise DegradationRefused("the interconnection is in that mode already")
    if by not in {Author.OPS, Author.OFFICER}:
        raise PersonRequired("only a person changes the mode")
    return InterconnectionState(
        serial=current.serial + 1,
        state=Status.OPEN if mode is None else Status.DEGRADED,
        since=since,
        by=by,
        reason=reason,
        settled=current.settled,
        mode=mode,
    )


def merge(local: InterconnectionState, shared: InterconnectionState | None) -> InterconnectionState:
    """Return which of two states holds; symmetric. Where nothing is shared, ours holds.

    A cut that the later state does not know of is laid upon it, at the later one's serial: what is merged is
    open only if every cut that went into it is settled.
    """
    if shared is None:
        return local
    earlier, later = sorted((local, shared), key=precedence)
    if not earlier.closed or earlier.incident in later.settled:
        return later
    if not later.closed:
        return replace(earlier, serial=later.serial)
    if earlier.incident == later.incident:
        return later
    return replace(later, officer_only=True) if earlier.officer_only else later


def precedence(state: InterconnectionState) -> tuple[int, int, bool, str]:
    """Return a key that orders all states: by serial, then the more closed, then any fixed order."""
    return state.serial, _CLOSEDNESS[state.state], state.officer_only, state.to_json()


def _settled_with(current: InterconnectionState) -> tuple[str, ...]:
    ended = () if current.incident is None else (current.incident,)
    return (*current.settled, *ended)[-MAX_SETTLED:]


def _from_fields(fields: Mapping[str, Any]) -> InterconnectionState:
    if fields["format"] != _FORMAT:
        raise ValueError("written in another format")
    ground, incident = fields["ground"], fields["incident"]
    return InterconnectionState(
        serial=_typed(fields["serial"], int),
        state=Status(fields["state"]),
        since=_instant(fields["since"]),
        by=Author(fields["by"]),
        reason=_typed(fields["reason"], str),
        ground=None if ground is None else Ground(ground),
        incident=None if incident is None else _typed(incident, str),
        settled=tuple(_typed(settled, str) for settled in _typed(fields["settled"], list)),
        officer_only=_typed(fields["officer_only"], bool),
        occurred_at=None if fields["occurred_at"] is None else _instant(fields["occurred_at"]),
        mode=None if fields["mode"] is None else _typed(fields["mode"], str),
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _typed(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise ValueError(f"{value!r:.40} is no {kind.__name__}")
    typed: T = value
    return typed
