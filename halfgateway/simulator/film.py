"""The pictures of the simulated recorder: which one was filmed when, and how it tells so.

Film has 25 pictures a second, and a key picture at each even second of Unix time. A picture holds, as block code,
the number of its group (Unix seconds halved, in two rows) and its place in the group: what is decoded tells the
instant to the picture, whatever the day. People read the group's wall-clock time above.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from halfgateway.simulator.blockcode import Picture, draw_counter, read_counter
from halfgateway.simulator.clips import FPS
from halfgateway.simulator.picture import DuskScene

GROUP_S: Final = 2
"""Seconds from one key picture to the next."""

GROUP_FRAMES: Final = GROUP_S * FPS

PICTURE: Final = timedelta(seconds=1) / FPS
"""How long a picture lasts."""

GROUP: Final = timedelta(seconds=GROUP_S)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# The rows of the group's number stand far above that of the place: predicted pictures, which are the same in each
# group, must find nothing to copy from what differs.
_HIGH_ROW_OF, _LOW_ROW_OF = 0.55, 0.70
_HIGH_SHIFT: Final = 16

_INK, _BAND = 235, 30
_BAND_HEIGHT: Final = 64 / 720


def frame_at(instant: datetime) -> int:
    """The number of the picture that is shown at an instant: the last that was filmed at or before it."""
    return (instant - _EPOCH) // PICTURE


def instant_of(frame: int) -> datetime:
    """When a picture was filmed, in UTC."""
    return _EPOCH + frame * PICTURE


def clean_at(frame: int) -> int:
    """The key picture at or before a picture."""
    return frame - frame % GROUP_FRAMES


class FilmScene:
    """Draws film of ``width`` x ``height`` samples: what stands still, and over it when it was filmed."""

    def __init__(self, *, width: int, height: int) -> None:
        scene = DuskScene(width=width, height=height, period=GROUP_FRAMES, title="").frame(0)
        # Without the sensor's grain, which would be most of a key picture.
        self._still: Picture = np.asarray(
            cv2.cvtColor(cv2.GaussianBlur(scene, (5, 5), 0), cv2.COLOR_BGR2YUV_I420), dtype=np.uint8
        )
        self._still[: round(height * _BAND_HEIGHT)] = _BAND
        self._height = height

    def picture(self, frame: int) -> Picture:
        """Picture ``frame`` in planar YUV 4:2:0, (height x 3/2, width)."""
        picture = self._still.copy()
        luma = picture[: self._height]
        group, place = divmod(frame, GROUP_FRAMES)
        draw_counter(_part(luma, _HIGH_ROW_OF), group >> _HIGH_SHIFT)
        draw_counter(_part(luma, _LOW_ROW_OF), group)
        draw_counter(luma, place)
        unit = self._height / 720
        text, origin = f"{instant_of(frame - place):%Y-%m-%d %H:%M:%S} UTC", (round(24 * unit), round(44 * unit))
        cv2.putText(luma, text, origin, cv2.FONT_HERSHEY_SIMPLEX, unit, _INK, max(1, round(2 * unit)), cv2.LINE_AA)
        return picture


def filmed_at(frame: npt.NDArray[Any]) -> datetime | None:
    """When a decoded picture was filmed; None if it cannot be trusted.

    ``frame`` is colour (height, width, 3) or luma (height, width), of any size.
    """
    high, low = (read_counter(_part(frame, part)) for part in (_HIGH_ROW_OF, _LOW_ROW_OF))
    place = read_counter(frame)
    if high is None or low is None or place is None:
        return None
    return instant_of((high << _HIGH_SHIFT | low) * GROUP_FRAMES + place)


def _part(picture: npt.NDArray[Any], of_height: float) -> npt.NDArray[Any]:
    """The upper part of a picture, at the foot of which a row of block code stands."""
    return picture[: round(picture.shape[0] * of_height)]
