"""Going on with less, in a mode that PP has agreed to (P01)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from auth.policy import DegradedMode
from auth.trace import Kind
from camera_registry.orders import Perimeter
from tests.e2e.conftest import SWIFT, Gateway, credentials_of, open_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with open_gateway(tmp_path_factory.mktemp("degraded"), SWIFT) as opened:
        yield opened


async def test_less_is_granted_and_what_runs_beyond_it_ends_with_its_reason(gateway: Gateway) -> None:
    # P01, S12
    kept, lost = gateway.cameras[0], gateway.cameras[1]
    modes = gateway.node.control.terms
    modes.modes = {
        "one-camera": DegradedMode("one-camera", "PP-2026-11", 2, False, Perimeter(cameras=frozenset({kept})))
    }
    staying, going = credentials_of(await gateway.ticket(kept)), credentials_of(await gateway.ticket(lost))
    async with gateway.player(staying) as stays, gateway.player(going) as goes:
        for player, camera in ((stays, kept), (goes, lost)):
            assert (await player.set_up(f"/live/{camera}")).status == 200
            assert (await player.play(f"/live/{camera}")).status == 200
            await player.packets_until(5)
        assert (await gateway.call("ops", "POST", "/interconnection/degrade", {"mode": "no", "reason": "x"}))[0] == 422
        body = {"mode": "one-camera", "reason": "enregistreur en panne"}
        status, view = await gateway.call("ops", "POST", "/interconnection/degrade", body)
        assert (status, view["state"], view["mode"], view["slots"]["cap"]) == (200, "degraded", "one-camera", 2)
        assert await goes.read_to_end() == "reset"
        had = len(stays.packets)
        await stays.packets_until(had + 5)
        (ended,) = await gateway.traced(
            lambda e: e.kind is Kind.STREAM_STOPPED and e.detail["cause"] == "degraded-mode"
        )
        assert (ended.camera, ended.detail["reason"]) == (lost, "mode-without-camera")
        refused = {"camera": lost, "mode": "live", "reason": "L251-2-1"}
        status, problem = await gateway.call("operator", "POST", "/streams", refused)
        assert (status, problem["type"].rpartition(":")[2]) == (503, "degraded-mode")
    status, view = await gateway.call("ops", "POST", "/interconnection/degrade", {"mode": None, "reason": "réparé"})
    assert (status, view["state"], view["slots"]["cap"]) == (200, "open", 10)
    await gateway.ticket(lost)
    (changed,) = await gateway.traced(lambda e: e.kind is Kind.INTERCONNECTION_DEGRADED)
    assert changed.detail["mode"] == "one-camera"
