"""Accounts: who may log in, with which factors, and what the rest of the house sees of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import AccountConflictError, AuthenticationError, FailureReason, SealError, UnknownAccountError
from auth.principals import Attribution, Factor, Principal, Role
from auth.records import SessionMaker, transaction
from auth.sealing import Sealing
from auth.tables import AccountRow, CertificateRow, LoginSessionRow
from camera_registry.clock import Clock
from camera_registry.records import count_change

_TOTP_PURPOSE = "totp secret"
_HA1_MD5_PURPOSE = "digest HA1 MD5"
_HA1_SHA256_PURPOSE = "digest HA1 SHA-256"
_CERTIFICATE_PURPOSE = "certificate"
_FALLS = "#"


@dataclass(frozen=True, slots=True)
class Account:
    """An account as stored, its secrets still sealed or hashed.

    ``ended_at`` may lie ahead: an inspection's account is made with its end (L21).
    """

    id: str
    role: Role
    agent: str | None
    service: str | None
    site: str | None
    scope: str | None
    password_hash: str
    ended_at: datetime | None

    def has_ended(self, now: datetime) -> bool:
        """Tell whether nobody logs in with it any more."""
        return self.ended_at is not None and self.ended_at <= now

    def principal(self, factors: Sequence[Factor], certificate: str | None = None) -> Principal:
        """See the account as one who proved these factors, one of them by the certificate of this name.

        The level of attribution is what they allow by themselves: card and password make
        ``agent-authenticated``, a machine is ``machine-only`` until it brings an agent's assertion, and
        password with TOTP, which opens no PP access (S05), has none.
        """
        return Principal(
            account=self.id,
            role=self.role,
            agent=self.agent,
            service=self.service,
            site=self.site,
            attribution=_ATTRIBUTIONS.get(frozenset(factors)),
            factors=tuple(factor.value for factor in factors),
            scope=self.scope,
            certificate=certificate,
        )


_ATTRIBUTIONS = {
    frozenset({Factor.CARD, Factor.PASSWORD}): Attribution.AGENT_AUTHENTICATED,
    frozenset({Factor.CERTIFICATE, Factor.PASSWORD}): Attribution.MACHINE_ONLY,
}


@dataclass(frozen=True, slots=True)
class DigestSecret:
    """What RTSP Digest needs of a machine account: H(username:realm:password), in hexadecimal (RFC 7616)."""

    username: str
    realm: str
    ha1_md5: str
    ha1_sha256: str

    @classmethod
    def derive(cls, *, username: str, realm: str, password: str) -> DigestSecret:
        """Compute both hashes; the password need not be kept."""
        a1 = f"{username}:{realm}:{password}".encode()
        return cls(
            username=username,
            realm=realm,
            ha1_md5=hashlib.md5(a1, usedforsecurity=False).hexdigest(),
            ha1_sha256=hashlib.sha256(a1).hexdigest(),
        )


@dataclass(frozen=True, slots=True)
class BoundCertificate:
    """A certificate by which an account has proved itself."""

    name: str
    account: str
    der: bytes


class AccountRepository:
    """Accounts in SQL (SQLite or PostgreSQL); each method is one transaction.

    Every method raises ``RecordsUnavailableError`` while the database does not answer.
    """

    def __init__(self, sessions: SessionMaker, sealing: Sealing, clock: Clock) -> None:
        self._sessions = sessions
        self._sealing = sealing
        self._clock = clock

    async def add(self, account: Account) -> None:
        """Store a new account.

        Raises:
            AccountConflictError: the id is taken; an ended account keeps its id for good.
        """
        row = AccountRow(
            id=account.id,
            role=account.role.value,
            agent=account.agent,
            service=account.service,
            site=account.site,
            scope=account.scope,
            password_hash=account.password_hash,
            created_at=self._clock.now(),
            ended_at=account.ended_at,
        )
        async with transaction(self._sessions) as session:
            session.add(row)
            await _flush_or_conflict(session, f"the account {account.id} exists already")

    async def find(self, account_id: str) -> Account | None:
        """Return the account, ended or not."""
        async with transaction(self._sessions) as session:
            row = await session.get(AccountRow, account_id)
            return None if row is None else account_from_row(row)

    async def list_all(self) -> list[Account]:
        """Return every account, newest first."""
        newest_first = select(AccountRow).order_by(AccountRow.created_at.desc(), AccountRow.id)
        async with transaction(self._sessions) as session:
            return [account_from_row(row) for row in await session.scalars(newest_first)]

    async def end(self, account_id: str) -> None:
        """End an account now; it never logs in again and its sessions stop counting.

        Raises:
            UnknownAccountError: there is none.
        """
        end = update(AccountRow).where(AccountRow.id == account_id).values(ended_at=self._clock.now())
        async with transaction(self._sessions) as session:
            await count_change(session)
            if await session.scalar(end.returning(AccountRow.id)) is None:
                raise UnknownAccountError(account_id)

    async def set_password_hash(self, account_id: str, password_hash: str) -> None:
        """Replace the password's hash, and end what was logged in by the former.

        Raises:
            UnknownAccountError: there is no such account.
        """
        change = update(AccountRow).where(AccountRow.id == account_id).values(password_hash=password_hash)
        async with transaction(self._sessions) as session:
            if await session.scalar(change.returning(AccountRow.id)) is None:
                raise UnknownAccountError(account_id)
            await session.execute(delete(LoginSessionRow).where(LoginSessionRow.account_id == account_id))

    async def set_totp_secret(self, account_id: str, secret: str) -> None:
        """Enrol a base32 secret, sealed; codes already accepted for the old one count no more.

        Raises:
            UnknownAccountError: there is no such account.
        """
        sealed = self._sealing.seal(secret.encode(), owner=account_id, purpose=_TOTP_PURPOSE)
        await self._change(account_id, totp_secret_sealed=sealed, totp_last_step=None)

    async def totp_secret(self, account_id: str) -> str | None:
        """Return the base32 secret, or None when none is enrolled."""
        async with transaction(self._sessions) as session:
            sealed = await session.scalar(select(AccountRow.totp_secret_sealed).where(AccountRow.id == account_id))
        if sealed is None:
            return None
        return self._sealing.unseal(sealed, owner=account_id, purpose=_TOTP_PURPOSE).decode()

    async def accept_totp_step(self, account_id: str, step: int) -> bool:
        """Accept a time step if it is later than any accepted before; of two at once, one wins (S04)."""
        later = or_(AccountRow.totp_last_step.is_(None), AccountRow.totp_last_step < step)
        accept = update(AccountRow).where(AccountRow.id == account_id, later).values(totp_last_step=step)
        async with transaction(self._sessions) as session:
            return await session.scalar(accept.returning(AccountRow.id)) is not None

    async def set_digest_secret(self, account_id: str, secret: DigestSecret) -> None:
        """Store a machine's Digest hashes, sealed; every node has them in memory, and reads them again.

        Raises:
            UnknownAccountError: there is no such account.
        """
        change = update(AccountRow).where(AccountRow.id == account_id)
        sealed = change.values(
            digest_realm=secret.realm,
            ha1_md5_sealed=self._sealing.seal(secret.ha1_md5.encode(), owner=account_id, purpose=_HA1_MD5_PURPOSE),
            ha1_sha256_sealed=self._sealing.seal(
                secret.ha1_sha256.encode(), owner=account_id, purpose=_HA1_SHA256_PURPOSE
            ),
        )
        async with transaction(self._sessions) as session:
            await count_change(session)
            if await session.scalar(sealed.returning(AccountRow.id)) is None:
                raise UnknownAccountError(account_id)

    async def digest_secrets(self) -> list[tuple[Account, DigestSecret]]:
        """Return every running machine account with its Digest hashes: what RTSP keeps in memory."""
        machines = select(AccountRow).where(AccountRow.role == Role.MACHINE.value, AccountRow.ended_at.is_(None))
        async with transaction(self._sessions) as session:
            rows = list(await session.scalars(machines))
            return [(account_from_row(row), secret) for row in rows if (secret := self._digest_secret(row))]

    async def bind_certificate(self, account_id: str, certificate_der: bytes) -> None:
        """Bind a certificate to the account, by its pseudonym.

        Raises:
            AccountConflictError: it is bound already, or there is no such account.
        """
        row = CertificateRow(
            pseudonym=self._sealing.pseudonym(certificate_der),
            account_id=account_id,
            bound_at=self._clock.now(),
            sealed=self._sealing.seal(certificate_der, owner=account_id, purpose=_CERTIFICATE_PURPOSE),
        )
        async with transaction(self._sessions) as session:
            session.add(row)
            await _flush_or_conflict(session, "the certificate is bound already, or the account is unknown")

    async def owner_of_certificate(self, certificate_der: bytes) -> str | None:
        """Return the id of the account that the certificate is bound to, or None."""
        async with transaction(self._sessions) as session:
            row = await session.get(CertificateRow, self._sealing.pseudonym(certificate_der))
            return None if row is None else row.account_id

    async def prove_certificate(self, account_id: str, certificate_der: bytes) -> str:
        """Return the name of a certificate that was found good, if it is this account's.

        The name is its keyed pseudonym, and how often it had fallen before: what it opens now does not end with that.

        Raises:
            AuthenticationError: it is bound to no account, or to another.
        """
        async with transaction(self._sessions) as session:
            row = await session.get(CertificateRow, self._sealing.pseudonym(certificate_der))
            if row is None or row.account_id != account_id:
                raise AuthenticationError(FailureReason.CERTIFICATE_NOT_BOUND, account=account_id)
            if row.sealed is None:
                row.sealed = self._sealing.seal(certificate_der, owner=account_id, purpose=_CERTIFICATE_PURPOSE)
            return _name(row.pseudonym, row.falls)

    async def certificates_in_use(self, also: Collection[str]) -> list[BoundCertificate]:
        """Return the certificates of the logins that stand, and those of these names; none that has fallen.

        One that was sealed under another key, which no certificate shown now can match, is not among them.
        """
        by_a_login = select(LoginSessionRow.certificate).where(LoginSessionRow.certificate.is_not(None))
        async with transaction(self._sessions) as session:
            names = {*also, *await session.scalars(by_a_login)}
            pseudonyms = {name.partition(_FALLS)[0] for name in names if name is not None}
            rows = await session.scalars(select(CertificateRow).where(CertificateRow.pseudonym.in_(pseudonyms)))
            used = [row for row in rows if _name(row.pseudonym, row.falls) in names]
            return [bound for row in used if (bound := self._bound(row)) is not None]

    async def let_certificate_fall(self, name: str) -> bool:
        """Note, for every node, that a certificate is good no longer, and end the logins that it opened.

        False where that was known.
        """
        pseudonym, _, falls = name.partition(_FALLS)
        standing = (CertificateRow.pseudonym == pseudonym, CertificateRow.falls == int(falls))
        fall = update(CertificateRow).where(*standing).values(falls=CertificateRow.falls + 1)
        async with transaction(self._sessions) as session:
            await count_change(session)
            is_news = await session.scalar(fall.returning(CertificateRow.account_id)) is not None
            await session.execute(delete(LoginSessionRow).where(LoginSessionRow.certificate == name))
        return is_news

    def _bound(self, row: CertificateRow) -> BoundCertificate | None:
        try:
            der = self._sealing.unseal(row.sealed or b"", owner=row.account_id, purpose=_CERTIFICATE_PURPOSE)
        except SealError:
            return None
        return BoundCertificate(_name(row.pseudonym, row.falls), row.account_id, der)

    def _digest_secret(self, row: AccountRow) -> DigestSecret | None:
        if row.digest_realm is None or row.ha1_md5_sealed is None or row.ha1_sha256_sealed is None:
            return None
        return DigestSecret(
            username=row.id,
            realm=row.digest_realm,
            ha1_md5=self._sealing.unseal(row.ha1_md5_sealed, owner=row.id, purpose=_HA1_MD5_PURPOSE).decode(),
            ha1_sha256=self._sealing.unseal(row.ha1_sha256_sealed, owner=row.id, purpose=_HA1_SHA256_PURPOSE).decode(),
        )

    async def _change(self, account_id: str, **values: object) -> None:
        change = update(AccountRow).where(AccountRow.id == account_id).values(**values)
        async with transaction(self._sessions) as session:
            if await session.scalar(change.returning(AccountRow.id)) is None:
                raise UnknownAccountError(account_id)


def account_from_row(row: AccountRow) -> Account:
    """Read a row of the table."""
    return Account(
        id=row.id,
        role=Role(row.role),
        agent=row.agent,
        service=row.service,
        site=row.site,
        scope=row.scope,
        password_hash=row.password_hash,
        ended_at=row.ended_at,
    )


def fallen_names(row: CertificateRow) -> Iterator[str]:
    """The names by which a certificate has fallen."""
    return (_name(row.pseudonym, falls) for falls in range(row.falls))


def _name(pseudonym: str, falls: int) -> str:
    return f"{pseudonym}{_FALLS}{falls}"


async def _flush_or_conflict(session: AsyncSession, message: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        raise AccountConflictError(message) from error
