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
    help="Journal des accès: the history, verified, shown, proved, exported, purged.", no_args_is_help=True
)

_SINCE = typer.Option("--since", help="From this instant on (RFC 3339).")
_UNTIL = typer.Option("--until", help="Before this instant (RFC 3339).")
_MOTIVE = typer.Option("--motive", help="Why PP's agents are to be seen by name; it is traced (L19).")
_AGENT, _CAMERA = typer.Option("--agent"), typer.Option("--camera")
_STREAM, _INCIDENT = typer.Option("--stream"), typer.Option("--incident")
_KIND = typer.Option("--kind", help="One kind of entry, such as stream.refused.")


@trace.callback()
def _trace() -> None:
    """Journal des accès: the history, verified, shown, proved, exported, purged."""


@trace.command()
def verify(
    path: Annotated[
        Path | None, typer.Argument(help="A journal's folder or a dossier; the node's own by default.")
    ] = None,
    anchor: Annotated[list[Path] | None, typer.Option(help="A checkpoint note that was kept elsewhere.")] = None,
    key: Annotated[Path | None, typer.Option(help="The log's public keys, got from elsewhere (PEM).")] = None,
    cosigner: Annotated[list[str] | None, typer.Option(help="A cosigner's C2SP vkey.")] = None,
    tsa: Annotated[
        list[Path] | None, typer.Option(help="A time-stamping authority's certificate, or its issuer's (PEM).")
    ] = None,
    crl: Annotated[
        list[Path] | None, typer.Option(help="A revocation list of an authority given by --tsa (PEM).")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every byte of a journal: 0 valid, 3 invalid, 4 diverged, 5 incomplete, 6 valid but unanchored.

    The node's own is checked with the cosigners and time-stamping authorities of its configuration, too.
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
    output: Annotated[Path, typer.Option(help="Where to write it; nothing is overwritten.")] = Path(
        "halfgateway-verify"
    ),
    as_json: JsonOption = False,
) -> None:
    """Write the stand-alone verifier: one file, which needs Python and its package cryptography."""
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
    """Entries, newest first, as SYN's auditor sees them; reading them is an entry."""
    request = _request(kind, agent, camera, stream, incident, since, until, motive)

    async def read(journal: Journal | BesideNode) -> list[Entry]:
        await journal.record(_draft(Kind.TRACE_READ, {"what": "entries", **request.to_json()}))
        return await History(journal).entries(request, limit=limit)

    entries = _with_trace(config, data, read)
    lines = [_line(entry) for entry in entries] or ["Aucune entrée."]
    say({"items": [entry.to_json() for entry in entries]}, "\n".join(lines), as_json=as_json)


@trace.command()
def export(
    output: Annotated[Path, typer.Option(help="The file, or for --inspection the folder or .zip, to write.")],
    form: Annotated[TableFormat, typer.Option("--format")] = TableFormat.CSV,
    inspection: Annotated[
        bool, typer.Option("--inspection", help="The inspection dossier: journal, verifier, extract.")
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
    """Export entries with their checkpoint and proofs; exporting is an entry. --inspection takes a motive (L21)."""
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
    node: Annotated[str, typer.Argument(help="The node whose journal has the entry.")],
    n: Annotated[int, typer.Argument(min=0, help="The entry's number.")],
    output: Annotated[Path, typer.Option(help="The dossier: a new folder, or a .zip.")],
    at: Annotated[
        int | None, typer.Option(help="The size of the checkpoint to prove it in; the latest by default.")
    ] = None,
    since_size: Annotated[int | None, typer.Option("--from", help="An earlier checkpoint's size, tied to it.")] = None,
    motive: Annotated[
        str | None, typer.Option(help="Why the entry is disclosed; without it, only that it exists.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the dossier that proves one entry: opening, proofs, keys, verifier, how to read it; it is an entry."""
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
    older_than: Annotated[int, typer.Option(help="Days.", min=1)],
    visa: Annotated[str, typer.Option(help="The reference of the archives' visa.")],
    retention_class: Annotated[RetentionClass, typer.Option("--class")] = RetentionClass.ACCESS,
    output: Annotated[Path, typer.Option(help="A folder for the elimination record.")] = Path(),
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Eliminate payloads of a class past their time; writes the elimination record as JSON, CSV and PDF (L17)."""

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
