"""A wall of pictures: rows with a name and pictures with a caption each, drawn as one image. The same input, the same bytes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from Activation_Extraction.base.text import printable

TILE, GAP, BETWEEN_ROWS, MARGIN = 132, 10, 20, 28
"""Pixels: a picture's side, between pictures, between rows, and around all."""

_HEADING, _NAME, _SUBTITLE, _CAPTION = 24, 21, 16, 14
"""Sizes of the font."""

_CAPTION_HEIGHT = 22
_LEAST_LABEL, _MOST_LABEL = 110, 260
_PAPER, _INK, _QUIET, _LINE, _MAT = "#ffffff", "#1f2233", "#676b80", "#e4e6ee", "#f3f4f8"


@dataclass(frozen=True)
class Tile:
    """A picture and the line below it; None where there is no picture."""

    picture: Image.Image | None
    caption: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """A row: its name, what is said below that, and its pictures."""

    name: str
    subtitle: str
    tiles: Sequence[Tile]


def draw_wall(rows: Sequence[Row], heading: str = "", subheading: str = "") -> NDArray[np.uint8]:
    """Draw rows of pictures, each with its name to the left; the pixels of an RGB image, H × W × 3.

    Args:
        heading, subheading: lines above the rows.

    Captions stand below their picture on the left and details on the right. Texts that are too long end with "…";
    characters that the font cannot show are shown as escapes.
    """
    fonts = {size: ImageFont.load_default(size) for size in (_HEADING, _NAME, _SUBTITLE, _CAPTION)}
    texts = [(row.name, _NAME) for row in rows] + [(row.subtitle, _SUBTITLE) for row in rows]
    widest = max((fonts[size].getlength(_legible(text)) for text, size in texts), default=0)
    label = int(min(max(widest, _LEAST_LABEL), _MOST_LABEL)) + 2 * GAP
    columns = max((len(row.tiles) for row in rows), default=0)
    has_captions = any(tile.caption or tile.detail for row in rows for tile in row.tiles)
    row_height = TILE + (_CAPTION_HEIGHT if has_captions else 0)
    top = MARGIN + (_HEADING + 12 if heading else 0) + (_SUBTITLE + 10 if subheading else 0) + (14 if heading else 0)
    width = 2 * MARGIN + label + columns * (TILE + GAP) - GAP
    height = top + len(rows) * (row_height + BETWEEN_ROWS) - BETWEEN_ROWS + MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)

    def write(x: float, y: float, text: str, size: int, color: str, room: float, anchor: str = "la") -> None:
        pen.text((x, y), _fitted(text, fonts[size], room), color, fonts[size], anchor=anchor)

    whole = width - 2 * MARGIN
    write(MARGIN, MARGIN, heading, _HEADING, _INK, whole)
    write(MARGIN, MARGIN + _HEADING + 12, subheading, _SUBTITLE, _QUIET, whole)
    for number, row in enumerate(rows):
        y = top + number * (row_height + BETWEEN_ROWS)
        if number:
            pen.line([(MARGIN, y - BETWEEN_ROWS // 2), (width - MARGIN, y - BETWEEN_ROWS // 2)], _LINE)
        middle = y + TILE / 2
        write(MARGIN, middle - (4 if row.subtitle else -7), row.name, _NAME, _INK, label - GAP, "ls")
        write(MARGIN, middle + 20, row.subtitle, _SUBTITLE, _QUIET, label - GAP, "ls")
        for column, tile in enumerate(row.tiles):
            x = MARGIN + label + column * (TILE + GAP)
            pen.rectangle([(x, y), (x + TILE - 1, y + TILE - 1)], _MAT)
            if tile.picture is not None:
                picture = _contained(tile.picture)
                sheet.paste(picture, (x + (TILE - picture.width) // 2, y + (TILE - picture.height) // 2))
            baseline = y + TILE + _CAPTION_HEIGHT - 5
            detail = _fitted(tile.detail, fonts[_CAPTION], TILE * 0.6)
            pen.text((x + TILE, baseline), detail, _QUIET, fonts[_CAPTION], anchor="rs")
            room = TILE - fonts[_CAPTION].getlength(detail) - (6 if detail else 0)
            write(x, baseline, tile.caption, _CAPTION, _INK, room, "ls")
    return np.asarray(sheet)


def in_digits(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals each as the largest has with three digits.

    >>> in_digits([1.118, 1, 0.5694]), in_digits([0.0012, 0.0001]), in_digits([340.2, 0])
    (['1.12', '1.00', '0.57'], ['0.00120', '0.00010'], ['340', '0'])
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0)
    decimals = 2 - math.floor(math.log10(largest)) if largest else 2
    return [f"{value:.{max(0, decimals)}f}" if decimals < 7 else f"{value:.2g}" for value in values]


def _contained(picture: Image.Image) -> Image.Image:
    """The complete picture, as large as a tile allows."""
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _legible(text: str) -> str:
    """Text in one line, with escapes for what Pillow's own font has no letters for."""
    return "".join(
        c if c < "\u0180" or c in "–—‘’“”…×" else c.encode("unicode_escape").decode() for c in printable(text)
    )


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """A text that fits into a width, cut at its end where it does not."""
    text = _legible(text)
    if font.getlength(text) <= room:
        return text
    fits = bisect_right(range(len(text) + 1), room, key=lambda n: font.getlength(f"{text[:n]}…")) - 1
    return f"{text[:fits].rstrip()}…" if fits > 0 else ""
