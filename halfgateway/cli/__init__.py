"""The command line: ``halfgateway COMMAND``.

Every command takes ``--json`` and then prints one JSON document, but ``notifier``, ``watchdog`` and ``recorder``, which
print nothing. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration; ``trace verify`` has a code for
each verdict (docs/trace.md), and ``trace cosign`` ends with 4 where the log diverges from what was cosigned.
"""

from __future__ import annotations

import importlib
import signal
import sys

import typer

MODULES = {
    "demo": "node",
    "serve": "node",
    "check": "node",
    "notifier": "attendants",
    "watchdog": "attendants",
    "recorder": "recorder",
    "simulate": "simulator",
    "status": "status",
    "cut": "interconnection",
    "restore": "restoration",
    "degrade": "interconnection",
    "stream": "stream",
    "trace": "trace",
    "doctor": "doctor",
    "camera": "camera",
    "agent": "agent",
    "assertion-key": "keys",
    "crl": "keys",
    "break-glass": "break_glass",
    "intervention": "intervention",
    "order": "order",
    "incident": "incident",
    "correspondence": "correspondence",
    "block": "block",
    "change": "change",
    "annex": "annex",
    "calendar": "calendar",
    "acceptance": "acceptance",
    "hold": "hold",
    "request": "request",
    "retention": "retention",
    "register": "register",
}
"""The module of this package that holds each command, under the command's own name."""


def main() -> None:
    """Run the command line."""
    if "serve" in sys.argv[1:]:  # a SIGHUP that comes before the node can heed it waits, and does not end it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    build(sys.argv[1:])()


def build(arguments: list[str]) -> typer.Typer:
    """The application, with only the named command in it: a cut does not wait for the relay's libraries to load."""
    app = typer.Typer(
        name="halfgateway",
        help="La Demi-Passerelle Partenaire, entre les caméras de SYN et le PVPP.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_halfgateway)
    named = [argument for argument in arguments if argument in MODULES][:1]
    for name in named or MODULES:
        command = getattr(importlib.import_module(f"halfgateway.cli.{MODULES[name]}"), name.replace("-", "_"))
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _halfgateway() -> None:
    """La Demi-Passerelle Partenaire, entre les caméras de SYN et le PVPP."""
