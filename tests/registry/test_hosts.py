"""The allow-list: nothing outside it is ever connected to, whatever a device announces."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_registry.errors import ForbiddenHost, Malformed, RegistryError
from camera_registry.hosts import MAX_URL_CHARACTERS, AllowedHosts, reachable_url

ALLOWED = AllowedHosts(["10.78.0.0/16", "192.0.2.7", "nvr.syn.example", "2001:db8::/32", "[2001:db9::1]"])
ENDPOINT = "http://10.78.1.20:8080/onvif/device_service"
RTSP = ("rtsp", "rtsps")


def announced(url: str, *, endpoint: str = ENDPOINT) -> str:
    return reachable_url(url, endpoint=endpoint, allowed=ALLOWED, schemes=RTSP)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("10.78.255.255", True),
        ("10.79.0.1", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("NVR.syn.example", True),
        ("nvr.syn.example.evil.example", False),
        ("2001:db8::5", True),
        ("2001:db9::1", True),
        ("2001:db9::2", False),
        ("127.0.0.1", False),
        ("localhost", False),
        ("", False),
        ("0x0a4e0101", False),
        ("10.78.1", False),
    ],
)
def test_only_what_is_listed_is_allowed(host: str, allowed: bool) -> None:
    assert ALLOWED.allows(host) is allowed


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("rtsp://10.78.1.20:554/main", "rtsp://10.78.1.20:554/main"),
        ("rtsp://10.78.3.4/main", "rtsp://10.78.3.4/main"),
        ("rtsp://192.168.1.108:554/main", "rtsp://10.78.1.20:554/main"),
        ("rtsp://127.0.0.1/main", "rtsp://10.78.1.20/main"),
        ("rtsp://metadata.internal:80/x", "rtsp://10.78.1.20:80/x"),
        ("rtsp://admin:secret@10.78.1.20/main", "rtsp://10.78.1.20/main"),
        ("rtsp://a@b:p@ss@192.168.1.1:5554/m", "rtsp://10.78.1.20:5554/m"),
        ("rtsp://10.78.1.20/cam/real?channel=1&subtype=0", "rtsp://10.78.1.20/cam/real?channel=1&subtype=0"),
        ("rtsp://10.78.1.20/a%20b//c;x=1", "rtsp://10.78.1.20/a%20b//c;x=1"),
        (" rtsp://[2001:db8::9]:8554/m\n", "rtsp://[2001:db8::9]:8554/m"),
        ("rtsp://[fe80::1]:8554/m", "rtsp://10.78.1.20:8554/m"),
        ("rtsp://0.0.0.0:554/m#fragment", "rtsp://10.78.1.20:554/m"),
    ],
)
def test_an_announced_address_is_made_usable(url: str, usable: str) -> None:
    assert announced(url) == usable


def test_an_ipv6_endpoint_keeps_its_brackets() -> None:
    assert announced("rtsp://192.168.1.1:554/m", endpoint="http://[2001:db8::1]/x") == "rtsp://[2001:db8::1]:554/m"


@pytest.mark.parametrize(
    "url", ["", "main", "http://10.78.1.20/", "file:///etc/passwd", "rtsp:///main", "rtsp://h:99999/", "rtsp://[::1/"]
)
def test_what_is_no_stream_address_is_malformed(url: str) -> None:
    with pytest.raises(Malformed):
        announced(url)


def test_an_endless_address_is_malformed() -> None:
    with pytest.raises(Malformed, match="too long"):
        announced("rtsp://10.78.1.20/" + "a" * MAX_URL_CHARACTERS)


def test_an_endpoint_outside_the_list_is_refused() -> None:
    with pytest.raises(ForbiddenHost):
        announced("rtsp://10.78.1.20/main", endpoint="http://198.51.100.1/onvif")
    with pytest.raises(ForbiddenHost):
        ALLOWED.require("http://198.51.100.1/onvif")
    with pytest.raises(Malformed):
        ALLOWED.require("http:///onvif")


@given(st.one_of(st.text(max_size=60), st.text(max_size=60).map("rtsp://".__add__)))
def test_whatever_is_announced_ends_within_the_list_or_is_refused(url: str) -> None:
    try:
        usable = announced(url)
    except RegistryError:
        return
    parts = urlsplit(usable)
    assert parts.hostname is not None
    assert ALLOWED.allows(parts.hostname)
    assert "@" not in parts.netloc
