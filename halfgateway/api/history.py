"""The API's view of this node's trace."""

from __future__ import annotations

from collections.abc import Sequence

from auth.principals import Principal
from auth.trace import Entry, Journal, Kind, TraceDamaged
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.reader import TraceFilter
from halfgateway.api import ports
from halfgateway.api.ports import Page
from halfgateway.api.shapes import Checkpoint, Proof
from halfgateway.errors import InvalidRequest, TraceUnavailable


class HistoryService:
    """Fills :class:`~halfgateway.api.ports.TraceHistory` for the one node whose journal it reads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._reader = journal.reader()

    async def entries(
        self, viewer: Principal, wanted: ports.TraceFilter, *, limit: int, cursor: str | None
    ) -> Page[Entry]:
        """See the port."""
        if wanted.node not in {None, self._journal.node}:
            return Page([])
        try:
            found = await self._reader.entries(_filter(wanted), limit=limit, cursor=cursor)
        except ValueError as error:
            raise InvalidRequest("cursor : inconnu") from error
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable("Le journal ne peut être lu.") from error
        return Page(found.items, found.next)

    async def checkpoints(self, viewer: Principal) -> Sequence[Checkpoint]:
        """See the port."""
        try:
            latest = await self._reader.checkpoints(limit=1)
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable("Le journal ne peut être lu.") from error
        return [Checkpoint(**signed.to_json()) for signed in latest.items]

    async def proof(self, viewer: Principal, *, node: str, n: int, size: int | None) -> Proof | None:
        """See the port."""
        latest = self._journal.checkpoint
        if node != self._journal.node or (size is None and latest is None):
            return None
        try:
            proof = await self._reader.prove_inclusion(n, size if size is not None else latest.size if latest else 0)
        except ValueError:
            return None
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable("Le journal ne peut être lu.") from error
        members = proof.to_json()
        return Proof(**{name: members[name] for name in Proof.model_fields})


def _filter(wanted: ports.TraceFilter) -> TraceFilter:
    """The journal's own filter; a kind that does not exist matches nothing, which is said."""
    if wanted.kind is None:
        kinds = None
    else:
        try:
            kinds = frozenset({Kind(wanted.kind)})
        except ValueError as error:
            raise InvalidRequest(f"kind : {wanted.kind} n'existe pas") from error
    return TraceFilter(
        kinds=kinds,
        agent=wanted.agent,
        camera=wanted.camera,
        stream=wanted.stream,
        since=wanted.since,
        until=wanted.until,
    )
