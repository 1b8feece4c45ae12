"""``halfgateway break-glass``: sealed credentials, printed once, reported after use (C21)."""

from __future__ import annotations

from typing import Annotated

import typer

from auth.principals import Role
from camera_registry.clock import rfc3339
from halfgateway.cli.common import ConfigOption, DataOption, JsonOption, say
from halfgateway.cli.custody import act, shown

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
    sealed, password = act(config, data, lambda custody, actor: custody.issue_break_glass(role, actor))
    document = {"number": sealed.number, "account": sealed.account, "role": role.value, "password": password}
    say(document, _SHEET.format_map(document), as_json=as_json)


@break_glass.command("list")
def list_sealed(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les accès de secours et les comptes rendus attendus."""
    found = act(config, data, lambda custody, _: custody.list_break_glass())
    document = [
        {
            "number": sealed.number,
            "role": sealed.role.value,
            "issued_at": rfc3339(sealed.issued_at),
            "first_used_at": None if sealed.first_used_at is None else rfc3339(sealed.first_used_at),
            "report_due": sealed.report_due,
        }
        for sealed in found
    ]
    lines = [
        f"n° {sealed.number}  {sealed.role.value}  établi {shown(sealed.issued_at)}"
        + (f"  utilisé {shown(sealed.first_used_at)}" if sealed.first_used_at else "")
        + ("  COMPTE RENDU ATTENDU" if sealed.report_due else "")
        for sealed in found
    ]
    say(document, "\n".join(lines) or "Aucun accès de secours.", as_json=as_json)


@break_glass.command("report")
def report(
    number: Annotated[int, typer.Argument(min=1, help="Numéro de l'accès de secours.")],
    text: Annotated[str, typer.Option(help="Ce qui a été fait, et pourquoi.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rendre compte d'une utilisation."""
    act(config, data, lambda custody, actor: custody.report_break_glass(number, text, actor))
    say({"number": number, "reported": True}, f"Compte rendu de l'accès n° {number} enregistré.", as_json=as_json)
