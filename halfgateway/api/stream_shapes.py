"""The shapes of streams, and of the slots that PP reserves for its services."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator
from pydantic.config import JsonDict

from auth.policy import Mode
from auth.principals import Attribution
from auth.rights import Reservation
from halfgateway.api.shapes import (
    Identifier,
    Instant,
    LawfulPurpose,
    OpaqueReference,
    Paging,
    Sentence,
    Shape,
    after_start,
)
from halfgateway.control.open_streams import OpenStream
from halfgateway.control.streams import StreamState

MAX_RESERVED_SLOTS = 1000
"""As many slots as a convention may have (``convention.cap``); its own cap bounds the sum."""

_RECORDED_ONLY: JsonDict = {
    "if": {"properties": {"mode": {"const": Mode.RECORDED.value}}},
    "then": {"required": ["start"], "properties": {"start": {"type": "string"}}},
    "else": {"properties": {"start": {"type": "null"}, "end": {"type": "null"}}},
}


class StreamRequest(Shape):
    """A wish to watch one camera. ``start`` and ``end`` are for recorded streams, which need a start."""

    model_config = ConfigDict(json_schema_extra=_RECORDED_ONLY)

    camera: Identifier
    mode: Mode
    start: Instant | None = Field(default=None, validate_default=True)
    end: Instant | None = None
    profile: Identifier | None = None
    reason: LawfulPurpose
    reference: OpaqueReference | None = None
    assertion: str | None = Field(
        default=None,
        description="Attestation de l'agent (JWS compact, RFC 7515), par TLS mutuel ; voir docs/integration-pp.md",
    )

    @field_validator("start")
    @classmethod
    def _starts_when_recorded(cls, start: datetime | None, info: ValidationInfo) -> datetime | None:
        mode = info.data.get("mode")
        if mode is Mode.RECORDED and start is None:
            raise ValueError("a recorded stream needs a start")
        if mode is Mode.LIVE and start is not None:
            raise ValueError("a live stream has no start")
        return start

    @field_validator("end")
    @classmethod
    def _ends_after_its_start(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        if end is not None and info.data.get("mode") is Mode.LIVE:
            raise ValueError("a live stream has no end")
        return after_start(end, info)


class Ticket(Shape):
    """The right to watch one stream, as RTSP credentials; its slot is taken."""

    id: str
    camera: str
    mode: Mode
    rtsp_url: str
    rtsps_url: str
    username: str
    password: str
    play_before: Instant
    slot: str


class StreamView(Shape):
    """An open stream; what the reader may not see is null (L19).

    ``node`` serves it. ``idle_since`` is null while something of it goes to a reader. Where ``login_before`` is an
    instant, its agent's login has ended: without a new one before then, the stream ends (S15).
    """

    model_config = ConfigDict(from_attributes=True)

    id: str
    node: str
    camera: str
    mode: Mode
    account: str | None
    agent: str | None
    service: str | None
    site: str | None
    attribution: Attribution
    reason: str | None
    reference: str | None
    state: StreamState
    since: Instant
    idle_since: Instant | None
    login_before: Instant | None
    position: Instant | None = None
    bytes: int
    packets: int
    lost: int
    slot: str

    @classmethod
    def of(cls, stream: OpenStream) -> Self:
        """Show a stream, unmasked."""
        return cls.model_validate(stream)


class StreamList(Shape):
    """A page of open streams."""

    items: tuple[StreamView, ...]
    next: str | None


class StreamsQuery(Paging):
    """A page of streams; ``unmask`` is the motive for seeing who watches and why, and is traced."""

    unmask: Sentence | None = None


class CloseQuery(Shape):
    """Why a stream is closed, or a reservation ended."""

    reason: Sentence | None = None


class HandoverRequest(Shape):
    """The relief: asserted by the machine that opened the stream, or the operator who asks, without an assertion."""

    assertion: str | None = Field(
        default=None,
        description="Attestation de la relève (JWS compact, RFC 7515), par TLS mutuel ; voir docs/integration-pp.md",
    )


# Reservations

ServiceName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
SlotCount = Annotated[int, Field(ge=1, le=MAX_RESERVED_SLOTS)]


class ReservationRequest(Shape):
    """Slots to be kept free for a service, until an instant."""

    service: ServiceName
    slots: SlotCount
    until: Instant
    reason: Sentence | None = None


class PassRequest(Shape):
    """The service that has the reserved slots from now on; all of them, or so many."""

    service: ServiceName
    slots: SlotCount | None = None
    reason: Sentence | None = None


class ReservationShape(Shape):
    """Slots that are kept free; to SYN's side the service is null (L19)."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    service: str | None
    slots: int
    until: Instant
    made_at: Instant
    passed_from: str | None

    @classmethod
    def of(cls, reservation: Reservation) -> Self:
        """Show a reservation, unmasked."""
        return cls.model_validate(reservation)


class ReservationList(Shape):
    """A page of reservations in force."""

    items: tuple[ReservationShape, ...]
    next: str | None
