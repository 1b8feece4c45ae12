"""Who a simulated device is: what it claims to be, how it is logged in to, and where a camera stands."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """What is fixed about one simulated device; ``internal_address`` is the address it believes to have.

    Nothing answers at that address.
    """

    id: str
    name: str
    manufacturer: str
    model: str
    serial: str
    internal_address: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraIdentity(DeviceIdentity):
    """All that is fixed about one simulated camera, which tells its internal address in its SDP.

    ``stream_path`` is path and query of its RTSP URL, in one of the ways that makers write them;
    ``sub_stream_path`` is that of its smaller profile, None where it has none.
    """

    site: str
    commune: str
    latitude: float
    longitude: float
    mac_address: str
    stream_path: str
    sub_stream_path: str | None = None
