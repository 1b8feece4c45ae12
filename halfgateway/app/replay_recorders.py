"""SYN's recorders that are played by RTSP, from what the configuration says of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

from camera_registry.clock import Clock
from camera_registry.connections import Credentials
from camera_registry.onvif_port import RecorderPort
from halfgateway.config_recordings import OnvifRecorderSection, UrlRecorderSection
from halfgateway.net.coalescing import Coalescing
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.onvif_recorder import OnvifFootage, OnvifRecorder
from halfgateway.replay.url_recorder import ReplayUrl, UrlFootage


def onvif_recorder(
    section: OnvifRecorderSection,
    credentials: Credentials,
    device: RecorderPort,
    *,
    clock: Clock,
    coalescing: Coalescing,
    chance: Callable[[], float],
) -> tuple[OnvifRecorder, dict[str, OnvifFootage]]:
    """A recorder of ONVIF Profile G, to be closed before ``device`` is, and its footage by our cameras."""
    access = RecorderAccess(section.id, section.sessions, chance=chance, now=clock.monotonic)
    recorder = OnvifRecorder(device, credentials, access, clock=clock, coalescing=coalescing)
    return recorder, {camera: recorder.footage(token) for camera, token in section.cameras.items()}


def url_footage(
    section: UrlRecorderSection,
    credentials: Credentials,
    *,
    clock: Clock,
    coalescing: Coalescing,
    chance: Callable[[], float],
) -> dict[str, UrlFootage]:
    """The footage of a recorder that is played by its maker's URLs, by our cameras; nothing of it is to be closed."""
    access = RecorderAccess(section.id, section.sessions, chance=chance, now=clock.monotonic)
    url = ReplayUrl(section.url, section.time_format, ZoneInfo(section.time_zone))
    keeps = timedelta(days=section.keeps_days)
    return {
        camera: UrlFootage(channel, url, credentials, access, keeps=keeps, clock=clock, coalescing=coalescing)
        for camera, channel in section.cameras.items()
    }
