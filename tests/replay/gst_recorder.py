"""A recorder made of GStreamer's ONVIF replay server, run by the system's Python: ``gst_recorder.py CLIP START``.

It plays one MP4/MOV of H.264 as if it had been recorded from ``START`` (Unix seconds) on. It says on one line at which
two ports, the first of which knows ONVIF's feature tag, and leaves when its standard input is closed.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  (its version is chosen first)

NTP_TO_UNIX_S = 2_208_988_800
PIPELINE = (
    "filesrc location={clip} ! qtdemux ! h264parse ! identity name=gate ! queue ! "
    "rtph264pay pt=96 config-interval=-1 ! "
    "rtponviftimestamp name=pay0 ntp-offset={start} set-e-bit=true set-t-bit=true drop-out-of-segment=false"
)


class Factory(GstRtspServer.RTSPOnvifMediaFactory):
    """Seeks come as nanoseconds since 1900 (``Range: clock=``); the clip knows those since its beginning."""

    def __init__(self, clip: str, start_ns: int) -> None:
        super().__init__()
        self._clip = clip
        self._start_ns = start_ns

    def do_create_element(self, _url: object) -> Gst.Element:
        description = PIPELINE.format(clip=self._clip, start=self._start_ns)
        made = Gst.parse_bin_from_description(description, False)
        made.get_by_name("pay0").set_clock(Gst.SystemClock.obtain())
        gate = made.get_by_name("gate").get_static_pad("src")
        gate.add_probe(Gst.PadProbeType.EVENT_UPSTREAM, self._seek)
        return made

    def _seek(self, pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        event = info.get_event()
        if event.type != Gst.EventType.SEEK:
            return Gst.PadProbeReturn.OK
        rate, form, flags, first_kind, first, last_kind, last = event.parse_seek()
        if max(first, last if last != Gst.CLOCK_TIME_NONE else 0) < self._start_ns:
            return Gst.PadProbeReturn.OK
        first = first - self._start_ns if first not in (-1, 0) else first
        last = last - self._start_ns if last not in (-1, 0) else last
        translated = Gst.Event.new_seek(rate, form, flags, first_kind, max(0, first), last_kind, last)
        translated.set_seqnum(event.get_seqnum())
        pad.get_parent_element().get_static_pad("sink").push_event(translated)
        return Gst.PadProbeReturn.DROP


def serve(server: GstRtspServer.RTSPServer, clip: str, start_s: int, *, knows_replay: bool) -> None:
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = Factory(clip, (start_s + NTP_TO_UNIX_S) * Gst.SECOND)
    factory.set_media_gtype(GstRtspServer.RTSPOnvifMedia)
    factory.set_replay_support(knows_replay)
    server.get_mount_points().add_factory("/recording", factory)
    server.attach(None)


def main() -> None:
    Gst.init(None)
    clip, start_s = sys.argv[1], int(sys.argv[2])
    onvif, plain = GstRtspServer.RTSPOnvifServer(), GstRtspServer.RTSPServer()
    serve(onvif, clip, start_s, knows_replay=True)
    serve(plain, clip, start_s, knows_replay=False)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin.fileno(), GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    print(onvif.get_bound_port(), plain.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
