"""What the nodes of a convention tell each other of their notices, through what they share already: Valkey.

Each node's notifier lays what its own books say of their notices under a key of its own, with the bytes of whatever
has yet to leave, and reads the others'. It is asked for nothing else: where Valkey is down, emptied or slow, nothing
is heard, and each node sends what it owes (ADR 10). Nothing here decides who sends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Final, Generic

from pydantic import Field, TypeAdapter, ValidationError

from camera_registry.clock import Clock
from halfgateway.control.store import StateStore
from halfgateway.errors import StateStoreUnavailable
from ops.errors import OpsError
from ops.incidents.book import Books, Subject, Told
from ops.incidents.events import Acknowledged, Event, NoticeAttempted, NoticeQueued, Said
from ops.notices.queueing import NEIGHBOUR
from ops.notices.shelf import Shelf

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
"""Seconds between two exchanges."""

AFTER_FAILURE_S: Final = 10.0
"""Seconds before a store that did not answer is asked again: an incident's notice does not wait for it each second."""

AGAIN_AFTER_S: Final = 60.0
"""Seconds after which what is unchanged is told again: the store may have been emptied."""

TOLD_FOR: Final = timedelta(days=10)
"""How long after its last event a book is told of. A notice is given up after five days."""

MAX_TOLD_BYTES: Final = 256 * 1024
"""Bytes that one node tells of one book: some hundreds of events. A longer one is not told: it is sent twice."""

MAX_CONTENT_BYTES: Final = 512 * 1024
"""Bytes of one mail that are shared: a notice with its signature has some tens of thousands. Others are not."""

_SAID: Final[TypeAdapter[list[Said]]] = TypeAdapter(list[Annotated[Said, Field(discriminator="kind")]])
_ELSEWHERE: Final = "tenu par le nœud qui a émis"


class SharedNotices(Generic[Subject]):
    """One sort of books, shared. ``of`` names the sort, ``node`` is this node's id; ``shared`` are the books that other
    nodes have too.

    :meth:`exchange` never raises; :meth:`heard` answers from memory.
    """

    def __init__(
        self,
        of: str,
        books: Books[Subject],
        store: StateStore,
        node: str,
        clock: Clock,
        *,
        shared: Callable[[Subject], bool] = lambda _: True,
    ) -> None:
        self._of = of
        self._books = books
        self._shared = shared
        self._shelf = Shelf(books)
        self._store = store
        self._node = node
        self._clock = clock
        self._told: dict[str, tuple[int, float]] = {}
        self._heard: dict[str, tuple[Said, ...]] = {}
        self._next_s = clock.monotonic()

    def heard(self, name: str) -> Sequence[Said]:
        """What the other nodes' books say of a book's notices, as last heard."""
        return self._heard.get(name, ())

    async def exchange(self) -> None:
        """Tell of our notices and hear of the others', at most each ``EVERY_S``."""
        now_s = self._clock.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + EVERY_S
        try:
            recent = await asyncio.to_thread(self._recent)
            async with self._store.limited():
                for told in recent:
                    await self._tell(told, now_s)
                    await self._hear(told)
        except (StateStoreUnavailable, OpsError) as error:
            self._next_s = now_s + AFTER_FAILURE_S
            log.warning("neighbours.not_heard of=%s error=%s", self._of, error)

    def _recent(self) -> list[Subject]:
        since = self._clock.now() - TOLD_FOR
        recent = (told for told in self._shelf.look() if told.timeline[-1].at >= since)
        return [told for told in recent if not told.damaged and self._shared(told)]

    async def _tell(self, told: Told, now_s: float) -> None:
        events = len(told.timeline)
        before, at_s = self._told.get(told.id, (0, now_s))
        own = _own(told.timeline)
        if not own or (before == events and now_s < at_s + AGAIN_AFTER_S):
            return
        document = _SAID.dump_json(own, exclude_none=True)
        if len(document) > MAX_TOLD_BYTES:
            return
        await self._share_contents(told, own)
        key = self._key(told.id)
        await self._store.client.hset(key, self._node, document)
        await self._store.client.expire(key, TOLD_FOR)
        self._told[told.id] = (events, now_s)

    async def _share_contents(self, told: Told, own: Sequence[Said]) -> None:
        ours = {said.notice for said in own if isinstance(said, NoticeQueued)}
        for sha256 in {notice.sha256 for notice in told.notices if notice.id in ours and notice.unsent}:
            content = await asyncio.to_thread(self._books.message, told.id, sha256)
            if len(content) <= MAX_CONTENT_BYTES:
                await self._store.client.set(self._content_key(sha256), content, ex=TOLD_FOR)

    async def _hear(self, told: Told) -> None:
        heard: list[Said] = []
        for node, document in (await self._store.client.hgetall(self._key(told.id))).items():
            if _bytes(node) != self._node.encode():
                heard += await self._usable(told, _read(_bytes(document)))
        self._heard[told.id] = tuple(heard)

    async def _usable(self, told: Told, said: Sequence[Said]) -> list[Said]:
        """What can be written into our book: nothing of a notice that is yet to leave and whose bytes we lack."""
        lacking = set()
        for queued in (one for one in said if isinstance(one, NoticeQueued)):
            if not await self._have(told, queued.sha256) and not _all_left(queued, said):
                lacking.add(queued.notice)
        return [one for one in said if getattr(one, "notice", None) not in lacking]

    async def _have(self, told: Told, sha256: str) -> bool:
        try:
            await asyncio.to_thread(self._books.message, told.id, sha256)
        except OpsError:
            content = await self._store.client.get(self._content_key(sha256))
            if content is None:
                return False
            return await asyncio.to_thread(self._books.keep_message, told.id, _bytes(content)) == sha256
        return True

    def _key(self, name: str) -> str:
        return self._store.key(f"notices:{self._of}:{name}")

    def _content_key(self, sha256: str) -> str:
        return self._store.key(f"notice:{sha256}")


def _own(timeline: Sequence[Event]) -> list[Said]:
    """What this node itself found of its notices, without the servers' dialogues."""
    return [
        event.said.model_copy(update={"dialogue": _ELSEWHERE})
        if isinstance(event.said, NoticeAttempted)
        else event.said
        for event in timeline
        if event.who != NEIGHBOUR and (event.said.kind.startswith("notice.") or isinstance(event.said, Acknowledged))
    ]


def _all_left(queued: NoticeQueued, said: Sequence[Said]) -> bool:
    """Whether servers have taken a notice for, or failed, everyone whom it was queued for."""
    settled = {
        recipient
        for one in said
        if getattr(one, "notice", None) == queued.notice and (recipient := getattr(one, "recipient", None)) is not None
    }
    return settled >= set(queued.recipients)


def _read(document: bytes) -> list[Said]:
    try:
        return _SAID.validate_json(document)
    except ValidationError:
        log.warning("neighbours.unreadable")
        return []


def _bytes(value: bytes | str) -> bytes:
    """What the store gives is bytes; its client's types leave it open."""
    return value.encode() if isinstance(value, str) else value


def all_of(*shared: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Return one exchange that makes all of these at once."""

    async def exchange() -> None:
        await asyncio.gather(*(each() for each in shared))

    return exchange
