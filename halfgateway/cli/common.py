"""What every command does alike: find its node, and say one thing as text or as one JSON document."""

from __future__ import annotations

import json
import os
import pwd
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from halfgateway.folder import DataFolder

if TYPE_CHECKING:
    from halfgateway.config import Configuration

REFUSED = 1
"""Exit code: refused, or failed."""

WRONG_USAGE = 2
"""Exit code: wrong usage or configuration."""

LOGIN_UID = Path("/proc/self/loginuid")
"""Set once when someone logs in, and inherited through su and sudo (audit_setloginuid(3))."""

NO_LOGIN_UID = 2**32 - 1
"""What it says of a process that no login has led to: a service, a container."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="HALFGATEWAY_CONFIG", help="Le gateway.toml du nœud.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", envvar="HALFGATEWAY_DATA", help="Dossier de données d'une démonstration.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="N'écrire qu'un document JSON.")]


def node_folder(config: Path | None, data: Path | None) -> DataFolder:
    """The data folder of the node that ``--config`` or ``--data`` names; exits with 2 if they name none."""
    folder = named_folder(config, data)
    if not folder.root.is_dir():
        stop(WRONG_USAGE, f"{folder.root} is no data folder")
    return folder


def named_folder(config: Path | None, data: Path | None) -> DataFolder:
    """The same, which may be yet to be made.

    Of the configuration no more is looked at than where the node lies: the node that runs has read the rest of it.
    """
    if data is not None:
        return DataFolder(data.absolute())
    if config is None:
        stop(WRONG_USAGE, "name a node: --config gateway.toml, or --data with a demo's folder")
    try:
        named = tomllib.loads(config.read_text(encoding="utf-8"))["node"]["data"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError):
        named = None
    if not isinstance(named, str):
        return configuration_in(config).folder()
    return DataFolder((config.parent / named).absolute())


def configuration_in(config: Path) -> Configuration:
    """The whole configuration in a file; exits with 2 and every fault where it cannot be used."""
    from halfgateway.config import ConfigurationError, read_configuration  # noqa: PLC0415 - half a second to load

    try:
        return read_configuration(config)
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)


def say(document: Any, text: str, *, as_json: bool) -> None:
    """Print the document, or its text for people."""
    print(json.dumps(document, ensure_ascii=False) if as_json else text, flush=True)


def stop(code: int, *faults: str) -> NoReturn:
    """Print what is wrong on stderr and exit."""
    for fault in faults:
        print(f"halfgateway: {fault}", file=sys.stderr)
    raise typer.Exit(code)


def account_name() -> str:
    """The OS account behind this command (C21): of the process's own user, never of what its environment claims.

    Root is whoever logged in to become it: by the kernel's audit id, which nobody can change, else by what sudo says.
    """
    return f"local:{_person_behind(os.getuid())[:48]}"


def _person_behind(uid: int) -> str:
    if uid != 0:
        return _name_of(uid)
    logged_in = _login_uid()
    if logged_in is not None:
        return _name_of(logged_in)
    sudoer = os.environ.get("SUDO_USER", "")
    try:
        return pwd.getpwnam(sudoer).pw_name
    except KeyError:
        return _name_of(uid)


def _login_uid() -> int | None:
    """The audit login id of this process, None where the kernel keeps none or nobody logged in."""
    try:
        uid = int(LOGIN_UID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == NO_LOGIN_UID else uid


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
