"""Plays one cell of the matrix, and says what was seen."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import ssl
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from halfgateway.config import SMALLEST_MTU_BYTES
from halfgateway.downstream.answers import REALM, RtspAnswers
from halfgateway.downstream.connection import Answer, RtspConnection
from halfgateway.downstream.server import RtspServer
from halfgateway.downstream.transports import UdpService
from halfgateway.net.datagrams import ANY_PORTS
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.digest import DigestVerifier
from halfgateway.protocol.messages import Request
from halfgateway.protocol.rtp import RtpView
from tests.compat.cells import Cell, Player, Transport
from tests.compat.peers import CURL_PLAYER, GST_TLS_PLAYER, PEERS_PYTHON, SYSTEM_PYTHON
from tests.depacketise import decoded_counters
from tests.depacketise_jpeg import decoded_jpeg_counters
from tests.e2e.conftest import Gateway, credentials_of
from tests.players import (
    Counters,
    counters_by_pyav,
    counters_of,
    ffmpeg_command,
    gstreamer_command,
)
from tests.raw_player import Credentials, RawPlayer
from tests.udp_player import UdpPlayer

PICTURES = 12
"""Half a second of video: enough for a key frame and what depends on it."""

NONCE_LIFE_S = 300.0

_GST_PROTOCOLS = {Transport.UDP: "udp", Transport.FALL_BACK: "tcp+udp-mcast+udp"}
_AV_TRANSPORTS = {Transport.UDP: "udp", Transport.FALL_BACK: None}


def is_its_video(counters: Counters) -> bool:
    """Whether a player saw enough of a camera: every picture whole, and most of them new."""
    return len(counters) >= PICTURES - 1 and None not in counters and len(set(counters)) > PICTURES // 2


async def play(gateway: Gateway, cell: Cell) -> Counters:
    """The counters that a player read; raises what it failed with."""
    async with _place(gateway, cell) as place:
        return await _PLAY[cell.player](place, cell)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cell's player goes, and what it shows there."""

    gateway: Gateway
    address: str
    credentials: Credentials
    scheme: str = "rtsp"
    shows_certificate: bool = False

    def url(self, cell: Cell) -> str:
        return f"{self.scheme}://{self.address}/live/{cell.camera}"

    def url_with_credentials(self, cell: Cell) -> str:
        signed = f"{self.scheme}://{self.credentials.username}:{self.credentials.password}@"
        return self.url(cell).replace(f"{self.scheme}://", signed)

    @property
    def av_options(self) -> dict[str, str]:
        """As libavformat takes them: our certificate is verified, the machine's is shown."""
        if self.scheme == "rtsp":
            return {}
        options = {"ca_file": self.gateway.ready["ca"], "tls_verify": "1"}
        if self.shows_certificate:
            machine = self.gateway.ready["accounts"]["machine"]
            options |= {"cert_file": machine["certificate"], "key_file": machine["key"]}
        return options

    @property
    def tls(self) -> ssl.SSLContext | None:
        if self.scheme == "rtsp":
            return None
        context = ssl.create_default_context(cafile=self.gateway.ready["ca"])
        if self.shows_certificate:
            machine = self.gateway.ready["accounts"]["machine"]
            context.load_cert_chain(machine["certificate"], machine["key"])
        return context

    def raw(self, kind: type[RawPlayer] = RawPlayer) -> RawPlayer:
        host, _, port = self.address.partition(":")
        return kind(host, int(port), self.credentials, tls=self.tls)


@asynccontextmanager
async def _place(gateway: Gateway, cell: Cell) -> AsyncIterator[_Place]:
    plain, secure = (gateway.ready[scheme].partition("://")[2] for scheme in ("rtsp", "rtsps"))
    if cell.transport is Transport.RTSPS_CERTIFICATE:
        yield _Place(gateway, secure, gateway.machine, "rtsps", shows_certificate=True)
    elif cell.transport is Transport.RTSPS_TICKET:
        ticket = await gateway.ticket(cell.camera)
        yield _Place(gateway, secure, credentials_of(ticket), "rtsps")
    elif cell.transport is Transport.FALL_BACK:
        async with _narrow_listener(gateway) as address:
            yield _Place(gateway, address, gateway.machine)
    else:
        yield _Place(gateway, plain, gateway.machine)


class _Overheard:
    """The gateway's answers, and the status of each."""

    def __init__(self, answers: RtspAnswers) -> None:
        self._answers = answers
        self.statuses = list[int]()

    async def answer(self, connection: RtspConnection, request: Request) -> Answer:
        answer = await self._answers.answer(connection, request)
        self.statuses.append(answer.response.status)
        return answer


