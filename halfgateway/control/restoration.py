"""How a person restores the interconnection: by the pre-flight, then, where that is agreed, with another (article 8).

======================  ============================================================================================
what stands             a restoration that is asked for
======================  ============================================================================================
an essential check      is refused, whatever the motive
any other check failed  is refused, unless a motive is stated, which is traced
four-eyes, nobody yet   is proposed: the interconnection stays cut, and another account may confirm
four-eyes, proposed     restores, for another account than the proposer's, before the proposal lapses
a security measure      needs the security officer: alone, or as one of the two
======================  ============================================================================================

A drill closed nothing and ends without any of it; a cut never passes here (C10).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.proposals import Person, Proposal, Proposals
from halfgateway.errors import PreflightFailed, ProposalLapsed, StateStoreUnavailable
from ops.interconnection import Author, restore
from ops.preflight import Finding, Preflight

log = logging.getLogger(__name__)

Look = Callable[[], Awaitable[Preflight]]
"""Makes the pre-flight now."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a person sees before they confirm."""

    preflight: Preflight
    incident: str | None
    four_eyes: bool
    proposal: Proposal | None


@dataclass(frozen=True, slots=True)
class _Wish:
    """A restoration that a person asks for; ``motive`` is for what the pre-flight finds not well."""

    person: Person
    incident: str
    reason: str
    motive: str | None

    def entry(self, kind: Kind, detail: dict[str, Any], refusal: str | None = None) -> Draft:
        """The entry of what came of it."""
        person = self.person
        asked = {"incident": self.incident, "reason": self.reason, "by": person.by.value}
        return Draft(
            kind=kind,
            agent=person.agent,
            account=person.account,
            source=person.source,
            refusal=refusal,
            detail={**asked, **detail},
        )


