"""Whoever keeps the register of who may and the orders: a part of the node, or of a command where no node runs."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from auth.enrolment import Enrolment
from auth.factors import Factors
from auth.register import Register
from auth.sessions import Sessions
from camera_registry.clock import Clock, SystemClock
from camera_registry.order_store import OrderStore
from halfgateway.api.application import build_office
from halfgateway.api.order_service import OrderService
from halfgateway.api.personnel import PersonnelService
from halfgateway.app.door import terms_of
from halfgateway.app.keeping import Records, borrow_journal, open_custody, open_records, taken
from halfgateway.app.life import Inspection, LifeOffice, open_life
from halfgateway.app.local_door import listen_locally
from halfgateway.app.safekeeping import NoRecorders, Safekeeping, nobody_obeys, open_safekeeping
from halfgateway.config import Configuration
from halfgateway.control.rights_view import RightsView
from halfgateway.control.standing import Standing
from halfgateway.control.tracing import Tracer
from halfgateway.downstream.answers import REALM
from halfgateway.keys import NodeKeys
from halfgateway.replay.footage import Recorders

SETTLE_S = 5.0
"""How long a command waits for its last entries to be where they belong."""


@dataclass(frozen=True, slots=True)
class Office:
    """The services that keep who may, and what may be shown."""

    register: Register
    personnel: PersonnelService
    orders: OrderService
    life: LifeOffice
    safekeeping: Safekeeping


def open_office(
    records: Records,
    tracer: Tracer,
    clock: Clock,
    life: LifeOffice,
    *,
    changed: Callable[[], Awaitable[None]],
    machines_changed: Callable[[], Awaitable[None]],
    recorders: Recorders | None = None,
    obeys: Callable[[str], bool] = nobody_obeys,
) -> Office:
    """Put the office together; ``changed`` and ``machines_changed`` have the node see what it has changed.

    ``recorders`` are what the retention probe asks; ``obeys`` tells the cameras whose recorder obeys a judicial hold.
    """
    factors = Factors(
        accounts=records.accounts,
        enrolment=Enrolment(records.accounts, records.passwords, random_bytes=secrets.token_bytes),
        sealing=records.sealing,
        random_bytes=secrets.token_bytes,
        record=tracer.durable,
        realm=REALM,
    )
    sessions = records.database.sessions
    register = Register(sessions, clock, record=tracer.durable)
    personnel = PersonnelService(
        register=register,
        factors=factors,
        accounts=records.accounts,
        clock=clock,
        changed=changed,
        machines_changed=machines_changed,
    )
    orders = OrderService(store=OrderStore(sessions, clock), clock=clock, record=tracer.durable, changed=changed)
    safekeeping = open_safekeeping(records, tracer, clock, recorders=recorders or NoRecorders(), obeys=obeys)
    return Office(register, personnel, orders, life, safekeeping)


@asynccontextmanager
async def office_without_a_node(configuration: Configuration) -> AsyncIterator[None]:
    """Answer on the node's own socket in its place, and write its journal, while no node runs.

    Raises NodeAlreadyRunsError, and what opening a node's records and journal raises.
    """
    clock, folder = SystemClock(), configuration.folder()
    async with AsyncExitStack() as life:
        life.enter_context(taken(folder, configuration.node.id, clock))
        keys = NodeKeys.open(folder.secrets, configuration.trace.token_place())
        records = await open_records(configuration, folder, keys, clock, life)
        journal = await borrow_journal(folder, configuration.node.id, keys, clock, life)
        tracer = Tracer(journal, now=time.monotonic)
        terms = terms_of(configuration)
        inspection = Inspection(
            missing=_without_a_node,
            view=RightsView(records.database.sessions, clock, sites=lambda: terms.sites),
            cameras=records.cameras,
            current=lambda: configuration,
            clock=clock,
        )
        life_office = open_life(
            records,
            tracer,
            keys,
            clock,
            current=lambda: configuration,
            look=inspection.look,
            changed=_nothing_to_do,
        )
        office = open_office(
            records, tracer, clock, life_office, changed=_nothing_to_do, machines_changed=_nothing_to_do
        )
        application = build_office(
            sessions=Sessions(records.database.sessions, clock, random_bytes=secrets.token_bytes),
            gatekeeper=Standing(lambda: None, terms, clock),
            personnel=office.personnel,
            orders=office.orders,
            custody=open_custody(lambda: configuration, records, tracer.durable, clock),
            changes=office.life.changes,
            annexes=office.life.annexes,
            convention=office.life.convention,
            holds=office.safekeeping.holds,
            requests=office.safekeeping.requests,
            retention=office.safekeeping.retention,
            trace=tracer,
        )
        writing = asyncio.create_task(tracer.run(), name="tracer")
        life.push_async_callback(_end, writing, tracer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        life.push_async_callback(runner.cleanup)
        await listen_locally(runner, folder, life)
        yield


async def _nothing_to_do() -> None:
    """No node runs: the next one reads the records when it starts."""


async def _without_a_node() -> Sequence[str]:
    """What is not well where no node runs: nobody counts slots."""
    return ("state-store",)


async def _end(writing: asyncio.Task[None], tracer: Tracer) -> None:
    await tracer.settle(SETTLE_S)
    writing.cancel()
    await asyncio.wait({writing})