@asynccontextmanager
async def _narrow_listener(gateway: Gateway) -> AsyncIterator[str]:
    """One more listener of the gateway, on a path so narrow that no camera's packets fit: UDP is refused.

    Whoever played here has been told so.
    """
    verifier = DigestVerifier(REALM, secrets.token_bytes(32), NONCE_LIFE_S)
    narrow = UdpService(ANY_PORTS, SMALLEST_MTU_BYTES)
    answers = _Overheard(RtspAnswers(gateway.node.control.door, verifier, now_s=time.time, udp=narrow))
    server = RtspServer(answers, now=time.monotonic)
    try:
        yield f"127.0.0.1:{await server.listen('127.0.0.1', 0)}"
        assert 461 in answers.statuses, f"UDP was not asked for: {answers.statuses}"
    finally:
        await server.close()


async def _by_ffmpeg(place: _Place, cell: Cell) -> Counters:
    transport = _AV_TRANSPORTS.get(cell.transport, "tcp")
    command = ffmpeg_command(place.url_with_credentials(cell), frames=PICTURES, transport=transport)
    if place.shows_certificate:
        options = itertools.chain.from_iterable((f"-{name}", value) for name, value in place.av_options.items())
        source = command.index("-i")
        command = [*command[:source], *options, *command[source:]]
    return await counters_of(command)


async def _by_gstreamer(place: _Place, cell: Cell) -> Counters:
    protocols = _GST_PROTOCOLS.get(cell.transport, "tcp")
    command = gstreamer_command(
        place.url(cell), place.credentials, cell.view.codec, frames=PICTURES, protocols=protocols
    )
    if place.shows_certificate:
        machine = place.gateway.ready["accounts"]["machine"]
        files = [machine["certificate"], machine["key"], place.gateway.ready["ca"]]
        command = [SYSTEM_PYTHON, str(GST_TLS_PLAYER), *files, *command[2:]]
    elif place.scheme == "rtsps":
        # gst-launch-1.0 takes no authority: ours is unknown to it, and it is told not to mind.
        source = command.index("rtspsrc") + 1
        command = [*command[:source], "tls-validation-flags=0", *command[source:]]
    return await counters_of(command)


async def _by_pyav(place: _Place, cell: Cell) -> Counters:
    transport = _AV_TRANSPORTS.get(cell.transport, "tcp")
    url, options = place.url_with_credentials(cell), place.av_options
    return await counters_by_pyav(url, PICTURES, transport=transport, options=options)


async def _by_libcurl(place: _Place, cell: Cell) -> Counters:
    command = [str(PEERS_PYTHON), str(CURL_PLAYER), place.url(cell)]
    command += [place.credentials.username, place.credentials.password, str(PICTURES)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    description, _, frames = output.partition(b"frames\n")
    return await asyncio.to_thread(_decoded, _packets(frames), cell.view.codec, description)


def _packets(interleaved: bytes) -> list[bytes]:
    """The packets on channel 0."""
    packets, position = list[bytes](), 0
    while position < len(interleaved):
        assert interleaved[position : position + 1] == b"$", "libcurl lost the framing"
        size = int.from_bytes(interleaved[position + 2 : position + 4], "big")
        if interleaved[position + 1] == 0:
            packets.append(interleaved[position + 4 : position + 4 + size])
        position += 4 + size
    return packets


async def _by_raw_socket(place: _Place, cell: Cell) -> Counters:
    path, codec = f"/live/{cell.camera}", cell.view.codec
    async with place.raw(UdpPlayer if cell.transport is Transport.UDP else RawPlayer) as player:
        described = await player.ask("DESCRIBE", player.url(path))
        if isinstance(player, UdpPlayer):
            await player.start(path)
        else:
            await _start_interleaved(player, path, falls_back=cell.transport is Transport.FALL_BACK)
        packets = list[bytes]()
        while sum(RtpView(packet).marker for packet in packets) < PICTURES:
            await player.packets_until(len(packets) + 1)
            packets = [packet for channel, packet, _ in player.packets if channel == 0]
        assert (await player.tear_down(path)).status == 200
    return await asyncio.to_thread(_decoded, packets, codec, described.body)


async def _start_interleaved(player: RawPlayer, path: str, *, falls_back: bool) -> None:
    if falls_back:
        assert (await player.set_up(path, transport="RTP/AVP;unicast;client_port=40000-40001")).status == 461
    assert (await player.set_up(path)).status == 200
    assert (await player.play(path)).status == 200


def _decoded(packets: list[bytes], codec: Codec, description: bytes) -> Counters:
    """What a decoder makes of packets, given the parameter sets in an SDP (RFC 6184 8.1, RFC 7798 7.1)."""
    if codec is Codec.JPEG:
        return decoded_jpeg_counters(packets)
    sets = re.findall("sprop-(?:parameter-sets|vps|sps|pps)=([^;\\s]+)", description.decode())
    return decoded_counters(packets, codec, described=",".join(sets))


_PLAY = {
    Player.FFMPEG: _by_ffmpeg,
    Player.GSTREAMER: _by_gstreamer,
    Player.PYAV: _by_pyav,
    Player.LIBCURL: _by_libcurl,
    Player.RAW: _by_raw_socket,
}
