"""The machine accounts that may come by themselves, held in memory for the RTSP door (C08, machine-only)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auth.accounts import Account, AccountRepository
from auth.certificates import CertificateVerifier
from auth.errors import AuthenticationError, FailureReason, RecordsUnavailableError
from auth.possession import CertificateProof
from auth.principals import Attribution, Principal
from halfgateway.control.callers import MachineAccount
from halfgateway.errors import StateStoreUnavailable
from halfgateway.protocol.digest import Secrets


@dataclass(frozen=True, slots=True)
class MachineUse:
    """What the parties have agreed of one machine: the agent who answers for it, and the reason recorded."""

    account: str
    agent: str
    reason: str
    over_plain_rtsp: bool = False


class MachineDirectory:
    """Fills :class:`~halfgateway.control.callers.Machines`: none, until those with an agreed use are adopted."""

    def __init__(
        self,
        accounts: AccountRepository,
        certificates: CertificateVerifier,
        *,
        proof: CertificateProof | None = None,
    ) -> None:
        self._proof = proof or CertificateProof(accounts, certificates)
        self._accounts = accounts
        self._all_show_one = False
        self._certificates = certificates
        self._machines: Mapping[str, MachineAccount] = {}
        self._proved: dict[tuple[str, bytes], str] = {}

    async def read(self, uses: Iterable[MachineUse]) -> Mapping[str, MachineAccount]:
        """Return the machines that may come if these are the agreed uses, with their secrets as they are now.

        Raises RecordsUnavailableError.
        """
        agreed = {use.account: use for use in uses}
        return {
            account.id: _machine(account, agreed[account.id], Secrets(secret.ha1_md5, secret.ha1_sha256))
            for account, secret in await self._accounts.digest_secrets()
            if account.id in agreed and account.ended_at is None
        }

    def adopt(self, machines: Mapping[str, MachineAccount], *, all_show_one: bool) -> None:
        """Let these machines come from now on, and no others.

        ``all_show_one``: over TLS, who comes by a ticket shows a certificate too.
        """
        self._machines = machines
        self._all_show_one = all_show_one

    def find(self, username: str) -> MachineAccount | None:
        """See :class:`~halfgateway.control.callers.Machines`."""
        return self._machines.get(username)

    def verify(self, certificate: bytes | None) -> None:
        """See :class:`~halfgateway.control.callers.Machines`."""
        if certificate is not None:
            self._certificates.verify(certificate)
        elif self._all_show_one:
            raise AuthenticationError(FailureReason.CERTIFICATE_MISSING)

    async def present(self, machine: MachineAccount, certificate: bytes | None) -> str:
        """See :class:`~halfgateway.control.callers.Machines`."""
        account = machine.principal.account
        if certificate is None:
            raise AuthenticationError(FailureReason.CERTIFICATE_MISSING, account=account)
        try:
            shown = await self._proof.require(account, certificate)
        except RecordsUnavailableError as error:
            if (account, certificate) not in self._proved:
                raise StateStoreUnavailable("Le certificat du compte de service ne peut être vérifié.") from error
            return self._proved[account, certificate]
        self._proved[account, certificate] = shown
        return shown


def _machine(account: Account, use: MachineUse, secrets: Secrets) -> MachineAccount:
    principal = Principal(
        account=account.id,
        role=account.role,
        agent=use.agent,
        service=account.service,
        site=account.site,
        attribution=Attribution.MACHINE_ONLY,
        factors=(),
        scope=account.scope,
    )
    return MachineAccount(principal, secrets, use.reason, use.over_plain_rtsp)
