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

OrderName = Annotated[str, typer.Argument(metavar="REFERENCE", help="The order's reference.")]
Why = Annotated[str, typer.Option(help="Why, in one short sentence.")]
Day = typer.Option(formats=["%Y-%m-%d"], help="A day: 2026-11-21.")

order = typer.Typer(help="Arrêtés préfectoraux: which cameras may be shown to whom.", no_args_is_help=True)


@order.command("add")
def add(
    reference: OrderName,
    recipient: Annotated[list[str], typer.Option(help="A service that may see the images; several times for several.")],
    signed_on: Annotated[datetime, Day],
    last_day: Annotated[datetime, Day],
    retention_max: Annotated[int, typer.Option(min=0, max=31, help="Days after which recordings are destroyed.")],
    camera: Annotated[list[str] | None, typer.Option(help="A camera that it names.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="A site.")] = None,
    commune: Annotated[list[str] | None, typer.Option(help="A commune.")] = None,
    kind: Annotated[OrderType, typer.Option("--type", help="Normal, provisional, or for an event.")] = OrderType.NORMAL,
    place: Annotated[str, typer.Option(help="The kind of place.")] = "voie publique",
    live: Annotated[bool, typer.Option(help="Whether live images are allowed.")] = True,
    recorded: Annotated[bool, typer.Option(help="Whether recordings are allowed.")] = True,
    retention_min: Annotated[int, typer.Option(min=0, max=31, help="Days for which recordings are kept.")] = 0,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record an order; it is valid to the end of its last day in Paris."""
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
    """Every order, newest first, with what is to be seen to."""
    found = ask_all(config, data, "/orders")
    lines = [line for each in found for line in (_line(each), *(f"  ! {warning}" for warning in each["warnings"]))]
    say({"orders": found}, "\n".join(lines) or "Aucun arrêté.", as_json=as_json)


@order.command("import")
def import_orders(
    file: Annotated[Path, typer.Argument(help="A CSV file, UTF-8, separated by commas or semicolons.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a list of orders: all of it, or nothing with every fault by its line.

    Columns: reference, type, cameras, sites, communes, place, recipients, live, recorded, retention_min_days,
    retention_max_days, signed_on, last_day; several values separated by |, live and recorded oui or non.
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
    """Suspend an order: streams of its cameras close."""
    _change("suspend", reference, reason, config, data, as_json=as_json)


@order.command("resume")
def resume(
    reference: OrderName, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """End an order's suspension."""
    _change("resume", reference, reason, config, data, as_json=as_json)


@order.command("withdraw")
def withdraw(
    reference: OrderName, reason: Why, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Withdraw an order for good: streams of its cameras close."""
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
