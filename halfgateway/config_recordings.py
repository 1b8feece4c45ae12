"""What the configuration says of recordings: SYN's recorders by kind, and who may have more than a picture's pace."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator

from camera_registry.connections import Credentials, StreamSource
from halfgateway.sections import Name, OnvifUrl, Section
from halfgateway.segments.layout import DEFAULT_PATTERN, check_pattern


def _is_a_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"no time zone is called {name!r}") from error
    return name


Zone = Annotated[str, AfterValidator(_is_a_zone)]
"""The IANA name of the zone in which a recorder writes its times."""

Channel = Annotated[str, Field(min_length=1, max_length=128)]
"""By which name a recorder knows a camera: a recording's token, a channel's number, a folder."""

Sessions = Annotated[int, Field(ge=1, le=64)]
"""Replays that a recorder gives at once; one more is refused here, and not asked of it."""

_FIELDS = frozenset({"channel", "start", "end"})


class _WithPassword(Section):
    username: str
    password_file: Path

    def credentials(self) -> Credentials:
        """Who we are at the recorder. Raises OSError, or ValueError for what is no line of printable text."""
        password = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        return Credentials(username=self.username, password=password)


class OnvifRecorderSection(_WithPassword):
    """A recorder of ONVIF Profile G; ``cameras`` are its recordings' tokens by our cameras."""

    kind: Literal["onvif"]
    id: Name
    onvif_url: OnvifUrl
    sessions: Sessions = 4
    cameras: dict[Name, Channel]


class UrlRecorderSection(_WithPassword):
    """A recorder that replays by a URL of its maker's: ``{channel}``, ``{start}`` and perhaps ``{end}`` stand in it.

    Times are written as ``time_format`` (strftime) has them, in ``time_zone``. It cannot be asked what it has:
    ``keeps_days`` are believed.
    """

    kind: Literal["url"]
    id: Name
    url: str
    time_format: Annotated[str, Field(min_length=1, max_length=64)] = "%Y%m%dT%H%M%SZ"
    time_zone: Zone = "UTC"
    sessions: Sessions = 4
    keeps_days: Annotated[int, Field(ge=1, le=31)] = 10
    cameras: dict[Name, Channel]

    @field_validator("url")
    @classmethod
    def _is_a_template(cls, url: str) -> str:
        try:
            named = {field for _, field, _, _ in Formatter().parse(url) if field is not None}
            StreamSource(camera="-", profile="-", url=url.format(channel="1", start="0", end="0"), credentials=None)
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(f"rtsp://HOST/…{{channel}}…{{start}} is wanted, without credentials: {error}") from error
        if not {"channel", "start"} <= named <= _FIELDS:
            raise ValueError("{channel} and {start} must stand in it, and no more than these and {end} may")
        return url


def _is_a_pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


def _lies_below(folder: str) -> str:
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts or "\0" in folder:
        raise ValueError("a folder below the recorder's is wanted")
    return folder


class SegmentRecorderSection(Section):
    """A folder of MP4 or MPEG-TS segments; ``cameras`` are the folders below it by our cameras.

    ``pattern`` (strftime) is where a segment lies below its camera's folder, by the instant at which it begins, as a
    clock in ``time_zone`` shows it. Local time is ambiguous for an hour a year, and then read as summer time: a
    recorder that can name its segments in UTC should.
    """

    kind: Literal["segments"]
    id: Name
    folder: Path
    pattern: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_is_a_pattern)] = DEFAULT_PATTERN
    time_zone: Zone = "UTC"
    cameras: dict[Name, Annotated[Channel, AfterValidator(_lies_below)]]


RecorderSection = Annotated[
    OnvifRecorderSection | UrlRecorderSection | SegmentRecorderSection, Field(discriminator="kind")
]


class RecordingsSection(Section):
    """Who may have recordings faster than they are watched: accounts, and the reference of what allows it (S14)."""

    bulk_accounts: tuple[str, ...] = ()
    bulk_agreement: str | None = None

    @field_validator("bulk_agreement")
    @classmethod
    def _is_said(cls, reference: str | None) -> str | None:
        if reference is not None and not reference.strip():
            raise ValueError("a reference is wanted")
        return reference
