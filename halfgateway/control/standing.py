"""Whether someone who has proved who they are may come in at all (C09)."""

from __future__ import annotations

from collections.abc import Callable

from auth import policy
from auth.principals import Principal
from auth.rights import Rights
from camera_registry.clock import Clock
from halfgateway.control.terms import Terms
from halfgateway.errors import NotHabilitated, Refusal, StateStoreUnavailable


class Standing:
    """Fills :class:`~halfgateway.api.rights_ports.Gatekeeper`, from memory alone."""

    def __init__(self, who_may: Callable[[], Rights | None], terms: Terms, clock: Clock) -> None:
        self._who_may = who_may
        self._terms = terms
        self._clock = clock

    def refusal_of(self, principal: Principal, source: str) -> Refusal | None:
        """See the port: nobody comes in while the records were never read."""
        rights = self._who_may()
        if rights is None:
            return StateStoreUnavailable("Les habilitations ne peuvent être vérifiées.")
        decision = policy.standing(principal, self._clock.now(), self._terms.convention, rights, source=source)
        return None if decision.allowed else NotHabilitated(decision.detail, reason=decision.reason)
