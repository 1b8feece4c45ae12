"""``halfgateway demo``, ``serve`` and ``check``: a node, run or looked over."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from auth.errors import AuthError
from camera_registry.errors import RegistryError
from halfgateway.app import Node, running_node
from halfgateway.cli.common import REFUSED, WRONG_USAGE, JsonOption, say, stop
from halfgateway.cli.demo_text import demo_text
from halfgateway.config import Configuration, ConfigurationError, read_configuration
from halfgateway.demo import DemoPorts, running_demo
from halfgateway.errors import HalfGatewayError
from ops.errors import OpsError

OUR_PACKAGES = ("halfgateway", "camera_registry", "auth", "ops")

Port = typer.Option(min=0, max=65535, help="0: any free port.")


def demo(
    data: Annotated[Path, typer.Option(envvar="HALFGATEWAY_DATA", help="The demo's data folder.")] = Path("demo"),
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    http_port: Annotated[int, Port] = 8080,
    https_port: Annotated[int, Port] = 8443,
    rtsp_port: Annotated[int, Port] = 8554,
    rtsps_port: Annotated[int, Port] = 8322,
    as_json: JsonOption = False,
) -> None:
    """The whole product on embedded defaults, with simulated cameras, until Ctrl-C."""
    _log_to_stderr("warning")
    _run(_demo(data.absolute(), host, DemoPorts(http_port, https_port, rtsp_port, rtsps_port), as_json=as_json))


def serve(
    config: Annotated[Path, typer.Option(envvar="HALFGATEWAY_CONFIG", help="The node's gateway.toml.")],
    as_json: JsonOption = False,
) -> None:
    """One node: relay and API, until SIGINT or SIGTERM. Says where, once it listens."""
    configuration = _read(config)
    _log_to_stderr(configuration.log_level)
    _run(_serve(configuration, as_json=as_json))


def check(
    config: Annotated[Path, typer.Option(envvar="HALFGATEWAY_CONFIG", help="The node's gateway.toml.")],
    as_json: JsonOption = False,
) -> None:
    """Validate a configuration: exit 0, or 2 with every fault."""
    try:
        read_configuration(config)
    except ConfigurationError as error:
        say({"valid": False, "faults": error.faults}, "\n".join(error.faults), as_json=as_json)
        raise typer.Exit(WRONG_USAGE) from error
    say({"valid": True, "faults": []}, f"{config}: valid", as_json=as_json)


async def _demo(data: Path, host: str, ports: DemoPorts, *, as_json: bool) -> None:
    ended = _ended_by_signal()
    async with running_demo(data, host, ports) as (node, ready):
        _spare_the_collector()
        say(ready, demo_text(ready), as_json=as_json)
        await _until(node, ended)


async def _serve(configuration: Configuration, *, as_json: bool) -> None:
    ended = _ended_by_signal()
    async with running_node(configuration) as node:
        _spare_the_collector()
        urls = node.endpoints.urls(configuration.listen.host)
        listening = "  ".join(url for url in urls.values() if url is not None)
        say({"ready": True, **urls}, f"{configuration.node.id} : {listening}", as_json=as_json)
        await _until(node, ended)


def _spare_the_collector() -> None:
    """What has been loaded stays for the node's life: to go through it again would stop all streams for a moment.

    Measured with ten streams on a busy machine: a full collection took 110 ms, and 20 ms with this.
    """
    gc.collect()
    gc.freeze()


def _ended_by_signal() -> asyncio.Event:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


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
    except (HalfGatewayError, AuthError, OpsError, RegistryError, OSError) as error:
        stop(REFUSED, str(error))


def _read(config: Path) -> Configuration:
    try:
        return read_configuration(config)
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        level=max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    for package in OUR_PACKAGES:  # a library at DEBUG would print what it is given, secrets included (C16)
        logging.getLogger(package).setLevel(level.upper())
