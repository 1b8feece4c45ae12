"""Sends one session's packets as datagrams, and hears its reader's reports (RFC 2326 section 12.39, RFC 3550)."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

from halfgateway.errors import RemoteProtocolError
from halfgateway.net.datagrams import DatagramPair
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES
from halfgateway.protocol.rtcp import RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, parse_compound
from halfgateway.relay.chunk import RTP_CHANNEL
from halfgateway.relay.reader import Reader

MAX_HEARD_DATAGRAMS = 8
"""Datagrams of the reader that are looked at in one turn. A player sends one in five seconds; the kernel drops what
comes faster than turns do."""

MAX_HEARD_BYTES = 1500
"""Bytes of one of them that are read: a report has a hundred. What is longer is cut, and then no report."""

_SIGNS_OF_LIFE = frozenset({SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION})


class DatagramSink:
    """A :class:`~halfgateway.relay.reader.Sink` over a connected pair, which it owns.

    No packet waits: one that the kernel does not take at once is lost, and counted as such by its reader.
    ``room_bytes`` is the largest packet that may be sent; one larger calls ``on_too_large``, once.
    """

    writable = True

    def __init__(self, pair: DatagramPair, room_bytes: int, *, on_too_large: Callable[[], None]) -> None:
        self.ports = pair.ports
        self._pair = pair
        self._room_bytes = room_bytes
        self._on_too_large = on_too_large
        self._reader: Reader | None = None
        self._is_open = True

    def serve(self, reader: Reader) -> None:
        """Tell this reader what could not be sent."""
        self._reader = reader

    def write(self, data: bytes) -> None:
        """Take whole interleaved frames, RTP on channel 0; their payloads are sent one by one."""
        if not self._is_open:
            return
        view = memoryview(data)
        start, lost, lost_bytes, fits = 0, 0, 0, True
        while start < len(data):
            payload = start + FRAME_HEADER_BYTES
            end = payload + (data[start + 2] << 8 | data[start + 3])
            is_rtp = data[start + 1] == RTP_CHANNEL
            sock = self._pair.rtp if is_rtp else self._pair.rtcp
            failure = self._send(sock, view[payload:end]) if fits else errno.EMSGSIZE
            if failure:
                lost += is_rtp
                lost_bytes += end - start
                fits = failure != errno.EMSGSIZE
            start = end
        if lost_bytes and self._reader is not None:
            self._reader.not_sent(lost, lost_bytes)
        if not fits:
            self._on_too_large()

    def hears(self) -> bool:
        """Whether a report has come since this was last asked. Anything else that comes is no sign of life."""
        heard = False
        with contextlib.suppress(OSError):
            for _ in range(MAX_HEARD_DATAGRAMS if self._is_open else 0):
                heard = _is_report(self._pair.rtcp.recv(MAX_HEARD_BYTES)) or heard
        return heard

    def close(self, goodbye: bytes = b"") -> None:
        """Send nothing more after this RTCP packet, which may be empty."""
        if goodbye and self._is_open:
            with contextlib.suppress(OSError):
                self._pair.rtcp.send(goodbye)
        self._is_open = False
        self._pair.close()

    def _send(self, sock: socket.socket, packet: memoryview) -> int:
        """Send one packet; 0, or the error number of a full buffer, a closed port, no way at the moment."""
        if len(packet) > self._room_bytes:
            return errno.EMSGSIZE
        try:
            sock.send(packet)
        except OSError as error:
            return error.errno or errno.EIO
        return 0


def _is_report(datagram: bytes) -> bool:
    try:
        parse_compound(datagram)
    except RemoteProtocolError:
        return False
    return datagram[1] in _SIGNS_OF_LIFE
