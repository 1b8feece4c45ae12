"""Planned changes of both parties, and maintenance windows (article 8; C15, P07)."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.change_shapes import (
    AgreementRequest,
    ChangeList,
    ChangeRequest,
    ChangeShape,
    ClassificationRequest,
    ScheduleRequest,
    WindowList,
    WindowRequest,
    WindowShape,
)
from halfgateway.api.life_ports import Changes
from halfgateway.api.life_shapes import ByNumber
from halfgateway.api.operation import Call, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.problems import UnknownRecord
from halfgateway.api.rights_shapes import ReasonRequest
from halfgateway.api.shapes import Paging
from halfgateway.errors import TraceUnavailable
from ops.interconnection import Author

WRITERS = frozenset({Role.OPS, Role.OFFICER})
READERS = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR, Role.SUPERVISOR})

_NO_PERSON = "reads what both parties were told of: no person, no stream"


class ChangeRoutes:
    """Keeps changes and windows; each act is traced behind the port."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    @operation(
        "GET", f"{API}/changes", summary="List the planned technical changes", roles=READERS, untraced=_NO_PERSON
    )
    async def list_changes(self, call: Call, principal: Principal, query: Paging) -> ChangeList:
        """List, newest first."""
        page = page_of(
            await self._changes.changes(),
            key=lambda each: (each.announced_at, f"{each.number:010}"),
            limit=query.limit,
            cursor=query.cursor,
        )
        return ChangeList(items=tuple(page.items), next=page.next)

    @operation(
        "POST",
        f"{API}/changes",
        summary="Record a change that a party announces",
        roles=WRITERS,
        status=201,
        errors=(TraceUnavailable,),
        traces=(Kind.CHANGE_ANNOUNCED,),
    )
    async def announce_change(self, call: Call, principal: Principal, body: ChangeRequest) -> ChangeShape:
        """Record it, and have the other party told."""
        return await self._changes.announce(body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/changes/{{number}}/classify",
        summary="Record whether a change is major, and whether it takes a project structure",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.CHANGE_CLASSIFIED,),
    )
    async def classify_change(
        self, call: Call, principal: Principal, path: ByNumber, body: ClassificationRequest
    ) -> ChangeShape:
        """Record the decision; a schedule that stood is void."""
        return await self._changes.classify(path.number, body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/changes/{{number}}/agree",
        summary="Record a party's agreement to an earlier day",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.CHANGE_AGREED,),
    )
    async def agree_change(
        self, call: Call, principal: Principal, path: ByNumber, body: AgreementRequest
    ) -> ChangeShape:
        """Record it."""
        return await self._changes.agree(path.number, body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/changes/{{number}}/schedule",
        summary="Set the day on which a change goes live",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.CHANGE_SCHEDULED,),
    )
    async def schedule_change(
        self, call: Call, principal: Principal, path: ByNumber, body: ScheduleRequest
    ) -> ChangeShape:
        """Set it: of a major change thirty calendar days after its announcement, or as both parties agreed."""
        return await self._changes.schedule(path.number, body, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/changes/{{number}}/live",
        summary="Record that a change went live now",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.CHANGE_WENT_LIVE,),
    )
    async def change_went_live(self, call: Call, principal: Principal, path: ByNumber) -> ChangeShape:
        """Record it, on its day or later."""
        return await self._changes.go_live(path.number, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/changes/{{number}}/withdraw",
        summary="Give a change up",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.CHANGE_WITHDRAWN,),
    )
    async def withdraw_change(
        self, call: Call, principal: Principal, path: ByNumber, body: ReasonRequest
    ) -> ChangeShape:
        """Give it up, for good."""
        return await self._changes.withdraw(path.number, reason=body.reason, by=call.actor(principal))


class WindowRoutes:
    """Keeps maintenance windows; each act is traced behind the port."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    @operation("GET", f"{API}/windows", summary="List the maintenance windows", roles=READERS, untraced=_NO_PERSON)
    async def list_windows(self, call: Call, principal: Principal, query: Paging) -> WindowList:
        """List, newest first."""
        page = page_of(
            await self._changes.windows(),
            key=lambda each: (each.announced_at, f"{each.number:010}"),
            limit=query.limit,
            cursor=query.cursor,
        )
        return WindowList(items=tuple(page.items), next=page.next)

    @operation(
        "POST",
        f"{API}/windows",
        summary="Plan an interruption: announced, begun and ended by the calendar",
        roles=WRITERS,
        status=201,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.CHANGE_ANNOUNCED,),
    )
    async def plan_window(self, call: Call, principal: Principal, body: WindowRequest) -> WindowShape:
        """Plan it; whoever does so also decides on its end."""
        author = Author.OFFICER if principal.role is Role.OFFICER else Author.OPS
        return await self._changes.plan(body, author=author, by=call.actor(principal))

    @operation(
        "POST",
        f"{API}/windows/{{number}}/withdraw",
        summary="Give up a window that has not begun",
        roles=WRITERS,
        errors=(UnknownRecord, TraceUnavailable),
        traces=(Kind.CHANGE_WITHDRAWN,),
    )
    async def withdraw_window(
        self, call: Call, principal: Principal, path: ByNumber, body: ReasonRequest
    ) -> WindowShape:
        """Give it up."""
        return await self._changes.withdraw_window(path.number, reason=body.reason, by=call.actor(principal))
