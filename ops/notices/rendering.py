"""From a template and its facts to a mail's subject, plain text and HTML: the same words in both.

A template in ``texts/`` is the plain text: its first line is ``Objet : …``, then paragraphs with an empty line between
them; a line that begins with a dash is an item of a list, lines indented by four spaces are kept as they stand. The
HTML is made of what was rendered, with everything escaped. A missing fact is an error, never a hole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape

from camera_registry import french
from ops.errors import WordingError

ITEM, VERBATIM = "– ", "    "
_SUBJECT = "Objet : "
_PAGE = "page.html.j2"


@dataclass(frozen=True, slots=True)
class Wording:
    """A mail's words: ``subject`` on one line, ``text`` with LF between lines, ``html`` a whole page."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _Block:
    kind: str
    lines: tuple[str, ...]


def render(name: str, facts: Mapping[str, Any], *, prefix: str = "") -> Wording:
    """Return the words of template ``name``; ``prefix`` goes before the subject. Raises WordingError."""
    try:
        written = _environment().get_template(f"{name}.txt.j2").render(facts)
        first, _, rest = written.strip().partition("\n")
        if not first.startswith(_SUBJECT):
            raise WordingError(f"{name} begins with no subject")
        subject = prefix + first.removeprefix(_SUBJECT)
        text = re.sub(r"\n{3,}", "\n\n", rest.strip("\n")) + "\n"
        html = _environment().get_template(_PAGE).render(subject=subject, blocks=list(_blocks(text)))
    except TemplateError as error:
        raise WordingError(f"{name}: {error}") from error
    return Wording(subject, text, html)


def _blocks(text: str) -> Iterator[_Block]:
    for paragraph in text.strip("\n").split("\n\n"):
        for kind, lines in groupby(paragraph.split("\n"), key=_kind):
            shown = (line.removeprefix(ITEM if kind == "item" else VERBATIM) for line in lines)
            yield _Block(kind, tuple(shown))


def _kind(line: str) -> str:
    if line.startswith(ITEM):
        return "item"
    return "verbatim" if line.startswith(VERBATIM) else "text"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ops.notices", "texts"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "le": french.le,
        "moment": french.moment,
        "le_utc": french.le_utc,
        "duree": french.duration,
        "mois": french.month,
    }
    return environment
