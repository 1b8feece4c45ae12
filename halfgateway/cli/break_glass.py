"""``halfgateway break-glass``: sealed credentials, printed once, reported after use (C21)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from auth.principals import Role
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.office import ask, shown_instant

_TOLD = ("number", "role", "issued_at", "first_used_at", "report_due")

break_glass = typer.Typer(help="Accès de secours : numérotés, sous enveloppe scellée.", no_args_is_help=True)

_SHEET = """\
ACCÈS DE SECOURS N° {number}
À conserver sous enveloppe scellée et numérotée. Imprimé une seule fois.

    identifiant    {account}
    mot de passe   {password}
    rôle           {role}

Valable une heure à compter de la première utilisation. Toute utilisation déclenche une alerte
et appelle un compte rendu."""


@break_glass.command("issue")
def issue(
    role: Annotated[Role, typer.Option("--for", help="Rôle : ops, officer ou auditor.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Établir un accès de secours et l'imprimer."""
    sealed = ask(config, data, "POST", "/break-glass", {"role": role})
    say(sealed, _SHEET.format_map(sealed), as_json=as_json)


@break_glass.command("list")
def list_sealed(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les accès de secours et les comptes rendus attendus."""
    found = ask(config, data, "GET", "/break-glass")["items"]
    document = [{name: sealed[name] for name in _TOLD} for sealed in found]
    say(document, "\n".join(map(_line, found)) or "Aucun accès de secours.", as_json=as_json)


@break_glass.command("report")
def report(
    number: Annotated[int, typer.Argument(min=1, help="Numéro de l'accès de secours.")],
    text: Annotated[str, typer.Option(help="Ce qui a été fait, et pourquoi.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rendre compte d'une utilisation."""
    ask(config, data, "POST", f"/break-glass/{number}/report", {"text": text})
    say({"number": number, "reported": True}, f"Compte rendu de l'accès n° {number} enregistré.", as_json=as_json)


def _line(sealed: dict[str, Any]) -> str:
    used = f"  utilisé {shown_instant(sealed['first_used_at'])}" if sealed["first_used_at"] else ""
    due = "  COMPTE RENDU ATTENDU" if sealed["report_due"] else ""
    return f"n° {sealed['number']}  {sealed['role']}  établi {shown_instant(sealed['issued_at'])}{used}{due}"
