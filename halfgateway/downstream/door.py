"""What the RTSP server asks of the door, and what it is given: ports, filled by ``halfgateway.control``.

The server knows RTSP and nothing of the convention; the door knows the convention and nothing of RTSP.
Every method that may refuse raises a :class:`~halfgateway.errors.Refusal`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from halfgateway.errors import Refusal
from halfgateway.protocol.digest import Secrets
from halfgateway.protocol.ranges import ClockRange, Range
from halfgateway.protocol.replay import PlayOptions
from halfgateway.relay.gop import Opening
from halfgateway.relay.reader import Gate, LastPacket, Reader
from halfgateway.relay.source import Source

MODERN_TLS = "TLSv1.3"
"""The version that is asked of everyone but machines (S02)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks on a connection: the name that its Digest proved, and where it comes from.

    ``certificate`` is the peer's DER certificate where TLS gave one, ``tls_version`` what was agreed ("TLSv1.2").
    """

    username: str
    source: str
    secure: bool
    certificate: bytes | None = None
    tls_version: str = MODERN_TLS


@dataclass(frozen=True, slots=True)
class StreamPath:
    """What an RTSP URL names: ``/live/{camera}[/{profile}]`` or ``/recorded/{camera}``, and perhaps a track of it.

    ``span`` is the part of the recording that the URL itself names, for players that cannot say it otherwise.
    """

    mode: str
    camera: str
    profile: str | None
    track: str | None
    span: ClockRange | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether recordings are meant, and not what is live."""
        return self.mode == "recorded"


@dataclass(frozen=True, slots=True)
class PlayWish:
    """What PLAY of a recording asks for. ``span`` None: from where it was, or else from where the presentation begins.

    ``cseq`` is the request's number where it is one of ONVIF replay, else None: then each picture says when it was
    filmed. ``stays``: ONVIF replay is required, and the end of the footage ends nothing (ONVIF Streaming 6.9).
    """

    span: Range | None
    options: PlayOptions
    cseq: int | None
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Playing:
    """What is about to play, in the unit in which it was asked for, and the numbers of its first packet.

    ``begin`` lets the packets come; to be called once this has been answered.
    """

    span: Range
    options: PlayOptions
    sequence: int
    timestamp: int
    begin: Callable[[], None]


@dataclass(frozen=True, slots=True)
class EndOfTransmission:
    """What can be said of the end of a session's media: the *attestation de fin de transmission* (N15).

    ``last`` is the last packet that was handed to the kernel, None where none was. ``withheld_bytes`` were not handed
    to it and never will be, ``discarded_bytes`` it held unacknowledged and threw away with the connection.
    """

    ssrc: int | None
    last: LastPacket | None
    withheld_bytes: int = 0
    discarded_bytes: int = 0


class Viewer(Protocol):
    """The RTSP session as the door sees it: something that can be made to stop."""

    async def choose_transport(self, source: Source | None) -> None:
        """Choose by what this camera's packets are to be sent; TCP alone where nobody can know. Raises
        TransportNotOffered.
        """

    def end(self, cause: Refusal) -> EndOfTransmission | None:
        """Stop media, say BYE where it can still go, and abort. Synchronous: nothing is handed over after it.

        Returns what can be said of the end; None where nothing was ever sent.
        """

    def give_way(self, other: Viewer) -> None:
        """End quietly for another session of the same holder: the connection lives if the other is on it too."""


class Place(Protocol):
    """One RTSP session's place in a stream that holds a slot."""

    @property
    def gate(self) -> Gate:
        """Whether media may be handed over."""

    async def pause(self) -> None:
        """Stop the packets and keep the slot."""

    async def leave(self) -> None:
        """TEARDOWN: the slot is free when this returns."""

    def lose(self) -> None:
        """The connection is gone without a goodbye: the slot is kept for the holder's return, for a while."""

    def dismiss(self, cause: Refusal) -> None:
        """End this session alone, by a refusal: the slot is kept as for a lost connection. Synchronous."""


class Seat(Place, Protocol):
    """A place before a live camera."""

    async def start(self) -> None:
        """Make the start durable in the trace; media may flow only after it."""

    def opening(self) -> Opening | None:
        """What a reader that flows now begins with, so that its first packet can be told; None if that is unknown."""

    def flow(self, reader: Reader, opening: Opening | None) -> None:
        """Let the camera's packets come to ``reader``, after its ``opening`` if it has one."""


class ReplaySeat(Place, Protocol):
    """A place before a recording."""

    async def play(self, wish: PlayWish, make_reader: Callable[[], Reader]) -> Playing:
        """Find what is asked for and make it durable in the trace; what played before plays no more.

        ``make_reader`` is called once there is something to be read.
        """


class Door(Protocol):
    """The one way in."""

    def secrets(self, username: str) -> Secrets | None:
        """The Digest secrets of a name, from memory alone."""

    def wrong_credentials(self, username: str, source: str, *, of_another_resource: bool = False) -> None:
        """Note that a digest was wrong, or right for another resource; no ``username``: it could not be read.

        Raises Throttled for a source that sent too many; its right ones count.
        """

    def refused_action(self, caller: Caller, action: str, path: str) -> None:
        """Note that something was asked that no one may do here (publishing, sound, the back-channel)."""

    def refuse_while_closed(self, caller: Caller, path: StreamPath) -> None:
        """Refuse, from memory alone, whoever asks while the interconnection is not open."""

    async def describe(self, caller: Caller, path: StreamPath) -> bytes:
        """The SDP of a camera, video only. Takes no slot."""

    async def take_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> Seat:
        """The whole door for one SETUP: a slot is held and the intent is durable when this returns."""

    async def take_replay_seat(self, caller: Caller, path: StreamPath, viewer: Viewer) -> ReplaySeat:
        """The same, for a recording."""
