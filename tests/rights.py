"""Who may, for tests: designations, habilitations and orders, as records or put straight into a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from auth.principals import Role
from auth.register import Actor, Register, new_habilitation_id
from auth.rights import (
    LOCAL,
    USUAL_ACTIONS,
    Action,
    Administration,
    ConventionOnRecord,
    Designation,
    Habilitation,
    Rights,
)
from auth.trace import Draft
from camera_registry.clock import Clock, SystemClock
from camera_registry.order_store import OrderStore
from camera_registry.orders import Order, OrderType, Perimeter
from halfgateway.api.rights_shapes import OrderRequest, PerimeterShape
from halfgateway.database import Database
from ops.acceptance import SignedAcceptance
from ops.convention_store import ConventionStore

SERVICE, SITE = "DOPC", "PP-CITE"
LONG_AGO = datetime(2025, 10, 21, tzinfo=UTC)
BY = Actor(account="officer", source=LOCAL, agent="agent-officer")


def designation(agent: str, **changes: Any) -> Designation:
    """A designation of PP's, in force."""
    usual = Designation(
        agent=agent,
        administration=Administration.PP,
        service=SERVICE,
        authority="préfet de police",
        reference="PP-2025-17",
        start=LONG_AGO,
        recorded_at=LONG_AGO,
        recorded_by="officer",
    )
    return replace(usual, **changes)


def habilitation(agent: str, role: Role = Role.OPERATOR, **changes: Any) -> Habilitation:
    """A habilitation for the whole perimeter, in force."""
    usual = Habilitation(
        id=new_habilitation_id(),
        agent=agent,
        role=role,
        territory=Perimeter(),
        start=LONG_AGO,
        authority="préfet de police",
        reference="PP-2025-17",
        recorded_at=LONG_AGO,
        recorded_by="officer",
    )
    return replace(usual, **changes)


def order(cameras: Iterable[str] = (), **changes: Any) -> Order:
    """An order in force that lets these cameras be shown to the service."""
    usual = Order(
        reference="78-2025-01",
        type=OrderType.NORMAL,
        perimeter=Perimeter(cameras=frozenset(cameras), communes=frozenset({"Nulle-Part"})),
        place="voie publique",
        recipients=frozenset({SERVICE}),
        live=True,
        recorded=True,
        retention_min_days=10,
        retention_max_days=30,
        signed_on=date(2025, 10, 21),
        last_day=date(2035, 10, 20),
    )
    return replace(usual, **changes)


def order_of_site(site: str) -> OrderRequest:
    """An order, as the API takes it, for every camera of a site."""
    return OrderRequest(
        reference="78-2025-02",
        type=OrderType.NORMAL,
        perimeter=PerimeterShape(sites=(site,)),
        place="voie publique",
        recipients=(SERVICE,),
        live=True,
        recorded=True,
        retention_min_days=10,
        retention_max_days=30,
        signed_on=date(2025, 10, 21),
        last_day=date(2035, 10, 20),
    )


def rights(people: Mapping[str, Role], cameras: Iterable[str], **changes: Any) -> Rights:
    """What a node knows where these people may watch these cameras."""
    usual = Rights(
        designations={agent: designation(agent) for agent in people},
        habilitations=tuple(habilitation(agent, role) for agent, role in people.items()),
        orders=(order(cameras),),
        sites=frozenset({SITE}),
        on_record=ConventionOnRecord(accepted=True),
    )
    return replace(usual, **changes)


def register_of(database: Database, clock: Clock, told: list[Draft] | None = None) -> Register:
    """The register of a database, which tells ``told`` what it would write into the trace."""

    async def record(draft: Draft) -> None:
        if told is not None:
            told.append(draft)

    return Register(database.sessions, clock, record=record)


async def authorise(
    database: Database,
    people: Mapping[str, Role],
    *orders: Order,
    actions: frozenset[Action] = USUAL_ACTIONS,
) -> None:
    """Put designations, habilitations and orders into a database that no node uses yet."""
    clock = SystemClock()
    since = clock.now() - timedelta(days=1)

    async def witness() -> None:
        """Nobody's trace is open."""

    designations = [designation(agent, administration=_administration(role)) for agent, role in people.items()]
    habilitations = [habilitation(agent, role, start=since, actions=actions) for agent, role in people.items()]
    await register_of(database, clock).designate(designations, habilitations, by=BY)
    await accept(database)
    if orders:
        await OrderStore(database.sessions, clock).add(orders, by=BY.account, witness=witness)


async def accept(database: Database) -> None:
    """Put an acceptance record into a database, as if both parties had signed one (C23)."""

    async def traced(signed: SignedAcceptance) -> None:
        """Nobody's trace is open."""

    signed = SignedAcceptance(
        number=0,
        accepted=True,
        held_at=LONG_AGO,
        recorded_by=BY.account,
        document=b"{}",
        signature=b"",
        public_key_pem="",
    )
    await ConventionStore(database.sessions, SystemClock()).accept(signed, traced)


def _administration(role: Role) -> Administration:
    return Administration.SYN if role in {Role.OPS, Role.OFFICER} else Administration.PP
