"""Guessing is slow, and nobody who fails on purpose keeps a colleague out (S03)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from auth import throttle
from auth.acquaintances import KEPT, Acquaintances
from auth.errors import AuthenticationError, ThrottledError
from auth.throttle import (
    FAILURES_PER_MINUTE,
    FAILURES_PER_MINUTE_OF_ACQUAINTANCE,
    FAILURES_PER_MINUTE_OF_STRANGERS,
    Throttle,
)
from halfgateway.database import Database
from tests.databases import everything_in
from tests.held_clock import HeldClock
from tests.house import House

HOME, ATTACKER = "198.51.100.7", "203.0.113.9"


def spend(
    limited: Throttle, source: str, account: str, certificate: bytes | None = None, *, known: bool = False
) -> int:
    """Fail until told to wait; how often that took."""
    for count in range(1000):
        try:
            limited.begin(source, account, certificate, known=known)
        except ThrottledError:
            return count
    raise AssertionError("never told to wait")


def test_a_source_guesses_no_faster_by_changing_the_name(clock: HeldClock) -> None:
    limited = Throttle(clock)
    tried = sum(spend(limited, ATTACKER, f"account-{number}", b"card") for number in range(100))
    assert tried == FAILURES_PER_MINUTE


def test_a_thousand_sources_guess_no_faster_than_one(clock: HeldClock) -> None:
    limited = Throttle(clock)
    tried = sum(spend(limited, f"203.0.113.{number % 256}", "ops") for number in range(1000))
    assert tried == FAILURES_PER_MINUTE_OF_STRANGERS


def test_who_has_come_in_before_is_kept_out_by_nobody(clock: HeldClock) -> None:
    limited = Throttle(clock)
    for number in range(1000):
        spend(limited, f"203.0.113.{number % 256}", "ops")
    spend(limited, HOME, "someone-else")
    for _ in range(100):
        limited.succeeded(limited.begin(HOME, "ops", known=True))


def test_nor_by_one_at_the_same_desk_without_the_card(clock: HeldClock) -> None:
    limited = Throttle(clock)
    spend(limited, HOME, "operator", None)
    spend(limited, HOME, "operator", b"another card")
    limited.succeeded(limited.begin(HOME, "operator", b"card", known=True))


def test_a_new_desk_is_no_obstacle_to_who_has_a_card(clock: HeldClock) -> None:
    limited = Throttle(clock)
    for number in range(100):
        spend(limited, f"203.0.113.{number}", "operator")
    limited.begin("198.51.100.99", "operator", b"card")


def test_an_acquaintance_guesses_slowly_too(clock: HeldClock) -> None:
    limited = Throttle(clock)
    assert spend(limited, HOME, "ops", known=True) == FAILURES_PER_MINUTE_OF_ACQUAINTANCE


def test_names_that_nobody_has_are_counted_alike(clock: HeldClock) -> None:
    limited = Throttle(clock)
    for account in ("ops", "nobody"):
        assert sum(spend(limited, f"203.0.113.{n}", account) for n in range(200)) == FAILURES_PER_MINUTE_OF_STRANGERS


def test_what_is_remembered_is_bounded(clock: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_BUDGETS", 50)
    limited = Throttle(clock)
    for number in range(100):
        limited.succeeded(limited.begin(f"192.0.2.{number}", "ops"))
    assert len(limited._budgets) <= 50


def test_one_source_makes_no_other_guessers_count_forgotten(clock: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_BUDGETS", 50)
    limited = Throttle(clock)
    spend(limited, ATTACKER, "ops")
    for number in range(1000):
        spend(limited, HOME, f"account-{number}")
    assert spend(limited, ATTACKER, "ops") == 0


async def test_who_has_come_in_is_known_after_a_restart_and_for_ninety_days(
    house: House, database: Database, clock: HeldClock
) -> None:
    await house.login.authenticate(house.credentials("ops"), source=HOME)
    who = throttle.acquaintance(HOME, "ops", None)
    again = Acquaintances(database.sessions, clock)
    assert await again.includes(who)
    for another in ((ATTACKER, "ops", None), (HOME, "officer", None), (HOME, "ops", b"card")):
        assert not await again.includes(throttle.acquaintance(*another))
    clock.advance(KEPT)
    assert not await again.includes(who)
    await again.add(throttle.acquaintance(HOME, "officer", None))
    assert who not in await everything_in(database)


async def test_a_colleague_logs_in_through_an_attack_on_the_account(house: House, clock: HeldClock) -> None:
    await house.login.authenticate(house.credentials("ops"), source=HOME)
    wrong = replace(house.bare_credentials("ops"), password="wrong")
    for number in range(FAILURES_PER_MINUTE_OF_STRANGERS):
        with pytest.raises(AuthenticationError):
            await house.login.authenticate(wrong, source=f"203.0.113.{number}")
    clock.advance(timedelta(seconds=30))
    spent = [spend(house.login._throttle, f"203.0.114.{number}", "ops") for number in range(100)]
    assert sum(spent) == FAILURES_PER_MINUTE_OF_STRANGERS // 2
    with pytest.raises(ThrottledError):
        await house.login.authenticate(house.credentials("ops"), source="203.0.113.77")
    await house.login.authenticate(house.credentials("ops"), source=HOME)
