"""What the trace's proofs, extracts and purges are asked for with, and answered in."""

from __future__ import annotations

from typing import Annotated, Literal

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


class CosignRequest(Shape):
    """A checkpoint note of this node with the cosigner's line (C2SP tlog-cosignature)."""

    note: Annotated[str, Field(min_length=1, max_length=16_384)]


class Cosignature(Shape):
    """What was taken: which node's head, of how many entries, who saw it, and when (Unix seconds)."""

    node: str
    size: int
    cosigner: str
    at: int


class Statement(Shape):
    """The heads of the trace as a text to keep."""

    text: str


class KeyRotation(Shape):
    """The log's key before and now, as C2SP vkeys, and the entry that says so."""

    node: str
    n: int
    old: str
    new: str


class KeyRotationRequest(Shape):
    """Why the key is changed, in one line that does not begin with a space."""

    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")]


class Disclosure(Shape):
    """What is about to be read or taken out of the trace at the node's own machine, and why."""

    kind: Literal["trace.read", "trace.exported"]
    detail: dict[str, JsonValue]


class Disclosed(Shape):
    """The size of the head under which it is recorded."""

    size: int
