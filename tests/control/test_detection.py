"""Everything has stopped, as a node sees it (article 8, N03)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auth.trace import Draft, Kind
from camera_registry.cameras import Camera, CameraState
from halfgateway.control.detection import Asking, Detection
from halfgateway.errors import CapReached, StateStoreUnavailable
from ops.incidents.book import IncidentBooks
from ops.incidents.detecting import StopDetector
from ops.incidents.duties import Rules
from tests.held_clock import HeldClock


def in_vain(code: str) -> Draft:
    return Draft(kind=Kind.STREAM_REFUSED, refusal=code)


class World:
    """What the detection looks at."""

    def __init__(self, folder: Path, clock: HeldClock, camera: Camera) -> None:
        self.writable, self.closed, self.granting = True, False, True
        self.cameras = [camera, replace(camera, id="cam-2", state=CameraState.AVAILABLE)]
        self.asking = Asking(self._can_grant)
        self.detection = Detection(
            detector=StopDetector(IncidentBooks(folder, clock=clock), Rules(), clock),
            asking=self.asking,
            cameras=lambda: self.cameras,
            trace_writable=lambda: self.writable,
            closed=lambda: self.closed,
        )

    def _can_grant(self) -> None:
        if not self.granting:
            raise StateStoreUnavailable("x")


@pytest.fixture
def world(tmp_path: Path, clock: HeldClock, camera: Camera) -> World:
    return World(tmp_path, clock, camera)


@pytest.fixture
def camera() -> Camera:
    return Camera(
        id="cam-1",
        name="Place du Marché",
        site="mairie",
        commune="Versailles",
        latitude=48.8,
        longitude=2.1,
        state=CameraState.UNAVAILABLE,
        cause="unreachable",
        profiles=(),
        recorded=False,
    )


def test_all_is_well_while_one_camera_answers(world: World) -> None:
    dead, alive = world.cameras
    world.cameras = [dead]
    assert world.detection.causes() == ()  # none has answered yet: nothing has stopped
    world.cameras = [dead, alive]
    assert world.detection.causes() == ()
    world.cameras = [dead]
    assert world.detection.causes() == ("aucune caméra ne répond",)
    world.cameras = []
    assert world.detection.causes() == ()


def test_a_journal_that_cannot_be_written_is_a_stop(world: World) -> None:
    world.writable = False
    assert world.detection.causes() == ("le journal des accès ne peut être écrit",)


def test_a_store_that_is_down_is_a_stop_once_somebody_asks_and_until_a_stream_could_be_granted(world: World) -> None:
    # N03: Valkey down is no incident by itself
    world.granting = False
    assert world.detection.causes() == ()
    world.asking.refused(in_vain(CapReached.code))
    assert world.detection.causes() == ()
    world.asking.refused(in_vain(StateStoreUnavailable.code))
    assert world.detection.causes() == ("aucun Flux ne peut être accordé (state-store-unavailable)",)
    world.granting = True
    assert world.detection.causes() == ()
    world.granting = False
    assert world.detection.causes() == ()
