"""The API's view of this node's trace: each reader sees what its scope allows (T11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from auth.errors import PurgeRefused
from auth.principals import Principal
from auth.trace import Draft, Entry, Journal, Kind, SignedCheckpoint, TraceDamaged
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.reader import TraceFilter
from auth.trace.retention import Retention, RetentionClass, kinds_of
from auth.trace.scopes import Scope, seen
from camera_registry.clock import Clock
from halfgateway.api import ports
from halfgateway.api.operation import Forbidden
from halfgateway.api.ports import Page
from halfgateway.api.shapes import Checkpoint, Consistency, Proof
from halfgateway.dossiers.elimination import Elimination
from halfgateway.dossiers.extract import MAX_EXTRACT_ENTRIES, Extract, extract_document, proven
from halfgateway.dossiers.tables import TableFormat, write_table
from halfgateway.errors import InvalidRequest, TraceUnavailable

_UNREADABLE = "Le journal ne peut être lu."


class HistoryService:
    """Fills :class:`~halfgateway.api.ports.TraceHistory` for the one node whose journal it reads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._reader = journal.reader()

    async def entries(
        self, viewer: Principal, wanted: ports.TraceFilter, *, limit: int, cursor: str | None
    ) -> Page[Entry]:
        """See the port."""
        scope = scope_of(viewer)
        page = await self._page(wanted, limit=limit, cursor=cursor)
        shown = (seen(entry, scope, unmasked=wanted.unmasked) for entry in page.items)
        return Page([entry for entry in shown if entry is not None and _still_fits(entry, wanted)], page.next)

    async def checkpoints(self, viewer: Principal) -> Sequence[Checkpoint]:
        """See the port."""
        latest = await self._latest()
        return [Checkpoint(**latest.to_json())] if latest is not None else []

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
            raise TraceUnavailable(_UNREADABLE) from error
        members = proof.to_json()
        return Proof(**{name: members[name] for name in Proof.model_fields})

    async def consistency(self, viewer: Principal, *, node: str, first: int, second: int) -> Consistency | None:
        """See the port."""
        if node != self._journal.node:
            return None
        try:
            return Consistency(**(await self._reader.prove_consistency(first, second)).to_json())
        except ValueError:
            return None
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable(_UNREADABLE) from error

    async def extract(self, viewer: Principal, wanted: ports.TraceFilter, form: TableFormat, *, asked: str) -> bytes:
        """See the port."""
        scope = scope_of(viewer)
        found: list[Entry] = []
        cursor: str | None = None
        while True:
            page = await self._page(wanted, limit=1_000, cursor=cursor)
            for entry in page.items:
                shown = seen(entry, scope, unmasked=wanted.unmasked)
                if shown is not None and _still_fits(shown, wanted):
                    found.append(entry)
            if len(found) > MAX_EXTRACT_ENTRIES:
                raise InvalidRequest(f"Un extrait a {MAX_EXTRACT_ENTRIES} entrées au plus : précisez la période.")
            cursor = page.next
            if cursor is None:
                break
        try:
            await self._journal.write_checkpoint()
            head = await self._latest()
            if head is None:
                raise TraceUnavailable(_UNREADABLE)
            entries = await proven(self._reader, found, head, scope, unmasked=wanted.unmasked)
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable(_UNREADABLE) from error
        document = extract_document(Extract(self._journal.node, head, entries, scope, asked))
        return await self._reader.in_thread(lambda: write_table(document, form))

    async def _page(self, wanted: ports.TraceFilter, *, limit: int, cursor: str | None) -> Page[Entry]:
        if wanted.node not in {None, self._journal.node}:
            return Page([])
        try:
            found = await self._reader.entries(_filter(wanted), limit=limit, cursor=cursor)
        except ValueError as error:
            raise InvalidRequest("cursor : inconnu") from error
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable(_UNREADABLE) from error
        return Page(found.items, found.next)

    async def _latest(self) -> SignedCheckpoint | None:
        try:
            latest = await self._reader.checkpoints(limit=1)
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable(_UNREADABLE) from error
        return latest.items[0] if latest.items else None


@dataclass(frozen=True, slots=True)
class PurgeService:
    """Fills :class:`~halfgateway.api.ports.TracePurge` for this node's journal, within the decided durations (L17)."""

    journal: Journal
    retention: Retention
    clock: Clock

    async def purge(
        self, draft: Draft, wanted: RetentionClass, *, older_than_days: int, visa: str
    ) -> Elimination | None:
        """See the port."""
        now = self.clock.now()
        before = now - timedelta(days=older_than_days)
        try:
            self.retention.check(wanted, before, now)
        except PurgeRefused as refused:
            raise InvalidRequest(str(refused)) from refused
        order = purge_order(draft, wanted, visa=visa, decision=self.retention.decision or "")
        try:
            entry = await self.journal.purge(order, frozenset(kind.code for kind in kinds_of(wanted)), before)
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable("Le journal ne peut être purgé.") from error
        return None if entry is None else Elimination.of(entry)


def purge_order(draft: Draft, wanted: RetentionClass, *, visa: str, decision: str) -> Draft:
    """Return the ``trace.purged`` entry that a purge begins with, on behalf of whom ``draft`` names."""
    return Draft(
        kind=Kind.TRACE_PURGED,
        agent=draft.agent,
        account=draft.account,
        attribution=draft.attribution,
        source=draft.source,
        detail={"class": wanted.value, "visa": visa, "decision": decision},
    )


def scope_of(viewer: Principal) -> Scope:
    """Return whose auditor reads. Raises Forbidden where the account has no scope: it sees nothing."""
    try:
        return Scope(viewer.scope or "")
    except ValueError as error:
        raise Forbidden("Ce compte d'auditeur n'a pas de périmètre.") from error


def _still_fits(shown: Entry, wanted: ports.TraceFilter) -> bool:
    """Tell whether an entry fits as it is shown: who is masked cannot be searched for either (L19)."""
    return (wanted.agent is None or shown.agent == wanted.agent) and (
        wanted.account is None or shown.account == wanted.account
    )


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
        account=wanted.account,
        camera=wanted.camera,
        stream=wanted.stream,
        incident=wanted.incident,
        since=wanted.since,
        until=wanted.until,
    )
