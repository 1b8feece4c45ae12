"""A gateway that may export: agreed, and with a recorder in memory behind its door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import halfgateway.app.node
from camera_registry.clock import SystemClock
from halfgateway.app.exporting import open_exports
from halfgateway.config import Configuration
from halfgateway.config_terms import TimingsSection
from halfgateway.control.replays import Replays
from tests.e2e.conftest import Gateway, open_gateway
from tests.e2e.export_terms import agreed_exports
from tests.exporting.footages import Recorder, Reel, Take, shot


@dataclass
class Exporting:
    """Such a gateway; its first camera was filmed by ``reel`` an hour ago."""

    gateway: Gateway
    reel: Reel

    def wish(self, **changes: Any) -> dict[str, Any]:
        """What ``POST /exports`` takes: all of the reel."""
        start, end = self.reel.takes[0].start, self.reel.takes[-1].end
        usual = {
            "camera": self.gateway.cameras[0],
            "start": start.isoformat(),
            "end": end.isoformat(),
            "reason": "L251-2-5",
        }
        return usual | changes


@asynccontextmanager
async def open_exporting(folder: Path, timings: TimingsSection) -> AsyncIterator[Exporting]:
    """The demo, with an agreement that its operator and its machine may export its first camera."""
    reel = Reel([Take((datetime.now(UTC) - timedelta(hours=1)).replace(microsecond=0), shot())])

    async def agreed(configuration: Configuration, records: Any, control: Any, *parts: Any) -> Any:
        section = agreed_exports(folder, [configuration.cameras[0].id])
        clock = SystemClock()
        recorder = Recorder({configuration.cameras[0].id: reel})
        filmed = replace(control, replays=Replays(recorder, control.admission, clock, now=clock.monotonic))
        return await open_exports(configuration.model_copy(update={"exports": section}), records, filmed, *parts)

    def recorded(configuration: Configuration) -> frozenset[str]:
        return frozenset(camera.id for camera in configuration.cameras)

    async with AsyncExitStack() as life:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(halfgateway.app.node, "open_exports", agreed)
            patch.setattr(halfgateway.app.node, "recorded_cameras", recorded)
            gateway = await life.enter_async_context(open_gateway(folder, timings))
        yield Exporting(gateway, reel)
