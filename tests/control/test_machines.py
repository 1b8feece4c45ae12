"""The machines that may come by themselves: those of which the parties agreed, with their own certificate (C08)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from auth.errors import AuthenticationError, FailureReason, RecordsUnavailableError
from auth.principals import Attribution, Role
from halfgateway.control.callers import MachineAccount
from halfgateway.control.machines import MachineDirectory, MachineUse
from halfgateway.errors import StateStoreUnavailable
from halfgateway.protocol.digest import Algorithm, ha1
from tests.house import House

USE = MachineUse("machine", "garant-01", "L251-2-5")


async def directory(house: House, *uses: MachineUse) -> MachineDirectory:
    directory = MachineDirectory(house.accounts, house.verifier)
    directory.adopt(await directory.read(uses), all_show_one=False)
    return directory


async def the_machine(house: House) -> tuple[MachineDirectory, MachineAccount]:
    machines = await directory(house, USE)
    machine = machines.find("machine")
    assert machine is not None
    return machines, machine


async def test_a_machine_comes_as_what_was_agreed_of_it(house: House) -> None:
    # C08
    _, machine = await the_machine(house)
    assert machine.principal.account == "machine"
    assert (machine.principal.role, machine.principal.agent) == (Role.MACHINE, "garant-01")
    assert machine.principal.attribution is Attribution.MACHINE_ONLY
    assert (machine.reason, machine.over_plain_rtsp) == ("L251-2-5", False)
    password = house.passwords["machine"]
    assert machine.secrets.md5 == ha1("machine", "halfgateway", password, Algorithm.MD5)
    assert machine.secrets.sha256 == ha1("machine", "halfgateway", password, Algorithm.SHA256)


async def test_a_machine_of_which_nothing_was_agreed_does_not_come(house: House) -> None:
    # C08
    for uses in ((), (MachineUse("another", "garant-01", "L251-2-5"),)):
        machines = await directory(house, *uses)
        assert machines.find("machine") is None
        assert machines.find("another") is None


async def test_a_machine_shows_its_own_certificate(house: House) -> None:
    # C08
    machines, machine = await the_machine(house)
    stranger = house.authority.client("stranger", house.clock.now(), lifetime=timedelta(days=1)).der
    wrong = [
        (None, FailureReason.CERTIFICATE_MISSING),
        (b"no certificate", FailureReason.CERTIFICATE_UNREADABLE),
        (house.certificates["operator"], FailureReason.CERTIFICATE_NOT_BOUND),
        (house.certificates["revoked"], FailureReason.CERTIFICATE_REVOKED),
        (stranger, FailureReason.CERTIFICATE_NOT_BOUND),
    ]
    for _ in range(2):
        await machines.present(machine, house.certificates["machine"])
        for certificate, reason in wrong:
            with pytest.raises(AuthenticationError) as refused:
                await machines.present(machine, certificate)
            assert refused.value.reason is reason


@pytest.mark.parametrize("all_show_one", [False, True])
async def test_who_comes_by_a_ticket_shows_a_certificate_where_that_is_asked(house: House, all_show_one: bool) -> None:
    # S01
    machines = MachineDirectory(house.accounts, house.verifier)
    machines.adopt({}, all_show_one=all_show_one)
    machines.verify(house.certificates["operator"])
    with pytest.raises(AuthenticationError):
        machines.verify(house.certificates["revoked"])
    if all_show_one:
        with pytest.raises(AuthenticationError, match="certificate-missing"):
            machines.verify(None)
    else:
        machines.verify(None)


async def test_a_certificate_that_cannot_be_looked_up_is_neither_good_nor_bad(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C08: failure table, SQL down; one that was seen before is known
    machines, machine = await the_machine(house)
    await machines.present(machine, house.certificates["machine"])

    async def fail(_: str, __: bytes) -> str:
        raise RecordsUnavailableError("locked")

    monkeypatch.setattr(house.accounts, "prove_certificate", fail)
    await machines.present(machine, house.certificates["machine"])
    with pytest.raises(StateStoreUnavailable):
        await machines.present(machine, house.certificates["operator"])
