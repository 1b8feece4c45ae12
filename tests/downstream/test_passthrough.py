"""What a camera packs is what its readers unpack: not one bit of a payload is changed (rows 50 and 52)."""

from __future__ import annotations

import struct

from halfgateway.protocol.rtp import RtpView
from halfgateway.protocol.rtp_info import parse_rtp_info
from tests.downstream.stage import PATH, Stage
from tests.raw_player import RawPlayer
from tests.relay.packets import NON_IDR, chunk, rtp

SLICE = bytes(range(256)) * 4
SMALL_SPS, LARGE_SPS = b"\x67\x42\xe0\x0a\x8d\x68\x50", b"\x67\x64\x00\x28\xac\xd9\x40\x78"
PPS = b"\x68\xce\x38\x80"


def aggregated(*units: bytes) -> bytes:
    """STAP-A (RFC 6184 section 5.7.1)."""
    return b"\x78" + b"".join(struct.pack("!H", len(unit)) + unit for unit in units)


def fragmented(header: int, parts: int) -> list[bytes]:
    """FU-A (RFC 6184 section 5.8), of one unit."""
    flags = [0x80, *[0] * (parts - 2), 0x40]
    return [bytes([header & 0xE0 | 28, flag | header & 0x1F]) + SLICE for flag in flags]


class Camera:
    """Numbers what it sends, and gives it to the stage's source."""

    def __init__(self, stage: Stage) -> None:
        self.sent: list[bytes] = []
        self._stage = stage
        self._pictures = 0

    def picture(self, *payloads: bytes) -> None:
        """One picture; its last packet bears the marker."""
        for place, payload in enumerate(payloads, 1):
            last = place == len(payloads)
            self.sent.append(rtp(65530 + len(self.sent) & 0xFFFF, self._pictures * 3600, payload, marker=last))
            self._stage.source.feed(chunk((0, self.sent[-1])))
        self._pictures += 1

    def key_picture(self, sps: bytes) -> None:
        self.picture(aggregated(sps, PPS), *fragmented(0x65, 4))


async def watching(player: RawPlayer) -> int:
    """SETUP and PLAY; the sequence number that RTP-Info tells, -1 where it tells none."""
    assert (await player.set_up(PATH)).status == 200
    answer = await player.play(PATH)
    told = parse_rtp_info(answer.header("rtp-info")) if "rtp-info" in answer.headers else ()
    return told[0].sequence or 0 if told else -1


async def test_aggregates_fragments_and_markers_pass_as_they_are(stage: Stage) -> None:
    # row 52: also over the end of the sequence numbers
    camera = Camera(stage)
    async with stage.player() as player:
        assert await watching(player) == -1
        camera.key_picture(SMALL_SPS)
        camera.picture(NON_IDR)
        camera.picture(*fragmented(0x41, 3))
        await player.packets_until(len(camera.sent))
        assert [packet for _, packet, _ in player.packets] == camera.sent


async def test_new_parameter_sets_reach_who_watches_and_who_comes(stage: Stage) -> None:
    # row 50: the camera's resolution changes in mid-stream, in band; nobody is given the old sets for the new pictures
    camera = Camera(stage)
    stage.door.opens_at_once = True
    async with stage.player() as early, stage.player() as late:
        assert await watching(early) == -1
        camera.key_picture(SMALL_SPS)
        camera.picture(NON_IDR)
        before = len(camera.sent)
        camera.key_picture(LARGE_SPS)
        camera.picture(NON_IDR)
        first = await watching(late)
        camera.picture(NON_IDR)
        await early.packets_until(len(camera.sent))
        await late.packets_until(len(camera.sent) - before)
        assert [packet for _, packet, _ in early.packets] == camera.sent
        seen = [RtpView(packet) for _, packet, _ in late.packets]
        wanted = [RtpView(packet) for packet in camera.sent[before:]]
        assert [(p.sequence, p.ssrc, p.marker, bytes(p.payload)) for p in seen] == [
            (p.sequence, p.ssrc, p.marker, bytes(p.payload)) for p in wanted
        ]
        assert first == wanted[0].sequence
        assert bytes(seen[0].payload) == aggregated(LARGE_SPS, PPS)
