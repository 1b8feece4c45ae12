"""The two parties of the convention, and the bounds of what they put on record."""

from __future__ import annotations

from enum import StrEnum

REFERENCE_CHARS = 128
"""Characters of a reference: a letter's, a decision's, an avenant's number with its date."""

TITLE_CHARS = 200
"""Characters of a title or of a function; one line of a list."""


class Party(StrEnum):
    """Who speaks: the prefecture (Préfecture de police) or the partner (Seine-et-Yvelines Numérique)."""

    PP = "PP"
    SYN = "SYN"

    @property
    def other(self) -> Party:
        """The co-contractor."""
        return Party.SYN if self is Party.PP else Party.PP

    @property
    def annex(self) -> int:
        """The annex that lists its contacts (article 3; C19 on the slip in article 8)."""
        return 2 if self is Party.PP else 3

    @property
    def wording(self) -> str:
        """What people read."""
        return _WORDINGS[self]


_WORDINGS = {Party.PP: "la Préfecture de police", Party.SYN: "Seine-et-Yvelines Numérique"}
