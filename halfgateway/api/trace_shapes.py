"""What the trace's proofs, extracts and purges are asked for with, and answered in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from auth.trace.retention import RetentionClass
from halfgateway.api.shapes import Identifier, Sentence, Shape, TraceCriteria
from halfgateway.dossiers.tables import TableFormat


class ExtractQuery(TraceCriteria):
    """Which entries are wanted, and as what kind of file."""

    format: TableFormat = TableFormat.CSV


class ByNode(Shape):
    """One node's journal."""

    node: Identifier


class ConsistencyQuery(Shape):
    """From which size to which."""

    first: Annotated[int, Field(ge=1, le=2**63 - 1, alias="from")]
    second: Annotated[int, Field(ge=1, le=2**63 - 1, alias="to")]


class Consistency(Shape):
    """A consistency proof (RFC 6962 section 2.1.2); hashes in base64."""

    node: str
    first: int
    second: int
    path: tuple[str, ...]


class PurgeRequest(Shape):
    """What is to be eliminated: a class, from an age on, under a visa."""

    retention_class: Annotated[RetentionClass, Field(alias="class")]
    older_than_days: Annotated[int, Field(ge=1, le=36_500)]
    visa: Sentence


class EliminationShape(Shape):
    """The elimination record; ``count`` is 0, and the rest absent, where there was nothing to eliminate."""

    count: int
    record: dict[str, JsonValue] | None = None
