"""What a correspondence is about: one shape each, closed, as it stands in the first line of its book.

A matter is what a durable record already says (the trace, an announcement's file, the calendar), made ready to be
worded: from it alone the mail is composed, whoever composes it. Instants are aware.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from ops.interconnection import MAX_REASON_CHARS, Author
from ops.parties import Party

_MAX_ID_CHARS = 64

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}$")]
Subject = Annotated[str, Field(min_length=1, max_length=200)]
Reason = Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS)]


class Narrowed(StrEnum):
    """What a measure short of a cut touches."""

    AGENT = "agent"
    SERVICE = "service"
    CAMERA = "camera"
    SITE = "site"
    STREAM = "stream"


class Act(StrEnum):
    """What is done to it; a stream can only be closed, and nothing else is."""

    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    CLOSED = "closed"


class Condition(StrEnum):
    """What is wrong with the gateway itself, and SYN is told of by mail."""

    TRACE_UNWRITABLE = "trace-unwritable"
    CRL_HALF_USED = "crl-half-used"
    CRL_NEARLY_USED = "crl-nearly-used"
    SIEM_LAGGING = "siem-lagging"
    HOLD_WAITING = "hold-waiting"
    PURGE_LATE = "purge-late"


class _Matter(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measure(_Matter):
    """A measure short of a cut. ``name`` is an opaque id, a service, a camera or a site; never a person's name.

    ``until`` is when a block ends by itself. Raises ValueError for a stream that is blocked, or another thing closed.
    """

    what: Literal["measure"] = "measure"
    reference: Id
    act: Act
    touches: Narrowed
    name: Subject
    reason: Reason
    by: Author
    at: AwareDatetime
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _can_be_done(self) -> Measure:
        if (self.touches is Narrowed.STREAM) != (self.act is Act.CLOSED):
            raise ValueError("a stream is closed, and nothing else is")
        return self


class Announced(_Matter):
    """An announcement that the node has filed (:mod:`ops.announcements`); ``answers`` is the one that it follows."""

    what: Literal["announcement"] = "announcement"
    reference: Id
    to: Annotated[tuple[Party, ...], Field(min_length=1, max_length=2)]
    subject: Subject
    text: Annotated[str, Field(min_length=1, max_length=4000)]
    answers: Id | None = None


class ContactTest(_Matter):
    """The month's test of every contact (N13): a notice each. ``month`` is Paris's."""

    what: Literal["contact-test"] = "contact-test"
    month: Month


class Anchoring(_Matter):
    """The month's daily mails with the checkpoint of one node's trace (T04): a notice each day."""

    what: Literal["anchor"] = "anchor"
    month: Month
    node: Id


class AlarmRaised(_Matter):
    """Something is wrong with a node: told once a day at most, to SYN alone."""

    what: Literal["alarm"] = "alarm"
    condition: Condition
    node: Id
    since: AwareDatetime


class BreakGlass(_Matter):
    """A sealed credential was opened (C21): told to the security officer, and to PP."""

    what: Literal["break-glass"] = "break-glass"
    number: Annotated[int, Field(ge=0)]
    at: AwareDatetime
    until: AwareDatetime


Matter = Annotated[
    Measure | Announced | ContactTest | Anchoring | AlarmRaised | BreakGlass, Field(discriminator="what")
]
"""Everything that a correspondence can be about."""

INTERNAL = (AlarmRaised,)
"""What leaves SYN for nobody (C16)."""


def correspondence_id(matter: Matter) -> str:
    """Return the id of the correspondence about a matter: whoever finds it twice, on whatever node, finds one."""
    match matter:
        case Measure():
            name = f"mesure-{matter.reference}-{matter.act}"
        case Announced():
            name = f"annonce-{matter.reference}"
        case ContactTest():
            name = f"test-{matter.month}"
        case Anchoring():
            name = f"ancrage-{matter.month}-{matter.node}"
        case AlarmRaised():
            name = f"alarme-{matter.since:%Y-%m-%d}-{matter.condition}-{matter.node}"
        case BreakGlass():
            name = f"bris-de-glace-{matter.number}"
    return name if len(name) <= _MAX_ID_CHARS else f"{name[:51]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def is_shared(matter: Matter) -> bool:
    """Whether the other nodes of the convention have this matter too, so that one of them sends for all."""
    return isinstance(matter, Announced | ContactTest)
