"""A book whose lines are not as they were written takes no event: what can be believed of it goes on in one beside it.

So nobody is told less because a disk failed. The notices keep their Message-IDs and bytes; what the damaged part said
of them is not known, and may be told again. The damaged book stays as it is, for a person to look at.
"""

from __future__ import annotations

from contextlib import suppress

from ops.errors import BookError
from ops.incidents.book import IncidentBooks
from ops.incidents.events import Noted
from ops.incidents.incident import Incident

_SUFFIX = ".2"


def continuation(incident_id: str) -> str:
    """Return the id of the book in which a damaged one goes on."""
    return f"{incident_id[: 64 - len(_SUFFIX)]}{_SUFFIX}"


def carry_on(books: IncidentBooks, incident: Incident, who: str) -> Incident:
    """Return an incident's continuation, begun if there is none yet. Raises BookError."""
    name = continuation(incident.id)
    if books.stamp(name) is not None:
        return books.read(name)
    for sha256 in {notice.sha256 for notice in incident.notices}:
        with suppress(BookError):
            books.keep_message(name, books.message(incident.id, sha256))
    told = [event.said for event in incident.timeline]
    note = Noted(about="report", text=f"Suite du registre {incident.id}, endommagé après {len(told)} lignes")
    return books.update(name, who, lambda known: () if known is not None else (*told, note))
