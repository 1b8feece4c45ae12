"""One table written as CSV, XLSX or PDF: what people, spreadsheets and filing rooms open."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class TableFormat(StrEnum):
    """In which form."""

    CSV = "csv"
    XLSX = "xlsx"
    PDF = "pdf"

    @property
    def media_type(self) -> str:
        """The form's media type."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    TableFormat.CSV: "text/csv; charset=utf-8",
    TableFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    TableFormat.PDF: "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, and its share of a page's width; 0 keeps it off paper, where an annex has it."""

    heading: str
    share: float


@dataclass(frozen=True, slots=True)
class Document:
    """A table with what is said before it, and annexes: a heading and lines each, in fixed pitch."""

    title: str
    introduction: Sequence[str]
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    annexes: Sequence[tuple[str, Sequence[str]]] = ()


def write_table(document: Document, form: TableFormat) -> bytes:
    """Return the document in a form. A CSV has the table alone: introduction and annexes are not in it."""
    return _WRITERS[form](document)


def _csv(document: Document) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow([column.heading for column in document.columns])
    writer.writerows([_inert(cell) for cell in row] for row in document.rows)
    return text.getvalue().encode("utf-8-sig")


def _inert(cell: str) -> str:
    """Keep a spreadsheet from taking a text for a formula: whoever is traced chose some of these texts."""
    return f"'{cell}" if cell.startswith(_FORMULA_SIGNS) else cell


def _xlsx(document: Document) -> bytes:
    from halfgateway.dossiers.spreadsheet import written  # noqa: PLC0415 - a node that writes none has no room for it

    return written(document)


def _pdf(document: Document) -> bytes:
    from halfgateway.dossiers.paper import printed  # noqa: PLC0415 - likewise

    return printed(document)


_WRITERS = {TableFormat.CSV: _csv, TableFormat.XLSX: _xlsx, TableFormat.PDF: _pdf}
