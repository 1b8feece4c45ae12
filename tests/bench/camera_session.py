"""One RTSP connection to a bench camera: Digest, one session, interleaved only, nothing that costs time."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from typing import Final, Protocol

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.connection import NEED_DATA, Connection, Role
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.messages import Request, Response, response, serialise
from halfgateway.protocol.rtp_info import StreamInfo, rtp_info
from halfgateway.protocol.transport import parse_transports
from halfgateway.simulator.camera_sdp import VIDEO_CONTROL, describe
from halfgateway.simulator.digest_gate import DigestGate
from halfgateway.simulator.packets import Clip

MAX_WAITING_BYTES: Final = 4 << 20
"""What waits for a client that does not read: four seconds at 8 Mb/s. Past it, it is sent nothing until a key frame."""

PUBLIC: Final = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
TIMEOUT_S: Final = 60


class Channel(Protocol):
    """What a session needs of its camera."""

    clip: Clip
    gate: DigestGate

    def first_packet(self) -> tuple[int, int]:
        """Sequence number and RTP timestamp of the packet that a session which begins now gets first."""


class CameraSession:
    """Answers requests, and takes media while it plays; its socket is not blocking."""

    def __init__(self, sock: socket.socket, channel: Channel, on_waiting: Callable[[CameraSession], None]) -> None:
        self.sock = sock
        self.plays = False
        self.ended = False
        self.waiting = bytearray()
        self._channel = channel
        self._on_waiting = on_waiting
        self._parser = Connection(Role.SERVER)
        self._id = secrets.token_hex(8)
        self._begins = False
        self._skips = True

    def set_nodelay(self, *, nodelay: bool) -> None:
        """Whether small packets leave at once."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)

    def receive(self) -> None:
        """Read what the client says, and answer."""
        try:
            data = self.sock.recv(65536)
            if not data:
                self.ended = True
                return
            self._parser.receive_data(data)
            while (event := self._parser.next_event()) is not NEED_DATA:
                if isinstance(event, Request):
                    answer = self._answer(event)
                    answer.headers.set("CSeq", event.headers.get("CSeq") or "0")
                    self._write(serialise(answer))
                    if event.method == "PLAY" and answer.status == 200:
                        self.plays = self._begins = self._skips = True
                else:
                    assert isinstance(event, InterleavedBatch)
        except (OSError, RemoteProtocolError):
            self.ended = True

    def take(self, data: bytes, *, begins_key: bool, begins_frame: bool) -> None:
        """Send whole packets: from the next frame on, and from a key frame after a time of not being read."""
        if begins_frame and len(self.waiting) > MAX_WAITING_BYTES:
            self._skips = True
        elif begins_key or (begins_frame and self._begins):
            self._skips = self._begins = False
        if not self._skips:
            self._write(data)

    def flush(self) -> None:
        """Send what waits, as far as it goes."""
        data, self.waiting = self.waiting, bytearray()
        self._write(data)

    def _write(self, data: bytes | bytearray) -> None:
        if self.waiting:
            self.waiting += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.ended = True
            return
        if sent < len(data):
            self.waiting += data[sent:]
            self._on_waiting(self)

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return response(200, Headers([("Public", PUBLIC)]))
        challenges = self._channel.gate.check(request.headers.get("Authorization"), request.method, request.uri)
        if challenges:
            return response(401, Headers([("WWW-Authenticate", value) for value in challenges]))
        session = ("Session", f"{self._id};timeout={TIMEOUT_S}")
        match request.method:
            case "DESCRIBE":
                body = describe(self._channel.clip, name="bench", internal_address="127.0.0.1", session_id=1)
                base = request.uri.rstrip("/") + "/"
                return response(200, Headers([("Content-Type", "application/sdp"), ("Content-Base", base)]), body)
            case "SETUP":
                offers = parse_transports(request.headers.get("Transport") or "")
                if not any(offer.lower == "TCP" and offer.interleaved in {None, (0, 1)} for offer in offers):
                    return response(461)
                return response(200, Headers([("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"), session]))
            case "PLAY":
                sequence, timestamp = self._channel.first_packet()
                url = f"{request.uri.rstrip('/')}/{VIDEO_CONTROL}"
                info = rtp_info([StreamInfo(url, sequence, timestamp)])
                return response(200, Headers([session, ("Range", "npt=0.000-"), ("RTP-Info", info)]))
            case "TEARDOWN":
                self.plays = False
                return response(200)
            case "GET_PARAMETER" | "SET_PARAMETER":
                return response(200, Headers([session]))
        return response(501)
