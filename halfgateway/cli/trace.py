"""``halfgateway trace``: the history, checked and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auth.trace.verify import verify_folder
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, node_folder, say

trace = typer.Typer(help="Journal des accès: verify the history.", no_args_is_help=True)


@trace.callback()
def _trace() -> None:
    """Journal des accès: verify the history."""


@trace.command()
def verify(
    path: Annotated[Path | None, typer.Argument(help="A journal's folder; the node's own by default.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every byte of a journal: 0 valid, 3 invalid, 4 diverged, 5 incomplete, 6 valid but unanchored."""
    folder = path if path is not None else node_folder(config, data).trace
    found = verify_folder(folder)
    say(found.to_json(), f"{folder}: {found.status.label}, {found.message}", as_json=as_json)
    raise typer.Exit(found.exit_code)
