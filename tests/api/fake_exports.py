"""Exports behind the API, as small as can be: one is done and has a file, whoever asks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from auth.policy import Mode
from auth.principals import Attribution, Principal, Role
from halfgateway.api.export_shapes import ExportRequest
from halfgateway.api.operation import Download
from halfgateway.api.problems import UnknownExport
from halfgateway.control.access import AccessRequest, Via
from halfgateway.errors import Refusal
from halfgateway.exporting.export import Export, ExportState
from halfgateway.exporting.shelf import KeptFile
from tests.api.fake_trace import NOW
from tests.api.scratch import scratch_folder

FILM = b"film" * 1_000_000
OWNER = Principal(
    account="machine",
    role=Role.MACHINE,
    agent="agent-of-operator",
    service="DOPC",
    site="salle-2",
    attribution=Attribution.AGENT_ASSERTED,
    factors=(),
    scope=None,
)
"""Asked by the machine on the operator's behalf: both own what comes of it."""


def export_of(owner: Principal = OWNER, export_id: str = "export-1") -> Export:
    """A finished export that ``owner`` has asked for."""
    request = AccessRequest(
        principal=owner,
        camera="cam-1",
        profile=None,
        mode=Mode.RECORDED,
        reason="L251-2-5",
        reference=None,
        source="192.0.2.1",
        via=Via.API,
        stream=export_id,
        start=NOW - timedelta(hours=2),
        end=NOW - timedelta(hours=1),
        export=True,
    )
    export = Export.of(request, NOW)
    export.state = ExportState.DONE
    export.files = (KeptFile("cam-1.mp4", len(FILM), hashlib.sha256(FILM).hexdigest()),)
    return export


@dataclass
class FakeExports:
    """``allowed`` is whether a file may go on; ``sent`` what went of each."""

    refusal: Refusal | None = None
    allowed: bool = True
    wishes: list[ExportRequest] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    folder: Path = field(default_factory=scratch_folder)

    async def open(
        self, requester: Principal, wish: ExportRequest, *, source: str, certificate_der: bytes | None
    ) -> Export:
        if self.refusal:
            raise self.refusal
        self.wishes.append(wish)
        return export_of(requester)

    async def list_of(self, owner: Principal) -> Sequence[Export]:
        return [export_of(owner)]

    async def find(self, export_id: str) -> Export | None:
        return export_of() if export_id == "export-1" else None

    async def cancel(self, export: Export, *, by: Principal, source: str) -> None:
        self.cancelled.append(export.id)

    async def download(self, export: Export, name: str, *, by: Principal, source: str) -> Download:
        if self.refusal:
            raise self.refusal
        file = export.file(name)
        if file is None:
            raise UnknownExport("Cet export n'a pas de fichier de ce nom.")
        path = self.folder / name
        path.write_bytes(FILM)
        return Download(path, file.size_bytes, "video/mp4", name, lambda: self.allowed, self.sent.append)
