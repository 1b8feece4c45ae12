"""Who gets in with what, why the others do not, and that they are all told the same."""

from __future__ import annotations

import asyncio
import re
import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import text

from auth.demo_authority import DemoAuthority
from auth.errors import AuthenticationError, FailureReason, RecordsUnavailableError, ThrottledError
from auth.login import SECOND_FACTORS, Credentials
from auth.passwords import Passwords
from auth.possession import CertificateProof
from auth.principals import Attribution, Role
from auth.revocation import load_revocation_lists
from auth.throttle import FAILURES_PER_MINUTE
from auth.totp import code_at
from halfgateway.database import Database
from tests.databases import everything_in
from tests.held_clock import HeldClock
from tests.house import CODE_ROLES, House

SOURCE = "198.51.100.7"

SAMPLES = 7
"""Logins of each kind whose time is taken: the median of seven stands above a busy machine's noise."""


async def _fails(house: House, credentials: Credentials, source: str = SOURCE) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as failed:
        await house.login.authenticate(credentials, source=source)
    return failed.value


@pytest.mark.parametrize(
    ("account_id", "factors", "attribution"),
    [
        ("operator", ("card", "password"), Attribution.AGENT_AUTHENTICATED),
        ("supervisor", ("card", "password"), Attribution.AGENT_AUTHENTICATED),
        ("machine", ("certificate", "password"), Attribution.MACHINE_ONLY),
        ("ops", ("password", "totp"), None),
        ("officer", ("password", "totp"), None),
        ("auditor", ("password", "totp"), None),
    ],
)
async def test_each_role_logs_in_with_its_factors(
    house: House, account_id: str, factors: tuple[str, ...], attribution: Attribution | None
) -> None:  # C08
    opened = await house.login.authenticate(house.credentials(account_id), source=SOURCE)
    assert opened.principal.account == account_id
    assert opened.principal.role.value == account_id
    assert opened.principal.factors == factors
    assert opened.principal.attribution is attribution
    assert await house.sessions.resolve(opened.token) == opened.principal


@pytest.mark.parametrize("role", CODE_ROLES)
async def test_syn_roles_may_use_a_card_instead_of_a_code(house: House, role: Role) -> None:  # C08
    card = house.authority.client(f"card-{role.value}", house.clock.now()).der
    await house.enrolment.bind_certificate(role.value, card)
    credentials = replace(house.bare_credentials(role.value), certificate_der=card)
    opened = await house.login.authenticate(credentials, source=SOURCE)
    assert opened.principal.factors == ("card", "password")
    assert opened.principal.attribution is Attribution.AGENT_AUTHENTICATED


def test_no_role_is_without_a_second_factor() -> None:  # C08
    assert set(SECOND_FACTORS) == set(Role)
    assert all(SECOND_FACTORS.values())


@pytest.mark.parametrize("account_id", ["operator", "supervisor"])
async def test_a_code_never_opens_pp_access(house: House, account_id: str) -> None:  # S05
    secret = await house.enrolment.enrol_totp(account_id)
    right_code = code_at(secret, house.clock.now())
    credentials = replace(house.bare_credentials(account_id), totp=right_code)
    assert (await _fails(house, credentials)).reason is FailureReason.CARD_MISSING


def _foreign_card(house: House, folder: Path) -> bytes:
    return DemoAuthority.open(folder / "elsewhere", house.clock.now()).client("operator", house.clock.now()).der


def _server_certificate(house: House, _folder: Path) -> bytes:
    return house.authority.server(house.clock.now()).der


def _unbound_card(house: House, _folder: Path) -> bytes:
    return house.authority.client("nobody", house.clock.now()).der


def _expired_card(house: House, _folder: Path) -> bytes:
    past = house.clock.now() - timedelta(days=2)
    return house.authority.client("expired", past, lifetime=timedelta(days=1)).der


