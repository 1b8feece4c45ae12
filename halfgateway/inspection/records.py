"""The cameras of a node, read beside it: what its configuration names, and what it has on record."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from auth.sealing import Sealing
from camera_registry.cameras import Camera
from camera_registry.clock import SystemClock
from camera_registry.connections import CameraRecord, Connection
from camera_registry.inventory import Device
from camera_registry.store import CameraStore
from halfgateway.config import Configuration
from halfgateway.database import EMBEDDED, database_at
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.survey import device_of


@dataclass(frozen=True, slots=True)
class House:
    """The cameras that one node knows, by identifier, with what leads to them: for SYN's side only."""

    records: Mapping[str, CameraRecord]
    masked: Mapping[str, str] = field(default_factory=dict)
    """The token of the one profile that may be shown, of each camera that has one."""

    def device(self, camera_id: str) -> Device | None:
        """The device of a camera, as the survey would ask it; None for a camera that nobody knows."""
        record = self.records.get(camera_id)
        if record is None:
            return None
        camera, connection = record.camera, record.connection
        return Device(
            id=camera.id,
            name=camera.name,
            site=camera.site,
            commune=camera.commune,
            latitude=camera.latitude,
            longitude=camera.longitude,
            onvif_url=connection.onvif_url,
            credentials=connection.credentials,
            masked_profile=self.masked.get(camera_id),
        )


async def read_house(folder: DataFolder, configuration: Configuration | None) -> House:
    """Read the cameras of the node of ``folder``; those configured and not surveyed yet are planned.

    The configuration, where there is one, has the last word on which cameras there are, and on a device's address and
    credentials.

    Raises DatabaseError, RegistryError, UnreadableKeyError, OSError.
    """
    url = configuration.database.address() if configuration is not None else EMBEDDED
    on_record = await _on_record(folder, url)
    if configuration is None:
        return House(on_record)
    devices = [device_of(section) for section in configuration.cameras]
    return House(
        {device.id: _as_configured(device, on_record.get(device.id)) for device in devices},
        {device.id: device.masked_profile for device in devices if device.masked_profile is not None},
    )


async def _on_record(folder: DataFolder, url: str) -> dict[str, CameraRecord]:
    """The node's records; none of a node that has never run here: reading makes neither a database nor a key."""
    if not (folder.secrets / "master.key").exists() or (url == EMBEDDED and not folder.records.exists()):
        return {}
    database = database_at(url, folder)
    try:
        sealing = Sealing(NodeKeys.open(folder.secrets).master, random_bytes=secrets.token_bytes)
        snapshot = await CameraStore(database.sessions, sealing, clock=SystemClock()).load()
        return dict(snapshot.records)
    finally:
        await database.close()


def _as_configured(device: Device, known: CameraRecord | None) -> CameraRecord:
    if known is None:
        camera = Camera(
            id=device.id,
            name=device.name,
            site=device.site,
            commune=device.commune,
            latitude=device.latitude,
            longitude=device.longitude,
        )
        return CameraRecord(camera, Connection(onvif_url=device.onvif_url, credentials=device.credentials))
    connection = known.connection
    return CameraRecord(
        known.camera,
        Connection(
            onvif_url=device.onvif_url,
            credentials=device.credentials,
            streams=connection.streams,
            device=connection.device,
            clock_offset_s=connection.clock_offset_s,
        ),
    )
