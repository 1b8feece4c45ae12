"""What PLAY says of recordings, and what a picture says of itself (ONVIF Streaming 6.3, 6.5; rows 54, 57)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.replay import FrameKind, Frames, PlayOptions, play_options
from halfgateway.protocol.replay_header import HEADER_BYTES, ReplayHeader, read_replay_header, with_replay_header
from halfgateway.protocol.rtp import RtpView

PLAIN = bytes.fromhex("80e00001 0000000a 00000007") + b"picture"
OF_JPEG = bytes.fromhex("90e00001 0000000a 00000007 ffd80001 11223344") + b"picture"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 130 * 365 * 86_400 * 10**6).map(lambda us: EPOCH + timedelta(microseconds=us))
SCALES = st.sampled_from([1.0, 2.0, 0.5, -1.0, 16.0])
FRAMES = st.one_of(
    st.sampled_from([Frames(), Frames(FrameKind.PREDICTED)]),
    st.builds(Frames, st.just(FrameKind.INTRA), st.integers(0, 10**6)),
)


@given(st.builds(PlayOptions, SCALES, st.booleans(), FRAMES, st.booleans()))
def test_what_is_asked_is_what_is_read(options: PlayOptions) -> None:
    assert play_options(Headers(options.headers().items())) == options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("Scale", value) for value in ("", "fast", "0", "-0.0", "1e3", "inf", "nan", "10000")),
        *(("Frames", value) for value in ("", "some", "all/4", "intra/", "intra/-1", "predicted/4000")),
        ("Rate-Control", "maybe"),
        ("Immediate", ""),
    ],
)
def test_anything_else_is_refused(name: str, value: str) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        play_options(Headers([(name, value)]))
    assert refused.value.status == 400


@given(
    st.builds(ReplayHeader, INSTANTS, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 255))
)
def test_a_header_is_read_as_it_was_written(header: ReplayHeader) -> None:
    # rows 54, 57; NTP's second era begins in 2036
    packet = with_replay_header(PLAIN, header)
    assert len(packet) == len(PLAIN) + HEADER_BYTES
    assert read_replay_header(packet) == header
    assert bytes(RtpView(packet).payload) == b"picture"
    moved = ReplayHeader(header.at + timedelta(seconds=1), last=True)
    again = with_replay_header(packet, moved)
    assert read_replay_header(again) == moved
    assert len(again) == len(packet)


def test_the_header_is_that_of_the_specification() -> None:
    # ONVIF Streaming 6.3: 0xABAC, three words, NTP, C E D T in the high bits, CSeq
    at = datetime(2009, 6, 15, 11, 49, 0, 500_000, tzinfo=UTC)
    packed = ReplayHeader(at, clean=True, discontinuous=True, cseq=0x112).pack()
    assert packed.hex(" ", 4) == "abac0003 cde0b3ac 80000001 a0120000"


def test_another_extension_is_left_alone() -> None:
    assert read_replay_header(OF_JPEG) is None
    assert with_replay_header(OF_JPEG, ReplayHeader(datetime(2026, 1, 1, tzinfo=UTC))) == OF_JPEG


@given(st.binary(max_size=64))
def test_no_bytes_are_too_strange(packet: bytes) -> None:
    read_replay_header(packet)
