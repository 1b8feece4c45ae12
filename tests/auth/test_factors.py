"""Passwords, throttle and purposes, each by itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import unicodedata
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from auth import passwords, throttle
from auth.errors import ThrottledError, UnknownPurposeError
from auth.passwords import MAX_PASSWORD_CHARS, Passwords
from auth.purposes import Purpose, normalise
from auth.throttle import Throttle
from auth.totp import provisioning_uri
from tests.held_clock import HeldClock

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
async def hashing() -> AsyncIterator[Passwords]:
    opened = Passwords(random_bytes=secrets.token_bytes, hasher=CHEAP)
    yield opened
    opened.close()


async def test_passwords_are_argon2id_with_the_costs_of_rfc_9106() -> None:
    real = Passwords(random_bytes=secrets.token_bytes)
    assert (await real.hash("secret")).startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    real.close()


async def test_a_password_matches_however_its_accents_were_typed(hashing: Passwords) -> None:
    stored = await hashing.hash(unicodedata.normalize("NFC", "Été à Versailles"))
    assert await hashing.verify(stored, unicodedata.normalize("NFD", "Été à Versailles"))
    assert not await hashing.verify(stored, "Ete a Versailles")


async def test_a_password_is_not_truncated_into_a_match(hashing: Passwords) -> None:
    stored = await hashing.hash("x" * MAX_PASSWORD_CHARS)
    assert not await hashing.verify(stored, "x" * (MAX_PASSWORD_CHARS + 1))
    for length in (0, MAX_PASSWORD_CHARS + 1):
        with pytest.raises(ValueError, match="1 to 1024"):
            await hashing.hash("x" * length)


async def test_waiting_hashes_are_bounded(hashing: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 3)
    answers = await asyncio.gather(*(hashing.verify(None, "x") for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [bool, bool, bool, ThrottledError, ThrottledError]
    assert await hashing.verify(None, "x") is False


def test_the_sources_remembered_are_bounded(clock: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_BUDGETS", 100)
    limited = Throttle(clock, failures_per_minute=1)
    for host in range(200):
        limited.count_failure(f"192.0.2.{host}")
    assert len(limited._budgets) == 100
    with pytest.raises(ThrottledError):
        limited.count_failure("192.0.2.199")


def test_an_ipv6_customer_is_one_source_and_mapped_ipv4_is_ipv4(clock: HeldClock) -> None:
    limited = Throttle(clock, failures_per_minute=1)
    limited.count_failure("2001:db8:1:2::1")
    with pytest.raises(ThrottledError):
        limited.count_failure("2001:db8:1:2:ffff::9%eth0")
    limited.count_failure("2001:db8:1:3::1")
    limited.count_failure("192.0.2.1")
    with pytest.raises(ThrottledError):
        limited.count_failure("::ffff:192.0.2.1")


def test_a_locked_source_is_told_when_to_come_back(clock: HeldClock) -> None:
    limited = Throttle(clock, failures_per_minute=20)
    for _ in range(20):
        limited.count_failure("unix")
    with pytest.raises(ThrottledError) as told:
        limited.count_failure("unix")
    clock.advance(timedelta(seconds=told.value.retry_after_s))
    limited.count_failure("unix")
    with pytest.raises(ThrottledError) as again:
        limited.count_failure("unix")
    assert not again.value.just_locked, "one entry a lock, not one every three seconds"


def test_the_provisioning_uri_is_what_authenticators_read() -> None:
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    uri = provisioning_uri(secret, account="ops-1", issuer="SYN")
    assert uri == f"otpauth://totp/SYN:ops-1?secret={secret}&issuer=SYN"


@pytest.mark.parametrize(
    ("spelling", "purpose"),
    [
        ("L251-2-5", Purpose.SAFETY_OF_PERSONS_AND_GOODS),
        ("L. 251-2, 5°", Purpose.SAFETY_OF_PERSONS_AND_GOODS),
        ("l251-2 5", Purpose.SAFETY_OF_PERSONS_AND_GOODS),
        ("  L.\u00a0251\u20112,\u202f5\u00a0° ", Purpose.SAFETY_OF_PERSONS_AND_GOODS),
        ("article L251-2-11° du CSI", Purpose.ABANDONED_WASTE),
        ("Art. L. 251-2 6º du Code de la sécurité intérieure", Purpose.TERRORISM),
        ("L. 223-1", Purpose.TERRORISM_BY_ORDER),
        ("l223-1", Purpose.TERRORISM_BY_ORDER),
    ],
)
def test_a_purpose_is_read_however_it_is_cited(spelling: str, purpose: Purpose) -> None:  # L16
    assert normalise(spelling) is purpose


@pytest.mark.parametrize(
    "text",
    [
        "",
        "L251-2",
        "L251-2-0",
        "L251-2-12",
        "L251-25",
        "L251-2-05",
        "L223-1-1",
        "L251-3-1",
        "R251-2-1",
        "L251-2-5 enquête 2026/1234",
        "L251-2-5, L251-2-6",
        "vol à l'étalage",
        "L251-2-٥",
        "L251-2-5\0",
        "L251-2-" + " " * 100 + "5",
    ],
)
def test_anything_else_is_no_purpose(text: str) -> None:  # L16
    with pytest.raises(UnknownPurposeError):
        normalise(text)


@given(st.text(max_size=100))
def test_any_text_gives_a_purpose_or_the_declared_error(text: str) -> None:  # L16
    with contextlib.suppress(UnknownPurposeError):
        assert normalise(text) in Purpose


def test_every_purpose_has_its_code_and_its_wording() -> None:  # L16
    codes = [f"L251-2-{item}" for item in range(1, 12)] + ["L223-1"]
    assert [purpose.value for purpose in Purpose] == codes
    assert all(normalise(purpose.value) is purpose for purpose in Purpose)
    assert len({purpose.wording for purpose in Purpose}) == len(codes)
