"""Exports, where the configuration agrees to them."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from auth.trace import Journal
from camera_registry.clock import Clock
from halfgateway.app.door import Control
from halfgateway.app.keeping import Records
from halfgateway.app.watching import Loops
from halfgateway.config import Configuration, ConfigurationError
from halfgateway.exporting.exports import Exports
from halfgateway.exporting.shelf import Shelf
from halfgateway.exporting.workshop import Workshop


async def open_exports(
    configuration: Configuration,
    records: Records,
    control: Control,
    journal: Journal,
    clock: Clock,
    loops: Loops,
    life: AsyncExitStack,
) -> Exports | None:
    """What is made of exports on this node; None where none are agreed.

    Raises ConfigurationError where the signer cannot be read, or the folder cannot be used; TraceUnavailable of the
    journal.
    """
    agreed = configuration.exports
    if agreed is None:
        return None
    try:
        signer = agreed.signer()
    except (ValueError, OSError) as error:
        raise ConfigurationError([f"exports: {error}"]) from error
    workshop = Workshop(
        rules=agreed.record(),
        signer=signer,
        shelf=Shelf(agreed.folder.absolute(), configuration.node.id),
        replays=control.replays,
        find_camera=records.cameras.get,
        sign_head=journal.write_checkpoint,
        clock=clock,
        now=time.monotonic,
    )
    exports = Exports(
        workshop,
        history=journal.reader(),
        admission=control.admission,
        table=control.table,
        closer=control.closer,
        tracer=control.tracer,
        clock=clock,
    )
    try:
        await exports.begin()
    except OSError as error:
        raise ConfigurationError([f"exports.folder: {error}"]) from error
    life.push_async_callback(exports.close)
    await loops.keep("exports", exports.run())
    return exports
