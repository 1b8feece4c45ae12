"""PyAV over RTSPS: ``pyav_player.py URL AUTHORITY CERTIFICATE KEY``, all files in PEM; video to standard output."""

from __future__ import annotations

import os
import sys

import av

LIMIT_S = 30.0


def main(url: str, authority: str, certificate: str, key: str) -> int:
    """Take all that comes; 1 where nothing may be had, or the end is a failure."""
    files = {"ca_file": authority, "tls_verify": "1", "cert_file": certificate, "key_file": key}
    try:
        with av.open(url, options={"rtsp_transport": "tcp", **files}, timeout=LIMIT_S) as container:
            for packet in container.demux(video=0):
                os.write(sys.stdout.fileno(), bytes(packet))
    except av.error.FFmpegError as error:
        print(f"{type(error).__name__}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
