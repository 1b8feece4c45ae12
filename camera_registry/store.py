"""The cameras on record, and the picture of them in memory that the data plane asks.

An RTSP request must learn at once whether a camera exists, also with the database down: it asks the snapshot, a
value that is replaced whole after each change and never altered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from camera_registry.cameras import Camera, CameraState, Profile
from camera_registry.clock import Clock
from camera_registry.connections import CameraRecord, Connection, Credentials, DeviceInformation, StreamSource
from camera_registry.errors import IdentifierRetired
from camera_registry.records import transaction
from camera_registry.tables import CameraRow, ProfileRow

_PURPOSE: Final = "camera credentials"


class SecretBox(Protocol):
    """Keeps small secrets unreadable at rest, each bound to its owner and purpose."""

    def seal(self, secret: bytes, *, owner: str, purpose: str) -> bytes:
        """Encrypt ``secret``."""

    def unseal(self, sealed: bytes, *, owner: str, purpose: str) -> bytes:
        """Decrypt what ``seal`` made for the same owner and purpose."""


class CameraSnapshot:
    """The cameras at one instant. Immutable; every answer comes from memory."""

    def __init__(self, records: Iterable[CameraRecord] = ()) -> None:
        ordered = sorted(records, key=lambda record: record.camera.id)
        self._records: Mapping[str, CameraRecord] = {record.camera.id: record for record in ordered}
        self._cameras = tuple(record.camera for record in ordered)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """All cameras, by identifier."""
        return self._cameras

    @property
    def records(self) -> Mapping[str, CameraRecord]:
        """All cameras with their connections, by identifier: for SYN's side only."""
        return MappingProxyType(self._records)

    def camera(self, camera_id: str) -> Camera | None:
        """Return the camera of that identifier, or None."""
        record = self._records.get(camera_id)
        return record.camera if record else None

    def source(self, camera_id: str, profile_id: str | None = None) -> StreamSource | None:
        """Return where to pull a profile from (the best one if none is named), or None if that is unknown."""
        record = self._records.get(camera_id)
        return record.source(profile_id) if record else None

    def with_record(self, record: CameraRecord) -> CameraSnapshot:
        """Return a snapshot in which ``record`` is added, or takes the place of the one before."""
        return CameraSnapshot({**self._records, record.camera.id: record}.values())

    def without(self, *camera_ids: str) -> CameraSnapshot:
        """Return a snapshot without these cameras."""
        gone = frozenset(camera_ids)
        return CameraSnapshot(record for name, record in self._records.items() if name not in gone)


