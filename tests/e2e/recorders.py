"""A gateway whose cameras are recorded: by an ONVIF recorder, by one that takes URLs, and in a folder of segments.

All three have the same film, whose pictures bear the instant at which they were filmed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from camera_registry.clock import SystemClock, rfc3339
from camera_registry.paris import days_before
from halfgateway import demo
from halfgateway.app.node import Node, running_node
from halfgateway.config import Configuration
from halfgateway.config_recordings import (
    OnvifRecorderSection,
    RecorderSection,
    RecordingsSection,
    SegmentRecorderSection,
    UrlRecorderSection,
)
from halfgateway.config_terms import TimingsSection
from halfgateway.demo import MACHINE
from halfgateway.simulator.film import clean_at, frame_at, instant_of
from halfgateway.simulator.recorder import SimulatedRecorder
from halfgateway.simulator.recordings import Kind as RecordingKind
from halfgateway.simulator.recordings import Recording, stretches
from halfgateway.simulator.segments import SegmentWriter
from tests.e2e.conftest import Gateway, credentials_of, open_gateway
from tests.e2e.export_terms import agreed_exports
from tests.raw_player import Credentials, RawPlayer

KINDS = ("onvif", "url", "segments")
DAYS = 10
AROUND = timedelta(seconds=20)
"""How much film the folder has around an instant that a test looks at."""


@dataclass(frozen=True)
class Recorded:
    """The gateway, its recorder, and which camera is recorded how; ``begun`` is when the recorder began."""

    gateway: Gateway
    recorder: SimulatedRecorder
    cameras: dict[str, str]
    begun: datetime
    footage: Path

    def path(self, kind: str) -> str:
        return f"/recorded/{self.cameras[kind]}"

    def recording(self, kind: str) -> Recording:
        return self.recorder.recording_of(self.cameras[kind])

    def before(self, **ago: float) -> datetime:
        """An instant of the film, so long before the recorder began, at which a clean picture was filmed."""
        return instant_of(clean_at(frame_at(self.begun - timedelta(**ago))))

    def film(self, around: datetime, until: datetime | None = None) -> None:
        """Have the folder hold what there is around an instant; the other recorders hold all of it anyhow."""
        end = min(until or around + AROUND, datetime.now(UTC))
        SegmentWriter(self.footage).write(self.recording("segments"), around - AROUND, end)

    def player(self, credentials: Credentials | None = None, *, receive_buffer_bytes: int | None = None) -> RawPlayer:
        player = self.gateway.player(credentials or self.gateway.machine)
        player.receive_buffer_bytes = receive_buffer_bytes
        return player

    async def ask(self, kind: str, start: datetime, end: datetime | None = None) -> tuple[int, dict[str, Any]]:
        """Ask for a ticket as an operator does."""
        wish = {"camera": self.cameras[kind], "mode": "recorded", "reason": "L251-2-5", "start": rfc3339(start)}
        return await self.gateway.call("operator", "POST", "/streams", wish | ({"end": rfc3339(end)} if end else {}))

    async def ticket(self, kind: str, start: datetime, end: datetime | None = None) -> Credentials:
        status, ticket = await self.ask(kind, start, end)
        assert status == 201, ticket
        return credentials_of(ticket)


def edge(now: datetime | None = None) -> datetime:
    """The oldest instant that may be seen (C03)."""
    return days_before(now or datetime.now(UTC), DAYS)


@asynccontextmanager
async def open_recorded(
    folder: Path,
    timings: TimingsSection,
    *,
    bulk: bool = False,
    exports: bool = False,
    kind: RecordingKind = RecordingKind.GAPS,
) -> AsyncIterator[Recorded]:
    """The demo's three cameras, each recorded by another kind of recorder; with ``bulk`` the machine may have more,
    with ``exports`` an agreement lets it and the operator have files.
    """
    begun = datetime.now(UTC)
    made: list[tuple[SimulatedRecorder, dict[str, str]]] = []

    @asynccontextmanager
    async def recorded_node(configuration: Configuration) -> AsyncIterator[Node]:
        cameras = dict(zip(KINDS, [camera.id for camera in configuration.cameras], strict=True))
        recordings = [
            Recording(camera=camera, name=camera, token=f"Recording{channel}", channel=channel, stretches=film)
            for channel, (camera, film) in enumerate(
                zip(cameras.values(), [stretches(kind, begun)] * 3, strict=True), 1
            )
        ]
        recorder = SimulatedRecorder(recordings, clock=SystemClock(), random_bytes=os.urandom)
        await recorder.start("127.0.0.1")
        try:
            made.append((recorder, cameras))
            sections = _sections(folder, recorder, cameras)
            agreed = RecordingsSection(bulk_accounts=(MACHINE,), bulk_agreement="accord du 1er juin")
            recorded: dict[str, Any] = {"recorders": sections, "recordings": agreed if bulk else RecordingsSection()}
            if exports:
                recorded["exports"] = agreed_exports(folder, cameras.values())
            async with running_node(configuration.model_copy(update=recorded)) as node:
                yield node
        finally:
            await recorder.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "running_node", recorded_node)
        async with open_gateway(folder / "demo", timings) as gateway:
            ((recorder, cameras),) = made
            yield Recorded(gateway, recorder, cameras, begun, folder / "footage")


def _sections(folder: Path, recorder: SimulatedRecorder, cameras: dict[str, str]) -> tuple[RecorderSection, ...]:
    """The recorders as a file would name them; all but the segments are one simulated one."""
    password = folder / "recorder.password"
    password.parent.mkdir(parents=True, exist_ok=True)
    password.write_text(recorder.identity.password)
    footage = folder / "footage"
    footage.mkdir(exist_ok=True)
    token, channel = (recorder.recording_of(cameras[kind]) for kind in ("onvif", "url"))
    known_as = {"username": recorder.identity.username, "password_file": password}
    return (
        OnvifRecorderSection(
            kind="onvif", id="nvr", onvif_url=recorder.onvif_url, cameras={token.camera: token.token}, **known_as
        ),
        UrlRecorderSection(
            kind="url",
            id="maker",
            url=recorder.url_template,
            cameras={channel.camera: str(channel.channel)},
            **known_as,
        ),
        SegmentRecorderSection(
            kind="segments", id="folder", folder=footage, cameras={cameras["segments"]: cameras["segments"]}
        ),
    )
