"""Giving agents the factors by which they prove themselves; each is traced before it exists (C09, S05)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from auth.accounts import Account, AccountRepository
from auth.enrolment import Enrolment
from auth.errors import RegisterRuleError
from auth.login import SECOND_FACTORS
from auth.principals import Factor, Role
from auth.register import Actor
from auth.rights import Designation
from auth.sealing import RandomBytes, Sealing
from auth.totp import provisioning_uri
from auth.trace import Draft, Kind

ISSUER = "Demi-Passerelle SYN"
"""What an authenticator application shows beside the account's name."""

_PASSWORD_BYTES = 15


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What is given to the agent, once: nothing of it can be read again."""

    account: str
    role: Role
    password: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)
    totp_uri: str | None = field(default=None, repr=False)
    machine_secret: str | None = field(default=None, repr=False)


class Factors:
    """Enrols agents who have a designation. An agent has one account for each role; it is made with its first factor.

    ``realm`` is that of RTSP Digest. Every method raises RecordsUnavailableError, and what ``record`` raises.
    """

    def __init__(
        self,
        *,
        accounts: AccountRepository,
        enrolment: Enrolment,
        sealing: Sealing,
        random_bytes: RandomBytes,
        record: Callable[[Draft], Awaitable[object]],
        realm: str,
    ) -> None:
        self._accounts = accounts
        self._enrolment = enrolment
        self._sealing = sealing
        self._random_bytes = random_bytes
        self._record = record
        self._realm = realm

    async def enrol_totp(self, holder: Designation, role: Role, *, by: Actor, scope: str | None = None) -> Enrolled:
        """Give a new one-time-code secret, in place of any before it.

        Raises:
            RegisterRuleError: the role is one of PP's, which a code never opens (S05).
        """
        _require_factor(role, Factor.TOTP)
        account, is_new = await self._account(holder, role, None, scope)
        await self._trace(holder, account.id, role, Factor.TOTP, by)
        password = await self._open(account) if is_new else None
        secret = await self._enrolment.enrol_totp(account.id)
        uri = provisioning_uri(secret, account=account.id, issuer=ISSUER)
        return Enrolled(account.id, role, password, totp_secret=secret, totp_uri=uri)

    async def enrol_card(
        self,
        holder: Designation,
        role: Role,
        certificate_pem: bytes,
        *,
        by: Actor,
        site: str | None = None,
        scope: str | None = None,
    ) -> Enrolled:
        """Bind a card's certificate, kept as a keyed pseudonym (C17).

        Raises:
            RegisterRuleError: it is no certificate, or the role takes no card.
            AccountConflictError: it is bound to an account already (C09: none is shared).
        """
        _require_factor(role, Factor.CARD)
        der = _der(certificate_pem)
        account, is_new = await self._account(holder, role, site, scope)
        await self._trace(holder, account.id, role, Factor.CARD, by, self._sealing.pseudonym(der))
        password = await self._open(account) if is_new else None
        await self._enrolment.bind_certificate(account.id, der)
        return Enrolled(account.id, role, password)

    async def enrol_machine(
        self, holder: Designation, certificate_pem: bytes | None, *, by: Actor, site: str | None = None
    ) -> Enrolled:
        """Draw a machine's secret, for its login and RTSP Digest, and bind its certificate where one is given.

        ``holder`` is the agent who answers for it. Raises RegisterRuleError, AccountConflictError.
        """
        der = _der(certificate_pem) if certificate_pem is not None else None
        account, is_new = await self._account(holder, Role.MACHINE, site, None)
        pseudonym = self._sealing.pseudonym(der) if der is not None else None
        await self._trace(holder, account.id, Role.MACHINE, Factor.CERTIFICATE, by, pseudonym)
        if is_new:
            await self._open(account)
        if der is not None:
            await self._enrolment.bind_certificate(account.id, der)
        secret = await self._enrolment.enrol_machine_secret(account.id, realm=self._realm)
        return Enrolled(account.id, Role.MACHINE, machine_secret=secret)

    async def _account(
        self, holder: Designation, role: Role, site: str | None, scope: str | None
    ) -> tuple[Account, bool]:
        """The agent's account for this role, and whether it is still to be made."""
        known = await self._accounts.list_all()
        for account in known:
            if (account.agent, account.role, account.ended_at) == (holder.agent, role, None):
                return account, False
        taken = {account.id for account in known}
        name = holder.agent if holder.agent not in taken else f"{holder.agent}-{role.value}"
        planned = Account(
            id=name,
            role=role,
            agent=holder.agent,
            service=holder.service,
            site=site,
            scope=scope,
            password_hash="",
            ended_at=None,
        )
        return planned, True

    async def _open(self, planned: Account) -> str:
        password = base64.b32encode(self._random_bytes(_PASSWORD_BYTES)).decode().lower()
        await self._enrolment.create(
            planned.id,
            planned.role,
            password,
            agent=planned.agent,
            service=planned.service,
            site=planned.site,
            scope=planned.scope,
        )
        return password

    async def _trace(
        self, holder: Designation, account: str, role: Role, factor: Factor, by: Actor, certificate: str | None = None
    ) -> None:
        about = {"for": account, "role": role.value, "factor": factor.value, "certificate": certificate, "by": by.agent}
        detail = {name: value for name, value in about.items() if value is not None}
        draft = Draft(kind=Kind.AGENT_ENROLLED, agent=holder.agent, account=by.account, source=by.source, detail=detail)
        await self._record(draft)


def _require_factor(role: Role, factor: Factor) -> None:
    if factor not in SECOND_FACTORS[role]:
        raise RegisterRuleError(f"Le rôle {role} ne s'ouvre pas par ce moyen ({factor}).")


def _der(pem: bytes) -> bytes:
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except ValueError as error:
        raise RegisterRuleError("Le certificat n'est pas lisible (PEM).") from error
