"""A restoration that one person has proposed and another may confirm (four-eyes), as all nodes know it.

It lies in the state store, without which nothing is restored, and lapses by the store's own clock: emptied or failed
over, it forgets the proposal, which is then made again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from camera_registry.clock import rfc3339
from halfgateway.control.store import StateStore
from halfgateway.errors import StateStoreUnavailable
from ops.interconnection import Author

_TAKE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
"""Two who confirm at once: one does."""

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts: in which capacity, by which account, as which agent if it is one's, from where."""

    by: Author
    account: str
    agent: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was proposed, by whom, and until when it may be confirmed; ``motive`` is for what failed."""

    incident: str
    by: Author
    account: str
    agent: str | None
    reason: str
    motive: str | None
    until: datetime

    def is_of(self, person: Person) -> bool:
        """Whether this person made it, by this account or by another of the same agent's."""
        return person.account == self.account or (person.agent is not None and person.agent == self.agent)


class Proposals:
    """One for each incident."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._take = store.client.register_script(_TAKE)

    async def make(self, proposal: Proposal, within: timedelta) -> Proposal:
        """Keep it for so long; return the one that stands, which is an earlier one if there is. Raises as find."""
        async with self._store.limited():
            await self._store.client.set(
                self._key(proposal.incident), _to_json(proposal), nx=True, px=within // _MILLISECOND
            )
        return await self.find(proposal.incident) or proposal

    async def find(self, incident: str) -> Proposal | None:
        """The one that stands. Raises StateStoreUnavailable."""
        async with self._store.limited():
            raw = await self._store.client.get(self._key(incident))
        return None if raw is None else _from_json(raw)

    async def take(self, proposal: Proposal) -> bool:
        """Use it up; False where it has lapsed, or another person was quicker. Raises StateStoreUnavailable."""
        async with self._store.limited():
            return bool(await self._take(keys=[self._key(proposal.incident)], args=[_to_json(proposal)]))

    def _key(self, incident: str) -> str:
        return self._store.key(f"restoration:{incident}")


def _to_json(proposal: Proposal) -> str:
    return json.dumps({**asdict(proposal), "until": rfc3339(proposal.until)}, sort_keys=True)


def _from_json(raw: bytes | str) -> Proposal:
    try:
        fields = json.loads(raw)
        fields |= {"by": Author(fields["by"]), "until": datetime.fromisoformat(fields["until"])}
        return Proposal(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise StateStoreUnavailable("La proposition de rétablissement est illisible.") from error
