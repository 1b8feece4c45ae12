"""Where a decoder can start, in the ways cameras send it (T10, T14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.connection import Role
from halfgateway.protocol.keyframe import KeyframeFinder, starts_keyframe
from halfgateway.protocol.rtp import RtpView
from tests.protocol.feeding import corpus, hear

# H.264: first_mb_in_slice 0 ("1"), then slice_type in Exp-Golomb.
SPS, PPS, AUD, SEI = b"\x67\x42\x00\x1f", b"\x68\xce\x3c\x80", b"\x09\x10", b"\x06\x05\x01\x00"
IDR = b"\x65\x88\x80\x00"  # slice_type 7, I
P = b"\x41\x9a\x80\x00"  # slice_type 5, P
INTRA = b"\x41\x88\x80\x00"  # slice_type 7 in a picture that is not IDR
SECOND_SLICE = b"\x65\x00\x88\x80"

HEVC = {name: bytes([kind << 1, 1, 0x80]) for name, kind in
        {"VPS": 32, "SPS": 33, "PPS": 34, "IDR": 19, "CRA": 21, "TRAIL": 1, "SEI": 39, "AUD": 35}.items()}  # fmt: skip


def stap_a(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


def stap_b(*units: bytes) -> bytes:
    return b"\x79\x00\x00" + stap_a(*units)[1:]


def fu_a(unit: bytes, *, start: bool, end: bool = False) -> bytes:
    return bytes([unit[0] & 0xE0 | 28, start << 7 | end << 6 | unit[0] & 0x1F]) + unit[1:]


def fu_b(unit: bytes) -> bytes:
    return bytes([unit[0] & 0xE0 | 29, 0x80 | unit[0] & 0x1F, 0, 0]) + unit[1:]


def ap(*units: bytes) -> bytes:
    return b"\x60\x01" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


def hevc_fu(unit: bytes, *, start: bool) -> bytes:
    return bytes([unit[0] & 0x81 | 49 << 1, unit[1], start << 7 | unit[0] >> 1 & 0x3F]) + unit[2:]


STARTS = [
    (Codec.H264, SPS, True),
    (Codec.H264, PPS, True),
    (Codec.H264, IDR, True),
    (Codec.H264, fu_a(IDR, start=True), True),
    (Codec.H264, fu_b(IDR), True),
    (Codec.H264, stap_a(SPS, PPS), True),
    (Codec.H264, stap_a(AUD, SEI, IDR), True),
    (Codec.H264, stap_b(SPS), True),
    (Codec.H264, fu_a(IDR, start=False), False),
    (Codec.H264, fu_a(P, start=True), False),
    (Codec.H264, P, False),
    (Codec.H264, INTRA, False),
    (Codec.H264, SEI, False),
    (Codec.H264, stap_a(AUD, P), False),
    (Codec.H264, stap_a(SPS)[:-1], False),
    (Codec.H264, b"\x78\x00\x00\x00\x00", False),
    (Codec.H264, b"\x67", False),
    (Codec.H264, b"", False),
    *[(Codec.H265, HEVC[name], True) for name in ("VPS", "SPS", "PPS", "IDR", "CRA")],
    (Codec.H265, HEVC["TRAIL"], False),
    (Codec.H265, HEVC["SEI"], False),
    (Codec.H265, hevc_fu(HEVC["IDR"], start=True), True),
    (Codec.H265, hevc_fu(HEVC["IDR"], start=False), False),
    (Codec.H265, hevc_fu(HEVC["TRAIL"], start=True), False),
    (Codec.H265, ap(HEVC["AUD"], HEVC["VPS"], HEVC["SPS"]), True),
    (Codec.H265, ap(HEVC["AUD"], HEVC["TRAIL"]), False),
    (Codec.H265, b"\x40\x01", False),
    (Codec.AV1, b"\x18\x0a", True),
    (Codec.AV1, b"\x10\x0a", False),
    (Codec.AV1, b"", False),
    (Codec.JPEG, bytes(8) + b"x", True),
    (Codec.JPEG, b"\x00\x00\x05\x00" + bytes(4), False),
    (Codec.JPEG, bytes(7), False),
    (Codec.MPEG4, b"\x00\x00\x01\xb0\x01", True),
    (Codec.MPEG4, b"\x00\x00\x01\x20\x01", True),
    (Codec.MPEG4, b"\x00\x00\x01\xb6\x10", True),
    (Codec.MPEG4, b"\x00\x00\x01\xb6\x50", False),
    (Codec.MPEG4, b"\x00\x00\x01\xe0\x50", False),
    (Codec.MPEG4, b"\x12\x34\x56\x78\x9a", False),
    (Codec.OTHER, b"anything", False),
]


@pytest.mark.parametrize(("codec", "payload", "expected"), STARTS)
def test_a_single_payload(codec: Codec, payload: bytes, expected: bool) -> None:
    assert starts_keyframe(codec, payload) is expected
    assert starts_keyframe(codec, memoryview(payload)) is expected


def reported(codec: Codec, packets: list[tuple[bytes, int, bool]]) -> list[int]:
    """The indexes of the packets that are reported, fed as parts of a larger buffer."""
    finder = KeyframeFinder(codec)
    return [
        index
        for index, (payload, timestamp, marker) in enumerate(packets)
        if finder.feed(b"xx" + payload + b"yy", timestamp, marker, start=2, end=2 + len(payload))
    ]


def test_parameter_sets_and_picture_in_packets_of_one_timestamp() -> None:
    gop = [(SPS, 0, False), (PPS, 0, False), (fu_a(IDR, start=True), 0, False), (fu_a(IDR, start=False), 0, True)]
    assert reported(Codec.H264, [*gop, (P, 1, True), (P, 2, True), *gop]) == [0, 6]


def test_the_access_unit_delimiter_and_sei_before_it_are_not_the_start() -> None:
    assert reported(Codec.H264, [(AUD, 0, False), (SEI, 0, False), (SPS, 0, False), (IDR, 0, True)]) == [2]


def test_parameter_sets_only_in_the_sdp() -> None:
    assert reported(Codec.H264, [(P, 0, True), (AUD, 1, False), (IDR, 1, True), (P, 2, True), (IDR, 3, True)]) == [2, 4]


def test_parameter_sets_with_a_timestamp_and_a_marker_of_their_own() -> None:
    gop = [(SPS, 0, True), (PPS, 0, True), (IDR, 1, True), (P, 2, True)]
    assert reported(Codec.H264, [*gop, (stap_a(SPS, PPS), 2, True), (IDR, 3, True)]) == [0, 4]


def test_several_slices_are_one_picture() -> None:
    gop = [(stap_a(SPS, PPS, IDR), 0, False), (SECOND_SLICE, 0, False), (PPS, 0, False), (SECOND_SLICE, 0, True)]
    assert reported(Codec.H264, [*gop, (IDR, 1, False), (SECOND_SLICE, 1, True)]) == [0, 4]
    assert reported(Codec.H264, [(stap_a(IDR, SECOND_SLICE, PPS), 0, True), (IDR, 1, True)]) == [0, 1]


def test_no_markers_at_all() -> None:
    assert reported(Codec.H264, [(IDR, 0, False), (IDR, 0, False), (P, 1, False), (IDR, 2, False)]) == [0, 3]


def test_an_intra_picture_with_parameter_sets_is_a_start() -> None:
    packets = [(SPS, 0, False), (INTRA, 0, True), (INTRA, 1, True), (P, 2, True)] * 20
    finder = KeyframeFinder(Codec.H264)
    seen = [(finder.feed(*packet), finder.false_start) for packet in packets]
    assert [index for index, (starts, _) in enumerate(seen) if starts] == list(range(0, 80, 4))
    assert not any(false for _, false in seen)


def test_parameter_sets_before_predicted_pictures_are_believed_no_more() -> None:
    gop = [(SPS, 0, False), (IDR, 0, True), (P, 1, True), (SPS, 2, False), (P, 2, True), (P, 3, True)]
    finder = KeyframeFinder(Codec.H264)
    false_starts = []
    last_gop = []
    for turn in range(12):
        for index, (payload, timestamp, marker) in enumerate(gop):
            starts = finder.feed(payload, turn * 10 + timestamp, marker)
            if finder.false_start:
                false_starts.append((turn, index))
            if turn == 11 and starts:
                last_gop.append(index)
    assert false_starts == [(turn, 4) for turn in range(3)]
    assert last_gop == [1]


def test_one_lost_picture_is_forgiven() -> None:
    finder = KeyframeFinder(Codec.H264)
    assert finder.feed(SPS, 0, False)
    assert not finder.feed(P, 1, True)
    assert finder.false_start
    for turn in range(2, 50, 2):
        assert finder.feed(SPS, turn, False)
        assert not finder.feed(IDR, turn, True)
        assert not finder.false_start


def test_hevc() -> None:
    gop = [(HEVC["VPS"], 0, False), (HEVC["SPS"], 0, False), (HEVC["PPS"], 0, False), (HEVC["SEI"], 0, False),
           (hevc_fu(HEVC["IDR"], start=True), 0, False), (hevc_fu(HEVC["IDR"], start=False), 0, True),
           (HEVC["TRAIL"], 1, True)]  # fmt: skip
    cra = [(hevc_fu(HEVC["CRA"], start=True), 2, False), (hevc_fu(HEVC["CRA"], start=False), 2, True)]
    assert reported(Codec.H265, [*gop, *cra, (ap(HEVC["VPS"], HEVC["SPS"], HEVC["IDR"]), 3, True)]) == [0, 7, 9]


def test_jpeg_and_unknown_codecs_start_at_every_frame() -> None:
    fragment = b"\x00\x00\x05\x00" + bytes(5)
    frames = [(bytes(9), 0, False), (fragment, 0, True), (bytes(9), 1, False), (fragment, 1, True)]
    assert reported(Codec.JPEG, frames) == [0, 2]
    assert reported(Codec.OTHER, frames) == [0, 2]
    assert reported(Codec.OTHER, [(b"", 0, False), (b"", 0, False), (b"", 1, False)]) == [0, 2]


@pytest.mark.parametrize(
    ("name", "codec", "kinds"),
    [("h264", Codec.H264, [7]), ("h265", Codec.H265, [32])],
)
def test_real_encoders(name: str, codec: Codec, kinds: list[int]) -> None:
    heard = hear([corpus(".bin")[f"gst-rtsp-server-1.22-{name}.bin"]], Role.CLIENT).items
    finder = KeyframeFinder(codec)
    found = []
    for item in heard:
        if isinstance(item, tuple) and item[0] == 0:
            view = RtpView(item[1])
            if finder.feed(view.payload, view.timestamp, view.marker):
                found.append(view.payload[0] & 0x1F if codec is Codec.H264 else view.payload[0] >> 1)
    assert found == kinds


@given(st.sampled_from(Codec), st.lists(st.tuples(st.binary(max_size=30), st.integers(0, 3), st.booleans())))
def test_any_payloads_have_an_answer(codec: Codec, packets: list[tuple[bytes, int, bool]]) -> None:
    finder = KeyframeFinder(codec)
    for payload, timestamp, marker in packets:
        assert starts_keyframe(codec, memoryview(payload)) in {True, False}
        assert finder.feed(memoryview(payload), timestamp, marker) in {True, False}
