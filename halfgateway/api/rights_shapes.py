"""The shapes of designations, habilitations, blocks and prefectoral orders."""

from __future__ import annotations

import re
from datetime import date, datetime
from ipaddress import ip_network
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from auth.principals import Role
from auth.rights import USUAL_ACTIONS, Action, Administration, BlockKind, Designation, Habilitation
from camera_registry.order_store import RecordedOrder
from camera_registry.orders import LONGEST_RETENTION_DAYS, Order, OrderType, Perimeter, warnings_of
from halfgateway.api.shapes import Identifier, Instant, Paging, Sentence, Shape, after_start

MAX_NAMES = 2_000
"""Names in one part of a territory: all of SYN's cameras."""

MAX_SIGNED_LIST_CHARS = 400_000
"""A list of designations: five thousand lines of eighty characters."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _parse_day(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("not a date, such as 2026-11-21")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("no such day") from None


def _parse_network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("no such network: 198.51.100.0/24 or the like is wanted") from None


Day = Annotated[date, BeforeValidator(_parse_day), WithJsonSchema({"type": "string", "format": "date"})]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]{0,127}$")]
Place = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]{0,199}$")]
Base64 = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$", max_length=4096
    ),
]
Network = Annotated[
    str, StringConstraints(pattern=r"^[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?$"), AfterValidator(_parse_network)
]

MAX_LIST_BODY_BYTES = 3 * 1024 * 1024
"""Bytes of a call that brings a list: as many characters as it may have, each escaped, so that a longer one is told."""


class PerimeterShape(Shape):
    """Cameras, sites and communes; of a habilitation, nothing at all is the whole perimeter."""

    communes: tuple[Place, ...] = Field(default=(), max_length=MAX_NAMES)
    sites: tuple[Place, ...] = Field(default=(), max_length=MAX_NAMES)
    cameras: tuple[Identifier, ...] = Field(default=(), max_length=MAX_NAMES)

    def perimeter(self) -> Perimeter:
        """The record."""
        return Perimeter(
            communes=frozenset(self.communes), sites=frozenset(self.sites), cameras=frozenset(self.cameras)
        )

    @classmethod
    def of(cls, perimeter: Perimeter) -> Self:
        """Show a perimeter."""
        return cls(
            communes=tuple(sorted(perimeter.communes)),
            sites=tuple(sorted(perimeter.sites)),
            cameras=tuple(sorted(perimeter.cameras)),
        )


class AgentRequest(Shape):
    """A designation to record: ``id`` is opaque, never a name (C17)."""

    id: Identifier
    administration: Administration
    service: Line
    authority: Line
    reference: Line
    start: Instant
    end: Instant | None = None

    @field_validator("end")
    @classmethod
    def _ends_after_its_start(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        return after_start(end, info)


class AgentShape(Shape):
    """A designation as it stands; ``ended_at`` and the rest are null while nobody has ended it."""

    id: str
    administration: Administration
    service: str
    authority: str
    reference: str
    start: Instant
    end: Instant | None
    in_force: bool
    recorded_at: Instant
    recorded_by: str
    ended_at: Instant | None
    ended_reason: str | None
    ended_reference: str | None

    @classmethod
    def of(cls, designation: Designation, now: datetime) -> Self:
        """Show a designation."""
        return cls(
            id=designation.agent,
            administration=designation.administration,
            service=designation.service,
            authority=designation.authority,
            reference=designation.reference,
            start=designation.start,
            end=designation.end,
            in_force=designation.holds(now),
            recorded_at=designation.recorded_at,
            recorded_by=designation.recorded_by,
            ended_at=designation.ended_at,
            ended_reason=designation.ended_reason,
            ended_reference=designation.ended_reference,
        )


class AgentList(Shape):
    """A page of designations."""

    items: tuple[AgentShape, ...]
    next: str | None


class AccountShape(Shape):
    """One of an agent's accounts."""

    id: str
    role: Role
    ended: bool


class HabilitationShape(Shape):
    """A habilitation; ``held_since`` and ``held_until`` bound its use, where a day was asked about."""

    id: str
    agent: str
    role: Role
    territory: PerimeterShape
    actions: tuple[Action, ...]
    sources: tuple[str, ...]
    start: Instant
    end: Instant | None
    authority: str
    reference: str
    in_force: bool
    recorded_at: Instant
    recorded_by: str
    confirmed_at: Instant | None
    ended_at: Instant | None
    ended_reason: str | None
    ended_reference: str | None
    service: str | None = None
    held_since: Instant | None = None
    held_until: Instant | None = None

    @classmethod
    def of(cls, habilitation: Habilitation, now: datetime) -> Self:
        """Show a habilitation."""
        return cls(
            id=habilitation.id,
            agent=habilitation.agent,
            role=habilitation.role,
            territory=PerimeterShape.of(habilitation.territory),
            actions=tuple(sorted(habilitation.actions)),
            sources=tuple(map(str, habilitation.sources)),
            start=habilitation.start,
            end=habilitation.end,
            authority=habilitation.authority,
            reference=habilitation.reference,
            in_force=habilitation.holds(now),
            recorded_at=habilitation.recorded_at,
            recorded_by=habilitation.recorded_by,
            confirmed_at=habilitation.confirmed_at,
            ended_at=habilitation.ended_at,
            ended_reason=habilitation.ended_reason,
            ended_reference=habilitation.ended_reference,
        )


class AgentView(AgentShape):
    """An agent with what they may, and the accounts by which they come."""

    habilitations: tuple[HabilitationShape, ...]
    accounts: tuple[AccountShape, ...]


class HabilitationList(Shape):
    """A page of habilitations."""

    items: tuple[HabilitationShape, ...]
    next: str | None


