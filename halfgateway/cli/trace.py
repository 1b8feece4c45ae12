"""``halfgateway trace``: the history, checked, shown, proved, exported and purged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import aiohttp
import typer

from auth.errors import AuthError
from auth.trace import Draft, Entry, Journal, Kind, TraceFilter
from auth.trace.retention import RetentionClass
from auth.trace.scopes import Scope
from auth.trace.single_file import single_file
from auth.trace.verifier import as_json as verdict_json
from auth.trace.verifier import as_text as verdict_text
from auth.trace.verifier import judge
from camera_registry.clock import SystemClock, rfc3339
from halfgateway.cli.common import (
    REFUSED,
    WRONG_USAGE,
    ConfigOption,
    DataOption,
    JsonOption,
    account_name,
    node_folder,
    say,
    stop,
)
from halfgateway.cli.local_trace import BesideNode, readable_trace
from halfgateway.cli.office import configuration_of
from halfgateway.cli.trace_acts import continue_trace, cosign, rotate_key, statement
from halfgateway.dossiers.elimination import Elimination
from halfgateway.dossiers.inspection import inspection_files
from halfgateway.dossiers.local import History, Request, eliminate
from halfgateway.dossiers.proof import dossier_files, write_files
from halfgateway.dossiers.tables import TableFormat, write_table
from halfgateway.errors import HalfGatewayError

Result = TypeVar("Result")

trace = typer.Typer(
    help="Journal des accès : le vérifier, le lire, en prouver, exporter ou éliminer.", no_args_is_help=True
)

_SINCE = typer.Option("--since", help="À partir de cet instant (RFC 3339).")
_UNTIL = typer.Option("--until", help="Avant cet instant (RFC 3339).")
_MOTIVE = typer.Option("--motive", help="Pourquoi les agents de la PP sont à montrer sans masque ; il est tracé.")
_AGENT, _CAMERA = typer.Option("--agent"), typer.Option("--camera")
_STREAM, _INCIDENT = typer.Option("--stream"), typer.Option("--incident")
_KIND = typer.Option("--kind", help="Une seule sorte d'entrées, stream.refused par exemple.")


@trace.callback()
def _trace() -> None:
    """Journal des accès : le vérifier, le lire, en prouver, exporter ou éliminer."""


@trace.command()
def verify(
    path: Annotated[
        Path | None, typer.Argument(help="Dossier d'un journal, ou de preuve ; par défaut, le journal du nœud.")
    ] = None,
    anchor: Annotated[list[Path] | None, typer.Option(help="Point de contrôle gardé ailleurs.")] = None,
    key: Annotated[Path | None, typer.Option(help="Clés publiques du journal, obtenues d'ailleurs (PEM).")] = None,
    cosigner: Annotated[
        list[str] | None, typer.Option(help="Clé de vérification (vkey C2SP) d'un cosignataire.")
    ] = None,
    tsa: Annotated[
        list[Path] | None, typer.Option(help="Certificat d'une autorité d'horodatage, ou de son émetteur (PEM).")
    ] = None,
    crl: Annotated[
        list[Path] | None, typer.Option(help="Liste de révocation d'une autorité donnée par --tsa (PEM).")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Vérifier chaque octet d'un journal : 0 valide, 3 invalide, 4 divergent, 5 incomplet, 6 valide, non ancré.

    Celui du nœud l'est aussi avec les cosignataires et les autorités d'horodatage de sa configuration.
    """
    folder, cosigners, authorities, revocations = path, list(cosigner or ()), list(tsa or ()), list(crl or ())
    if folder is None:
        folder, section = node_folder(config, data).trace, configuration_of(config, data).trace
        cosigners += section.cosigners
        authorities += [section.timestamp_ca] if section.timestamp_ca is not None else []
        revocations += [section.timestamp_revoked] if section.timestamp_revoked is not None else []
    try:
        found = judge(
            folder,
            anchors=anchor or (),
            keys=key,
            cosigners=cosigners,
            authorities=authorities,
            revocations=revocations,
        )
    except ValueError as error:
        stop(WRONG_USAGE, str(error))
    except AuthError as error:
        stop(REFUSED, str(error))
    say(verdict_json(found), verdict_text(folder, found), as_json=as_json)
    raise typer.Exit(found.verification.exit_code)


@trace.command()
def verifier(
    output: Annotated[Path, typer.Option(help="Fichier à écrire ; rien n'est remplacé.")] = Path("halfgateway-verify"),
    as_json: JsonOption = False,
) -> None:
    """Écrire le vérificateur autonome : un seul fichier, à qui suffisent Python et le paquet cryptography."""
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(single_file())
        output.chmod(0o755)
    except OSError as error:
        stop(REFUSED, f"{output}: {error.strerror}")
    say({"file": str(output)}, f"{output} : python3 {output} DOSSIER", as_json=as_json)


