"""A restoration that one person has proposed and another may confirm (four-eyes), as all nodes know it.

It lies in the state store, without which nothing is restored, and lapses by the store's own clock: emptied or failed
over, it forgets the proposal, which is then made again. Whoever can write there proposes nothing: each is sealed by a
key that the nodes share.
"""

from __future__ import annotations

import hashlib
import hmac
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
    """One for each incident; ``key`` seals them, the same on every node."""

    def __init__(self, store: StateStore, key: bytes) -> None:
        self._store = store
        self._seal_key = key
        self._take = store.client.register_script(_TAKE)

    async def make(self, proposal: Proposal, within: timedelta) -> Proposal:
        """Keep it for so long; return the one that stands, which is an earlier one if there is. Raises as find."""
        async with self._store.limited():
            await self._store.client.set(
                self._key(proposal.incident), self._sealed(proposal), nx=True, px=within // _MILLISECOND
            )
        return await self.find(proposal.incident) or proposal

    async def find(self, incident: str) -> Proposal | None:
        """The one that stands. Raises StateStoreUnavailable."""
        async with self._store.limited():
            raw = await self._store.client.get(self._key(incident))
        return None if raw is None else self._opened(incident, raw)

    async def take(self, proposal: Proposal) -> bool:
        """Use it up; False where it has lapsed, or another person was quicker. Raises StateStoreUnavailable."""
        async with self._store.limited():
            return bool(await self._take(keys=[self._key(proposal.incident)], args=[self._sealed(proposal)]))

    def _key(self, incident: str) -> str:
        return self._store.key(f"restoration:{incident}")

    def _sealed(self, proposal: Proposal) -> str:
        text = json.dumps({**asdict(proposal), "until": rfc3339(proposal.until)}, sort_keys=True)
        return f"{self._seal(text)} {text}"

    def _opened(self, incident: str, raw: bytes | str) -> Proposal:
        """The proposal in a value of the store. Raises StateStoreUnavailable for what no node of ours put there."""
        try:
            seal, _, text = (raw if isinstance(raw, str) else raw.decode("ascii")).partition(" ")
            if not hmac.compare_digest(seal, self._seal(text)):
                raise ValueError("another seal")
            fields = json.loads(text)
            fields |= {"by": Author(fields["by"]), "until": datetime.fromisoformat(fields["until"])}
            proposal = Proposal(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise StateStoreUnavailable("La proposition de rétablissement est illisible.") from error
        if proposal.incident != incident:
            raise StateStoreUnavailable("La proposition de rétablissement est d'un autre incident.")
        return proposal

    def _seal(self, text: str) -> str:
        return hmac.new(self._seal_key, text.encode(), hashlib.sha256).hexdigest()
