"""``halfgateway restore``: what the running node looked at is shown, then confirmed; a cut never asks (article 8).

It takes the node: nobody else knows whether its trace, its slots and its cameras answer.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, say, stop

_OUTCOMES = {"passed": "oui", "failed": "NON", "unknown": " ? "}

_YES = frozenset({"o", "oui"})

NO_NODE = (
    "aucun nœud n'est en marche ici, et lui seul peut faire les vérifications préalables : démarrez-le"
    " (l'Interconnexion reste interrompue), puis rétablissez"
)
NOTHING_DONE = "rien n'a été fait : l'Interconnexion reste interrompue"


def restore(
    incident: Annotated[str, typer.Option(help="Incident auquel le rétablissement met fin.")],
    reason: Annotated[str, typer.Option(help="Motif, en une phrase.")],
    motive: Annotated[
        str | None, typer.Option(help="Motif pour passer outre aux vérifications préalables ; gardé au journal.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ne rien demander ; sans terminal, rien n'est demandé.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rétablir l'Interconnexion : montrer les vérifications préalables, faire confirmer, rétablir."""
    from halfgateway.cli.office import ask, require_node  # noqa: PLC0415 - a cut does not wait for it

    require_node(config, data, NO_NODE)
    seen = ask(config, data, "GET", "/interconnection/preflight")
    if not yes and sys.stdin.isatty():
        motive = _confirmed(seen, incident, motive)
    elif not as_json:
        print(_shown(seen), flush=True)
    wish = {"incident": incident, "reason": reason, "motive": motive}
    answer = ask(config, data, "POST", "/interconnection/restore", wish)
    document = {
        "incident": incident,
        "at": answer["since"],
        "state": answer["state"],
        "nodes": [{"id": seen["node"], "streams_closed": 0}],
        "preflight": seen,
        "proposal": answer["proposal"],
    }
    say(document, _said(incident, answer), as_json=as_json)


def _confirmed(seen: dict[str, Any], incident: str, motive: str | None) -> str | None:
    """Show a person the pre-flight, and return the motive by which they go on; exits with 1 if they do not."""
    typer.echo(_shown(seen), err=True)
    failed = [found for found in seen["findings"] if found["outcome"] == "failed"]
    if any(found["essential"] for found in failed):
        return motive  # the node refuses, and traces that it was asked
    if failed and motive is None:
        motive = _asked("Motif pour passer outre (vide : renoncer)") or stop(REFUSED, NOTHING_DONE)
    elif _asked(f"Rétablir l'Interconnexion, incident {incident} ? [oui/NON]").lower() not in _YES:
        stop(REFUSED, NOTHING_DONE)
    return motive


def _asked(question: str) -> str:
    answer: str = typer.prompt(question, default="", show_default=False, err=True)
    return answer.strip()


def _shown(seen: dict[str, Any]) -> str:
    lines = [f"Vérifications préalables du nœud {seen['node']} :", *findings(seen)]
    proposal = seen["proposal"]
    if proposal is not None:
        despite = f", en passant outre : {proposal['motive']}" if proposal["motive"] else ""
        lines.append(f"Proposé par {proposal['account']} (« {proposal['reason']} »{despite}).")
    elif seen["four_eyes"]:
        lines.append(
            "Deux personnes sont nécessaires : le rétablissement sera proposé, et un autre compte le confirme."
        )
    return "\n".join(lines)


def findings(seen: dict[str, Any]) -> list[str]:
    """What was looked at, a line for each."""
    return [
        f"  [{_OUTCOMES[found['outcome']]}] {found['title']} : {found['observation']}" for found in seen["findings"]
    ]


def _said(incident: str, answer: dict[str, Any]) -> str:
    proposal = answer["proposal"]
    if proposal is None:
        return f"Interconnexion rétablie, incident {incident}."
    from halfgateway.cli.office import shown_instant  # noqa: PLC0415 - as above

    return (
        f"Rétablissement proposé par {proposal['account']}, incident {incident} : l'Interconnexion reste interrompue"
        f" jusqu'à ce qu'un autre compte le confirme par la même commande, avant le {shown_instant(proposal['until'])}."
    )
