"""A list of prefectoral orders in CSV, read whole or refused whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from halfgateway.api.rights_shapes import OrderRequest
from halfgateway.errors import HalfGatewayError

SEPARATOR = "|"
"""Between several values of one field."""

_PERIMETER = ("cameras", "sites", "communes")
_FLAGS = {"oui": True, "non": False}
_COLUMNS = frozenset(OrderRequest.model_fields) - {"perimeter"} | set(_PERIMETER)


class OrderListError(HalfGatewayError):
    """A list that cannot be taken; ``faults`` names every line that is wrong, in French."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_orders(path: Path) -> list[dict[str, Any]]:
    """Read orders as the API takes them. Raises OrderListError."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OrderListError([f"{path} : {error}"]) from error
    delimiter = ";" if ";" in content.partition("\n")[0] else ","
    rows = csv.DictReader(io.StringIO(content), delimiter=delimiter, strict=True)
    try:
        columns, lines = set(rows.fieldnames or ()), list(rows)
    except csv.Error as error:
        raise OrderListError([f"ligne {rows.line_num} : {error}"]) from error
    faults = [f"colonne {name} : inconnue" for name in sorted(columns - _COLUMNS)]
    if faults or not lines:
        raise OrderListError(faults or ["la liste est vide"])
    orders = []
    for number, line in enumerate(lines, start=2):
        wish = _wish(line)
        try:
            orders.append(OrderRequest.model_validate(wish).model_dump(mode="json"))
        except ValidationError as error:
            faults += [
                f"ligne {number} : {'.'.join(map(str, fault['loc'])) or 'arrêté'} : {fault['msg']}"
                for fault in error.errors(include_input=False, include_url=False)
            ]
    if faults:
        raise OrderListError(faults)
    return orders


def _wish(line: Mapping[str, str | None]) -> dict[str, Any]:
    """The line as an order's members; what is empty is left out, what is no flag is left for the shape to refuse."""
    given = {name: value.strip() for name, value in line.items() if isinstance(value, str) and value.strip()}
    wish: dict[str, Any] = {name: value for name, value in given.items() if name not in _PERIMETER}
    for name in ("live", "recorded"):
        if name in wish:
            wish[name] = _FLAGS.get(wish[name].lower(), wish[name])
    wish["recipients"] = _parts(given.get("recipients"))
    wish["perimeter"] = {name: _parts(given.get(name)) for name in _PERIMETER}
    return wish


def _parts(value: str | None) -> list[str]:
    return [part.strip() for part in value.split(SEPARATOR)] if value else []
