"""Session descriptions: read as cameras write them, rewritten without a trace of the inside (rows 50, 51)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol import sdp
from halfgateway.protocol.codec import Codec, codec_of
from halfgateway.protocol.connection import Role
from halfgateway.protocol.messages import Response
from halfgateway.protocol.reader_sdp import MAX_PARAMETER_SET_BYTES, describe_for_reader
from halfgateway.protocol.sdp import RtpMap, first_video, parse
from tests.protocol.feeding import corpus, hear

CAMERAS = corpus(".sdp")


def rewritten(text: bytes | str) -> str:
    return describe_for_reader(parse(text), control="trackID=0", session_id=41, name="Pont Neuf").decode()


def with_fmtp(codec: str, parameters: str) -> str:
    """The parameters that are left of these after rewriting."""
    lines = rewritten(f"v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 {codec}/90000\na=fmtp:96 {parameters}\n").split("\r\n")
    return next((line.removeprefix("a=fmtp:96 ") for line in lines if line.startswith("a=fmtp")), "")


def test_a_hikvision_like_camera() -> None:
    description = parse(CAMERAS["camera-hikvision-like.sdp"])
    assert description.name == "Media Presentation"
    assert description.control == "rtsp://192.168.1.64:554/Streaming/Channels/101/"
    assert description.bandwidth == ("AS:5050",)
    assert [media.kind for media in description.media] == ["video", "audio"]
    video = first_video(description)
    assert (video.codec, video.payload_types, video.direction) == (Codec.H264, (96,), "recvonly")
    assert video.rtpmap[96] == RtpMap("H264", 90_000)
    assert video.fmtp[96].startswith("profile-level-id=420029; packetization-mode=1; sprop")
    assert video.control == "rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=1"
    assert video.attribute("x-dimensions") == "1920,1080"
    assert video.attribute("x-onvif-track") is None


def test_a_dahua_like_camera() -> None:
    description = parse(CAMERAS["camera-dahua-like.sdp"])
    assert description.range == "npt=now-"
    assert [media.direction for media in description.media] == ["recvonly", "recvonly", "sendonly", "recvonly"]
    assert first_video(description).codec is Codec.H265


def test_an_axis_like_camera_with_a_static_payload_type() -> None:
    video = first_video(parse(CAMERAS["camera-axis-like.sdp"]))
    assert (video.codec, video.rtpmap[26]) == (Codec.JPEG, RtpMap("JPEG", 90_000))


def test_a_careless_camera() -> None:
    description = parse(CAMERAS["camera-careless.sdp"])
    assert [media.kind for media in description.media] == ["video", "metadata"]
    video = first_video(description)
    assert (video.port, video.payload_types, video.control) == (0, (35, 96), "track1")
    assert video.rtpmap == {96: RtpMap("h264", 90_000)}
    assert rewritten(CAMERAS["camera-careless.sdp"]).split("\r\n")[7:] == [
        "m=video 0 RTP/AVP 96",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z00AKpY1QPAET8s3AQEBAg==,aO48gA==;profile-level-id=4d002a",
        "a=control:trackID=0",
        "",
    ]


def test_back_channels_are_passed_over() -> None:  # L08
    two = "v=0\nm=video 0 RTP/AVP 96\na=sendonly\nm=video 0 RTP/AVP 97\na=control:second\n"
    assert first_video(parse(two)).control == "second"
    # A camera whose only video says sendonly means its own side.
    assert first_video(parse("v=0\nm=video 0 RTP/AVP 96\na=sendonly\na=control:only\n")).control == "only"


@pytest.mark.parametrize("text", ["v=0\n", "v=0\nm=audio 0 RTP/AVP 0\n", "v=0\nm=video 0 RTP/AVP\n"])
def test_no_video_is_a_declared_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        first_video(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\r\n\r\n",
        "<html></html>",
        "V=0",
        "v=0\n" * (sdp.MAX_SDP_LINES + 1),
        "m=video 0 RTP/AVP 96\n" * (sdp.MAX_SDP_MEDIA + 1),
        "s=" + "x" * sdp.MAX_SDP_BYTES,
        b"s=" + b"x" * sdp.MAX_SDP_BYTES,
    ],
)
def test_what_is_no_description_or_too_large_is_refused(text: str | bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(text)


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("H264", Codec.H264), ("hevc", Codec.H265), ("Jpeg", Codec.JPEG), ("other", Codec.OTHER), ("VP8", Codec.OTHER)],
)
def test_codecs_have_one_name(encoding: str, codec: Codec) -> None:
    assert codec_of(encoding) is codec


def test_the_whole_description_for_a_reader() -> None:
    assert rewritten(CAMERAS["camera-hikvision-like.sdp"]).split("\r\n") == [
        "v=0",
        "o=- 41 1 IN IP4 0.0.0.0",
        "s=Pont Neuf",
        "c=IN IP4 0.0.0.0",
        "b=AS:5050",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        "m=video 0 RTP/AVP 96",
        "b=AS:5000",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 profile-level-id=420029;packetization-mode=1;"
        "sprop-parameter-sets=Z0IAKeKQDwBE/LcBAQGkHiRFQAAAAwBAAAAMow==,aM48gA==",
        "a=control:trackID=0",
        "",
    ]


@pytest.mark.parametrize("name", CAMERAS)
def test_nothing_of_the_inside_reaches_a_reader(name: str) -> None:  # C16, L08
    shown = rewritten(CAMERAS[name])
    for secret in ("192.168", "10.20", "Media", "GStreamer", "rtsp", "audio", "application", "metadata", "onvif"):
        assert secret not in shown
    assert shown.count("m=") == shown.count("m=video") == 1


def test_the_real_descriptions_keep_what_a_decoder_needs() -> None:
    for name, codec in (("h264", "H264"), ("h265", "H265")):
        answers = hear([corpus(".bin")[f"gst-rtsp-server-1.22-{name}.bin"]], Role.CLIENT).items
        (body,) = [item.body for item in answers if isinstance(item, Response) and item.body]
        theirs = first_video(parse(body))
        ours = first_video(parse(rewritten(body)))
        assert sorted(ours.fmtp[96].split(";")) == sorted(theirs.fmtp[96].split(";"))
        assert ours.rtpmap[96].encoding == codec


@pytest.mark.parametrize(
    ("codec", "given_parameters", "kept"),
    [
        ("H264", "packetization-mode=1;x=10.0.0.1;profile-level-id=rtsp://10.0.0.1", "packetization-mode=1"),
        ("H264", "Packetization-Mode = 1 ; profile-level-id=42E01F", "packetization-mode=1;profile-level-id=42E01F"),
        ("H264", "packetization-mode=10.0.0.1;;=;sprop-parameter-sets=", ""),
        ("H264", "profile-level-id=42e01f;sprop-parameter-sets=Z00AKpY1QA==,aO48gA==", "profile-level-id=4d002a;"
         "sprop-parameter-sets=Z00AKpY1QA==,aO48gA=="),
        ("H264", "sprop-parameter-sets=MTAuMC4wLjE=,Z00AKpY1QA==,aO48gA==",
         "sprop-parameter-sets=Z00AKpY1QA==,aO48gA==;profile-level-id=4d002a"),
        ("H264", "sprop-parameter-sets=Z00AKpY1QA==,", "profile-level-id=4d002a"),
        ("H264", "sprop-parameter-sets=aO48gA==", ""),
        ("H264", "sprop-parameter-sets=10.0.0.1,%%%", ""),
        ("H265", "sprop-vps=QAEMAf//;sprop-sps=aO48gA==;sprop-sei=TgEF;tier-flag=0;level-id=93;profile-id=1",
         "sprop-vps=QAEMAf//;tier-flag=0;level-id=93;profile-id=1"),
        ("H265", "interop-constraints=B00000000000;sprop-max-don-diff=10.0.0.1", "interop-constraints=B00000000000"),
        ("AV1", "profile=2;level-idx=8;tier=1;host=cam", "profile=2;level-idx=8;tier=1"),
        ("MP4V-ES", "profile-level-id=1;config=000001B001;note=secret", "profile-level-id=1;config=000001B001"),
        ("VP9", "profile-id=0;max-fs=10.0.0.1", ""),
    ],
)  # fmt: skip
def test_format_parameters_pass_by_their_shape_alone(codec: str, given_parameters: str, kept: str) -> None:  # C16
    # row 50
    assert with_fmtp(codec, given_parameters) == kept


def test_a_parameter_set_beyond_the_bound_is_left_out() -> None:
    large = base64.b64encode(b"\x67" + bytes(MAX_PARAMETER_SET_BYTES)).decode()
    assert with_fmtp("H264", f"sprop-parameter-sets={large}") == ""


def test_rates_sizes_and_bandwidths_pass_by_their_shape_alone() -> None:
    shown = rewritten(
        "v=0\nb=AS:10.0.0.1\nb=TIAS:5000000\nb=X-secret:1\nm=video 0 RTP/AVP 26 97 98\nb=AS:4000\n"
        "a=rtpmap:97 secret/90000\na=rtpmap:98 H264/90000\na=framerate:12.5\na=framesize:26 640-480\n"
    )
    for line in (
        "b=TIAS:5000000",
        "b=AS:4000",
        "m=video 0 RTP/AVP 26 98",
        "a=framerate:12.5",
        "a=framesize:26 640-480",
    ):
        assert f"\r\n{line}\r\n" in shown
    assert "a=rtpmap:26 JPEG/90000\r\na=rtpmap:98 H264/90000" in shown
    assert "secret" not in shown
    other = rewritten("m=video 0 RTP/AVP 26\na=framerate:10.0.0.1\na=framesize:96 640-480\n")
    assert "framerate" not in other
    assert "framesize" not in other


def test_who_comes_over_ipv6_is_told_an_address_of_that_kind() -> None:
    # row 41
    video = parse("m=video 0 RTP/AVP 26\n")
    text = describe_for_reader(video, control="trackID=0", session_id=1, name="x", over_ipv6=True).decode()
    assert "\r\nc=IN IP6 ::\r\n" in text
    assert "IP4" not in text


def test_video_of_no_known_codec_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        rewritten("v=0\nm=video 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000\n")


def test_a_recording_says_its_span() -> None:
    span = "clock=20261110T101500Z-20261120T101500Z"
    text = describe_for_reader(parse("m=video 0 RTP/AVP 26\n"), control="trackID=0", session_id=1, name="x", span=span)
    assert f"a=range:{span}\r\n".encode() in text


@pytest.mark.parametrize(
    ("control", "name", "span"),
    [
        ("trackID=0\r\na=x", "x", "npt=now-"),
        ("", "x", "npt=now-"),
        ("trackID=0", "x\r\na=x", "npt=now-"),
        ("trackID=0", "", "npt=now-"),
        ("trackID=0", "x", "npt=now-\r\na=x"),
        ("trackID=0", "x", "smpte=0-"),
    ],
)
def test_our_own_values_cannot_add_a_line(control: str, name: str, span: str) -> None:
    with pytest.raises(LocalProtocolError):
        describe_for_reader(parse("m=video 0 RTP/AVP 26\n"), control=control, session_id=1, name=name, span=span)


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["v=0", "m=video 0 RTP/AVP 96 26", "m=audio 0 RTP/AVP 0", "a=rtpmap:96 H264/90000", "a=control:x"]
        ),
        st.text(max_size=40).map("a=fmtp:96 {}".format),
        st.text(max_size=40).map("a=rtpmap:96 {}".format),
        st.text(max_size=20).map("a={}".format),
        st.text(max_size=20),
    ),
    max_size=20,
)


@given(LINES, st.sampled_from(["\r\n", "\n", "\r"]))
def test_any_lines_are_a_description_or_a_declared_error(lines: list[str], line_end: str) -> None:
    try:
        shown = rewritten(line_end.join(lines))
    except RemoteProtocolError:
        return
    assert shown.isascii()
    assert parse(shown).media[0].rtpmap
    assert rewritten(shown) == shown


@given(st.binary(max_size=300))
def test_any_bytes_are_a_description_or_a_declared_error(data: bytes) -> None:
    for text in (data, b"v=0\nm=video 0 RTP/AVP 96\na=fmtp:96 " + data):
        try:
            rewritten(text)
        except RemoteProtocolError:
            continue
