"""``halfgateway incident``: what happened, by when the prefecture is told, what was done (article 8).

Like a cut, it needs the node's disk and nothing else that could be down; a running node traces it within a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from auth.errors import AuthError
from auth.trace import Draft, Kind
from camera_registry.clock import SystemClock
from camera_registry.paris import PARIS
from halfgateway.cli.common import (
    REFUSED,
    WRONG_USAGE,
    ConfigOption,
    DataOption,
    JsonOption,
    account_name,
    configuration_in,
    node_folder,
    say,
    stop,
)
from halfgateway.cli.incident_text import line, text
from halfgateway.errors import HalfGatewayError
from ops.errors import OpsError, UnknownIncident
from ops.incidents.book import IncidentBooks
from ops.incidents.clocks import USUAL_CLOCKS, ClockStart, LegalClock
from ops.incidents.desk import About, IncidentDesk, Means
from ops.incidents.following import follow_record
from ops.incidents.incident import Incident
from ops.interconnection import Author
from ops.local_record import LocalRecord

TRACED_WITHIN_S = 3.0
"""How long a command waits for its node's trace: the node looks once a second."""

LOOK_S = 0.05

incident = typer.Typer(
    help="Incidents : ce qui est arrivé, pour quand la PP est informée, ce qui a été fait.", no_args_is_help=True
)

IncidentId = Annotated[str, typer.Argument(metavar="ID", help="Référence de l'incident.")]
Why = Annotated[str, typer.Option(help="Motif, en une phrase.")]
When = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
        help="Instant, à l'heure de Paris s'il ne dit pas son fuseau : 2026-11-21T03:12.",
    ),
]
Contact = Annotated[str | None, typer.Option(help="Fonction jointe ; jamais un nom.")]


