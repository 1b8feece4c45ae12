"""What is asked of a recorder of any kind: which footage it has of a camera, and to play it.

Instants are aware and in UTC. Every method raises RecorderUnreachable where the recorder does not answer, has no
session to give or answers what cannot be understood, NoRecording where it has no footage there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from halfgateway.protocol.replay import PlayOptions
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.source import VideoFormat


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Footage without a gap. ``verified`` is False where the recorder tells only the first and last instant."""

    start: datetime
    end: datetime
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Passage:
    """What is to be played: from ``start`` on, to ``end`` or for as long as there is footage, also what is yet to come.

    In reverse (a negative scale) ``end`` comes before ``start``.
    """

    start: datetime
    end: datetime | None = None
    options: PlayOptions = field(default_factory=PlayOptions)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as RTP packets of one timestamp, the marker on the last; their numbers are the sender's own.

    ``at`` is when it was filmed. ``clean``: a decoder can begin here. ``discontinuous``: it follows nothing that was
    given before (a gap, another segment that does not join, a new passage). ``last``: no footage follows directly.
    The packets may bear the extension of ONVIF Streaming 6.3, with the recorder's own flags.
    """

    packets: Sequence[bytes]
    at: datetime
    clean: bool
    discontinuous: bool = False
    last: bool = False


class Replay(Protocol):
    """One session at a recorder. It plays one passage at a time, one after the other."""

    @property
    def video(self) -> VideoFormat:
        """What it delivers."""

    def play(self, passage: Passage) -> AsyncGenerator[Picture, None]:
        """Give the pictures of a passage until its end, beginning at the clean one at or before its start.

        Where ``start`` lies in a gap, at the next clean one (ONVIF Streaming 6.5.4). With rate control each picture
        is given when it is due, gaps waited out; else as fast as they are taken. Nothing is read ahead of who takes
        them but a bounded amount. Another call, once the generator is closed, is a seek in the same session.
        """

    async def close(self) -> None:
        """Give the session back to the recorder."""


class Footage(Protocol):
    """The recordings of one camera at one recorder."""

    @property
    def reverses(self) -> bool:
        """Whether it plays in reverse; some recorders have said so only once they were asked anything else."""

    async def find(self, start: datetime, end: datetime) -> Sequence[Interval]:
        """What there is between two instants, in their order, clipped to them; empty where there is nothing."""

    async def describe(self, at: datetime) -> SessionDescription:
        """The description (SDP) of what a replay that begins at ``at`` delivers, video only or not."""

    async def open(self, at: datetime) -> Replay:
        """Open a session whose format is that of the footage at ``at``."""


class Recorders(Protocol):
    """Which recorder has which camera's footage."""

    def of(self, camera: str) -> Footage | None:
        """The footage of a camera, None where none is recorded."""
