"""RTSP URLs: the same resource in all its spellings, and never a credential (rows 41 to 43, 46; T9)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.uri import MAX_URI_BYTES, RtspUri, join, redacted, same_resource

PARSED = {
    "rtsp://192.0.2.1/live": ("rtsp", "192.0.2.1", 554, "/live", None),
    "RTSPS://Cam.Example:322/": ("rtsps", "cam.example", 322, "/", None),
    "rtsps://cam.example": ("rtsps", "cam.example", 322, "", None),
    "rtsp://cam:8554/a//b/?x=1&y=/z?w": ("rtsp", "cam", 8554, "/a//b/", "x=1&y=/z?w"),
    "rtsp://cam?x": ("rtsp", "cam", 554, "", "x"),
    "rtsp://cam:/p?": ("rtsp", "cam", 554, "/p", ""),
    "rtsp://[2001:db8::1]:8554/p": ("rtsp", "[2001:db8::1]", 8554, "/p", None),
    "rtsp://admin:p@ss:w@cam/p": ("rtsp", "cam", 554, "/p", None),
    "rtsp://cam/p q/é": ("rtsp", "cam", 554, "/p%20q/%C3%A9", None),
    "rtsp://cam/user=a_channel=1.sdp?real": ("rtsp", "cam", 554, "/user=a_channel=1.sdp", "real"),
}


@pytest.mark.parametrize("text", PARSED)
def test_a_url_is_taken_apart(text: str) -> None:
    uri = RtspUri.parse(text)
    assert (uri.scheme, uri.host, uri.port, uri.path, uri.query) == PARSED[text]
    assert RtspUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "/live",
        "http://cam/",
        "rtsp:/cam/",
        "rtsp:///live",
        "rtsp://a:b@/live",
        "rtsp://cam:0/",
        "rtsp://cam:70000/",
        "rtsp://cam:port/",
        "rtsp://[fe80::1%25eth0]/",
        "rtsp://[fe80::1%eth0]/",
        "rtsp://2001:db8::1/",
        "rtsp://[::1/",
        "rtsp://cam/\r\nX: y",
        "rtsp://cam/\x00",
        "rtsp://ca m/",
        "rtsp://cam/\ud800",
    ],
)
def test_what_is_no_rtsp_url_is_refused(text: str) -> None:
    # row 41
    with pytest.raises(RemoteProtocolError) as caught:
        RtspUri.parse(text)
    assert caught.value.status == 400


def test_a_long_url_is_414() -> None:
    base = "rtsp://cam/"
    assert RtspUri.parse(base + "x" * (MAX_URI_BYTES - len(base)))
    with pytest.raises(RemoteProtocolError) as caught:
        RtspUri.parse(base + "x" * (MAX_URI_BYTES - len(base) + 1))
    assert caught.value.status == 414


@pytest.mark.parametrize(
    "text",
    ["rtsp://admin:secret@cam/", "rtsp://admin:p%40s%20s%2f@cam/", "rtsp://admin:p@s:s@cam/", "rtsp://admin@cam/"],
)
def test_credentials_are_dropped_from_the_url(text: str) -> None:
    assert RtspUri.parse(text) == RtspUri.parse("rtsp://cam/")
    assert "secret" not in repr(RtspUri.parse(text))
    assert "@" not in str(RtspUri.parse(text))


def test_the_address_can_be_put_in_place_of_an_announced_one() -> None:
    uri = RtspUri.parse("rtsp://10.0.0.9/live?x=1")
    assert str(uri.at("192.0.2.1", 8554)) == "rtsp://192.0.2.1:8554/live?x=1"
    moved = uri.at("2001:db8::1", 554)
    assert (str(moved), moved.address) == ("rtsp://[2001:db8::1]:554/live?x=1", "2001:db8::1")
    assert uri.at("[::1]", 1).host == "[::1]"


@pytest.mark.parametrize(
    ("base", "control", "expected"),
    [
        ("rtsp://h/p/", "trackID=0", "rtsp://h/p/trackID=0"),
        ("rtsp://h/p", "trackID=0", "rtsp://h/p/trackID=0"),
        ("rtsp://h/p", "/trackID=0", "rtsp://h/p/trackID=0"),
        ("rtsp://h/p/", "/trackID=0", "rtsp://h/p/trackID=0"),
        ("rtsp://h", "stream=0", "rtsp://h/stream=0"),
        ("rtsp://h/p", "*", "rtsp://h/p"),
        ("rtsp://h/p", "", "rtsp://h/p"),
        ("rtsp://h/p", "?ctype=video", "rtsp://h/p?ctype=video"),
        ("rtsp://h/p?x=1", "trackID=0", "rtsp://h/p?x=1/trackID=0"),
        ("rtsp://h/p?x=1/", "trackID=0", "rtsp://h/p?x=1/trackID=0"),
        ("rtsp://h/p/", "rtsp://u:p@10.0.0.9:554/q/trackID=0", "rtsp://10.0.0.9:554/q/trackID=0"),
        ("rtsp://h/p/", "stream?url=rtsp://x/y", "rtsp://h/p/stream?url=rtsp://x/y"),
    ],
)
def test_controls_are_joined_as_clients_do(base: str, control: str, expected: str) -> None:
    assert str(join(RtspUri.parse(base), control)) == expected


def test_a_control_of_another_kind_is_refused() -> None:
    for control in ("http://h/p", "rtsp://h/\n", "x\r\ny"):
        with pytest.raises(RemoteProtocolError):
            join(RtspUri.parse("rtsp://h/p"), control)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://h/live/c/trackID=0", ("rtsp://h/live/c", "trackID=0")),
        ("rtsp://h/live/c/trackID=0/", ("rtsp://h/live/c", "trackID=0")),
        ("rtsp://h/live/c/streamid=1?x=1", ("rtsp://h/live/c?x=1", "streamid=1")),
        ("rtsp://h/live/c?x=1/trackID=0", ("rtsp://h/live/c?x=1", "trackID=0")),
        ("rtsp://h/live/c?x=1/stream=12/", ("rtsp://h/live/c?x=1", "stream=12")),
        ("rtsp://h/live/c/", ("rtsp://h/live/c/", None)),
        ("rtsp://h/live/c?x=/y", ("rtsp://h/live/c?x=/y", None)),
        ("rtsp://h/live/trackID=audio", ("rtsp://h/live/trackID=audio", None)),
        ("rtsp://h/live/track1", ("rtsp://h/live", "track1")),
        ("rtsp://h", ("rtsp://h", None)),
    ],
)
def test_the_track_is_found_before_or_after_the_query(text: str, expected: tuple[str, str | None]) -> None:
    presentation, track = RtspUri.parse(text).split_track()
    assert (str(presentation), track) == expected


SAME = [
    ("rtsp://h/live/c", "rtsp://h/live/c/"),
    ("rtsp://h:554/live/c", "rtsp://h/live/c"),
    ("rtsp://H/live/c", "rtsp://h/live/c"),
    ("rtsp://u:p@h/live/c", "rtsp://h/live/c"),
    ("rtsp://10.0.0.1/live/c", "rtsps://gw.example/live/c"),
    ("/live/c", "rtsp://h/live/c"),
    ("live/c", "rtsp://h/live/c/trackID=0"),
    ("rtsp://h/live/c%2D7", "rtsp://h/live/c-7"),
    ("rtsp://h/live/c/trackID=0?x=1", "rtsp://h/live/c?x=1/trackID=0"),
    ("rtsp://h/live/c?x=1/", "rtsp://h/live/c?x=1"),
    ("/live/c?x=1", "rtsp://h/live/c/trackID=0?x=1"),
    ("*", "*"),
]
DIFFERENT = [
    ("rtsp://h/live/c", "rtsp://h/live/d"),
    ("rtsp://h/live/c/trackID=0", "rtsp://h/live/c"),
    ("rtsp://h/live/c/trackID=0", "rtsp://h/live/c/trackID=1"),
    ("rtsp://h/live", "rtsp://h/live/c"),
    ("rtsp://h/live/c", "rtsp://h/live/c/high"),
    ("rtsp://h/live/a%2Fb", "rtsp://h/live/a/b"),
    ("rtsp://h/recorded/c?start=1", "rtsp://h/recorded/c?start=2"),
    ("rtsp://h/recorded/c", "rtsp://h/recorded/c?start=1"),
    ("*", "rtsp://h/live/c"),
    ("rtsp://h/live/c", "*"),
    ("", "rtsp://h/live/c"),
]


@pytest.mark.parametrize(("covered", "asked"), SAME)
def test_spellings_of_one_resource(covered: str, asked: str) -> None:
    # row 42
    assert same_resource(covered, asked)


@pytest.mark.parametrize(("covered", "asked"), DIFFERENT)
def test_different_resources(covered: str, asked: str) -> None:
    # row 42
    assert not same_resource(covered, asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://admin:secret@cam/live", "rtsp://***@cam/live"),
        ("rtsp://admin:sec@ret@cam/live", "rtsp://***@cam/live"),
        ("rtsp://admin:sec/ret@cam/live", "rtsp://***@cam/live"),
        ("opening 'rtsp://a:secret@cam/x' and http://b:secret@h/", "opening 'rtsp://***@cam/x' and http://***@h/"),
        ("rtsp://cam/cgi?user=admin&password=secret&channel=1", "rtsp://cam/cgi?user=***&password=***&channel=1"),
        ("rtsp://cam/user=admin_password=secret_channel=1", "rtsp://cam/user=***"),
        ("someone@example.org wrote", "someone@example.org wrote"),
        ("rtsp://cam/live", "rtsp://cam/live"),
    ],
)
def test_no_credential_is_shown(text: str, expected: str) -> None:  # C16
    assert redacted(text) == expected


word = st.text(string.ascii_letters + string.digits + "-_.~@:%/", min_size=1, max_size=12)


@given(word, word, st.text(max_size=20))
def test_a_password_never_survives_redaction(user: str, password: str, around: str) -> None:
    # row 43
    secret = f"SECRET{password}SECRET"
    assert "SECRET" not in redacted(f"{around} rtsp://{user}:{secret}@cam/live {around}").replace(around, "")


@given(st.text(max_size=200))
def test_any_text_is_a_url_or_a_declared_error(text: str) -> None:
    for candidate in (text, f"rtsp://{text}", f"rtsp://cam/{text}"):
        redacted(candidate)
        same_resource(candidate, "rtsp://cam/live")
        try:
            uri = RtspUri.parse(candidate)
            join(uri, text)
        except RemoteProtocolError:
            continue
        assert str(uri).isascii()


@pytest.mark.parametrize(
    ("announced", "resource"),
    [
        ("rtsp://10.255.34.131:554/axis-media/media.amp/", "/axis-media/media.amp/"),
        ("rtsp://10.0.0.1/media.amp/stream=0?Axis-Orig-Sw=true", "/media.amp/stream=0?Axis-Orig-Sw=true"),
        ("rtsp://rtsp://turret2-cam.lan:554/stream1/", "/stream1/"),
        ("rtsp://::ffff:192.168.1.63/onvif/profile.0/", "/onvif/profile.0/"),
        ("rtsp://admin:secret@192.168.1.4:554/h264/", "/h264/"),
        ("192.168.1.10:554/stream0/", "/stream0/"),
        ("192.168.1.205/h264_stream/", "/h264_stream/"),
        ("camera:554/stream0", "/stream0"),
        (" /stream0/ ", "/stream0/"),
        ("?channel=1", "?channel=1"),
        ("RTSP://cam", ""),
    ],
)
def test_what_a_device_announces_is_looked_for_where_the_device_is(announced: str, resource: str) -> None:
    # row 13, T9
    assert str(RtspUri.parse("rtsp://[2001:db8::7]:8554/asked?x=1").here(announced)) == (
        f"rtsp://[2001:db8::7]:8554{resource}"
    )


@pytest.mark.parametrize("announced", ["http://elsewhere/x", "stream0/", "live.sdp", "rtsp://h/a\r\nX: y"])
def test_what_is_no_resource_is_not_looked_for(announced: str) -> None:
    with pytest.raises(RemoteProtocolError):
        RtspUri.parse("rtsp://cam/asked").here(announced)
