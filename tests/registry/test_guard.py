"""One try with a new password, and no further one until it changes (quirk lock-out)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from held_clock import HeldClock

from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, Locked, Unreachable
from camera_registry.guard import REST_S, CredentialGuard

GOOD = Credentials(username="passerelle", password="good")
BAD = Credentials(username="passerelle", password="bad")


class Device:
    """A device that takes one password, and counts the tries with any other."""

    def __init__(self) -> None:
        self.accepts = GOOD
        self.reachable = True
        self.bad_tries = 0
        self.asked = 0

    async def ask(self, credentials: Credentials) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.reachable:
            raise Unreachable("no answer")
        if credentials != self.accepts:
            self.bad_tries += 1
            raise AuthRejected("wrong")
        return "answer"


@pytest.fixture
def guard(clock: HeldClock) -> CredentialGuard:
    return CredentialGuard(clock)


@pytest.fixture
def device() -> Device:
    return Device()


async def test_a_wrong_password_is_tried_once_however_many_ask(guard: CredentialGuard, device: Device) -> None:
    asked = [guard.run("device", BAD, lambda: device.ask(BAD)) for _ in range(20)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AuthRejected"] + ["Locked"] * 19
    assert device.bad_tries == 1


async def test_it_is_not_tried_again_whatever_the_time(
    guard: CredentialGuard, device: Device, clock: HeldClock
) -> None:
    with pytest.raises(AuthRejected):
        await guard.run("device", BAD, lambda: device.ask(BAD))
    clock.advance(timedelta(days=365))
    with pytest.raises(Locked):
        await guard.run("device", BAD, lambda: device.ask(BAD))
    assert device.bad_tries == 1


async def test_a_changed_secret_begins_anew(guard: CredentialGuard, device: Device) -> None:
    with pytest.raises(AuthRejected):
        await guard.run("device", BAD, lambda: device.ask(BAD))
    assert await guard.run("device", GOOD, lambda: device.ask(GOOD)) == "answer"


async def test_one_devices_refusal_says_nothing_of_another(guard: CredentialGuard, device: Device) -> None:
    with pytest.raises(AuthRejected):
        await guard.run("one", BAD, lambda: device.ask(BAD))
    device.accepts = BAD
    assert await guard.run("other", BAD, lambda: device.ask(BAD)) == "answer"


async def test_a_device_that_does_not_answer_uses_up_no_try(guard: CredentialGuard, device: Device) -> None:
    device.reachable = False
    for _ in range(3):
        with pytest.raises(Unreachable):
            await guard.run("device", GOOD, lambda: device.ask(GOOD))
    device.reachable = True
    assert await guard.run("device", GOOD, lambda: device.ask(GOOD)) == "answer"


async def test_a_password_that_was_good_rests_when_refused(
    guard: CredentialGuard, device: Device, clock: HeldClock
) -> None:
    await guard.run("device", GOOD, lambda: device.ask(GOOD))
    device.accepts = BAD
    with pytest.raises(AuthRejected):
        await guard.run("device", GOOD, lambda: device.ask(GOOD))
    clock.advance(timedelta(seconds=REST_S - 1))
    with pytest.raises(Locked):
        await guard.run("device", GOOD, lambda: device.ask(GOOD))
    clock.advance(timedelta(seconds=2))
    device.accepts = GOOD
    assert await guard.run("device", GOOD, lambda: device.ask(GOOD)) == "answer"
    assert device.bad_tries == 1


async def test_accepted_credentials_are_used_in_parallel(guard: CredentialGuard, device: Device) -> None:
    await guard.run("device", GOOD, lambda: device.ask(GOOD))
    gate = asyncio.Event()
    waiting = 0

    async def wait() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 3:
            gate.set()
        await gate.wait()

    async with asyncio.timeout(20):
        await asyncio.gather(*(guard.run("device", GOOD, wait) for _ in range(3)))


async def test_a_cancelled_first_try_lets_the_next_one_go(guard: CredentialGuard, device: Device) -> None:
    first = asyncio.ensure_future(guard.run("device", GOOD, asyncio.Event().wait))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await guard.run("device", GOOD, lambda: device.ask(GOOD)) == "answer"
