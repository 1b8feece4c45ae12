"""What can happen to an incident, a correspondence and their notices: one shape each, closed, as it stands in a book.

Each is named as the trace's kind of entry, which follows it (``auth.trace.kinds``). Instants are aware.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from ops.correspondence.matters import Matter
from ops.interconnection import MAX_REASON_CHARS, Author, Ground

MAX_TEXT_CHARS = 4000
"""Characters of a text that a person writes, and of an SMTP dialogue. A person's longer one is refused; a server's
is shortened in its middle by whoever heard it."""

MAX_RECIPIENTS = 50
"""Recipients of one notice; annexes 2 and 3 name a handful."""

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Reason = Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
Address = Annotated[str, Field(pattern=r"^[^@\s<>]{1,64}@[^@\s<>]{1,190}$")]
MessageId = Annotated[str, Field(pattern=r"^<[^<>\s]{1,200}>$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Source(StrEnum):
    """How T0 was found (N02)."""

    DECLARED = "declared"
    HEARTBEAT = "heartbeat"


class NoticeKind(StrEnum):
    """What a notice tells; the texts are in :mod:`ops.notices`.

    ``received`` answers what PP reported (C13); ``letter`` is a correspondence's, whose matter says what it tells.
    """

    CUT = "cut"
    UPDATE = "update"
    RESTORED = "restored"
    CUT_AND_RESTORED = "cut-and-restored"
    RECEIVED = "received"
    LETTER = "letter"


class Level(StrEnum):
    """How far a notice to one recipient is proven to have come (N07); never mixed."""

    QUEUED = "queued"
    SUBMITTED = "submitted"
    RELAYED = "relayed"
    DELIVERED = "delivered"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Opened(_Said):
    """The incident exists. ``t0`` is the last proven-good instant; ``interrupted_at`` when the streams were stopped.

    ``scope`` says what is touched, where that is not everything.
    """

    kind: Literal["incident.opened"] = "incident.opened"
    t0: AwareDatetime
    t0_source: Source
    critical: bool
    by: Author
    reason: Reason
    ground: Ground | None = None
    interrupted_at: AwareDatetime | None = None
    streams_closed: int | None = None
    scope: Text | None = None
    reported_by: Text | None = None

    @property
    def drill(self) -> bool:
        """Whether it is an exercise (N14)."""
        return self.ground is Ground.DRILL


class Revised(_Said):
    """Another T0 was found. It is kept beside the others: only an earlier one moves the deadline (N02)."""

    kind: Literal["incident.revised"] = "incident.revised"
    t0: AwareDatetime
    reason: Reason


class Classified(_Said):
    """A person decided whether it is critical: what PP reported, or what was declared too soon."""

    kind: Literal["incident.classified"] = "incident.classified"
    critical: bool
    reason: Reason


class Interrupted(_Said):
    """The interconnection was cut for this incident, after it had been opened, or its streams are counted."""

    kind: Literal["incident.interrupted"] = "incident.interrupted"
    at: AwareDatetime
    streams_closed: int


class Noted(_Said):
    """A line of the timeline: what was done, the cause, the state of recordings, the lessons."""

    kind: Literal["incident.noted"] = "incident.noted"
    about: Literal["timeline", "nature", "cause", "recordings", "lessons", "report"]
    text: Text


class StepTold(_Said):
    """A point d'étape that PP is to be told of, with the instant of the next one."""

    kind: Literal["incident.step-told"] = "incident.step-told"
    text: Text
    next_by: AwareDatetime


class Escalated(_Said):
    """The next level was called upon (C13, P01); ``contact`` is a function, never a name."""

    kind: Literal["incident.escalated"] = "incident.escalated"
    level: Annotated[int, Field(ge=1, le=20)]
    contact: Text
    means: Literal["mail", "phone", "on-call", "webhook"]
    by_party: Literal["SYN", "PP"] = "SYN"


class Acknowledged(_Said):
    """PP has it: by its reply, or by a telephone call that a person enters (N08)."""

    kind: Literal["incident.acknowledged"] = "incident.acknowledged"
    means: Literal["reply", "telephone", "local"]
    contact: Text | None = None


class ClockStarted(_Said):
    """Another legal clock runs, from its own start (L22, L23): 72 h to the CNIL, NIS2's 24 h, 72 h and one month."""

    kind: Literal["incident.clock-started"] = "incident.clock-started"
    clock: Id
    start: AwareDatetime
    deadline: AwareDatetime


class ClockStopped(_Said):
    """What that clock asked for was done."""

    kind: Literal["incident.clock-stopped"] = "incident.clock-stopped"
    clock: Id
    done: Text


class Recovered(_Said):
    """What had stopped works again; announced once it has held (:class:`~ops.incidents.duties.Rules`)."""

    kind: Literal["incident.recovered"] = "incident.recovered"
    at: AwareDatetime
    reason: Reason