class Restoration:
    """Restores for a person. ``confirm_within`` is how long a proposal stands, None where one person suffices.

    ``record`` makes an entry durable, ``refused`` writes one as soon as can be; ``note`` has an incident's book keep
    what was looked at, and never fails.
    """

    def __init__(
        self,
        *,
        interconnection: Interconnection,
        look: Look,
        proposals: Proposals,
        confirm_within: Callable[[], timedelta | None],
        record: Callable[[Draft], Awaitable[object]],
        refused: Callable[[Draft], None],
        note: Callable[[str, str], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._interconnection = interconnection
        self._look = look
        self._proposals = proposals
        self._confirm_within = confirm_within
        self._record = record
        self._refused = refused
        self._note = note
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def outlook(self) -> Outlook:
        """Look now; a proposal that cannot be read is not shown, and the pre-flight says why."""
        preflight = await self._look()
        state = self._interconnection.state
        four_eyes = self._confirm_within() is not None and state.closed
        try:
            proposal = await self._proposals.find(state.incident) if four_eyes and state.incident else None
        except StateStoreUnavailable:
            proposal = None
        return Outlook(preflight, state.incident, four_eyes, proposal)

    async def restore(self, person: Person, *, incident: str, reason: str, motive: str | None) -> Proposal | None:
        """Restore, or propose it: then return the proposal that stands.

        Raises PreflightFailed, ProposalLapsed, StateStoreUnavailable, TraceUnavailable, LocalRecordError, and
        ops.errors.TransitionRefused.
        """
        wish = _Wish(person, incident, reason, motive)
        async with self._one_at_a_time:
            within = self._confirm_within() if self._interconnection.state.closed else None
            self._require_possible(wish, alone=within is None)
            if not self._interconnection.state.closed:
                await self._open(wish, {})
                return None
            preflight = await self._look()
            if within is None:
                await self._open_noted(wish, preflight, self._passed(wish, preflight))
                return None
            return await self._with_another(wish, preflight, within)

    async def _with_another(self, wish: _Wish, preflight: Preflight, within: timedelta) -> Proposal | None:
        """Propose it, or confirm what another person has proposed."""
        proposed = None
        if not preflight.blocking(passed_over=True):
            proposed = await self._proposals.find(wish.incident)
        if proposed is None or proposed.is_of(wish.person):
            evidence = self._passed(wish, preflight)
            return proposed or await self._propose(wish, evidence, within)
        wish = _together(wish, proposed)
        evidence = self._passed(wish, preflight)
        self._require_possible(wish, alone=True)
        if not await self._proposals.take(proposed) or proposed.until <= self._clock.now():
            raise ProposalLapsed("La proposition de rétablissement est échue, ou vient d'être confirmée.")
        word = {"proposed_by": proposed.account, "proposed_reason": proposed.reason}
        await self._open_noted(wish, preflight, {**evidence, **word})
        return None

    def _passed(self, wish: _Wish, preflight: Preflight) -> dict[str, Any]:
        """What the entry keeps of a pre-flight that lets the restoration pass. Raises PreflightFailed, traced."""
        blocking = preflight.blocking(passed_over=wish.motive is not None)
        if not blocking:
            return {"preflight": preflight.to_detail(), "motive": wish.motive if preflight.failed else None}
        names = [finding.check for finding in blocking]
        detail = {"motive": wish.motive, "blocking": names, "preflight": preflight.to_detail()}
        kind = Kind.INTERCONNECTION_RESTORATION_REFUSED
        self._refused(wish.entry(kind, detail, refusal=PreflightFailed.code))
        log.warning("restoration.refused incident=%s blocking=%s", wish.incident, ",".join(names))
        raise _refusal(blocking)

    def _require_possible(self, wish: _Wish, *, alone: bool) -> None:
        """See that the state could change so. Raises TransitionRefused; who is not ``alone`` may lack a capacity."""
        by, at = wish.person.by if alone else Author.OFFICER, self._clock.now()
        restore(self._interconnection.state, incident=wish.incident, reason=wish.reason, by=by, since=at)

    async def _open(self, wish: _Wish, evidence: dict[str, Any]) -> None:
        await self._interconnection.restore(
            incident=wish.incident,
            reason=wish.reason,
            by=wish.person.by,
            actor=wish.person.account,
            source=wish.person.source,
            evidence=evidence,
        )

    async def _open_noted(self, wish: _Wish, preflight: Preflight, evidence: dict[str, Any]) -> None:
        await self._open(wish, evidence)
        await self._note(wish.incident, _told(preflight, evidence))

    async def _propose(self, wish: _Wish, evidence: dict[str, Any], within: timedelta) -> Proposal:
        until, person = self._clock.now() + within, wish.person
        detail = {"until": rfc3339(until), **evidence}
        await self._record(wish.entry(Kind.INTERCONNECTION_RESTORATION_PROPOSED, detail))
        proposal = Proposal(wish.incident, person.by, person.account, person.agent, wish.reason, wish.motive, until)
        return await self._proposals.make(proposal, within)


def _together(wish: _Wish, proposed: Proposal) -> _Wish:
    """Whoever confirms, with the proposer's motive, and the officer's word where one of the two is the officer."""
    by = Author.OFFICER if Author.OFFICER in (wish.person.by, proposed.by) else wish.person.by
    return replace(wish, person=replace(wish.person, by=by), motive=wish.motive or proposed.motive)


def _refusal(blocking: tuple[Finding, ...]) -> PreflightFailed:
    found = " ; ".join(f"{finding.title} : non ({finding.observation})" for finding in blocking)
    essential = any(finding.essential for finding in blocking)
    way_out = "aucun motif ne permet de passer outre" if essential else "passer outre demande un motif"
    return PreflightFailed(f"{found} ; {way_out}.", missing=tuple(finding.check for finding in blocking))


def _told(preflight: Preflight, evidence: dict[str, Any]) -> str:
    lines = [f"Vérifications préalables au rétablissement. {preflight.told()}"]
    lines += [f"Passé outre : {evidence['motive']}"] if evidence["motive"] is not None else []
    lines += [f"Proposé par {evidence['proposed_by']}"] if "proposed_by" in evidence else []
    return ". ".join(lines)
