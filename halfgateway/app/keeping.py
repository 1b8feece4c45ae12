"""What a node keeps: records in SQL, shared state in Valkey, the journal on its own disk."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import NoReturn

from auth.accounts import AccountRepository
from auth.assertion_keys import AssertionKeys
from auth.break_glass import BreakGlassRegister
from auth.interventions import InterventionRegister
from auth.passwords import Passwords
from auth.recovery_codes import RecoveryCodes
from auth.sealing import Sealing
from auth.trace import Draft, Journal, Kind, OpenAct
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.continuity import KnownHead
from camera_registry.clock import Clock, rfc3339
from camera_registry.store import CameraStore
from halfgateway.config import Configuration, ConfigurationFile
from halfgateway.control.beacon import Beacon
from halfgateway.control.custody import Custody, Record
from halfgateway.control.heads import SharedHeads
from halfgateway.control.revocation import RevocationFile
from halfgateway.control.slots import SlotTable
from halfgateway.control.store import StateStore
from halfgateway.control.terms import Terms
from halfgateway.database import EMBEDDED, Database, database_at
from halfgateway.errors import StateStoreUnavailable
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.net.valkey import EmbeddedValkey, EmbeddedValkeyError, connect
from halfgateway.opening import open_trace
from ops.interconnection import first_open
from ops.local_record import LocalRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Records:
    """What is kept in SQL, and how it is reached."""

    database: Database
    sealing: Sealing
    accounts: AccountRepository
    passwords: Passwords
    cameras: CameraStore
    assertion_keys: AssertionKeys
    recovery_codes: RecoveryCodes
    break_glass: BreakGlassRegister
    interventions: InterventionRegister


async def open_records(
    configuration: Configuration, folder: DataFolder, keys: NodeKeys, clock: Clock, life: AsyncExitStack
) -> Records:
    database = database_at(configuration.database.address(), folder)
    life.push_async_callback(database.close)
    await database.migrate()
    sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
    cameras = CameraStore(database.sessions, sealing, clock=clock)
    await cameras.load()
    passwords = Passwords(random_bytes=secrets.token_bytes)
    life.callback(passwords.close)
    sessions, random_bytes = database.sessions, secrets.token_bytes
    return Records(
        database,
        sealing,
        AccountRepository(sessions, sealing, clock),
        passwords,
        cameras,
        AssertionKeys(sessions, clock),
        RecoveryCodes(sessions, sealing, clock, random_bytes=random_bytes),
        BreakGlassRegister(sessions, passwords, clock, random_bytes=random_bytes),
        InterventionRegister(sessions, clock),
    )


def open_custody(current: Callable[[], Configuration], records: Records, record: Record, clock: Clock) -> Custody:
    """The acts on keys and sealed credentials, traced by ``record``; ``current`` is the configuration in force."""

    def revocation() -> RevocationFile | None:
        tls = current().tls
        return RevocationFile(tls.revoked, tls.client_ca) if tls is not None and tls.revoked is not None else None

    return Custody(
        record=record,
        keys=records.assertion_keys,
        recovery_codes=records.recovery_codes,
        break_glass=records.break_glass,
        interventions=records.interventions,
        revocation=revocation,
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class SharedState:
    """What the nodes of a convention share; ``embedded`` is the server, where it is this node's own."""

    store: StateStore
    embedded: EmbeddedValkey | None


async def open_state_store(configuration: Configuration, folder: DataFolder, life: AsyncExitStack) -> SharedState:
    """Connect to the shared state, having started the server that is ours."""
    embedded, address = None, configuration.state_store.address()
    if address == EMBEDDED:
        embedded = EmbeddedValkey(folder.valkey)
        life.push_async_callback(embedded.stop)
        address = await embedded.start()
    client = connect(address)
    life.push_async_callback(client.aclose)
    return SharedState(StateStore(client, configuration.convention.id), embedded)


async def keep_embedded(embedded: EmbeddedValkey, slots: SlotTable, terms: Terms) -> NoReturn:
    """Start our own server again whenever it has died; our leases, and no others, are put back at once."""
    while True:
        await asyncio.sleep(terms.timings.renew_s)
        if embedded.pid is None:
            log.error("valkey.died: it is started again")
            try:
                await embedded.start()
                await slots.open_epoch()
            except (EmbeddedValkeyError, StateStoreUnavailable) as error:
                log.error("valkey.not_started error=%s", error)


@contextmanager
def taken(folder: DataFolder, node: str, clock: Clock) -> Iterator[Beacon]:
    """Have the data folder for this process alone; the interconnection's record begins with a new one.

    Raises NodeAlreadyRunsError, LocalRecordError.
    """
    is_new = not any(folder.trace.glob("*.leaves"))  # the folder itself may be a disk of its own, mounted and empty
    folder.make()
    with Beacon(folder.run, node) as beacon:
        if is_new:
            LocalRecord(folder.interconnection, clock=clock).initialise(first_open(clock.now()))
        yield beacon


async def open_journal(
    configuration: Configuration,
    file: ConfigurationFile | None,
    folder: DataFolder,
    keys: NodeKeys,
    clock: Clock,
    life: AsyncExitStack,
    heads: SharedHeads,
) -> Journal:
    """The journal of a node that starts, with a result for each act that a crash left open (T02).

    Raises TraceBehind where it lacks what the nodes, or this one, have seen of it (T12).
    """
    node = configuration.node.id
    journal = await open_trace(folder, node, keys, clock, known=await _shared_head(heads, node))
    life.push_async_callback(_close_journal, journal)
    await _recover(journal)
    begins_with = {"convention": configuration.convention.id}
    if file is not None:
        begins_with["configuration"] = file.sha256
    await journal.record(Draft(kind=Kind.NODE_STARTED, detail=begins_with))
    return journal


async def borrow_journal(folder: DataFolder, node: str, keys: NodeKeys, clock: Clock, life: AsyncExitStack) -> Journal:
    """The journal of a node that does not run, for a command to write what it does."""
    journal = await open_trace(folder, node, keys, clock)
    life.push_async_callback(journal.close)
    await _recover(journal)
    return journal


async def _shared_head(heads: SharedHeads, node: str) -> list[KnownHead]:
    """What the nodes share of this one's head; nothing where they cannot be asked, which is done again later."""
    try:
        known = await heads.of(node)
    except StateStoreUnavailable as error:
        log.warning("trace.heads_unread error=%s", error)
        return []
    return [known] if known is not None else []


async def _recover(journal: Journal) -> None:
    for act in journal.open_acts:
        await journal.record(_recovered(act))


def _recovered(act: OpenAct) -> Draft:
    """The result of a stream, or of an export, that a crash cut short, at its last proven instant."""
    intent, last = act.intent, act.last
    return Draft(
        kind=Kind.EXPORT_FAILED if intent.kind is Kind.EXPORT_REQUESTED else Kind.STREAM_STOPPED,
        agent=intent.agent,
        account=intent.account,
        attribution=intent.attribution,
        camera=intent.camera,
        stream=intent.stream,
        mode=intent.mode,
        reason=intent.reason,
        source=intent.source,
        detail={"cause": "node-crashed", "last_proven": rfc3339(last.at), "last_entry": last.n},
    )


async def _close_journal(journal: Journal) -> None:
    for step in (lambda: journal.record(Draft(kind=Kind.NODE_STOPPED)), journal.close):
        try:
            await step()
        except JournalUnavailable as error:
            log.critical("trace.not_closed error=%s", error)
