"""A camera made of GStreamer's own RTSP server, run by the system's Python: ``gst_camera.py CLIP USER PASSWORD``.

It plays an MP4/MOV of H.264, encoded anew in several ways, and says on one line where: ``{"digest": "host:port", …}``
with a name for each of ``SERVERS``. All serve all paths of ``PIPELINES``. It leaves when its standard input is closed.
"""

from __future__ import annotations

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402  (its version is chosen first)

ROLE = "viewer"
KEY_FRAME_EVERY = 15

SOURCE = "filesrc location={clip} ! qtdemux ! h264parse ! avdec_h264 ! videoconvert ! queue ! "
# One thread, hence one slice: rtph264pay would repeat the parameter sets between two, where ffmpeg sees a new picture.
X264 = f"x264enc threads=1 tune=zerolatency speed-preset=ultrafast key-int-max={KEY_FRAME_EVERY} bitrate=600 "
H264 = X264 + "! h264parse ! "
H265 = f"x265enc tune=zerolatency speed-preset=ultrafast key-int-max={KEY_FRAME_EVERY} bitrate=600 ! h265parse ! "
OUT_OF_BAND = "option-string=repeat-headers=0 ! video/x-h264,stream-format=avc ! rtph264pay name=pay0 config-interval=0"
IN_BAND = "rtph264pay pt=96 config-interval=-1 ! capssetter replace=true caps={caps}"
CAPS_WITHOUT_SETS = "application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96"

PIPELINES = {
    "/h264-pcma": SOURCE + H264 + "rtph264pay name=pay0 pt=96 config-interval=-1 "
    "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay1 pt=8",
    "/h265": SOURCE + H265 + "rtph265pay name=pay0 pt=96 config-interval=-1",
    "/mjpeg": SOURCE + "jpegenc quality=90 ! rtpjpegpay name=pay0 pt=26",
    "/sets-in-sdp": SOURCE + X264 + OUT_OF_BAND,
}
WITHOUT_SETS_IN_SDP = "/sets-in-band"

UDP = GstRtsp.RTSPLowerTrans.UDP
TCP = GstRtsp.RTSPLowerTrans.TCP
DIGEST, BASIC = GstRtsp.RTSPAuthMethod.DIGEST, GstRtsp.RTSPAuthMethod.BASIC
SERVERS = {
    "digest": ("127.0.0.1", DIGEST, TCP | UDP),
    "basic": ("127.0.0.1", BASIC, TCP | UDP),
    "udp": ("127.0.0.1", DIGEST, UDP),
    "ipv6": ("::1", DIGEST, TCP),
    "ipv6-udp": ("::1", DIGEST, UDP),
}
"""By name: address, how it wants to be logged in to, what it sends its media over."""


class InBandFactory(GstRtspServer.RTSPMediaFactory):
    """Describes H.264 without its parameter sets: a payloader behind which the caps are told anew."""

    def __init__(self, clip: str) -> None:
        super().__init__()
        self._clip = clip

    def do_create_element(self, _url: GstRtsp.RTSPUrl) -> Gst.Bin:
        launch = SOURCE + H264 + "capsfilter name=encoded caps=video/x-h264,stream-format=byte-stream"
        encoder = Gst.parse_bin_from_description(launch.format(clip=self._clip), False)
        encoder.add_pad(Gst.GhostPad.new("src", encoder.get_by_name("encoded").get_static_pad("src")))
        payloader = Gst.parse_bin_from_description(IN_BAND.format(caps=CAPS_WITHOUT_SETS), True)
        payloader.set_name("pay0")
        camera = Gst.Bin()
        camera.add(encoder)
        camera.add(payloader)
        encoder.link(payloader)
        return camera


def server(clip: str, user: str, password: str, name: str) -> GstRtspServer.RTSPServer:
    """One of ``SERVERS``, on a free loopback port."""
    address, method, protocols = SERVERS[name]
    served = GstRtspServer.RTSPServer()
    served.set_address(address)
    served.set_service("0")
    served.set_auth(auth(user, password, method))
    factories = {path: GstRtspServer.RTSPMediaFactory() for path in PIPELINES}
    for path, factory in factories.items():
        factory.set_launch(f"( {PIPELINES[path].format(clip=clip)} )")
    for path, factory in (*factories.items(), (WITHOUT_SETS_IN_SDP, InBandFactory(clip))):
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(ROLE, permission, True)
        factory.set_permissions(permissions)
        factory.set_protocols(protocols)
        served.get_mount_points().add_factory(path, factory)
    served.attach(None)
    return served


def auth(user: str, password: str, method: GstRtsp.RTSPAuthMethod) -> GstRtspServer.RTSPAuth:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    guard = GstRtspServer.RTSPAuth()
    guard.set_supported_methods(method)
    if method == GstRtsp.RTSPAuthMethod.BASIC:
        guard.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        guard.add_digest(user, password, token)
    return guard


def authority(served: GstRtspServer.RTSPServer) -> str:
    address = served.get_address()
    return f"[{address}]:{served.get_bound_port()}" if ":" in address else f"{address}:{served.get_bound_port()}"


def main() -> None:
    Gst.init(None)
    clip, user, password = sys.argv[1:]
    servers = {name: server(clip, user, password, name) for name in SERVERS}
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin.fileno(), GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    print(json.dumps({name: authority(served) for name, served in servers.items()}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
