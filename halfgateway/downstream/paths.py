"""Which camera and track an RTSP URL names, whatever its form (docs/conformance.md row 42)."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qsl, unquote

from halfgateway.downstream.door import StreamPath
from halfgateway.errors import RemoteProtocolError, UnknownCamera
from halfgateway.protocol.ranges import ClockRange, parse_instant, parse_range
from halfgateway.protocol.uri import RtspUri

TRACK = "trackID=0"
"""The one track that is ever described: the camera's video (L08)."""

_PATH = re.compile(
    r"/(?P<mode>live|recorded)/(?P<camera>[A-Za-z0-9._~-]{1,64})"
    r"(?:/(?P<part>[A-Za-z0-9._~-]{1,64}))?/?"
)


def stream_path(uri: str) -> StreamPath:
    """The camera, profile, span and track of a URL; its host, port and credentials do not matter.

    What follows a live camera is its profile, what follows a recorded one the span, as :func:`base_url` writes it.

    Raises UnknownCamera for a URL that can name none, RemoteProtocolError for one that is no URL or names no span.
    """
    presentation, track = RtspUri.parse(uri).split_track()
    match = _PATH.fullmatch(unquote(presentation.path))
    if match is None:
        raise UnknownCamera("L'adresse demandée ne désigne aucune caméra.")
    if match["mode"] == "live":
        return StreamPath("live", match["camera"], match["part"], track)
    span = _span_of_part(match["part"]) if match["part"] else _span_of_query(presentation.query or "")
    return StreamPath("recorded", match["camera"], None, track, span)


def base_url(uri: str) -> str:
    """The ``Content-Base`` of a described URL: without credentials or query, with a final slash.

    A span that stood in the query becomes a part of the path: players lose a query on their way to a track.
    """
    presentation, _ = RtspUri.parse(uri).split_track()
    path, span = presentation.path.rstrip("/") + "/", stream_path(uri).span
    if span is not None and _span_of_query(presentation.query or "") == span:
        path += str(span).removeprefix("clock=") + "/"
    return str(replace(presentation, path=path, query=None))


def _span_of_part(part: str) -> ClockRange:
    span = parse_range(f"clock={part}")
    if not isinstance(span, ClockRange):
        raise RemoteProtocolError("not a span of a recording")
    return span


def _span_of_query(query: str) -> ClockRange | None:
    """``?start=20261120T101500Z&end=…``; whatever else stands there does not matter."""
    named = dict(parse_qsl(query.rstrip("/")))
    if "start" not in named:
        return None
    end = parse_instant(named["end"]) if "end" in named else None
    return ClockRange(parse_instant(named["start"]), end)
