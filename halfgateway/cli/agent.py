"""``halfgateway agent``: who may, designated, habilitated, enrolled, reviewed and ended (article 6, C09)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from auth.principals import Role
from auth.rights import Action, Administration
from halfgateway.cli import agent_text as text
from halfgateway.cli.common import REFUSED, WRONG_USAGE, ConfigOption, DataOption, JsonOption, say, stop
from halfgateway.cli.office import Office, ask, ask_all, begins, ends, run

DAYS_OF_A_MONTH = 30.44
"""On average: a review does not turn on a day."""

Day = typer.Option(formats=["%Y-%m-%d"], help="Jour, heure de Paris : 2026-11-21.")
AgentName = Annotated[str, typer.Argument(metavar="AGENT", help="Identifiant opaque de l'agent ; jamais un nom.")]
Authority = Annotated[str, typer.Option(help="Qui a décidé : chef de service, préfet de police.")]
Reference = Annotated[str, typer.Option(help="Référence de la décision.")]
OneRole = Annotated[Role, typer.Option(help="Rôle.")]

agent = typer.Typer(help="Désignations et habilitations : les agents, et ce que chacun peut.", no_args_is_help=True)


@agent.command("bootstrap")
def bootstrap(
    name: Annotated[
        str, typer.Argument(metavar="AGENT", help="Identifiant du premier responsable de la sécurité.")
    ] = "syn-rssi-01",
    authority: Authority = "responsable du traitement",
    reference: Reference = "mise en service",
    png: Annotated[Path | None, typer.Option(help="Écrire le code QR dans ce fichier.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Créer le premier responsable de la sécurité, s'il n'y en a pas ; affiche une fois de quoi ouvrir sa session."""
    body = {"id": name, "authority": authority, "reference": reference}
    _give(ask(config, data, "POST", "/agents/bootstrap", body), png, as_json=as_json)


