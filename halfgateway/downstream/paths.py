"""Which camera and track an RTSP URL names, whatever its form (rtsp.md row 42)."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote

from halfgateway.downstream.door import StreamPath
from halfgateway.errors import UnknownCamera
from halfgateway.protocol.uri import RtspUri

TRACK = "trackID=0"
"""The one track that is ever described: the camera's video (L08)."""

_PATH = re.compile(
    r"/(?P<mode>live|recorded)/(?P<camera>[A-Za-z0-9._~-]{1,64})"
    r"(?:/(?P<profile>[A-Za-z0-9._~-]{1,64}))?/?"
)


def stream_path(uri: str) -> StreamPath:
    """The camera, profile and track of a URL; its host, port, credentials and query do not matter.

    Raises UnknownCamera for a URL that can name none, RemoteProtocolError for one that is no URL.
    """
    presentation, track = RtspUri.parse(uri).split_track()
    match = _PATH.fullmatch(unquote(presentation.path))
    if match is None:
        raise UnknownCamera("L'adresse demandée ne désigne aucune caméra.")
    return StreamPath(match["mode"], match["camera"], match["profile"], track)


def base_url(uri: str) -> str:
    """The ``Content-Base`` of a described URL: without credentials or query, with a final slash."""
    presentation, _ = RtspUri.parse(uri).split_track()
    return str(replace(presentation, path=presentation.path.rstrip("/") + "/", query=None))
