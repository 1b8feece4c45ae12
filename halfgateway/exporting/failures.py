"""Why an export ends without its files, other than by a refusal of the door."""

from __future__ import annotations

from halfgateway.control.endings import Ending
from halfgateway.errors import Refusal


class ExportFailed(Refusal):
    """The files could not be made; ``reason`` is one of :data:`REASONS`, the detail says it to people."""

    code, http_status, rtsp_status = "export-failed", 500, 500


REASONS = (
    "no-space",
    "not-written",
    "too-large",
    "too-many-files",
    "codec-not-copied",
    "not-decodable",
    "copy-differs",
    "not-signed",
    "camera-withdrawn",
    "not-removed",
)
"""The disk is nearly full, or refuses; the files would be larger, or more, than they may; the codec has no copy; the
footage cannot be described to a decoder; what was written is not what was read; the manifest could not be signed;
the camera is in the referential no longer; files whose time is over could not be removed."""


class ExportOver(Ending):
    """All that was asked for has been read: the slot is free."""

    code = "export-over"
