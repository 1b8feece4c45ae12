"""Which recorder has which camera's footage, put together from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from camera_registry.clock import Clock
from camera_registry.onvif_process import OnvifProcess
from halfgateway.config import Configuration
from halfgateway.replay.footage import Footage


class ConfiguredRecorders:
    """Fills :class:`~halfgateway.replay.footage.Recorders`."""

    def __init__(self, footage: Mapping[str, Footage]) -> None:
        self._footage = footage

    def of(self, camera: str) -> Footage | None:
        """See the port."""
        return self._footage.get(camera)


def recorded_cameras(configuration: Configuration) -> frozenset[str]:
    """The cameras that a recorder has footage of."""
    return frozenset(camera for recorder in configuration.recorders for camera in recorder.cameras)


def open_recorders(
    configuration: Configuration, onvif: OnvifProcess, clock: Clock, life: AsyncExitStack
) -> ConfiguredRecorders:
    """The recorders of this configuration; nothing is asked of them yet."""
    return ConfiguredRecorders({})
