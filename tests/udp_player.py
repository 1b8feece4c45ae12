"""A raw player that takes its media as datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass

from halfgateway.net.datagrams import open_pair
from halfgateway.protocol.transport import Transport, parse_transports
from tests.raw_player import TIMEOUT_S, Answer, RawPlayer

MAX_DATAGRAM_BYTES = 65_535


@dataclass
class UdpPlayer(RawPlayer):
    """``packets`` are those of both ways: channel 0 is the RTP socket or channel, 1 that of RTCP."""

    async def __aenter__(self) -> UdpPlayer:
        self.pair = open_pair(self.host)
        try:
            await super().__aenter__()
        except BaseException:
            self.pair.close()
            raise
        for channel, sock in enumerate((self.pair.rtp, self.pair.rtcp)):
            asyncio.get_running_loop().add_reader(sock, self._take_datagrams, channel, sock)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for sock in (self.pair.rtp, self.pair.rtcp):
            asyncio.get_running_loop().remove_reader(sock)
        self.pair.close()
        await super().__aexit__(*exc_info)

    @property
    def offer(self) -> str:
        return "RTP/AVP;unicast;client_port={}-{}".format(*self.pair.ports)

    async def set_up_udp(self, path: str, more: str = "") -> Answer:
        """SETUP over UDP; with ``more`` behind the first offer."""
        return await self.set_up(path, transport=self.offer + more)

    async def start(self, path: str) -> Transport:
        """SETUP over UDP and PLAY; what was granted."""
        answer = await self.set_up_udp(path)
        assert answer.status == 200, answer
        (granted,) = parse_transports(answer.header("transport"))
        assert granted.server_port is not None
        self.rtcp_peer = (granted.source or "", granted.server_port[1])
        assert (await self.play(path)).status == 200
        return granted

    def report(self, datagram: bytes) -> None:
        """Send something to the server's RTCP port."""
        self.pair.rtcp.sendto(datagram, self.rtcp_peer)

    async def packets_until(self, count: int, channel: int = 0) -> None:
        """Wait until ``count`` packets have come, on the RTP socket or that of RTCP."""
        async with asyncio.timeout(TIMEOUT_S):
            while sum(came == channel for came, _, _ in self.packets) < count:
                await asyncio.sleep(0.005)

    def _take_datagrams(self, channel: int, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.packets.append((channel, sock.recv(MAX_DATAGRAM_BYTES), time.monotonic()))
