"""Cameras on record: kept whole, secrets sealed, identifiers never reused, and known without the database."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from held_clock import HeldClock
from sqlalchemy import select

import camera_registry.records
from auth.errors import SealError
from auth.sealing import MASTER_KEY_BYTES, Sealing
from camera_registry.cameras import CameraState
from camera_registry.connections import CameraRecord, Connection, DeviceInformation
from camera_registry.errors import IdentifierRetired, StoreUnavailable
from camera_registry.store import CameraSnapshot, CameraStore
from camera_registry.tables import CameraRow
from halfgateway.database import Database
from tests.databases import Kind as DatabaseKind
from tests.databases import everything_in
from tests.postgresql import postgresql


@pytest.fixture
def store(database: Database, secret_box: Sealing, clock: HeldClock) -> CameraStore:
    return CameraStore(database.sessions, secret_box, clock=clock)


async def test_a_record_comes_back_whole_from_either_database(
    database: Database, secret_box: Sealing, clock: HeldClock, record: CameraRecord
) -> None:
    await CameraStore(database.sessions, secret_box, clock=clock).upsert(record)
    again = CameraStore(database.sessions, secret_box, clock=clock)
    assert again.list() == ()
    snapshot = await again.load()
    assert dict(snapshot.records) == {record.camera.id: record}
    assert again.get(record.camera.id) == record.camera


async def test_little_known_comes_back_as_little_known(store: CameraStore, record: CameraRecord) -> None:
    bare = CameraRecord(
        replace(record.camera, profiles=(), state=CameraState.UNAVAILABLE, cause="timeout"),
        Connection(onvif_url="http://10.78.1.20/"),
    )
    await store.upsert(bare)
    assert (await store.load()).records[record.camera.id] == bare


async def test_secrets_are_unreadable_at_rest(
    store: CameraStore, record: CameraRecord, database: Database, tmp_path: Path
) -> None:  # C16
    await store.upsert(record)
    files = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
    kept = b"".join([*files, (await everything_in(database)).encode()])
    assert record.camera.name.encode() in kept
    credentials = record.connection.credentials
    assert credentials is not None
    for secret in (credentials.username, credentials.password):
        assert secret.encode() not in kept


async def test_a_secret_opens_only_for_its_camera_and_with_its_key(
    store: CameraStore, record: CameraRecord, database: Database, clock: HeldClock
) -> None:  # C16
    other = CameraRecord(replace(record.camera, id="syn-78646-02"), record.connection)
    await store.upsert(record)
    await store.upsert(other)
    async with database.sessions.begin() as session:
        rows = (await session.scalars(select(CameraRow).order_by(CameraRow.id))).all()
        rows[0].credentials_sealed = rows[1].credentials_sealed
    with pytest.raises(SealError):
        await store.load()
    other_key = Sealing(os.urandom(MASTER_KEY_BYTES), random_bytes=os.urandom)
    with pytest.raises(SealError):
        await CameraStore(database.sessions, other_key, clock=clock).load()


async def test_the_identifier_survives_the_devices_replacement(store: CameraStore, record: CameraRecord) -> None:  # C06
    await store.upsert(record)
    replaced = CameraRecord(
        replace(record.camera, profiles=record.camera.profiles[:1]),
        replace(
            record.connection,
            onvif_url="http://10.78.9.9/onvif/device_service",
            streams={"main": "rtsp://10.78.9.9/other"},
            device=DeviceInformation(manufacturer="Lynx", serial="L-2"),
        ),
    )
    await store.upsert(replaced)
    assert dict((await store.load()).records) == {record.camera.id: replaced}


async def test_a_removed_cameras_identifier_is_never_taken_again(
    store: CameraStore, record: CameraRecord, database: Database
) -> None:  # C06
    await store.upsert(record)
    assert await store.retire(record.camera.id)
    assert not await store.retire(record.camera.id)
    assert not await store.retire("never-was")
    assert store.get(record.camera.id) is None
    with pytest.raises(IdentifierRetired):
        await store.upsert(record)
    assert store.list() == ()
    assert (await store.load()).cameras == ()
    async with database.sessions() as session:
        (row,) = (await session.scalars(select(CameraRow))).all()
    assert row.retired_at is not None
    assert row.credentials_sealed is None


async def test_instants_are_those_of_the_clock(
    store: CameraStore, record: CameraRecord, database: Database, clock: HeldClock
) -> None:
    first = clock.now()
    await store.upsert(record)
    clock.advance(timedelta(days=1))
    await store.upsert(record)
    async with database.sessions() as session:
        (row,) = (await session.scalars(select(CameraRow))).all()
    assert (row.created_at, row.updated_at) == (first, clock.now())


async def test_the_data_plane_is_answered_without_the_database(
    store: CameraStore, record: CameraRecord, database: Database
) -> None:
    await store.upsert(record)
    before = store.snapshot
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE camera_profiles")
    with pytest.raises(StoreUnavailable):
        await store.load()
    changed = CameraRecord(replace(record.camera, name="Autre"), record.connection)
    with pytest.raises(StoreUnavailable):
        await store.upsert(changed)
    assert store.snapshot is before
    assert before.camera(record.camera.id) == record.camera
    assert before.source(record.camera.id, "sub") == record.source("sub")
    assert before.source("unknown") is None
    assert before.camera("unknown") is None


@pytest.mark.parametrize("database_kind", [DatabaseKind.POSTGRESQL], indirect=True)
async def test_a_database_that_stands_still_is_a_declared_error(
    store: CameraStore, record: CameraRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upsert(record)
    monkeypatch.setattr(camera_registry.records, "TRANSACTION_LIMIT_S", 0.1)
    with postgresql().frozen(), pytest.raises(StoreUnavailable):
        await store.load()
    monkeypatch.undo()
    assert (await store.load()).cameras == (record.camera,)


async def test_a_snapshot_never_changes(store: CameraStore, record: CameraRecord) -> None:
    empty = store.snapshot
    await store.upsert(record)
    full = store.snapshot
    await store.retire(record.camera.id)
    assert (len(empty.cameras), len(full.cameras), len(store.snapshot.cameras)) == (0, 1, 0)


async def test_changes_made_at_once_are_all_kept(store: CameraStore, record: CameraRecord) -> None:
    records = [CameraRecord(replace(record.camera, id=f"cam-{n:02d}"), record.connection) for n in range(12)]
    await asyncio.gather(*(store.upsert(each) for each in records))
    assert store.list() == tuple(each.camera for each in records)
    assert (await store.load()).cameras == store.list()


def test_cameras_are_listed_by_identifier(record: CameraRecord) -> None:
    shuffled = [CameraRecord(replace(record.camera, id=name), record.connection) for name in ("c", "a", "b")]
    assert [camera.id for camera in CameraSnapshot(shuffled).cameras] == ["a", "b", "c"]


async def test_what_is_forgotten_is_on_record_all_the_same(store: CameraStore, record: CameraRecord) -> None:  # C06
    await store.upsert(record)
    store.forget([record.camera.id, "never-was"])
    assert store.get(record.camera.id) is None
    await store.upsert(record)
    assert store.get(record.camera.id) == record.camera
    store.forget([record.camera.id])
    assert (await store.load()).cameras == (record.camera,)
