"""GStreamer as ``gst-launch-1.0`` runs it, with a client certificate, which that command cannot show.

Run by the system's Python: ``gst_tls_player.py CERTIFICATE KEY AUTHORITY PIPELINE...``, all files in PEM;
the source is named ``camera``.
"""

from __future__ import annotations

import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gio, Gst  # noqa: E402 - the version is asked for before


class Card(Gio.TlsInteraction):  # type: ignore[misc] # gi has no types
    """Shows the certificate whenever the server asks for one."""

    def __init__(self, certificate: Any) -> None:
        super().__init__()
        self._certificate = certificate

    def do_request_certificate(self, connection: Any, flags: Any, cancellable: Any) -> Any:
        connection.set_certificate(self._certificate)
        return Gio.TlsInteractionResult.HANDLED


def main(certificate: str, key: str, authority: str, *pipeline: str) -> int:
    Gst.init(None)
    running = Gst.parse_launchv(pipeline)
    source = running.get_by_name("camera")
    source.set_property("tls-database", Gio.TlsFileDatabase.new(authority))
    source.set_property("tls-interaction", Card(Gio.TlsCertificate.new_from_files(certificate, key)))
    running.set_state(Gst.State.PLAYING)
    message = running.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    failed = message.type == Gst.MessageType.ERROR
    if failed:
        print(message.parse_error(), file=sys.stderr)
    running.set_state(Gst.State.NULL)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