def _future_card(house: House, _folder: Path) -> bytes:
    return house.authority.client("future", house.clock.now() + timedelta(days=1)).der


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (lambda house, _: house.certificates["revoked"], FailureReason.CERTIFICATE_REVOKED),
        (lambda house, _: house.certificates["supervisor"], FailureReason.CERTIFICATE_NOT_BOUND),
        (
            lambda house, _: house.authority.certificate.public_bytes(Encoding.DER),
            FailureReason.CERTIFICATE_WRONG_USAGE,
        ),
        (lambda *_: b"\x30\x03\x02\x01\x01", FailureReason.CERTIFICATE_UNREADABLE),
        (lambda *_: b"", FailureReason.CERTIFICATE_UNREADABLE),
        (_foreign_card, FailureReason.CERTIFICATE_UNTRUSTED),
        (_server_certificate, FailureReason.CERTIFICATE_WRONG_USAGE),
        (_unbound_card, FailureReason.CERTIFICATE_NOT_BOUND),
        (_expired_card, FailureReason.CERTIFICATE_EXPIRED),
        (_future_card, FailureReason.CERTIFICATE_NOT_YET_VALID),
    ],
)
async def test_a_bad_card_is_refused_with_its_reason(
    house: House, tmp_path: Path, card: Callable[[House, Path], bytes], reason: FailureReason
) -> None:  # C08, C09
    credentials = replace(house.credentials("operator"), certificate_der=card(house, tmp_path))
    failed = await _fails(house, credentials)
    assert (failed.reason, failed.account) == (reason, "operator")


@pytest.mark.parametrize(
    ("account_id", "change", "reason"),
    [
        ("operator", {"certificate_der": None}, FailureReason.CARD_MISSING),
        ("machine", {"certificate_der": None}, FailureReason.CERTIFICATE_MISSING),
        ("ops", {"totp": None}, FailureReason.SECOND_FACTOR_MISSING),
        ("ops", {"totp": "000000"}, FailureReason.WRONG_CODE),
        ("ops", {"totp": "١٢٣٤٥٦"}, FailureReason.WRONG_CODE),
        ("operator", {"password": "wrong"}, FailureReason.WRONG_PASSWORD),
        ("operator", {"password": ""}, FailureReason.WRONG_PASSWORD),
        ("operator", {"password": "x" * 100_000}, FailureReason.WRONG_PASSWORD),
    ],
)
async def test_a_wrong_or_missing_factor_is_refused_with_its_reason(
    house: House, account_id: str, change: dict[str, str | None], reason: FailureReason
) -> None:  # C08
    credentials = replace(house.credentials(account_id), **change)  # type: ignore[arg-type]
    assert (await _fails(house, credentials)).reason is reason


async def test_every_failure_shows_one_face(house: House) -> None:  # S03
    wrong_password = await _fails(house, replace(house.credentials("ops"), password="wrong"))
    wrong_code = await _fails(house, replace(house.credentials("ops"), totp="000000"))
    unknown = await _fails(house, Credentials("nobody", "wrong"))
    faces = {failed.public_code for failed in (wrong_password, wrong_code, unknown)}
    assert faces == {"unauthenticated"}


async def test_an_unknown_account_costs_the_same_work(house: House) -> None:  # S03
    house.hasher.verified = 0
    await _fails(house, replace(house.credentials("ops"), password="wrong"))
    for_known = house.hasher.verified
    house.hasher.verified = 0
    unknown = await _fails(house, Credentials("nobody", "wrong"))
    assert (for_known, house.hasher.verified) == (1, 1)
    assert (unknown.reason, unknown.account) == (FailureReason.UNKNOWN_ACCOUNT, None)


async def test_an_unknown_account_takes_the_same_time(house: House, clock: HeldClock) -> None:  # S03
    # at the real costs of a hash; a difference of a lookup drowns in it
    house.login._passwords = passwords = Passwords(random_bytes=secrets.token_bytes)
    await house.accounts.set_password_hash("ops", await passwords.hash("right"))
    took: dict[str, list[float]] = {"ops": [], "nobody": []}
    for number in range(2 * SAMPLES):
        account = ("ops", "nobody")[number % 2]
        began = time.perf_counter()
        await _fails(house, Credentials(account, "wrong"), source=f"203.0.113.{number}")
        took[account].append(time.perf_counter() - began)
        clock.advance(timedelta(minutes=1))
    passwords.close()
    known, unknown = statistics.median(took["ops"]), statistics.median(took["nobody"])
    assert 0.5 < known / unknown < 2.0, took


