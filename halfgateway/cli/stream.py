"""``halfgateway stream``: what is watched now, on all nodes, and the end of one stream alone (article 8, S12)."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.office import ask, ask_all, require_node, shown_instant

NO_NODE = "aucun nœud n'est en marche ici : aucun Flux n'y est ouvert"

_STATES = {"reserved": "réservé", "playing": "en lecture", "paused": "en pause"}
_MODES = {"live": "Temps réel", "recorded": "Temps différé"}

stream = typer.Typer(help="Flux ouverts : les voir, en fermer un seul.", no_args_is_help=True)


@stream.command("list")
def list_streams(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les Flux ouverts, sur tous les nœuds ; qui regarde et pourquoi reste masqué."""
    require_node(config, data, NO_NODE)
    found = ask_all(config, data, "/streams")
    say({"streams": found}, "\n".join(map(_line, found)) or "Aucun Flux ouvert.", as_json=as_json)


@stream.command("close")
def close(
    identifier: Annotated[str, typer.Argument(metavar="FLUX", help="Identifiant du Flux.")],
    reason: Annotated[str, typer.Option(help="Motif, en une phrase : la Préfecture de police en reçoit un mot.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fermer un Flux, et lui seul ; il peut être redemandé : pour l'empêcher, voir block."""
    require_node(config, data, NO_NODE)
    ask(config, data, "DELETE", f"/streams/{quote(identifier, safe='')}?{urlencode({'reason': reason})}")
    say({"id": identifier, "closed": True}, f"Flux {identifier} fermé.", as_json=as_json)


def _line(found: dict[str, Any]) -> str:
    what = f"{found['camera']}, {_MODES[found['mode']]}, {_STATES[found['state']]}"
    return f"{found['id']}  {what}, depuis {shown_instant(found['since'])}, place {found['slot']}, nœud {found['node']}"
