"""A document as a spreadsheet (XLSX): the table on one sheet, what proves it on another."""

from __future__ import annotations

import io

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from halfgateway.dossiers.tables import Document


def written(document: Document) -> bytes:
    """Return the spreadsheet's bytes."""
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
