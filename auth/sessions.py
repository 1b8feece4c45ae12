"""Login sessions: opaque tokens, stored hashed, with an idle and an absolute expiry."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.accounts import Account, account_from_row
from auth.errors import AuthenticationError, FailureReason
from auth.principals import Factor, Principal
from auth.records import SessionMaker, transaction
from auth.sealing import RandomBytes
from auth.tables import AccountRow, LoginSessionRow
from camera_registry.clock import Clock

IDLE = timedelta(minutes=30)
"""Without a request for this long, the person asks again."""

ABSOLUTE = timedelta(hours=12)
"""One watch in a control room; at its end the person asks again, whatever they do."""

TOUCH_EVERY = timedelta(seconds=60)
"""How old the noted last use may be: one write a minute a session, not one a request."""

MAX_SESSIONS_PER_ACCOUNT = 32
"""Logins kept of one account; past it the oldest ends: a script that never logs out fills no table."""

SESSION_ID_CHARS = 32
"""Of a token's SHA-256, in hexadecimal: 128 bits name a session, and are of no use to guess its token."""

_TOKEN_BYTES = 32
_MAX_TOKEN_CHARS = 64


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """What a successful login gives; the token is nowhere else. ``break_glass`` numbers the sealed credential used."""

    token: str
    expires_at: datetime
    principal: Principal
    break_glass: int | None = None


@dataclass(frozen=True, slots=True)
class RunningSession:
    """A login as its owner sees it; ``id`` is not the token, and opens nothing."""

    id: str
    opened_at: datetime
    last_used_at: datetime
    expires_at: datetime
    factors: tuple[str, ...]
    current: bool


