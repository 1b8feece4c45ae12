"""The API's convention: its calendar and its acceptance, filled by :mod:`ops.convention_store`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from auth.policy import Convention
from auth.register import Actor
from camera_registry.clock import Clock
from camera_registry.paris import end_of_day
from halfgateway.api.acts import Acts, in_our_words
from halfgateway.api.life_shapes import (
    AcceptanceForm,
    AcceptancePlan,
    AcceptanceRequest,
    AcceptanceShape,
    ActRequest,
    ActShape,
    ConventionShape,
)
from halfgateway.api.operation import Attachment
from halfgateway.control.life_entries import acceptance_entry, act_entry
from halfgateway.dossiers.acceptance import acceptance_document
from ops import acceptance, calendar
from ops.acceptance import AcceptanceRecord, Result, Signatory, SignedAcceptance
from ops.calendar import Act, ActKind
from ops.convention_store import ConventionStore


@dataclass(frozen=True, slots=True)
class Signer:
    """The node that signs: its name, its trace key's signature of some bytes, and the key that verifies it."""

    node: str
    sign: Callable[[bytes], bytes]
    public_key_pem: str


class ConventionService:
    """Fills :class:`~halfgateway.api.life_ports.ConventionLife`.

    ``convention`` is the one in force as the configuration has it; ``look`` makes the automatic checks now.
    """

    def __init__(
        self,
        *,
        store: ConventionStore,
        acts: Acts,
        convention: Callable[[], Convention],
        look: Callable[[], Awaitable[tuple[Result, ...]]],
        signer: Signer,
        clock: Clock,
    ) -> None:
        self._store = store
        self._acts = acts
        self._convention = convention
        self._look = look
        self._signer = signer
        self._clock = clock

    async def standing(self) -> ConventionShape:
        """See the port."""
        convention, acts, now = self._convention(), await self._store.acts(), self._clock.now()
        accepted = any(each.accepted for each in await self._store.acceptances())
        known = calendar.standing(convention, acts, now)
        return ConventionShape(
            id=convention.id,
            in_force=convention.in_force(now) and (known.ended_at is None or now < known.ended_at),
            in_force_from=convention.in_force_from,
            term=known.term,
            last_term=convention.last_term,
            renewed=known.renewed,
            may_end_from=known.may_end_from,
            may_terminate_from=known.may_terminate_from,
            ended_at=known.ended_at,
            to_be_recorded=known.to_be_recorded,
            pvpp_until=known.pvpp_until,
            accepted=accepted,
            acts=tuple(ActShape.of(act) for act in reversed(acts)),
        )

    async def record_act(self, wish: ActRequest, *, by: Actor) -> ConventionShape:
        """See the port."""
        act = Act(
            number=0,
            kind=ActKind(wish.kind.value),
            party=wish.party,
            reference=wish.reference,
            day=wish.day,
            recorded_at=self._clock.now(),
            recorded_by=by.account,
            ground=wish.ground,
            effect=wish.effect if wish.last_day is None else end_of_day(wish.last_day),
            answers=wish.answers,
        )
        async with self._acts.act():
            await self._store.record(self._convention(), act, lambda act: self._acts.tell(act_entry(act), by))
        return await self.standing()

    async def plan_acceptance(self) -> AcceptancePlan:
        """See the port."""
        return AcceptancePlan.of(await self._look())

    async def accept(self, wish: AcceptanceRequest, *, by: Actor) -> AcceptanceShape:
        """See the port."""
        answers = [Result(each.check, each.passed, each.observation) for each in wish.answers]
        async with self._acts.act():
            record = AcceptanceRecord(
                convention=self._convention().id,
                node=self._signer.node,
                held_at=self._clock.now(),
                place=wish.place,
                reference=wish.reference,
                results=acceptance.completed(answers, await self._look()),
                signatories=tuple(Signatory(each.party, each.name, each.function) for each in wish.signatories),
            )
            kept = await self._store.accept(
                self._signed(record, by), lambda signed: self._acts.tell(acceptance_entry(signed), by)
            )
        return AcceptanceShape.of(kept)

    async def acceptances(self) -> Sequence[AcceptanceShape]:
        """See the port."""
        return [AcceptanceShape.of(each) for each in await self._store.acceptances()]

    async def acceptance(self, number: int, form: AcceptanceForm) -> Attachment:
        """See the port."""
        with in_our_words():
            signed = await self._store.acceptance(number)
        name = f"recette-{number}"
        match form:
            case AcceptanceForm.JSON:
                return Attachment(signed.document, "application/json", f"{name}.json")
            case AcceptanceForm.SIGNATURE:
                return Attachment(signed.signature, "application/octet-stream", f"{name}.sig")
            case AcceptanceForm.KEY:
                return Attachment(signed.public_key_pem.encode(), "application/x-pem-file", f"{name}.pem")
            case AcceptanceForm.PDF:
                return Attachment(await asyncio.to_thread(_paper, signed), "application/pdf", f"{name}.pdf")

    def _signed(self, record: AcceptanceRecord, by: Actor) -> SignedAcceptance:
        document = record.to_bytes()
        return SignedAcceptance(
            number=0,
            accepted=record.accepted,
            held_at=record.held_at,
            recorded_by=by.account,
            document=document,
            signature=self._signer.sign(document),
            public_key_pem=self._signer.public_key_pem,
        )


def _paper(signed: SignedAcceptance) -> bytes:
    from halfgateway.dossiers.paper import printed  # noqa: PLC0415 - seconds to load, wanted once in years

    return printed(acceptance_document(signed))
