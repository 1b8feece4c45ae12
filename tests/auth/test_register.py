"""The register of who may: recorded, ended once, never edited, and traced before it takes effect (C09)."""

from __future__ import annotations

from datetime import date, timedelta
from ipaddress import ip_network

import pytest

from auth.accounts import AccountRepository
from auth.errors import RecordsUnavailableError, RegisterRuleError, TraceUnavailable, UnknownRecordError
from auth.history import held_on
from auth.principals import Role
from auth.records import transaction
from auth.register import Register
from auth.register_rows import read_rights
from auth.rights import Action, Administration, Block, BlockKind, Rights
from auth.sealing import Sealing
from auth.trace import Draft, Kind
from camera_registry.orders import Perimeter
from camera_registry.paris import start_of_day
from halfgateway.database import Database
from tests.auth.test_accounts import _account
from tests.held_clock import HeldClock
from tests.rights import BY, SITE, designation, habilitation, register_of

AGENT = "pp-7f3a"
DAY = timedelta(days=1)


@pytest.fixture
def records(database: Database) -> Database:
    """A migrated database, once of each kind."""
    return database


@pytest.fixture
def told() -> list[Draft]:
    return []


@pytest.fixture
def register(records: Database, clock: HeldClock, told: list[Draft]) -> Register:
    return register_of(records, clock, told)


async def rights_of(records: Database, clock: HeldClock) -> Rights:
    async with transaction(records.sessions) as session:
        return await read_rights(session, clock.now(), frozenset({SITE}))


async def test_what_is_recorded_comes_back_and_is_traced(
    register: Register, records: Database, clock: HeldClock, told: list[Draft]
) -> None:
    # C09 C17: authority, reference, dates, service; no name
    held = habilitation(
        AGENT,
        territory=Perimeter(communes=frozenset({"Versailles"}), cameras=frozenset({"cam-1"})),
        actions=frozenset({Action.LIVE}),
        sources=(ip_network("198.51.100.0/24"), ip_network("2001:db8::/32")),
        end=clock.now() + 90 * DAY,
    )
    await register.designate([designation(AGENT)], [held], by=BY)
    assert await register.designations() == [designation(AGENT)]
    assert await register.habilitations() == [held]
    seen = await rights_of(records, clock)
    assert seen.designation(AGENT) == designation(AGENT)
    assert seen.habilitations_of(AGENT, Role.OPERATOR) == (held,)
    assert [draft.kind for draft in told] == [Kind.AGENT_ADDED, Kind.HABILITATION_GRANTED]
    assert [(draft.agent, draft.account) for draft in told] == [(AGENT, BY.account)] * 2
    assert told[0].detail["authority"] == "préfet de police"
    assert told[1].detail["sources"] == ["198.51.100.0/24", "2001:db8::/32"]


async def test_an_agent_has_one_designation_at_a_time(register: Register, told: list[Draft]) -> None:
    # C09
    await register.designate([designation(AGENT)], by=BY)
    for both in ([designation("pp-new"), designation(AGENT)], [designation(AGENT), designation("pp-new")]):
        with pytest.raises(RegisterRuleError, match="déjà en vigueur"):
            await register.designate(both, by=BY)
    assert [each.agent for each in await register.designations()] == [AGENT]  # all or none
    assert len(told) == 1


async def test_syn_ends_no_designation_of_pps_by_itself(register: Register, told: list[Draft]) -> None:
    # C09: two administrations; neither edits the other's
    syn = designation("syn-1", administration=Administration.SYN)
    await register.designate([designation(AGENT), syn], [habilitation(AGENT)], by=BY)
    (held,) = await register.habilitations()
    with pytest.raises(RegisterRuleError, match="la référence de sa décision"):
        await register.end_designation(AGENT, reason="doute", by=BY)
    with pytest.raises(RegisterRuleError, match="la référence de sa décision"):
        await register.end_habilitation(held.id, reason="doute", by=BY)
    assert (await register.end_designation("syn-1", reason="départ", by=BY)) == []
    ended = await register.end_designation(AGENT, reason="départ", reference="PP-99", by=BY)
    assert [(each.id, each.ended_reason) for each in ended] == [(held.id, "designation-ended")]
    assert [draft.kind for draft in told][3:] == [Kind.AGENT_ENDED, Kind.AGENT_ENDED, Kind.HABILITATION_ENDED]
    assert told[-2].detail["reference"] == "PP-99"


