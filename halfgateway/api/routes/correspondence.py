"""What is mailed outside incidents, and what of it has yet to leave."""

from __future__ import annotations

import asyncio

from auth.principals import Principal, Role
from camera_registry.clock import Clock
from halfgateway.api.correspondence_shapes import (
    CorrespondenceDetail,
    CorrespondenceList,
    CorrespondenceQuery,
    correspondence_detail,
    correspondence_shape,
)
from halfgateway.api.operation import Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.shapes import ById
from halfgateway.errors import StateStoreUnavailable
from ops.correspondence.correspondence import CorrespondenceBooks
from ops.errors import OpsError, UnknownIncident

READERS = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})

_UNTRACED = "tells which mails left, to functions; no stream, no person"


class CorrespondenceRoutes:
    """Reads the books; the notifier alone writes them."""

    def __init__(self, books: CorrespondenceBooks, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    @operation(
        "GET",
        f"{API}/correspondence",
        summary="List what is mailed outside incidents: measures, announcements, contact tests, checkpoints, alarms",
        roles=READERS,
        untraced=_UNTRACED,
    )
    async def list_correspondence(
        self, call: Call, principal: Principal, query: CorrespondenceQuery
    ) -> CorrespondenceList:
        """List, newest first."""
        found, now = await asyncio.to_thread(lambda: list(self._books.all())), self._clock.now()
        page = page_of(
            sorted(
                (each for each in found if query.owed in {None, each.owed}),
                key=lambda each: (each.opened_at, each.id),
                reverse=True,
            ),
            key=lambda each: (each.opened_at, each.id),
            limit=query.limit,
            cursor=query.cursor,
        )
        items = tuple(correspondence_shape(each, now) for each in page.items)
        return CorrespondenceList(items=items, next=page.next)

    @operation(
        "GET",
        f"{API}/correspondence/{{id}}",
        summary="Show one of them, how far each mail came, and who has answered",
        roles=READERS,
        errors=(UnknownRecord, StateStoreUnavailable),
        untraced=_UNTRACED,
    )
    async def show_correspondence(self, call: Call, principal: Principal, path: ById) -> CorrespondenceDetail:
        """Show it with its timeline."""
        try:
            found = await asyncio.to_thread(self._books.read, path.id)
        except UnknownIncident as error:
            raise UnknownRecord("Aucune correspondance de cette référence.") from error
        except OpsError as error:
            raise StateStoreUnavailable("Le registre de cette correspondance n'a pu être lu.") from error
        return correspondence_detail(found, self._clock.now())
