"""A frame counter that survives compression: a row of large black and white cells that a test reads back.

The row holds, from left to right: two guard cells (white, black), the counter in 16 bits, most significant
first, its CRC-8, and two guard cells (black, white). It spans fixed fractions of the picture, so that it is
found at any resolution. A cell that is neither clearly black nor clearly white, a wrong guard or a wrong
checksum reads as no counter at all: a picture damaged by loss never yields a number.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""Height x width x 3 (BGR or RGB) or height x width (luma), eight bits a sample."""

COUNTER_BITS: Final = 16
"""Width of the counter; larger counters wrap (a clip has a few hundred frames)."""

_CRC_BITS: Final = 8
_CRC_POLYNOMIAL: Final = 0x07  # CRC-8/SMBUS: any burst of up to eight cells is noticed.
_LEADING: Final = (1, 0)
_TRAILING: Final = (0, 1)
_CELLS: Final = len(_LEADING) + COUNTER_BITS + _CRC_BITS + len(_TRAILING)

# Fractions of the picture: clear of the edges, which encoders pad and players may crop.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.03, 0.97, 0.88, 0.96

_WHITE, _BLACK = 235, 16
# Samples in between are a damaged or concealed picture (decoders conceal with mid grey).
_CLEARLY_WHITE, _CLEARLY_BLACK = 170, 85


def draw_counter(picture: Picture, counter: int) -> None:
    """Draw the block code of ``counter`` (taken modulo 2**16) over the lower edge of a picture, in place."""
    for (left, right, top, bottom), bit in zip(_cells(picture), _code(counter), strict=True):
        picture[top:bottom, left:right] = _WHITE if bit else _BLACK


def read_counter(frame: npt.NDArray[Any]) -> int | None:
    """Read the counter (0 to 65535) from a decoded frame of 8-bit samples, or None if it cannot be trusted.

    ``frame`` is colour (height, width, 3) in either channel order, or luma (height, width), of any size.
    """
    luma = frame.mean(axis=2) if frame.ndim == 3 else frame
    if min(luma.shape) < _CELLS:
        return None
    bits: list[int] = []
    for left, right, top, bottom in _cells(frame):
        # The middle half of the cell: block edges ring and scaling blurs.
        dx, dy = (right - left) // 4, (bottom - top) // 4
        level = float(luma[top + dy : bottom - dy, left + dx : right - dx].mean())
        if _CLEARLY_BLACK < level < _CLEARLY_WHITE:
            return None
        bits.append(int(level >= _CLEARLY_WHITE))
    counter = _number(bits[len(_LEADING) : len(_LEADING) + COUNTER_BITS])
    return counter if bits == _code(counter) else None


def _code(counter: int) -> list[int]:
    counter %= 1 << COUNTER_BITS
    payload = [counter >> shift & 1 for shift in reversed(range(COUNTER_BITS))]
    check = _crc8(counter)
    checksum = [check >> shift & 1 for shift in reversed(range(_CRC_BITS))]
    return [*_LEADING, *payload, *checksum, *_TRAILING]


def _crc8(counter: int) -> int:
    register = 0xFF  # A start value other than zero: sixteen black cells are not their own checksum.
    for byte in counter.to_bytes(COUNTER_BITS // 8, "big"):
        register ^= byte
        for _ in range(8):
            register = (register << 1 ^ _CRC_POLYNOMIAL if register & 0x80 else register << 1) & 0xFF
    return register


def _number(bits: list[int]) -> int:
    number = 0
    for bit in bits:
        number = number << 1 | bit
    return number


def _cells(picture: npt.NDArray[Any]) -> list[tuple[int, int, int, int]]:
    """Return (left, right, top, bottom) of each cell, in samples, for this picture's size."""
    height, width = picture.shape[:2]
    top, bottom = round(height * _TOP), round(height * _BOTTOM)
    edges = [round(width * (_LEFT + (_RIGHT - _LEFT) * cell / _CELLS)) for cell in range(_CELLS + 1)]
    return [(left, right, top, bottom) for left, right in pairwise(edges)]