@trace.command("list")
def list_entries(
    kind: Annotated[Kind | None, _KIND] = None,
    agent: Annotated[str | None, _AGENT] = None,
    camera: Annotated[str | None, _CAMERA] = None,
    stream: Annotated[str | None, _STREAM] = None,
    incident: Annotated[str | None, _INCIDENT] = None,
    since: Annotated[str | None, _SINCE] = None,
    until: Annotated[str | None, _UNTIL] = None,
    motive: Annotated[str | None, _MOTIVE] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lister les entrées, les plus récentes d'abord, comme l'auditeur de SYN les voit ; les lire est une entrée."""
    request = _request(kind, agent, camera, stream, incident, since, until, motive)

    async def read(journal: Journal | BesideNode) -> list[Entry]:
        await journal.record(_draft(Kind.TRACE_READ, {"what": "entries", **request.to_json()}))
        return await History(journal).entries(request, limit=limit)

    entries = _with_trace(config, data, read)
    lines = [_line(entry) for entry in entries] or ["Aucune entrée."]
    say({"items": [entry.to_json() for entry in entries]}, "\n".join(lines), as_json=as_json)


@trace.command()
def export(
    output: Annotated[Path, typer.Option(help="Fichier à écrire ; pour --inspection, dossier ou .zip.")],
    form: Annotated[TableFormat, typer.Option("--format")] = TableFormat.CSV,
    inspection: Annotated[
        bool, typer.Option("--inspection", help="Dossier de contrôle : journal, vérificateur, extrait.")
    ] = False,
    kind: Annotated[Kind | None, _KIND] = None,
    agent: Annotated[str | None, _AGENT] = None,
    camera: Annotated[str | None, _CAMERA] = None,
    stream: Annotated[str | None, _STREAM] = None,
    incident: Annotated[str | None, _INCIDENT] = None,
    since: Annotated[str | None, _SINCE] = None,
    until: Annotated[str | None, _UNTIL] = None,
    motive: Annotated[str | None, _MOTIVE] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Exporter des entrées, avec point de contrôle et preuves ; c'est une entrée. --inspection veut un motif."""
    if inspection and motive is None:
        stop(WRONG_USAGE, "--inspection : indiquez --motive, la référence de la demande de contrôle")
    if output.exists():
        stop(REFUSED, f"{output} existe déjà")
    scope = Scope.INSPECTION if inspection else Scope.SYN
    request = _request(kind, agent, camera, stream, incident, since, until, motive, scope=scope)

    async def write(journal: Journal | BesideNode) -> int:
        what = "inspection" if inspection else "entries"
        await journal.record(_draft(Kind.TRACE_EXPORTED, {"what": what, "format": form.value, **request.to_json()}))
        extract, document = await History(journal).extract(request)
        content = write_table(document, form)
        if inspection:
            write_files(inspection_files(journal.folder, extract.head, f"extrait.{form.value}", content), output)
        else:
            output.write_bytes(content)
        return len(extract.entries)

    count = _with_trace(config, data, write)
    say({"file": str(output), "entries": count}, f"{output} : {count} entrée(s).", as_json=as_json)


@trace.command()
def prove(
    node: Annotated[str, typer.Argument(help="Nœud dont le journal contient l'entrée.")],
    n: Annotated[int, typer.Argument(min=0, help="Numéro de l'entrée.")],
    output: Annotated[Path, typer.Option(help="Le dossier : un dossier neuf, ou un .zip.")],
    at: Annotated[
        int | None, typer.Option(help="Taille du point de contrôle qui la prouve ; le dernier par défaut.")
    ] = None,
    since_size: Annotated[
        int | None, typer.Option("--from", help="Taille d'un point de contrôle antérieur, relié au premier.")
    ] = None,
    motive: Annotated[
        str | None, typer.Option(help="Pourquoi l'entrée est montrée ; sans motif, seule son existence est prouvée.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Faire le dossier qui prouve une entrée : preuves, clés, vérificateur, mode d'emploi ; c'est une entrée."""
    if output.exists():
        stop(REFUSED, f"{output} existe déjà")

    async def write(journal: Journal | BesideNode) -> int:
        if journal.node != node:
            raise HalfGatewayError(f"ce journal est celui du nœud {journal.node}, non de {node}")
        asked = {"n": n, "at": at, "from": since_size, "motive": motive}
        await journal.record(_draft(Kind.TRACE_EXPORTED, {"what": "proof", "asked": asked, "scope": Scope.SYN.value}))
        dossier = await History(journal).dossier(n, at=at, earlier=since_size, opened=motive is not None)
        write_files(dossier_files(dossier), output)
        return dossier.head.checkpoint.size

    size = _with_trace(config, data, write)
    document = {"dossier": str(output), "node": node, "n": n, "size": size, "opened": motive is not None}
    say(document, f"{output} : entrée n° {n} prouvée sous le point de contrôle de {size} entrées.", as_json=as_json)


@trace.command()
def purge(
    older_than: Annotated[int, typer.Option(help="Âge, en jours.", min=1)],
    visa: Annotated[str, typer.Option(help="Référence du visa du service d'archives.")],
    retention_class: Annotated[RetentionClass, typer.Option("--class")] = RetentionClass.ACCESS,
    output: Annotated[Path, typer.Option(help="Dossier où écrire le bordereau d'élimination.")] = Path(),
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Éliminer ce qui d'une classe a passé sa durée ; écrit le bordereau d'élimination (JSON, CSV, PDF)."""

    async def erase(journal: Journal | BesideNode) -> Elimination | None:
        if isinstance(journal, BesideNode):
            return await journal.eliminate(retention_class, older_than_days=older_than, visa=visa)
        configuration = configuration_of(config, data)
        return await eliminate(
            journal,
            _draft(Kind.TRACE_PURGED, {}),
            retention_class,
            older_than_days=older_than,
            visa=visa,
            retention=configuration.retention.record(configuration.convention.ended_at),
            now=SystemClock().now(),
        )

    record = _with_trace(config, data, erase)
    if record is None:
        say({"count": 0, "record": None, "files": []}, "Rien n'est à éliminer.", as_json=as_json)
        return
    files = _write_record(record, output)
    text = f"{record.count} entrée(s) éliminée(s) ; bordereau : {', '.join(files)}"
    say({"count": record.count, "record": record.to_json(), "files": files}, text, as_json=as_json)


def _write_record(record: Elimination, folder: Path) -> list[str]:
    stem = folder / f"bordereau-elimination-{record.node}-{record.n}"
    contents = {".json": json.dumps(record.to_json(), ensure_ascii=False, indent=1).encode()}
    contents |= {f".{form}": write_table(record.document(), form) for form in (TableFormat.CSV, TableFormat.PDF)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, content in contents.items():
            stem.with_name(stem.name + suffix).write_bytes(content)
    except OSError as error:
        stop(REFUSED, f"l'élimination est faite et tracée ; son bordereau ne peut être écrit : {error.strerror}")
    return [str(stem.with_name(stem.name + suffix)) for suffix in contents]


def _with_trace(
    config: Path | None, data: Path | None, work: Callable[[Journal | BesideNode], Awaitable[Result]]
) -> Result:
    """Do work with the node's journal on behalf of a person at its machine; exits with 1 where it may not."""

    async def run() -> Result:
        async with readable_trace(config, data) as journal:
            return await work(journal)

    try:
        return asyncio.run(run())
    except (HalfGatewayError, AuthError, ValueError, aiohttp.ClientError) as error:
        stop(REFUSED, str(error))
    except OSError as error:
        stop(REFUSED, f"{error.filename}: {error.strerror}")


def _draft(kind: Kind, detail: dict[str, Any]) -> Draft:
    return Draft(kind=kind, account=account_name(), source="local", detail=detail)


def _request(
    kind: Kind | None, agent: str | None, camera: str | None, stream: str | None, incident: str | None,
    since: str | None, until: str | None, motive: str | None, *, scope: Scope = Scope.SYN,
) -> Request:  # fmt: skip
    wanted = TraceFilter(
        kinds=None if kind is None else frozenset({kind}),
        agent=agent,
        camera=camera,
        stream=stream,
        incident=incident,
        since=_instant(since),
        until=_instant(until),
    )
    return Request(wanted, scope, motive)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        stop(WRONG_USAGE, f"{text} : une date RFC 3339 est attendue")
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _line(entry: Entry) -> str:
    who = entry.agent or entry.account or "-"
    about = "  ".join(each for each in (entry.camera, entry.mode, entry.reason, entry.refusal) if each)
    return f"{entry.n:>8}  {rfc3339(entry.at)}  {entry.kind:<26} {who:<24} {about}".rstrip()


trace.command("statement")(statement)
trace.command("rotate-key")(rotate_key)
trace.command("continue")(continue_trace)
trace.command("cosign")(cosign)
