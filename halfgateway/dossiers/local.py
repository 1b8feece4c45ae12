"""The history as commands at the node's own machine use it: searched, extracted, proved and purged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from auth.trace import Draft, Entry, Journal, Kind, SignedCheckpoint, TraceFilter, TraceReader
from auth.trace.notes import handover_notes, key_name, read_keys
from auth.trace.retention import Retention, RetentionClass, kinds_of
from auth.trace.scopes import Scope, seen
from camera_registry.clock import rfc3339
from halfgateway.dossiers.elimination import Elimination
from halfgateway.dossiers.extract import MAX_EXTRACT_ENTRIES, Extract, extract_document, proven
from halfgateway.dossiers.incident import incident_proofs
from halfgateway.dossiers.proof import EntryDossier, entry_dossier
from halfgateway.dossiers.tables import Document
from halfgateway.errors import HalfGatewayError

_PAGE = 1_000


class TooManyEntries(HalfGatewayError):
    """More entries fit than one extract has."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of the history, by which scope, and the motive for seeing PP's agents, if one was given."""

    wanted: TraceFilter
    scope: Scope
    motive: str | None = None

    @property
    def unmasked(self) -> bool:
        """Whether PP's agents are seen."""
        return self.motive is not None

    def shown(self, entry: Entry) -> Entry | None:
        """Return an entry as the scope sees it; None where it does not, or where what was asked for is masked.

        Who is masked cannot be searched for either (L19).
        """
        shown = seen(entry, self.scope, unmasked=self.unmasked)
        if shown is None or any(
            asked not in (None, told)
            for asked, told in ((self.wanted.agent, shown.agent), (self.wanted.account, shown.account))
        ):
            return None
        return shown

    def to_json(self) -> dict[str, Any]:
        """Return what the entry of the reading says."""
        asked = {name: _plain(value) for name, value in asdict(self.wanted).items() if value is not None}
        return {"asked": asked, "scope": self.scope.value, **({"motive": self.motive} if self.motive else {})}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    return sorted(value) if isinstance(value, frozenset) else value


class ReadableTrace(Protocol):
    """A journal as its readers need it: the node's own, or what a command has beside a running node."""

    @property
    def node(self) -> str:
        """The node's name."""

    @property
    def folder(self) -> Path:
        """The journal's folder."""

    def reader(self) -> TraceReader:
        """Return a reader of what is durable."""

    async def write_checkpoint(self) -> object:
        """Have what was recorded signed. Raises TraceUnavailable."""


class History:
    """One node's journal; whoever calls has recorded who reads, and why."""

    def __init__(self, journal: ReadableTrace) -> None:
        self._journal = journal
        self._reader = journal.reader()

    async def entries(self, request: Request, *, limit: int) -> list[Entry]:
        """Return what fits, as the scope sees it, newest first. Raises TraceDamaged, TraceUnavailable."""
        found: list[Entry] = []
        async for entry in self._fitting(request):
            found.append(entry)
            if len(found) == limit:
                break
        return [shown for entry in found if (shown := request.shown(entry)) is not None]

    async def extract(self, request: Request) -> tuple[Extract, Document]:
        """Return everything that fits with its proofs, and as a document. Raises TooManyEntries."""
        found = []
        async for entry in self._fitting(request):
            found.append(entry)
            if len(found) > MAX_EXTRACT_ENTRIES:
                raise TooManyEntries(f"un extrait a {MAX_EXTRACT_ENTRIES} entrées au plus : précisez la période")
        await self._journal.write_checkpoint()
        head = await self._checkpoint(None)
        entries = await proven(self._reader, found, head, request.scope, unmasked=request.unmasked)
        asked = ", ".join(f"{name} = {value}" for name, value in request.to_json()["asked"].items())
        extract = Extract(self._journal.node, head, entries, request.scope, asked)
        return extract, extract_document(extract)

    async def dossier(self, n: int, *, at: int | None, earlier: int | None, opened: bool) -> EntryDossier:
        """Return the dossier of an entry. Raises HalfGatewayError where there is no such entry or checkpoint."""
        if at is None:
            await self._journal.write_checkpoint()
        keys = tuple(read_keys(self._journal.folder / key_name(self._journal.node)))
        handovers = await asyncio.to_thread(handover_notes, self._journal.folder)
        older = await self._checkpoint(earlier) if earlier is not None else None
        head = await self._checkpoint(at)
        try:
            return await entry_dossier(self._reader, n, head, keys, opened=opened, earlier=older, handovers=handovers)
        except ValueError as error:
            raise HalfGatewayError(
                f"l'entrée n° {n} n'est pas sous un point de contrôle de {head.checkpoint.size} entrées"
            ) from error

    async def of_incident(self, incident: str) -> list[EntryDossier]:
        """Prove every entry that names an incident. Raises TraceDamaged, TraceUnavailable, HalfGatewayError."""
        await self._journal.write_checkpoint()
        keys = tuple(read_keys(self._journal.folder / key_name(self._journal.node)))
        return await incident_proofs(self._reader, incident, await self._checkpoint(None), keys)

    async def _fitting(self, request: Request) -> AsyncIterator[Entry]:
        """Yield what fits and is seen, as it was written."""
        cursor: str | None = None
        while True:
            page = await self._reader.entries(request.wanted, limit=_PAGE, cursor=cursor)
            for entry in page.items:
                if request.shown(entry) is not None:
                    yield entry
            if page.next is None:
                return
            cursor = page.next

    async def _checkpoint(self, size: int | None) -> SignedCheckpoint:
        """Return the checkpoint of a size, or the latest. Raises HalfGatewayError."""
        cursor: str | None = None
        while True:
            page = await self._reader.checkpoints(limit=_PAGE, cursor=cursor)
            for signed in page.items:
                if size in (None, signed.checkpoint.size):
                    return signed
            if page.next is None:
                raise HalfGatewayError(f"aucun point de contrôle de {size} entrées")
            cursor = page.next


async def eliminate(
    journal: Journal,
    draft: Draft,
    wanted: RetentionClass,
    *,
    older_than_days: int,
    visa: str,
    retention: Retention,
    now: datetime,
) -> Elimination | None:
    """Eliminate a class past its time; None where there is nothing. Raises PurgeRefused, TraceUnavailable."""
    before = now - timedelta(days=older_than_days)
    retention.check(wanted, before, now)
    order = purge_order(draft, wanted, visa=visa, decision=retention.decision or "")
    entry = await journal.purge(order, frozenset(kind.code for kind in kinds_of(wanted)), before)
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
