"""Extraction of a hold's interval beside the node: with the configuration's recorders, and nothing else of a node."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from camera_registry.clock import SystemClock
from camera_registry.guard import CredentialGuard
from camera_registry.onvif_process import OnvifProcess
from halfgateway.app.recorders import open_recorders
from halfgateway.config import Configuration
from halfgateway.errors import NoRecording
from halfgateway.exporting.extraction import Extracted, HeldPeriod, extract
from halfgateway.survey import hosts_of


async def extract_held(configuration: Configuration, held: HeldPeriod, folder: Path) -> Extracted:
    """Extract it into an empty folder. Whoever calls has had the trace told of it.

    Raises NoRecording, RecorderUnreachable, ExportFailed, OSError.
    """
    clock = SystemClock()
    async with AsyncExitStack() as life:
        onvif = OnvifProcess(allowed=hosts_of(configuration), guard=CredentialGuard(clock), now=time.monotonic)
        life.push_async_callback(onvif.aclose)
        footage = open_recorders(configuration, onvif, clock, life).of(held.camera)
        if footage is None:
            raise NoRecording("Aucun enregistreur n'est configuré pour cette caméra.")
        return await extract(held, footage, folder, clock)