@pytest.mark.parametrize(
    ("administration", "role"),
    [
        (Administration.PP, Role.OPS),
        (Administration.PP, Role.OFFICER),
        (Administration.SYN, Role.OPERATOR),
        (Administration.SYN, Role.SUPERVISOR),
        (Administration.SYN, Role.MACHINE),
    ],
)
async def test_each_administrations_agents_have_its_roles(
    register: Register, administration: Administration, role: Role
) -> None:
    # C09
    await register.designate([designation("a-1", administration=administration)], by=BY)
    with pytest.raises(RegisterRuleError, match="n'est pas ouvert"):
        await register.grant(habilitation("a-1", role), by=BY)


async def test_nobody_without_a_designation_is_habilitated(register: Register) -> None:
    # C09: deny by default
    with pytest.raises(UnknownRecordError):
        await register.grant(habilitation("nobody"), by=BY)
    for act in (register.end_habilitation, register.lift):
        with pytest.raises(UnknownRecordError):
            await act("h-none", reason="r", by=BY)
    with pytest.raises(UnknownRecordError):
        await register.confirm("h-none", reference="r", by=BY)


async def test_what_cannot_be_traced_does_not_take_effect(records: Database, clock: HeldClock) -> None:
    # T01
    async def unwritable(_: Draft) -> None:
        raise TraceUnavailable("the disk is full")

    mute = Register(records.sessions, clock, record=unwritable)
    with pytest.raises(TraceUnavailable):
        await mute.designate([designation(AGENT)], by=BY)
    assert await mute.designations() == []
    assert (await rights_of(records, clock)).revision == 0


async def test_every_change_counts_and_no_reading_does(
    register: Register, records: Database, clock: HeldClock, told: list[Draft]
) -> None:
    # S12: a node asks for this number alone
    held = habilitation(AGENT)
    await register.designate([designation(AGENT)], [held], by=BY)
    accounts = AccountRepository(records.sessions, Sealing(b"k" * 32, random_bytes=lambda size: b"r" * size), clock)
    await accounts.add(_account(AGENT))
    numbers = [(await rights_of(records, clock)).revision]
    block = Block(
        id="b-1", kind=BlockKind.AGENT, subject=AGENT, ground="security", reason="r", set_at=clock.now(), set_by="o"
    )
    for change in (
        register.confirm(held.id, reference="revue-1", by=BY),
        register.block(block, by=BY),
        register.lift(block.id, reason="levé", by=BY),
        register.end_habilitation(held.id, reason="départ", reference="PP-9", by=BY),
        register.grant(habilitation(AGENT), by=BY),
        register.end_designation(AGENT, reason="départ", reference="PP-9", by=BY),
        accounts.end(AGENT),
    ):
        await change
        numbers.append((await rights_of(records, clock)).revision)
    assert numbers == list(range(1, 9))
    assert (await rights_of(records, clock)).ended_accounts == {AGENT}
    kinds = {Kind.BLOCK_SET, Kind.BLOCK_LIFTED, Kind.HABILITATION_CONFIRMED, Kind.HABILITATION_ENDED}
    assert kinds <= {draft.kind for draft in told}


async def test_blocks_hold_until_they_expire_or_are_lifted(
    register: Register, records: Database, clock: HeldClock
) -> None:
    # S12
    until = clock.now() + timedelta(hours=1)
    for name, expires in (("b-1", until), ("b-2", None)):
        block = Block(
            id=name,
            kind=BlockKind.CAMERA,
            subject=f"cam-{name}",
            ground="security",
            reason="r",
            set_at=clock.now(),
            set_by="o",
            expires_at=expires,
        )
        await register.block(block, by=BY)
    seen = await rights_of(records, clock)
    assert [seen.is_blocked(BlockKind.CAMERA, f"cam-b-{n}", clock.now()) for n in (1, 2, 3)] == [True, True, False]
    assert not seen.is_blocked(BlockKind.CAMERA, "cam-b-1", until)
    await register.lift("b-2", reason="levé", by=BY)
    assert [each.id for each in await register.blocks()] == ["b-1"]


