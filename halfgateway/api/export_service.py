"""Exports as the API asks for them: on an agent's behalf, for their owner alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from auth.policy import Mode
from auth.principals import Principal
from halfgateway.api.export_shapes import ExportRequest
from halfgateway.api.operation import Download
from halfgateway.api.problems import UnknownExport
from halfgateway.control.access import AccessRequest, Via
from halfgateway.control.assertions import Assertions, Claim
from halfgateway.control.tracing import Tracer
from halfgateway.exporting.export import Export
from halfgateway.exporting.exports import Exports
from halfgateway.exporting.rules import refuse_all

MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".json": "application/json",
    ".txt": "text/plain",
    ".p7s": "application/pkcs7-signature",
}
"""By the ends of files' names."""


class ExportService:
    """Fills :class:`~halfgateway.api.ports.Exports`; without ``exports`` none are agreed, and each is refused."""

    def __init__(self, exports: Exports | None, assertions: Assertions, tracer: Tracer) -> None:
        self._exports = exports
        self._assertions = assertions
        self._tracer = tracer

    async def open(
        self, requester: Principal, wish: ExportRequest, *, source: str, certificate_der: bytes | None
    ) -> Export:
        """See the port."""
        request = AccessRequest(
            principal=requester,
            camera=wish.camera,
            profile=None,
            mode=Mode.RECORDED,
            reason=wish.reason.value,
            reference=wish.reference,
            source=source,
            via=Via.API,
            start=wish.start,
            end=wish.end,
            export=True,
        )
        if self._exports is None:
            refusal = refuse_all()
            self._tracer.refusal(request.refused(refusal))
            raise refusal
        if wish.assertion is not None:
            claim = Claim(requester, wish.assertion, request.reason, request.reference, source, certificate_der)
            asserted = await self._assertions.accept(claim)
            request = replace(
                request, principal=asserted.principal, reference=asserted.reference, assertion=asserted.entry
            )
        return await self._exports.ask(request)

    async def list_of(self, owner: Principal) -> Sequence[Export]:
        """See the port."""
        return self._exports.of(owner) if self._exports is not None else ()

    async def find(self, export_id: str) -> Export | None:
        """See the port."""
        return self._exports.find(export_id) if self._exports is not None else None

    async def cancel(self, export: Export, *, by: Principal, source: str) -> None:
        """See the port."""
        if self._exports is not None:
            await self._exports.cancel(export, by=by, source=source)

    async def download(self, export: Export, name: str, *, by: Principal, source: str) -> Download:
        """See the port."""
        file, exports = export.file(name), self._exports
        if file is None or exports is None:
            raise UnknownExport("Cet export n'a pas de fichier de ce nom.")
        path = await exports.open_file(export, file, by=by, source=source)
        return Download(
            path=path,
            size_bytes=file.size_bytes,
            media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
            name=file.name,
            may_go_on=lambda: exports.refusal_of_files(export) is None,
            ended=lambda sent: exports.closed_file(export, file, sent, by=by, source=source),
        )
