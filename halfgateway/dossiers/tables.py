"""One table written as CSV, XLSX or PDF: what people, spreadsheets and filing rooms open."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.sax.saxutils import escape

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, LongTable, PageBreak, Paragraph, SimpleDocTemplate, Spacer, TableStyle

MARGIN_PT = 34.0
"""Points of white around a PDF's page: 12 mm."""

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
_MONO = ParagraphStyle("mono", fontName="Courier", fontSize=5.5, leading=6.6, splitLongWords=True, wordWrap="CJK")
_SMALL = ParagraphStyle("small", fontName="Helvetica", fontSize=6.5, leading=7.8, wordWrap="CJK")
_TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=13, leading=18)
_HEADING = ParagraphStyle("heading", fontName="Helvetica-Bold", fontSize=9, leading=13)
_TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=8.5, leading=11.5)


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
    book = Workbook(write_only=True)
    table = book.create_sheet("Journal")
    for row in ([column.heading for column in document.columns], *document.rows):
        cells = []
        for text in row:
            cell = WriteOnlyCell(table, value=text)
            cell.data_type = "s"  # a text, whatever it begins with
            cells.append(cell)
        table.append(cells)
    notes = book.create_sheet("Preuve")
    for line in (document.title, *document.introduction):
        notes.append([line])
    for heading, lines in document.annexes:
        notes.append([])
        notes.append([heading])
        for line in lines:
            notes.append([line])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _pdf(document: Document) -> bytes:
    file = io.BytesIO()
    page = landscape(A4)
    printed = SimpleDocTemplate(
        file,
        pagesize=page,
        title=document.title,
        leftMargin=MARGIN_PT,
        rightMargin=MARGIN_PT,
        topMargin=MARGIN_PT,
        bottomMargin=MARGIN_PT,
        invariant=True,
    )
    width = page[0] - 2 * MARGIN_PT
    parts: list[Flowable] = [Paragraph(escape(document.title), _TITLE)]
    parts += [Paragraph(escape(line), _TEXT) for line in document.introduction]
    parts += [Spacer(1, 8), _printed_table(document, width)]
    if document.annexes:
        parts.append(PageBreak())
    for heading, lines in document.annexes:
        parts.append(Paragraph(escape(heading), _HEADING))
        parts += [Paragraph(escape(line) or "&nbsp;", _MONO) for line in lines]
    printed.build(parts)
    return file.getvalue()


def _printed_table(document: Document, width: float) -> LongTable:
    shown = [index for index, column in enumerate(document.columns) if column.share]
    whole = sum(document.columns[index].share for index in shown)
    head = [Paragraph(f"<b>{escape(document.columns[index].heading)}</b>", _SMALL) for index in shown]
    body = [[Paragraph(escape(row[index]), _SMALL) for index in shown] for row in document.rows]
    table = LongTable(
        [head, *body],
        colWidths=[width * document.columns[index].share / whole for index in shown],
        repeatRows=1,
        splitInRow=1,
    )
    table.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.25, "#888888"),
                ("BACKGROUND", (0, 0), (-1, 0), "#e8e8e8"),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 2),
                ("RIGHTPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )
    return table


_WRITERS = {TableFormat.CSV: _csv, TableFormat.XLSX: _xlsx, TableFormat.PDF: _pdf}
