"""The configuration of what the parties have agreed: the convention and all that the door goes by (ADR 16).

Read as part of :mod:`halfgateway.config`; a running node takes a change of it by a reload.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from auth.assertions import MAX_AUTHENTICATION_AGE, MAX_TEXT_CHARS, MAX_VALIDITY, AssertionRules
from auth.policy import CONVENTION_CAP, CONVENTION_RETENTION_DAYS, Convention, DegradedMode
from auth.trace.retention import LONGEST_ACCESS_DAYS, Retention
from camera_registry.orders import Perimeter
from halfgateway.control.bandwidth import Line
from halfgateway.control.streams import Timings
from halfgateway.control.terms import IdleRule
from halfgateway.sections import Name, Section, Shown

_DEFAULTS = Timings()


class ConventionSection(Section):
    """The convention (ADR 16). Beyond its own numbers only with an avenant's reference."""

    id: Name = "syn-pp"
    in_force_from: datetime
    ended_at: datetime | None = None
    cap: Annotated[int, Field(ge=1, le=1000)] = CONVENTION_CAP
    avenant: str | None = None
    retention_days: Annotated[int, Field(ge=1, le=CONVENTION_RETENTION_DAYS)] = CONVENTION_RETENTION_DAYS
    machine_only_agreement: str | None = None

    @model_validator(mode="after")
    def _is_a_convention(self) -> ConventionSection:
        self.record()
        return self

    def record(self) -> Convention:
        """The convention as the policy reads it."""
        return Convention(**self.model_dump())


class DegradedModeSection(Section):
    """A mode in which the interconnection may go on with less; ``agreement`` is the reference of PP's (P01).

    ``cameras``, ``sites`` and ``communes`` are what remains to be seen; all of it where none is named.
    """

    name: Name
    agreement: Shown
    cap: Annotated[int, Field(ge=1, le=1000)] | None = None
    live_only: bool = False
    cameras: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    communes: frozenset[str] = frozenset()

    def record(self) -> DegradedMode:
        """The mode as the policy reads it."""
        named = Perimeter(communes=self.communes, sites=self.sites, cameras=self.cameras)
        return DegradedMode(self.name, self.agreement, self.cap, self.live_only, None if named.is_empty else named)


class IdleRuleSection(Section):
    """PP's rule for its slots (S16): at the cap, a stream that has been idle for ``after_s`` gives way to a new one.

    ``reference`` is that of PP's own decision: SYN has no such rule, and without the section there is none.
    """

    after_s: Annotated[float, Field(ge=30, le=86_400)]
    reference: Shown

    def record(self) -> IdleRule:
        """The rule as the door reads it."""
        return IdleRule(self.after_s, self.reference)


class LineSection(Section):
    """The line to the prefecture, in Mb/s: what all streams may take of it together, and what one is taken to need.

    What a stream takes is measured once it plays; ``stream_mbps`` counts until then. Without a ceiling any number fits.
    """

    ceiling_mbps: Annotated[float, Field(gt=0, le=100_000)] | None = None
    stream_mbps: Annotated[float, Field(gt=0, le=100)] = 4.0

    @model_validator(mode="after")
    def _holds_a_stream(self) -> LineSection:
        if self.ceiling_mbps is not None and self.ceiling_mbps < self.stream_mbps:
            raise ValueError("ceiling_mbps is less than one stream's stream_mbps: nothing could ever be granted")
        return self

    def record(self) -> Line:
        """The line as the door reads it."""
        ceiling_kbps = None if self.ceiling_mbps is None else round(self.ceiling_mbps * 1000)
        return Line(ceiling_kbps, round(self.stream_mbps * 1000))


class TimingsSection(Section):
    """How long slots are kept, in seconds, within what keeps the convention's promises."""

    play_before_s: Annotated[float, Field(ge=1, le=120)] = _DEFAULTS.play_before_s
    setup_to_play_s: Annotated[float, Field(ge=1, le=60)] = _DEFAULTS.setup_to_play_s
    resume_s: Annotated[float, Field(ge=0.5, le=60)] = _DEFAULTS.resume_s
    paused_s: Annotated[float, Field(ge=1, le=3600)] = _DEFAULTS.paused_s
    ticket_grace_s: Annotated[float, Field(ge=0, le=60)] = _DEFAULTS.ticket_grace_s
    trace_grace_s: Annotated[float, Field(ge=0, le=30)] = _DEFAULTS.trace_grace_s
    login_grace_s: Annotated[float, Field(ge=0, le=3600)] = _DEFAULTS.login_grace_s
    stuck_reader_s: Annotated[float, Field(ge=1, le=120)] = _DEFAULTS.stuck_reader_s
    lease_s: Annotated[float, Field(ge=1, le=60)] = _DEFAULTS.lease_s
    renew_s: Annotated[float, Field(ge=0.1, le=20)] = _DEFAULTS.renew_s

    @model_validator(mode="after")
    def _renewed_before_it_lapses(self) -> TimingsSection:
        if self.renew_s * 2 > self.lease_s:
            raise ValueError("renew_s must leave room for two renewals within lease_s")
        return self

    def record(self) -> Timings:
        """The timings as the door reads them."""
        return Timings(**self.model_dump())


class RetentionSection(Section):
    """How long the trace's entries are kept, in days by class (L17), and who decided so.

    ``decision`` is the decision's reference: nothing is purged while there is none. Evidence is kept until
    ``limitation_days`` after the convention's recorded end.
    """

    access_days: Annotated[int, Field(ge=30, le=LONGEST_ACCESS_DAYS)] = 365
    rights_days: Annotated[int, Field(ge=30, le=3660)] = LONGEST_ACCESS_DAYS
    technical_days: Annotated[int, Field(ge=30, le=3660)] = 365
    limitation_days: Annotated[int, Field(ge=365, le=11_000)] = 1826
    decision: Shown | None = None

    def record(self, convention_end: datetime | None) -> Retention:
        """The durations as the purge reads them."""
        return Retention(
            access=timedelta(days=self.access_days),
            rights=timedelta(days=self.rights_days),
            technical=timedelta(days=self.technical_days),
            limitation=timedelta(days=self.limitation_days),
            decision=self.decision,
            convention_end=convention_end,
        )


class AssertionSection(Section):
    """What is agreed of agents' assertions (C08): who signs, for whom, and how fresh they must be, in seconds."""

    issuer: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    audience: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    max_validity_s: Annotated[int, Field(ge=10, le=900)] = int(MAX_VALIDITY.total_seconds())
    max_authentication_age_s: Annotated[int, Field(ge=60, le=86_400)] = int(MAX_AUTHENTICATION_AGE.total_seconds())

    def rules(self) -> AssertionRules:
        """As the verification reads it."""
        return AssertionRules(
            issuer=self.issuer,
            audience=self.audience,
            max_validity=timedelta(seconds=self.max_validity_s),
            max_authentication_age=timedelta(seconds=self.max_authentication_age_s),
        )


class MachineSection(Section):
    """A machine account's agreed use (C08): the agent who answers for it, and the reason that is recorded.

    ``join`` is how its streams begin: with the current group of pictures, drawn together, or at the next keyframe,
    every timestamp the camera's own.
    """

    id: Annotated[str, Field(min_length=1, max_length=64)]
    agent: str
    reason: str
    over_plain_rtsp: bool = False
    join: Literal["burst", "keyframe"] = "burst"


class SiteSection(Section):
    """A viewing site that PP has declared (annex 6): its id in assertions and accounts, and what people call it."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    label: Shown