@incident.command("list")
def list_incidents(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lister les incidents, les plus récents d'abord."""
    found = _at_the_desk(config, data, lambda desk, _: desk.all())
    say(
        {"incidents": [_document(one) for one in found]},
        "\n".join(map(line, found)) or "Aucun incident.",
        as_json=as_json,
    )


@incident.command("show")
def show(
    incident_id: IncidentId,
    dossier: Annotated[
        Path | None, typer.Option(help="Dossier neuf, ou .zip, pour le dossier entier : PDF, courriels, entrées.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Montrer un incident : survenance, échéance, chaque courriel et son acheminement, tout ce qui a été fait."""
    if dossier is not None:
        _write_dossier(incident_id, dossier, config, data)
    _say_one(config, data, lambda desk, _: desk.find(incident_id), as_json=as_json, whole=True)


@incident.command("declare")
def declare(
    reason: Why,
    critical: Annotated[bool, typer.Option(help="Si l'article 8 veut le courriel dans les huit heures.")] = True,
    occurred_at: When = None,
    scope: Annotated[str | None, typer.Option(help="Ce qui est touché, si ce n'est pas tout.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Déclarer un incident qui n'a rien interrompu ; pour interrompre : halfgateway cut."""
    _say_one(
        config,
        data,
        lambda desk, who: desk.declare(
            who, by=Author.OPS, reason=reason, critical=critical, occurred_at=_instant(occurred_at), scope=scope
        ),
        as_json=as_json,
    )


@incident.command("report")
def report(
    reported_by: Annotated[str, typer.Option(help="Fonction de la PP qui signale ; jamais un nom.")],
    reason: Why,
    occurred_at: When = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Inscrire ce que la PP signale par courriel ou par téléphone ; la référence de l'incident lui est donnée."""
    _say_one(
        config,
        data,
        lambda desk, who: desk.report(who, reported_by=reported_by, reason=reason, occurred_at=_instant(occurred_at)),
        as_json=as_json,
    )


@incident.command("revise")
def revise(
    incident_id: IncidentId,
    t0: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%z"], help="L'autre survenance.")
    ],
    reason: Why,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ajouter une autre survenance : antérieure, elle avance l'échéance ; postérieure, elle ne la recule pas."""
    _say_one(
        config,
        data,
        lambda desk, who: desk.revise(incident_id, who, t0=_in_paris(t0), reason=reason),
        as_json=as_json,
    )


@incident.command("note")
def note(
    incident_id: IncidentId,
    text: Annotated[str, typer.Option(help="Ce qui a été fait ou constaté.")],
    about: Annotated[str, typer.Option(help="timeline, nature, cause, recordings, lessons ou report.")] = "timeline",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Inscrire une ligne à la chronologie."""
    what = _one_of(about, About)
    _say_one(config, data, lambda desk, who: desk.note(incident_id, who, about=what, text=text), as_json=as_json)


@incident.command("step")
def step(
    incident_id: IncidentId,
    text: Annotated[str, typer.Option(help="Où l'on en est.")],
    next_in: Annotated[float, typer.Option(min=0.1, max=240, help="Heures d'ici au prochain.")] = 2.0,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Point d'étape : dire à la PP où l'on en est, et quand viendra le prochain."""

    def work(desk: IncidentDesk, who: str) -> Incident:
        next_by = SystemClock().now() + timedelta(hours=next_in)
        return desk.tell_step(incident_id, who, text=text, next_by=next_by)

    _say_one(config, data, work, as_json=as_json)


@incident.command("classify")
def classify(
    incident_id: IncidentId,
    critical: Annotated[bool, typer.Option("--critical/--not-critical", help="Ce qui a été jugé.")],
    reason: Why,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Juger qu'un incident est critique, ou non."""
    _say_one(
        config,
        data,
        lambda desk, who: desk.classify(incident_id, who, critical=critical, reason=reason),
        as_json=as_json,
    )


@incident.command("acknowledge")
def acknowledge(
    incident_id: IncidentId,
    contact: Contact = None,
    recipient: Annotated[str | None, typer.Option(help="Adresse dont les courriels sont ainsi accusés.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Inscrire que la PP a accusé réception par téléphone."""
    _say_one(
        config,
        data,
        lambda desk, who: desk.acknowledge(incident_id, who, means="telephone", contact=contact, recipient=recipient),
        as_json=as_json,
    )


@incident.command("escalate")
def escalate(
    incident_id: IncidentId,
    level: Annotated[int, typer.Option(min=1, max=20, help="Niveau activé.")],
    contact: Annotated[str, typer.Option(help="Fonction appelée ; jamais un nom.")],
    means: Annotated[str, typer.Option(help="mail, phone, on-call ou webhook.")] = "phone",
    by_pp: Annotated[bool, typer.Option("--by-pp", help="La PP le demande.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Inscrire que le niveau suivant a été activé, par l'une ou l'autre partie."""
    how = _one_of(means, Means)
    _say_one(
        config,
        data,
        lambda desk, who: desk.escalate(
            incident_id, who, level=level, contact=contact, means=how, by_party="PP" if by_pp else "SYN"
        ),
        as_json=as_json,
    )


@incident.command("clock")
def clock(
    incident_id: IncidentId,
    name: Annotated[
        str,
        typer.Argument(
            metavar="CLOCK", help="L'un de [[incidents.clocks]], cnil-72h ou nis2-24h par exemple ; ou un autre nom."
        ),
    ],
    start: When = None,
    hours: Annotated[
        int | None, typer.Option(min=1, max=1488, help="Durée, si [[incidents.clocks]] ne la dit pas.")
    ] = None,
    done: Annotated[str | None, typer.Option(help="Ce qui a été fait : arrête le délai.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ouvrir un délai légal, de la prise de connaissance (maintenant, à défaut) ou de la survenance ; ou le fermer."""
    clocks = _agreed_clocks(config, data)

    def work(desk: IncidentDesk, who: str) -> Incident:
        if done is not None:
            return desk.stop_clock(incident_id, who, clock=name, done=done)
        agreed = clocks.get(name)
        from_t0 = agreed is not None and agreed.starts is ClockStart.INCIDENT
        began = _instant(start) or (None if from_t0 else SystemClock().now())
        within = None if hours is None else timedelta(hours=hours)
        return desk.start_clock(incident_id, who, clock=name, start=began, within=within)

    _say_one(config, data, work, as_json=as_json, clocks=clocks)


@incident.command("resolve")
def resolve(
    incident_id: IncidentId,
    reason: Why,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Résoudre un incident ; ce qui en est encore dû le reste."""
    _say_one(config, data, lambda desk, who: desk.resolve(incident_id, who, reason=reason), as_json=as_json)


def _at_the_desk(
    config: Path | None,
    data: Path | None,
    work: Callable[[IncidentDesk, str], Any],
    clocks: Mapping[str, LegalClock] | None = None,
) -> Any:
    """Do some work at the desk, every cut of the record having its book; exits with 1 where it is refused."""
    folder, clock = node_folder(config, data), SystemClock()
    books = IncidentBooks(folder.incidents, clock=clock)
    try:
        if folder.interconnection.exists():
            follow_record(books, LocalRecord(folder.interconnection, clock=clock).history())
        done = work(IncidentDesk(books, clock, clocks=clocks), account_name())
    except UnknownIncident as error:
        stop(REFUSED, f"aucun incident {error}")
    except (OpsError, ValueError) as error:
        stop(REFUSED, str(error))
    if isinstance(done, Incident) and folder.socket.exists():
        _wait_until_traced(books, done)
    return done


def _wait_until_traced(books: IncidentBooks, incident: Incident) -> None:
    """Give the running node the time to trace what was said; what it does not trace now, it does once it can."""
    deadline = time.monotonic() + TRACED_WITHIN_S
    while books.told(incident.id) < len(incident.timeline) and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def _say_one(
    config: Path | None,
    data: Path | None,
    work: Callable[[IncidentDesk, str], Incident],
    *,
    as_json: bool,
    whole: bool = False,
    clocks: Mapping[str, LegalClock] | None = None,
) -> None:
    found: Incident = _at_the_desk(config, data, work, clocks)
    say(_document(found, whole=whole), text(found) if whole else line(found), as_json=as_json)


def _agreed_clocks(config: Path | None, data: Path | None) -> Mapping[str, LegalClock]:
    """The legal clocks that the node's configuration names; a demo's are the usual ones."""
    if data is not None or config is None:
        return {agreed.name: agreed for agreed in USUAL_CLOCKS}
    return configuration_in(config).incidents.legal_clocks()


def _write_dossier(incident_id: str, target: Path, config: Path | None, data: Path | None) -> None:
    """Write the dossier, once the trace tells that it is taken out; exits with 1 where it cannot be."""
    from halfgateway.cli.local_trace import readable_trace  # noqa: PLC0415 - slow to load
    from halfgateway.dossiers.incident import write_incident_dossier  # noqa: PLC0415
    from halfgateway.dossiers.local import History  # noqa: PLC0415

    books = IncidentBooks(node_folder(config, data).incidents, clock=SystemClock())

    async def write() -> None:
        found = books.read(incident_id)
        async with readable_trace(config, data) as journal:
            detail = {"incident": incident_id, "what": "incident-dossier"}
            await journal.record(Draft(kind=Kind.TRACE_EXPORTED, account=account_name(), source="local", detail=detail))
            proofs = await History(journal).of_incident(incident_id)
        await asyncio.to_thread(write_incident_dossier, found, books, target, proofs=proofs)

    try:
        asyncio.run(write())
    except UnknownIncident as error:
        stop(REFUSED, f"aucun incident {error}")
    except (HalfGatewayError, AuthError, OpsError) as error:
        stop(REFUSED, str(error))
    except OSError as error:
        stop(REFUSED, f"{error.filename}: {error.strerror}")


def _document(found: Incident, *, whole: bool = False) -> dict[str, Any]:
    from halfgateway.api.incident_shapes import incident_detail, incident_shape  # noqa: PLC0415 - slow to load

    shape = incident_detail(found) if whole else incident_shape(found)
    document: dict[str, Any] = shape.model_dump(mode="json")
    return document


def _instant(given: datetime | None) -> datetime | None:
    return None if given is None else _in_paris(given)


def _in_paris(given: datetime) -> datetime:
    return (given if given.tzinfo is not None else given.replace(tzinfo=PARIS)).astimezone(UTC)


def _one_of(given: str, kind: Any) -> Any:
    known = kind.__args__
    if given not in known:
        stop(WRONG_USAGE, f"{given} : {', '.join(known)}")
    return given
