"""What the API asks of whoever keeps the register of who may, and the orders; ``app`` gives the implementations.

Each change is traced before it takes effect, behind these ports. Methods raise a
:class:`~halfgateway.errors.Refusal` for what the register does not allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from auth.principals import Principal
from auth.register import Actor
from halfgateway.api.rights_shapes import (
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


class Gatekeeper(Protocol):
    """Whether someone who has proved who they are may come in at all."""

    def refusal_of(self, principal: Principal, source: str) -> Refusal | None:
        """Why not; None where they may."""


class Personnel(Protocol):
    """Agents, their factors and their habilitations; blocks."""

    async def agents(self) -> Sequence[AgentShape]:
        """Every designation, newest first."""

    async def agent(self, agent_id: str) -> AgentView:
        """An agent's latest designation, with what hangs on it. Raises UnknownRecord."""

    async def designate(self, wish: AgentRequest, *, by: Actor) -> AgentShape:
        """Record a designation."""

    async def end_agent(self, agent_id: str, *, reason: str, reference: str | None, by: Actor) -> AgentView:
        """End a designation and what hangs on it. Raises UnknownRecord."""

    async def import_list(self, wish: SignedListRequest, *, by: Actor) -> SignedListAnswer:
        """Record what a signed list designates, all or nothing."""

    async def enrol(self, agent_id: str, wish: FactorRequest, *, by: Actor) -> FactorAnswer:
        """Give an agent a factor. Raises UnknownRecord."""

    async def bootstrap(self, wish: BootstrapRequest, *, by: Actor) -> FactorAnswer:
        """Designate, habilitate and enrol the first officer; refused where there is one."""

    async def habilitations(self, query: HabilitationsQuery) -> Sequence[HabilitationShape]:
        """Every habilitation that matches, newest first."""

    async def habilitate(self, wish: HabilitationRequest, *, by: Actor) -> HabilitationShape:
        """Record a habilitation. Raises UnknownRecord for an agent who has no designation."""

    async def end_habilitation(
        self, habilitation_id: str, *, reason: str, reference: str | None, by: Actor
    ) -> HabilitationShape:
        """End a habilitation. Raises UnknownRecord."""

    async def confirm(self, habilitation_id: str, *, reference: str, by: Actor) -> HabilitationShape:
        """Note that a habilitation is still needed. Raises UnknownRecord."""

    async def blocks(self) -> Sequence[BlockShape]:
        """Every block that was not lifted, newest first."""

    async def block(self, wish: BlockRequest, *, by: Actor) -> BlockShape:
        """Keep someone or something out from now on."""

    async def lift(self, block_id: str, *, reason: str, by: Actor) -> None:
        """Lift a block. Raises UnknownRecord."""


class Orders(Protocol):
    """Prefectoral orders."""

    async def orders(self) -> Sequence[OrderShape]:
        """Every order, newest first."""

    async def add(self, wishes: Sequence[OrderRequest], *, by: Actor) -> Sequence[OrderShape]:
        """Record orders, all or none."""

    async def suspend(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        """Suspend an order. Raises UnknownRecord."""

    async def resume(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        """End an order's suspension. Raises UnknownRecord."""

    async def withdraw(self, reference: str, *, reason: str, by: Actor) -> OrderShape:
        """Withdraw an order for good. Raises UnknownRecord."""
