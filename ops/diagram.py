"""SYN's half of annex 1: the diagram of the interconnection with its table of equipment, as SVG (C20). Pure.

The same equipment gives the same bytes. It is drawn from what the configuration names for it and from counts of the
inventory, and nothing that looks like an address is let in (C16): the annex leaves the house.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ops.annexes import Document, MediaType
from ops.errors import AnnexRefused
from ops.parties import Party

MAX_EQUIPMENT = 40
"""Pieces of equipment that a page shows legibly; more are refused."""

_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|://|@|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,}|:\d{2,5}\b")
"""What looks like an IP address, a URL, an account or a port."""

_WIDTH, _MARGIN, _BOX_WIDTH, _BOX_HEIGHT, _STEP = 1200, 30, 330, 54, 84
_TOP, _ROW, _SIDE_X = 110, 24, {Party.SYN: 60, Party.PP: 810}
_COLUMNS = ((30, "Équipement"), (360, "Lieu"), (600, "Propriétaire"), (720, "À la charge de"), (850, "Intervention"))


@dataclass(frozen=True, slots=True)
class Equipment:
    """A piece of equipment: ``owner`` owns it, ``payer`` pays for it, ``interveners`` may work on it (functions).

    ``place`` is a room as the parties call it. It ``leads_to`` others by their ids, ``over`` some protocol.
    Raises AnnexRefused where a text looks like an address.
    """

    id: str
    label: str
    owner: Party
    payer: Party
    interveners: tuple[str, ...]
    place: str = ""
    leads_to: tuple[str, ...] = ()
    over: str = ""

    def __post_init__(self) -> None:
        for text in (self.id, self.label, self.place, self.over, *self.interveners):
            if _ADDRESS.search(text):
                raise AnnexRefused(f"« {self.id} » : une adresse n'a pas sa place dans l'annexe 1.")


def usual_equipment() -> tuple[Equipment, ...]:
    """What every interconnection has, where the configuration names nothing."""
    syn, pp = ("service d'exploitation et de maintenance",), ("exploitant du PVPP",)
    return (
        Equipment(
            "demi-passerelle-partenaire",
            "Demi-Passerelle Partenaire",
            Party.SYN,
            Party.SYN,
            syn,
            leads_to=("demi-passerelle-pp",),
            over="RTSPS, HTTPS (TLS 1.3, authentification mutuelle)",
        ),
        Equipment("demi-passerelle-pp", "Demi-Passerelle PP", Party.PP, Party.PP, pp),
    )


def with_inventory(equipment: Sequence[Equipment], *, cameras: int, sites: int) -> tuple[Equipment, ...]:
    """Add the cameras of the inventory, which lead to the first piece of SYN's."""
    first = next((each.id for each in equipment if each.owner is Party.SYN), None)
    return (
        Equipment(
            "cameras",
            f"{cameras} caméra(s) mises à disposition, {sites} site(s)",
            Party.SYN,
            Party.SYN,
            ("service d'exploitation et de maintenance",),
            leads_to=(first,) if first is not None else (),
            over="RTP/RTSP, ONVIF (réseau interne)",
        ),
        *equipment,
    )


def drawn(equipment: Sequence[Equipment], *, convention: str) -> Document:
    """Draw the half of annex 1. Raises AnnexRefused for ids that appear twice, or links that lead nowhere."""
    names = [each.id for each in equipment]
    if len(names) > MAX_EQUIPMENT or len(set(names)) != len(names):
        raise AnnexRefused(f"L'annexe 1 compte au plus {MAX_EQUIPMENT} équipements, chacun une fois.")
    if any(other not in names for each in equipment for other in each.leads_to):
        raise AnnexRefused("Un équipement mène à un autre qui n'est pas décrit.")
    places = _places(equipment)
    bottom = max((y for _, y in places.values()), default=_TOP) + _STEP
    height = bottom + _ROW * (len(equipment) + 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="14">',
        '<defs><marker id="arrow" markerWidth="10" markerHeight="8" refX="9" refY="4" orient="auto">'
        '<path d="M0,0 L10,4 L0,8 z"/></marker></defs>',
        _text(_MARGIN, 40, f"Annexe 1 – Schéma d'Interconnexion ({convention}) : part de SYN", size=20),
        _text(_SIDE_X[Party.SYN], 80, "Seine-et-Yvelines Numérique", size=16),
        _text(_SIDE_X[Party.PP], 80, "Préfecture de police", size=16),
        f'<line x1="{_WIDTH // 2}" y1="60" x2="{_WIDTH // 2}" y2="{bottom - 20}" stroke="#888" '
        'stroke-dasharray="8 6"/>',
    ]
    for each in equipment:
        parts += [_link(places[each.id], places[other], each.over) for other in each.leads_to]
    parts += [_box(each, places[each.id]) for each in equipment]
    parts += [_text(x, bottom + _ROW, heading, bold=True) for x, heading in _COLUMNS]
    for place, each in enumerate(equipment, start=2):
        cells = (each.label, each.place, each.owner.value, each.payer.value, ", ".join(each.interveners))
        parts += [_text(x, bottom + _ROW * place, cell) for (x, _), cell in zip(_COLUMNS, cells, strict=True)]
    return Document("\n".join([*parts, "</svg>", ""]).encode(), MediaType.SVG)


def _places(equipment: Sequence[Equipment]) -> dict[str, tuple[int, int]]:
    rows = {party: [each.id for each in equipment if each.owner is party] for party in Party}
    return {name: (_SIDE_X[party], _TOP + _STEP * row) for party in Party for row, name in enumerate(rows[party])}


def _box(each: Equipment, at: tuple[int, int]) -> str:
    x, y = at
    rect = f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" fill="#fff" stroke="#000"/>'
    return "\n".join([rect, _text(x + 10, y + 22, each.label), _text(x + 10, y + 42, each.place, size=12)])


def _link(start: tuple[int, int], end: tuple[int, int], over: str) -> str:
    if start[0] == end[0]:
        x1 = x2 = start[0] + _BOX_WIDTH // 2
        y1, y2 = (start[1] + _BOX_HEIGHT, end[1]) if start[1] < end[1] else (start[1], end[1] + _BOX_HEIGHT)
    else:
        eastward = start[0] < end[0]
        x1, x2 = (start[0] + _BOX_WIDTH, end[0]) if eastward else (start[0], end[0] + _BOX_WIDTH)
        y1, y2 = start[1] + _BOX_HEIGHT // 2, end[1] + _BOX_HEIGHT // 2
    line = f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#000" marker-end="url(#arrow)"/>'
    return "\n".join([line, _text((x1 + x2) // 2 + 8, (y1 + y2) // 2 - 4, over, size=11)])


def _text(x: int, y: int, text: str, *, size: int = 14, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}"{weight}>{escape(text)}</text>'
