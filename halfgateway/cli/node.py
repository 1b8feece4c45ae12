"""``halfgateway demo``, ``serve`` and ``check``: a node, run or looked over."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from auth.break_glass import reports_due
from auth.errors import AuthError
from camera_registry.clock import SystemClock
from camera_registry.errors import RegistryError
from halfgateway.app import Node, running_node
from halfgateway.cli.attendants import bound_commands_of, commands_of
from halfgateway.cli.common import REFUSED, WRONG_USAGE, JsonOption, say, stop
from halfgateway.cli.demo_text import demo_text
from halfgateway.config import Configuration, ConfigurationError, ConfigurationFile, open_questions, read_configuration
from halfgateway.config_ops import faults_at_start, mail_questions
from halfgateway.database import EMBEDDED, DatabaseError, database_at
from halfgateway.demo import DemoPorts, running_demo
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.inspection.orders import order_warnings
from halfgateway.logs import log_to_stderr
from halfgateway.net.attendants import attended
from halfgateway.net.supervisor import supervised
from halfgateway.opening import memory_faults
from ops.errors import OpsError

RECORDS_TIMEOUT_S = 5.0
"""How long ``check`` waits for the database to tell which reports are due."""

Port = typer.Option(min=0, max=65535, help="0 : un port libre quelconque.")


def demo(
    data: Annotated[
        Path, typer.Option(envvar="HALFGATEWAY_DATA", help="Dossier de données de la démonstration.")
    ] = Path("demo"),
    host: Annotated[str, typer.Option(help="Adresse d'écoute.")] = "127.0.0.1",
    http_port: Annotated[int, Port] = 8080,
    https_port: Annotated[int, Port] = 8443,
    rtsp_port: Annotated[int, Port] = 8554,
    rtsps_port: Annotated[int, Port] = 8322,
    as_json: JsonOption = False,
) -> None:
    """Démonstration : le produit entier, avec des caméras simulées, jusqu'à Ctrl-C."""
    log_to_stderr("warning")
    _run(_demo(data.absolute(), host, DemoPorts(http_port, https_port, rtsp_port, rtsps_port), as_json=as_json))


def serve(
    config: Annotated[Path, typer.Option(envvar="HALFGATEWAY_CONFIG", help="Le gateway.toml du nœud.")],
    attendants: Annotated[bool, typer.Option(help="Faire tourner à côté le notifieur et le chien de garde.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Nœud : relais et API, jusqu'à SIGINT ou SIGTERM ; dit où il écoute. SIGHUP : relit son fichier."""
    file = _read(config)
    log_to_stderr(file.configuration.log_level)
    _run(_serve(file, attendants=attendants, as_json=as_json))


def check(
    config: Annotated[Path, typer.Option(envvar="HALFGATEWAY_CONFIG", help="Le gateway.toml du nœud.")],
    as_json: JsonOption = False,
) -> None:
    """Vérifier une configuration : code 0, ou 2 avec chaque faute. Rappelle les arrêtés près de leur terme."""
    now = SystemClock().now()
    try:
        configuration = read_configuration(config)
        faults = faults_at_start(configuration.mail, configuration.contacts, now)
        faults += memory_faults(configuration.folder())
        if faults:
            raise ConfigurationError(faults)
        warnings = asyncio.run(order_warnings(configuration, now))
    except ConfigurationError as error:
        say({"valid": False, "faults": error.faults}, "\n".join(error.faults), as_json=as_json)
        raise typer.Exit(WRONG_USAGE) from error
    except DatabaseError as error:
        say({"valid": False, "faults": [str(error)]}, str(error), as_json=as_json)
        raise typer.Exit(WRONG_USAGE) from error
    questions = [*open_questions(configuration), *mail_questions(configuration.mail, now)]
    due = _reports_due(configuration)
    told = [f"{config}: valid", *(f"! {warning}" for warning in warnings)]
    told += [f"À décider : {question}" for question in questions]
    told += [f"Compte rendu attendu : accès de secours n° {number}" for number in due]
    document = {"valid": True, "faults": [], "warnings": warnings, "questions": questions, "reports_due": due}
    say(document, "\n".join(told), as_json=as_json)


def _reports_due(configuration: Configuration) -> list[int]:
    """The sealed credentials whose report is due, by their numbers; none where no register can be read."""
    folder = configuration.folder()
    if configuration.database.url == EMBEDDED and not folder.records.exists():
        return []

    async def read() -> list[int]:
        database = database_at(configuration.database.address(), folder)
        try:
            async with asyncio.timeout(RECORDS_TIMEOUT_S):
                return await reports_due(database.sessions)
        finally:
            await database.close()

    try:
        return asyncio.run(read())
    except (HalfGatewayError, AuthError, OSError) as error:
        print(f"halfgateway: accès de secours non consultés ({type(error).__name__})", file=sys.stderr)
        return []


async def _demo(data: Path, host: str, ports: DemoPorts, *, as_json: bool) -> None:
    ended = _ended_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    folder, where = DataFolder(data), ["--data", str(data)]
    async with (
        running_demo(data, host, ports) as (node, ready),
        attended(
            folder.root,
            folder.run,
            commands_of(where, node.configuration),
            bound=bound_commands_of(where, node.configuration),
        ),
    ):
        _spare_the_collector()
        say(ready, demo_text(ready, SystemClock().now()), as_json=as_json)
        await _until(node, ended)


async def _serve(file: ConfigurationFile, *, attendants: bool, as_json: bool) -> None:
    ended, configuration = _ended_by(signal.SIGINT, signal.SIGTERM), file.configuration
    folder = configuration.folder()
    wanted = commands_of(["--config", str(file.path.absolute())], configuration) if attendants else {}
    with _hung_up() as hung_up:
        async with (
            running_node(configuration, file=file, hung_up=hung_up) as node,
            attended(folder.root, folder.run, wanted),
        ):
            _spare_the_collector()
            urls = node.endpoints.urls(configuration.listen.host)
            listening = "  ".join(url for url in urls.values() if url is not None)
            say({"ready": True, **urls}, f"{configuration.node.id} : {listening}", as_json=as_json)
            async with supervised(os.environ):
                await _until(node, ended)


def _spare_the_collector() -> None:
    """What has been loaded stays for the node's life: to go through it again would stop all streams for a moment.

    Measured with ten streams on a busy machine: a full collection took 110 ms, and 20 ms with this.
    """
    gc.collect()
    gc.freeze()


def _ended_by(*numbers: signal.Signals) -> asyncio.Event:
    ended = asyncio.Event()
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


@contextlib.contextmanager
def _hung_up() -> Iterator[asyncio.Event]:
    """Set by SIGHUP, one that came before included; one that comes after, while the process ends, is nobody's."""
    hung_up = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield hung_up
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # not blocked: a library's thread would take it, and die of it


async def _until(node: Node, ended: asyncio.Event) -> None:
    """Return when a signal has come; a node one of whose loops has died does not go on."""
    waiting = [asyncio.create_task(ended.wait()), asyncio.create_task(node.failed.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    if node.failed.is_set():
        raise HalfGatewayError("a part of the node has died; see the log")


def _run(node: Coroutine[Any, Any, None]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(node)
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)
    except (HalfGatewayError, AuthError, OpsError, RegistryError, OSError) as error:
        stop(REFUSED, str(error))


def _read(config: Path) -> ConfigurationFile:
    try:
        return ConfigurationFile.read(config)
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)
