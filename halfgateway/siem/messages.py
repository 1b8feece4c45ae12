"""What goes over the wire, pure: syslog messages framed by their length, or JSON lines (RFC 5424, RFC 5425).

Both carry the same OCSF event as ASCII JSON, so that a message needs no byte order mark (RFC 5424 section 6.4).
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from auth.trace import Entry
from camera_registry.clock import rfc3339
from halfgateway.siem.ocsf import PRODUCT, Severity, event_of, severity_of

LOG_AUDIT = 13
"""The facility (RFC 5424 table 1)."""

_SYSLOG_SEVERITIES = {
    Severity.INFORMATIONAL: 6,
    Severity.LOW: 5,
    Severity.MEDIUM: 4,
    Severity.HIGH: 3,
    Severity.CRITICAL: 2,
}
_JSON = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


class Protocol(StrEnum):
    """How a collector wants its messages."""

    SYSLOG = "syslog"
    JSON_LINES = "json-lines"


class Writer:
    """Writes entries for a collector that takes messages of ``max_bytes`` at most."""

    def __init__(self, protocol: Protocol, *, max_bytes: int, product_version: str) -> None:
        self._protocol = protocol
        self._max_bytes = max_bytes
        self._product_version = product_version

    def write(self, entry: Entry) -> bytes:
        """Return an entry's bytes on the wire.

        An event that is too large goes without what is large in it, and says how many bytes that was: a collector
        would cut it anywhere. The whole of it is in the trace, under its ``metadata.uid``.
        """
        event = event_of(entry, product_version=self._product_version)
        message = self._message(entry, event)
        if len(message) > self._max_bytes:
            detail = event["unmapped"].pop("detail", None)
            event["unmapped"]["detail_omitted_bytes"] = len(_JSON.encode(detail))
            message = self._message(entry, event)
        if self._protocol is Protocol.JSON_LINES:
            return message + b"\n"
        return b"%d %b" % (len(message), message)

    def _message(self, entry: Entry, event: dict[str, Any]) -> bytes:
        text = _JSON.encode(event)
        if self._protocol is Protocol.SYSLOG:
            priority = LOG_AUDIT * 8 + _SYSLOG_SEVERITIES[severity_of(entry.kind)]
            about = f'[origin software="{PRODUCT}" swVersion="{self._product_version}"]'
            text = f"<{priority}>1 {rfc3339(entry.at)} {entry.node} {PRODUCT} - {entry.kind.value} {about} {text}"
        return text.encode("ascii")
