"""What tests need to talk to a simulated camera."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from raw_player import Credentials, RawPlayer

from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.clips import ClipSpec

H264, H265, H264_WITH_AUDIO = range(3)
"""The simulator's first three cameras."""

SMALL = ClipSpec("Essai", "h264", 320, 180, 300_000)
"""A clip that is encoded in a moment."""


def player_of(camera: SimulatedCamera, *, password: str | None = None) -> RawPlayer:
    """A raw player with the camera's credentials, or another password."""
    url = urlsplit(camera.rtsp_url)
    assert url.hostname is not None
    assert url.port is not None
    secret = camera.identity.password if password is None else password
    return RawPlayer(url.hostname, url.port, Credentials(camera.identity.username, secret))


def url_with_credentials(camera: SimulatedCamera) -> str:
    """The URL as players take it: user name and password percent-encoded."""
    user = quote(camera.identity.username, safe="")
    password = quote(camera.identity.password, safe="")
    return camera.rtsp_url.replace("rtsp://", f"rtsp://{user}:{password}@")
