"""Accounts made by hand on a node that does not run: the first ones, of which none could log in to make them.

Each act is an entry of the node's own trace, durable before the accounts change; who did it is the OS account
(C21). A running node holds its trace alone, so it is stopped first.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from auth.accounts import AccountRepository
from auth.enrolment import Enrolment
from auth.errors import AccountConflictError, UnknownAccountError
from auth.principals import Factor, Role
from auth.trace import Draft, Journal, Kind
from camera_registry.clock import SystemClock
from halfgateway.app.keeping import open_record, open_records
from halfgateway.config import Configuration
from halfgateway.control.beacon import Beacon
from halfgateway.downstream.answers import REALM
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys

PASSWORD_BYTES = 15
"""Of a password that we draw: 120 bits, 20 characters."""

WITH_CARD = frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.MACHINE})
"""Roles whose accounts are nothing without a certificate (C08)."""


class CannotEnrolError(HalfGatewayError):
    """This account cannot be made, or changed, so."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What an account's holder is given, once."""

    account: str
    role: Role
    password: str
    totp_secret: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Designation:
    """Who is to have an account: ``agent`` is an opaque id, never a name (C17)."""

    account: str
    role: Role
    agent: str | None = None
    service: str | None = None
    site: str | None = None
    scope: str | None = None


class EnrolmentDesk:
    """Makes and ends accounts; ``by`` is who asks, as the trace will name them.

    Its methods raise CannotEnrolError, and what the records and the trace raise.
    """

    def __init__(self, accounts: AccountRepository, enrolment: Enrolment, journal: Journal, by: str) -> None:
        self._accounts = accounts
        self._enrolment = enrolment
        self._journal = journal
        self._by = by

    async def bootstrap(self, account: str) -> Secrets:
        """Make the first security officer: never a second one, who is the first one's to make."""
        if any(each.role is Role.OFFICER and each.ended_at is None for each in await self._accounts.list_all()):
            raise CannotEnrolError("there is an officer already")
        return await self.add(Designation(account=account, role=Role.OFFICER), None)

    async def add(self, designated: Designation, certificate: x509.Certificate | None) -> Secrets:
        """Make an account with the factors that its role needs, and return its secrets."""
        role, name = designated.role, designated.account
        if certificate is None and role in WITH_CARD:
            raise CannotEnrolError(f"{role.value}: a certificate is needed")
        if await self._accounts.find(name) is not None:
            raise CannotEnrolError(f"{name}: an account has this identifier, or had it")
        await self._check_unbound(certificate)
        await self._record(Kind.AGENT_ADDED, name, role=role.value, service=designated.service, site=designated.site)
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        await self._enrolment.create(
            name,
            role,
            password,
            agent=designated.agent,
            service=designated.service,
            site=designated.site,
            scope=designated.scope,
        )
        if certificate is not None:
            await self.enrol_card(name, certificate)
        totp = None if certificate is not None else await self.enrol_totp(name)
        if role is Role.MACHINE:
            password = await self._enrolment.enrol_machine_secret(name, realm=REALM)
        return Secrets(name, role, password, totp)

    async def enrol_card(self, account: str, certificate: x509.Certificate) -> None:
        """Bind a card's or a machine's certificate to an account; to one alone."""
        await self._check_known(account)
        await self._check_unbound(certificate)
        await self._record(Kind.AGENT_ENROLLED, account, factor=Factor.CARD.value)
        try:
            await self._enrolment.bind_certificate(account, certificate.public_bytes(Encoding.DER))
        except AccountConflictError as error:
            raise CannotEnrolError(str(error)) from error

    async def enrol_totp(self, account: str) -> str:
        """Give an account a new one-time-code secret, in base32."""
        await self._check_known(account)
        await self._record(Kind.AGENT_ENROLLED, account, factor=Factor.TOTP.value)
        return await self._enrolment.enrol_totp(account)

    async def end(self, account: str) -> None:
        """End an account: it never logs in again, and its identifier is given to nobody else."""
        await self._check_known(account)
        await self._record(Kind.AGENT_ENDED, account)
        await self._accounts.end(account)

    async def _check_known(self, account: str) -> None:
        found = await self._accounts.find(account)
        if found is None or found.ended_at is not None:
            raise CannotEnrolError(str(UnknownAccountError(account)))

    async def _check_unbound(self, certificate: x509.Certificate | None) -> None:
        if certificate is None:
            return
        owner = await self._accounts.owner_of_certificate(certificate.public_bytes(Encoding.DER))
        if owner is not None:
            raise CannotEnrolError(f"this certificate is {owner}'s")

    async def _record(self, kind: Kind, account: str, **detail: str | None) -> None:
        await self._journal.record(Draft(kind=kind, account=account, detail={"by": self._by, **detail}))


@asynccontextmanager
async def enrolment_desk(configuration: Configuration, by: str) -> AsyncIterator[EnrolmentDesk]:
    """The desk of a node that does not run. Raises NodeAlreadyRunsError, and what opening its parts raises."""
    clock, folder = SystemClock(), DataFolder(configuration.node.data.absolute())
    async with AsyncExitStack() as life:
        folder.make()
        life.enter_context(Beacon(folder.run, configuration.node.id))
        keys = NodeKeys.open(folder.secrets)
        open_record(folder, clock)
        records = await open_records(configuration, folder, keys, clock, life)
        journal = await Journal.open(folder.trace, node=configuration.node.id, key=keys.trace, clock=clock)
        life.push_async_callback(journal.close)
        enrolment = Enrolment(records.accounts, records.passwords, random_bytes=secrets.token_bytes)
        yield EnrolmentDesk(records.accounts, enrolment, journal, by)
