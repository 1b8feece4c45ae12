"""The convention's eight annexes, each in versions (articles 11 and 12; C07, C20, L25). Pure.

Annexes 1 to 6 are brought up to date « sur simple information du co-contractant et en l'absence d'opposition de sa
part »: a version comes into force once the agreed delay has passed in silence, and never if it is opposed. Annexes 7
and 8 change by avenant alone, on the day that it says. A version that is opposed is never the one served, also if the
opposition comes after it was: then the one before it is served again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from ops.errors import AnnexRefused
from ops.parties import Party

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
"""Bytes of an annex's document: the charter with images, a list of thousands of cameras. A larger one is refused."""

LONGEST_DELAY = timedelta(days=90)
"""How long a party may be given to oppose, at most; the convention gives no number."""


class MediaType(StrEnum):
    """What an annex may be: open formats that can be read in ten years (P08)."""

    JSON = "application/json"
    PDF = "application/pdf"
    SVG = "image/svg+xml"
    CSV = "text/csv"
    TEXT = "text/plain"


_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Annex(IntEnum):
    """The annexes, by their numbers (article 12)."""

    DIAGRAMS = 1
    PP_CONTACTS = 2
    SYN_CONTACTS = 3
    CAMERAS = 4
    PLANS = 5
    VIEWING_SITES = 6
    CHARTER = 7
    ORDERS = 8

    @property
    def title(self) -> str:
        """Its title in article 12."""
        return _TITLES[self]

    @property
    def by_avenant(self) -> bool:
        """Whether it changes by avenant alone (article 11)."""
        return self in {Annex.CHARTER, Annex.ORDERS}


_TITLES = {
    Annex.DIAGRAMS: "Les schémas d'Interconnexion",
    Annex.PP_CONTACTS: "La liste des contacts de la Préfecture de police",
    Annex.SYN_CONTACTS: "La liste des contacts de Seine-et-Yvelines Numérique",
    Annex.CAMERAS: "Référentiel des caméras couvrant l'ensemble des zones couvertes par la vidéoprotection de SYN",
    Annex.PLANS: "Plans d'implantation des caméras géoréférencées de SYN",
    Annex.VIEWING_SITES: "Les sites de visualisation PVPP",
    Annex.CHARTER: "La Charte éthique de la vidéoprotection à Paris",
    Annex.ORDERS: "Liste des arrêtés préfectoraux d'autorisation pour SYN",
}


@dataclass(frozen=True, slots=True)
class Document:
    """What a version says."""

    content: bytes
    media_type: MediaType

    @property
    def sha256(self) -> str:
        """By which it is named in the trace."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnexVersion:
    """One version; ``version`` counts from 1 in each annex. ``effective_at`` is from when it is to be in force.

    ``in_force_at`` is when it was found to be; both it and ``opposed_at`` stay on record.
    """

    annex: Annex
    version: int
    party: Party
    summary: str
    reference: str | None
    media_type: MediaType
    sha256: str
    size_bytes: int
    informed_at: datetime
    informed_by: str
    effective_at: datetime
    in_force_at: datetime | None = None
    opposed_at: datetime | None = None
    opposed_by: Party | None = None
    opposition: str | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it waits for its day, unopposed."""
        return self.in_force_at is None and self.opposed_at is None


def propose(
    annex: Annex,
    *,
    versions: Sequence[AnnexVersion],
    party: Party,
    summary: str,
    reference: str | None,
    document: Document,
    by: str,
    now: datetime,
    delay: timedelta,
    effective_at: datetime | None = None,
) -> AnnexVersion:
    """Return the next version of an annex. ``effective_at`` is what an avenant says; otherwise ``delay`` decides.

    Raises AnnexRefused.
    """
    if not document.content:
        raise AnnexRefused("Une annexe est un document non vide.")
    if len(document.content) > MAX_DOCUMENT_BYTES:
        raise AnnexRefused("Le document dépasse 2 Mio.")
    if any(each.is_pending for each in versions):
        raise AnnexRefused("Une version de cette annexe attend déjà d'entrer en vigueur.")
    if annex.by_avenant and reference is None:
        raise AnnexRefused("Les annexes 7 et 8 ne changent que par avenant (article 11) : sa référence est requise.")
    if not annex.by_avenant and effective_at is not None:
        raise AnnexRefused(
            "Les annexes 1 à 6 entrent en vigueur en l'absence d'opposition (article 11), sans date fixée."
        )
    return AnnexVersion(
        annex=annex,
        version=len(versions) + 1,
        party=party,
        summary=summary,
        reference=reference,
        media_type=document.media_type,
        sha256=document.sha256,
        size_bytes=len(document.content),
        informed_at=now,
        informed_by=by,
        effective_at=(effective_at or now) if annex.by_avenant else now + delay,
    )


def require_opposable(version: AnnexVersion, party: Party) -> None:
    """Let the co-contractant oppose a version. Raises AnnexRefused."""
    if version.annex.by_avenant:
        raise AnnexRefused("Une version établie par avenant a été signée des deux parties.")
    if party is version.party:
        raise AnnexRefused("Seul le co-contractant s'oppose à une version.")
    if version.opposed_at is not None:
        raise AnnexRefused("Une opposition à cette version est déjà enregistrée.")


def comes_into_force(version: AnnexVersion, now: datetime) -> bool:
    """Whether it is time to record that a version is in force."""
    return version.is_pending and version.effective_at <= now


def served(versions: Iterable[AnnexVersion]) -> AnnexVersion | None:
    """The version in force: the latest that came into force and is not opposed."""
    standing = [each for each in versions if each.in_force_at is not None and each.opposed_at is None]
    return max(standing, key=lambda each: each.version, default=None)


def sites_document(sites: Mapping[str, str]) -> Document:
    """Annex 6 as a document: each viewing site's id with its label. Raises AnnexRefused."""
    for name in sites:
        if not _SITE.fullmatch(name):
            raise AnnexRefused(f"« {name:.64} » n'est pas un identifiant de site.")
    listed = [{"id": name, "label": label} for name, label in sorted(sites.items())]
    return _json_document({"sites": listed})


def orders_document(references: Iterable[str]) -> Document:
    """Annex 8 as a document: the references of SYN's prefectoral orders."""
    return _json_document({"orders": sorted(set(references))})


def sites_of(content: bytes) -> frozenset[str]:
    """The sites that annex 6 declares. Raises AnnexRefused."""
    return frozenset(_members(content, "sites", "id"))


def orders_of(content: bytes) -> frozenset[str]:
    """The orders that annex 8 lists. Raises AnnexRefused."""
    return frozenset(_members(content, "orders", None))


def _json_document(value: Mapping[str, Any]) -> Document:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1)
    return Document(text.encode() + b"\n", MediaType.JSON)


def _members(content: bytes, key: str, member: str | None) -> list[str]:
    try:
        listed = json.loads(content)[key]
        names = [each if member is None else each[member] for each in listed]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AnnexRefused("Le document de l'annexe est illisible.") from error
    if not all(isinstance(name, str) for name in names):
        raise AnnexRefused("Le document de l'annexe est illisible.")
    return names
