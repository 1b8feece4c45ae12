"""``halfgateway notifier`` and ``watchdog``: what attends a node from outside, and outlives it (ADR 10)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from camera_registry.clock import SystemClock
from halfgateway.attending import NOTIFIER, RECORDER, WATCHDOG, notifier_of, paths_that_change, watchdog_of
from halfgateway.cli.common import REFUSED, WRONG_USAGE, ConfigOption, DataOption, stop
from halfgateway.config import Configuration, ConfigurationError, read_configuration
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.logs import log_to_stderr
from halfgateway.net.attendants import only_one
from halfgateway.net.process import end_with_stdin
from ops.errors import OpsError

GONE_LOOK_S: Final = 5.0
"""How often an attendant looks whether its data folder is still there; without it there is nothing to attend."""


def notifier(config: ConfigOption = None, data: DataOption = None) -> None:
    """Notifieur : envoyer les courriels dus, lire les retours, jusqu'à SIGTERM. Le dossier de données lui suffit."""
    configuration, folder = named_node(config, data)
    if configuration.mail is None:
        stop(WRONG_USAGE, "[mail] is missing: nothing can be sent")

    async def work() -> None:
        built = notifier_of(configuration, folder, SystemClock(), file=config if data is None else None)
        try:
            await built.run(paths_that_change(folder))
        finally:
            await built.close()

    attend(NOTIFIER, folder, configuration, work)


def watchdog(config: ConfigOption = None, data: DataOption = None) -> None:
    """Chien de garde : veiller à ce que chaque incident soit signalé et que le notifieur vive, jusqu'à SIGTERM."""
    configuration, folder = named_node(config, data)

    async def work() -> None:
        await watchdog_of(configuration, folder, SystemClock(), file=config if data is None else None).run()

    attend(WATCHDOG, folder, configuration, work)


def commands_of(where: list[str], configuration: Configuration) -> dict[str, list[str]]:
    """How a node's attendants are started; ``where`` names the node: ``--config FILE``, or ``--data DIR``."""
    names = [WATCHDOG] if configuration.mail is None else [NOTIFIER, WATCHDOG]
    return {name: _command(name, where) for name in names}


def bound_commands_of(where: list[str], configuration: Configuration) -> dict[str, list[str]]:
    """How a demo's recorder is started: it ends with the demo."""
    return {} if configuration.recorder is None else {RECORDER: [*_command(RECORDER, where), "--until-eof"]}


def _command(name: str, where: list[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "halfgateway", name, *where]


def named_node(config: Path | None, data: Path | None) -> tuple[Configuration, DataFolder]:
    """The whole configuration of the node that is named, and its folder; exits with 2 where it cannot be used."""
    try:
        if data is not None:
            configuration = _demo_at_rest(data.absolute())
        elif config is not None:
            configuration = read_configuration(config)
        else:
            stop(WRONG_USAGE, "name a node: --config gateway.toml, or --data with a demo's folder")
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)
    except HalfGatewayError as error:
        stop(WRONG_USAGE, str(error))
    return configuration, configuration.folder()


def _demo_at_rest(root: Path) -> Configuration:
    from halfgateway.demo import configuration_at_rest  # noqa: PLC0415 - it loads the whole node, for the demo alone

    return configuration_at_rest(root)


def attend(
    name: str,
    folder: DataFolder,
    configuration: Configuration,
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    until_eof: bool = False,
) -> None:
    """Do the work as the one attendant of that name, in the folder where it is looked for.

    With ``until_eof`` it ends with its standard input too.
    """
    log_to_stderr(configuration.log_level)
    try:
        os.chdir(folder.root)
        with only_one(folder.run, name):
            asyncio.run(_until_told(work, folder, until_eof=until_eof))
    except (HalfGatewayError, OpsError, OSError) as error:
        stop(REFUSED, str(error))


async def _until_told(work: Callable[[], Coroutine[Any, Any, None]], folder: DataFolder, *, until_eof: bool) -> None:
    """Work until SIGTERM or SIGINT; or until the data folder is gone."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    if until_eof:
        end_with_stdin(ended)
    working = asyncio.create_task(work(), name="work")
    waiting = asyncio.create_task(ended.wait(), name="signal")
    while not working.done() and not waiting.done() and folder.root.is_dir():
        await asyncio.wait({working, waiting}, timeout=GONE_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    working.cancel()
    await asyncio.wait({working})
    if not working.cancelled():
        working.result()
