"""The register and the orders behind the API, as small as can be: what is asked for is said to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_network

from auth.principals import Principal, Role
from auth.register import Actor
from camera_registry.order_store import RecordedOrder
from camera_registry.paris import day_of
from halfgateway.api.rights_shapes import (
    AccountShape,
    AgentRequest,
    AgentShape,
    AgentView,
    BlockRequest,
    BlockShape,
    BootstrapRequest,
    FactorAnswer,
    FactorRequest,
    HabilitationRequest,
    HabilitationShape,
    HabilitationsQuery,
    OrderRequest,
    OrderShape,
    SignedListAnswer,
    SignedListRequest,
)
from halfgateway.errors import Refusal
from tests.rights import designation, habilitation, order

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)


@dataclass
class FakeGatekeeper:
    """Lets everyone in, unless told not to."""

    refusal: Refusal | None = None

    def refusal_of(self, principal: Principal, source: str) -> Refusal | None:
        return self.refusal


@dataclass
class FakePersonnel:
    """One agent with one habilitation; ``actors`` are who has changed something."""

    actors: list[Actor] = field(default_factory=list)
    refusal: Refusal | None = None

    async def agents(self) -> Sequence[AgentShape]:
        return [AgentShape.of(designation("pp-7f3a"), NOW)]

    async def agent(self, agent_id: str) -> AgentView:
        return AgentView(
            **dict(AgentShape.of(designation(agent_id), NOW)),
            habilitations=(HabilitationShape.of(habilitation(agent_id), NOW),),
            accounts=(AccountShape(id=agent_id, role=Role.OPERATOR, ended=False),),
        )

    async def designate(self, wish: AgentRequest, *, by: Actor) -> AgentShape:
        self._note(by)
        return AgentShape.of(designation(wish.id, service=wish.service, start=wish.start, end=wish.end), NOW)

    async def end_agent(self, agent_id: str, *, reason: str, reference: str | None, by: Actor) -> AgentView:
        self._note(by)
        return await self.agent(agent_id)

    async def import_list(self, wish: SignedListRequest, *, by: Actor) -> SignedListAnswer:
        self._note(by)
        return SignedListAnswer(designated=("pp-7f3a",), sha256="00" * 32, key="11" * 32)

    async def enrol(self, agent_id: str, wish: FactorRequest, *, by: Actor) -> FactorAnswer:
        self._note(by)
        return _answer(agent_id, wish.role)

    async def bootstrap(self, wish: BootstrapRequest, *, by: Actor) -> FactorAnswer:
        self._note(by)
        return _answer(wish.id, Role.OFFICER)

    async def habilitations(self, query: HabilitationsQuery) -> Sequence[HabilitationShape]:
        return [HabilitationShape.of(habilitation("pp-7f3a"), NOW)]

    async def habilitate(self, wish: HabilitationRequest, *, by: Actor) -> HabilitationShape:
        self._note(by)
        sources = tuple(map(ip_network, wish.sources))
        granted = habilitation(wish.agent, wish.role, territory=wish.territory.perimeter(), sources=sources)
        return HabilitationShape.of(granted, NOW)

    async def end_habilitation(
        self, habilitation_id: str, *, reason: str, reference: str | None, by: Actor
    ) -> HabilitationShape:
        self._note(by)
        return HabilitationShape.of(habilitation("pp-7f3a", id=habilitation_id, ended_at=NOW), NOW)

    async def confirm(self, habilitation_id: str, *, reference: str, by: Actor) -> HabilitationShape:
        self._note(by)
        return HabilitationShape.of(habilitation("pp-7f3a", id=habilitation_id, confirmed_at=NOW), NOW)

    async def blocks(self) -> Sequence[BlockShape]:
        return []

    async def block(self, wish: BlockRequest, *, by: Actor) -> BlockShape:
        self._note(by)
        return BlockShape(
            id="b-1",
            kind=wish.kind,
            subject=wish.subject,
            ground=wish.ground,
            reason=wish.reason,
            set_at=NOW,
            set_by=by.account,
            expires=wish.expires,
        )

    async def lift(self, block_id: str, *, reason: str, by: Actor) -> None:
        self._note(by)

    def _note(self, by: Actor) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.actors.append(by)


@dataclass
class FakeOrders:
    """One order for one camera."""

    actors: list[Actor] = field(default_factory=list)

    async def orders(self) -> Sequence[OrderShape]:
        return [self._shown("78-2025-01")]

    async def add(self, wishes: Sequence[OrderRequest], *, by: Actor) -> Sequence[OrderShape]:
        self.actors.append(by)
        return [self._shown(wish.reference) for wish in wishes]

    async def suspend(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        self.actors.append(by)
        return self._shown(reference)

    async def resume(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        self.actors.append(by)
        return self._shown(reference)

    async def withdraw(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        self.actors.append(by)
        return self._shown(reference)

    def _shown(self, reference: str) -> OrderShape:
        record = RecordedOrder(replace(order(["cam-1"]), reference=reference), NOW, "officer")
        return OrderShape.of(record, NOW, day_of(NOW))


def _answer(agent_id: str, role: Role) -> FactorAnswer:
    return FactorAnswer(
        agent=agent_id, account=agent_id, role=role, password="p", totp_secret=None, totp_uri=None, machine_secret=None
    )
