"""The register of who may: designations, habilitations and blocks, recorded, ended, never edited (C09).

Two administrations keep their own people: what SYN records of PP's agents is PP's own decision, with its reference, and
SYN ends a designation of PP's only where PP has ended it. A person of PP who is to be kept out at once is blocked.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import RegisterRuleError, UnknownRecordError
from auth.principals import Role
from auth.records import SessionMaker, transaction
from auth.register_rows import (
    block_from,
    block_row,
    confirmations_of,
    designation_from,
    designation_row,
    habilitation_from,
    habilitation_row,
)
from auth.rights import LOCAL, Administration, Block, Designation, Habilitation
from auth.tables import BlockRow, ConfirmationRow, DesignationRow, HabilitationRow
from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from camera_registry.records import count_change, settle

ROLES_OF = {
    Administration.PP: frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.MACHINE, Role.AUDITOR}),
    Administration.SYN: frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR}),
}
"""The roles that each administration's agents may have."""

Record: TypeAlias = Callable[[Draft], Awaitable[object]]
"""Writes an entry; it is durable when this returns."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, and from where; ``agent`` is None for an account of the machine itself."""

    account: str
    source: str
    agent: str | None = None


_THE_CALENDAR = Actor(account="calendar", source=LOCAL)
"""Who ends what ends by its date."""


