"""Giving agents the factors by which they prove themselves; each is traced before it exists (C09, S05)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from auth.accounts import Account, AccountRepository
from auth.enrolment import Enrolment
from auth.errors import AccountConflictError, RegisterRuleError
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

    async def enrol_totp(
        self,
        holder: Designation,
        role: Role,
        *,
        by: Actor,
        scope: str | None = None,
        new_password: bool = False,
    ) -> Enrolled:
        """Give a new one-time-code secret, in place of any before it.

        ``new_password``: the account's own is replaced, for whoever has lost it; what it has logged in ends.

        Raises:
            RegisterRuleError: the role is one of PP's, which a code never opens (S05).
        """
        _require_factor(role, Factor.TOTP)
        account, is_new = await self._account(holder, role, None, scope)
        await self._trace(holder, account.id, role, Factor.TOTP, by, new_password=new_password or is_new)
        password = await self._password(account, is_new=is_new, wanted=new_password)
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
        new_password: bool = False,
    ) -> Enrolled:
        """Bind a card's certificate, known by a keyed pseudonym (C17).

        ``new_password``: the account's own is replaced; the card may then be the one that it has.

        Raises:
            RegisterRuleError: it is no certificate, or the role takes no card.
            AccountConflictError: it is bound to an account already (C09: none is shared).
        """
        _require_factor(role, Factor.CARD)
        der = _der(certificate_pem)
        account, is_new = await self._account(holder, role, site, scope)
        has_it = await self._is_bound(der, None if is_new else account.id)
        if has_it and not new_password:
            raise AccountConflictError("the certificate is bound already")
        pseudonym = self._sealing.pseudonym(der)
        await self._trace(holder, account.id, role, Factor.CARD, by, pseudonym, new_password=new_password or is_new)
        password = await self._password(account, is_new=is_new, wanted=new_password)
        if not has_it:
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
        has_it = der is not None and await self._is_bound(der, None if is_new else account.id)
        pseudonym = self._sealing.pseudonym(der) if der is not None else None
        await self._trace(holder, account.id, Role.MACHINE, Factor.CERTIFICATE, by, pseudonym)
        if is_new:
            await self._open(account)
        if der is not None and not has_it:
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

    async def _is_bound(self, der: bytes, account_id: str | None) -> bool:
        """Whether a certificate is this account's. Raises AccountConflictError where it is another's."""
        owner = await self._accounts.owner_of_certificate(der)
        if owner not in {None, account_id}:
            raise AccountConflictError("the certificate is bound to another account")
        return owner is not None

    async def _password(self, account: Account, *, is_new: bool, wanted: bool) -> str | None:
        if is_new:
            return await self._open(account)
        if not wanted:
            return None
        password = self._new_password()
        await self._enrolment.renew_password(account.id, password)
        return password

    def _new_password(self) -> str:
        return base64.b32encode(self._random_bytes(_PASSWORD_BYTES)).decode().lower()

    async def _open(self, planned: Account) -> str:
        password = self._new_password()
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
        self,
        holder: Designation,
        account: str,
        role: Role,
        factor: Factor,
        by: Actor,
        certificate: str | None = None,
        *,
        new_password: bool = False,
    ) -> None:
        about = {"for": account, "role": role.value, "factor": factor.value, "certificate": certificate, "by": by.agent}
        about["password"] = "new" if new_password else None
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
