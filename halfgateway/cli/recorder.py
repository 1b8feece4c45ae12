"""``halfgateway recorder``: SYN's recorder where a site has none (C04)."""

from __future__ import annotations

from typing import Annotated

import typer

from camera_registry.clock import SystemClock
from halfgateway.attending import RECORDER
from halfgateway.cli.attendants import attend, named_node
from halfgateway.cli.common import WRONG_USAGE, ConfigOption, DataOption, stop
from halfgateway.recording import recorder_of


def recorder(
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="Prendre fin aussi avec l'entrée standard, un tube.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Enregistreur : enregistrer les caméras que la configuration nomme, détruire à temps, jusqu'à SIGTERM."""
    configuration, folder = named_node(config, data)
    if configuration.recorder is None:
        stop(WRONG_USAGE, "[recorder] is missing: nothing is to be recorded")

    async def work() -> None:
        async with recorder_of(configuration, folder, SystemClock(), file=config if data is None else None) as built:
            await built.run()

    folder.make()
    attend(RECORDER, folder, configuration, work, until_eof=until_eof)