class CameraStore:
    """Keeps cameras in SQL, their credentials sealed; call :meth:`load` before anything else."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], secret_box: SecretBox, *, clock: Clock) -> None:
        self._sessions = sessions
        self._secret_box = secret_box
        self._clock = clock
        self._snapshot = CameraSnapshot()
        self._changes = asyncio.Lock()

    @property
    def snapshot(self) -> CameraSnapshot:
        """The cameras as last loaded or changed."""
        return self._snapshot

    def list(self) -> tuple[Camera, ...]:
        """Return all cameras, by identifier, from memory."""
        return self._snapshot.cameras

    def get(self, camera_id: str) -> Camera | None:
        """Return one camera from memory, or None."""
        return self._snapshot.camera(camera_id)

    async def load(self) -> CameraSnapshot:
        """Read the cameras from SQL into memory, for instance after another node changed them.

        Raises StoreUnavailable, or what the secret box raises when its key has changed.
        """
        async with self._changes:
            async with transaction(self._sessions) as session:
                rows = (await session.scalars(select(CameraRow).where(CameraRow.retired_at.is_(None)))).all()
                ordered = select(ProfileRow).order_by(ProfileRow.camera_id, ProfileRow.position)
                profiles = (await session.scalars(ordered)).all()
            of_camera: dict[str, list[ProfileRow]] = {}
            for profile in profiles:
                of_camera.setdefault(profile.camera_id, []).append(profile)
            self._snapshot = CameraSnapshot(self._record(row, of_camera.get(row.id, [])) for row in rows)
        return self._snapshot

    async def upsert(self, record: CameraRecord) -> None:
        """Add a camera, or replace what is known of it; its identifier stays.

        Raises IdentifierRetired if that identifier belonged to a removed camera (C06), StoreUnavailable.
        """
        camera_id = record.camera.id
        async with self._changes:
            async with transaction(self._sessions) as session:
                row = await session.get(CameraRow, camera_id)
                if row is None:
                    row = CameraRow(id=camera_id, created_at=self._clock.now())
                    session.add(row)
                elif row.retired_at is not None:
                    raise IdentifierRetired(f"camera {camera_id} was removed; give the new one another identifier")
                self._fill(row, record)
                await session.execute(delete(ProfileRow).where(ProfileRow.camera_id == camera_id))
                session.add_all(_profile_rows(record))
            self._snapshot = self._snapshot.with_record(record)

    def forget(self, camera_ids: Iterable[str]) -> None:
        """Answer for these no longer; their records stay, for a camera that comes back is the same one (C06)."""
        self._snapshot = self._snapshot.without(*camera_ids)

    async def retire(self, camera_id: str) -> bool:
        """Remove a camera for good, its secrets included; return whether there was one.

        Its identifier is never accepted again (C06). Raises StoreUnavailable.
        """
        async with self._changes:
            async with transaction(self._sessions) as session:
                row = await session.get(CameraRow, camera_id)
                if row is None or row.retired_at is not None:
                    return False
                row.retired_at = self._clock.now()
                row.credentials_sealed = None
                await session.execute(delete(ProfileRow).where(ProfileRow.camera_id == camera_id))
            self._snapshot = self._snapshot.without(camera_id)
        return True

    def _fill(self, row: CameraRow, record: CameraRecord) -> None:
        camera, connection = record.camera, record.connection
        row.name, row.site, row.commune = camera.name, camera.site, camera.commune
        row.latitude, row.longitude = camera.latitude, camera.longitude
        row.state, row.cause, row.recorded = camera.state.value, camera.cause, camera.recorded
        row.onvif_url = connection.onvif_url
        row.credentials_sealed = self._seal(camera.id, connection.credentials)
        device = connection.device
        row.manufacturer, row.model, row.firmware = device.manufacturer, device.model, device.firmware
        row.serial, row.hardware = device.serial, device.hardware
        row.clock_offset_s = connection.clock_offset_s
        row.updated_at = self._clock.now()

    def _record(self, row: CameraRow, profiles: Iterable[ProfileRow]) -> CameraRecord:
        kept = tuple(profiles)
        camera = Camera(
            id=row.id,
            name=row.name,
            site=row.site,
            commune=row.commune,
            latitude=row.latitude,
            longitude=row.longitude,
            state=CameraState(row.state),
            cause=row.cause,
            profiles=tuple(
                Profile(id=each.id, codec=each.codec, width=each.width, height=each.height, fps=each.fps)
                for each in kept
            ),
            recorded=row.recorded,
        )
        device = DeviceInformation(
            manufacturer=row.manufacturer,
            model=row.model,
            firmware=row.firmware,
            serial=row.serial,
            hardware=row.hardware,
        )
        connection = Connection(
            onvif_url=row.onvif_url,
            credentials=self._unseal(row.id, row.credentials_sealed),
            streams={each.id: each.rtsp_url for each in kept if each.rtsp_url is not None},
            device=device,
            clock_offset_s=row.clock_offset_s,
        )
        return CameraRecord(camera, connection)

    def _seal(self, camera_id: str, credentials: Credentials | None) -> bytes | None:
        if credentials is None:
            return None
        secret = json.dumps([credentials.username, credentials.password]).encode()
        return self._secret_box.seal(secret, owner=camera_id, purpose=_PURPOSE)

    def _unseal(self, camera_id: str, sealed: bytes | None) -> Credentials | None:
        if sealed is None:
            return None
        username, password = json.loads(self._secret_box.unseal(sealed, owner=camera_id, purpose=_PURPOSE))
        return Credentials(username=username, password=password)


def _profile_rows(record: CameraRecord) -> list[ProfileRow]:
    return [
        ProfileRow(
            camera_id=record.camera.id,
            id=profile.id,
            position=position,
            codec=profile.codec,
            width=profile.width,
            height=profile.height,
            fps=profile.fps,
            rtsp_url=record.connection.streams.get(profile.id),
        )
        for position, profile in enumerate(record.camera.profiles)
    ]
