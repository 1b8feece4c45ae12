"""A house with one account of each role, their factors, and an authority that has revoked one agent."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from argon2 import PasswordHasher

from auth.accounts import AccountRepository
from auth.acquaintances import Acquaintances
from auth.break_glass import BreakGlassRegister
from auth.certificates import CertificateVerifier
from auth.demo_authority import DemoAuthority
from auth.enrolment import Enrolment
from auth.login import Credentials, Login
from auth.passwords import Passwords
from auth.possession import CertificateProof
from auth.principals import Role
from auth.recovery_codes import RecoveryCodes
from auth.sealing import Sealing
from auth.sessions import Sessions
from auth.throttle import Throttle
from auth.totp import code_at
from camera_registry.clock import Clock
from halfgateway.database import Database

PASSWORD = "correct horse battery staple"
CARD_ROLES = (Role.OPERATOR, Role.SUPERVISOR)
CODE_ROLES = (Role.OPS, Role.OFFICER, Role.AUDITOR)


class CountingHasher(PasswordHasher):
    """Argon2id at its cheapest, counting the hashes that it verifies."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the parent's name
        self.verified += 1
        return super().verify(hash, password)


@dataclass
class House:
    """Everything that a login needs, and the secrets that were given out."""

    clock: Clock
    hasher: CountingHasher
    accounts: AccountRepository
    sessions: Sessions
    enrolment: Enrolment
    authority: DemoAuthority
    verifier: CertificateVerifier
    login: Login
    recovery_codes: RecoveryCodes
    break_glass: BreakGlassRegister
    certificates: dict[str, bytes] = field(default_factory=dict)
    totp_secrets: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)

    def credentials(self, account_id: str) -> Credentials:
        """What this account needs to log in, and no more."""
        secret = self.totp_secrets.get(account_id)
        return Credentials(
            account_id,
            self.passwords[account_id],
            totp=code_at(secret, self.clock.now()) if secret else None,
            certificate_der=self.certificates.get(account_id),
        )

    def bare_credentials(self, account_id: str) -> Credentials:
        """The password alone."""
        return replace(self.credentials(account_id), totp=None, certificate_der=None)


@asynccontextmanager
async def open_house(database: Database, clock: Clock, folder: Path) -> AsyncIterator[House]:
    """Furnish a migrated database."""
    hasher = CountingHasher()
    hashing = Passwords(random_bytes=secrets.token_bytes, hasher=hasher)
    sealing = Sealing(secrets.token_bytes(32), random_bytes=secrets.token_bytes)
    accounts = AccountRepository(database.sessions, sealing, clock)
    sessions = Sessions(database.sessions, clock, random_bytes=secrets.token_bytes)
    authority = DemoAuthority.open(folder / "pki", clock.now())
    revoked = authority.client("revoked", clock.now())
    crl = authority.write_revocation_list([revoked.certificate], clock.now())
    verifier = CertificateVerifier.from_pem(authority.certificate_path.read_bytes(), crl.read_bytes(), clock)
    recovery_codes = RecoveryCodes(database.sessions, sealing, clock, random_bytes=secrets.token_bytes)
    break_glass = BreakGlassRegister(database.sessions, hashing, clock, random_bytes=secrets.token_bytes)
    login = Login(
        accounts=accounts,
        sessions=sessions,
        passwords=hashing,
        certificates=CertificateProof(accounts, verifier),
        recovery_codes=recovery_codes,
        break_glass=break_glass,
        throttle=Throttle(clock),
        acquaintances=Acquaintances(database.sessions, clock),
        clock=clock,
    )
    enrolment = Enrolment(accounts, hashing, random_bytes=secrets.token_bytes)
    house = House(clock, hasher, accounts, sessions, enrolment, authority, verifier, login, recovery_codes, break_glass)
    await _furnish(house, revoked.der)
    yield house
    hashing.close()


async def _furnish(house: House, revoked_der: bytes) -> None:
    for role in Role:
        account_id = role.value
        await house.enrolment.create(account_id, role, PASSWORD, agent=f"agent-{account_id}", service="DOPC")
        house.passwords[account_id] = PASSWORD
        if role in CODE_ROLES:
            house.totp_secrets[account_id] = await house.enrolment.enrol_totp(account_id)
        else:
            lifetime = timedelta(days=365)
            issued = house.authority.client(account_id, house.clock.now(), lifetime=lifetime)
            house.certificates[account_id] = issued.der
            await house.enrolment.bind_certificate(account_id, issued.der)
    house.passwords["machine"] = await house.enrolment.enrol_machine_secret("machine", realm="halfgateway")
    house.passwords["revoked"] = PASSWORD
    house.certificates["revoked"] = revoked_der
    await house.enrolment.create("revoked", Role.OPERATOR, PASSWORD)
    await house.enrolment.bind_certificate("revoked", revoked_der)
