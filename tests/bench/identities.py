"""Who the bench's cameras are: all alike, on this machine alone."""

from __future__ import annotations

from halfgateway.simulator.identity import CameraIdentity

STREAM_PATH = "/bench"
USERNAME = "bench"
PASSWORD = "bench"


def bench_identity(index: int) -> CameraIdentity:
    """Camera number ``index``."""
    return CameraIdentity(
        id=f"bench-{index:02d}",
        name=f"Banc {index}",
        site="Banc d'essai",
        commune="Versailles",
        latitude=48.803,
        longitude=2.126,
        manufacturer="Banc",
        model="B1080",
        serial=f"B1080-{index:05d}",
        mac_address=f"02:00:5e:79:00:{index:02x}",
        internal_address=f"10.79.0.{index + 20}",
        stream_path=STREAM_PATH,
        username=USERNAME,
        password=PASSWORD,
    )
