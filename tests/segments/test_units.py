"""Parameter sets out of what a container says, whatever it says (RFC 6184 8.1, RFC 7798 7.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.protocol.codec import Codec
from halfgateway.segments.units import (
    START,
    ParameterSets,
    described_sets,
    is_disposable,
    joined,
    kind_of,
    measured,
    parameter_sets,
    split,
    with_sets,
)

SPS, PPS, IDR, DELIMITER = b"\x67\x42\xc0\x1f", b"\x68\xce\x3c\x80", b"\x65\x88\x84\x01", b"\x09\x10"
SETS = ParameterSets(Codec.H264, (SPS, PPS))
codecs = st.sampled_from([Codec.H264, Codec.H265])
nal_units = st.lists(st.binary(min_size=1, max_size=40).filter(lambda unit: b"\0\0" not in unit and unit[-1]))


@given(codecs, st.binary(max_size=80), st.booleans())
def test_no_record_is_fatal(codec: Codec, record: bytes, as_record: bool) -> None:
    sets, length_bytes = described_sets(codec, b"\1" + record if as_record else record)
    assert 0 <= length_bytes <= 4
    assert all(unit in record for unit in sets.units)


@given(nal_units, st.integers(1, 4))
def test_units_come_back_as_they_were(units: list[bytes], length_bytes: int) -> None:
    assert list(split(joined(units))) == units
    data = b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)
    assert measured(data, length_bytes) == units
    assert measured(data[:-1], length_bytes) == units[:-1]


@pytest.mark.parametrize("start", [START, START[1:]])
def test_sets_stand_before_the_picture_and_behind_its_delimiter(start: bytes) -> None:
    # H.264 7.4.1.2.3
    picture = start + IDR
    assert list(split(with_sets(picture, SETS))) == [SPS, PPS, IDR]
    assert with_sets(picture, SETS).endswith(picture)
    assert list(split(with_sets(start + DELIMITER + picture, SETS))) == [DELIMITER, SPS, PPS, IDR]
    assert list(split(with_sets(start + DELIMITER, SETS))) == [DELIMITER, SPS, PPS]


def test_a_decoder_needs_one_of_each_kind() -> None:
    assert SETS.complete
    assert not parameter_sets(Codec.H264, [SPS, IDR]).complete
    assert parameter_sets(Codec.H264, [PPS, IDR, SPS, SPS]) == SETS
    assert kind_of(Codec.H265, b"\x42\x01") == 33


def test_a_picture_that_nothing_depends_on_is_told() -> None:
    # ONVIF 6.5.3, Frames: predicted
    assert is_disposable(Codec.H264, joined([b"\x06\x05", b"\x01\x9a"]))
    assert not is_disposable(Codec.H264, joined([b"\x01\x9a", b"\x41\x9a"]))
    assert not is_disposable(Codec.H264, joined([SPS]))
    assert not is_disposable(Codec.H265, joined([b"\x00\x01\x9a"]))
