"""The proof by certificate: it counts, nobody has revoked it, and it is this account's own (C08, C09, S02)."""

from __future__ import annotations

from auth.accounts import AccountRepository
from auth.certificates import CertificateVerifier, Fallen
from auth.errors import AuthenticationError, FailureReason
from auth.ocsp import OnlineStatus

_SAYS_NOTHING_OF_THE_CERTIFICATE = frozenset({FailureReason.OCSP_UNAVAILABLE, FailureReason.OCSP_STALE})


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

        A responder that does not answer lets nobody in, and ends nothing that runs.
        """
        found: list[Fallen] = []
        if self._online is None:
            return found
        for certificate_der, account in self._verifier.remembered():
            try:
                await self._online.require_good(*self._verifier.authority_of(certificate_der))
            except AuthenticationError as error:
                if error.reason not in _SAYS_NOTHING_OF_THE_CERTIFICATE:
                    found.append(Fallen(certificate_der, account, error.reason))
        return found
