"""The proof by certificate: it counts, nobody has revoked it, and it is this account's own (C08, C09, S02, S12)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from auth.accounts import AccountRepository, BoundCertificate
from auth.certificates import CertificateVerifier
from auth.errors import AuthenticationError, FailureReason
from auth.ocsp import OnlineStatus

QUESTIONS_AT_ONCE = 16
"""Put to responders of what is in use: a silent one holds each up for its time limit, and not one after the other."""

_SAYS_NOTHING_OF_THE_CERTIFICATE = frozenset(
    {
        FailureReason.REVOCATION_UNKNOWN,
        FailureReason.REVOCATION_UNTRUSTED,
        FailureReason.REVOCATION_STALE,
        FailureReason.OCSP_UNAVAILABLE,
        FailureReason.OCSP_STALE,
        FailureReason.OCSP_UNTRUSTED,
    }
)
"""A missing or stale list lets nobody in, as does a responder that does not answer or in whose name somebody else does;
neither ends what runs."""


@dataclass(frozen=True, slots=True)
class Fallen:
    """A certificate by which an account proved itself, and that is good no longer."""

    certificate: BoundCertificate
    reason: FailureReason


class CertificateProof:
    """Holds a peer's certificate, whose key TLS has proved, against the lists, the responders and the bindings."""

    def __init__(
        self, accounts: AccountRepository, verifier: CertificateVerifier, online: OnlineStatus | None = None
    ) -> None:
        self._accounts = accounts
        self._verifier = verifier
        self._online = online

    async def require(self, account_id: str, certificate_der: bytes) -> str:
        """Return the certificate's name if it is good and bound to the account.

        Raises:
            AuthenticationError: with the reason.
            RecordsUnavailableError: the bindings cannot be read.
        """
        await self.require_good(certificate_der)
        return await self._accounts.prove_certificate(account_id, certificate_der)

    async def require_good(self, certificate_der: bytes) -> None:
        """Return if the certificate counts, whosever it is. Raises AuthenticationError."""
        self._verifier.verify(certificate_der)
        if self._online is not None:
            await self._online.require_good(*self._verifier.authority_of(certificate_der))

    def fallen(self, used: Iterable[BoundCertificate]) -> list[Fallen]:
        """Say which of these the lists call good no longer. Takes a while; may run in a thread."""
        found: list[Fallen] = []
        for certificate in used:
            try:
                self._verifier.verify(certificate.der)
            except AuthenticationError as error:
                found += _fallen(certificate, error)
        return found

    async def fallen_online(self, used: Iterable[BoundCertificate]) -> list[Fallen]:
        """Say which of these their responders call good no longer."""
        if self._online is None:
            return []
        turn = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        answers = await asyncio.gather(*(self._ask(self._online, turn, certificate) for certificate in used))
        return [fallen for answer in answers for fallen in answer]

    async def _ask(self, online: OnlineStatus, turn: asyncio.Semaphore, certificate: BoundCertificate) -> list[Fallen]:
        async with turn:
            try:
                await online.require_good(*self._verifier.authority_of(certificate.der))
            except AuthenticationError as error:
                return _fallen(certificate, error)
        return []


def _fallen(certificate: BoundCertificate, error: AuthenticationError) -> list[Fallen]:
    return [] if error.reason in _SAYS_NOTHING_OF_THE_CERTIFICATE else [Fallen(certificate, error.reason)]
