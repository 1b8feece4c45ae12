"""What an access unit is made of: NAL units behind start codes, and the parameter sets that a decoder begins with.

ITU-T H.264 7.3.1 and annex B, H.265 7.3.1.2 and annex B; ISO/IEC 14496-15 5.3.3 (avcC) and 8.3.3 (hvcC).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from halfgateway.protocol.codec import Codec

START: Final = b"\0\0\0\1"
"""A start code, as it is written before each NAL unit."""

_START = re.compile(rb"\x00\x00\x01")
_KINDS: Final = {Codec.H264: (7, 8), Codec.H265: (32, 33, 34)}
_DELIMITER: Final = {Codec.H264: 9, Codec.H265: 35}
_MOST_SETS: Final = 64
"""Parameter sets of one kind that are kept: H.265 allows 64 picture parameter sets; what comes after is left out."""


def kind_of(codec: Codec, unit: bytes) -> int:
    """nal_unit_type of a unit that is not empty."""
    return unit[0] & 0x1F if codec is Codec.H264 else unit[0] >> 1 & 0x3F


@dataclass(frozen=True, slots=True)
class ParameterSets:
    """The sets of a stream, whole NAL units, in the order in which a decoder wants them."""

    codec: Codec
    units: tuple[bytes, ...]

    @property
    def complete(self) -> bool:
        """Whether there is one of every kind."""
        return {kind_of(self.codec, unit) for unit in self.units} >= set(_KINDS[self.codec])

    def of(self, kind: int) -> list[bytes]:
        """Those of one nal_unit_type."""
        return [unit for unit in self.units if kind_of(self.codec, unit) == kind]


def parameter_sets(codec: Codec, units: Sequence[bytes]) -> ParameterSets:
    """Those of the units that are parameter sets, each once, kind by kind."""
    kept: list[bytes] = []
    for kind in _KINDS[codec]:
        of_kind = dict.fromkeys(unit for unit in units if unit and kind_of(codec, unit) == kind)
        kept += list(of_kind)[:_MOST_SETS]
    return ParameterSets(codec, tuple(kept))


def described_sets(codec: Codec, extradata: bytes) -> tuple[ParameterSets, int]:
    """What a container says of a stream: its parameter sets, and how many bytes tell the length of each unit.

    0 bytes: units stand behind start codes. What does not fit the record's length is left out.
    """
    if extradata[:1] != b"\1":
        return parameter_sets(codec, list(split(extradata))), 0
    if codec is Codec.H264:
        units = [*_counted(extradata, 5, 0x1F)]
        after = 6 + sum(2 + len(unit) for unit in units)
        units += _counted(extradata, after, 0xFF)
        return parameter_sets(codec, units), (extradata[4] & 3) + 1 if len(extradata) > 4 else 4
    return parameter_sets(codec, list(_arrays(extradata))), (extradata[21] & 3) + 1 if len(extradata) > 21 else 4


def split(stream: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream, without start codes and the zeros before them."""
    starts = [match.end() for match in _START.finditer(stream)]
    ends = [start - 3 for start in starts[1:]]
    for start, following in zip_longest(starts, ends, fillvalue=len(stream)):
        unit = stream[start:following].rstrip(b"\0")
        if unit:
            yield unit


def measured(data: bytes, length_bytes: int) -> list[bytes]:
    """The NAL units of an access unit in which each stands behind its length; one that is cut off ends them."""
    units = []
    position = 0
    while position + length_bytes < len(data):
        end = position + length_bytes + int.from_bytes(data[position : position + length_bytes], "big")
        if end > len(data):
            break
        if end > position + length_bytes:
            units.append(data[position + length_bytes : end])
        position = end
    return units


def joined(units: Sequence[bytes]) -> bytes:
    """Units as a byte stream."""
    return b"".join(part for unit in units for part in (START, unit))


def with_sets(stream: bytes, sets: ParameterSets) -> bytes:
    """An access unit with these sets before its first unit, behind its delimiter where it has one; else as it was."""
    first = next(split(stream), b"")
    if not first or kind_of(sets.codec, first) != _DELIMITER[sets.codec]:
        return joined(sets.units) + stream
    starts = _START.finditer(stream)
    next(starts)
    second = next(starts, None)
    # A fourth byte of the start code belongs to it: zeros that end a unit are no part of it.
    behind = len(stream) if second is None else len(stream[: second.start()].rstrip(b"\0"))
    return stream[:behind] + joined(sets.units) + stream[behind:]


def is_disposable(codec: Codec, stream: bytes) -> bool:
    """Whether no other picture depends on this one: nal_ref_idc is 0 in its slices (H.264 7.4.1).

    H.265 says it only together with sublayers, which cameras do not use: never.
    """
    if codec is not Codec.H264:
        return False
    slices = [unit for unit in split(stream) if kind_of(codec, unit) in {1, 5}]
    return bool(slices) and not any(unit[0] & 0x60 for unit in slices)


def _counted(record: bytes, position: int, mask: int) -> list[bytes]:
    """Units behind their number, each behind its length in two bytes."""
    units = []
    count = record[position] & mask if position < len(record) else 0
    position += 1
    for _ in range(count):
        end = position + 2 + int.from_bytes(record[position : position + 2], "big")
        if end > len(record):
            break
        units.append(record[position + 2 : end])
        position = end
    return units


def _arrays(record: bytes) -> Iterator[bytes]:
    """The units of hvcC's arrays: a kind, a number, and each behind its length."""
    position = 23
    for _ in range(record[22] if len(record) > 22 else 0):
        count = int.from_bytes(record[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            end = position + 2 + int.from_bytes(record[position : position + 2], "big")
            if position + 2 > len(record) or end > len(record):
                return
            yield record[position + 2 : end]
            position = end
