"""The data folder of a node that is stopped, with a journal in it, and what a command says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from held_clock import HeldClock
from typer.testing import CliRunner

from auth.trace import Draft, Entry, Journal, Kind
from halfgateway.cli import build
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys

NODE = "node-1"
AGENT = "pp-7f3a"

ACCESS: dict[str, Any] = {
    "agent": AGENT,
    "account": "pvpp-vms",
    "attribution": "agent-asserted",
    "camera": "mairie",
    "stream": "s-1",
    "mode": "live",
    "reason": "L251-2-5",
    "source": "198.51.100.7",
}
DETAIL = {"role": "machine", "service": "DOPC", "site": "PP-CITE"}


def drafts() -> list[Draft]:
    """A day: two accesses, an incident, one of SYN's own acts."""
    return [
        Draft(kind=Kind.NODE_STARTED, detail={"convention": "syn-pp"}),
        Draft(kind=Kind.STREAM_REQUESTED, detail=DETAIL, **ACCESS),
        Draft(kind=Kind.STREAM_STOPPED, detail={**DETAIL, "cause": "teardown"}, **ACCESS),
        Draft(kind=Kind.INTERCONNECTION_CUT, account="syn-ops-01", detail={"incident": "inc-7", "serial": 2}),
        Draft(kind=Kind.STREAM_REFUSED, refusal="cap-reached", detail=DETAIL, **{**ACCESS, "agent": "=pp-0002"}),
        Draft(kind=Kind.REGISTRY_CHANGED, camera="mairie", detail={"firmware": "5.7"}),
        Draft(kind=Kind.NODE_STOPPED),
    ]


class StoppedNode:
    """A folder that a node left, two years ago by its clock."""

    def __init__(self, root: Path) -> None:
        self.folder = DataFolder(root)
        self.folder.make()
        self.keys = NodeKeys.open(self.folder.secrets)
        self.clock = HeldClock()
        self.clock.advance(timedelta(days=-730))

    async def open(self) -> Journal:
        return await Journal.open(self.folder.trace, node=NODE, key=self.keys.trace, clock=self.clock)

    async def write(self, entries: Sequence[Draft]) -> None:
        """Write entries, sign, and stop."""
        async with await self.open() as journal:
            for draft in entries:
                await journal.record(draft)

    def trace(self) -> list[Entry]:
        """Every entry, oldest first."""

        async def read() -> list[Entry]:
            async with await self.open() as journal:
                return [await journal.reader().entry(n) for n in range(journal.size)]

        return asyncio.run(read())

    def run(self, *arguments: str | Path) -> tuple[int, Any, str]:
        """Run ``halfgateway trace``: exit code, JSON document, what stderr says."""
        words = ["trace", *map(str, arguments), "--json"]
        if "--config" not in words and arguments[0] != "verifier":
            words += ["--data", str(self.folder.root)]
        done = CliRunner().invoke(build(words), words)
        return done.exit_code, json.loads(done.stdout) if done.stdout else None, done.stderr
