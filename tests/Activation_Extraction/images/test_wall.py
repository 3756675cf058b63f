"""Guards the wall of pictures: where pictures and texts are drawn, and that the same input gives the same bytes."""

import numpy as np
import pytest
from PIL import Image

from Activation_Extraction.images.reading import png_bytes
from Activation_Extraction.images.wall import GAP, MARGIN, TILE, Row, Tile, draw_wall

RED, BLUE = (255, 0, 0), (0, 0, 255)


def rows(name="unit 1", caption="1  cat", size=(40, 40)):
    tiles = [Tile(Image.new("RGB", size, RED), caption, "1.12"), Tile(Image.new("RGB", size, BLUE), "2", "0.97")]
    return [Row(name, "cat", tiles), Row("unit 2", "", tiles[1:])]


def share(pixels_HWC, color):
    return (pixels_HWC == color).all(2).sum() / TILE**2


def test_every_picture_fills_its_tile_and_the_input_gives_the_same_bytes():
    wall = draw_wall(rows(), "clip-mini · layer4", "best first")
    assert share(wall, RED) == 1
    assert share(wall, BLUE) == 2
    red = np.argwhere((wall == RED).all(2))
    blue = np.argwhere((wall == BLUE).all(2))
    assert red[:, 1].max() + GAP < blue[blue[:, 0] == red[0, 0]][:, 1].max()  # the second is to the right
    assert wall.shape[1] == red[0, 1] + 2 * TILE + GAP + MARGIN
    assert png_bytes(wall) == png_bytes(draw_wall(rows(), "clip-mini · layer4", "best first"))


@pytest.mark.parametrize(("size", "expected"), [((80, 40), 0.5), ((10, 100), 0.1), ((1, 1000), 1 / TILE)])
def test_pictures_that_are_not_square_are_shown_complete(size, expected):
    assert share(draw_wall(rows(size=size)), RED) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("text", ["a" * 500, "狗" * 20, "\x1b[2J\u202e", "", "é ü ß ñ", "\U0001f600"])
def test_no_text_reaches_a_picture(text):
    plain, wall = draw_wall(rows()), draw_wall(rows(name=text, caption=text))
    assert (share(wall, RED), share(wall, BLUE)) == (1, 2)
    assert wall.shape[0] == plain.shape[0]
    assert wall.shape[1] <= plain.shape[1] + 200


def test_every_name_is_drawn():
    one, other = draw_wall(rows("unit 1")), draw_wall(rows("unit 7"))
    assert one.shape == other.shape
    assert (one != other).any()
