"""The size of a picture, read from the sequence parameter set of its stream (H.264 7.3.2.1, H.265 7.3.2.2).

The sets stand in the SDP (RFC 6184 section 8.1, RFC 7798 section 7.1), in the stream, or in both.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, TypeAlias

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.codec import Codec

Bytes: TypeAlias = bytes | bytearray | memoryview

#: Bytes of a sequence parameter set that are read; real ones have 10 to 100. The rest of a longer one is not looked at.
MAX_SPS_BYTES: Final = 1024
#: Width and height of a picture, in samples. The largest level of H.265 ends at 16,888; a larger one is refused.
MAX_SAMPLES: Final = 1 << 15

_H264_SPS, _H264_STAP_A = 7, 24
_H265_SPS, _H265_AGGREGATION = 33, 48
_WITH_CHROMA: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EMULATION = re.compile(rb"\x00\x00\x03")
_SETS = {
    Codec.H264: re.compile(r"\bsprop-parameter-sets\s*=\s*([A-Za-z0-9+/=,\s]+)"),
    Codec.H265: re.compile(r"\bsprop-(?:vps|sps|pps)\s*=\s*([A-Za-z0-9+/=,\s]+)"),
}


def described_sets(codec: Codec, parameters: str) -> tuple[bytes, ...]:
    """Every parameter set in the ``a=fmtp`` parameters of a description, VPS, SPS and PPS in this order."""
    pattern = _SETS.get(codec)
    sets = []
    for text in ",".join(pattern.findall(parameters)).split(",") if pattern else ():
        try:
            unit = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            continue
        if unit:
            sets.append(unit)
    return tuple(sorted(sets, key=lambda unit: unit[0] & (0x1F if codec is Codec.H264 else 0x7E)))


def described_sps(codec: Codec, parameters: str) -> bytes | None:
    """The sequence parameter set in the ``a=fmtp`` parameters of a description, None where there is none."""
    return next((unit for unit in described_sets(codec, parameters) if _is_sps(codec, unit)), None)


def carried_sps(codec: Codec, payload: Bytes) -> bytes | None:
    """The sequence parameter set in an RTP payload, alone or aggregated with others; None where there is none."""
    data = bytes(payload)
    if _is_sps(codec, data):
        return data
    start = 0
    if codec is Codec.H264 and data and data[0] & 0x1F == _H264_STAP_A:
        start = 1
    elif codec is Codec.H265 and len(data) > 2 and data[0] >> 1 & 0x3F == _H265_AGGREGATION:
        start = 2
    while start and start + 2 < len(data):
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if _is_sps(codec, data[start + 2 : end]):
            return data[start + 2 : end]
        start = end
    return None


def picture_size(codec: Codec, sps: Bytes) -> tuple[int, int]:
    """Width and height, in samples, of the pictures that ``sps`` (a NAL unit with its header) announces.

    Raises:
        RemoteProtocolError: not a set that can be read, or a size that cannot be.
    """
    bits = _Bits(_EMULATION.sub(b"\x00\x00", bytes(sps[:MAX_SPS_BYTES])))
    if codec is Codec.H264:
        size = _h264_size(bits)
    elif codec is Codec.H265:
        size = _h265_size(bits)
    else:
        raise RemoteProtocolError("a codec without sequence parameter sets")
    if not all(0 < samples <= MAX_SAMPLES for samples in size):
        raise RemoteProtocolError("a picture size that cannot be")
    return size


def _is_sps(codec: Codec, unit: bytes) -> bool:
    if codec is Codec.H264:
        return len(unit) > 3 and unit[0] & 0x1F == _H264_SPS
    return codec is Codec.H265 and len(unit) > 3 and unit[0] >> 1 & 0x3F == _H265_SPS


class _Bits:
    """Reads bits and Exp-Golomb numbers (H.264 9.1) from the front."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def take(self, count: int) -> int:
        if count > self._left:
            raise RemoteProtocolError("the parameter set ends too early")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def skip(self, count: int) -> None:
        self.take(count)

    def number(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return self.take(zeros) + (1 << zeros) - 1

    def numbers(self, count: int) -> list[int]:
        return [self.number() for _ in range(count)]


def _h264_size(bits: _Bits) -> tuple[int, int]:
    bits.skip(8)
    profile = bits.take(8)
    bits.skip(16)
    bits.number()
    chroma = _h264_chroma(bits) if profile in _WITH_CHROMA else 1
    bits.number()
    _skip_picture_order(bits)
    bits.number()
    bits.skip(1)
    width, height_units = (number + 1 for number in bits.numbers(2))
    fields = 2 - bits.take(1)
    if fields == 2:
        bits.skip(1)
    bits.skip(1)
    left, right, top, bottom = bits.numbers(4) if bits.take(1) else (0, 0, 0, 0)
    unit_x, unit_y = (2 if chroma in {1, 2} else 1), (2 if chroma == 1 else 1) * fields
    return 16 * width - unit_x * (left + right), 16 * height_units * fields - unit_y * (top + bottom)


def _h264_chroma(bits: _Bits) -> int:
    chroma = bits.number()
    if chroma == 3:
        bits.skip(1)
    bits.numbers(2)
    bits.skip(1)
    if bits.take(1):
        for index in range(12 if chroma == 3 else 8):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = scale = 8
    for _ in range(size):
        if scale:
            code = bits.number()
            scale = (last + ((code + 1) // 2 if code % 2 else -code // 2)) % 256
        last = scale or last


def _skip_picture_order(bits: _Bits) -> None:
    kind = bits.number()
    if kind == 0:
        bits.number()
    elif kind == 1:
        bits.skip(1)
        bits.numbers(2)
        bits.numbers(min(bits.number(), 255))


def _h265_size(bits: _Bits) -> tuple[int, int]:
    bits.skip(16 + 4)
    layers = bits.take(3)
    bits.skip(1 + 96)
    present = [(bits.take(1), bits.take(1)) for _ in range(8 if layers else 0)][:layers]
    for profile, level in present:
        bits.skip(88 * profile + 8 * level)
    bits.number()
    chroma = bits.number()
    if chroma == 3:
        bits.skip(1)
    width, height = bits.numbers(2)
    left, right, top, bottom = bits.numbers(4) if bits.take(1) else (0, 0, 0, 0)
    unit_x, unit_y = (2 if chroma in {1, 2} else 1), (2 if chroma == 1 else 1)
    return width - unit_x * (left + right), height - unit_y * (top + bottom)
