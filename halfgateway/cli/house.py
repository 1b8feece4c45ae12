"""The cameras of the node that a command names."""

from __future__ import annotations

import asyncio
from pathlib import Path

from auth.errors import AuthError
from camera_registry.errors import RegistryError
from halfgateway.cli.common import REFUSED, WRONG_USAGE, node_folder, stop
from halfgateway.config import Configuration, ConfigurationError, read_configuration
from halfgateway.errors import HalfGatewayError
from halfgateway.inspection.records import House, read_house


def house_of(config: Path | None, data: Path | None) -> House:
    """Read the cameras of the node that ``--config`` or ``--data`` names; exits with 2 or 1 where that fails."""
    configuration: Configuration | None = None
    if data is None and config is not None:
        try:
            configuration = read_configuration(config)
        except ConfigurationError as error:
            stop(WRONG_USAGE, *error.faults)
        folder = configuration.folder()
    else:
        folder = node_folder(config, data)
    try:
        return asyncio.run(read_house(folder, configuration))
    except (HalfGatewayError, RegistryError, AuthError, OSError) as error:
        stop(REFUSED, str(error))
