"""What the commands on keys, sealed credentials and interventions share: the records and the journal of a node at rest.

A node that runs owns its journal: then its API does the same acts, and these commands say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from auth.errors import AuthError
from camera_registry.clock import SystemClock
from camera_registry.errors import RegistryError
from halfgateway.app.keeping import borrow_journal, open_custody, open_records, taken
from halfgateway.cli.common import REFUSED, WRONG_USAGE, account_name, stop
from halfgateway.config import Configuration, ConfigurationError, read_configuration
from halfgateway.control.beacon import NodeAlreadyRunsError
from halfgateway.control.custody import Actor, Custody
from halfgateway.demo import DemoError, configuration_at_rest
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys

_Result = TypeVar("_Result")


def act(config: Path | None, data: Path | None, do: Callable[[Custody, Actor], Awaitable[_Result]]) -> _Result:
    """Do one act as the OS account that runs the command; exits with 1 or 2 where that fails."""
    configuration = configuration_at_rest_of(config, data)
    try:
        return asyncio.run(_act(configuration, do))
    except NodeAlreadyRunsError:
        stop(REFUSED, "le nœud est en marche : cet acte se fait par son API (voir /api/v1/docs)")
    except (HalfGatewayError, AuthError, RegistryError, OSError) as error:
        stop(REFUSED, str(error))


async def _act(configuration: Configuration, do: Callable[[Custody, Actor], Awaitable[_Result]]) -> _Result:
    async with _custody(configuration) as custody:
        return await do(custody, await custody.local_actor(account_name()))


@asynccontextmanager
async def _custody(configuration: Configuration) -> AsyncIterator[Custody]:
    """The acts of a node that does not run; it cannot start meanwhile. Raises NodeAlreadyRunsError."""
    clock, folder = SystemClock(), DataFolder(configuration.node.data.absolute())
    async with AsyncExitStack() as life:
        life.enter_context(taken(folder, configuration.node.id, clock))
        keys = NodeKeys.open(folder.secrets, configuration.trace.token_place())
        records = await open_records(configuration, folder, keys, clock, life)
        journal = await borrow_journal(folder, configuration.node.id, keys, clock, life)
        yield open_custody(lambda: configuration, records, journal.record, clock)


def configuration_at_rest_of(config: Path | None, data: Path | None) -> Configuration:
    """The whole configuration of a node at rest, a demo's too; exits with 2 where there is none."""
    if data is not None:
        try:
            return configuration_at_rest(data.absolute())
        except DemoError as error:
            stop(WRONG_USAGE, str(error))
    if config is None:
        stop(WRONG_USAGE, "name a node: --config gateway.toml, or --data with a demo's folder")
    try:
        return read_configuration(config)
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)


def shown(value: Any) -> str:
    """An instant or nothing, as a table for people shows it."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M} UTC"
