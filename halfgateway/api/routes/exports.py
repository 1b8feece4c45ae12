"""Asking for footage as files, seeing how far they are, having them, giving them up (L14, L15)."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.export_service import MEDIA_TYPES
from halfgateway.api.export_shapes import ExportFilePath, ExportList, ExportRequest, ExportView
from halfgateway.api.operation import Call, Download, Forbidden, operation
from halfgateway.api.paging import page_of
from halfgateway.api.paths import API
from halfgateway.api.ports import Exports
from halfgateway.api.problems import UnknownExport
from halfgateway.api.shapes import ById, Paging
from halfgateway.errors import (
    AssertionInvalid,
    BandwidthReached,
    CameraNotAuthorised,
    CapReached,
    ConventionNotInForce,
    InterconnectionCut,
    NoRecording,
    OutsideRetention,
    StateStoreUnavailable,
    TraceUnavailable,
    UnknownCamera,
)
from halfgateway.exporting.export import Export

_OWNERS = frozenset({Role.OPERATOR, Role.MACHINE})
_DOOR = (AssertionInvalid, CameraNotAuthorised, ConventionNotInForce, InterconnectionCut, StateStoreUnavailable)


class ExportRoutes:
    """The API's way to exports."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    @operation(
        "POST",
        f"{API}/exports",
        summary="Ask for footage as files: takes a slot while they are made",
        roles=_OWNERS,
        status=202,
        errors=(
            *_DOOR,
            BandwidthReached,
            CapReached,
            NoRecording,
            OutsideRetention,
            TraceUnavailable,
            UnknownCamera,
        ),
        traces=(
            Kind.ASSERTION_ACCEPTED,
            Kind.ASSERTION_REFUSED,
            Kind.STREAM_REQUESTED,
            Kind.STREAM_STOPPED,
            Kind.EXPORT_REQUESTED,
            Kind.EXPORT_MADE,
            Kind.EXPORT_FAILED,
            Kind.EXPORT_REFUSED,
        ),
    )
    async def open_export(self, call: Call, principal: Principal, body: ExportRequest) -> ExportView:
        """Pass the wish to the door."""
        export = await self._exports.open(principal, body, source=call.source, certificate_der=call.certificate_der)
        return ExportView.of(export)

    @operation(
        "GET",
        f"{API}/exports",
        summary="List one's own exports",
        roles=_OWNERS,
        untraced="says nothing but what its reader has asked for",
    )
    async def list_exports(self, call: Call, principal: Principal, query: Paging) -> ExportList:
        """List, newest first."""
        exports = await self._exports.list_of(principal)
        page = page_of(exports, key=lambda each: (each.asked_at, each.id), limit=query.limit, cursor=query.cursor)
        return ExportList(items=tuple(map(ExportView.of, page.items)), next=page.next)

    @operation(
        "GET",
        f"{API}/exports/{{id}}",
        summary="Show how far an export is, and its files",
        roles=_OWNERS,
        errors=(UnknownExport,),
        untraced="says nothing but what its reader has asked for",
    )
    async def show_export(self, call: Call, principal: Principal, path: ById) -> ExportView:
        """Show one."""
        return ExportView.of(await self._own(principal, path.id))

    @operation(
        "DELETE",
        f"{API}/exports/{{id}}",
        summary="Cancel an export, or remove its files",
        roles=_OWNERS,
        status=204,
        errors=(UnknownExport, TraceUnavailable),
        traces=(Kind.STREAM_STOPPED, Kind.EXPORT_CANCELLED, Kind.EXPORT_REMOVED),
    )
    async def cancel_export(self, call: Call, principal: Principal, path: ById) -> None:
        """Give one up."""
        export = await self._own(principal, path.id)
        await self._exports.cancel(export, by=principal, source=call.source)

    @operation(
        "GET",
        f"{API}/exports/{{id}}/files/{{name}}",
        summary="Have a file of an export",
        roles=_OWNERS,
        errors=(UnknownExport, *_DOOR, TraceUnavailable),
        traces=(Kind.EXPORT_DOWNLOADED, Kind.EXPORT_REFUSED),
        files=tuple(MEDIA_TYPES.values()),
    )
    async def download_export(self, call: Call, principal: Principal, path: ExportFilePath) -> Download:
        """Hand a file out, once that is durable in the trace."""
        export = await self._own(principal, path.id)
        return await self._exports.download(export, path.name, by=principal, source=call.source)

    async def _own(self, principal: Principal, export_id: str) -> Export:
        export = await self._exports.find(export_id)
        if export is None:
            raise UnknownExport("Cet export n'est pas connu, ou ne l'est plus.")
        if not export.belongs_to(principal):
            raise Forbidden("Cet export a été demandé par un autre agent.")
        return export
