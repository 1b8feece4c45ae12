"""Prints the on-call's card: ``python -m docs.make_card`` makes ``fr/carte-astreinte.pdf`` of the page of that name."""

from __future__ import annotations

import hashlib
import re
from io import BytesIO
from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, Preformatted, SimpleDocTemplate

PAGE = Path(__file__).parent / "fr" / "carte-astreinte.md"
MARGIN = 12 * mm

_TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=11.5, leading=15, spaceAfter=5)
_TITLE = ParagraphStyle("title", _TEXT, fontName="Helvetica-Bold", fontSize=18, leading=23)
_HEADING = ParagraphStyle("heading", _TEXT, fontName="Helvetica-Bold", fontSize=13.5, leading=18, spaceBefore=7)
_TYPED = ParagraphStyle("typed", fontName="Courier-Bold", fontSize=9.2, leading=13, spaceAfter=5)
"""So large that one page is full, and the longest command still one line: it is read from a wall, at night."""


def card(source: str) -> bytes:
    """Return the card as a PDF, whose subject is the hash of its source."""
    out = BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title="Carte d'astreinte",
        author="Seine-et-Yvelines Numérique",
        subject=digest(source),
        invariant=1,
    )
    document.build(_flow(source))
    return out.getvalue()


def digest(source: str) -> str:
    """Return by what a printed card is known to be of this source."""
    return hashlib.sha256(source.encode()).hexdigest()


def _flow(source: str) -> list[Flowable]:
    flow: list[Flowable] = []
    for block in re.split(r"\n\n+", source.strip()):
        if block.startswith("```"):
            lines = block.splitlines()[1:-1]
            flow.append(Preformatted("\n".join(line.removeprefix("$ ") for line in lines), _TYPED))
        elif block.startswith("#"):
            marks, _, title = block.partition(" ")
            flow.append(Paragraph(_inline(title), _TITLE if marks == "#" else _HEADING))
        else:
            flow.append(Paragraph(_inline(block), _TEXT))
    return flow


def _inline(text: str) -> str:
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    strong = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", plain, flags=re.DOTALL)
    return re.sub(r"`(.+?)`", r'<font face="Courier-Bold" size="9.2">\1</font>', strong)


if __name__ == "__main__":
    PAGE.with_suffix(".pdf").write_bytes(card(PAGE.read_text(encoding="utf-8")))
