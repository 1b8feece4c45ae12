"""The last signed head of each node's trace, as the nodes share them (T04, T12).

They make one text of all heads possible, and a node whose journal was put back from a backup finds its own later head
here. The store may be emptied: then a node still has the head that it keeps outside its journal.
"""

from __future__ import annotations

from auth.errors import NoteError
from auth.trace import SignedCheckpoint
from auth.trace.checkpoint import parse_checkpoint, parse_note
from auth.trace.continuity import KnownHead
from auth.trace.layout import origin
from halfgateway.control.store import StateStore

KEY = "trace-heads"
"""Name of the hash, under the convention's prefix: a node's name to its note."""


class SharedHeads:
    """The shared heads. Every method raises StateStoreUnavailable."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._key = store.key(KEY)

    async def of(self, node: str) -> KnownHead | None:
        """Return what the nodes share of one node's head; None where there is none, or no note."""
        notes = await self._notes()
        return KnownHead("l'état partagé des nœuds", notes[node]) if node in notes else None

    async def all(self) -> dict[str, SignedCheckpoint]:
        """Return every node's head, by its name."""
        notes = await self._notes()
        heads = {node: parse_checkpoint(parse_note(note.encode()).text) for node, note in notes.items()}
        return {node: SignedCheckpoint(node, head, notes[node]) for node, head in heads.items()}

    async def publish(self, head: SignedCheckpoint) -> None:
        """Share this node's head."""
        async with self._store.limited():
            await self._store.client.hset(self._key, head.node, head.note)

    async def _notes(self) -> dict[str, str]:
        """Return the notes by node, but what is none of that node's log."""
        async with self._store.limited():
            raw = await self._store.client.hgetall(self._key)
        texts = {_text(node): _text(note) for node, note in raw.items()}
        return {node: note for node, note in texts.items() if _is_head(node, note)}


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _is_head(node: str, note: str) -> bool:
    try:
        return parse_checkpoint(parse_note(note.encode()).text).origin == origin(node)
    except NoteError:
        return False
