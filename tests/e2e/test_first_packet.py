"""Who joins in the middle of a group of pictures sees at once, from a packet that was told (T14)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.keyframe import holds_parameter_sets, starts_keyframe
from halfgateway.protocol.rtp import RtpView, sequence_distance
from halfgateway.protocol.rtp_info import parse_rtp_info
from tests.e2e.conftest import Gateway, gateway

__all__ = ["gateway"]

JOINS = 6
PACKETS = 200


@pytest.mark.parametrize("camera", range(3))
async def test_wherever_a_reader_joins_its_first_packet_is_a_start_and_is_told(gateway: Gateway, camera: int) -> None:
    # T14, row 16: parameter sets first, RTP-Info equal to the first packet, no gap between the group and what is live
    path = f"/live/{gateway.cameras[camera]}"
    _, described = await gateway.call("operator", "GET", f"/cameras/{gateway.cameras[camera]}")
    codec = Codec(described["profiles"][0]["codec"])
    async with gateway.player(gateway.machine) as first:
        await first.set_up(path)
        await first.play(path)
        for _ in range(JOINS):
            await first.packets_until(len(first.packets) + 23)
            async with gateway.player(gateway.machine) as player:
                assert (await player.set_up(path)).status == 200
                answer = await player.play(path)
                await player.packets_until(PACKETS)
                packets = [RtpView(packet) for channel, packet, _ in player.packets if channel == 0]
                assert starts_keyframe(codec, packets[0].payload)
                assert holds_parameter_sets(codec, packets[0].payload)
                steps = {sequence_distance(a.sequence, b.sequence) for a, b in pairwise(packets)}
                assert steps == {1}
                (info,) = parse_rtp_info(answer.header("rtp-info"))
                assert (info.sequence, info.rtp_timestamp) == (packets[0].sequence, packets[0].timestamp)
                assert (await player.tear_down(path)).status == 200
