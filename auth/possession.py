"""The proof by certificate: it counts, nobody has revoked it, and it is this account's own (C08, C09, S02)."""

from __future__ import annotations

import asyncio

from auth.accounts import AccountRepository
from auth.certificates import CertificateVerifier, Fallen
from auth.errors import AuthenticationError, FailureReason
from auth.ocsp import OnlineStatus

QUESTIONS_AT_ONCE = 16
"""Put to responders of what is in use: a silent one holds each up for its time limit, and not one after the other."""

_SAYS_NOTHING_OF_THE_CERTIFICATE = frozenset(
    {FailureReason.OCSP_UNAVAILABLE, FailureReason.OCSP_STALE, FailureReason.OCSP_UNTRUSTED}
)


class CertificateProof:
    """Holds a peer's certificate, whose key TLS has proved, against the lists, the responders and the bindings."""

    def __init__(
        self, accounts: AccountRepository, verifier: CertificateVerifier, online: OnlineStatus | None = None
    ) -> None:
        self._accounts = accounts
        self._verifier = verifier
        self._online = online

    async def require(self, account_id: str, certificate_der: bytes) -> None:
        """Return if the certificate is good and bound to the account; it is then followed for as long as it is used.

        Raises:
            AuthenticationError: with the reason.
            RecordsUnavailableError: the bindings cannot be read.
        """
        await self.require_good(certificate_der)
        if await self._accounts.owner_of_certificate(certificate_der) != account_id:
            raise AuthenticationError(FailureReason.CERTIFICATE_NOT_BOUND)
        self._verifier.remember(certificate_der, account_id)

    async def require_good(self, certificate_der: bytes) -> None:
        """Return if the certificate counts, whosever it is. Raises AuthenticationError."""
        self._verifier.verify(certificate_der)
        if self._online is not None:
            await self._online.require_good(*self._verifier.authority_of(certificate_der))

    async def fallen_online(self) -> list[Fallen]:
        """Say which of the certificates in use their responders call good no longer.

        A responder that does not answer, or in whose name somebody else does, lets nobody in, and ends nothing that
        runs.
        """
        if self._online is None:
            return []
        turn = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        asked = [self._fallen_of(self._online, turn, *used) for used in self._verifier.remembered()]
        return [fallen for fallen in await asyncio.gather(*asked) if fallen is not None]

    async def _fallen_of(
        self, online: OnlineStatus, turn: asyncio.Semaphore, certificate_der: bytes, account: str
    ) -> Fallen | None:
        async with turn:
            try:
                await online.require_good(*self._verifier.authority_of(certificate_der))
            except AuthenticationError as error:
                if error.reason not in _SAYS_NOTHING_OF_THE_CERTIFICATE:
                    return Fallen(certificate_der, account, error.reason)
        return None
