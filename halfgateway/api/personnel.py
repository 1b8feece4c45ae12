"""The API's register of who may, filled by :mod:`auth.register`."""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network

from auth import signed_lists
from auth.accounts import AccountRepository
from auth.errors import (
    AccountConflictError,
    RecordsUnavailableError,
    RegisterRuleError,
    SignedListError,
    UnknownRecordError,
)
from auth.factors import Enrolled, Factors
from auth.history import held_on
from auth.principals import Role
from auth.register import Actor, Register, new_block_id, new_habilitation_id
from auth.rights import Administration, Block, Designation, Habilitation
from camera_registry.clock import Clock
from camera_registry.orders import Perimeter
from halfgateway.api.problems import Fault, InvalidCall, UnknownRecord
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
    SignedListAnswer,
    SignedListRequest,
)

log = logging.getLogger(__name__)

FIRST_OFFICERS_SERVICE = "SYN"


class PersonnelService:
    """Fills :class:`~halfgateway.api.rights_ports.Personnel`.

    ``changed`` has this node read the records again after a change; ``machines_changed`` those of its machines.
    """

    def __init__(
        self,
        *,
        register: Register,
        factors: Factors,
        accounts: AccountRepository,
        clock: Clock,
        changed: Callable[[], Awaitable[None]],
        machines_changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._register = register
        self._factors = factors
        self._accounts = accounts
        self._clock = clock
        self._changed = changed
        self._machines_changed = machines_changed

    async def agents(self) -> Sequence[AgentShape]:
        """See the port."""
        now = self._clock.now()
        return [AgentShape.of(each, now) for each in await self._register.designations()]

    async def agent(self, agent_id: str) -> AgentView:
        """See the port."""
        now = self._clock.now()
        latest = await self._latest(agent_id)
        held = [each for each in await self._register.habilitations() if each.agent == agent_id]
        accounts = [each for each in await self._accounts.list_all() if each.agent == agent_id]
        return AgentView(
            **dict(AgentShape.of(latest, now)),
            habilitations=tuple(HabilitationShape.of(each, now) for each in held),
            accounts=tuple(
                AccountShape(id=each.id, role=each.role, ended=each.ended_at is not None) for each in accounts
            ),
        )

    async def designate(self, wish: AgentRequest, *, by: Actor) -> AgentShape:
        """See the port."""
        now = self._clock.now()
        designation = Designation(
            agent=wish.id,
            administration=wish.administration,
            service=wish.service,
            authority=wish.authority,
            reference=wish.reference,
            start=wish.start,
            end=wish.end,
            recorded_at=now,
            recorded_by=by.account,
        )
        async with self._change(wish.id):
            await self._register.designate([designation], by=by)
        return AgentShape.of(designation, now)

    async def end_agent(self, agent_id: str, *, reason: str, reference: str | None, by: Actor) -> AgentView:
        """See the port."""
        async with self._change(agent_id):
            await self._register.end_designation(agent_id, reason=reason, reference=reference, by=by)
        return await self.agent(agent_id)

    async def import_list(self, wish: SignedListRequest, *, by: Actor) -> SignedListAnswer:
        """See the port."""
        content = wish.list.encode()
        origin = signed_lists.Origin(
            administration=Administration.PP,
            authority=wish.authority,
            reference=wish.reference,
            recorded_at=self._clock.now(),
            recorded_by=by.account,
            new_id=new_habilitation_id,
        )
        async with self._change("list"):
            proof = signed_lists.verify(content, b64decode(wish.signature), wish.key.encode())
            designations, habilitations = signed_lists.read(content, origin)
            await self._register.designate(designations, habilitations, by=by, proof=proof)
        return SignedListAnswer(designated=tuple(each.agent for each in designations), **proof)

    async def enrol(self, agent_id: str, wish: FactorRequest, *, by: Actor) -> FactorAnswer:
        """See the port."""
        holder = await self._latest(agent_id)
        async with self._change(agent_id):
            if not holder.holds(self._clock.now()):
                raise RegisterRuleError("La désignation de cet agent n'est pas en vigueur.")
            enrolled = await self._enrolled(holder, wish, by)
        if enrolled.role is Role.MACHINE:
            await see_change(self._machines_changed)
        return _answer(agent_id, enrolled)

    async def bootstrap(self, wish: BootstrapRequest, *, by: Actor) -> FactorAnswer:
        """See the port."""
        now = self._clock.now()
        designation = Designation(
            agent=wish.id,
            administration=Administration.SYN,
            service=FIRST_OFFICERS_SERVICE,
            authority=wish.authority,
            reference=wish.reference,
            start=now,
            recorded_at=now,
            recorded_by=by.account,
        )
        habilitation = Habilitation(
            id=new_habilitation_id(),
            agent=wish.id,
            role=Role.OFFICER,
            territory=Perimeter(),
            start=now,
            authority=wish.authority,
            reference=wish.reference,
            recorded_at=now,
            recorded_by=by.account,
        )
        async with self._change(wish.id):
            known = await self._accounts.list_all()
            if any(account.role is Role.OFFICER and account.ended_at is None for account in known):
                raise RegisterRuleError("Un responsable de la sécurité est déjà enregistré.")
            await self._register.designate([designation], [habilitation], by=by)
            enrolled = await self._factors.enrol_totp(designation, Role.OFFICER, by=by)
        return _answer(wish.id, enrolled)

    async def habilitations(self, query: HabilitationsQuery) -> Sequence[HabilitationShape]:
        """See the port."""
        now = self._clock.now()
        found = await self._register.habilitations()
        if query.agent is not None:
            found = [each for each in found if each.agent == query.agent]
        if query.on is None:
            return [HabilitationShape.of(each, now) for each in found]
        held = held_on(query.on, await self._register.designations(), found)
        return [
            HabilitationShape.of(each.habilitation, now).model_copy(
                update={
                    "service": each.designation.service,
                    "held_since": each.since,
                    "held_until": each.until,
                }
            )
            for each in held
        ]

    async def habilitate(self, wish: HabilitationRequest, *, by: Actor) -> HabilitationShape:
        """See the port."""
        now = self._clock.now()
        habilitation = Habilitation(
            id=new_habilitation_id(),
            agent=wish.agent,
            role=wish.role,
            territory=wish.territory.perimeter(),
            actions=frozenset(wish.actions),
            sources=tuple(map(ip_network, wish.sources)),
            start=wish.start,
            end=wish.end,
            authority=wish.authority,
            reference=wish.reference,
            recorded_at=now,
            recorded_by=by.account,
        )
        async with self._change(wish.agent):
            await self._register.grant(habilitation, by=by)
        return HabilitationShape.of(habilitation, now)

    async def end_habilitation(
        self, habilitation_id: str, *, reason: str, reference: str | None, by: Actor
    ) -> HabilitationShape:
        """See the port."""
        async with self._change(habilitation_id):
            ended = await self._register.end_habilitation(habilitation_id, reason=reason, reference=reference, by=by)
        return HabilitationShape.of(ended, self._clock.now())

    async def confirm(self, habilitation_id: str, *, reference: str, by: Actor) -> HabilitationShape:
        """See the port."""
        async with self._change(habilitation_id):
            await self._register.confirm(habilitation_id, reference=reference, by=by)
        (confirmed,) = [each for each in await self._register.habilitations() if each.id == habilitation_id]
        return HabilitationShape.of(confirmed, self._clock.now())

    async def blocks(self) -> Sequence[BlockShape]:
        """See the port."""
        return [_shown(each) for each in await self._register.blocks()]

    async def block(self, wish: BlockRequest, *, by: Actor) -> BlockShape:
        """See the port."""
        block = Block(
            id=new_block_id(),
            kind=wish.kind,
            subject=wish.subject,
            ground=wish.ground,
            reason=wish.reason,
            set_at=self._clock.now(),
            set_by=by.account,
            expires_at=wish.expires,
        )
        async with self._change(wish.subject):
            await self._register.block(block, by=by)
        return _shown(block)

    async def lift(self, block_id: str, *, reason: str, by: Actor) -> None:
        """See the port."""
        async with self._change(block_id):
            await self._register.lift(block_id, reason=reason, by=by)

    async def _latest(self, agent_id: str) -> Designation:
        designations = await self._register.designations()
        latest = next((each for each in designations if each.agent == agent_id), None)
        if latest is None:
            raise UnknownRecord(f"L'agent {agent_id} n'a pas été désigné.")
        return latest

    async def _enrolled(self, holder: Designation, wish: FactorRequest, by: Actor) -> Enrolled:
        certificate = wish.certificate.encode() if wish.certificate is not None else None
        if wish.kind == "totp":
            return await self._factors.enrol_totp(
                holder, wish.role, by=by, scope=wish.scope, new_password=wish.new_password
            )
        if wish.kind == "machine":
            if wish.role is not Role.MACHINE:
                raise RegisterRuleError("Ce secret est celui d'un compte de service.")
            return await self._factors.enrol_machine(holder, certificate, by=by, site=wish.site)
        if certificate is None:
            raise RegisterRuleError("Le certificat de la carte est requis.")
        return await self._factors.enrol_card(
            holder,
            wish.role,
            certificate,
            by=by,
            site=wish.site,
            scope=wish.scope,
            new_password=wish.new_password,
        )

    @asynccontextmanager
    async def _change(self, subject: str) -> AsyncIterator[None]:
        """Turn what the register refuses into an answer; have this node see at once what it accepted."""
        try:
            yield
        except RegisterRuleError as error:
            raise InvalidCall([Fault(where="body", message=str(error))]) from error
        except SignedListError as error:
            raise InvalidCall([Fault(where="body.list", message=fault) for fault in error.faults]) from error
        except AccountConflictError as error:
            raise InvalidCall([Fault(where="body", message="Ce moyen ou ce compte est déjà attribué.")]) from error
        except UnknownRecordError as error:
            raise UnknownRecord(f"Aucun enregistrement en cours : {subject}.") from error
        await see_change(self._changed)


async def see_change(changed: Callable[[], Awaitable[None]]) -> None:
    """Read the records again; what cannot be read now is read within a second or two."""
    try:
        await changed()
    except RecordsUnavailableError as error:
        log.warning("rights.not_read error=%s", error)


def _answer(agent_id: str, enrolled: Enrolled) -> FactorAnswer:
    return FactorAnswer(
        agent=agent_id,
        account=enrolled.account,
        role=enrolled.role,
        password=enrolled.password,
        totp_secret=enrolled.totp_secret,
        totp_uri=enrolled.totp_uri,
        machine_secret=enrolled.machine_secret,
    )


def _shown(block: Block) -> BlockShape:
    return BlockShape(
        id=block.id,
        kind=block.kind,
        subject=block.subject,
        ground=block.ground,
        reason=block.reason,
        set_at=block.set_at,
        set_by=block.set_by,
        expires=block.expires_at,
    )
