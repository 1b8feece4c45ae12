"""The login: which factors each role must prove, and one public answer to every failure.

Everybody proves a password and one second factor of their role's list. PP's people hold a card: a one-time
code never stands in for it (C08, S05), and a certificate only comes over TLS, so plain HTTP never opens PP
access. A recovery code stands in for a one-time code, once; a sealed credential for both factors, for an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from auth.accounts import Account, AccountRepository
from auth.acquaintances import Acquaintances
from auth.break_glass import BreakGlassRegister, is_break_glass
from auth.errors import AuthenticationError, FailureReason
from auth.passwords import Passwords
from auth.possession import CertificateProof
from auth.principals import Factor, Role
from auth.recovery_codes import RecoveryCodes, is_recovery_code
from auth.sessions import OpenedSession, Sessions
from auth.throttle import Throttle, acquaintance
from auth.totp import find_step
from camera_registry.clock import Clock

SECOND_FACTORS: Mapping[Role, frozenset[Factor]] = {
    Role.OPERATOR: frozenset({Factor.CARD}),
    Role.SUPERVISOR: frozenset({Factor.CARD}),
    Role.MACHINE: frozenset({Factor.CERTIFICATE}),
    Role.OPS: frozenset({Factor.TOTP, Factor.CARD}),
    Role.OFFICER: frozenset({Factor.TOTP, Factor.CARD}),
    Role.AUDITOR: frozenset({Factor.TOTP, Factor.CARD}),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the caller brought; ``certificate_der`` is the peer certificate of the TLS connection, if any.

    ``totp`` is a one-time code, or a recovery code in its place.
    """

    account_id: str
    password: str
    totp: str | None = None
    certificate_der: bytes | None = None


class Login:
    """Authenticates a person or a machine, and opens their session."""

    def __init__(
        self,
        *,
        accounts: AccountRepository,
        sessions: Sessions,
        passwords: Passwords,
        certificates: CertificateProof,
        recovery_codes: RecoveryCodes,
        break_glass: BreakGlassRegister,
        throttle: Throttle,
        acquaintances: Acquaintances,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords
        self._certificates = certificates
        self._recovery_codes = recovery_codes
        self._break_glass = break_glass
        self._throttle = throttle
        self._acquaintances = acquaintances
        self._clock = clock

    async def authenticate(self, credentials: Credentials, *, source: str) -> OpenedSession:
        """Verify every factor that the account's role asks for, and open a session.

        Raises:
            AuthenticationError: any factor is missing or wrong; the reason is for the trace only.
            ThrottledError: this source, or strangers to this account, have failed too often.
            RecordsUnavailableError: the accounts cannot be read.
        """
        who = (source, credentials.account_id, credentials.certificate_der)
        known = await self._acquaintances.includes(acquaintance(*who))
        attempt = self._throttle.begin(*who, known=known)
        account = await self._account_with_password(credentials)
        if is_break_glass(account.id):
            sealed, ends_at = await self._break_glass.use(account.id)
            self._throttle.succeeded(attempt)
            opened = await self._sessions.open(account, (Factor.BREAK_GLASS,), until=ends_at)
            return replace(opened, break_glass=sealed.number)
        try:
            second, certificate = await self._prove_second_factor(account, credentials)
        except AuthenticationError as failure:
            raise AuthenticationError(failure.reason, account=account.id) from failure
        self._throttle.succeeded(attempt)
        await self._acquaintances.add(acquaintance(*who))
        return await self._sessions.open(account, _ordered(second), certificate=certificate)

    async def _account_with_password(self, credentials: Credentials) -> Account:
        account = await self._accounts.find(credentials.account_id)
        password_hash = account.password_hash if account else None
        matches = await self._passwords.verify(password_hash, credentials.password)
        if account is None:
            raise AuthenticationError(FailureReason.UNKNOWN_ACCOUNT)
        if not matches:
            raise AuthenticationError(FailureReason.WRONG_PASSWORD, account=account.id)
        if account.has_ended(self._clock.now()):
            raise AuthenticationError(FailureReason.ACCOUNT_ENDED, account=account.id)
        return account

    async def _prove_second_factor(self, account: Account, credentials: Credentials) -> tuple[Factor, str | None]:
        """The factor, and the certificate's name where it is one."""
        allowed = SECOND_FACTORS[account.role]
        if Factor.TOTP in allowed and credentials.totp is not None:
            if is_recovery_code(credentials.totp):
                await self._use_recovery_code(account, credentials.totp)
                return Factor.RECOVERY_CODE, None
            await self._prove_code(account, credentials.totp)
            return Factor.TOTP, None
        if credentials.certificate_der is not None:
            certificate = await self._certificates.require(account.id, credentials.certificate_der)
            return Factor.CERTIFICATE if Factor.CERTIFICATE in allowed else Factor.CARD, certificate
        raise AuthenticationError(_MISSING.get(allowed, FailureReason.SECOND_FACTOR_MISSING))

    async def _prove_code(self, account: Account, code: str) -> None:
        secret = await self._accounts.totp_secret(account.id)
        if secret is None:
            raise AuthenticationError(FailureReason.CODE_NOT_ENROLLED)
        step = find_step(secret, code, self._clock.now())
        if step is None:
            raise AuthenticationError(FailureReason.WRONG_CODE)
        if not await self._accounts.accept_totp_step(account.id, step):
            raise AuthenticationError(FailureReason.CODE_REPLAYED)

    async def _use_recovery_code(self, account: Account, code: str) -> None:
        if not await self._recovery_codes.use(account.id, code):
            raise AuthenticationError(FailureReason.WRONG_RECOVERY_CODE)


_MISSING = {
    frozenset({Factor.CARD}): FailureReason.CARD_MISSING,
    frozenset({Factor.CERTIFICATE}): FailureReason.CERTIFICATE_MISSING,
}


def _ordered(second: Factor) -> tuple[Factor, ...]:
    """A card or certificate is named first, as the interface shows it; a code comes after the password."""
    codes = (Factor.TOTP, Factor.RECOVERY_CODE)
    return (Factor.PASSWORD, second) if second in codes else (second, Factor.PASSWORD)
