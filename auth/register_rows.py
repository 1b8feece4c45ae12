"""Between the register's records and their rows, and all of them at once for a node's view."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import ip_network
from uuid import uuid4

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.accounts import fallen_names
from auth.assertion_tables import AssertionKeyRow
from auth.principals import Role
from auth.reservation_tables import ReservationRow
from auth.rights import Action, Administration, Block, BlockKind, Designation, Habilitation, Reservation, Rights
from auth.tables import AccountRow, BlockRow, CertificateRow, ConfirmationRow, DesignationRow, HabilitationRow
from camera_registry.order_store import perimeter_from, perimeter_text, recorded_orders
from camera_registry.records import revision

REMEMBERED = timedelta(days=1)
"""For how long a view still holds what has ended: who asks meanwhile is told that it ended, not that it never was."""


async def read_rights(session: AsyncSession, now: datetime, sites: frozenset[str]) -> Rights:
    """Read who may, as of this transaction. The revision is read first: what changes meanwhile is read again."""
    number = await revision(session)
    recent = now - REMEMBERED
    designations = await session.scalars(
        select(DesignationRow)
        .where(or_(DesignationRow.ended_at.is_(None), DesignationRow.ended_at > recent))
        .order_by(DesignationRow.recorded_at)
    )
    habilitations = await session.scalars(
        select(HabilitationRow).where(or_(HabilitationRow.ended_at.is_(None), HabilitationRow.ended_at > recent))
    )
    blocks = await session.scalars(select(BlockRow).where(BlockRow.lifted_at.is_(None)))
    ended = await session.scalars(select(AccountRow.id).where(AccountRow.ended_at.is_not(None)))
    revoked = await session.scalars(select(AssertionKeyRow.kid).where(AssertionKeyRow.revoked_at.is_not(None)))
    fallen = await session.scalars(select(CertificateRow).where(CertificateRow.falls > 0))
    reservations = await session.scalars(open_reservations())
    orders = [each.order for each in await recorded_orders(session)]
    return Rights(
        designations={row.agent: designation_from(row) for row in designations},
        habilitations=tuple(habilitation_from(row, None) for row in habilitations),
        orders=tuple(order for order in orders if order.withdrawn_at is None or order.withdrawn_at > recent),
        blocks=tuple(block_from(row) for row in blocks),
        sites=sites,
        ended_accounts=frozenset(ended),
        revoked_assertion_keys=frozenset(revoked),
        fallen_certificates=frozenset(name for row in fallen for name in fallen_names(row)),
        reservations=tuple(map(reservation_from, reservations)),
        revision=number,
    )


async def confirmations_of(session: AsyncSession) -> Mapping[str, datetime]:
    """When each habilitation was last confirmed."""
    last = select(ConfirmationRow.habilitation_id, func.max(ConfirmationRow.at)).group_by(
        ConfirmationRow.habilitation_id
    )
    return dict(iter(await session.execute(last)))


def open_reservations() -> Select[ReservationRow]:
    """The reservations that were not ended, oldest first."""
    return (
        select(ReservationRow)
        .where(ReservationRow.ended_at.is_(None))
        .order_by(ReservationRow.made_at, ReservationRow.id)
    )


def reservation_row(reservation: Reservation) -> ReservationRow:
    """Write a reservation."""
    return ReservationRow(
        id=reservation.id,
        service=reservation.service,
        slots=reservation.slots,
        until=reservation.until,
        made_at=reservation.made_at,
        made_by=reservation.made_by,
        passed_from=reservation.passed_from,
    )


def reservation_from(row: ReservationRow) -> Reservation:
    """Read a reservation."""
    return Reservation(
        id=row.id,
        service=row.service,
        slots=row.slots,
        until=row.until,
        made_at=row.made_at,
        made_by=row.made_by,
        passed_from=row.passed_from,
    )


def designation_row(designation: Designation) -> DesignationRow:
    """Write a designation."""
    return DesignationRow(
        id=uuid4().hex,
        agent=designation.agent,
        administration=designation.administration.value,
        service=designation.service,
        authority=designation.authority,
        reference=designation.reference,
        start=designation.start,
        end=designation.end,
        recorded_at=designation.recorded_at,
        recorded_by=designation.recorded_by,
    )


def designation_from(row: DesignationRow) -> Designation:
    """Read a designation."""
    return Designation(
        agent=row.agent,
        administration=Administration(row.administration),
        service=row.service,
        authority=row.authority,
        reference=row.reference,
        start=row.start,
        end=row.end,
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
        ended_at=row.ended_at,
        ended_reason=row.ended_reason,
        ended_reference=row.ended_reference,
    )


def habilitation_row(habilitation: Habilitation) -> HabilitationRow:
    """Write a habilitation."""
    return HabilitationRow(
        id=habilitation.id,
        agent=habilitation.agent,
        role=habilitation.role.value,
        territory=perimeter_text(habilitation.territory),
        actions=" ".join(sorted(habilitation.actions)),
        sources=json.dumps([str(network) for network in habilitation.sources]),
        start=habilitation.start,
        end=habilitation.end,
        authority=habilitation.authority,
        reference=habilitation.reference,
        recorded_at=habilitation.recorded_at,
        recorded_by=habilitation.recorded_by,
    )


def habilitation_from(row: HabilitationRow, confirmed_at: datetime | None) -> Habilitation:
    """Read a habilitation."""
    return Habilitation(
        id=row.id,
        agent=row.agent,
        role=Role(row.role),
        territory=perimeter_from(row.territory),
        actions=frozenset(map(Action, row.actions.split())),
        sources=tuple(map(ip_network, json.loads(row.sources))),
        start=row.start,
        end=row.end,
        authority=row.authority,
        reference=row.reference,
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
        confirmed_at=confirmed_at,
        ended_at=row.ended_at,
        ended_reason=row.ended_reason,
        ended_reference=row.ended_reference,
    )


def block_row(block: Block) -> BlockRow:
    """Write a block."""
    return BlockRow(
        id=block.id,
        kind=block.kind.value,
        subject=block.subject,
        ground=block.ground,
        reason=block.reason,
        set_at=block.set_at,
        set_by=block.set_by,
        expires_at=block.expires_at,
    )


def block_from(row: BlockRow) -> Block:
    """Read a block."""
    return Block(
        id=row.id,
        kind=BlockKind(row.kind),
        subject=row.subject,
        ground=row.ground,
        reason=row.reason,
        set_at=row.set_at,
        set_by=row.set_by,
        expires_at=row.expires_at,
    )
