"""``halfgateway assertion-key`` and ``crl``: what makes PP's agents and their certificates believed, or no longer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from halfgateway.cli.common import WRONG_USAGE, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.office import ask, shown_instant

_TOLD_OF_A_KEY = ("kid", "algorithm", "reference", "valid_from", "valid_until", "revoked_at")

assertion_key = typer.Typer(help="Clés d'attestation déclarées par la Préfecture de police.", no_args_is_help=True)
crl = typer.Typer(help="Listes de révocation.", no_args_is_help=True)


@crl.callback()
def _crl() -> None:
    """Listes de révocation."""


@assertion_key.command("add")
def add(
    public_key: Annotated[Path, typer.Argument(help="Clé publique P-256 ou Ed25519, PEM.")],
    reference: Annotated[str, typer.Option(help="Référence de la déclaration de la Préfecture de police.")],
    kid: Annotated[str | None, typer.Option(help="Identifiant ; par défaut, tiré de la clé.")] = None,
    valid_from: Annotated[datetime | None, typer.Option("--from", help="Début, UTC.")] = None,
    valid_until: Annotated[datetime | None, typer.Option("--until", help="Terme, UTC ; un an par défaut.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Inscrire une clé d'attestation."""
    body = {
        "public_key": _read(public_key),
        "reference": reference,
        "kid": kid,
        "valid_from": _utc(valid_from),
        "valid_until": _utc(valid_until),
    }
    key = ask(config, data, "POST", "/assertion-keys", body)
    document = {name: key[name] for name in ("kid", "algorithm", "valid_until")}
    term = shown_instant(key["valid_until"])
    say(document, f"Clé {key['kid']} ({key['algorithm']}) inscrite, terme {term}.", as_json=as_json)


@assertion_key.command("list")
def list_keys(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les clés d'attestation."""
    keys = ask(config, data, "GET", "/assertion-keys")["items"]
    document = [{name: key[name] for name in _TOLD_OF_A_KEY} for key in keys]
    say(document, "\n".join(map(_line, keys)) or "Aucune clé.", as_json=as_json)


@assertion_key.command("revoke")
def revoke(
    kid: Annotated[str, typer.Argument(help="Identifiant de la clé.")],
    reason: Annotated[str, typer.Option(help="Motif, en une phrase.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Révoquer une clé : les Flux ouverts avec elle prennent fin."""
    ask(config, data, "POST", f"/assertion-keys/{quote(kid, safe='')}/revoke", {"reason": reason})
    say({"kid": kid, "revoked": True}, f"Clé {kid} révoquée.", as_json=as_json)


@crl.command("import")
def import_lists(
    file: Annotated[Path, typer.Argument(help="Une ou plusieurs listes, PEM.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mettre en vigueur des listes de révocation, après vérification de leur signature et de leur date."""
    authorities = ask(config, data, "PUT", "/admin/crl", {"pem": _read(file)})["authorities"]
    say({"authorities": authorities}, f"Listes en vigueur pour {len(authorities)} autorité(s).", as_json=as_json)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        stop(WRONG_USAGE, f"{path}: {error}")


def _utc(instant: datetime | None) -> str | None:
    return None if instant is None else instant.replace(tzinfo=UTC).isoformat()


def _line(key: dict[str, Any]) -> str:
    term = f"{shown_instant(key['valid_from'])} – {shown_instant(key['valid_until'])}"
    revoked = f"  révoquée {shown_instant(key['revoked_at'])} : {key['revoked_reason']}" if key["revoked_at"] else ""
    return f"{key['kid']}  {key['algorithm']}  {term}{revoked}"
