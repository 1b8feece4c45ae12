"""Where the peers of the matrix are installed, and of which versions they are."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import av

from tests.compat.cells import Maker, Player

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
"""ipycam and pycurl live by themselves: ipycam wants another build of OpenCV than ours."""

GST_CAMERA = ROOT / "tests" / "e2e" / "gst_camera.py"
GST_TLS_PLAYER = ROOT / "tests" / "e2e" / "gst_tls_player.py"
CURL_PLAYER = ROOT / "tests" / "compat" / "curl_player.py"

_GST_SERVER_PACKAGE = "libgstrtspserver-1.0-0"


@functools.cache
def are_installed() -> bool:
    """Whether ``tests/install-peers`` has been here."""
    commands = ("ffmpeg", "gst-launch-1.0", SYSTEM_PYTHON, str(PEERS_PYTHON))
    server = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"]
    return all(shutil.which(command) for command in commands) and not subprocess.run(server, check=False).returncode


def versions() -> dict[Player | Maker, str]:
    """What each peer says of itself; of gst-rtsp-server, which says nothing, what Debian does."""
    return {
        Player.FFMPEG: _said_by("ffmpeg", "-version").split()[2],
        Player.GSTREAMER: _said_by("gst-launch-1.0", "--version").split()[-1],
        Player.PYAV: "{} with libavformat {}.{}.{}".format(av.__version__, *av.library_versions["libavformat"]),
        Player.LIBCURL: _curl(_said_by(str(PEERS_PYTHON), "-c", "import pycurl; print(pycurl.version)")),
        Player.RAW: "`tests/raw_player.py`, `tests/udp_player.py`",
        Maker.SIMULATOR: "`halfgateway simulate`",
        Maker.GST_RTSP_SERVER: _said_by("dpkg-query", "-W", "-f", "${Version}", _GST_SERVER_PACKAGE),
        Maker.IPYCAM: _said_by(
            str(PEERS_PYTHON), "-c", "from importlib.metadata import version; print(version('ipycam'))"
        ),
    }


def _curl(libraries: str) -> str:
    """``PycURL/7.49.0 libcurl/8.23.0 …`` as people write it."""
    found = dict(each.split("/") for each in libraries.split())
    return f"{found['libcurl']} by PycURL {found['PycURL']}"


def _said_by(*command: str) -> str:
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.strip().splitlines()[0]
