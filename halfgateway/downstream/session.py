"""One RTSP session of a reader: its state, its channels, and its seat in a stream."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from halfgateway.downstream.door import Seat, StreamPath, Viewer
from halfgateway.downstream.paths import TRACK
from halfgateway.errors import Refusal
from halfgateway.protocol.connection import frame
from halfgateway.protocol.rtcp import bye
from halfgateway.protocol.states import ServerState
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL
from halfgateway.relay.reader import Reader

if TYPE_CHECKING:
    from halfgateway.downstream.connection import RtspConnection

SESSION_TIMEOUT_S = 60
"""What SETUP announces. Over interleaved TCP the connection itself is the sign of life (rtsp.md row 28)."""

SESSION_ID_BYTES = 16
"""128 bits of chance: a session id cannot be guessed (rtsp.md row 26)."""


class Replaced(Refusal):
    """The holder goes on in another session."""

    code, http_status, rtsp_status = "replaced", 410, 454


class RtspSession:
    """The server's half of one RTSP session on one connection. A :class:`~halfgateway.downstream.door.Viewer`."""

    def __init__(self, connection: RtspConnection, username: str, path: StreamPath) -> None:
        self.id = secrets.token_hex(SESSION_ID_BYTES)
        self.state = ServerState.INIT
        self.username = username
        self.path = path
        self.channels = (RTP_CHANNEL, RTCP_CHANNEL)
        self.seat: Seat | None = None
        self.reader: Reader | None = None
        self._connection = connection

    def is_of(self, path: StreamPath) -> bool:
        """Whether a URL names what this session plays: the presentation, or the one track that it has."""
        same = (path.mode, path.camera, path.profile) == (self.path.mode, self.path.camera, self.path.profile)
        return same and path.track in {None, TRACK}

    def make_reader(self, seat: Seat) -> Reader:
        """The reader that carries this session's media from now on."""
        self.reader = Reader(self._connection, seat.gate, now=self._connection.now, channels=self.channels)
        return self.reader

    def goodbye(self) -> bytes:
        """An RTCP BYE for what this session has been sent, framed; empty if that is nothing."""
        if self.reader is None or self.reader.ssrc is None:
            return b""
        return frame(self.reader.rtcp_channel, bye(self.reader.ssrc))

    def end(self, cause: Refusal) -> None:
        """See :class:`~halfgateway.downstream.door.Viewer`."""
        self._connection.end_session(self, cause)

    def give_way(self, other: Viewer) -> None:
        """See :class:`~halfgateway.downstream.door.Viewer`."""
        if isinstance(other, RtspSession) and other._connection is self._connection:
            self._connection.sessions.pop(self.id, None)
        else:
            self._connection.end_session(self, Replaced())
