"""Accounts and sessions in both kinds of database."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

import auth.records
from auth.accounts import Account, AccountRepository, DigestSecret
from auth.errors import (
    AccountConflictError,
    AuthenticationError,
    FailureReason,
    RecordsUnavailableError,
    SealError,
    UnknownAccountError,
)
from auth.principals import Factor, Role
from auth.sealing import Sealing
from auth.sessions import ABSOLUTE, IDLE, MAX_SESSIONS_PER_ACCOUNT, Sessions
from auth.tables import LoginSessionRow
from halfgateway.database import Database
from tests.databases import Kind as DatabaseKind
from tests.held_clock import HeldClock
from tests.postgresql import postgresql

FACTORS = (Factor.PASSWORD, Factor.TOTP)


def _account(account_id: str, role: Role = Role.OPS) -> Account:
    return Account(
        id=account_id,
        role=role,
        agent=None,
        service=None,
        site=None,
        scope=None,
        password_hash="unused",
        ended_at=None,
    )


@pytest.fixture
def sealing() -> Sealing:
    return Sealing(secrets.token_bytes(32), random_bytes=secrets.token_bytes)


@pytest.fixture
def accounts(database: Database, sealing: Sealing, clock: HeldClock) -> AccountRepository:
    return AccountRepository(database.sessions, sealing, clock)


@pytest.fixture
def sessions(database: Database, clock: HeldClock) -> Sessions:
    return Sessions(database.sessions, clock, random_bytes=secrets.token_bytes)


async def test_an_account_comes_back_as_it_was_stored(accounts: AccountRepository) -> None:
    stored = Account(
        id="op-7f3a",
        role=Role.OPERATOR,
        agent="a-19c2",
        service="DOPC",
        site="salle-2",
        scope=None,
        password_hash="unused",
        ended_at=None,
    )
    await accounts.add(stored)
    assert await accounts.find("op-7f3a") == stored
    assert await accounts.find("op-0000") is None


async def test_an_id_is_never_given_twice(accounts: AccountRepository) -> None:  # C09
    await accounts.add(_account("op-1"))
    await accounts.end("op-1")
    with pytest.raises(AccountConflictError):
        await accounts.add(_account("op-1"))


async def test_accounts_are_listed_newest_first(accounts: AccountRepository, clock: HeldClock) -> None:
    for account_id in ("first", "second", "third"):
        await accounts.add(_account(account_id))
        clock.advance(timedelta(seconds=1))
    assert [account.id for account in await accounts.list_all()] == ["third", "second", "first"]


async def test_a_certificate_is_bound_to_one_account(accounts: AccountRepository) -> None:  # C09
    await accounts.add(_account("op-1"))
    await accounts.add(_account("op-2"))
    await accounts.bind_certificate("op-1", b"certificate")
    with pytest.raises(AccountConflictError):
        await accounts.bind_certificate("op-2", b"certificate")
    assert await accounts.prove_certificate("op-1", b"certificate")
    for account, certificate in (("op-2", b"certificate"), ("op-1", b"another")):
        with pytest.raises(AuthenticationError, match="certificate-not-bound"):
            await accounts.prove_certificate(account, certificate)


async def test_a_certificate_that_has_fallen_counts_again_once_it_was_found_good(accounts: AccountRepository) -> None:
    # S12
    await accounts.add(_account("op-1"))
    await accounts.bind_certificate("op-1", b"certificate")
    name = await accounts.prove_certificate("op-1", b"certificate")
    assert [each.der for each in await accounts.certificates_in_use([name])] == [b"certificate"]
    assert await accounts.certificates_in_use([]) == []
    assert await accounts.let_certificate_fall(name)
    assert not await accounts.let_certificate_fall(name)
    assert await accounts.certificates_in_use([name]) == []
    again = await accounts.prove_certificate("op-1", b"certificate")
    assert [each.name for each in await accounts.certificates_in_use([name, again])] == [again] != [name]


async def test_nothing_is_changed_of_an_unknown_account(accounts: AccountRepository) -> None:
    with pytest.raises(UnknownAccountError):
        await accounts.end("nobody")
    with pytest.raises(UnknownAccountError):
        await accounts.set_totp_secret("nobody", "JBSWY3DPEHPK3PXP")
    with pytest.raises(AccountConflictError):
        await accounts.bind_certificate("nobody", b"certificate")


async def test_of_parallel_steps_one_is_accepted(accounts: AccountRepository) -> None:  # S04
    await accounts.add(_account("ops-1"))
    answers = await asyncio.gather(*(accounts.accept_totp_step("ops-1", 58_000_000) for _ in range(12)))
    assert answers.count(True) == 1
    assert not await accounts.accept_totp_step("ops-1", 57_999_999)
    assert await accounts.accept_totp_step("ops-1", 58_000_001)


async def test_a_machine_has_both_digest_hashes_until_it_ends(accounts: AccountRepository) -> None:
    await accounts.add(_account("vms-1", Role.MACHINE))
    await accounts.add(_account("vms-2", Role.MACHINE))
    secret = DigestSecret.derive(username="vms-1", realm="halfgateway", password="s3cret")
    await accounts.set_digest_secret("vms-1", secret)
    assert secret.ha1_sha256 == hashlib.sha256(b"vms-1:halfgateway:s3cret").hexdigest()
    assert [(account.id, held) for account, held in await accounts.digest_secrets()] == [("vms-1", secret)]
    await accounts.end("vms-1")
    assert await accounts.digest_secrets() == []


async def test_another_key_opens_no_secret(
    accounts: AccountRepository, database: Database, clock: HeldClock
) -> None:  # C17
    await accounts.add(_account("ops-1"))
    await accounts.set_totp_secret("ops-1", "JBSWY3DPEHPK3PXP")
    other_key = Sealing(secrets.token_bytes(32), random_bytes=secrets.token_bytes)
    thief = AccountRepository(database.sessions, other_key, clock)
    with pytest.raises(SealError):
        await thief.totp_secret("ops-1")


async def test_a_certificate_sealed_under_another_key_stops_no_node(
    accounts: AccountRepository, database: Database, clock: HeldClock
) -> None:
    # S12: nobody can show it to this one
    await accounts.add(_account("op-1"))
    await accounts.bind_certificate("op-1", b"certificate")
    name = await accounts.prove_certificate("op-1", b"certificate")
    other_key = Sealing(secrets.token_bytes(32), random_bytes=secrets.token_bytes)
    assert await AccountRepository(database.sessions, other_key, clock).certificates_in_use([name]) == []


def test_a_sealed_secret_opens_for_its_owner_and_purpose_only(sealing: Sealing) -> None:
    sealed = sealing.seal(b"secret", owner="ops-1", purpose="totp")
    assert sealing.unseal(sealed, owner="ops-1", purpose="totp") == b"secret"
    for owner, purpose, altered in (
        ("ops-2", "totp", sealed),
        ("ops-1", "digest", sealed),
        ("ops-1", "totp", sealed[:-1]),
        ("ops-1", "totp", b""),
    ):
        with pytest.raises(SealError):
            sealing.unseal(altered, owner=owner, purpose=purpose)


def test_pseudonyms_take_the_key(sealing: Sealing) -> None:  # C17
    other = Sealing(secrets.token_bytes(32), random_bytes=secrets.token_bytes)
    assert sealing.pseudonym(b"certificate") == sealing.pseudonym(b"certificate")
    assert sealing.pseudonym(b"certificate") != other.pseudonym(b"certificate")


async def test_a_session_ends_when_idle(accounts: AccountRepository, sessions: Sessions, clock: HeldClock) -> None:
    account = _account("ops-1")
    await accounts.add(account)
    opened = await sessions.open(account, FACTORS)
    for _ in range(3):
        clock.advance(IDLE - timedelta(seconds=1))
        assert await sessions.resolve(opened.token) == opened.principal
    clock.advance(IDLE)
    assert await _reason(sessions, opened.token) is FailureReason.SESSION_EXPIRED


async def test_a_session_ends_at_its_absolute_expiry_however_busy(
    accounts: AccountRepository, sessions: Sessions, clock: HeldClock
) -> None:
    account = _account("ops-1")
    await accounts.add(account)
    opened = await sessions.open(account, FACTORS)
    assert opened.expires_at == clock.now() + ABSOLUTE
    while clock.now() + IDLE / 2 < opened.expires_at:
        clock.advance(IDLE / 2)
        await sessions.resolve(opened.token)
    clock.advance(IDLE / 2)
    assert await _reason(sessions, opened.token) is FailureReason.SESSION_EXPIRED


async def test_logout_ends_one_session_and_no_other(accounts: AccountRepository, sessions: Sessions) -> None:
    account = _account("ops-1")
    await accounts.add(account)
    first, second = await sessions.open(account, FACTORS), await sessions.open(account, FACTORS)
    await sessions.close(first.token)
    await sessions.close(first.token)
    assert await _reason(sessions, first.token) is FailureReason.SESSION_UNKNOWN
    assert (await sessions.resolve(second.token)).account == "ops-1"


async def test_sessions_of_one_account_are_bounded(
    accounts: AccountRepository, sessions: Sessions, database: Database, clock: HeldClock
) -> None:
    account = _account("ops-1")
    await accounts.add(account)
    opened = []
    for _ in range(MAX_SESSIONS_PER_ACCOUNT + 1):
        opened.append(await sessions.open(account, FACTORS))
        clock.advance(timedelta(seconds=1))
    async with database.sessions() as session:
        assert await session.scalar(select(func.count(LoginSessionRow.token_sha256))) == MAX_SESSIONS_PER_ACCOUNT
    assert await _reason(sessions, opened[0].token) is FailureReason.SESSION_UNKNOWN
    assert await sessions.resolve(opened[-1].token) == opened[-1].principal


async def test_expired_sessions_are_forgotten_at_the_next_login(
    accounts: AccountRepository, sessions: Sessions, database: Database, clock: HeldClock
) -> None:
    account = _account("ops-1")
    await accounts.add(account)
    await sessions.open(account, FACTORS)
    clock.advance(ABSOLUTE)
    await sessions.open(account, FACTORS)
    async with database.sessions() as session:
        assert await session.scalar(select(func.count(LoginSessionRow.token_sha256))) == 1


async def test_a_login_stands_until_its_absolute_expiry_or_its_end_idle_or_not(
    accounts: AccountRepository, sessions: Sessions, clock: HeldClock
) -> None:
    # S15: whoever watches is not idle
    watcher, other = (replace(_account(f"pp-{n}"), agent=f"agent-{n}") for n in (1, 2))
    for account in (watcher, other):
        await accounts.add(account)
    agents = ["agent-1", "agent-2", "agent-3"]
    opened = await sessions.open(watcher, FACTORS)
    clock.advance(IDLE)
    await sessions.open(other, FACTORS)
    assert await _reason(sessions, opened.token) is FailureReason.SESSION_EXPIRED
    assert await sessions.agents_logged_in(agents) == {"agent-1", "agent-2"}
    assert await sessions.agents_logged_in([]) == frozenset()
    clock.advance(ABSOLUTE - IDLE)
    assert await sessions.agents_logged_in(agents) == {"agent-2"}
    await sessions.close_all("pp-2")
    assert await sessions.agents_logged_in(agents) == frozenset()


@pytest.mark.parametrize("token", ["", "unknown", "x" * 100_000, "é\0"])
async def test_a_token_that_opens_nothing_is_refused(sessions: Sessions, token: str) -> None:
    assert await _reason(sessions, token) is FailureReason.SESSION_UNKNOWN


async def test_an_unreachable_database_is_a_declared_error(sealing: Sealing, clock: HeldClock) -> None:
    nowhere = Database("postgresql://127.0.0.1:1/records")
    with pytest.raises(RecordsUnavailableError):
        await AccountRepository(nowhere.sessions, sealing, clock).find("ops-1")
    await nowhere.close()


@pytest.mark.parametrize("database_kind", [DatabaseKind.POSTGRESQL], indirect=True)
async def test_a_database_that_stands_still_is_a_declared_error(
    accounts: AccountRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accounts.find("ops-1")
    monkeypatch.setattr(auth.records, "TRANSACTION_LIMIT_S", 0.1)
    with postgresql().frozen(), pytest.raises(RecordsUnavailableError):
        await accounts.find("ops-1")
    monkeypatch.undo()
    assert await accounts.find("ops-1") is None


async def _reason(sessions: Sessions, token: str) -> FailureReason:
    with pytest.raises(AuthenticationError) as refused:
        await sessions.resolve(token)
    return refused.value.reason
