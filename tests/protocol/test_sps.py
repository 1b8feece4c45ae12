"""Picture sizes from parameter sets of real encoders, and from bytes of any kind."""

from __future__ import annotations

import base64
import re
from functools import cache

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.keyframe import holds_parameter_sets
from halfgateway.protocol.sps import MAX_SAMPLES, carried_sps, described_sps, picture_size

ENCODERS = {Codec.H264: "libx264", Codec.H265: "libx265"}


@cache
def units_of(codec: Codec, width: int, height: int, options: tuple[tuple[str, str], ...] = ()) -> tuple[bytes, ...]:
    """The NAL units of one encoded frame, parameter sets first."""
    encoder = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = width, height, "yuv420p", 25
    encoder.options = {"preset": "ultrafast", "x265-params": "log-level=none:repeat-headers=1"} | dict(options)
    frame = av.VideoFrame(width, height, "yuv420p")
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    return tuple(unit for unit in re.split(rb"\x00?\x00\x00\x01", data) if unit)


def sps_of(codec: Codec, width: int, height: int, options: tuple[tuple[str, str], ...] = ()) -> bytes:
    return next(unit for unit in units_of(codec, width, height, options) if carried_sps(codec, unit))


@pytest.mark.parametrize("codec", list(ENCODERS))
@pytest.mark.parametrize("size", [(64, 64), (320, 180), (640, 360), (1920, 1080), (720, 576)])
def test_the_size_of_real_sets_is_read_without_their_padding(codec: Codec, size: tuple[int, int]) -> None:
    assert picture_size(codec, sps_of(codec, *size)) == size


@pytest.mark.parametrize("profile", ["baseline", "main", "high"])
@pytest.mark.parametrize("more", ["", ":cqm=jvt", ":interlaced=1", ":bframes=2"])
def test_every_profile_of_h264_is_read(profile: str, more: str) -> None:
    if profile == "baseline" and more:
        return
    if more == ":cqm=jvt" and profile != "high":
        return
    options = (("profile", profile), ("x264-params", f"keyint=1{more}"), ("preset", "medium" if more else "ultrafast"))
    assert picture_size(Codec.H264, sps_of(Codec.H264, 640, 368, options)) == (640, 368)


@pytest.mark.parametrize("codec", list(ENCODERS))
def test_it_is_found_alone_in_an_aggregate_and_in_a_description(codec: Codec) -> None:
    units = units_of(codec, 320, 180)
    sps = sps_of(codec, 320, 180)
    aggregate = (b"\x18" if codec is Codec.H264 else b"\x60\x01") + b"".join(
        len(unit).to_bytes(2, "big") + unit for unit in units
    )
    assert carried_sps(codec, sps) == sps
    assert carried_sps(codec, aggregate) == sps
    assert holds_parameter_sets(codec, aggregate)
    assert carried_sps(codec, units[-1]) is None
    assert not holds_parameter_sets(codec, units[-1])
    name = "sprop-parameter-sets" if codec is Codec.H264 else "sprop-sps"
    text = base64.b64encode(sps).decode()
    assert described_sps(codec, f"packetization-mode=1; {name}={text}; other=1") == sps
    assert described_sps(codec, f"{name}=====,{text}") == sps
    assert described_sps(codec, "packetization-mode=1") is None


def test_a_codec_without_such_sets_has_none() -> None:
    assert carried_sps(Codec.JPEG, b"\x67\x42\x00\x1f") is None
    assert described_sps(Codec.JPEG, "sprop-parameter-sets=Z0IAHw==") is None
    assert not holds_parameter_sets(Codec.OTHER, b"\x67\x42\x00\x1f")
    with pytest.raises(RemoteProtocolError):
        picture_size(Codec.JPEG, b"\x67\x42\x00\x1f")


@given(codec=st.sampled_from(list(ENCODERS)), data=st.binary(max_size=200))
def test_any_bytes_are_a_size_that_can_be_or_are_refused(codec: Codec, data: bytes) -> None:  # C19
    carried_sps(codec, data)
    described_sps(codec, data.decode("latin-1"))
    try:
        width, height = picture_size(codec, data)
    except RemoteProtocolError:
        return
    assert 0 < width <= MAX_SAMPLES
    assert 0 < height <= MAX_SAMPLES


@given(
    codec=st.sampled_from(list(ENCODERS)), cut=st.integers(0, 60), position=st.integers(0, 60), byte=st.integers(0, 255)
)
def test_a_damaged_set_is_refused_or_read(codec: Codec, cut: int, position: int, byte: int) -> None:
    damaged = bytearray(sps_of(codec, 1920, 1080)[: cut or None])
    if position < len(damaged):
        damaged[position] = byte
    try:
        assert all(0 < samples <= MAX_SAMPLES for samples in picture_size(codec, damaged))
    except RemoteProtocolError:
        return
