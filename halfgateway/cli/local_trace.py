"""What a local command does that the trace must tell (C21, T10): through the running node, or in its place.

A journal has one writer. While a node runs, that is the node: it records through its own socket who reads what, and
only then is the journal read. Where none runs, the command opens the journal itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from auth.trace import Draft, Journal, TraceReader, writer_lives
from auth.trace.layout import is_node_name
from auth.trace.retention import RetentionClass
from camera_registry.clock import SystemClock
from halfgateway.cli.common import node_folder
from halfgateway.cli.office import Office, configuration_of
from halfgateway.dossiers.elimination import Elimination
from halfgateway.errors import HalfGatewayError
from halfgateway.keys import NodeKeys
from halfgateway.opening import open_trace


class JournalTaken(HalfGatewayError):
    """A process has the journal that takes no orders: a node that starts, or a command that is about to end."""


class BesideNode:
    """The journal of a running node, for whoever reads it at its machine."""

    def __init__(self, folder: Path, node: str, office: Office) -> None:
        self.folder = folder
        self.node = node
        self._office = office
        self._reader = TraceReader.of(folder, node)

    def reader(self) -> TraceReader:
        """Return a reader of what is durable."""
        return self._reader

    async def record(self, draft: Draft) -> None:
        """Have the node record a reading or an export, and sign it. Raises Refused."""
        body = {"kind": draft.kind.value, "detail": dict(draft.detail)}
        await self._office.call("POST", "/trace/disclosures", body)

    async def eliminate(self, wanted: RetentionClass, *, older_than_days: int, visa: str) -> Elimination | None:
        """Have the node eliminate a class past its time; None where there is nothing. Raises Refused."""
        body = {"class": wanted.value, "older_than_days": older_than_days, "visa": visa}
        answer = await self._office.call("POST", "/trace/purges", body)
        if answer["record"] is None:
            return None
        return Elimination.of(await self._reader.entry(answer["record"]["n"]))

    async def write_checkpoint(self) -> None:
        """What was recorded is signed already."""


@asynccontextmanager
async def readable_trace(config: Path | None, data: Path | None) -> AsyncIterator[Journal | BesideNode]:
    """The node's journal for a person at its machine. Raises HalfGatewayError, TraceUnavailable, TraceDamaged."""
    folder = node_folder(config, data)
    node = node_of(folder.trace)
    if writer_lives(folder.trace):
        office = Office(config, data)
        if not await office.somebody_answers():
            raise JournalTaken(f"un autre processus écrit le journal de {node}, et ne répond pas : réessayez ensuite")
        async with office:
            yield BesideNode(folder.trace, node, office)
        return
    async with local_journal(config, data) as journal:
        yield journal


@asynccontextmanager
async def local_journal(config: Path | None, data: Path | None) -> AsyncIterator[Journal]:
    """Open a stopped node's journal, for entries of what a person does at its machine.

    Raises HalfGatewayError, TraceUnavailable (TraceBehind among them), TraceDamaged.
    """
    configuration = configuration_of(config, data)
    folder = configuration.folder()
    keys = NodeKeys.open(folder.secrets, configuration.trace.token_place())
    async with await open_trace(folder, node_of(folder.trace), keys, SystemClock()) as journal:
        yield journal


def node_of(trace: Path) -> str:
    """The name of the node whose journal lies here. Raises HalfGatewayError where there is none."""
    names = [path.stem for path in sorted(trace.glob("*.pem")) if is_node_name(path.stem)]
    if len(names) != 1:
        raise HalfGatewayError(f"{trace} : aucun journal d'un nœud ici")
    return names[0]
