"""The command line, typed beside a node that runs in this process or at rest.

A command of its own process loads for two seconds what is loaded here; test_cut.py, test_demo.py and test_balanced.py
start theirs so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from halfgateway.cli import build


class Said(NamedTuple):
    """What a command gave back."""

    code: int
    stdout: str
    stderr: str


async def typed(*words: str | Path, sudo_user: str | None = None) -> Said:
    """Run a command in a thread, one at a time: while it runs, what this process prints is taken for its own."""
    line = [str(word) for word in words]
    environment = {"SUDO_USER": sudo_user}
    done = await asyncio.to_thread(CliRunner().invoke, build(line), line, env=environment)
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)
