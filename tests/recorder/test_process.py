"""``halfgateway recorder`` as a site runs it: killed, started again, and ended in good order (C04, L02, L04)."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auth.sealing import Sealing
from auth.trace import Draft, Entry, Kind, Status, TraceReader, verify_folder
from camera_registry.cameras import Camera, CameraState, Profile
from camera_registry.clock import SystemClock
from camera_registry.connections import CameraRecord, Connection, Credentials
from camera_registry.store import CameraStore
from halfgateway.cli import build
from halfgateway.database import Database
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.net.attendants import AttendantRunsError, only_one
from halfgateway.opening import open_trace
from halfgateway.simulator.camera import SimulatedCamera
from halfgateway.simulator.packets import Clip
from tests.conftest import uncounted_environment
from tests.contacts import CONTACTS
from tests.recorder.filmed import LAYOUT, filmed, go_round, segments, sent

LIMIT_S = 60.0


@dataclass
class Site:
    """A node's data folder with one camera on record, and a recorder's configuration."""

    root: Path

    @property
    def folder(self) -> DataFolder:
        return DataFolder(self.root / "data")

    @property
    def footage(self) -> Path:
        return self.root / "footage"

    def configure(self, *lines: str) -> Path:
        contacts = (
            "[[contacts]]\n" + "\n".join(f'{name} = "{value}"' for name, value in contact.items())
            for contact in CONTACTS
        )
        told = [
            'node = { data = "data" }',
            "convention = { in_force_from = 2025-10-21T00:00:00Z }",
            'listen = { http_port = "off", https_port = "off", rtsps_port = "off" }',
            "[recorder]",
            'folder = "footage"',
            'cameras = ["cam"]',
            "segment_s = 2",
            "min_free_percent = 0",
            "min_free_bytes = 1",
            *lines,
            *contacts,
        ]
        path = self.root / "gateway.toml"
        path.write_text("\n".join(told).replace('"2025-10-21"', "2025-10-21"), encoding="utf-8")
        return path

    async def put_on_record(self, camera: SimulatedCamera) -> None:
        self.folder.make()
        keys = NodeKeys.open(self.folder.secrets)
        database = Database(f"sqlite:///{self.folder.records}")
        await database.migrate()
        store = CameraStore(database.sessions, Sealing(keys.master, random_bytes=os.urandom), clock=SystemClock())
        profile = Profile(id="main", codec="H264", width=320, height=180, fps=25.0)
        known = Camera(
            id="cam", name="Essai", site="Essai", commune="Versailles", latitude=48.8, longitude=2.1,
            state=CameraState.AVAILABLE, cause=None, profiles=(profile,), recorded=True,
        )  # fmt: skip
        connection = Connection(
            onvif_url=camera.onvif_url,
            credentials=Credentials(username=camera.identity.username, password=camera.identity.password),
            streams={"main": camera.rtsp_url},
        )
        await store.upsert(CameraRecord(known, connection))
        await database.close()

    async def register(self) -> list[Entry]:
        page = await TraceReader.of(self.folder.recorder.trace, "node-1-recorder").entries()
        return list(page.items)[::-1]


@asynccontextmanager
async def recorder(config: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "halfgateway", "recorder", "--config", str(config), env=uncounted_environment()
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def later(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


async def test_killed_it_loses_the_open_fragment_and_goes_on(
    tmp_path: Path, short_camera: SimulatedCamera, short_clip: Clip
) -> None:
    site = Site(tmp_path)
    config = site.configure()
    await site.put_on_record(short_camera)
    old = site.footage / "gone" / LAYOUT.path_of(datetime.now(UTC) - timedelta(days=40))
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    filmed_until = (datetime.now(UTC) - timedelta(days=39)).timestamp()
    os.utime(old, (filmed_until, filmed_until))

    async with recorder(config) as running:
        await later(lambda: len(segments(site.footage, "cam")) >= 2)
        with pytest.raises(AttendantRunsError), only_one(site.folder.run, "recorder"):
            pass
        before_death = datetime.now(UTC)
        running.send_signal(signal.SIGKILL)
        await running.wait()
    film = filmed(site.footage, "cam")
    assert go_round([data for _, data in film], sent(short_clip))
    assert before_death - film[-1][0] < timedelta(seconds=6)  # a fragment has ten pictures; the rest is this machine's

    async with recorder(config) as running:
        await later(lambda: len(filmed(site.footage, "cam")) > len(film) + 10)
        running.send_signal(signal.SIGTERM)
        assert await running.wait() == 0
    whole = filmed(site.footage, "cam")
    assert whole[: len(film)] == film
    instants = [at for at, _ in whole]
    assert all(earlier < after for earlier, after in itertools.pairwise(instants))
    assert {data for _, data in whole} == set(sent(short_clip))

    assert not old.exists()
    entries = await site.register()
    kinds = [entry.kind for entry in entries]
    assert kinds.count(Kind.NODE_STARTED) == 2
    assert kinds[-1] is Kind.NODE_STOPPED
    (destroyed,) = [entry for entry in entries if entry.kind is Kind.RECORDING_DESTROYED]
    assert (destroyed.camera, destroyed.detail["cause"], destroyed.detail["segments"]) == ("gone", "retention", 1)
    assert verify_folder(site.folder.recorder.trace).status in {Status.VALID, Status.UNANCHORED}
    await registered(site, config, destroyed)


async def registered(site: Site, config: Path, destroyed: Entry) -> None:
    """What was destroyed stands in the register of the node, with a recorder here or elsewhere (L04)."""
    keys = NodeKeys.open(site.folder.secrets)
    async with await open_trace(site.folder, "node-1", keys, SystemClock()) as journal:
        await journal.record(Draft(kind=Kind.NODE_STARTED))
    await asyncio.to_thread(registered_from, site, config, destroyed)


def registered_from(site: Site, config: Path, destroyed: Entry) -> None:
    days = ["--from", f"{destroyed.at:%Y-%m-%d}", "--to", f"{destroyed.at + timedelta(days=1):%Y-%m-%d}"]

    def drawn(name: str, *options: str) -> tuple[tuple[str | None, bool], list[tuple[str, str, str]]]:
        output = site.root / name
        words = ["register", *days, "--output", str(output), "--config", str(config), "--json", *options]
        done = CliRunner().invoke(build(words), words)
        assert done.exit_code == 0, done.output
        with output.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.DictReader(file, delimiter=";") if line["Acte"] == "recording.destroyed"]
        said = json.loads(done.stdout)
        return (said["recorder"], said["recorder_lacking"]), [
            (line["Journal"], line["N°"], line["Caméra"]) for line in lines
        ]

    told = [("node-1-recorder", str(destroyed.n), "gone")]
    assert drawn("here.csv") == (("node-1-recorder", False), told)
    elsewhere = site.folder.recorder.trace.rename(site.root / "brought")
    assert drawn("lacking.csv") == ((None, True), [])
    assert drawn("brought.csv", "--recorder-trace", str(elsewhere)) == (("node-1-recorder", False), told)


def test_without_a_recorder_section_it_says_so(tmp_path: Path) -> None:
    config = Site(tmp_path).configure()
    text = config.read_text(encoding="utf-8")
    config.write_text(text[: text.index("[recorder]")] + text[text.index("[[contacts]]") :], encoding="utf-8")
    words = ["recorder", "--config", str(config)]
    done = CliRunner().invoke(build(words), words)
    assert done.exit_code == 2
    assert "[recorder] is missing" in done.output
