"""The shapes of the convention's life: annexes, charter, calendar, acceptance (C07, C18, C20, C22, C23, L25)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from halfgateway.api.change_shapes import Number
from halfgateway.api.rights_shapes import Day, Line, Place
from halfgateway.api.shapes import Identifier, Instant, Sentence, Shape
from ops.acceptance import CHECKS, MAX_SIGNATORIES, Result, SignedAcceptance
from ops.annexes import MAX_DOCUMENT_BYTES, Annex, AnnexVersion, Document, MediaType
from ops.calendar import Act, ActKind, EndGround
from ops.parties import Party

MAX_LISTED = 2_000
"""Viewing sites, or orders, that one version of an annex declares."""

_BASE64_CHARS = -(-MAX_DOCUMENT_BYTES // 3) * 4

MAX_ANNEX_BODY_BYTES = _BASE64_CHARS + 4 * 1024 * 1024
"""Bytes of a call that brings an annex: its document in base64, and thousands of names, each escaped."""

AnnexNumber = Annotated[int, Field(ge=1, le=len(Annex))]
Base64Document = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$",
        max_length=_BASE64_CHARS,
    ),
]


class ByAnnex(Shape):
    """One annex, by its number."""

    annex: AnnexNumber


class ByVersion(Shape):
    """One version of one annex."""

    annex: AnnexNumber
    version: Number


class DocumentShape(Shape):
    """A document: its bytes in base64."""

    media_type: MediaType
    content: Base64Document

    def record(self) -> Document:
        """As it is kept."""
        return Document(b64decode(self.content), self.media_type)


class SiteShape(Shape):
    """A viewing site of annex 6: its id in assertions and accounts, and what people call it."""

    id: Identifier
    label: Place


class AnnexRequest(Shape):
    """A new version of an annex, of which ``party`` informs the other.

    Annex 6 has ``sites``, annex 8 ``orders`` and its avenant's ``reference``, all others a ``document`` (of annex 1
    the drawn one where there is none). ``effective_at`` is an avenant's own day.
    """

    party: Party
    summary: Sentence
    reference: Line | None = None
    document: DocumentShape | None = None
    sites: Annotated[tuple[SiteShape, ...], Field(max_length=MAX_LISTED)] | None = None
    orders: Annotated[tuple[Line, ...], Field(max_length=MAX_LISTED)] | None = None
    effective_at: Instant | None = None


class OppositionRequest(Shape):
    """The co-contractant opposes a version."""

    party: Party
    reason: Sentence


class AnnexShape(Shape):
    """A version; ``served`` is whether it is the one in force. Both its dates stay, opposed or not."""

    annex: int
    title: str
    version: int
    party: Party
    summary: str
    reference: str | None
    media_type: MediaType
    sha256: str
    size_bytes: int
    informed_at: Instant
    informed_by: str
    effective_at: Instant
    in_force_at: Instant | None
    opposed_at: Instant | None
    opposition: str | None
    served: bool

    @classmethod
    def of(cls, version: AnnexVersion, *, served: bool) -> Self:
        """Show a version."""
        return cls(
            annex=version.annex.value,
            title=version.annex.title,
            version=version.version,
            party=version.party,
            summary=version.summary,
            reference=version.reference,
            media_type=version.media_type,
            sha256=version.sha256,
            size_bytes=version.size_bytes,
            informed_at=version.informed_at,
            informed_by=version.informed_by,
            effective_at=version.effective_at,
            in_force_at=version.in_force_at,
            opposed_at=version.opposed_at,
            opposition=version.opposition,
            served=served,
        )


class AnnexList(Shape):
    """Versions, newest first."""

    items: tuple[AnnexShape, ...]
    next: str | None


class CharterShape(Shape):
    """The charter in force (annex 7), and whether the caller has acknowledged it."""

    version: int
    in_force_at: Instant
    media_type: MediaType
    sha256: str
    content: str
    acknowledged: bool

    @classmethod
    def of(cls, version: AnnexVersion, document: Document, *, acknowledged: bool) -> Self:
        """Show it."""
        return cls(
            version=version.version,
            in_force_at=version.in_force_at or version.effective_at,
            media_type=version.media_type,
            sha256=version.sha256,
            content=b64encode(document.content).decode(),
            acknowledged=acknowledged,
        )


class CharterAcknowledgement(Shape):
    """The version that was read."""

    version: Number


# Calendar


class PersonsAct(StrEnum):
    """What a person records of the convention; its renewal is the calendar's."""

    DENOUNCED = ActKind.DENOUNCED.value
    DENUNCIATION_WITHDRAWN = ActKind.DENUNCIATION_WITHDRAWN.value
    FORMAL_NOTICE = ActKind.FORMAL_NOTICE.value
    FORMAL_NOTICE_MET = ActKind.FORMAL_NOTICE_MET.value
    END_RECORDED = ActKind.END_RECORDED.value
    END_WITHDRAWN = ActKind.END_WITHDRAWN.value
    PVPP_ORDER = ActKind.PVPP_ORDER.value


