"""What a node knows of the convention's life, read in one transaction with who may."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth.rights import ConventionOnRecord
from ops import annexes, calendar
from ops.annex_store import charter_readers, served_document
from ops.annexes import Annex
from ops.calendar import Act, ActKind
from ops.change_store import windows_to_watch
from ops.convention_store import acts_on_record, is_accepted
from ops.windows import MaintenanceWindow


@dataclass(frozen=True, slots=True)
class Life:
    """All of it at one instant. ``sites`` are those of annex 6 in force, None where none is: then the configuration's.

    ``acts`` are those on the convention itself, in their order.
    """

    on_record: ConventionOnRecord = field(default_factory=ConventionOnRecord)
    sites: frozenset[str] | None = None
    windows: tuple[MaintenanceWindow, ...] = ()
    acts: tuple[Act, ...] = ()


async def read_life(session: AsyncSession, now: datetime) -> Life:
    """Read it, as of this transaction."""
    acts = await acts_on_record(session)
    charter = await served_document(session, Annex.CHARTER)
    sites = await served_document(session, Annex.VIEWING_SITES)
    orders = await served_document(session, Annex.ORDERS)
    version = charter[0].version if charter is not None else None
    pvpp = [act.effect for act in acts if act.kind is ActKind.PVPP_ORDER and act.effect is not None]
    on_record = ConventionOnRecord(
        accepted=await is_accepted(session),
        ended_at=calendar.recorded_end(acts),
        charter=version,
        charter_read_by=await charter_readers(session, version) if version is not None else frozenset(),
        orders=annexes.orders_of(orders[1].content) if orders is not None else None,
        pvpp_until=max(pvpp, default=None),
    )
    declared = annexes.sites_of(sites[1].content) if sites is not None else None
    return Life(on_record, declared, await windows_to_watch(session, now), tuple(acts))
