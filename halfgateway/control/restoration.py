"""How a person restores the interconnection: the pre-flight first, then, where it is asked for, a second person (article 8).

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

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from auth.trace import Draft, Kind
from camera_registry.clock import Clock, rfc3339
from halfgateway.control.interconnection import Interconnection
from halfgateway.control.proposals import Person, Proposal, Proposals
from halfgateway.errors import PreflightFailed, StateStoreUnavailable
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


class Restoration:
    """Restores for a person. ``confirm_within`` is how long a proposal stands, None where one person suffices.

    ``record`` makes an entry durable, ``refused`` writes one as soon as can be; ``note`` has an incident's book keep what
    was looked at, and never fails.
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

        Raises PreflightFailed, StateStoreUnavailable, TraceUnavailable, ops.errors.TransitionRefused, LocalRecordError.
        """
        within = self._confirm_within() if self._interconnection.state.closed else None
        self._require_possible(person, incident, reason, alone=within is None)
        if not self._interconnection.state.closed:
            await self._restore(person, incident, reason, {})
            return None
        preflight = await self._look()
        proposed = None
        if within is not None and not preflight.blocking(passed_over=True):
            proposed = await self._proposals.find(incident)
        motive = motive or (proposed.motive if proposed is not None else None)
        blocking = preflight.blocking(passed_over=motive is not None)
        if blocking:
            self._tell_refused(person, incident, reason, motive, preflight, blocking)
            raise _refusal(blocking)
        evidence = {"preflight": preflight.to_detail(), "motive": motive if preflight.failed else None}
        if within is not None and (proposed is None or proposed.is_of(person)):
            return proposed or await self._propose(person, incident, reason, motive, evidence, within)
        if proposed is not None:
            evidence |= {"proposed_by": proposed.account, "proposed_reason": proposed.reason}
            person = _together(person, proposed)
            self._require_possible(person, incident, reason, alone=True)
            if not await self._proposals.take(proposed):
                raise StateStoreUnavailable("La proposition de rétablissement est échue, ou vient d'être confirmée.")
        await self._restore(person, incident, reason, evidence)
        await self._note(incident, _told(preflight, evidence))
        return None

    def _require_possible(self, person: Person, incident: str, reason: str, *, alone: bool) -> None:
        """See that the state could change so. Raises TransitionRefused; who is not ``alone`` may lack a capacity."""
        by = person.by if alone else Author.OFFICER
        restore(self._interconnection.state, incident=incident, reason=reason, by=by, since=self._clock.now())

    async def _restore(self, person: Person, incident: str, reason: str, evidence: dict[str, Any]) -> None:
        await self._interconnection.restore(
            incident=incident,
            reason=reason,
            by=person.by,
            actor=person.account,
            source=person.source,
            evidence=evidence,
        )

    async def _propose(
        self,
        person: Person,
        incident: str,
        reason: str,
        motive: str | None,
        evidence: dict[str, Any],
        within: timedelta,
    ) -> Proposal:
        until = self._clock.now() + within
        detail = {"incident": incident, "reason": reason, "until": rfc3339(until), **evidence}
        await self._record(_draft(Kind.INTERCONNECTION_RESTORATION_PROPOSED, person, detail))
        proposal = Proposal(incident, person.by, person.account, person.agent, reason, motive, until)
        return await self._proposals.make(proposal, within)

    def _tell_refused(
        self,
        person: Person,
        incident: str,
        reason: str,
        motive: str | None,
        preflight: Preflight,
        blocking: tuple[Finding, ...],
    ) -> None:
        names = [finding.check for finding in blocking]
        looked = {"blocking": names, "preflight": preflight.to_detail()}
        detail = {"incident": incident, "reason": reason, "motive": motive, **looked}
        kind = Kind.INTERCONNECTION_RESTORATION_REFUSED
        self._refused(_draft(kind, person, detail, refusal=PreflightFailed.code))
        log.warning("restoration.refused incident=%s blocking=%s", incident, ",".join(names))


def _draft(kind: Kind, person: Person, detail: dict[str, Any], refusal: str | None = None) -> Draft:
    return Draft(
        kind=kind,
        agent=person.agent,
        account=person.account,
        source=person.source,
        refusal=refusal,
        detail={**detail, "by": person.by.value},
    )


def _together(person: Person, proposed: Proposal) -> Person:
    """Whoever confirms, with the officer's word where either of the two is the security officer."""
    by = Author.OFFICER if Author.OFFICER in (person.by, proposed.by) else person.by
    return Person(by, person.account, person.agent, person.source)


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