async def test_a_code_is_accepted_once(house: House, clock: HeldClock) -> None:  # S04
    credentials = house.credentials("ops")
    await house.login.authenticate(credentials, source=SOURCE)
    assert (await _fails(house, credentials)).reason is FailureReason.CODE_REPLAYED
    clock.advance(timedelta(seconds=30))
    assert (await _fails(house, credentials)).reason is FailureReason.CODE_REPLAYED
    await house.login.authenticate(house.credentials("ops"), source=SOURCE)


async def test_an_earlier_code_is_refused_once_a_later_one_was_accepted(house: House, clock: HeldClock) -> None:  # S04
    earlier = house.credentials("ops")
    clock.advance(timedelta(seconds=30))
    await house.login.authenticate(house.credentials("ops"), source=SOURCE)
    assert (await _fails(house, earlier)).reason is FailureReason.CODE_REPLAYED


async def test_of_two_logins_with_one_code_one_wins(house: House) -> None:  # S04
    credentials = house.credentials("officer")
    outcomes = await asyncio.gather(
        *(house.login.authenticate(credentials, source=SOURCE) for _ in range(8)), return_exceptions=True
    )
    failures = [outcome for outcome in outcomes if isinstance(outcome, AuthenticationError)]
    assert len(failures) == 7
    assert {failure.reason for failure in failures} == {FailureReason.CODE_REPLAYED}


async def test_a_wrong_password_does_not_burn_the_code(house: House) -> None:  # S04
    credentials = house.credentials("ops")
    await _fails(house, replace(credentials, password="wrong"))
    await house.login.authenticate(credentials, source=SOURCE)


