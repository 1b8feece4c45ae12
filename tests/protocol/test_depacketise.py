"""Pictures put together from packets, bit for bit (RFC 6184, RFC 7798; T12, L15)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfgateway.errors import LocalProtocolError, RemoteProtocolError
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.depacketise import MAX_NAL_UNITS, START_CODE, AccessUnit, Depacketiser
from tests.protocol.test_keyframe import AUD, HEVC, IDR, PPS, SECOND_SLICE, SEI, SPS, P, ap, stap_a
from tests.relay.packets import rtp

SUFFIX_SEI = b"\x50\x01\x80"


def packets(*payloads: tuple[int, bytes, bool], first: int = 65_533) -> list[bytes]:
    """Timestamp, payload and marker of each, numbered on."""
    numbered = enumerate(payloads, first)
    return [rtp(number & 0xFFFF, at, payload, marker=marker) for number, (at, payload, marker) in numbered]


def put_together(stream: Iterable[bytes], codec: Codec = Codec.H264) -> tuple[list[AccessUnit], int]:
    """The units of a whole stream, and how many were dropped."""
    depacketiser = Depacketiser(codec)
    units = [unit for packet in stream if (unit := depacketiser.feed(packet)) is not None]
    last = depacketiser.end()
    return units + ([last] if last is not None else []), depacketiser.dropped


def fragments(unit: bytes, codec: Codec, size_bytes: int) -> list[bytes]:
    """One NAL unit as FU-A or FU payloads."""
    header = 1 if codec is Codec.H264 else 2
    body = unit[header:]
    pieces = [body[at : at + size_bytes] for at in range(0, len(body), size_bytes)]
    fragmented = []
    for index, piece in enumerate(pieces):
        flags = (index == 0) << 7 | (index == len(pieces) - 1) << 6
        if codec is Codec.H264:
            fragmented.append(bytes([unit[0] & 0xE0 | 28, flags | unit[0] & 0x1F]) + piece)
        else:
            fragmented.append(bytes([unit[0] & 0x81 | 49 << 1, unit[1], flags | unit[0] >> 1 & 0x3F]) + piece)
    return fragmented


def nal_units(units: Iterable[AccessUnit]) -> list[tuple[bytes, ...]]:
    return [unit.nal_units for unit in units]


def test_a_unit_is_given_whole_with_all_that_came_with_it() -> None:
    big = IDR + bytes(range(1, 200))
    stream = packets(
        (0, stap_a(AUD, SPS, PPS), False),
        (0, SEI, False),
        *[(0, piece, False) for piece in fragments(big, Codec.H264, 60)],
        (0, SECOND_SLICE, True),
        (3600, P, True),
    )
    units, dropped = put_together(stream)
    assert nal_units(units) == [(AUD, SPS, PPS, SEI, big, SECOND_SLICE), (P,)]
    assert [(unit.timestamp, unit.key) for unit in units] == [(0, True), (3600, False)]
    assert units[0].data == b"".join(START_CODE + each for each in units[0].nal_units)
    assert dropped == 0


def test_h265_with_sets_aggregated_and_the_picture_in_fragments() -> None:
    big = HEVC["IDR"] + bytes(range(1, 200))
    sets = [HEVC["AUD"], HEVC["VPS"], HEVC["SPS"], HEVC["PPS"], HEVC["SEI"]]
    stream = packets(
        (0, ap(*sets), False),
        *[(0, piece, piece is None) for piece in fragments(big, Codec.H265, 60)],
        (0, SUFFIX_SEI, True),
        (3600, HEVC["TRAIL"], True),
    )
    units, dropped = put_together(stream, Codec.H265)
    assert nal_units(units) == [(*sets, big, SUFFIX_SEI), (HEVC["TRAIL"],)]
    assert [unit.key for unit in units] == [True, False]
    assert dropped == 0


def test_sets_with_a_timestamp_and_a_marker_of_their_own_go_with_the_picture_after_them() -> None:
    units, _ = put_together(packets((0, SPS, True), (1, PPS, True), (2, IDR, True), (3600, P, True)))
    assert nal_units(units) == [(SPS, PPS, IDR), (P,)]
    assert [(unit.timestamp, unit.key) for unit in units] == [(2, True), (3600, False)]


def test_a_marker_on_each_slice_does_not_part_a_picture() -> None:
    units, _ = put_together(packets((0, IDR, True), (0, SECOND_SLICE, True), (3600, P, True)))
    assert nal_units(units) == [(IDR, SECOND_SLICE), (P,)]


def test_a_slice_that_was_lost_between_markers_damages_its_picture() -> None:
    stream = packets((0, IDR, True), (0, SECOND_SLICE, True), (0, SECOND_SLICE, True), (3600, IDR, True))
    del stream[1]
    units, dropped = put_together(stream)
    assert [unit.timestamp for unit in units] == [3600]
    assert dropped == 1


def test_two_pictures_of_one_timestamp_are_two_units() -> None:
    units, _ = put_together(packets((0, IDR, True), (0, P, True), (0, AUD, False), (0, P, True)))
    assert nal_units(units) == [(IDR,), (P,), (AUD, P)]


def test_pictures_without_markers_end_where_the_next_begins_and_the_last_is_not_known_to_be_whole() -> None:
    units, dropped = put_together(packets((0, IDR, False), (3600, P, False), (7200, P, False)))
    assert nal_units(units) == [(IDR,), (P,)]
    assert dropped == 1


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_after_a_loss_nothing_is_given_until_a_decoder_can_start_again(lost: int) -> None:
    big = P + bytes(range(1, 200))
    pieces = [
        (3600, piece, last) for piece, last in zip(fragments(big, Codec.H264, 90), (False, False, True), strict=True)
    ]
    stream = packets((0, IDR, True), *pieces, (7200, P, True), (10_800, SPS, False), (10_800, IDR, True))
    del stream[lost]
    units, dropped = put_together(stream)
    assert nal_units(units) == [(IDR,), (SPS, IDR)]
    assert dropped == 2


def test_a_loss_just_before_a_start_costs_nothing_but_what_was_lost() -> None:
    # a reader that could not keep up goes on at a keyframe
    key = [(SPS, False), (IDR, True)]
    pictures = [(0, key), (3600, [(P, True)]), (7200, [(P, True)]), (10_800, key)]
    stream = packets(*[(at, unit, marker) for at, picture in pictures for unit, marker in picture])
    del stream[2:4]
    units, dropped = put_together(stream)
    assert nal_units(units) == [(SPS, IDR)] * 2
    assert dropped == 0


@pytest.mark.parametrize("lost", [3, 4])
def test_a_start_that_lost_a_parameter_set_is_none(lost: int) -> None:
    stream = packets(*[(at, unit, unit is IDR) for at in (0, 3600, 7200) for unit in (SPS, PPS, IDR)], first=0)
    del stream[lost]
    units, dropped = put_together(stream)
    assert nal_units(units) == [(SPS, PPS, IDR)] * 2
    assert dropped == 1


def test_a_start_whose_first_slice_was_lost_is_none() -> None:
    stream = packets(
        (0, IDR, True), (3600, IDR, False), (3600, SECOND_SLICE, True), (7200, P, True), (10_800, IDR, True)
    )
    del stream[1]
    units, dropped = put_together(stream)
    assert nal_units(units) == [(IDR,), (IDR,)]
    assert dropped == 2


def test_a_fragment_that_never_ends_damages_its_unit() -> None:
    # a camera that reconnected: its numbers go on, and half a picture is missing
    first, *_ = fragments(IDR + bytes(100), Codec.H264, 40)
    units, dropped = put_together(packets((0, first, False), (3600, P, True), (7200, IDR, True), (10_800, P, True)))
    assert nal_units(units) == [(IDR,), (P,)]
    assert dropped == 2


def test_fragments_that_do_not_agree_damage_their_unit() -> None:
    first, second, third = fragments(HEVC["IDR"] + bytes(range(1, 100)), Codec.H265, 40)
    odd = second[:2] + bytes([second[2] ^ 1]) + second[3:]
    stream = packets((0, first, False), (0, odd, False), (0, third, True), (3600, HEVC["CRA"], True))
    units, dropped = put_together(stream, Codec.H265)
    assert nal_units(units) == [(HEVC["CRA"],)]
    assert dropped == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x78",
        b"\x78\x00\x00",
        b"\x78\x00\x09\x67",
        b"\x7c\x85",
        b"\x7c\x98\x01",
        b"\x79\x00",
        b"\x60\x01",
        b"\x7d\x85\x00",
    ],
)
def test_what_is_no_payload_of_h264_is_an_error_and_a_loss(payload: bytes) -> None:
    depacketiser = Depacketiser(Codec.H264)
    first, odd, next_one, key, last = packets(
        (0, IDR, True), (3600, payload, True), (7200, P, True), (10_800, IDR, True), (14_400, P, True)
    )
    assert depacketiser.feed(first) is None
    with pytest.raises(RemoteProtocolError):
        depacketiser.feed(odd)
    assert nal_units(filter(None, map(depacketiser.feed, (next_one, key, last)))) == [(IDR,), (IDR,)]
    assert depacketiser.dropped == 1


def test_a_unit_past_its_bounds_is_dropped_and_not_kept() -> None:
    depacketiser = Depacketiser(Codec.H264, limit_bytes=1000)
    big = fragments(IDR + bytes(5000), Codec.H264, 500)
    stream = packets(*[(0, piece, False) for piece in big], (3600, IDR, True), (7200, P, True))
    assert nal_units(filter(None, map(depacketiser.feed, stream))) == [(IDR,)]
    assert depacketiser.dropped == 1

    many = packets((0, IDR, False), *[(0, SEI, False)] * MAX_NAL_UNITS, (3600, IDR, True), (7200, P, True))
    assert put_together(many)[1] == 1


def test_what_begins_anew_is_no_sequel() -> None:
    depacketiser = Depacketiser(Codec.H264)
    depacketiser.feed(rtp(1, 0, IDR, marker=True))
    depacketiser.restart()
    assert depacketiser.feed(rtp(700, 5, P, marker=True)) is None
    assert nal_units(filter(None, [depacketiser.end()])) == [(P,)]
    assert depacketiser.dropped == 0


def test_other_codecs_are_refused() -> None:
    with pytest.raises(LocalProtocolError):
        Depacketiser(Codec.JPEG)


@st.composite
def _streams(draw: st.DrawFn) -> tuple[Codec, list[list[bytes]], list[bytes]]:
    """A codec, the NAL units of some pictures, and the packets of those, cut in some way that the RFCs allow."""
    codec = draw(st.sampled_from([Codec.H264, Codec.H265]))
    key, other, extras = (
        (IDR, P, [AUD, SPS, PPS, SEI])
        if codec is Codec.H264
        else (HEVC["IDR"], HEVC["TRAIL"], [HEVC[name] for name in ("AUD", "VPS", "SPS", "PPS", "SEI")])
    )
    pictures, payloads = [], list[tuple[int, bytes, bool]]()
    for number in range(draw(st.integers(1, 6))):
        before = draw(st.lists(st.sampled_from(extras), max_size=4)) if number else extras
        picture = (other if number else key) + draw(st.binary(max_size=300))
        pictures.append([*before, picture])
        cut = list[bytes]()
        if before and draw(st.booleans()):
            cut.append(stap_a(*before) if codec is Codec.H264 else ap(*before))
        else:
            cut += before
        cut += fragments(picture, codec, draw(st.integers(1, 100))) if draw(st.booleans()) else [picture]
        payloads += [(3600 * number, payload, index == len(cut) - 1) for index, payload in enumerate(cut)]
    return codec, pictures, packets(*payloads)


@settings(max_examples=60)
@given(_streams())
def test_whatever_way_pictures_were_cut_their_units_come_back_exactly(
    stream: tuple[Codec, list[list[bytes]], list[bytes]],
) -> None:
    codec, pictures, sent = stream
    units, dropped = put_together(sent, codec)
    assert [list(unit.nal_units) for unit in units] == pictures
    assert dropped == 0


@settings(max_examples=60)
@given(_streams(), st.data())
def test_whatever_is_lost_what_is_given_was_sent(
    stream: tuple[Codec, list[list[bytes]], list[bytes]], data: st.DataObject
) -> None:
    codec, pictures, sent = stream
    kept = [packet for packet in sent if data.draw(st.booleans())]
    units, _ = put_together(kept, codec)
    assert _is_subsequence([unit.nal_units[-1] for unit in units], [picture[-1] for picture in pictures])


@given(st.sampled_from([Codec.H264, Codec.H265]), st.lists(st.binary(max_size=80), max_size=20), st.booleans())
def test_any_bytes_give_units_or_the_declared_error(codec: Codec, payloads: list[bytes], headed: bool) -> None:
    depacketiser = Depacketiser(codec)
    for number, payload in enumerate(payloads):
        try:
            depacketiser.feed(rtp(number, number // 3, payload, marker=number % 3 == 2) if headed else payload)
        except RemoteProtocolError:
            continue
    depacketiser.end()


def test_mutated_streams_give_units_or_the_declared_error() -> None:
    # T12
    chance = random.Random(20261122)
    sent = packets(
        *itertools.chain.from_iterable(
            [
                (at, stap_a(AUD, SPS, PPS), False),
                *[(at, piece, False) for piece in fragments(IDR + bytes(90), Codec.H264, 40)],
            ]
            for at in range(0, 36_000, 3600)
        )
    )
    for _ in range(100):
        put_together_as_far_as_it_goes([_mutated(packet, chance) for packet in sent])


def put_together_as_far_as_it_goes(stream: Sequence[bytes]) -> None:
    depacketiser = Depacketiser(Codec.H264)
    for packet in stream:
        try:
            unit = depacketiser.feed(packet)
        except RemoteProtocolError:
            continue
        assert unit is None or all(unit.nal_units)


def _mutated(packet: bytes, chance: random.Random) -> bytes:
    changed = bytearray(packet[: chance.randint(0, len(packet))] if chance.random() < 0.1 else packet)
    for _ in range(chance.randint(0, 3)):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _is_subsequence(few: Sequence[bytes], many: Sequence[bytes]) -> bool:
    rest = iter(many)
    return all(each in rest for each in few)
