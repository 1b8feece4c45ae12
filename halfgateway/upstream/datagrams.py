"""The media of a camera that has nothing but UDP: heard from the camera alone, put in order, reported on.

What comes out are the interleaved frames that a camera over TCP would have sent, so nothing further on differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from halfgateway.errors import RemoteProtocolError
from halfgateway.net.datagrams import open_pair
from halfgateway.protocol.interleaved import InterleavedBatch, frame
from halfgateway.protocol.reception import Reception
from halfgateway.protocol.reordering import ReorderBuffer
from halfgateway.protocol.rtcp import ReceiverReport, SenderReport, parse_compound, receiver_report
from halfgateway.protocol.rtp import is_rtp
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL
from halfgateway.upstream.client import OnDatagrams

RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
"""What the kernel is asked to hold of one camera's video: a 4K key frame has up to 1 MB and may come in one burst,
and the kernel counts its own overhead. It gives at most ``net.core.rmem_max``; what comes past it is lost, and
counted."""

DATAGRAMS_AT_ONCE = 64
"""Datagrams taken of one socket before the others have their turn: some 90 kB. What is left waits in the kernel."""

MAX_DATAGRAM_BYTES = 65_535
"""More than UDP can carry: nothing is cut short."""

REPORT_INTERVAL_S = 5.0
"""Between two of our reports (RFC 3550 section 6.2). They also keep a firewall's way to our ports open."""

_EMPTY_RTP = struct.Struct("!BBHII")


class DatagramMedia:
    """Two UDP ports on ``own_host`` for the video of the camera at ``camera_host``, both numeric addresses.

    ``on_media`` gets frames on the hub's channels; ``now`` tells monotonic seconds. To be closed once, by its owner.
    """

    def __init__(
        self,
        own_host: str,
        camera_host: str,
        clock_hz: int,
        on_media: OnDatagrams,
        *,
        now: Callable[[], float],
    ) -> None:
        """Raises OSError: the address is not ours, or no pair of ports is free."""
        pair = open_pair(own_host)
        pair.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.ports = pair.ports
        self._rtp = _Ear(pair.rtp, camera_host)
        self._rtcp = _Ear(pair.rtcp, camera_host)
        self._on_media = on_media
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._order = ReorderBuffer()
        self._reception = Reception(clock_hz)
        self._ssrc = secrets.randbits(32)
        self._reporting: asyncio.TimerHandle | None = None
        self._waiting: asyncio.TimerHandle | None = None

    @property
    def lost(self) -> int:
        """Packets that were given up."""
        return self._order.lost

    @property
    def discarded(self) -> int:
        """Packets that came twice, or too late."""
        return self._order.discarded

    def begin(self, camera_ports: tuple[int, int] | None, *, cname: str, report_every_s: float) -> None:
        """Listen from now on, and tell a firewall on the way that the camera is expected.

        ``camera_ports`` are those that it named for RTP and RTCP. Where it named none, the first datagram from its
        address shows each.
        """
        if camera_ports is not None:
            self._rtp.know(camera_ports[0])
            self._rtcp.know(camera_ports[1])
        self._rtp.say(_EMPTY_RTP.pack(0x80, 0, 0, 0, self._ssrc))
        self._loop.add_reader(self._rtp.socket, self._take_rtp)
        self._loop.add_reader(self._rtcp.socket, self._take_rtcp)
        self._report(cname, report_every_s)

    def close(self) -> None:
        """Hear nothing more, and give the ports back."""
        for timer in (self._reporting, self._waiting):
            if timer is not None:
                timer.cancel()
        for ear in (self._rtp, self._rtcp):
            self._loop.remove_reader(ear.socket)
            ear.socket.close()

    def _take_rtp(self) -> None:
        now_s = self._now()
        ready: list[bytes] = []
        for packet in self._rtp.datagrams():
            if is_rtp(packet, 0, len(packet)):
                ready += self._order.push(packet, now_s)
        self._hand_on(ready, now_s)

    def _take_overdue(self) -> None:
        self._waiting = None
        now_s = self._now()
        self._hand_on(self._order.overdue(now_s), now_s)

    def _hand_on(self, ready: Sequence[bytes], now_s: float) -> None:
        deadline_s = self._order.deadline_s
        if deadline_s is not None and self._waiting is None:
            self._waiting = self._loop.call_later(max(0.0, deadline_s - now_s), self._take_overdue)
        for packet in ready:
            self._reception.take(packet, now_s)
        if ready:
            self._on_media(_batch(RTP_CHANNEL, ready))

    def _take_rtcp(self) -> None:
        reports = list(self._rtcp.datagrams())
        for report in reports:
            with contextlib.suppress(RemoteProtocolError):  # the pull drops what cannot be read
                for packet in parse_compound(report):
                    if isinstance(packet, SenderReport):
                        self._reception.take_report(packet, self._now())
        if reports:
            self._on_media(_batch(RTCP_CHANNEL, reports))

    def _report(self, cname: str, every_s: float) -> None:
        block = self._reception.block(self._now())
        report = ReceiverReport(self._ssrc, (block,) if block is not None else ())
        self._rtcp.say(receiver_report(report, cname))
        self._reporting = self._loop.call_later(every_s, self._report, cname, every_s)


class _Ear:
    """One of our sockets, which hears one address alone, and one port of it once that is known."""

    def __init__(self, own: socket.socket, host: str) -> None:
        self.socket = own
        self._host = host
        self._port: int | None = None

    def know(self, port: int) -> None:
        """Have the kernel keep everybody else out from now on; what already waits is told apart here."""
        with contextlib.suppress(OSError):  # a port 0, or no way there: the camera will be silent
            self.socket.connect((self._host, port))
            self._port = port

    def say(self, data: bytes) -> None:
        """Send to the camera, where its port is known. A datagram may get lost, so what cannot be sent is."""
        if self._port is not None:
            with contextlib.suppress(OSError):
                self.socket.send(data)

    def datagrams(self) -> Iterator[bytes]:
        """What the camera has sent, up to the bound."""
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data, sender = self.socket.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # nobody there heard what we said: its silence is noticed elsewhere
                continue
            if sender[0] != self._host or self._port not in {None, sender[1]}:
                continue
            if self._port is None:
                self.know(sender[1])
            yield data


def _batch(channel: int, packets: Iterable[bytes]) -> InterleavedBatch:
    return InterleavedBatch(b"".join(frame(channel, packet) for packet in packets))