@agent.command("add")
def add(
    name: AgentName,
    administration: Annotated[Administration, typer.Option(help="De qui relève l'agent : PP ou SYN.")],
    service: Annotated[str, typer.Option(help="Service de l'agent.")],
    authority: Authority,
    reference: Reference,
    start: Annotated[datetime | None, Day] = None,
    end: Annotated[datetime | None, Day] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer une désignation : celle de la PP, telle qu'elle l'a décidée, ou celle de SYN."""
    body = {
        "id": name,
        "administration": administration,
        "service": service,
        "authority": authority,
        "reference": reference,
        "start": begins(start),
        "end": ends(end),
    }
    added = ask(config, data, "POST", "/agents", body)
    say(added, f"Désignation enregistrée : {text.agent_line(added)}", as_json=as_json)


@agent.command("list")
def list_agents(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les désignations, les plus récentes d'abord, closes comprises."""
    found = ask_all(config, data, "/agents")
    say({"agents": found}, "\n".join(map(text.agent_line, found)) or "Aucun agent.", as_json=as_json)


@agent.command("show")
def show(name: AgentName, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Montrer un agent, ses habilitations et ses comptes."""
    found = ask(config, data, "GET", f"/agents/{name}")
    say(found, text.agent_page(found), as_json=as_json)


NewPassword = Annotated[bool, typer.Option("--new-password", help="Un nouveau mot de passe, s'il a été perdu.")]


@agent.command("enrol-card")
def enrol_card(
    name: AgentName,
    role: OneRole,
    certificate: Annotated[Path, typer.Option(help="Certificat de la carte, PEM.")],
    site: Annotated[str | None, typer.Option(help="Site de visualisation, de l'annexe 6.")] = None,
    scope: Annotated[str | None, typer.Option(help="D'un auditeur : SYN, PP ou inspection.")] = None,
    new_password: NewPassword = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lier une carte au compte de l'agent pour ce rôle ; le mot de passe d'un compte neuf est affiché une fois."""
    body = {
        "kind": "card",
        "role": role,
        "site": site,
        "scope": scope,
        "certificate": _read(certificate).decode(),
        "new_password": new_password,
    }
    _give(ask(config, data, "POST", f"/agents/{name}/factors", body), None, as_json=as_json)


@agent.command("enrol-totp")
def enrol_totp(
    name: AgentName,
    role: OneRole,
    scope: Annotated[str | None, typer.Option(help="D'un auditeur : SYN, PP ou inspection.")] = None,
    png: Annotated[Path | None, typer.Option(help="Écrire le code QR dans ce fichier.")] = None,
    new_password: NewPassword = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Donner au compte de l'agent un secret de code à usage unique, en code QR ; rôles de SYN seulement."""
    body = {"kind": "totp", "role": role, "scope": scope, "new_password": new_password}
    _give(ask(config, data, "POST", f"/agents/{name}/factors", body), png, as_json=as_json)


@agent.command("enrol-machine")
def enrol_machine(
    name: AgentName,
    certificate: Annotated[Path | None, typer.Option(help="Certificat du compte de service, PEM.")] = None,
    site: Annotated[str | None, typer.Option(help="Site de visualisation, de l'annexe 6.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tirer le secret du compte de service dont cet agent répond ; il est affiché une fois."""
    body = {
        "kind": "machine",
        "role": Role.MACHINE,
        "site": site,
        "certificate": _read(certificate).decode() if certificate is not None else None,
    }
    _give(ask(config, data, "POST", f"/agents/{name}/factors", body), None, as_json=as_json)


@agent.command("habilitate")
def habilitate(
    name: AgentName,
    role: OneRole,
    authority: Authority,
    reference: Reference,
    commune: Annotated[list[str] | None, typer.Option(help="Commune ; plusieurs fois pour plusieurs.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Site de caméras.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Caméra.")] = None,
    action: Annotated[list[Action] | None, typer.Option(help="Par défaut, Temps réel et Temps différé.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Réseau d'où l'agent vient : 198.51.100.0/24.")] = None,
    start: Annotated[datetime | None, Day] = None,
    end: Annotated[datetime | None, Day] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer une habilitation ; sans commune, site ni caméra, pour tout le périmètre."""
    body = {
        "agent": name,
        "role": role,
        "territory": {"communes": commune or [], "sites": site or [], "cameras": camera or []},
        "sources": source or [],
        "start": begins(start),
        "end": ends(end),
        "authority": authority,
        "reference": reference,
    } | ({"actions": action} if action else {})
    granted = ask(config, data, "POST", "/habilitations", body)
    say(granted, f"Habilitation enregistrée : {text.habilitation_line(granted)}", as_json=as_json)


@agent.command("end")
def end_agent(
    name: AgentName,
    reason: Annotated[str, typer.Option(help="Motif, en une phrase.")],
    reference: Annotated[str | None, typer.Option(help="Décision de la PP ; exigée pour un de ses agents.")] = None,
    habilitation: Annotated[str | None, typer.Option(help="Ne clore que cette habilitation.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Clore une désignation et ses habilitations, ou une seule habilitation ; les Flux ainsi ouverts prennent fin."""
    body = {"reason": reason, "reference": reference}
    if habilitation is not None:
        ended = ask(config, data, "POST", f"/habilitations/{habilitation}/end", body)
        say(ended, f"Habilitation close : {text.habilitation_line(ended)}", as_json=as_json)
    else:
        ended = ask(config, data, "POST", f"/agents/{name}/end", body)
        say(ended, f"Désignation close : {text.agent_line(ended)}", as_json=as_json)


@agent.command("import")
def import_list(
    file: Annotated[
        Path, typer.Argument(metavar="LIST", help="Fichier CSV, UTF-8, séparé par des virgules ou des points-virgules.")
    ],
    signature: Annotated[Path, typer.Option(help="Sa signature détachée, en octets.")],
    key: Annotated[Path, typer.Option(help="Clé publique ou certificat du signataire, PEM.")],
    authority: Authority,
    reference: Reference,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enregistrer les désignations d'une liste signée de la PP : entière, ou rien, avec chaque faute et sa ligne.

    Colonnes : agent, service, role, start, et au besoin end, communes, sites, cameras ; jours comme 2026-11-21,
    plusieurs valeurs séparées par |. Signer par : openssl dgst -sha256 -sign key.pem -out list.sig list.csv
    """
    body = {
        "list": _read(file).decode("utf-8", "replace"),
        "signature": base64.b64encode(_read(signature)).decode(),
        "key": _read(key).decode("ascii", "replace"),
        "authority": authority,
        "reference": reference,
    }
    taken = ask(config, data, "POST", "/agents/import", body)
    count = len(taken["designated"])
    say(taken, f"{count} désignation(s) enregistrée(s) ; liste {taken['sha256']}", as_json=as_json)


@agent.command("review")
def review(
    months: Annotated[int, typer.Option(min=0, help="Non confirmées depuis ce nombre de mois.")] = 6,
    confirm: Annotated[list[str] | None, typer.Option(help="Habilitation à confirmer.")] = None,
    end: Annotated[list[str] | None, typer.Option(help="Habilitation à clore.")] = None,
    reference: Annotated[str | None, typer.Option(help="Référence de la revue.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoir les habilitations : lister celles à confirmer, en confirmer ou en clore."""
    if (confirm or end) and not reference:
        stop(WRONG_USAGE, "--reference: the review that confirms or ends is named")

    async def work(office: Office) -> dict[str, Any]:
        for habilitation in confirm or ():
            await office.call("POST", f"/habilitations/{habilitation}/confirm", {"reference": reference})
        for habilitation in end or ():
            body = {"reason": "revue des habilitations", "reference": reference}
            await office.call("POST", f"/habilitations/{habilitation}/end", body)
        before = datetime.now(UTC) - timedelta(days=months * DAYS_OF_A_MONTH)
        found = await office.every("/habilitations")
        due = [each for each in found if each["in_force"] and _last_seen(each) <= before]
        return {"confirmed": confirm or [], "ended": end or [], "due": due}

    done = run(config, data, work)
    lines = [text.habilitation_line(each) for each in done["due"]] or ["Aucune habilitation à revoir."]
    counts = f"{len(done['confirmed'])} confirmée(s), {len(done['ended'])} close(s), {len(done['due'])} à revoir."
    say(done, "\n".join([*lines, counts]), as_json=as_json)


@agent.command("on")
def on_day(
    day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="Jour, heure de Paris.")],
    name: Annotated[str | None, typer.Option("--agent", help="Un seul agent.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dire qui avait quel droit ce jour-là, d'après les registres."""
    query = {"on": day.date().isoformat()} | ({"agent": name} if name is not None else {})
    held = ask_all(config, data, "/habilitations", **query)
    lines = [text.held_line(each) for each in held] or ["Personne."]
    say({"on": query["on"], "habilitations": held}, "\n".join(lines), as_json=as_json)


def _last_seen(habilitation: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(habilitation["confirmed_at"] or habilitation["recorded_at"])


def _give(enrolled: dict[str, Any], png: Path | None, *, as_json: bool) -> None:
    if png is not None:
        try:
            text.write_qr_code(enrolled["totp_uri"], png)
        except OSError as error:
            typer.echo(text.enrolled(enrolled))
            stop(REFUSED, f"{png}: {error.strerror}")
    say(enrolled, text.enrolled(enrolled), as_json=as_json)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        stop(WRONG_USAGE, f"{path}: {error.strerror}")
