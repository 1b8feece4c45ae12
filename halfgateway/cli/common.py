"""What every command does alike: find its node, and say one thing as text or as one JSON document."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from halfgateway.config import ConfigurationError, read_configuration
from halfgateway.folder import DataFolder

REFUSED = 1
"""Exit code: refused, or failed."""

WRONG_USAGE = 2
"""Exit code: wrong usage or configuration."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="HALFGATEWAY_CONFIG", help="The node's gateway.toml.")
]
DataOption = Annotated[Path | None, typer.Option("--data", envvar="HALFGATEWAY_DATA", help="A demo's data folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def node_folder(config: Path | None, data: Path | None) -> DataFolder:
    """The data folder of the node that ``--config`` or ``--data`` names; exits with 2 if they name none."""
    if data is not None:
        folder = DataFolder(data.absolute())
    elif config is not None:
        try:
            folder = DataFolder(read_configuration(config).node.data.absolute())
        except ConfigurationError as error:
            stop(WRONG_USAGE, *error.faults)
    else:
        stop(WRONG_USAGE, "name a node: --config gateway.toml, or --data with a demo's folder")
    if not folder.root.is_dir():
        stop(WRONG_USAGE, f"{folder.root} is no data folder")
    return folder


def say(document: Any, text: str, *, as_json: bool) -> None:
    """Print the document, or its text for people."""
    print(json.dumps(document, ensure_ascii=False) if as_json else text, flush=True)


def stop(code: int, *faults: str) -> NoReturn:
    """Print what is wrong on stderr and exit."""
    for fault in faults:
        print(f"halfgateway: {fault}", file=sys.stderr)
    raise typer.Exit(code)


def account_name() -> str:
    """The OS account that runs this command, and the one behind sudo where there is one (C21)."""
    name = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid-{os.getuid()}"
    return f"local:{name[:48]}"
