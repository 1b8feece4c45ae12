"""``halfgateway register``: the register of recordings, destructions and transmissions (CSI R252-11; L04)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from auth.errors import AuthError
from auth.trace import Draft, Kind, TraceFilter, TraceReader
from auth.trace.scopes import Scope
from camera_registry.paris import end_of_day, start_of_day
from halfgateway.cli.common import REFUSED, ConfigOption, DataOption, JsonOption, account_name, node_folder, say, stop
from halfgateway.cli.local_trace import node_of, readable_trace
from halfgateway.cli.office import configuration_of
from halfgateway.dossiers.local import Request
from halfgateway.dossiers.register import REGISTERED, register_document, register_entries
from halfgateway.dossiers.tables import TableFormat, write_table
from halfgateway.errors import HalfGatewayError

_DAY = ["%Y-%m-%d"]

_LACKING = "Sans les destructions de l'enregistreur, dont le journal n'est pas ici (--recorder-trace)."


def register(
    output: Annotated[Path, typer.Option(help="Le fichier à écrire ; rien n'est remplacé.")],
    begins: Annotated[datetime, typer.Option("--from", formats=_DAY, help="Premier jour : 2026-11-01.")],
    ends: Annotated[datetime, typer.Option("--to", formats=_DAY, help="Dernier jour, compris : 2026-11-30.")],
    form: Annotated[TableFormat, typer.Option("--format")] = TableFormat.CSV,
    motive: Annotated[
        str | None, typer.Option(help="Pourquoi les services de la PP sont à montrer ; il est tracé.")
    ] = None,
    recorder_trace: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Journal d'un enregistreur d'une autre machine, copié ici."),
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Registre des enregistrements, destructions et transmissions, tiré du journal ; l'établir est une entrée.

    Le journal de l'enregistreur (halfgateway recorder) est lu avec celui du nœud.
    """
    if output.exists():
        stop(REFUSED, f"{output} existe déjà")
    wanted = TraceFilter(kinds=REGISTERED, since=start_of_day(begins.date()), until=end_of_day(ends.date()))
    request = Request(wanted, Scope.SYN, motive)

    async def write(beside: dict[str, TraceReader]) -> int:
        async with readable_trace(config, data) as journal:
            detail = {"what": "register", "format": form.value, **request.to_json()}
            await journal.record(Draft(kind=Kind.TRACE_EXPORTED, account=account_name(), source="local", detail=detail))
            readers = {journal.node: journal.reader()} | beside
            entries = await register_entries(readers.values(), request)
            document = register_document(list(readers), entries, begins.date(), ends.date())
            output.write_bytes(write_table(document, form))
            return len(entries)

    try:
        beside = _recorder_of(recorder_trace or node_folder(config, data).recorder.trace)
        count = asyncio.run(write(beside))
    except (HalfGatewayError, AuthError, ValueError, aiohttp.ClientError) as error:
        stop(REFUSED, str(error))
    except OSError as error:
        stop(REFUSED, f"{error.filename} : {error.strerror}")
    lacking = not beside and configuration_of(config, data).recorder is not None
    document = {
        "file": str(output),
        "entries": count,
        "recorder": next(iter(beside), None),
        "recorder_lacking": lacking,
    }
    told = f"{output} : {count} ligne(s)." + (f" {_LACKING}" if lacking else "")
    say(document, told, as_json=as_json)


def _recorder_of(trace: Path) -> dict[str, TraceReader]:
    """The journal of a recorder, by its name; none where none has recorded here. Raises HalfGatewayError."""
    if not trace.is_dir():
        return {}
    name = node_of(trace)
    return {name: TraceReader.of(trace, name)}
