"""The command line: ``halfgateway COMMAND``. Every command takes ``--json``; exit codes are 0, 1, 2 (interface.md)."""

from __future__ import annotations

import typer

from halfgateway.cli import interconnection, node, simulator, trace

app = typer.Typer(
    name="halfgateway",
    help="La Demi-Passerelle Partenaire : the partner's half-gateway between SYN's cameras and the PVPP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(node.demo)
app.command("serve")(node.serve)
app.command("check")(node.check)
app.command("simulate")(simulator.simulate)
app.command("cut")(interconnection.cut)
app.command("restore")(interconnection.restore)
app.add_typer(trace.app, name="trace")


def main() -> None:
    """Run the command line."""
    app()
