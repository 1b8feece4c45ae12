"""The peer: gst-rtsp-server as a proxy, run by the system's Python: ``gst_proxy.py USER PASSWORD URL...``.

One shared factory for each camera, on ``/0``, ``/1`` and so on; says ``{"port": …}`` and leaves when its standard
input is closed.
"""

from __future__ import annotations

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  (its version is chosen first)

LAUNCH = (
    "( rtspsrc location={url} user-id={user} user-pw={password} latency=0 protocols=tcp "
    "! rtph264depay ! rtph264pay name=pay0 pt=96 )"
)


def main() -> None:
    Gst.init(None)
    user, password, *urls = sys.argv[1:]
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    for number, url in enumerate(urls):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(LAUNCH.format(url=url, user=user, password=password))
        factory.set_shared(True)
        server.get_mount_points().add_factory(f"/{number}", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin.fileno(), GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    print(json.dumps({"port": server.get_bound_port()}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
