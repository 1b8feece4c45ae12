"""The moving test picture of a simulated camera: a river, a road and a skyline at dusk.

Everything moves with the period of the clip, so that the loop has no seam but the counter's.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Final

import cv2
import numpy as np

from halfgateway.simulator.blockcode import Picture, draw_counter

_SEED: Final = 78_92  # The same camera shows the same town on every machine.
_RIPPLES: Final = 5  # Distinct pictures of the river's shimmer, shown in turn.
_FRAMES_A_RIPPLE: Final = 2  # The encoders' time goes into the river: half as often is nearly half the time.

_INK: Final = (245, 245, 245)
_SHADE: Final = (24, 20, 18)
_CARS: Final = ((40, 40, 200), (200, 120, 40), (60, 180, 220), (180, 180, 180))


class DuskScene:
    """Draws frames of ``width`` x ``height`` samples, looping after ``period`` frames, titled ``title``."""

    def __init__(self, *, width: int, height: int, period: int, title: str) -> None:
        self._width, self._height, self._period = width, height, period
        self._title = _ascii(title)
        self._unit = height / 720
        rng = np.random.default_rng(_SEED)
        self._backdrop = self._draw_backdrop(rng)
        self._shimmer = self._draw_shimmer(rng)

    def frame(self, counter: int) -> Picture:
        """Return frame ``counter`` in BGR: scene, title, the counter as text and as block code."""
        picture = self._backdrop.copy()
        phase = (counter % self._period) / self._period
        self._draw_sun(picture, phase)
        self._draw_river(picture, counter)
        self._draw_cars(picture, phase)
        self._draw_labels(picture, counter)
        draw_counter(picture, counter)
        return picture

    def _y(self, fraction: float) -> int:
        return round(self._height * fraction)

    def _x(self, fraction: float) -> int:
        return round(self._width * fraction)

    def _draw_backdrop(self, rng: np.random.Generator) -> Picture:
        height, width = self._height, self._width
        dusk = np.array([(150, 90, 50), (190, 150, 150), (120, 170, 235)], dtype=np.float64)
        rows = np.linspace(0, 2, self._y(0.55))
        sky = np.stack([np.interp(rows, (0, 1, 2), dusk[:, channel]) for channel in range(3)], axis=1)
        scene = np.empty((height, width, 3), dtype=np.float64)
        scene[: self._y(0.55)] = sky[:, None, :]
        scene[self._y(0.55) :] = (95, 85, 80)
        picture = np.asarray(scene, dtype=np.uint8)
        self._draw_skyline(picture, rng)
        picture[self._y(0.68) :] = (70, 72, 74)
        # A sensor's fixed grain gives key frames the weight that a real camera's have.
        grain = rng.normal(0, 7, (height, width, 1))
        return np.asarray(np.clip(picture + grain, 0, 255), dtype=np.uint8)

    def _draw_skyline(self, picture: Picture, rng: np.random.Generator) -> None:
        ground = self._y(0.57)
        left = 0
        while left < self._width:
            right = left + round(self._unit * rng.integers(60, 130))
            roof = ground - round(self._unit * rng.integers(60, 230))
            shade = int(rng.integers(45, 90))
            cv2.rectangle(picture, (left, roof), (right, ground), (shade + 12, shade, shade), cv2.FILLED)
            step = round(self._unit * 18)
            for y in range(roof + step, ground - step, step):
                for x in range(left + step, right - step, step):
                    if rng.random() < 0.4:
                        corner = (x + step // 2, y + step // 2)
                        cv2.rectangle(picture, (x, y), corner, (110, 200, 240), cv2.FILLED)
            left = right + round(self._unit * rng.integers(0, 24))

    def _draw_shimmer(self, rng: np.random.Generator) -> list[Picture]:
        size = (self._y(0.68) - self._y(0.57), self._width)
        pictures = []
        for _ in range(_RIPPLES):
            ripples = cv2.GaussianBlur(rng.normal(0, 60, size), (9, 3), 0)
            water = np.array((135, 110, 85))[None, None, :] + ripples[:, :, None]
            pictures.append(np.asarray(np.clip(water, 0, 255), dtype=np.uint8))
        return pictures

    def _draw_sun(self, picture: Picture, phase: float) -> None:
        turn = 2 * math.pi * phase
        centre = (self._x(0.72 + 0.06 * math.cos(turn)), self._y(0.16 + 0.03 * math.sin(turn)))
        cv2.circle(picture, centre, round(34 * self._unit), (150, 215, 255), cv2.FILLED, cv2.LINE_AA)

    def _draw_river(self, picture: Picture, counter: int) -> None:
        water = self._shimmer[counter // _FRAMES_A_RIPPLE % _RIPPLES]
        picture[self._y(0.57) : self._y(0.57) + water.shape[0]] = water

    def _draw_cars(self, picture: Picture, phase: float) -> None:
        length, lane = round(110 * self._unit), round(44 * self._unit)
        span = self._width + 2 * length
        for number, colour in enumerate(_CARS):
            laps = 1 + number % 2
            travelled = (phase * laps + number / len(_CARS)) % 1.0
            onwards = travelled if number % 2 else 1.0 - travelled
            left = round(onwards * span) - length
            top = self._y(0.71) + (number % 2) * round(lane * 1.6)
            cv2.rectangle(picture, (left, top), (left + length, top + lane), colour, cv2.FILLED)
            window = (left + length // 4, top + lane // 5), (left + 3 * length // 4, top + lane // 2)
            cv2.rectangle(picture, window[0], window[1], (230, 220, 200), cv2.FILLED)

    def _draw_labels(self, picture: Picture, counter: int) -> None:
        band = round(64 * self._unit)
        picture[:band] = picture[:band] // 3
        baseline = round(44 * self._unit)
        self._write(picture, self._title, (round(24 * self._unit), baseline))
        number = f"{counter:06d}"
        (width, _), _ = cv2.getTextSize(number, cv2.FONT_HERSHEY_SIMPLEX, self._unit, round(2 * self._unit))
        self._write(picture, number, (self._width - width - round(24 * self._unit), baseline))

    def _write(self, picture: Picture, text: str, origin: tuple[int, int]) -> None:
        for colour, thickness in ((_SHADE, 6), (_INK, 2)):
            cv2.putText(
                picture,
                text,
                origin,
                cv2.FONT_HERSHEY_SIMPLEX,
                self._unit,
                colour,
                max(1, round(thickness * self._unit)),
                cv2.LINE_AA,
            )


def _ascii(text: str) -> str:
    """Fold accents away: the stroke font of OpenCV 4 has none."""
    return unicodedata.normalize("NFKD", text.replace("–", "-")).encode("ascii", "ignore").decode("ascii")
