"""A book whose lines are not as they were written takes no event: what can be believed of it goes on in one beside it.

So nobody is told less because a disk failed. The notices keep their Message-IDs and bytes; what the damaged part said
of them is not known, and may be told again. The damaged book stays as it is, for a person to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ops.errors import BookError
from ops.incidents.book import IncidentBooks
from ops.incidents.events import Noted, Said
from ops.incidents.incident import Incident

_SUFFIX = ".2"


def continuation(incident_id: str) -> str:
    """Return the id of the book in which a damaged one goes on."""
    return f"{incident_id[: 64 - len(_SUFFIX)]}{_SUFFIX}"


def carry_on(books: IncidentBooks, incident: Incident, who: str) -> Incident:
    """Return an incident's continuation, begun if there is none yet. Raises BookError."""
    name = continuation(incident.id)

    def change(known: Incident | None) -> Sequence[Said]:
        if known is not None:
            return ()
        note = Noted(about="report", text=f"Suite du registre {incident.id}, endommagé après {len(told)} lignes")
        return (*told, note)

    told = [event.said for event in incident.timeline]
    if books.stamp(name) is None:
        for sha256 in {notice.sha256 for notice in incident.notices}:
            with suppress(BookError):
                books.keep_message(name, books.message(incident.id, sha256))
    return books.update(name, who, change)