class Relapsed(_Said):
    """It stopped again before its recovery had held: the same incident goes on."""

    kind: Literal["incident.relapsed"] = "incident.relapsed"
    at: AwareDatetime
    reason: Reason


class Resolved(_Said):
    """The incident is over: it has recovered, and nothing is left to be said of it."""

    kind: Literal["incident.resolved"] = "incident.resolved"
    reason: Reason


class DeadlineMissed(_Said):
    """The eight hours passed without a submitted notice: recorded as missed, never back-dated (N10)."""

    kind: Literal["incident.deadline-missed"] = "incident.deadline-missed"
    deadline: AwareDatetime
    reason: Reason


class NoticeQueued(_Said):
    """A notice is due: its Message-ID, its exact bytes (kept beside the book by their hash), its recipients (N01).

    Said again of the same notice where its text has become late (C11), or where another contact takes the place of one
    that it cannot reach (N04): the bytes are then the newest, and the recipients those of all times.

    ``in_copy`` are recipients whom it tells nothing: our own.
    """

    kind: Literal["notice.queued"] = "notice.queued"
    notice: Id
    tells: NoticeKind
    message_id: MessageId
    sha256: Sha256
    recipients: Annotated[tuple[Address, ...], Field(min_length=1, max_length=MAX_RECIPIENTS)]
    late: bool = False
    in_copy: Annotated[tuple[Address, ...], Field(max_length=MAX_RECIPIENTS)] = ()


class NoticeWithdrawn(_Said):
    """A notice that no server had taken is replaced by one that tells more (C12)."""

    kind: Literal["notice.withdrawn"] = "notice.withdrawn"
    notice: Id
    reason: Reason


class NoticeAttempted(_Said):
    """One conversation with one mail server (N05): who it was, what was said, what became of it."""

    kind: Literal["notice.attempted"] = "notice.attempted"
    notice: Id
    route: Text
    sha256: Sha256
    server: Text
    tls: Text | None = None
    dialogue: Text
    outcome: Literal["taken", "partly-taken", "deferred", "refused", "unreachable"]


class ForRecipient(_Said):
    """What became of a notice for one recipient; ``evidence`` is by whose word."""

    notice: Id
    recipient: Address
    evidence: Text


class NoticeSubmitted(ForRecipient):
    """A server took it for this recipient: ``evidence`` is its answer, ``250 … queued as …``."""

    kind: Literal["notice.submitted"] = "notice.submitted"


class NoticeRelayed(ForRecipient):
    """A delivery report says that it went on to a server that sends no report (RFC 3464, ``relayed``)."""

    kind: Literal["notice.relayed"] = "notice.relayed"


class NoticeDelivered(ForRecipient):
    """A delivery report says that it lies in the mailbox (RFC 3464, ``delivered``)."""

    kind: Literal["notice.delivered"] = "notice.delivered"


class NoticeAcknowledged(ForRecipient):
    """The recipient answered, or said so by telephone (N08)."""

    kind: Literal["notice.acknowledged"] = "notice.acknowledged"


class NoticeFailed(ForRecipient):
    """It will not reach this recipient: a final refusal, or a report of failure (N04)."""

    kind: Literal["notice.failed"] = "notice.failed"


class CorrespondenceOpened(_Said):
    """Something is to be mailed that is no incident's notice."""

    kind: Literal["correspondence.opened"] = "correspondence.opened"
    matter: Matter


class CorrespondenceNoted(_Said):
    """What came back and proves nothing: a delay, an automatic reply."""

    kind: Literal["correspondence.noted"] = "correspondence.noted"
    text: Text


Said = (
    Opened
    | Revised
    | Classified
    | Interrupted
    | Noted
    | StepTold
    | Escalated
    | Acknowledged
    | ClockStarted
    | ClockStopped
    | Recovered
    | Relapsed
    | Resolved
    | DeadlineMissed
    | NoticeQueued
    | NoticeWithdrawn
    | NoticeAttempted
    | NoticeSubmitted
    | NoticeRelayed
    | NoticeDelivered
    | NoticeAcknowledged
    | NoticeFailed
    | CorrespondenceOpened
    | CorrespondenceNoted
)
"""Everything that a book can say."""


class Event(_Said):
    """One line of a book: its number from 0, when it was written, by whom, and what it says.

    ``who`` is an account, ``os:NAME`` for a command at the machine, or the part of ours that acted: ``notifier``,
    ``watchdog``, ``detection``, ``node``.
    """

    n: Annotated[int, Field(ge=0)]
    at: AwareDatetime
    who: Annotated[str, Field(min_length=1, max_length=100)]
    said: Annotated[Said, Field(discriminator="kind")]


EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads and checks one event."""


def earliest(*instants: datetime | None) -> datetime:
    """Return the earliest of the instants that there are; at least one."""
    return min(instant for instant in instants if instant is not None)
