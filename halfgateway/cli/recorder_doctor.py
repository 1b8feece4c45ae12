"""``halfgateway doctor RECORDER``: what works between here and one of the configuration's recorders."""

from __future__ import annotations

import os
import random
from pathlib import Path
from urllib.parse import urlsplit

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import onvif_opener
from halfgateway.app.recorders import onvif_recorder, url_footage
from halfgateway.cli.common import REFUSED, WRONG_USAGE, stop
from halfgateway.config import ConfigurationError, read_configuration
from halfgateway.config_recordings import OnvifRecorderSection, UrlRecorderSection
from halfgateway.inspection.recorder_doctor import OnvifSide, RecorderDoctor, RecorderReport
from halfgateway.net.coalescing import Coalescing


def recorder_named(name: str, config: Path | None) -> OnvifRecorderSection | UrlRecorderSection | None:
    """The recorder of that identifier that is played by RTSP; None where the configuration has none."""
    if config is None:
        return None
    try:
        recorders = read_configuration(config).recorders
    except ConfigurationError as error:
        stop(WRONG_USAGE, *error.faults)
    named = next((each for each in recorders if each.id == name), None)
    if named is not None and named.kind == "segments":
        stop(WRONG_USAGE, f"{name}: a folder of segments has nothing to connect to")
    return named


async def examine_recorder(section: OnvifRecorderSection | UrlRecorderSection) -> RecorderReport:
    """Examine one recorder; a wrong password is tried once over ONVIF, and then once over RTSP."""
    clock, coalescing = SystemClock(), Coalescing()
    credentials = Credentials(username=section.username, password=_password(section.password_file))
    if isinstance(section, UrlRecorderSection):
        by_url = url_footage(section, credentials, clock=clock, coalescing=coalescing, chance=random.random)
        return await RecorderDoctor(section.id, by_url, None, clock=clock).examine()
    hosts = AllowedHosts([urlsplit(section.onvif_url).hostname or ""])
    opened = onvif_opener(allowed=hosts, guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom)
    async with opened(section.onvif_url, credentials) as device:
        recorder, footage = onvif_recorder(
            section, credentials, device.recorder, clock=clock, coalescing=coalescing, chance=random.random
        )
        try:
            onvif = OnvifSide(section.onvif_url, device, device.recorder, section.cameras)
            return await RecorderDoctor(section.id, footage, onvif, clock=clock).examine()
        finally:
            await recorder.aclose()


def _password(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        stop(REFUSED, f"{file}: cannot be read")
