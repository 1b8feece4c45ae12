"""Who a simulated camera is: where it stands, what device it claims to be, and how it is logged in to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraIdentity:
    """All that is fixed about one simulated camera.

    ``stream_path`` is path and query of its RTSP URL, in one of the ways that makers write them;
    ``sub_stream_path`` is that of its smaller profile, None where it has none;
    ``internal_address`` is the address it believes to have, and tells in its SDP: nothing answers there.
    """

    id: str
    name: str
    site: str
    commune: str
    latitude: float
    longitude: float
    manufacturer: str
    model: str
    serial: str
    mac_address: str
    internal_address: str
    stream_path: str
    sub_stream_path: str | None = None
    username: str
    password: str = field(repr=False)
