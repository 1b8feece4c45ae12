"""``halfgateway order``: the prefectoral orders that let cameras be shown (L06)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from camera_registry.orders import OrderType
from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.office import ask, ask_all, shown_day

_STATES = {
    "in-force": "en vigueur",
    "suspended": "suspendu",
    "expired": "expiré",
    "withdrawn": "abrogé",
    "not-begun": "à venir",
}

OrderName = Annotated[str, typer.Argument(metavar="REFERENCE", help="Référence de l'arrêté.")]
Why = Annotated[str, typer.Option(help="Motif, en une phrase.")]
Day = typer.Option(formats=["%Y-%m-%d"], help="Jour : 2026-11-21.")

order = typer.Typer(help="Arrêtés préfectoraux : quelles caméras, et pour qui.", no_args_is_help=True)


@order.command("add")
def add(
    reference: OrderName,
    recipient: Annotated[
        list[str], typer.Option(help="Service destinataire des images ; plusieurs fois pour plusieurs.")
    ],
    signed_on: Annotated[datetime, Day],
    last_day: Annotated[datetime, Day],
    retention_max: Annotated[
        int, typer.Option(min=0, max=31, help="Jours au-delà desquels les enregistrements sont détruits.")
    ],
    camera: Annotated[list[str] | None, typer.Option(help="Caméra qu'il nomme.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Site.")] = None,
    commune: Annotated[list[str] | None, typer.Option(help="Commune.")] = None,
    kind: Annotated[
        OrderType, typer.Option("--type", help="Normal, provisoire, ou pour une manifestation.")
    ] = OrderType.NORMAL,
    place: Annotated[str, typer.Option(help="Nature du lieu.")] = "voie publique",
    live: Annotated[bool, typer.Option(help="Si le Temps réel est permis.")] = True,
    recorded: Annotated[bool, typer.Option(help="Si le Temps différé est permis.")] = True,
    retention_min: Annotated[
        int, typer.Option(min=0, max=31, help="Jours pendant lesquels les enregistrements sont conservés.")
    ] = 0,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer un arrêté ; il vaut jusqu'à la fin de son dernier jour, heure de Paris."""
    body = {
        "reference": reference,
        "type": kind,
        "perimeter": {"cameras": camera or [], "sites": site or [], "communes": commune or []},
        "place": place,
        "recipients": recipient,
        "live": live,
        "recorded": recorded,
        "retention_min_days": retention_min,
        "retention_max_days": retention_max,
        "signed_on": signed_on.date().isoformat(),
        "last_day": last_day.date().isoformat(),
    }
    added = ask(config, data, "POST", "/orders", body)
    say(added, f"Arrêté enregistré : {_line(added)}", as_json=as_json)


@order.command("list")
def list_orders(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les arrêtés, les plus récents d'abord, avec ce qui est à faire."""
    found = ask_all(config, data, "/orders")
    lines = [line for each in found for line in (_line(each), *(f"  ! {warning}" for warning in each["warnings"]))]
    say({"orders": found}, "\n".join(lines) or "Aucun arrêté.", as_json=as_json)


@order.command("import")
def import_orders(
    file: Annotated[Path, typer.Argument(help="Fichier CSV, UTF-8, séparé par des virgules ou des points-virgules.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer une liste d'arrêtés : entière, ou rien, avec chaque faute et sa ligne.

    Colonnes : reference, type, cameras, sites, communes, place, recipients, live, recorded, retention_min_days,
    retention_max_days, signed_on, last_day ; plusieurs valeurs séparées par |, live et recorded oui ou non.
    """
    from halfgateway.cli.order_list import OrderListError, read_orders  # noqa: PLC0415 - the shapes: a second to load

    try:
        orders = read_orders(file)
    except OrderListError as error:
        stop(REFUSED, *error.faults)
    added = ask(config, data, "POST", "/orders/import", {"orders": orders})
    references = [each["reference"] for each in added["items"]]
    say({"added": references}, f"{len(references)} arrêté(s) enregistré(s).", as_json=as_json)


@order.command("suspend")
def suspend(
    reference: OrderName, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Suspendre un arrêté : les Flux de ses caméras prennent fin."""
    _change("suspend", reference, reason, config, data, as_json=as_json)


@order.command("resume")
def resume(
    reference: OrderName, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Mettre fin à la suspension d'un arrêté."""
    _change("resume", reference, reason, config, data, as_json=as_json)


@order.command("withdraw")
def withdraw(
    reference: OrderName, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Retirer un arrêté, pour toujours : les Flux de ses caméras prennent fin."""
    _change("withdraw", reference, reason, config, data, as_json=as_json)


def _change(change: str, reference: str, reason: str, config: Path | None, data: Path | None, *, as_json: bool) -> None:
    changed = ask(config, data, "POST", f"/orders/{reference}/{change}", {"reason": reason})
    say(changed, _line(changed), as_json=as_json)


def _line(found: dict[str, Any]) -> str:
    names = [name for kind in ("communes", "sites", "cameras") for name in found["perimeter"][kind]]
    shown = ", ".join(names[:5]) + (f" et {len(names) - 5} autres" if len(names) > 5 else "")
    term = f"du {shown_day(found['signed_on'])} au {shown_day(found['last_day'])}"
    services = ", ".join(found["recipients"])
    return f"{found['reference']:<20} {_STATES[found['state']]:<12} {term}  {shown} → {services}"