class ActRequest(Shape):
    """An act of a party, with its letter's reference and ``day`` (of receipt, of signature).

    An end has a ``ground`` and an ``effect``; the PVPP's order its ``last_day``; what answers a notice its number.
    """

    kind: PersonsAct
    party: Party
    reference: Line
    day: Day
    ground: EndGround | None = None
    effect: Instant | None = None
    last_day: Day | None = None
    answers: Number | None = None


class ActShape(Shape):
    """An act on record."""

    number: int
    kind: ActKind
    party: Party
    reference: str
    day: Day
    ground: EndGround | None
    effect: Instant | None
    answers: int | None
    recorded_at: Instant
    recorded_by: str

    @classmethod
    def of(cls, act: Act) -> Self:
        """Show an act."""
        return cls(
            number=act.number,
            kind=act.kind,
            party=act.party,
            reference=act.reference,
            day=act.day,
            ground=act.ground,
            effect=act.effect,
            answers=act.answers,
            recorded_at=act.recorded_at,
            recorded_by=act.recorded_by,
        )


class ConventionShape(Shape):
    """How the convention stands (article 11): ``term`` is the next one, ``ended_at`` the end that a person recorded.

    ``to_be_recorded``: what ends it has come to pass, and nobody has recorded an end; it goes on.
    """

    id: str
    in_force: bool
    in_force_from: Instant
    term: Instant
    last_term: Instant
    renewed: bool
    may_end_from: Instant | None
    may_terminate_from: Instant | None
    ended_at: Instant | None
    to_be_recorded: bool
    pvpp_until: Instant | None
    accepted: bool
    acts: tuple[ActShape, ...]


# Acceptance


class ByNumber(Shape):
    """One acceptance record, by its number."""

    number: Number


class CheckShape(Shape):
    """A check of the run; of an automatic one what the node sees now."""

    check: str
    title: str
    automatic: bool
    passed: bool | None
    observation: str | None


class AcceptancePlan(Shape):
    """The whole run, in its order."""

    checks: tuple[CheckShape, ...]

    @classmethod
    def of(cls, seen: tuple[Result, ...]) -> Self:
        """Show the run."""
        measured = {result.check: result for result in seen}
        return cls(
            checks=tuple(
                CheckShape(
                    check=each.id,
                    title=each.title,
                    automatic=each.automatic,
                    passed=measured[each.id].passed if each.id in measured else None,
                    observation=measured[each.id].observation if each.id in measured else None,
                )
                for each in CHECKS
            )
        )


class AnswerShape(Shape):
    """What a check that people make gave."""

    check: Identifier
    passed: bool
    observation: Place


class SignatoryShape(Shape):
    """A person who signs for a party."""

    party: Party
    name: Line
    function: Line


class AcceptanceRequest(Shape):
    """A run that is over: its answers, and who signs for each party."""

    place: Place
    reference: Line
    answers: Annotated[tuple[AnswerShape, ...], Field(max_length=len(CHECKS))]
    signatories: Annotated[tuple[SignatoryShape, ...], Field(min_length=1, max_length=MAX_SIGNATORIES)]


class AcceptanceShape(Shape):
    """An acceptance record; it opens the access if ``accepted``."""

    number: int
    accepted: bool
    held_at: Instant
    recorded_by: str
    sha256: str

    @classmethod
    def of(cls, signed: SignedAcceptance) -> Self:
        """Show one."""
        return cls(
            number=signed.number,
            accepted=signed.accepted,
            held_at=signed.held_at,
            recorded_by=signed.recorded_by,
            sha256=signed.sha256,
        )


class AcceptanceList(Shape):
    """Acceptance records, newest first."""

    items: tuple[AcceptanceShape, ...]
    next: str | None


class AcceptanceForm(StrEnum):
    """In which form a record is handed out."""

    JSON = "json"
    PDF = "pdf"
    SIGNATURE = "signature"
    KEY = "key"


class FormQuery(Shape):
    """Which form is wanted."""

    form: AcceptanceForm = AcceptanceForm.PDF
