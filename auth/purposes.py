"""The closed list of purposes for which the images may be watched (L16; convention, preamble).

Articles L. 251-2 (1° to 11°) and L. 223-1 of the *code de la sécurité intérieure*; the wording follows the
text of L. 251-2 as amended by the law of 10 February 2020, with the cross-references of 5° and 6° left out.
A reason is one of these codes; free text is never one.
"""

from __future__ import annotations

import re
from enum import StrEnum

from auth.errors import UnknownPurposeError


class Purpose(StrEnum):
    """A lawful purpose, by the code that requests, entries and lists carry."""

    PUBLIC_BUILDINGS = "L251-2-1"
    NATIONAL_DEFENCE = "L251-2-2"
    TRANSPORT_FLOWS = "L251-2-3"
    TRAFFIC_OFFENCES = "L251-2-4"
    SAFETY_OF_PERSONS_AND_GOODS = "L251-2-5"
    TERRORISM = "L251-2-6"
    NATURAL_OR_TECHNOLOGICAL_RISKS = "L251-2-7"
    RESCUE_AND_FIRE = "L251-2-8"
    AMUSEMENT_PARKS = "L251-2-9"
    MOTOR_INSURANCE = "L251-2-10"
    ABANDONED_WASTE = "L251-2-11"
    TERRORISM_BY_ORDER = "L223-1"

    @property
    def wording(self) -> str:
        """The purpose in French, as the law words it."""
        return _WORDINGS[self]


_WORDINGS = {
    Purpose.PUBLIC_BUILDINGS: "La protection des bâtiments et installations publics et de leurs abords",
    Purpose.NATIONAL_DEFENCE: "La sauvegarde des installations utiles à la défense nationale",
    Purpose.TRANSPORT_FLOWS: "La régulation des flux de transport",
    Purpose.TRAFFIC_OFFENCES: "La constatation des infractions aux règles de la circulation",
    Purpose.SAFETY_OF_PERSONS_AND_GOODS: (
        "La prévention des atteintes à la sécurité des personnes et des biens dans des lieux "
        "particulièrement exposés à des risques d'agression, de vol ou de trafic de stupéfiants"
    ),
    Purpose.TERRORISM: "La prévention d'actes de terrorisme",
    Purpose.NATURAL_OR_TECHNOLOGICAL_RISKS: "La prévention des risques naturels ou technologiques",
    Purpose.RESCUE_AND_FIRE: "Le secours aux personnes et la défense contre l'incendie",
    Purpose.AMUSEMENT_PARKS: ("La sécurité des installations accueillant du public dans les parcs d'attraction"),
    Purpose.MOTOR_INSURANCE: (
        "Le respect de l'obligation d'être couvert, pour faire circuler un véhicule terrestre à moteur, "
        "par une assurance garantissant la responsabilité civile"
    ),
    Purpose.ABANDONED_WASTE: (
        "La prévention et la constatation des infractions relatives à l'abandon d'ordures, de déchets, "
        "de matériaux ou d'autres objets"
    ),
    Purpose.TERRORISM_BY_ORDER: "La prévention d'actes de terrorisme (article L. 223-1)",
}

MAX_SPELLING_CHARS = 64
"""Longer than any way of citing an article; anything longer is no citation."""

_CODES = frozenset(purpose.value for purpose in Purpose)

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2013\u2212", "-"))

_CITATION = re.compile(
    r"(?:art(?:icle|\.)? ?)?"
    r"l\.? ?(?P<article>251-2|223-1)"
    r"(?:[ ,;.:/-]+(?P<item>[0-9]{1,2}) ?[°º]?)?"
    r"(?: (?:du )?(?:csi|code de la s[ée]curit[ée] int[ée]rieure))?"
)


def normalise(text: str) -> Purpose:
    """Read a purpose in any usual way of citing it: ``L. 251-2, 5°``, ``l251-2 5``, ``art. L251-2-5``.

    Raises:
        UnknownPurposeError: it names no purpose of the list.
    """
    citation = _CITATION.fullmatch(_plain(text)) if len(text) <= MAX_SPELLING_CHARS else None
    if citation is not None:
        code = "-".join(filter(None, (f"L{citation['article']}", citation["item"])))
        if code in _CODES:
            return Purpose(code)
    raise UnknownPurposeError("not a purpose of articles L. 251-2 and L. 223-1 of the code de la sécurité intérieure")


def _plain(text: str) -> str:
    """Lower case, ordinary dashes, and single spaces for the no-break ones that French typography uses."""
    return " ".join(text.casefold().translate(_DASHES).split())
