"""The annexes on record, and who has acknowledged the charter; each act with its entry, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from camera_registry.clock import Clock
from camera_registry.records import SessionMaker, count_change, settle, transaction
from ops import annexes
from ops import announcement_texts as texts
from ops.annexes import Annex, AnnexVersion, Document, MediaType
from ops.convention_store import announce
from ops.errors import AnnexRefused, UnknownItem
from ops.life_tables import AnnexRow, CharterRow
from ops.parties import Party

TracedVersion = Callable[[AnnexVersion], Awaitable[object]]
"""Makes the entry of an act durable, awaited last within its transaction."""


class AnnexStore:
    """In SQL. Every method raises StoreUnavailable, and what its ``traced`` raises: then nothing is done."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def inform(
        self,
        annex: Annex,
        *,
        party: Party,
        summary: str,
        reference: str | None,
        document: Document,
        by: str,
        delay: timedelta,
        effective_at: datetime | None,
        traced: TracedVersion,
    ) -> AnnexVersion:
        """Record a new version of which the co-contractant is informed. Raises AnnexRefused."""
        async with transaction(self._sessions) as session:
            await count_change(session)
            version = annexes.propose(
                annex,
                versions=await _versions(session, annex),
                party=party,
                summary=summary,
                reference=reference,
                document=document,
                by=by,
                now=self._clock.now(),
                delay=delay,
                effective_at=effective_at,
            )
            session.add(_row(version, document.content))
            announce(session, texts.annex_informed(version))
            await settle(session, lambda: traced(version))
        return version

    async def oppose(
        self, annex: Annex, version: int, *, party: Party, reason: str, traced: TracedVersion
    ) -> AnnexVersion:
        """Record the co-contractant's opposition. Raises UnknownItem, AnnexRefused."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await _one(session, annex, version)
            annexes.require_opposable(_version(row), party)
            row.opposed_at, row.opposed_by, row.opposition = now, party.value, reason
            opposed = _version(row)
            announce(session, texts.annex_opposed(opposed, now))
            await settle(session, lambda: traced(opposed))
        return opposed

    async def bring_into_force(self, traced: TracedVersion) -> list[AnnexVersion]:
        """Record the versions whose day has come, unopposed; returns them."""
        now = self._clock.now()
        waiting = select(AnnexRow).where(AnnexRow.in_force_at.is_(None), AnnexRow.opposed_at.is_(None))
        async with transaction(self._sessions) as session:
            if await session.scalar(waiting.where(AnnexRow.effective_at <= now).limit(1)) is None:
                return []
        begun = []
        async with transaction(self._sessions) as session:
            await count_change(session)
            for row in await session.scalars(waiting.order_by(AnnexRow.annex)):
                if annexes.comes_into_force(_version(row), now):
                    row.in_force_at = now
                    begun.append(_version(row))
            await session.flush()
            for version in begun:
                await traced(version)
        return begun

    async def acknowledge(self, agent: str, version: int, traced: TracedVersion) -> AnnexVersion:
        """Record that an agent has read the charter in force. Raises AnnexRefused for another version."""
        async with transaction(self._sessions) as session:
            await count_change(session)
            charter = annexes.served(await _versions(session, Annex.CHARTER))
            if charter is None or charter.version != version:
                raise AnnexRefused("Cette version de la charte n'est pas celle qui est en vigueur.")
            if await session.get(CharterRow, (agent, version)) is None:
                session.add(CharterRow(agent=agent, version=version, at=self._clock.now()))
                await settle(session, lambda: traced(charter))
        return charter

    async def has_acknowledged(self, agent: str, version: int) -> bool:
        """Whether an agent has acknowledged a version of the charter."""
        async with transaction(self._sessions) as session:
            return await session.get(CharterRow, (agent, version)) is not None

    async def list_all(self) -> list[AnnexVersion]:
        """Every version of every annex, the newest first."""
        newest_first = select(AnnexRow).order_by(AnnexRow.informed_at.desc(), AnnexRow.annex)
        async with transaction(self._sessions) as session:
            return [_version(row) for row in await session.scalars(newest_first)]

    async def document(self, annex: Annex, version: int) -> Document:
        """What a version says. Raises UnknownItem."""
        async with transaction(self._sessions) as session:
            row = await _one(session, annex, version)
            return Document(await _content(session, annex, version), MediaType(row.media_type))

    async def in_force(self, annex: Annex) -> tuple[AnnexVersion, Document] | None:
        """The version that is served, and what it says; None where there is none."""
        async with transaction(self._sessions) as session:
            return await served_document(session, annex)


async def served_document(session: AsyncSession, annex: Annex) -> tuple[AnnexVersion, Document] | None:
    """See :meth:`AnnexStore.in_force`, as of this transaction."""
    version = annexes.served(await _versions(session, annex))
    if version is None:
        return None
    return version, Document(await _content(session, annex, version.version), version.media_type)


async def charter_readers(session: AsyncSession, version: int) -> frozenset[str]:
    """The agents who have acknowledged a version of the charter."""
    return frozenset(await session.scalars(select(CharterRow.agent).where(CharterRow.version == version)))


async def _versions(session: AsyncSession, annex: Annex) -> list[AnnexVersion]:
    rows = await session.scalars(select(AnnexRow).where(AnnexRow.annex == annex.value).order_by(AnnexRow.version))
    return [_version(row) for row in rows]


async def _one(session: AsyncSession, annex: Annex, version: int) -> AnnexRow:
    row = await session.get(AnnexRow, (annex.value, version))
    if row is None:
        raise UnknownItem(f"{annex.value} v{version}")
    return row


async def _content(session: AsyncSession, annex: Annex, version: int) -> bytes:
    here = AnnexRow.annex == annex.value, AnnexRow.version == version
    return await session.scalar(select(AnnexRow.content).where(*here)) or b""


def _row(version: AnnexVersion, content: bytes) -> AnnexRow:
    return AnnexRow(
        annex=version.annex.value,
        version=version.version,
        party=version.party.value,
        summary=version.summary,
        reference=version.reference,
        media_type=version.media_type.value,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        content=content,
        informed_at=version.informed_at,
        informed_by=version.informed_by,
        effective_at=version.effective_at,
    )


def _version(row: AnnexRow) -> AnnexVersion:
    return AnnexVersion(
        annex=Annex(row.annex),
        version=row.version,
        party=Party(row.party),
        summary=row.summary,
        reference=row.reference,
        media_type=MediaType(row.media_type),
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        informed_at=row.informed_at,
        informed_by=row.informed_by,
        effective_at=row.effective_at,
        in_force_at=row.in_force_at,
        opposed_at=row.opposed_at,
        opposed_by=Party(row.opposed_by) if row.opposed_by is not None else None,
        opposition=row.opposition,
    )
