"""The block code: any counter comes back, from any size, and damage yields no number."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfgateway.simulator.blockcode import COUNTER_BITS, Picture, draw_counter, read_counter
from halfgateway.simulator.picture import DuskScene


def grey(width: int = 640, height: int = 360) -> Picture:
    return np.full((height, width, 3), 128, dtype=np.uint8)


@given(counter=st.integers(0, 2**COUNTER_BITS - 1), width=st.integers(160, 900), height=st.integers(90, 500))
@settings(max_examples=60, deadline=None)
def test_a_counter_comes_back_from_a_picture_of_any_size(counter: int, width: int, height: int) -> None:
    picture = grey(width, height)
    draw_counter(picture, counter)
    assert read_counter(picture) == counter
    assert read_counter(picture[:, :, 0]) == counter


@given(counter=st.integers(0, 2**COUNTER_BITS - 1), cell=st.integers(0, COUNTER_BITS + 11))
@settings(max_examples=60, deadline=None)
def test_a_damaged_cell_yields_no_number(counter: int, cell: int) -> None:
    picture = grey()
    draw_counter(picture, counter)
    left = round(640 * (0.03 + 0.94 * cell / (COUNTER_BITS + 12)))
    right = round(640 * (0.03 + 0.94 * (cell + 1) / (COUNTER_BITS + 12)))
    inverted = picture.copy()
    inverted[310:352, left:right] = 255 - inverted[310:352, left:right]
    assert read_counter(inverted) is None
    concealed = picture.copy()
    concealed[310:352, left:right] = 128
    assert read_counter(concealed) is None


@pytest.mark.parametrize("quality", [60, 20, 8])
def test_it_survives_compression_and_scaling(quality: int) -> None:
    scene = DuskScene(width=1280, height=720, period=200, title="Place d'Armes")
    for counter in (0, 1, 127, 199):
        _, encoded = cv2.imencode(".jpg", scene.frame(counter), [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        assert decoded is not None
        assert read_counter(decoded) == counter
        assert read_counter(cv2.resize(decoded, (426, 240))) == counter


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_picture_holds_no_number(level: int) -> None:
    assert read_counter(np.full((360, 640, 3), level, dtype=np.uint8)) is None
    assert read_counter(np.full((8, 8), level, dtype=np.uint8)) is None


def test_the_scene_moves_and_shows_its_name() -> None:
    scene = DuskScene(width=640, height=360, period=200, title="Place de l'Église – quai")
    untitled = DuskScene(width=640, height=360, period=200, title="")
    first, second = scene.frame(0), scene.frame(1)
    above_the_code = slice(40, 310)
    assert (first[above_the_code] != second[above_the_code]).any()
    assert (scene.frame(0)[above_the_code] == scene.frame(200)[above_the_code]).all()
    assert (first[:32, :320] != untitled.frame(0)[:32, :320]).any()
