"""A document on paper (PDF, A4 landscape): introduction, table, annexes."""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, LongTable, PageBreak, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from halfgateway.dossiers.tables import Document

MARGIN_PT = 34.0
"""Points of white around a PDF's page: 12 mm."""

_MONO = ParagraphStyle("mono", fontName="Courier", fontSize=5.5, leading=6.6, splitLongWords=True, wordWrap="CJK")
_SMALL = ParagraphStyle("small", fontName="Helvetica", fontSize=6.5, leading=7.8, wordWrap="CJK")
_TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=13, leading=18)
_HEADING = ParagraphStyle("heading", fontName="Helvetica-Bold", fontSize=9, leading=13)
_TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=8.5, leading=11.5)


def printed(document: Document) -> bytes:
    """Return the PDF's bytes: the same for the same document."""
    file = io.BytesIO()
    page = landscape(A4)
    template = SimpleDocTemplate(
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
        parts += [Paragraph(escape(line) if line.strip() else "&nbsp;", _MONO) for line in lines]
    template.build(parts)
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
