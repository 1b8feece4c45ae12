"""The prefectoral orders of a node, read beside it: what nears its end, or keeps recordings too briefly (C04, L06)."""

from __future__ import annotations

from datetime import datetime

from camera_registry.clock import SystemClock
from camera_registry.errors import StoreUnavailable
from camera_registry.order_store import OrderStore
from camera_registry.orders import warnings_of
from camera_registry.paris import day_of
from halfgateway.app.keeping import EMBEDDED, database_at
from halfgateway.config import Configuration
from halfgateway.folder import DataFolder

_UNREADABLE = "arrêtés préfectoraux : les enregistrements ne peuvent être lus"


async def order_warnings(configuration: Configuration, now: datetime) -> list[str]:
    """What is to be said of the orders on record, in French; nothing of a node that has never run.

    Reading makes no database. One that cannot be read is a warning too.
    """
    folder = DataFolder(configuration.node.data.absolute())
    if configuration.database.url == EMBEDDED and not folder.records.exists():
        return []
    try:
        database = database_at(configuration.database.address(), folder)
    except OSError:
        return [_UNREADABLE]
    try:
        recorded = await OrderStore(database.sessions, SystemClock()).list_all()
    except StoreUnavailable:
        return [_UNREADABLE]
    finally:
        await database.close()
    in_use = [each.order for each in recorded if each.order.withdrawn_at is None]
    return [warning for order in in_use for warning in warnings_of(order, day_of(now))]
