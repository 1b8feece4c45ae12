"""A simulated recorder that runs alone, and a raw player of its replay."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import quote, urlsplit

from camera_registry.clock import Clock, SystemClock
from halfgateway.protocol.replay_header import ReplayHeader, read_replay_header
from halfgateway.protocol.rtp import RtpView
from halfgateway.simulator.recorder import SimulatedRecorder
from halfgateway.simulator.recorder_behaviour import RecorderBehaviour
from halfgateway.simulator.recordings import Kind, Recording, recordings
from tests.raw_player import Answer, Credentials, RawPlayer

REQUIRED = {"Require": "onvif-replay"}


@asynccontextmanager
async def running_recorder(
    behaviour: RecorderBehaviour | None = None,
    *,
    held: Sequence[Recording] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[SimulatedRecorder]:
    """A recorder with a camera of each kind, named as the kinds are, or with other recordings."""
    clock = clock or SystemClock()
    if held is None:
        held = recordings([(kind.value, f"Caméra {kind.value}") for kind in Kind], clock.now())
    recorder = SimulatedRecorder(held, behaviour, clock=clock, random_bytes=os.urandom)
    await recorder.start("127.0.0.1")
    try:
        yield recorder
    finally:
        await recorder.stop()


def replayer(recorder: SimulatedRecorder) -> RawPlayer:
    """A raw player with the recorder's credentials."""
    host, _, port = recorder.rtsp_authority.rpartition(":")
    return RawPlayer(host, int(port), Credentials(recorder.identity.username, recorder.identity.password))


def with_credentials(recorder: SimulatedRecorder, url: str) -> str:
    """A URL of the recorder as players take it."""
    user, password = (quote(each, safe="") for each in (recorder.identity.username, recorder.identity.password))
    return urlsplit(url)._replace(netloc=f"{user}:{password}@{recorder.rtsp_authority}").geturl()


async def set_up(player: RawPlayer, path: str, track: int = 0) -> Answer:
    """SETUP as ONVIF has it, of one track on channels of its own."""
    transport = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
    session = {} if player.session is None else {"Session": player.session}
    answer = await player.ask(
        "SETUP", f"{player.url(path)}/trackID={track}", {**REQUIRED, **session, "Transport": transport}
    )
    if answer.status == 200:
        player.session = answer.header("session").split(";")[0]
    return answer


async def play(player: RawPlayer, path: str, headers: Mapping[str, str]) -> Answer:
    """PLAY as ONVIF has it."""
    return await player.ask("PLAY", player.url(path), {**REQUIRED, "Session": player.session or "", **headers})


def video(player: RawPlayer, channel: int = 0) -> list[bytes]:
    """The RTP packets that have come on a channel."""
    return [packet for each, packet, _ in player.packets if each == channel]


async def pictures(player: RawPlayer, count: int, channel: int = 0) -> list[bytes]:
    """The packets of so many pictures, once they have come, on a channel that is 0 or the only one used."""
    while sum(RtpView(packet).marker for packet in video(player, channel)) < count:
        await player.next_packet()
    return video(player, channel)


async def until_terminal(player: RawPlayer) -> list[bytes]:
    """All packets until the last picture that is sent."""
    while not any(header.terminal for header in headers(video(player))) or not RtpView(video(player)[-1]).marker:
        await player.next_packet()
    return video(player)


def headers(packets: Sequence[bytes]) -> list[ReplayHeader]:
    """The extensions of ONVIF in packets."""
    return [header for header in map(read_replay_header, packets) if header is not None]


def told(packets: Sequence[bytes]) -> list[datetime]:
    """When the pictures were filmed, by their extensions."""
    return [header.at for header in headers(packets)]
