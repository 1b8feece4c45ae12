"""As a client of many makers' cameras: where each wants SETUP and PLAY to go, and that it plays (T9, rows 13, 42)."""

from __future__ import annotations

import pytest

from halfgateway.protocol.uri import RtspUri
from halfgateway.simulator.packets import Clip
from halfgateway.upstream.client import Target
from tests.relay.packets import rtp, sender_report
from tests.upstream.conftest import OpenLine
from tests.upstream.line import eventually
from tests.upstream.transcript_camera import playing

HIKVISION_QUERY = "?transportmode=unicast&profile=Profile_1"
DAHUA = "/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif"


@pytest.mark.parametrize(
    ("name", "asked", "track", "whole"),
    [
        (
            "dialect-hikvision.rtsp",
            "/Streaming/Channels/101" + HIKVISION_QUERY,
            "/Streaming/Channels/101/trackID=1" + HIKVISION_QUERY,
            "/Streaming/Channels/101/" + HIKVISION_QUERY,
        ),
        ("dialect-dahua.rtsp", DAHUA, DAHUA + "/trackID=0", DAHUA + "/"),
        (
            "dialect-axis.rtsp",
            "/axis-media/media.amp",
            "/axis-media/media.amp/stream=0?Axis-Orig-Sw=true",
            "/axis-media/media.amp?Axis-Orig-Sw=true",
        ),
        ("dialect-bosch.rtsp", "/?inst=2&h26x=4", "/?inst=2&h26x=4&stream=video", "/?inst=2&h26x=4"),
        ("dialect-hanwha.rtsp", "/profile2/media.smp", "/profile2/media.smp/trackID=v", "/profile2/media.smp"),
        ("dialect-h264dvr.rtsp", "/camera", "/camera/trackID=3", "/camera"),
        ("dialect-go2rtc.rtsp", "/camera1", "/camera1/trackID=0", "/camera1"),
        ("dialect-mediamtx.rtsp", "/mystream", "/mystream/trackID=0", "/mystream/"),
        ("dialect-tplink.rtsp", "/stream1", "/stream1/track1", "/stream1/"),
        ("dialect-sv3c.rtsp", "/stream0", "/stream0/track1", "/stream0/"),
        ("dialect-icamra.rtsp", "/stream1", "/stream1/track1", "/stream1/"),
        ("dialect-dlink.rtsp", "/onvif/profile.0", "/onvif/profile.0/track1", "/onvif/profile.0/"),
        ("dialect-vcp.rtsp", "/media/video1", "/media/video1/video", "/media/video1"),
        ("dialect-verint.rtsp", "/media/1/video/1", "/media/1/video/1", "/"),
    ],
)
async def test_a_camera_is_asked_where_it_said_at_the_address_we_were_given(
    open_line: OpenLine, small_clip: Clip, name: str, asked: str, track: str, whole: str
) -> None:
    # T9: fourteen dialects of base, control, query and Transport
    async with playing(name, small_clip) as camera:
        address = f"rtsp://127.0.0.1:{camera.port}"
        line = open_line(Target(address + asked, "gateway", "secret"))
        watcher = await line.watch()
        await watcher.packets(5)
        camera.send((2, rtp(1, 1, b"sound", ssrc=0xA0D10)), (3, sender_report(0xA0D10, 1)))
        await watcher.packets(5)
        await line.leave(watcher)
        await line.hub.close()
        await eventually(lambda: "TEARDOWN" in camera.methods())
        urls = {request.method: request.uri for request in camera.asked}
        assert urls["DESCRIBE"] == address + asked
        assert urls["SETUP"] == address + track
        assert urls["PLAY"] == urls["TEARDOWN"] == address + whole
        assert camera.methods().count("SETUP") == 1, "video alone (L08)"
        assert camera.connections == 1
        assert len(watcher.sources) == 1
        assert watcher.sequence_steps == {1}


async def test_what_a_camera_calls_itself_is_never_dialled(open_line: OpenLine) -> None:
    # quirk onvif-address-elsewhere
    async with playing("dialect-hikvision.rtsp") as camera:
        line = open_line(Target(camera.url))
        await (await line.watch()).packets(3)
        hosts = {RtspUri.parse(request.uri).host for request in camera.asked}
        assert hosts == {"127.0.0.1"}
