"""The cells of the compatibility matrix: which player, by which transport, sees which camera's video."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from halfgateway.protocol.codec import Codec


class Player(Enum):
    """Who watches; the value is its name in the document."""

    FFMPEG = "ffmpeg"
    GSTREAMER = "GStreamer"
    PYAV = "PyAV"
    LIBCURL = "libcurl"
    RAW = "raw socket"


class Transport(Enum):
    """How its packets come; the value is its name in the document."""

    TCP = "TCP"
    UDP = "UDP"
    RTSPS_CERTIFICATE = "RTSPS with client certificate"
    RTSPS_TICKET = "RTSPS with a ticket, no certificate"
    FALL_BACK = "fall-back: UDP refused, then TCP"


class Maker(Enum):
    """Whose camera it is; the value is its name in the document."""

    SIMULATOR = "simulator"
    GST_RTSP_SERVER = "gst-rtsp-server"
    IPYCAM = "ipycam"


@dataclass(frozen=True, slots=True)
class View:
    """A camera's video of one codec."""

    maker: Maker
    codec: Codec


@dataclass(frozen=True, slots=True)
class Cell:
    """One claim: this player plays this video by this transport."""

    player: Player
    transport: Transport
    view: View

    @property
    def camera(self) -> str:
        """Its camera in the gateway's inventory: one for each cell, for a clip that is begun anew has no end in it."""
        names = (self.view.maker.value, self.view.codec.value, self.player.value, self.transport.name)
        return re.sub("[^a-z0-9]", "-", "-".join(names).lower())


VIEWS = (
    View(Maker.SIMULATOR, Codec.H264),
    View(Maker.SIMULATOR, Codec.H265),
    View(Maker.GST_RTSP_SERVER, Codec.H264),
    View(Maker.GST_RTSP_SERVER, Codec.H265),
    View(Maker.GST_RTSP_SERVER, Codec.JPEG),
    View(Maker.IPYCAM, Codec.H264),
)
"""Those of H.264, H.265 and MJPEG that each camera has over RTSP."""

LACKING = frozenset((Player.LIBCURL, transport) for transport in Transport if transport is not Transport.TCP)
"""What a player has not: libcurl knows no rtsps, receives no datagrams and chooses no transport by itself."""

ROWS = tuple((player, transport) for player in Player for transport in Transport)


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """Why a player fails by one transport, and the word by which that failure is known from others."""

    player: Player
    transport: Transport
    cause: str
    says: str


KNOWN_FAILURES = (
    KnownFailure(
        Player.FFMPEG,
        Transport.RTSPS_CERTIFICATE,
        "Debian's ffmpeg 5.1 does not hand `-cert_file` on to the TLS of its rtsps: it shows no certificate and is "
        "answered 403 (`certificate-missing`). The newer libavformat in PyAV shows one.",
        "403 Forbidden",
    ),
)


def known_failure(cell: Cell) -> KnownFailure | None:
    """How a cell is known to fail; None where it should play."""
    return next(
        (each for each in KNOWN_FAILURES if (each.player, each.transport) == (cell.player, cell.transport)), None
    )


def all_cells() -> Iterator[Cell]:
    """Every cell that its player has, row by row."""
    for player, transport in ROWS:
        if (player, transport) not in LACKING:
            yield from (Cell(player, transport, view) for view in VIEWS)


def gate_cells() -> frozenset[Cell]:
    """Few cells in which each two of player and transport, player and video, transport and video meet.

    Greedy: at each step the cell with most pairs that have not met yet, the first of equals.
    """
    left = list(all_cells())
    unmet = {pair for cell in left for pair in _pairs(cell)}
    chosen = set[Cell]()
    while unmet:
        best = max(left, key=lambda cell: len(unmet & _pairs(cell)))
        chosen.add(best)
        unmet -= _pairs(best)
    return frozenset(chosen)


def _pairs(cell: Cell) -> set[tuple[object, object]]:
    return {(cell.player, cell.transport), (cell.player, cell.view), (cell.transport, cell.view)}