class Sessions:
    """Opens, resolves and closes login sessions.

    Every method raises ``RecordsUnavailableError`` while the database does not answer.
    """

    def __init__(
        self,
        sessions: SessionMaker,
        clock: Clock,
        *,
        random_bytes: RandomBytes,
        idle: timedelta = IDLE,
        absolute: timedelta = ABSOLUTE,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._random_bytes = random_bytes
        self._idle = idle
        self._absolute = absolute

    async def open(
        self,
        account: Account,
        factors: tuple[Factor, ...],
        *,
        until: datetime | None = None,
        certificate: str | None = None,
    ) -> OpenedSession:
        """Open a session for one who proved these factors, at the longest ``until`` then.

        It ends with ``certificate``, the name of the one that was shown. Sessions past their absolute expiry are
        forgotten; an idle one still tells that its login stands.
        """
        now = self._clock.now()
        expires_at = now + self._absolute if until is None else min(until, now + self._absolute)
        token = base64.urlsafe_b64encode(self._random_bytes(_TOKEN_BYTES)).rstrip(b"=").decode()
        row = LoginSessionRow(
            token_sha256=_hashed(token),
            account_id=account.id,
            factors=" ".join(factors),
            certificate=certificate,
            opened_at=now,
            last_used_at=now,
            expires_at=expires_at,
        )
        async with transaction(self._sessions) as session:
            await session.execute(delete(LoginSessionRow).where(LoginSessionRow.expires_at <= now))
            await _end_oldest(session, account.id)
            session.add(row)
        return OpenedSession(token, expires_at, account.principal(factors, certificate))

    async def resolve(self, token: str) -> Principal:
        """Return who holds the token.

        Raises:
            AuthenticationError: no such session, or expired, or its account has ended.
        """
        now = self._clock.now()
        held = (
            select(LoginSessionRow, AccountRow)
            .join(AccountRow, AccountRow.id == LoginSessionRow.account_id)
            .where(LoginSessionRow.token_sha256 == _hashed(token))
        )
        async with transaction(self._sessions) as session:
            found = (await session.execute(held)).one_or_none()
            if found is None:
                raise AuthenticationError(FailureReason.SESSION_UNKNOWN)
            row, owner = found
            if now >= row.expires_at or now >= row.last_used_at + self._idle:
                raise AuthenticationError(FailureReason.SESSION_EXPIRED, account=owner.id)
            if owner.ended_at is not None and owner.ended_at <= now:
                raise AuthenticationError(FailureReason.ACCOUNT_ENDED, account=owner.id)
            if now >= row.last_used_at + TOUCH_EVERY:
                await session.execute(
                    update(LoginSessionRow)
                    .where(LoginSessionRow.token_sha256 == row.token_sha256)
                    .values(last_used_at=now)
                )
            factors = [Factor(factor) for factor in row.factors.split()]
            return account_from_row(owner).principal(factors, row.certificate)

    async def agents_logged_in(self, agents: Collection[str]) -> frozenset[str]:
        """Return those of the agents of whom a login stands: not ended, nor past its absolute expiry.

        Whoever watches is not idle: a session without requests opens nothing more, and its login stands (S15).
        """
        standing = (
            select(AccountRow.agent)
            .join(LoginSessionRow, LoginSessionRow.account_id == AccountRow.id)
            .where(AccountRow.agent.in_(agents), LoginSessionRow.expires_at > self._clock.now())
        )
        async with transaction(self._sessions) as session:
            return frozenset(agent for agent in await session.scalars(standing) if agent is not None)

    async def close(self, token: str) -> None:
        """End the session; ending one that is not there is no error."""
        async with transaction(self._sessions) as session:
            await session.execute(delete(LoginSessionRow).where(LoginSessionRow.token_sha256 == _hashed(token)))

    async def list_of(self, account_id: str, token: str) -> list[RunningSession]:
        """Return an account's sessions that still run, newest first; ``token`` tells which one asks."""
        now = self._clock.now()
        its_own = select(LoginSessionRow).where(LoginSessionRow.account_id == account_id, ~self._has_expired(now))
        newest_first = its_own.order_by(LoginSessionRow.opened_at.desc(), LoginSessionRow.token_sha256)
        current = _hashed(token)
        async with transaction(self._sessions) as session:
            return [
                RunningSession(
                    id=row.token_sha256[:SESSION_ID_CHARS],
                    opened_at=row.opened_at,
                    last_used_at=row.last_used_at,
                    expires_at=row.expires_at,
                    factors=tuple(row.factors.split()),
                    current=row.token_sha256 == current,
                )
                for row in await session.scalars(newest_first)
            ]

    async def close_one(self, account_id: str, session_id: str) -> bool:
        """End one of an account's sessions by its id; False if it has none of that id."""
        its_own = delete(LoginSessionRow).where(
            LoginSessionRow.account_id == account_id,
            func.substr(LoginSessionRow.token_sha256, 1, SESSION_ID_CHARS) == session_id,
        )
        async with transaction(self._sessions) as session:
            return await session.scalar(its_own.returning(LoginSessionRow.account_id)) is not None

    async def close_all(self, account_id: str) -> None:
        """End every session of an account."""
        async with transaction(self._sessions) as session:
            await session.execute(delete(LoginSessionRow).where(LoginSessionRow.account_id == account_id))

    def _has_expired(self, now: datetime) -> ColumnElement[bool]:
        return or_(LoginSessionRow.expires_at <= now, LoginSessionRow.last_used_at <= now - self._idle)


async def _end_oldest(session: AsyncSession, account_id: str) -> None:
    surplus = (
        select(LoginSessionRow.token_sha256)
        .where(LoginSessionRow.account_id == account_id)
        .order_by(LoginSessionRow.opened_at.desc())
        .offset(MAX_SESSIONS_PER_ACCOUNT - 1)
    )
    tokens = list(await session.scalars(surplus))
    if tokens:
        await session.execute(delete(LoginSessionRow).where(LoginSessionRow.token_sha256.in_(tokens)))


def _hashed(token: str) -> str:
    """A token has 256 bits of chance: one SHA-256 keeps it secret, and needs no salt."""
    return hashlib.sha256(token[:_MAX_TOKEN_CHARS].encode(errors="surrogateescape")).hexdigest()
