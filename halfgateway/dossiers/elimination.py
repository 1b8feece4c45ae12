"""The elimination record (« bordereau d'élimination ») of a purge, made from its own entry (L17).

The entry is never erased, so the record can be made again at any time, and says nothing that the journal does not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from auth.trace import Entry, Kind
from auth.trace.kinds import KIND_BY_CODE
from auth.trace.retention import RetentionClass
from camera_registry.clock import rfc3339
from halfgateway.dossiers.tables import Column, Document


@dataclass(frozen=True, slots=True)
class Elimination:
    """What was eliminated, by whose order and visa, and under which decision on durations."""

    node: str
    n: int
    at: str
    retention_class: str
    wording: str
    kinds: tuple[str, ...]
    before: str
    count: int
    first: int
    last: int
    payload_bytes: int
    leaves_sha256: str
    visa: str
    decision: str
    by: str

    @classmethod
    def of(cls, entry: Entry) -> Elimination:
        """Read a ``trace.purged`` entry. Raises ValueError for any other, or one that this program did not write."""
        detail = entry.detail
        if entry.kind is not Kind.TRACE_PURGED:
            raise ValueError(f"l'entrée n° {entry.n} n'est pas celle d'une élimination")
        try:
            erased = detail["erased"]
            return cls(
                node=entry.node,
                n=entry.n,
                at=rfc3339(entry.at),
                retention_class=detail["class"],
                wording=RetentionClass(detail["class"]).wording,
                kinds=tuple(KIND_BY_CODE[code].value for code in detail["kinds"]),
                before=detail["before"],
                count=erased["count"],
                first=erased["first"],
                last=erased["last"],
                payload_bytes=erased["payload_bytes"],
                leaves_sha256=erased["leaves_sha256"],
                visa=detail["visa"],
                decision=detail["decision"],
                by=entry.account or "",
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"l'entrée n° {entry.n} ne dit pas ce qui a été éliminé") from error

    def to_json(self) -> dict[str, Any]:
        """Return the record as one JSON object."""
        return {**asdict(self), "kinds": list(self.kinds)}

    def document(self) -> Document:
        """Lay the record out on one page."""
        lines = (
            ("Journal", f"nœud {self.node}, entrée n° {self.n} du {self.at}"),
            ("Catégorie éliminée", f"{self.wording} ({self.retention_class})"),
            ("Natures d'entrées", ", ".join(self.kinds)),
            ("Dates extrêmes", f"jusqu'au {self.before} exclu"),
            ("Nombre d'entrées", f"{self.count}, de la n° {self.first} à la n° {self.last}"),
            ("Volume", f"{self.payload_bytes} octets de contenu"),
            ("Empreinte des feuilles", f"SHA-256 {self.leaves_sha256}"),
            ("Décision sur les durées", self.decision),
            ("Visa d'élimination", self.visa),
            ("Éliminé par", self.by),
        )
        return Document(
            title="Bordereau d'élimination",
            introduction=(
                "Élimination du contenu et du sel d'entrées du journal des accès, dont la durée de conservation est"
                " échue. Les feuilles (numéro, heure, nature, engagement) demeurent : toute preuve antérieure reste"
                " vérifiable, et le contenu ne peut être retrouvé.",
            ),
            columns=(Column("Rubrique", 1), Column("Valeur", 4)),
            rows=lines,
        )