class Register:
    """Designations, habilitations and blocks in SQL; each method is one transaction, traced before it takes effect.

    Every method raises RecordsUnavailableError, and what ``record`` raises: then nothing has changed.
    """

    def __init__(self, sessions: SessionMaker, clock: Clock, *, record: Record) -> None:
        self._sessions = sessions
        self._clock = clock
        self._record = record

    async def designate(
        self,
        designations: Sequence[Designation],
        habilitations: Sequence[Habilitation] = (),
        *,
        by: Actor,
        proof: dict[str, str] | None = None,
    ) -> None:
        """Record designations, and habilitations of these agents, all or none.

        A designation whose end has passed gives way to a new one, and its habilitations end with it. ``proof`` is what
        the entries say of a signed list.

        Raises:
            RegisterRuleError: an agent is designated already, or a habilitation is not one of their administration's.
        """
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            for designation in designations:
                _require_dates(designation.start, designation.end)
                await self._close_lapsed(session, designation.agent, now)
            session.add_all(map(designation_row, designations))
            await _flush_designations(session, designations)
            for habilitation in habilitations:
                await self._require_grantable(session, habilitation)
                session.add(habilitation_row(habilitation))
            drafts = [_designated(each, by, proof) for each in designations]
            drafts += [_granted(each, by, proof) for each in habilitations]
            await self._settle(session, drafts)

    async def end_designation(
        self, agent: str, *, reason: str, by: Actor, reference: str | None = None
    ) -> list[Habilitation]:
        """End an agent's designation, and every habilitation with it; returns these.

        Raises:
            UnknownRecordError: the agent has no designation.
            RegisterRuleError: the agent is PP's, and no reference of PP's own decision is given.
        """
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await self._designation_of(session, agent)
            _require_own_decision(Administration(row.administration), reference)
            _end(row, now, by, reason, reference)
            ended = await self._end_habilitations(session, agent, now, by, "designation-ended", reference)
            detail = {"reason": reason, "reference": reference, "administration": row.administration}
            drafts = [_draft(Kind.AGENT_ENDED, agent, by, detail)]
            drafts += [_ended(each, by) for each in ended]
            await self._settle(session, drafts)
            return ended

    async def grant(self, habilitation: Habilitation, *, by: Actor) -> None:
        """Record a habilitation.

        Raises:
            UnknownRecordError: the agent has no designation.
            RegisterRuleError: the role is not one of their administration's, or the dates are none.
        """
        async with transaction(self._sessions) as session:
            await count_change(session)
            await self._require_grantable(session, habilitation)
            session.add(habilitation_row(habilitation))
            await self._settle(session, [_granted(habilitation, by, None)])

    async def end_habilitation(
        self, habilitation_id: str, *, reason: str, by: Actor, reference: str | None = None
    ) -> Habilitation:
        """End one habilitation.

        Raises:
            UnknownRecordError: there is none that has not ended.
            RegisterRuleError: the agent is PP's, and no reference of PP's own decision is given.
        """
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await self._open_habilitation(session, habilitation_id)
            designation = await self._designation_of(session, row.agent)
            _require_own_decision(Administration(designation.administration), reference)
            _end(row, self._clock.now(), by, reason, reference)
            ended = habilitation_from(row, None)
            await self._settle(session, [_ended(ended, by)])
            return ended

    async def confirm(self, habilitation_id: str, *, reference: str, by: Actor) -> None:
        """Note that a review found a habilitation still needed. Raises UnknownRecordError."""
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await self._open_habilitation(session, habilitation_id)
            session.add(
                ConfirmationRow(
                    id=uuid4().hex,
                    habilitation_id=row.id,
                    at=self._clock.now(),
                    confirmed_by=by.account,
                    reference=reference,
                )
            )
            detail = {"habilitation": row.id, "reference": reference}
            await self._settle(session, [_draft(Kind.HABILITATION_CONFIRMED, row.agent, by, detail)])

    async def block(self, block: Block, *, by: Actor) -> None:
        """Keep an agent, a service, a camera or a viewing site out from now on."""
        async with transaction(self._sessions) as session:
            await count_change(session)
            session.add(block_row(block))
            await self._settle(session, [_block_draft(Kind.BLOCK_SET, block, by, {"reason": block.reason})])

    async def lift(self, block_id: str, *, reason: str, by: Actor) -> None:
        """Lift a block. Raises UnknownRecordError."""
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await session.get(BlockRow, block_id)
            if row is None or row.lifted_at is not None:
                raise UnknownRecordError(block_id)
            row.lifted_at, row.lifted_by, row.lifted_reason = self._clock.now(), by.account, reason
            await self._settle(session, [_block_draft(Kind.BLOCK_LIFTED, block_from(row), by, {"reason": reason})])

    async def close_expired_blocks(self) -> list[str]:
        """Note the end of blocks that have expired, each once whatever node sees it first; returns their ids."""
        now = self._clock.now()
        expired = select(BlockRow).where(BlockRow.lifted_at.is_(None), BlockRow.expires_at <= now)
        async with transaction(self._sessions) as session:
            await count_change(session)
            rows = list(await session.scalars(expired))
            for row in rows:
                row.lifted_at, row.lifted_reason = row.expires_at, "expired"
            drafts = [_block_draft(Kind.BLOCK_EXPIRED, block_from(row), _THE_CALENDAR, {}) for row in rows]
            await self._settle(session, drafts)
            return [row.id for row in rows]

    async def designations(self) -> list[Designation]:
        """Return every designation there ever was, newest first."""
        newest_first = select(DesignationRow).order_by(DesignationRow.recorded_at.desc(), DesignationRow.id)
        async with transaction(self._sessions) as session:
            return [designation_from(row) for row in await session.scalars(newest_first)]

    async def habilitations(self) -> list[Habilitation]:
        """Return every habilitation there ever was, newest first."""
        newest_first = select(HabilitationRow).order_by(HabilitationRow.recorded_at.desc(), HabilitationRow.id)
        async with transaction(self._sessions) as session:
            confirmed = await confirmations_of(session)
            return [habilitation_from(row, confirmed.get(row.id)) for row in await session.scalars(newest_first)]

    async def blocks(self) -> list[Block]:
        """Return the blocks that were not lifted, newest first."""
        open_blocks = select(BlockRow).where(BlockRow.lifted_at.is_(None)).order_by(BlockRow.set_at.desc(), BlockRow.id)
        async with transaction(self._sessions) as session:
            return [block_from(row) for row in await session.scalars(open_blocks)]

    async def _settle(self, session: AsyncSession, drafts: Sequence[Draft]) -> None:
        async def witness() -> None:
            await asyncio.gather(*map(self._record, drafts))

        await settle(session, witness)

    async def _designation_of(self, session: AsyncSession, agent: str) -> DesignationRow:
        current = select(DesignationRow).where(DesignationRow.agent == agent, DesignationRow.ended_at.is_(None))
        row = await session.scalar(current)
        if row is None:
            raise UnknownRecordError(agent)
        return row

    async def _open_habilitation(self, session: AsyncSession, habilitation_id: str) -> HabilitationRow:
        row = await session.get(HabilitationRow, habilitation_id)
        if row is None or row.ended_at is not None:
            raise UnknownRecordError(habilitation_id)
        return row

    async def _require_grantable(self, session: AsyncSession, habilitation: Habilitation) -> None:
        _require_dates(habilitation.start, habilitation.end)
        designation = await self._designation_of(session, habilitation.agent)
        administration = Administration(designation.administration)
        if habilitation.role not in ROLES_OF[administration]:
            raise RegisterRuleError(f"Le rôle {habilitation.role} n'est pas ouvert aux agents de {administration}.")

    async def _close_lapsed(self, session: AsyncSession, agent: str, now: datetime) -> None:
        """End a designation whose foreseen end has passed: what hung on it does not come back with the next."""
        current = select(DesignationRow).where(DesignationRow.agent == agent, DesignationRow.ended_at.is_(None))
        row = await session.scalar(current)
        if row is None or row.end is None or now < row.end:
            return
        _end(row, row.end, _THE_CALENDAR, "lapsed", None)
        await self._end_habilitations(session, agent, row.end, _THE_CALENDAR, "lapsed", None)
        await session.flush()

    async def _end_habilitations(
        self, session: AsyncSession, agent: str, at: datetime, by: Actor, reason: str, reference: str | None
    ) -> list[Habilitation]:
        running = select(HabilitationRow).where(HabilitationRow.agent == agent, HabilitationRow.ended_at.is_(None))
        rows = list(await session.scalars(running))
        for row in rows:
            _end(row, at, by, reason, reference)
        return [habilitation_from(row, None) for row in rows]


