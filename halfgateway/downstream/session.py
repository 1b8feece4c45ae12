"""One RTSP session of a reader: its state, its transport, and its seat in a stream."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from halfgateway.downstream.datagram_sink import DatagramSink
from halfgateway.downstream.door import EndOfTransmission, Place, ReplaySeat, Seat, StreamPath, Viewer
from halfgateway.downstream.paths import TRACK
from halfgateway.downstream.transports import Offers
from halfgateway.errors import Refusal, TransportNotOffered
from halfgateway.protocol.rtcp import bye
from halfgateway.protocol.states import ServerState
from halfgateway.protocol.transport import Pair, Transport
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL
from halfgateway.relay.reader import Reader
from halfgateway.relay.source import Source

if TYPE_CHECKING:
    from halfgateway.downstream.connection import RtspConnection

SESSION_TIMEOUT_S = 60
"""What SETUP announces. Over interleaved TCP the connection itself is the sign of life (docs/conformance.md row 28)."""

SESSION_ID_BYTES = 16
"""128 bits of chance: a session id cannot be guessed (docs/conformance.md row 26)."""


class Replaced(Refusal):
    """The holder goes on in another session."""

    code, http_status, rtsp_status = "replaced", 410, 454


class Silent(Refusal):
    """A reader over UDP has given no sign of life."""

    code, http_status, rtsp_status = "silent", 410, 454


class RtspSession:
    """The server's half of one RTSP session on one connection. A :class:`~halfgateway.downstream.door.Viewer`.

    ``channels`` are those of interleaved TCP, ``datagrams`` is what sends over UDP; a session has one of them.
    """

    def __init__(self, connection: RtspConnection, username: str, path: StreamPath, offers: Offers) -> None:
        self.id = secrets.token_hex(SESSION_ID_BYTES)
        self.state = ServerState.INIT
        self.username = username
        self.path = path
        self.channels: Pair | None = None
        self.datagrams: DatagramSink | None = None
        self.live: Seat | None = None
        self.replay: ReplaySeat | None = None
        self.reader: Reader | None = None
        self._connection = connection
        self._offers = offers
        self._chosen = Transport()
        self._source: Source | None = None
        self._heard_at_s = connection.now()
        self._closed = False

    @property
    def seat(self) -> Place | None:
        """Its place in a stream, once it has one."""
        return self.live or self.replay

    async def choose_transport(self, source: Source | None) -> None:
        """See :class:`~halfgateway.downstream.door.Viewer`."""
        chosen, sink = await self._offers.choose(source, self._too_large)
        if self.datagrams is not None:
            self.datagrams.close()
        self._source, self._chosen, self.datagrams, self.channels = source, chosen, sink, None
        if self._closed and sink is not None:
            sink.close()

    async def set_up_again(self, offers: Offers) -> bool:
        """Take another transport; a session that plays keeps its own, False where the client does not take that.

        Raises TransportNotOffered.
        """
        if self.state is ServerState.PLAYING:
            return offers.include(self._chosen.lower)
        if self.seat is not None:
            self._offers = offers
            await self.choose_transport(self._source)
        return True

    def granted(self) -> Transport:
        """The transport as the answer to SETUP tells it, with channels of its own where it is interleaved."""
        if self.datagrams is not None:
            return self._chosen
        if self.channels is None:
            self.channels = self._connection.free_channels(self._chosen.interleaved)
        return Transport(lower="TCP", interleaved=self.channels)

    def is_of(self, path: StreamPath) -> bool:
        """Whether a URL names what this session plays: the presentation, or the one track that it has."""
        same = (path.mode, path.camera, path.profile) == (self.path.mode, self.path.camera, self.path.profile)
        return same and path.track in {None, TRACK}

    def make_reader(self, seat: Place) -> Reader:
        """The reader that carries this session's media from now on."""
        sink = self.datagrams or self._connection
        channels = self.channels or (RTP_CHANNEL, RTCP_CHANNEL)
        self.reader = Reader(sink, seat.gate, now=self._connection.now, channels=channels)
        if self.datagrams is not None:
            self.datagrams.serve(self.reader)
        return self.reader

    def is_silent_since(self, instant_s: float) -> bool:
        """Whether this reader over UDP has sent no report since (monotonic seconds); over TCP none is asked for."""
        if self.datagrams is None:
            return False
        if self.datagrams.hears():
            self._heard_at_s = self._connection.now()
        return self._heard_at_s < instant_s

    def goodbye(self) -> bytes:
        """An RTCP BYE for what this session has been sent; empty if that is nothing."""
        if self.reader is None or self.reader.ssrc is None:
            return b""
        return bye(self.reader.ssrc)

    def close(self, goodbye: bytes = b"") -> None:
        """Send nothing more over UDP after this goodbye, now or later."""
        self._closed = True
        if self.datagrams is not None:
            self.datagrams.close(goodbye)

    def end(self, cause: Refusal) -> EndOfTransmission | None:
        """See :class:`~halfgateway.downstream.door.Viewer`."""
        queued = self._connection.queued_bytes() if self.channels is not None else (0, 0)
        self._connection.end_session(self, cause)
        if self.reader is None:
            return None
        withheld, discarded = queued
        return EndOfTransmission(
            self.reader.ssrc,
            self.reader.last_handed_over(withheld),
            withheld + self.reader.queued_bytes,
            discarded,
        )

    def give_way(self, other: Viewer) -> None:
        """See :class:`~halfgateway.downstream.door.Viewer`."""
        if isinstance(other, RtspSession) and other._connection is self._connection:
            self._connection.sessions.pop(self.id, None)
            self.close()
        else:
            self._connection.end_session(self, Replaced())

    def _too_large(self) -> None:
        if self.seat is not None:
            self.seat.dismiss(TransportNotOffered("Les paquets de la caméra ne passent plus par UDP."))
