"""Under which URLs the simulated recorder replays: ONVIF's own, and those of two makers.

Hikvision's ``/Streaming/tracks/101?starttime=20261113t123812z&endtime=…`` (channel 1, UTC) and Dahua's
``/cam/playback?channel=1&starttime=2026_11_13_13_38_12&endtime=…`` (local time).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.ranges import parse_instant
from halfgateway.protocol.uri import RtspUri
from halfgateway.simulator.recordings import Recording

ONVIF_FOLDER: Final = "/onvif-replay/"
"""Before a recording's token in the path of its URL."""

LOCAL_ZONE: Final = ZoneInfo("Europe/Paris")
"""Of the recorder's own clock on the wall, which one maker's URLs go by."""

_ONVIF = re.compile(rf"{ONVIF_FOLDER}(?P<token>[A-Za-z0-9]+)/?")
_HIKVISION = re.compile(r"/Streaming/tracks/(?P<channel>[0-9]{1,3})01/?", re.IGNORECASE)
_DAHUA = re.compile(r"/cam/playback/?")
_DAHUA_TIME: Final = "%Y_%m_%d_%H_%M_%S"


@dataclass(frozen=True, slots=True)
class Resource:
    """A recording; ``start`` and ``end`` are what a maker's URL says, the former None in ONVIF's."""

    recording: Recording
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_makers(self) -> bool:
        """Whether it is replayed in a maker's way: plain RTSP, from the instant in the URL on."""
        return self.start is not None


def resource_of(uri: RtspUri, recordings: Mapping[str, Recording]) -> Resource:
    """What a URL without its track names; ``recordings`` by their tokens.

    Raises RemoteProtocolError: 404 for what there is not, 400 for a time that is none.
    """
    path, query = uri.path, dict(parse_qsl((uri.query or "").rstrip("/")))
    if match := _ONVIF.fullmatch(path):
        recording = recordings.get(match["token"])
        if recording is None:
            raise RemoteProtocolError("no such recording", status=404)
        return Resource(recording)
    if match := _HIKVISION.fullmatch(path):
        start, end = (_utc(query.get(name)) for name in ("starttime", "endtime"))
        return _makers(recordings, match["channel"], start, end)
    if _DAHUA.fullmatch(path):
        start, end = (_local(query.get(name)) for name in ("starttime", "endtime"))
        return _makers(recordings, query.get("channel", ""), start, end)
    raise RemoteProtocolError("no such resource", status=404)


def moved(resource: Resource, by: timedelta) -> Resource:
    """The same with its times moved."""
    if resource.start is None:
        return resource
    return Resource(resource.recording, resource.start + by, None if resource.end is None else resource.end + by)


def _makers(
    recordings: Mapping[str, Recording], channel: str, start: datetime | None, end: datetime | None
) -> Resource:
    recording = next((each for each in recordings.values() if str(each.channel) == channel), None)
    if recording is None:
        raise RemoteProtocolError("no such channel", status=404)
    if start is None:
        raise RemoteProtocolError("it does not say from when on")
    return Resource(recording, start, end)


def _utc(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)


def _local(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, _DAHUA_TIME).replace(tzinfo=LOCAL_ZONE).astimezone(UTC)
    except ValueError as error:
        raise RemoteProtocolError("not a time") from error