async def test_an_expired_blocks_end_is_recorded_once(
    register: Register, records: Database, clock: HeldClock, told: list[Draft]
) -> None:
    # S12: of several nodes, one writes it
    block = Block(
        id="b-1",
        kind=BlockKind.AGENT,
        subject=AGENT,
        ground="security",
        reason="r",
        set_at=clock.now(),
        set_by="o",
        expires_at=clock.now() + DAY,
    )
    await register.block(block, by=BY)
    assert await register.close_expired_blocks() == []
    clock.advance(DAY)
    assert [await register.close_expired_blocks() for _ in range(2)] == [["b-1"], []]
    assert [draft.kind for draft in told] == [Kind.BLOCK_SET, Kind.BLOCK_EXPIRED]
    assert (await rights_of(records, clock)).blocks == ()


async def test_a_new_designation_brings_back_no_habilitation_of_the_one_before(
    register: Register, records: Database, clock: HeldClock
) -> None:
    # C09: an agent who comes back is habilitated anew
    await register.designate([designation(AGENT, end=clock.now() + DAY)], [habilitation(AGENT)], by=BY)
    clock.advance(2 * DAY)
    again = designation(AGENT, start=clock.now(), recorded_at=clock.now())
    await register.designate([again], by=BY)
    seen = await rights_of(records, clock)
    assert seen.designation(AGENT) == again
    assert not any(each.holds(clock.now()) for each in seen.habilitations_of(AGENT, Role.OPERATOR))
    assert len(await register.designations()) == 2
    assert [each.ended_reason for each in await register.habilitations()] == ["lapsed"]


async def test_what_has_just_ended_is_still_known_to_have_been(
    register: Register, records: Database, clock: HeldClock
) -> None:
    await register.designate([designation(AGENT)], by=BY)
    await register.end_designation(AGENT, reason="départ", reference="PP-9", by=BY)
    ended = (await rights_of(records, clock)).designation(AGENT)
    assert ended is not None
    assert not ended.holds(clock.now())
    clock.advance(2 * DAY)
    assert (await rights_of(records, clock)).designation(AGENT) is None
    assert len(await register.designations()) == 1  # the history keeps it


async def test_who_had_what_right_on_that_day(register: Register, clock: HeldClock) -> None:
    # C09: from records that are ended, never edited; nobody had a right before it was recorded
    recorded = clock.now()
    begun = designation(AGENT, recorded_at=recorded)
    held = habilitation(AGENT, recorded_at=recorded)
    await register.designate([begun], [held], by=BY)
    clock.advance(10 * DAY)
    await register.end_habilitation(held.id, reason="mutation", reference="PP-9", by=BY)
    wider = habilitation(
        AGENT,
        recorded_at=clock.now(),
        start=clock.now() + 5 * DAY,
        territory=Perimeter(communes=frozenset({"Versailles"})),
    )
    await register.grant(wider, by=BY)
    clock.advance(10 * DAY)
    await register.end_designation(AGENT, reason="départ", reference="PP-10", by=BY)
    everything = await register.designations(), await register.habilitations()

    def on(day: date) -> list[str]:
        return [each.habilitation.id for each in held_on(day, *everything)]

    assert [on(date(2026, 11, day)) for day in (20, 21, 30)] == [[], [held.id], [held.id]]
    assert [on(date(2026, 12, day)) for day in (1, 2, 5, 6, 11, 12)] == [
        [held.id],
        [],
        [],
        [wider.id],
        [wider.id],
        [],
    ]
    (last,) = held_on(date(2026, 12, 11), *everything)
    assert (last.since, last.until) == (wider.start, clock.now())


def test_a_right_that_ends_at_midnight_in_paris_is_none_of_the_next_days() -> None:
    # 29 March has 23 hours in Paris, 25 October 25
    for last, after in ((date(2026, 3, 28), date(2026, 3, 29)), (date(2026, 10, 25), date(2026, 10, 26))):
        held = habilitation(AGENT, end=start_of_day(after))
        assert [bool(held_on(day, [designation(AGENT)], [held])) for day in (last, after)] == [True, False]


async def test_a_database_that_is_gone_is_a_declared_error(clock: HeldClock) -> None:
    nowhere = Database("postgresql://gateway@127.0.0.1:1/records")
    register = register_of(nowhere, clock)
    for act in (register.designations(), register.designate([designation(AGENT)], by=BY)):
        with pytest.raises(RecordsUnavailableError):
            await act
    await nowhere.close()


async def test_a_right_ends_after_it_begins(register: Register, clock: HeldClock) -> None:
    await register.designate([designation(AGENT)], by=BY)
    for end in (clock.now() - DAY, clock.now()):
        with pytest.raises(RegisterRuleError, match="postérieure"):
            await register.grant(habilitation(AGENT, start=clock.now(), end=end), by=BY)
