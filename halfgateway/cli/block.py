"""``halfgateway block``: who and what is kept out at once, on which ground and until when (S12)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from auth.rights import BlockKind
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.office import ask, shown_instant

_SUBJECTS = {
    BlockKind.AGENT.value: "agent",
    BlockKind.SERVICE.value: "service",
    BlockKind.CAMERA.value: "caméra",
    BlockKind.SITE.value: "site de consultation",
}

_HELP = {
    BlockKind.AGENT: "Bloquer un agent : ses Flux prennent fin, aucun autre ne lui est ouvert.",
    BlockKind.SERVICE: "Bloquer un service : les Flux de ses agents prennent fin.",
    BlockKind.CAMERA: "Bloquer une caméra : ses Flux prennent fin.",
    BlockKind.SITE: "Bloquer un site de consultation : les Flux qui y sont regardés prennent fin.",
}

Subject = Annotated[
    str,
    typer.Argument(metavar="SUJET", help="L'identifiant de l'agent ou de la caméra ; le nom du service ou du site."),
]
Ground = Annotated[str, typer.Option(help="Fondement, en un mot : securite, demande-pp, donnees-personnelles, …")]
Why = Annotated[str, typer.Option(help="Motif, en une phrase.")]
Until = Annotated[datetime | None, typer.Option(help="Terme, UTC ; sans terme, jusqu'à la levée.")]

block = typer.Typer(help="Blocages : un agent, un service, une caméra ou un site, sans délai.", no_args_is_help=True)


def _blocking(kind: BlockKind) -> Callable[..., None]:
    def block_one(
        subject: Subject,
        ground: Ground,
        reason: Why,
        expires: Until = None,
        config: ConfigOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        _set(kind, subject, ground, reason, expires, config, data, as_json=as_json)

    return block_one


for _kind, _help in _HELP.items():
    block.command(_kind.value, help=_help)(_blocking(_kind))


@block.command("list")
def list_blocks(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les blocages qui n'ont pas été levés."""
    found = ask(config, data, "GET", "/blocks")["items"]
    say({"blocks": found}, "\n".join(map(_line, found)) or "Aucun blocage.", as_json=as_json)


@block.command("lift")
def lift(
    identifier: Annotated[str, typer.Argument(metavar="BLOCAGE", help="Identifiant du blocage.")],
    reason: Why,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lever un blocage : ce qu'il avait fermé n'est pas rouvert, et peut être demandé de nouveau."""
    ask(config, data, "POST", f"/blocks/{quote(identifier, safe='')}/lift", {"reason": reason})
    say({"id": identifier, "lifted": True}, f"Blocage {identifier} levé.", as_json=as_json)


def _set(
    kind: BlockKind,
    subject: str,
    ground: str,
    reason: str,
    expires: datetime | None,
    config: Path | None,
    data: Path | None,
    *,
    as_json: bool,
) -> None:
    until = None if expires is None else expires.replace(tzinfo=UTC).isoformat()
    body = {"kind": kind, "subject": subject, "ground": ground, "reason": reason, "expires": until}
    found = ask(config, data, "POST", "/blocks", body)
    say(found, f"Blocage enregistré : {_line(found)}", as_json=as_json)


def _line(found: dict[str, Any]) -> str:
    term = f"jusqu'au {shown_instant(found['expires'])}" if found["expires"] else "jusqu'à sa levée"
    what = f"{_SUBJECTS[found['kind']]} {found['subject']}"
    return f"{found['id']}  {what}, {term} ({found['ground']} : {found['reason']}), par {found['set_by']}"
