"""Transport, Session, Range and RTP-Info: one table of cases each, read and written (rows 14, 16, 32-35, 55)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol.ranges import (
    LIVE,
    NOW,
    ClockRange,
    NptRange,
    Range,
    clock_text,
    parse_instant,
    parse_range,
)
from halfgateway.protocol.rtp_info import StreamInfo, parse_rtp_info, rtp_info
from halfgateway.protocol.session import MAX_SESSION_ID_CHARACTERS, Session
from halfgateway.protocol.transport import MAX_TRANSPORTS, Transport, parse_transports

TCP = Transport(lower="TCP", interleaved=(0, 1))
TRANSPORTS = {
    "RTP/AVP/TCP;unicast;interleaved=0-1": (TCP,),
    "RTP/AVP/TCP;interleaved=4": (Transport(lower="TCP", interleaved=(4, 5)),),
    "RTP/AVP/TCP": (Transport(lower="TCP"),),
    "RTP/AVP/TCP;unicast;interleaved=0-256": (Transport(lower="TCP"),),
    "RTP/AVP/TCP;unicast;interleaved=x": (Transport(lower="TCP"),),
    "rtp/avp/tcp;UNICAST;Interleaved=0-1;append;x=y": (TCP,),
    'RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=F1D46AE3;mode="PLAY"': (
        Transport(lower="TCP", interleaved=(0, 1), ssrc=0xF1D46AE3),
    ),
    "RTP/AVP;unicast;client_port=4588-4589;ssrc=nonsense": (Transport(client_port=(4588, 4589)),),
    "RTP/AVP/UDP;unicast;client_port=4588-4589;server_port=6256-6257;source=192.0.2.1;mode=play": (
        Transport(client_port=(4588, 4589), server_port=(6256, 6257), source="192.0.2.1"),
    ),
    "RTP/AVP;multicast;destination=224.2.0.1;port=3456-3457;ttl=16": (
        Transport(multicast=True, destination="224.2.0.1"),
    ),
    "RTP/AVP;unicast;client_port=4588-70000": (Transport(),),
    "RTP/SAVP;unicast;client_port=8000-8001;mode=record": (
        Transport(profile="RTP/SAVP", client_port=(8000, 8001), mode="RECORD"),
    ),
    "RTP/AVP;unicast;client_port=1-2, RTP/AVP/TCP;unicast;interleaved=0-1,": (
        Transport(client_port=(1, 2)),
        TCP,
    ),
    "RAW/RAW/UDP;unicast;client_port=1-2": (),
    "RTP/AVP/SCTP;unicast": (),
    "x-real-rdt/tcp": (),
    "RTP": (),
}


@pytest.mark.parametrize("value", TRANSPORTS)
def test_transport_is_read(value: str) -> None:
    # row 32
    assert parse_transports(value) == TRANSPORTS[value]


@pytest.mark.parametrize("value", ["", "  ", ",", " ,, "])
def test_an_empty_transport_is_refused(value: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_transports(value)


def test_only_so_many_alternatives_are_looked_at() -> None:
    assert len(parse_transports(",".join(["RTP/AVP/TCP"] * 1000))) == MAX_TRANSPORTS


pairs = st.none() | st.tuples(st.integers(0, 65535), st.integers(0, 65535))


@given(
    st.builds(
        Transport,
        lower=st.sampled_from(["TCP", "UDP"]),
        multicast=st.booleans(),
        interleaved=st.none() | st.tuples(st.integers(0, 255), st.integers(0, 255)),
        client_port=pairs,
        server_port=pairs,
        destination=st.none() | st.just("[2001:db8::1]"),
        source=st.none() | st.just("192.0.2.7"),
        ssrc=st.none() | st.integers(0, 2**32 - 1),
        mode=st.sampled_from(["PLAY", "RECORD"]),
    )
)
def test_transport_is_read_back_as_it_was_written(transport: Transport) -> None:
    assert parse_transports(str(transport)) == (transport,)


@pytest.mark.parametrize("field", ["source", "destination", "mode"])
def test_a_transport_cannot_carry_another_parameter(field: str) -> None:
    given_value = "192.0.2.1;client_port=1-2\r\n"
    with pytest.raises(LocalProtocolError):
        str(Transport(**{field: given_value}))  # type: ignore[arg-type]  # the field is chosen by name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12345678", Session("12345678")),
        (" 47112344 ; timeout=60", Session("47112344", 60)),
        ('jU+1pVVsgyNe5Mal;TIMEOUT="30"', Session("jU+1pVVsgyNe5Mal", 30)),
        ("a;timeout=0", Session("a")),
        ("a;timeout=soon;x", Session("a")),
    ],
)
def test_session_is_read(value: str, expected: Session) -> None:
    assert Session.parse(value) == expected
    assert Session.parse(str(expected)) == expected


@pytest.mark.parametrize("value", ["", ";timeout=60", "a b", "é", "x" * (MAX_SESSION_ID_CHARACTERS + 1)])
def test_a_session_without_a_usable_id_is_refused(value: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Session.parse(value)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # mypy sees tzinfo in *parts


RANGES: dict[str, Range] = {
    "npt=now-": LIVE,
    "npt=0.000-": NptRange(0.0),
    "npt=10-15;time=19970123T143720Z": NptRange(10.0, 15.0),
    "npt=-20": NptRange(None, 20.0),
    "NPT = 1:02:03.5 - NOW": NptRange(3723.5, NOW),
    "clock=20261120T101500Z-": ClockRange(utc(2026, 11, 20, 10, 15)),
    "clock=20090615T114900.440Z-20090615T115000Z": ClockRange(
        utc(2009, 6, 15, 11, 49, 0, 440_000), utc(2009, 6, 15, 11, 50)
    ),
    "clock=20090615T114900.123456789Z-": ClockRange(utc(2009, 6, 15, 11, 49, 0, 123_456)),
    "clock=20261025T010000Z-20261025T003000Z": ClockRange(utc(2026, 10, 25, 1), utc(2026, 10, 25, 0, 30)),
    "clock=20161231T235960Z-": ClockRange(utc(2017, 1, 1)),
    "clock=20240229T000000z-": ClockRange(utc(2024, 2, 29)),
}


@pytest.mark.parametrize("value", RANGES)
def test_range_is_read(value: str) -> None:  # C03
    assert parse_range(value) == RANGES[value]
    assert parse_range(str(RANGES[value])) == RANGES[value]


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("", 400),
        ("npt", 400),
        ("npt=", 400),
        ("npt=-", 400),
        ("npt=abc-", 400),
        ("npt=1e3-", 400),
        ("npt=1:99:00-", 400),
        ("clock=-", 400),
        ("clock=-20261120T101500Z", 400),
        ("clock=20261120T101500-", 400),
        ("clock=20261320T101500Z-", 400),
        ("clock=20260229T101500Z-", 400),
        ("clock=20261120T101561Z-", 400),
        ("clock=99991231T235960Z-", 400),
        ("clock=00000101T000000Z-", 400),
        ("clock=2026112٠T101500Z-", 400),
        ("smpte=0:10:20-", 457),
        ("bytes=0-1", 457),
    ],
)
def test_a_wrong_range_is_told_apart_from_an_unknown_unit(value: str, status: int) -> None:
    # row 55
    with pytest.raises(RemoteProtocolError) as caught:
        parse_range(value)
    assert caught.value.status == status


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_read_back_as_it_was_written(instant: datetime) -> None:
    text = clock_text(instant)
    assert parse_instant(text) == instant
    assert clock_text(instant.replace(microsecond=0)).count(".") == 0


def test_an_instant_is_written_in_utc() -> None:
    paris = timezone(timedelta(hours=1))
    assert clock_text(datetime(2026, 11, 20, 11, 15, tzinfo=paris)) == "20261120T101500Z"


def test_now_has_a_name() -> None:
    assert repr(LIVE) == "NptRange(start_s=NOW, end_s=None)"


RTP_INFO = {
    "url=rtsp://h/live/stream=0;seq=14703;rtptime=1318739712, url=rtsp://h/live/stream=1;seq=5891;rtptime=4": (
        StreamInfo("rtsp://h/live/stream=0", 14703, 1318739712),
        StreamInfo("rtsp://h/live/stream=1", 5891, 4),
    ),
    'url="trackID=1";rtptime=9': (StreamInfo("trackID=1", None, 9),),
    "url=rtsp://h/p?a,b;c=d;seq=1": (StreamInfo("rtsp://h/p?a,b;c=d", 1),),
    "url=;seq=1": (StreamInfo("", 1),),
    "URL=x; Seq=70000; rtptime=99999999999": (StreamInfo("x"),),
    "url=x;seq=-5": (),
    "seq=1;rtptime=2": (),
    "": (),
}


@pytest.mark.parametrize("value", RTP_INFO)
def test_rtp_info_is_read_as_far_as_it_makes_sense(value: str) -> None:
    found = parse_rtp_info(value)
    assert found == RTP_INFO[value] or (not RTP_INFO[value] and all(s.sequence is None for s in found))


streams = st.builds(
    StreamInfo,
    st.text('abc:/=?.,"', max_size=20).map(lambda text: f"rtsp://h/{text}"),
    st.none() | st.integers(0, 0xFFFF),
    st.none() | st.integers(0, 0xFFFFFFFF),
)


@given(st.lists(streams, max_size=4))
def test_rtp_info_is_read_back_as_it_was_written(infos: list[StreamInfo]) -> None:
    quoted = [StreamInfo(i.url.replace(",", "%2C").replace('"', "%22"), i.sequence, i.rtp_timestamp) for i in infos]
    assert list(parse_rtp_info(rtp_info(infos))) == quoted


def test_rtp_info_wraps_its_numbers_and_takes_no_line_break() -> None:
    assert rtp_info([StreamInfo("rtsp://h/a", 0x1_0001, 0x1_0000_0002)]) == "url=rtsp://h/a;seq=1;rtptime=2"
    with pytest.raises(LocalProtocolError):
        rtp_info([StreamInfo("rtsp://h/\r\n")])
