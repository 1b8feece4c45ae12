"""Break-glass credentials: numbered, sealed, printed once, an hour long from their first use (C21).

Whoever opens the envelope logs in as an account of its own, ``break-glass-N``, without a second factor; it is
alarmed, and a report is due. Only SYN's roles have them: nothing stands in for a card (S05).
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update

from auth.credential_tables import BreakGlassRow
from auth.errors import AuthenticationError, AuthError, FailureReason
from auth.passwords import Passwords
from auth.principals import Role
from auth.records import SessionMaker, transaction
from auth.sealing import RandomBytes
from auth.tables import AccountRow, LoginSessionRow
from camera_registry.clock import Clock

LASTS = timedelta(hours=1)
"""From the first use to the end of whatever was opened with it."""

ROLES = frozenset({Role.OPS, Role.OFFICER, Role.AUDITOR})

PREFIX = "break-glass-"

_SECRET_BYTES = 20
"""160 bits in base32, 32 characters, which can be typed from paper."""

Traced = Callable[[int], Awaitable[object]]
"""Writes the entry of a change to the credential of this number, within the change."""


class BreakGlassError(AuthError):
    """No such credential, or not one of which this can be asked now; the text says which, in French."""


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """A sealed credential as the register shows it."""

    number: int
    account: str
    role: Role
    issued_at: datetime
    issued_by: str
    first_used_at: datetime | None
    ended_at: datetime | None
    reported_at: datetime | None
    report: str | None

    @property
    def report_due(self) -> bool:
        """Whether it was used, and nobody has said yet what for."""
        return self.first_used_at is not None and self.reported_at is None


class BreakGlassRegister:
    """The sealed credentials in SQL; every method raises RecordsUnavailableError while it does not answer."""

    def __init__(
        self, sessions: SessionMaker, passwords: Passwords, clock: Clock, *, random_bytes: RandomBytes
    ) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._clock = clock
        self._random_bytes = random_bytes

    async def issue(self, role: Role, *, by: str, traced: Traced) -> tuple[BreakGlass, str]:
        """Make a credential of the next number and return it with its secret, which is nowhere else.

        Raises:
            BreakGlassError: the role has none.
        """
        if role not in ROLES:
            raise BreakGlassError("Aucun accès de secours n'existe pour ce rôle : la carte ne se remplace pas.")
        secret = base64.b32encode(self._random_bytes(_SECRET_BYTES)).decode()
        secret_hash = await self._passwords.hash(secret)
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            number = (await session.scalar(select(func.max(BreakGlassRow.number))) or 0) + 1
            account = f"{PREFIX}{number}"
            session.add(AccountRow(id=account, role=role.value, password_hash=secret_hash, created_at=now))
            row = BreakGlassRow(number=number, account_id=account, role=role.value, issued_at=now, issued_by=by)
            session.add(row)
            await session.flush()
            await traced(number)
            return _record(row), secret

    async def use(self, account_id: str) -> tuple[BreakGlass, datetime]:
        """Begin its hour, or go on within it; returns the instant at which that ends.

        Raises:
            AuthenticationError: its hour has passed.
        """
        now = self._clock.now()
        its_own = BreakGlassRow.account_id == account_id
        begin = update(BreakGlassRow).where(its_own, BreakGlassRow.first_used_at.is_(None)).values(first_used_at=now)
        async with transaction(self._sessions) as session:
            await session.execute(begin)
            row = await session.scalar(select(BreakGlassRow).where(its_own))
            if row is None or row.ended_at is not None or row.first_used_at is None:
                raise AuthenticationError(FailureReason.BREAK_GLASS_OVER, account=account_id)
            ends_at = row.first_used_at + LASTS
            if now >= ends_at:
                raise AuthenticationError(FailureReason.BREAK_GLASS_OVER, account=account_id)
            return _record(row), ends_at

    async def end_what_is_over(self, traced: Traced) -> list[BreakGlass]:
        """Mark the credentials whose hour has passed as ended, and return those that this call has marked."""
        now = self._clock.now()
        over = (BreakGlassRow.first_used_at <= now - LASTS, BreakGlassRow.ended_at.is_(None))
        end = update(BreakGlassRow).where(*over).values(ended_at=now)
        async with transaction(self._sessions) as session:
            ended = [_record(row) for row in await session.scalars(end.returning(BreakGlassRow))]
            for sealed in ended:
                await traced(sealed.number)
        return ended

    async def end_use(self, number: int, traced: Traced) -> None:
        """End a credential's hour before its time, and what it has logged in; there is no error where none runs."""
        running = (BreakGlassRow.first_used_at.is_not(None), BreakGlassRow.ended_at.is_(None))
        end = update(BreakGlassRow).where(BreakGlassRow.number == number, *running).values(ended_at=self._clock.now())
        async with transaction(self._sessions) as session:
            account = await session.scalar(end.returning(BreakGlassRow.account_id))
            if account is not None:
                await session.execute(delete(LoginSessionRow).where(LoginSessionRow.account_id == account))
                await traced(number)

    async def report(self, number: int, *, by: str, text: str, traced: Traced) -> None:
        """Put the report of a use on record.

        Raises:
            BreakGlassError: it was not used, or was reported before.
        """
        async with transaction(self._sessions) as session:
            row = await session.get(BreakGlassRow, number)
            if row is None or not _record(row).report_due:
                raise BreakGlassError(f"Aucun compte rendu n'est attendu pour l'accès de secours n° {number}.")
            row.reported_at, row.reported_by, row.report = self._clock.now(), by, text
            await session.flush()
            await traced(number)

    async def list_all(self) -> list[BreakGlass]:
        """Return every credential, newest first."""
        async with transaction(self._sessions) as session:
            rows = await session.scalars(select(BreakGlassRow).order_by(BreakGlassRow.number.desc()))
            return [_record(row) for row in rows]


async def reports_due(sessions: SessionMaker) -> list[int]:
    """Return the numbers of the credentials that were used and not reported, oldest first.

    Raises:
        RecordsUnavailableError: the database does not answer, or has no such register yet.
    """
    due = select(BreakGlassRow.number).where(BreakGlassRow.first_used_at.is_not(None), BreakGlassRow.report.is_(None))
    async with transaction(sessions) as session:
        return list(await session.scalars(due.order_by(BreakGlassRow.number)))


def is_break_glass(account_id: str) -> bool:
    """Whether an account is a sealed credential's."""
    return account_id.startswith(PREFIX)


def _record(row: BreakGlassRow) -> BreakGlass:
    return BreakGlass(
        number=row.number,
        account=row.account_id,
        role=Role(row.role),
        issued_at=row.issued_at,
        issued_by=row.issued_by,
        first_used_at=row.first_used_at,
        ended_at=row.ended_at,
        reported_at=row.reported_at,
        report=row.report,
    )
