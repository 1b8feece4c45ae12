"""``docs/compatibility.md``: written from what was seen, and read back to be held to it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from halfgateway.protocol.codec import Codec
from tests.compat.cells import LACKING, ROWS, VIEWS, Cell, Maker, Player, View, gate_cells
from tests.compat.peers import ROOT

PATH = ROOT / "docs" / "compatibility.md"

VERSIONS_TITLE = "## Versions"
"""What stands below it may differ from machine to machine."""

_CODEC_NAMES = {Codec.H264: "H.264", Codec.H265: "H.265", Codec.JPEG: "MJPEG"}

_INTRODUCTION = """\
# Compatibility

Which players have been seen to play which cameras through the half-gateway. This page is written by the tests
(`make compatibility`), never by hand, and `make test` fails where it sees anything else than is written here: it runs
{gate} of the {all} cells, in which each player meets each transport and each camera, and each transport each camera;
`make soak` runs the others.

**plays**: the player showed half a second of the camera's moving pictures, each of them whole (there is a number with a
checksum in each). What libcurl and the raw socket are sent is put together from its RTP packets, and decoded.
**failed**: it did not, for the cause below the table. **–**: the player has no such thing.

No VMS and no real camera has been tried; nothing is claimed about either. The cameras here are given to the gateway by
their RTSP URLs; what it asks of cameras by ONVIF is tested apart.
"""

_TRANSPORTS = """\
- **TCP**, **UDP**: plain RTSP with a machine account, the player told to use this transport alone.
- **RTSPS with client certificate**: a machine account, which shows its certificate and is refused without it; over TCP.
- **RTSPS with a ticket, no certificate**: as an agent's player comes, unless `tls.tickets_need_certificate`. ffmpeg 5.1
  does not verify the gateway's certificate here, nor does `gst-launch-1.0`; all other players of RTSPS do.
- **fall-back**: the player as it is by default, where the path takes no datagram of the camera's size: it asks for UDP,
  is answered 461, and comes again by TCP without being told. (The raw socket has no default: the test tells it.)
"""

_LACKS = """\
libcurl speaks RTSP for its user to build on: it knows no `rtsps://`, receives no datagrams and chooses no transport.
The simulator has H.264 and H.265; ipycam has H.264 alone over RTSP, its MJPEG being HTTP.
"""

_BY_HAND = """\
## Tried by hand

VLC's RTSP client is the live555 library, which Debian no longer builds: its VLC has no RTSP. live555's own player,
`openRTSP` (2026.06.24, built from its sources outside this repository), was tried by hand against `make demo` on
2026-11-22:

- TCP (`-t`), UDP and the HTTP tunnel (`-T`), five cameras each, H.264 and H.265: every run played, no packet lost;
- a cut while it played, twice over TCP and twice over UDP: each heard the BYE and ended by itself with code 0, its
  file not a byte longer; one that came again was answered 503 (T3);
- eleven minutes without a keep-alive over TCP, with its RTCP reports alone over UDP, and with `-K` (OPTIONS): all
  three played to the end (T7).
"""


class Outcome(Enum):
    """What stands in a cell."""

    PLAYS = "plays"
    FAILED = "failed"
    LACKING = "–"


def render(failures: Mapping[Cell, str | None], versions: Mapping[Player | Maker, str]) -> str:
    """The page: every cell with the cause for which it failed, None where it plays; and its peers' versions."""
    causes = list(dict.fromkeys(cause for cause in failures.values() if cause is not None))
    lines = [_INTRODUCTION.format(gate=len(gate_cells()), all=len(failures)), "## Cells", "", *_head()]
    for player, transport in ROWS:
        cells = [Cell(player, transport, view) for view in VIEWS]
        shown = [Outcome.LACKING.value] * len(cells)
        if (player, transport) not in LACKING:
            shown = [_shown(failures[cell], causes) for cell in cells]
        lines.append(_row(player.value, transport.value, *shown))
    lines += ["", *(f"{number}. {cause}" for number, cause in enumerate(causes, 1)), "", _TRANSPORTS, _LACKS, _BY_HAND]
    lines += [VERSIONS_TITLE, "", _row("peer", "version"), _row("---", "---")]
    lines += [_row(peer.value, version) for peer, version in versions.items()]
    return "\n".join(lines) + "\n"


def read(text: str) -> dict[Cell, Outcome]:
    """What a page says of every cell."""
    head = _head()
    lines = text.splitlines()
    first = lines.index(head[0]) + len(head)
    outcomes = {}
    for (player, transport), line in zip(ROWS, lines[first : first + len(ROWS)], strict=True):
        named, by, *shown = [each.strip() for each in line.strip("|").split("|")]
        assert (named, by) == (player.value, transport.value), line
        for view, outcome in zip(VIEWS, shown, strict=True):
            outcomes[Cell(player, transport, view)] = Outcome(outcome.split()[0])
    return outcomes


def _head() -> list[str]:
    names = ["player", "transport", *(_view_name(view) for view in VIEWS)]
    return [_row(*names), _row(*["---"] * len(names))]


def _view_name(view: View) -> str:
    return f"{view.maker.value} {_CODEC_NAMES[view.codec]}"


def _shown(cause: str | None, causes: list[str]) -> str:
    return Outcome.PLAYS.value if cause is None else f"{Outcome.FAILED.value} ({causes.index(cause) + 1})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