def new_habilitation_id() -> str:
    """Draw the id of a new habilitation: short enough to be typed."""
    return f"h-{secrets.token_hex(5)}"


def new_block_id() -> str:
    """Draw the id of a new block."""
    return f"b-{secrets.token_hex(5)}"


def _end(row: DesignationRow | HabilitationRow, at: datetime, by: Actor, reason: str, reference: str | None) -> None:
    row.ended_at, row.ended_by, row.ended_reason, row.ended_reference = at, by.account, reason, reference


async def _flush_designations(session: AsyncSession, designations: Sequence[Designation]) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        names = ", ".join(designation.agent for designation in designations)
        raise RegisterRuleError(f"Une désignation est déjà en vigueur : {names}.") from error


def _require_dates(start: datetime, end: datetime | None) -> None:
    if end is not None and end <= start:
        raise RegisterRuleError("La fin n'est pas postérieure au début.")


def _require_own_decision(administration: Administration, reference: str | None) -> None:
    if administration is Administration.PP and not reference:
        raise RegisterRuleError(
            "Seule la Préfecture de police met fin aux droits de ses agents : la référence de sa décision est requise "
            "(article 6). Un blocage écarte un agent sans délai."
        )


def _draft(kind: Kind, agent: str | None, by: Actor, detail: dict[str, Any]) -> Draft:
    about = {"by": by.agent, **detail}
    return Draft(
        kind=kind,
        agent=agent,
        account=by.account,
        source=by.source,
        detail={name: value for name, value in about.items() if value is not None},
    )


def _designated(designation: Designation, by: Actor, proof: dict[str, str] | None) -> Draft:
    detail = {
        "administration": designation.administration.value,
        "service": designation.service,
        "authority": designation.authority,
        "reference": designation.reference,
        "start": rfc3339(designation.start),
        "end": designation.end and rfc3339(designation.end),
        "list": proof,
    }
    return _draft(Kind.AGENT_ADDED, designation.agent, by, detail)


def _granted(habilitation: Habilitation, by: Actor, proof: dict[str, str] | None) -> Draft:
    territory = habilitation.territory
    detail = {
        "habilitation": habilitation.id,
        "role": habilitation.role.value,
        "communes": sorted(territory.communes),
        "sites": sorted(territory.sites),
        "cameras": sorted(territory.cameras),
        "actions": sorted(habilitation.actions),
        "sources": [str(network) for network in habilitation.sources],
        "authority": habilitation.authority,
        "reference": habilitation.reference,
        "start": rfc3339(habilitation.start),
        "end": habilitation.end and rfc3339(habilitation.end),
        "list": proof,
    }
    return _draft(Kind.HABILITATION_GRANTED, habilitation.agent, by, detail)


def _ended(habilitation: Habilitation, by: Actor) -> Draft:
    detail = {
        "habilitation": habilitation.id,
        "role": habilitation.role.value,
        "reason": habilitation.ended_reason,
        "reference": habilitation.ended_reference,
    }
    return _draft(Kind.HABILITATION_ENDED, habilitation.agent, by, detail)


def _block_draft(kind: Kind, block: Block, by: Actor, detail: dict[str, Any]) -> Draft:
    about = {
        "block": block.id,
        "of": block.kind.value,
        "subject": block.subject,
        "ground": block.ground,
        "expires": block.expires_at and rfc3339(block.expires_at),
        **detail,
    }
    return _draft(kind, None, by, about)
