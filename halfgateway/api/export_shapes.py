"""The shapes of exports: what is asked for, how far it is, which files there are."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator

from halfgateway.api.shapes import Identifier, Instant, LawfulPurpose, OpaqueReference, Shape, after_start
from halfgateway.exporting.export import Export, ExportState


class ExportRequest(Shape):
    """A wish to have one camera's footage of a period as files."""

    camera: Identifier
    start: Instant
    end: Instant
    reason: LawfulPurpose
    reference: OpaqueReference | None = None
    assertion: str | None = Field(
        default=None,
        description="Attestation de l'agent (JWS compact, RFC 7515), par TLS mutuel ; voir docs/integration-pp.md",
    )

    _ends_after_its_start = field_validator("end")(after_start)


class ExportFile(Shape):
    """A file of a finished export."""

    name: str
    size_bytes: int
    sha256: str


class ExportView(Shape):
    """An export.

    ``cause`` is the reason code of one that has failed or was cancelled, ``kept_until`` when its files are removed.
    """

    id: str
    camera: str
    start: Instant
    end: Instant
    state: ExportState
    percent: int
    bytes: int
    asked_at: Instant
    finished_at: Instant | None
    kept_until: Instant | None
    cause: str | None
    detail: str | None
    files: tuple[ExportFile, ...]

    @classmethod
    def of(cls, export: Export) -> Self:
        """Show an export."""
        return cls(
            id=export.id,
            camera=export.request.camera,
            start=export.start,
            end=export.end,
            state=export.state,
            percent=export.percent,
            bytes=export.bytes,
            asked_at=export.asked_at,
            finished_at=export.finished_at,
            kept_until=export.kept_until,
            cause=export.cause,
            detail=export.detail,
            files=tuple(
                ExportFile(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256) for file in export.files
            ),
        )


class ExportList(Shape):
    """A page of exports."""

    items: tuple[ExportView, ...]
    next: str | None


class ExportFilePath(Shape):
    """One file of an export."""

    id: Identifier
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