@pytest.mark.parametrize(("steps", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
async def test_a_code_is_good_one_step_either_side(house: House, steps: int, accepted: bool) -> None:
    at = house.clock.now() + timedelta(seconds=30 * steps)
    credentials = replace(house.credentials("ops"), totp=code_at(house.totp_secrets["ops"], at))
    if accepted:
        await house.login.authenticate(credentials, source=SOURCE)
    else:
        assert (await _fails(house, credentials)).reason is FailureReason.WRONG_CODE


async def test_an_ended_account_is_closed_at_once(house: House) -> None:  # C09
    opened = await house.login.authenticate(house.credentials("operator"), source=SOURCE)
    await house.accounts.end("operator")
    assert (await _fails(house, house.credentials("operator"))).reason is FailureReason.ACCOUNT_ENDED
    with pytest.raises(AuthenticationError) as refused:
        await house.sessions.resolve(opened.token)
    assert refused.value.reason is FailureReason.ACCOUNT_ENDED


async def test_without_a_current_revocation_list_no_card_counts(house: House, clock: HeldClock) -> None:  # S02
    clock.advance(timedelta(days=31))
    failed = await _fails(house, house.credentials("operator"))
    assert failed.reason is FailureReason.REVOCATION_STALE


async def test_the_age_of_a_revocation_list_is_told(house: House, clock: HeldClock) -> None:  # S02
    assert house.verifier.used_life() == pytest.approx(0.0, abs=0.01)
    clock.advance(timedelta(days=24))
    assert house.verifier.used_life() == pytest.approx(0.8, abs=0.01)
    older = house.authority.revocation_list_path.read_bytes()
    newer = house.authority.write_revocation_list([], clock.now()).read_bytes()
    house.verifier.replace_revocation_lists(load_revocation_lists(older + newer))
    assert house.verifier.used_life() == pytest.approx(0.0, abs=0.01)
    house.verifier.replace_revocation_lists([])
    assert house.verifier.used_life() is None


async def test_a_newer_revocation_list_counts_at_the_next_login(house: House) -> None:  # S02
    await house.login.authenticate(house.credentials("operator"), source=SOURCE)
    operator = x509.load_der_x509_certificate(house.certificates["operator"])
    newer = house.authority.write_revocation_list([operator], house.clock.now())
    house.verifier.replace_revocation_lists(load_revocation_lists(newer.read_bytes()))
    failed = await _fails(house, house.credentials("operator"))
    assert failed.reason is FailureReason.CERTIFICATE_REVOKED


async def test_a_token_that_is_no_text_opens_nothing(house: House) -> None:
    # C08: bytes that are no UTF-8, as the HTTP server hands them on
    with pytest.raises(AuthenticationError, match="session-unknown"):
        await house.sessions.resolve(b"\xff\xfe".decode(errors="surrogateescape"))


async def test_a_certificate_that_falls_ends_the_logins_that_it_opened_and_no_other(house: House) -> None:
    # S12: whichever node or life of a node finds it out
    old = await house.login.authenticate(house.credentials("operator"), source=SOURCE)
    renewed = house.authority.client("operator-renewed", house.clock.now()).der
    await house.enrolment.bind_certificate("operator", renewed)
    new = await house.login.authenticate(replace(house.credentials("operator"), certificate_der=renewed), source=SOURCE)
    assert None is not old.principal.certificate != new.principal.certificate is not None
    revoked = x509.load_der_x509_certificate(house.certificates["operator"])
    lists = house.authority.write_revocation_list([revoked], house.clock.now())
    house.verifier.replace_revocation_lists(load_revocation_lists(lists.read_bytes()))
    used = await house.accounts.certificates_in_use([])
    (fallen,) = CertificateProof(house.accounts, house.verifier).fallen(used)
    assert (fallen.certificate.account, fallen.reason) == ("operator", FailureReason.CERTIFICATE_REVOKED)
    assert fallen.certificate.name == old.principal.certificate
    await house.accounts.let_certificate_fall(fallen.certificate.name)
    with pytest.raises(AuthenticationError, match="session-unknown"):
        await house.sessions.resolve(old.token)
    assert await house.sessions.resolve(new.token) == new.principal


async def test_a_source_that_fails_too_often_waits_and_others_do_not(house: House, clock: HeldClock) -> None:  # S03
    wrong = replace(house.credentials("operator"), password="wrong")
    for _ in range(FAILURES_PER_MINUTE):
        await _fails(house, wrong)
    with pytest.raises(ThrottledError) as throttled:
        await house.login.authenticate(house.credentials("operator"), source=SOURCE)
    assert throttled.value.just_locked
    with pytest.raises(ThrottledError) as again:
        await house.login.authenticate(house.credentials("operator"), source=SOURCE)
    assert not again.value.just_locked
    # the colleague at another address is not locked out of the very same account
    await house.login.authenticate(house.credentials("operator"), source="198.51.100.8")
    clock.advance(timedelta(seconds=throttled.value.retry_after_s))
    await house.login.authenticate(house.credentials("operator"), source=SOURCE)


async def test_success_costs_a_source_nothing(house: House, clock: HeldClock) -> None:  # S03
    for _ in range(FAILURES_PER_MINUTE + 5):
        await house.login.authenticate(house.credentials("operator"), source=SOURCE)


async def test_the_database_holds_no_secret_and_no_subject(house: House, database: Database) -> None:  # C16, C17
    opened = await house.login.authenticate(house.credentials("operator"), source=SOURCE)
    everything = await everything_in(database)
    hidden = [opened.token, *house.passwords.values(), *house.totp_secrets.values()]
    for der in house.certificates.values():
        certificate = x509.load_der_x509_certificate(der)
        hidden += [f"CN={certificate.subject}", str(certificate.serial_number), certificate.fingerprint(SHA256()).hex()]
    assert not [secret for secret in hidden if secret in everything]
    assert re.search(r"\$argon2id\$", everything)


async def test_a_database_that_does_not_answer_is_a_declared_error(house: House, database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE login_sessions"))
    with pytest.raises(RecordsUnavailableError):
        await house.login.authenticate(house.credentials("operator"), source=SOURCE)


async def test_an_account_that_was_made_with_its_end_ends_by_itself(house: House, clock: HeldClock) -> None:
    # L21: a named inspection account expires, and its session with it
    ends_at = clock.now() + timedelta(minutes=20)
    await house.enrolment.create("inspection-2026-3", Role.AUDITOR, "a password", scope="inspection", ends_at=ends_at)
    secret = await house.enrolment.enrol_totp("inspection-2026-3")

    def credentials() -> Credentials:
        return Credentials("inspection-2026-3", "a password", totp=code_at(secret, clock.now()), certificate_der=None)

    opened = await house.login.authenticate(credentials(), source=SOURCE)
    assert opened.principal.scope == "inspection"
    clock.advance(timedelta(minutes=20))
    with pytest.raises(AuthenticationError) as ended:
        await house.sessions.resolve(opened.token)
    assert ended.value.reason is FailureReason.ACCOUNT_ENDED
    assert (await _fails(house, credentials())).reason is FailureReason.ACCOUNT_ENDED
