"""A house of cameras: records to keep, and a box for their secrets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from auth.sealing import MASTER_KEY_BYTES, Sealing
from camera_registry.cameras import Camera, CameraState, Profile
from camera_registry.connections import CameraRecord, Connection, Credentials, DeviceInformation
from halfgateway.simulator.simulator import Simulator

PASSWORD = "p@ss:w0rd/é"


@pytest.fixture
def secret_box() -> Sealing:
    return Sealing(os.urandom(MASTER_KEY_BYTES), random_bytes=os.urandom)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def record() -> CameraRecord:
    camera = Camera(
        id="syn-78646-01",
        name="Place d'Armes",
        site="Place d'Armes",
        commune="Versailles",
        latitude=48.803,
        longitude=2.1262,
        state=CameraState.AVAILABLE,
        profiles=(
            Profile(id="main", codec="H265", width=3840, height=2160, fps=25.0),
            Profile(id="sub", codec="H264", width=640, height=360, fps=12.5),
        ),
        recorded=True,
    )
    connection = Connection(
        onvif_url="http://10.78.1.20/onvif/device_service",
        credentials=Credentials(username="passerelle", password=PASSWORD),
        streams={"main": "rtsp://10.78.1.20/main?a=1&b=2", "sub": "rtsp://10.78.1.20/sub"},
        device=DeviceInformation(manufacturer="Vigie", model="V720", firmware="5.7", serial="V-1", hardware="88"),
        clock_offset_s=-1.5,
    )
    return CameraRecord(camera, connection)
