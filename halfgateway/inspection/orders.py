"""The prefectoral orders of a node, read beside it: what nears its end, keeps too briefly, is in no annex (C04, L06).

And whether an acceptance record opens the access at all (C23).
"""

from __future__ import annotations

from datetime import datetime

from camera_registry.clock import SystemClock
from camera_registry.errors import StoreUnavailable
from camera_registry.order_store import OrderStore
from camera_registry.orders import warnings_of
from camera_registry.paris import day_of
from camera_registry.records import transaction
from halfgateway.config import Configuration
from halfgateway.database import EMBEDDED, Database, database_at
from ops.life import Life, read_life

_NOT_ACCEPTED = "recette : aucun procès-verbal n'est enregistré (halfgateway acceptance run) ; aucun Flux n'est ouvert"
_UNREADABLE = "arrêtés préfectoraux : les enregistrements ne peuvent être lus"


async def order_warnings(configuration: Configuration, now: datetime) -> list[str]:
    """What is to be said of the orders on record, in French; nothing of a node that has never run.

    Reading makes no database. One that cannot be read is a warning too.
    """
    folder = configuration.folder()
    if configuration.database.url == EMBEDDED and not folder.records.exists():
        return []
    try:
        database = database_at(configuration.database.address(), folder)
    except OSError:
        return [_UNREADABLE]
    try:
        recorded = await OrderStore(database.sessions, SystemClock()).list_all()
        life = await _life(database, now)
    except StoreUnavailable:
        return [_UNREADABLE]
    finally:
        await database.close()
    in_use = [each.order for each in recorded if each.order.withdrawn_at is None]
    listed = life.on_record.orders
    absent = [] if listed is None else [order.reference for order in in_use if order.reference not in listed]
    return [
        *(warning for order in in_use for warning in warnings_of(order, day_of(now))),
        *(
            f"{reference} : ne figure pas à l'annexe 8, ses caméras ne sont pas mises à disposition"
            for reference in absent
        ),
        *([] if life.on_record.accepted else [_NOT_ACCEPTED]),
    ]


async def _life(database: Database, now: datetime) -> Life:
    """The convention's life on record; of a schema that no node has brought up to date yet, none."""
    try:
        async with transaction(database.sessions) as session:
            return await read_life(session, now)
    except StoreUnavailable:
        return Life()
