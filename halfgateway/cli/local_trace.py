"""What a local command does that the trace must tell (C21, T10): it opens the journal where no node has it.

A journal has one writer. While a node runs, that is the node, and the command says which call of its API does the
same; nothing is shown or changed that could not be recorded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from auth.errors import TraceDamaged, TraceUnavailable
from auth.trace import Journal, writer_lives
from auth.trace.layout import is_node_name
from camera_registry.clock import SystemClock
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys


class NodeWritesTrace(HalfGatewayError):
    """A node runs here, and it alone writes its journal."""


@asynccontextmanager
async def local_journal(folder: DataFolder, *, api_call: str) -> AsyncIterator[Journal]:
    """Open a stopped node's journal, for entries of what a person does at its machine.

    ``api_call`` is what does the same on a running node. Raises NodeWritesTrace, TraceUnavailable, TraceDamaged.
    """
    node = _node_of(folder.trace)
    running = NodeWritesTrace(
        f"le nœud {node} est en marche et lui seul écrit son journal : faites la demande par son API ({api_call}),"
        " ou arrêtez-le"
    )
    if writer_lives(folder.trace):
        raise running
    keys = NodeKeys.open(folder.secrets)
    try:
        journal = await Journal.open(folder.trace, node=node, key=keys.trace, clock=SystemClock())
    except TraceDamaged:
        raise
    except TraceUnavailable as error:
        if writer_lives(folder.trace):
            raise running from error
        raise
    async with journal:
        yield journal


def _node_of(trace: Path) -> str:
    """The name of the node whose journal lies here. Raises HalfGatewayError where there is none."""
    names = [path.stem for path in sorted(trace.glob("*.pem")) if is_node_name(path.stem)]
    if len(names) != 1:
        raise HalfGatewayError(f"{trace} : aucun journal d'un nœud ici")
    return names[0]
