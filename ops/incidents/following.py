"""An incident for every cut: what the local record says, written into the books (N01).

Whoever cuts needs the record alone. Whoever comes by first, the node, the notifier or the watchdog, opens the book of
a cut that has none, and says in it when a restoration ended it; twice is as once. A cut that another replaced is not
over before that one is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from ops.errors import DamagedBook
from ops.incidents.book import IncidentBooks
from ops.incidents.continuing import continuation
from ops.incidents.events import Opened, Recovered, Said, Source
from ops.incidents.incident import Incident
from ops.interconnection import Ground, InterconnectionState
from ops.local_record import LocalRecord

FOLLOWER = "record"
"""Who says what was read in the record, where nobody said it before."""


def follow_record(books: IncidentBooks, history: Sequence[InterconnectionState]) -> tuple[str, ...]:
    """Bring the books up to the record's history, the oldest state first; return the incidents that were opened.

    Raises BookError: nothing is lost, and the next call goes on.
    """
    known, ended = set(books.ids()), set()
    opened = []
    for state in history:
        if state.incident is not None and state.incident not in known:
            books.update(state.incident, FOLLOWER, partial(_opening, state))
            known.add(state.incident)
            opened.append(state.incident)
        settled = () if state.closed else [name for one in state.settled for name in (one, continuation(one))]
        for incident_id in settled:
            if incident_id in known and incident_id not in ended:
                with suppress(DamagedBook):  # its continuation is told
                    books.update(incident_id, FOLLOWER, partial(_ending, state))
                ended.add(incident_id)
    return tuple(opened)


class RecordFollower:
    """Follows one record for as long as it lives: its history is read again when the file has changed.

    A record that was never seen is left to the node, which alone can tell a new installation from a loss.
    """

    def __init__(self, books: IncidentBooks, record: LocalRecord) -> None:
        self._books = books
        self._record = record
        self._followed: tuple[int, int, int] | None = None

    def follow(self) -> None:
        """Bring the books up to the record. Blocks on the disk. Raises BookError: the next call goes on."""
        stamp = self._record.stamp()
        if stamp is None and self._followed is None:
            return
        if stamp is None or stamp != self._followed:
            follow_record(self._books, self._record.history())
            self._followed = stamp


def opening(state: InterconnectionState, streams_closed: int | None = None) -> Opened:
    """Return how the incident of a cut, or of a drill, begins."""
    return Opened(
        t0=min(state.since, state.occurred_at or state.since),
        t0_source=Source.DECLARED,
        critical=state.ground is Ground.CRITICAL_INCIDENT,
        by=state.by,
        reason=state.reason,
        ground=state.ground,
        interrupted_at=state.since if state.closed else None,
        streams_closed=streams_closed,
    )


def _opening(state: InterconnectionState, incident: Incident | None) -> Sequence[Said]:
    return () if incident is not None else (opening(state),)


def _ending(state: InterconnectionState, incident: Incident | None) -> Sequence[Said]:
    if incident is None or incident.recovered_at is not None or incident.resolved_at is not None:
        return ()
    return (Recovered(at=state.since, reason=state.reason),)
