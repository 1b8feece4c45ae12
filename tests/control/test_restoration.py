"""A person restores: the pre-flight first, then a second person where that is asked for (article 8, C10)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from auth.trace import Draft, Kind
from halfgateway.control.proposals import Person, Proposal, Proposals
from halfgateway.control.restoration import Restoration
from halfgateway.errors import PreflightFailed, ProposalLapsed, StateStoreUnavailable
from ops.errors import NothingToRestore, OfficerRequired, WrongIncident
from ops.interconnection import Author, Ground, Status
from ops.preflight import Preflight
from tests.control.test_interconnection import BY_SYN, NodeView, node
from tests.control.valkeys import Nodes
from tests.preflights import looked

__all__ = ["node"]

ALICE = Person(Author.OPS, "ops-alice", "agent-alice", "198.51.100.1")
BOB = Person(Author.OPS, "ops-bob", "agent-bob", "198.51.100.2")
RSSI = Person(Author.OFFICER, "rssi", "agent-rssi", "198.51.100.3")
QUARTER = timedelta(minutes=15)
KEY = b"k" * 32


@dataclass
class Desk:
    """A restoration over a real record and a real Valkey; ``ill`` is what the pre-flight finds."""

    node: NodeView
    ill: set[str] = field(default_factory=set)
    within: timedelta | None = None
    told: list[Draft] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    restoration: Restoration = field(init=False)

    async def look(self) -> Preflight:
        return looked(self.node.clock.now(), failed=self.ill)

    async def record(self, draft: Draft) -> None:
        self.told.append(draft)

    async def note(self, incident: str, text: str) -> None:
        self.notes.append((incident, text))

    async def cut(self, ground: Ground = Ground.CRITICAL_INCIDENT) -> str:
        return (await self.node.interconnection.cut(ground=ground, reason="panne", **BY_SYN)).incident

    async def restore(self, person: Person, incident: str, motive: str | None = None) -> Any:
        return await self.restoration.restore(person, incident=incident, reason="réparé", motive=motive)

    @property
    def state(self) -> Status:
        return self.node.interconnection.state.state


@pytest.fixture
def desk(node: NodeView, nodes: Nodes) -> Desk:
    opened = Desk(node)
    opened.restoration = Restoration(
        interconnection=node.interconnection,
        look=opened.look,
        proposals=Proposals(nodes.store(), KEY),
        confirm_within=lambda: opened.within,
        record=opened.record,
        refused=opened.told.append,
        note=opened.note,
        clock=node.clock,
    )
    node.interconnection.observe(None)
    return opened


async def test_what_was_looked_at_is_kept_with_the_restoration(desk: Desk) -> None:
    incident = await desk.cut()
    assert await desk.restore(ALICE, incident, "sans objet") is None
    assert desk.state is Status.OPEN
    entry = desk.node.ledger.told[-1]
    assert (entry.kind, entry.account) == (Kind.INTERCONNECTION_RESTORED, "ops-alice")
    assert entry.detail["preflight"]["cameras"] == {"outcome": "passed", "observation": "vu de cameras"}
    assert entry.detail["motive"] is None  # nothing was passed over
    ((noted, text),) = desk.notes
    assert (noted, "Les caméras sont joignables : conforme" in text) == (incident, True)


@pytest.mark.parametrize("check", ["trace", "state-store"])
async def test_no_motive_opens_without_a_trace_or_slots(desk: Desk, check: str) -> None:
    # T01, C01
    incident = await desk.cut()
    desk.ill.add(check)
    for motive in (None, "urgence"):
        with pytest.raises(PreflightFailed, match="aucun motif") as refused:
            await desk.restore(RSSI, incident, motive)
        assert refused.value.missing == (check,)
    assert desk.state is Status.CUT
    assert [draft.kind for draft in desk.told] == [Kind.INTERCONNECTION_RESTORATION_REFUSED] * 2
    assert (desk.told[1].refusal, desk.told[1].detail["blocking"]) == ("preflight-failed", [check])


async def test_what_is_not_essential_is_passed_over_with_a_motive_that_is_traced(desk: Desk) -> None:
    incident = await desk.cut()
    desk.ill |= {"cameras", "contacts"}
    with pytest.raises(PreflightFailed, match="demande un motif") as refused:
        await desk.restore(ALICE, incident)
    assert refused.value.missing == ("cameras", "contacts")
    await desk.restore(ALICE, incident, "caméras du gymnase en travaux")
    entry = desk.node.ledger.told[-1]
    assert (desk.state, entry.detail["motive"]) == (Status.OPEN, "caméras du gymnase en travaux")
    assert "Passé outre : caméras du gymnase en travaux" in desk.notes[0][1]


async def test_what_cannot_be_restored_is_said_before_anything_is_looked_at(desk: Desk) -> None:
    with pytest.raises(NothingToRestore):
        await desk.restore(ALICE, "none")
    incident = await desk.cut(Ground.SECURITY)
    desk.ill.add("trace")
    with pytest.raises(WrongIncident):
        await desk.restore(RSSI, "another")
    with pytest.raises(OfficerRequired):  # article 8: the RSSI's agreement
        await desk.restore(ALICE, incident)
    assert desk.told == []


async def test_a_drill_ends_without_a_pre_flight(desk: Desk) -> None:
    # N14: it closed nothing
    desk.ill.add("trace")
    desk.within = QUARTER
    await desk.restore(ALICE, await desk.cut(Ground.DRILL))
    assert desk.state is Status.OPEN
    assert (desk.notes, desk.told) == ([], [])


async def test_one_person_proposes_and_another_confirms(desk: Desk) -> None:
    desk.within = QUARTER
    incident = await desk.cut()
    assert desk.state is Status.CUT  # a cut takes one person, always
    proposal = await desk.restore(ALICE, incident)
    assert (proposal.account, proposal.until) == ("ops-alice", desk.node.clock.now() + QUARTER)
    seen = await desk.restoration.outlook()
    assert (seen.four_eyes, seen.proposal, desk.state) == (True, proposal, Status.CUT)
    other_account = replace(ALICE, account="officer-alice")
    for same in (ALICE, other_account):
        assert await desk.restore(same, incident) == proposal  # nobody confirms what they proposed
    assert desk.state is Status.CUT
    assert await desk.restore(BOB, incident) is None
    assert desk.state is Status.OPEN
    assert [draft.kind for draft in desk.told] == [Kind.INTERCONNECTION_RESTORATION_PROPOSED]
    entry = desk.node.ledger.told[-1]
    assert (entry.account, entry.detail["proposed_by"]) == ("ops-bob", "ops-alice")
    assert "Proposé par ops-alice" in desk.notes[0][1]


async def test_a_proposal_lapses(desk: Desk) -> None:
    desk.within = timedelta(milliseconds=20)
    incident = await desk.cut()
    await desk.restore(ALICE, incident)
    async with asyncio.timeout(10):
        while (await desk.restoration.outlook()).proposal is not None:
            await asyncio.sleep(0.01)
    desk.within = QUARTER
    again = await desk.restore(BOB, incident)
    assert (again.account, desk.state) == ("ops-bob", Status.CUT)


async def test_one_that_was_put_back_after_its_time_counts_no_more(desk: Desk) -> None:
    # by whoever has the store, or by a store whose clock stands still
    desk.within = QUARTER
    incident = await desk.cut()
    await desk.restore(ALICE, incident)
    desk.node.clock.advance(QUARTER)
    with pytest.raises(ProposalLapsed, match="échue"):
        await desk.restore(BOB, incident)
    assert (await desk.restore(BOB, incident)).account == "ops-bob"
    assert desk.state is Status.CUT


async def test_a_proposal_is_of_one_incident(desk: Desk) -> None:
    desk.within = QUARTER
    first = await desk.cut()
    await desk.restore(ALICE, first)
    second = await desk.cut(Ground.MAINTENANCE)
    assert (await desk.restore(BOB, second)).account == "ops-bob"
    assert desk.state is Status.CUT


async def test_of_two_who_confirm_at_once_one_does(desk: Desk) -> None:
    desk.within = QUARTER
    incident = await desk.cut()
    await desk.restore(ALICE, incident)
    both = await asyncio.gather(desk.restore(BOB, incident), desk.restore(RSSI, incident), return_exceptions=True)
    assert [type(each) for each in both] == [type(None), NothingToRestore]
    assert desk.node.kinds().count(Kind.INTERCONNECTION_RESTORED) == 1


@pytest.mark.parametrize(("first", "second"), [(ALICE, RSSI), (RSSI, ALICE)])
async def test_after_a_security_measure_the_officer_is_one_of_the_two(
    desk: Desk, first: Person, second: Person
) -> None:
    # article 8: the RSSI's agreement
    desk.within = QUARTER
    incident = await desk.cut(Ground.SECURITY)
    await desk.restore(first, incident)
    if first is ALICE:
        with pytest.raises(OfficerRequired):
            await desk.restore(BOB, incident)
    await desk.restore(second, incident)
    assert (desk.state, desk.node.interconnection.state.by) == (Status.OPEN, Author.OFFICER)


async def test_whoever_confirms_looks_again(desk: Desk) -> None:
    # what was well when it was proposed may not be any more
    desk.within = QUARTER
    incident = await desk.cut()
    await desk.restore(ALICE, incident)
    desk.ill.add("cameras")
    with pytest.raises(PreflightFailed):
        await desk.restore(BOB, incident)
    await desk.restore(BOB, incident, "vu avec les techniciens")
    assert desk.state is Status.OPEN


async def test_a_motive_that_was_proposed_is_confirmed_with_it(desk: Desk) -> None:
    desk.within = QUARTER
    desk.ill.add("cameras")
    incident = await desk.cut()
    proposal = await desk.restore(ALICE, incident, "gymnase en travaux")
    assert (proposal.motive, desk.told[-1].detail["motive"]) == ("gymnase en travaux", "gymnase en travaux")
    await desk.restore(BOB, incident)
    assert desk.node.ledger.told[-1].detail["motive"] == "gymnase en travaux"


@pytest.mark.parametrize("lie", [b"{}", b"", b"\xff", b"00 {}", b"theirs", b"of another incident"])
async def test_who_writes_in_the_store_proposes_nothing(desk: Desk, nodes: Nodes, lie: bytes) -> None:
    # article 8: the second of two is a person; whoever has the store is none
    desk.within = QUARTER
    store, client = nodes.store(), nodes.clients[0]
    incident = await desk.cut()
    if lie == b"theirs":
        forged = Proposal(incident, Author.OFFICER, "rssi", None, "x", None, desk.node.clock.now() + QUARTER)
        await Proposals(store, b"t" * 32).make(forged, QUARTER)
    else:
        if lie == b"of another incident":
            await desk.restore(ALICE, incident)
            lie = await client.get(store.key(f"restoration:{incident}"))
            incident = await desk.cut(Ground.MAINTENANCE)
        await client.set(store.key(f"restoration:{incident}"), lie)
    assert (await desk.restoration.outlook()).proposal is None
    with pytest.raises(StateStoreUnavailable):
        await desk.restore(BOB, incident)
    assert desk.state is Status.CUT
