"""Real players over RTSPS with the machine's certificate (S01, L09)."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from auth.trace import Kind
from halfgateway.protocol.codec import Codec
from tests.e2e.conftest import Gateway
from tests.players import FRAMES, Counters, counters_by_pyav, counters_of, gstreamer_command, in_turn, needs_gstreamer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.peer]

SYSTEM_PYTHON = "/usr/bin/python3"
GST_PLAYER = Path(__file__).parent / "gst_tls_player.py"


def camera_of_h264(gateway: Gateway) -> str:
    """The demo's cameras by kind: the first sends H.264."""
    records = gateway.node.records.cameras.snapshot.records
    return min(gateway.cameras, key=lambda camera: records[camera].connection.device.serial[-5:])


async def by_pyav(gateway: Gateway, path: str, *, shows: str | None) -> Counters:
    machine, address = gateway.machine, gateway.ready["rtsps"].removeprefix("rtsps://")
    options = {"ca_file": gateway.ready["ca"], "tls_verify": "1"}
    if shows is not None:
        account = gateway.ready["accounts"][shows]
        options |= {"cert_file": account["certificate"], "key_file": account["key"]}
    url = f"rtsps://{machine.username}:{machine.password}@{address}{path}"
    return await counters_by_pyav(url, options=options)


async def by_gstreamer(gateway: Gateway, path: str, *, shows: str) -> Counters:
    pipeline = gstreamer_command(gateway.ready["rtsps"] + path, gateway.machine, Codec.H264)[2:]
    account = gateway.ready["accounts"][shows]
    files = [account["certificate"], account["key"], gateway.ready["ca"]]
    return await counters_of([SYSTEM_PYTHON, str(GST_PLAYER), *files, *pipeline])


@pytest.mark.parametrize("player", ["pyav", pytest.param("gstreamer", marks=needs_gstreamer)])
async def test_a_machine_plays_with_its_certificate(shared: Gateway, player: str) -> None:
    # row 38; C08, S01: the player verifies ours, we verify its
    play = by_pyav if player == "pyav" else by_gstreamer
    counters = await play(shared, f"/live/{camera_of_h264(shared)}", shows="machine")
    assert len(counters) >= FRAMES - 1
    assert in_turn(counters)
    (started, *_) = await shared.traced(lambda entry: entry.kind is Kind.STREAM_STARTED)
    assert started.detail["via"] == "rtsps"


@pytest.mark.parametrize(("shows", "reason"), [(None, "certificate-missing"), ("operator", "certificate-not-bound")])
async def test_a_machine_with_no_or_another_certificate_does_not_play(
    shared: Gateway, shows: str | None, reason: str
) -> None:
    # C08, S02
    with pytest.raises(av.error.HTTPForbiddenError):
        await by_pyav(shared, f"/live/{camera_of_h264(shared)}", shows=shows)
    await shared.traced(lambda entry: entry.kind is Kind.STREAM_REFUSED and entry.detail.get("reason") == reason)
