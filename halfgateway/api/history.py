"""The API's view of this node's trace: each reader sees what its scope allows (T11)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auth.errors import PurgeRefused
from auth.principals import Principal
from auth.trace import Draft, Entry, Journal, Kind, SignedCheckpoint, TraceDamaged
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.reader import TraceFilter
from auth.trace.retention import Retention, RetentionClass
from auth.trace.scopes import Scope
from camera_registry.clock import Clock
from halfgateway.api import ports
from halfgateway.api.operation import Forbidden
from halfgateway.api.ports import Page
from halfgateway.api.shapes import Checkpoint, Proof
from halfgateway.api.trace_shapes import Consistency, Cosignature
from halfgateway.control.anchoring import Anchoring
from halfgateway.dossiers.elimination import Elimination
from halfgateway.dossiers.local import History, Request, TooManyEntries, eliminate
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
        request = _request(viewer, wanted)
        return await self._page(wanted, request, limit=limit, cursor=cursor)

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
        request = _request(viewer, wanted)
        if wanted.node not in {None, self._journal.node}:
            raise InvalidRequest("node : ce nœud n'a pas de journal ici")
        try:
            _, document = await History(self._journal).extract(request)
        except TooManyEntries as error:
            raise InvalidRequest(str(error)) from error
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable(_UNREADABLE) from error
        return await self._reader.in_thread(lambda: write_table(document, form))

    async def _page(
        self, wanted: ports.TraceFilter, request: Request, *, limit: int, cursor: str | None
    ) -> Page[Entry]:
        if wanted.node not in {None, self._journal.node}:
            return Page([])
        try:
            found = await self._reader.entries(request.wanted, limit=limit, cursor=cursor, show=request.shown)
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
    """Fills :class:`~halfgateway.api.ports.TracePurge` for this node's journal, within what is decided now (L17)."""

    journal: Journal
    retention: Callable[[], Retention]
    clock: Clock

    async def purge(
        self, draft: Draft, wanted: RetentionClass, *, older_than_days: int, visa: str
    ) -> Elimination | None:
        """See the port."""
        try:
            return await eliminate(
                self.journal,
                draft,
                wanted,
                older_than_days=older_than_days,
                visa=visa,
                retention=self.retention(),
                now=self.clock.now(),
            )
        except PurgeRefused as refused:
            raise InvalidRequest(str(refused)) from refused
        except (TraceDamaged, JournalUnavailable) as error:
            raise TraceUnavailable("Le journal ne peut être purgé.") from error


@dataclass(frozen=True, slots=True)
class AnchorService:
    """Fills :class:`~halfgateway.api.ports.Anchors` for this node's journal."""

    anchoring: Anchoring
    node: str

    async def cosign(self, note: str, draft: Draft) -> Cosignature:
        """See the port."""
        taken = await self.anchoring.accept(note, draft)
        return Cosignature(node=self.node, size=taken.size, cosigner=taken.name, at=taken.at)

    async def statement(self) -> str:
        """See the port."""
        return await self.anchoring.daily_text()


def scope_of(viewer: Principal) -> Scope:
    """Return whose auditor reads. Raises Forbidden where the account has no scope: it sees nothing."""
    try:
        return Scope(viewer.scope or "")
    except ValueError as error:
        raise Forbidden("Ce compte d'auditeur n'a pas de périmètre.") from error


def _request(viewer: Principal, wanted: ports.TraceFilter) -> Request:
    return Request(_filter(wanted), scope_of(viewer), wanted.motive)


def _filter(wanted: ports.TraceFilter) -> TraceFilter:
    """The journal's own filter; a kind that does not exist matches nothing, which is said."""
    return TraceFilter(
        kinds=_kinds(wanted.kind) if wanted.kind is not None else None,
        agent=wanted.agent,
        account=wanted.account,
        camera=wanted.camera,
        stream=wanted.stream,
        incident=wanted.incident,
        since=wanted.since,
        until=wanted.until,
    )


def _kinds(wanted: str) -> frozenset[Kind]:
    """The kind of this name, or all of a subject (``export.*``). Raises InvalidRequest."""
    subject, star, _ = wanted.partition("*")
    kinds = frozenset(kind for kind in Kind if (kind.startswith(subject) if star else kind.value == wanted))
    if not kinds:
        raise InvalidRequest(f"kind : {wanted} n'existe pas")
    return kinds
