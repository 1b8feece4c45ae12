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

Day = typer.Option(formats=["%Y-%m-%d"], help="A day, Paris time: 2026-11-21.")
AgentName = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's opaque identifier: never a name.")]
Authority = Annotated[str, typer.Option(help="Who decided: the head of service, the préfet de police.")]
Reference = Annotated[str, typer.Option(help="The decision's reference.")]
OneRole = Annotated[Role, typer.Option(help="The role.")]

agent = typer.Typer(help="Habilitations: the agents, and what each may do.", no_args_is_help=True)


@agent.command("bootstrap")
def bootstrap(
    name: Annotated[str, typer.Argument(metavar="AGENT", help="The first officer's identifier.")] = "syn-rssi-01",
    authority: Authority = "responsable du traitement",
    reference: Reference = "mise en service",
    png: Annotated[Path | None, typer.Option(help="Write the QR code to this file.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the first security officer, where there is none; prints what they log in with, once."""
    body = {"id": name, "authority": authority, "reference": reference}
    _give(ask(config, data, "POST", "/agents/bootstrap", body), png, as_json=as_json)


@agent.command("add")
def add(
    name: AgentName,
    administration: Annotated[Administration, typer.Option(help="Whose agent: PP's or SYN's.")],
    service: Annotated[str, typer.Option(help="The agent's service.")],
    authority: Authority,
    reference: Reference,
    start: Annotated[datetime | None, Day] = None,
    end: Annotated[datetime | None, Day] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a designation: PP's as PP has decided it, SYN's own."""
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
    """Every designation, newest first, those that have ended too."""
    found = ask_all(config, data, "/agents")
    say({"agents": found}, "\n".join(map(text.agent_line, found)) or "Aucun agent.", as_json=as_json)


@agent.command("show")
def show(name: AgentName, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """One agent, with habilitations and accounts."""
    found = ask(config, data, "GET", f"/agents/{name}")
    say(found, text.agent_page(found), as_json=as_json)


NewPassword = Annotated[bool, typer.Option("--new-password", help="Un nouveau mot de passe, s'il a été perdu.")]


@agent.command("enrol-card")
def enrol_card(
    name: AgentName,
    role: OneRole,
    certificate: Annotated[Path, typer.Option(help="The card's certificate, in PEM.")],
    site: Annotated[str | None, typer.Option(help="The viewing site, of annex 6.")] = None,
    scope: Annotated[str | None, typer.Option(help="An auditor's: SYN, PP or inspection.")] = None,
    new_password: NewPassword = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bind a card to the agent's account of this role; the account's password is printed if it is new, once."""
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
    scope: Annotated[str | None, typer.Option(help="An auditor's: SYN, PP or inspection.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the QR code to this file.")] = None,
    new_password: NewPassword = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the agent's account of this role a one-time-code secret, as a QR code; SYN's roles alone take one."""
    body = {"kind": "totp", "role": role, "scope": scope, "new_password": new_password}
    _give(ask(config, data, "POST", f"/agents/{name}/factors", body), png, as_json=as_json)


@agent.command("enrol-machine")
def enrol_machine(
    name: AgentName,
    certificate: Annotated[Path | None, typer.Option(help="The machine's certificate, in PEM.")] = None,
    site: Annotated[str | None, typer.Option(help="The viewing site, of annex 6.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the secret of the machine for which this agent answers; it is printed once."""
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
    commune: Annotated[list[str] | None, typer.Option(help="A commune; several times for several.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="A camera site.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="A camera.")] = None,
    action: Annotated[list[Action] | None, typer.Option(help="By default live and recorded.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="A network to come from, 198.51.100.0/24.")] = None,
    start: Annotated[datetime | None, Day] = None,
    end: Annotated[datetime | None, Day] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a habilitation. Without commune, site or camera it is for the whole perimeter."""
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
    reason: Annotated[str, typer.Option(help="Why, in one short sentence.")],
    reference: Annotated[str | None, typer.Option(help="PP's own decision; required for an agent of PP's.")] = None,
    habilitation: Annotated[str | None, typer.Option(help="End this habilitation alone.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record the end of a designation, with all its habilitations, or of one habilitation; what runs by it closes."""
    body = {"reason": reason, "reference": reference}
    if habilitation is not None:
        ended = ask(config, data, "POST", f"/habilitations/{habilitation}/end", body)
        say(ended, f"Habilitation close : {text.habilitation_line(ended)}", as_json=as_json)
    else:
        ended = ask(config, data, "POST", f"/agents/{name}/end", body)
        say(ended, f"Désignation close : {text.agent_line(ended)}", as_json=as_json)


@agent.command("import")
def import_list(
    file: Annotated[Path, typer.Argument(metavar="LIST", help="A CSV file, UTF-8, commas or semicolons.")],
    signature: Annotated[Path, typer.Option(help="Its detached signature, raw bytes.")],
    key: Annotated[Path, typer.Option(help="The signer's public key or certificate, in PEM.")],
    authority: Authority,
    reference: Reference,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record the designations of PP's signed list: all of it, or nothing with every fault by its line.

    Columns: agent, service, role, start, and end, communes, sites, cameras if wanted; days as 2026-11-21, several
    values separated by |. Sign it with: openssl dgst -sha256 -sign key.pem -out list.sig list.csv
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
    months: Annotated[int, typer.Option(min=0, help="Not confirmed for so many months.")] = 6,
    confirm: Annotated[list[str] | None, typer.Option(help="A habilitation to confirm.")] = None,
    end: Annotated[list[str] | None, typer.Option(help="A habilitation to end.")] = None,
    reference: Annotated[str | None, typer.Option(help="The review's reference.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Review habilitations: list those not confirmed for some months, confirm or end each."""
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
    day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="A day, Paris time.")],
    name: Annotated[str | None, typer.Option("--agent", help="One agent alone.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who had what right on that day, from the records."""
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
