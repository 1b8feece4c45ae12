"""Opening a node's journal: with the key that signs it, and only where it is all there (T12)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from auth.errors import NoteError, TraceDamaged, TraceUnavailable
from auth.trace import Journal
from auth.trace.anchors import AnchorStore, read_head
from auth.trace.continuity import Gap, KnownHead, TraceBehind, find_gap
from camera_registry.clock import Clock
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys


async def open_trace(
    folder: DataFolder, node: str, keys: NodeKeys, clock: Clock, *, known: Sequence[KnownHead] = ()
) -> Journal:
    """Open the journal of a node; ``known`` are heads of it that others have, beside those that are kept here.

    Raises TraceBehind where it lacks what was seen of it, and what :meth:`auth.trace.Journal.open` raises.
    """
    gap = await asyncio.to_thread(trace_gap, folder, node, known)
    if gap is not None:
        raise TraceBehind(gap)
    return await open_trace_as_it_is(folder, node, keys, clock)


async def open_trace_as_it_is(folder: DataFolder, node: str, keys: NodeKeys, clock: Clock) -> Journal:
    """Open the journal of a node, even where a person has still to say what it lacks."""
    await asyncio.to_thread(keys.settle, folder.trace, node)
    key = await asyncio.to_thread(lambda: keys.trace)
    return await Journal.open(folder.trace, node=node, key=key, clock=clock)


def trace_gap(folder: DataFolder, node: str, known: Sequence[KnownHead] = ()) -> Gap | None:
    """Return what the journal lacks of what was seen of it, None where nothing. Blocking.

    Raises TraceUnavailable where what this node saw of it cannot be asked, TraceDamaged, OSError.
    """
    faults = memory_faults(folder)
    if faults:
        raise TraceUnavailable("; ".join(faults))
    try:
        kept = [read_head(folder.head), AnchorStore(folder.trace).latest()]
        return find_gap(folder.trace, node, [*known, *(head for head in kept if head is not None)])
    except (NoteError, ValueError) as error:
        raise TraceDamaged(f"les points de contrôle conservés du journal ne peuvent être lus : {error}") from error


def memory_faults(folder: DataFolder) -> list[str]:
    """Why the head that this node remembers cannot be asked: a disk that is not there is no memory that is empty."""
    if folder.head_note is None or folder.head_note.parent.is_dir():
        return []
    return [f"trace.head_note: le dossier {folder.head_note.parent} n'existe pas (T12)"]