class HabilitationsQuery(Paging):
    """Which habilitations: of one agent, and those that could be used on a day (Europe/Paris)."""

    agent: Identifier | None = None
    on: Day | None = None


class HabilitationRequest(Shape):
    """A habilitation to record."""

    agent: Identifier
    role: Role
    territory: PerimeterShape = PerimeterShape()
    actions: tuple[Action, ...] = Field(default=tuple(sorted(USUAL_ACTIONS)), min_length=1, max_length=len(Action))
    sources: tuple[Network, ...] = Field(default=(), max_length=100)
    start: Instant
    end: Instant | None = None
    authority: Line
    reference: Line

    @field_validator("end")
    @classmethod
    def _ends_after_its_start(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        return after_start(end, info)


class EndRequest(Shape):
    """Why a right is ended; for PP's agents, the reference of PP's own decision too (C09)."""

    reason: Sentence
    reference: Line | None = None


class ConfirmRequest(Shape):
    """The review that found a habilitation still needed."""

    reference: Line


class FactorRequest(Shape):
    """A factor to give: a card, a one-time-code secret, or a machine's secret. ``certificate`` is PEM.

    ``new_password``: a new password of the account's with it, in place of one that was lost; the card may then be the
    one that the account has.
    """

    kind: Annotated[str, StringConstraints(pattern="^(card|totp|machine)$")]
    role: Role
    site: Identifier | None = None
    scope: Annotated[str, StringConstraints(pattern="^(SYN|PP|inspection)$")] | None = None
    certificate: Annotated[str, StringConstraints(min_length=1, max_length=16_384)] | None = None
    new_password: bool = False


class FactorAnswer(Shape):
    """What is given to the agent, once; what is null was not drawn."""

    agent: str
    account: str
    role: Role
    password: str | None
    totp_secret: str | None
    totp_uri: str | None
    machine_secret: str | None


class BootstrapRequest(Shape):
    """The first officer."""

    id: Identifier
    authority: Line
    reference: Line


class SignedListRequest(Shape):
    """A list of PP's designations, signed; key or certificate in PEM."""

    list: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SIGNED_LIST_CHARS)]
    signature: Base64
    key: Annotated[str, StringConstraints(min_length=1, max_length=16_384)]
    authority: Line
    reference: Line


class SignedListAnswer(Shape):
    """What a list brought: the agents designated, and the hashes by which the trace names list and key."""

    designated: tuple[str, ...]
    sha256: str
    key: str


class BlockRequest(Shape):
    """Whom or what to keep out at once."""

    kind: BlockKind
    subject: Place
    ground: Identifier
    reason: Sentence
    expires: Instant | None = None


class BlockShape(Shape):
    """A block that was not lifted."""

    id: str
    kind: BlockKind
    subject: str
    ground: str
    reason: str
    set_at: Instant
    set_by: str
    expires: Instant | None


class BlockList(Shape):
    """Every block that was not lifted."""

    items: tuple[BlockShape, ...]
    next: str | None = None


class ReasonRequest(Shape):
    """Why."""

    reason: Sentence


class OrderRequest(Shape):
    """A prefectoral order to record (L06)."""

    reference: Identifier
    type: OrderType
    perimeter: PerimeterShape
    place: Place
    recipients: tuple[Line, ...] = Field(min_length=1, max_length=100)
    live: bool
    recorded: bool
    retention_min_days: int = Field(ge=0, le=LONGEST_RETENTION_DAYS)
    retention_max_days: int = Field(ge=0, le=LONGEST_RETENTION_DAYS)
    signed_on: Day
    last_day: Day

    @model_validator(mode="after")
    def _is_an_order(self) -> Self:
        self.order()
        return self

    def order(self) -> Order:
        """The record."""
        return Order(
            reference=self.reference,
            type=self.type,
            perimeter=self.perimeter.perimeter(),
            place=self.place,
            recipients=frozenset(self.recipients),
            live=self.live,
            recorded=self.recorded,
            retention_min_days=self.retention_min_days,
            retention_max_days=self.retention_max_days,
            signed_on=self.signed_on,
            last_day=self.last_day,
        )


class OrdersRequest(Shape):
    """Several orders, all or none."""

    orders: tuple[OrderRequest, ...] = Field(min_length=1, max_length=MAX_NAMES)


class OrderShape(Shape):
    """An order as it stands; ``warnings`` call to mind what nears its end or keeps too little."""

    reference: str
    type: OrderType
    perimeter: PerimeterShape
    place: str
    recipients: tuple[str, ...]
    live: bool
    recorded: bool
    retention_min_days: int
    retention_max_days: int
    signed_on: Day
    last_day: Day
    state: str
    suspended_since: Instant | None
    suspension: str | None
    withdrawn_at: Instant | None
    withdrawal: str | None
    recorded_at: Instant
    recorded_by: str
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, record: RecordedOrder, now: datetime, today: date) -> Self:
        """Show an order."""
        order = record.order
        return cls(
            reference=order.reference,
            type=order.type,
            perimeter=PerimeterShape.of(order.perimeter),
            place=order.place,
            recipients=tuple(sorted(order.recipients)),
            live=order.live,
            recorded=order.recorded,
            retention_min_days=order.retention_min_days,
            retention_max_days=order.retention_max_days,
            signed_on=order.signed_on,
            last_day=order.last_day,
            state=order.state(now),
            suspended_since=order.suspended_since,
            suspension=record.suspension,
            withdrawn_at=order.withdrawn_at,
            withdrawal=record.withdrawal,
            recorded_at=record.recorded_at,
            recorded_by=record.recorded_by,
            warnings=() if order.withdrawn_at is not None else tuple(warnings_of(order, today)),
        )


class OrderList(Shape):
    """A page of orders."""

    items: tuple[OrderShape, ...]
    next: str | None
