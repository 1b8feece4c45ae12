"""PP's assertion keys on record, and the assertions that were used (C08)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from auth.assertion_tables import AssertionKeyRow, UsedAssertionRow
from auth.assertions import Assertion, read_public_key
from auth.errors import AssertionFault, AssertionRefused, KeyConflictError, UnknownKeyError
from auth.records import SessionMaker, transaction
from camera_registry.clock import Clock
from camera_registry.records import count_change

MAX_KEYS_IN_FORCE = 32
"""Keys neither revoked nor past their term: several roll-overs of several sites at once. One more is refused until
another is revoked or ends."""

NONCE_KEPT_PAST_EXPIRY = timedelta(minutes=10)
"""Longer than any node's clock may be behind another's: what is purged here has expired everywhere."""

Traced = Callable[[], Awaitable[object]]
"""Makes the entry of a change durable; awaited within the change's transaction: neither is there without the other."""


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """A declared key. ``reference`` is that of PP's declaration; ``valid_until`` is exclusive."""

    kid: str
    public_key_pem: str
    reference: str
    declared_by: str
    declared_at: datetime
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None = None
    revoked_reason: str | None = None

    @property
    def algorithm(self) -> str:
        """``ES256`` or ``EdDSA``."""
        return read_public_key(self.public_key_pem)[0]

    def require_in_force(self, now: datetime) -> None:
        """Raise AssertionRefused where this key signs nothing at ``now``."""
        if self.revoked_at is not None:
            raise AssertionRefused(AssertionFault.KEY_REVOKED, kid=self.kid)
        if not self.valid_from <= now < self.valid_until:
            raise AssertionRefused(AssertionFault.KEY_NOT_IN_FORCE, kid=self.kid)


class AssertionKeys:
    """The declared keys in SQL; every method raises RecordsUnavailableError while the database does not answer."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def declare(self, key: AssertionKey, traced: Traced) -> None:
        """Put a key on record.

        Raises:
            KeyConflictError: its identifier was used before, or too many keys are in force.
            ValueError: it is not a key of a kind that signs assertions, or its term is empty.
        """
        read_public_key(key.public_key_pem)
        if key.valid_until <= key.valid_from:
            raise ValueError("a key's term ends after it begins")
        now = self._clock.now()
        in_force = select(func.count()).where(AssertionKeyRow.revoked_at.is_(None), AssertionKeyRow.valid_until > now)
        async with transaction(self._sessions) as session:
            if (await session.scalar(in_force) or 0) >= MAX_KEYS_IN_FORCE:
                raise KeyConflictError(f"{MAX_KEYS_IN_FORCE} keys are in force already")
            session.add(
                AssertionKeyRow(
                    kid=key.kid,
                    public_key_pem=key.public_key_pem,
                    reference=key.reference,
                    declared_by=key.declared_by,
                    declared_at=key.declared_at,
                    valid_from=key.valid_from,
                    valid_until=key.valid_until,
                )
            )
            try:
                await session.flush()
            except IntegrityError as error:
                raise KeyConflictError(f"the key {key.kid} was declared before") from error
            await traced()

    async def revoke(self, kid: str, *, by: str, reason: str, traced: Traced) -> None:
        """Revoke a key, for good: assertions by it are refused from now on, what they opened is ended.

        Raises:
            UnknownKeyError: no key in force has this identifier.
        """
        async with transaction(self._sessions) as session:
            await count_change(session)
            row = await session.get(AssertionKeyRow, kid)
            if row is None or row.revoked_at is not None:
                raise UnknownKeyError(kid)
            row.revoked_at, row.revoked_by, row.revoked_reason = self._clock.now(), by, reason
            await session.flush()
            await traced()

    async def find(self, kid: str) -> AssertionKey | None:
        """Return the key of this identifier, in force or not."""
        async with transaction(self._sessions) as session:
            row = await session.get(AssertionKeyRow, kid)
            return None if row is None else _key(row)

    async def list_all(self) -> list[AssertionKey]:
        """Return every key that was ever declared, newest first."""
        newest_first = select(AssertionKeyRow).order_by(AssertionKeyRow.declared_at.desc(), AssertionKeyRow.kid)
        async with transaction(self._sessions) as session:
            return [_key(row) for row in await session.scalars(newest_first)]


class UsedAssertions:
    """Lets each assertion count once, on all nodes of a database and across their restarts."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def use(self, assertion: Assertion) -> None:
        """Note that the assertion is used; what has expired is forgotten.

        Raises:
            AssertionRefused: its nonce was used before.
            RecordsUnavailableError: that cannot be known.
        """
        past = self._clock.now() - NONCE_KEPT_PAST_EXPIRY
        async with transaction(self._sessions) as session:
            await session.execute(delete(UsedAssertionRow).where(UsedAssertionRow.expires_at < past))
            session.add(UsedAssertionRow(nonce=assertion.nonce, expires_at=assertion.expires_at))
            try:
                await session.flush()
            except IntegrityError as error:
                raise AssertionRefused(AssertionFault.REPLAYED, kid=assertion.kid) from error


def default_kid(public_key_pem: str) -> str:
    """Name a key by the first 16 hexadecimal digits of the SHA-256 of its SubjectPublicKeyInfo (DER).

    Raises:
        ValueError: it is no key that signs assertions.
    """
    _, key = read_public_key(public_key_pem)
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()[:16]


def _key(row: AssertionKeyRow) -> AssertionKey:
    return AssertionKey(
        kid=row.kid,
        public_key_pem=row.public_key_pem,
        reference=row.reference,
        declared_by=row.declared_by,
        declared_at=row.declared_at,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        revoked_at=row.revoked_at,
        revoked_reason=row.revoked_reason,
    )
