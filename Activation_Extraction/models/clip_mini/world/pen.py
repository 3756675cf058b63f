"""The pen that draws the things of the picture world: one drawing, many styles.

A thing says which shapes it is made of; the pen's style says how a shape looks (flat, outlined, painted, sketched …).
Coordinates: x to the right, y down, a thing fills about -50 to 50 in both. Output is SVG.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

Point = tuple[float, float]
INK = "#2b2d42"
"""The dark of outlines."""

STYLES = {
    "flat": "picture",
    "cartoon": "cartoon",
    "painting": "painting",
    "sketch": "pencil sketch",
    "cutout": "paper cutout",
    "chalk": "chalk drawing",
    "pixels": "pixel image",
}
"""Styles of drawing, with the noun that captions use."""


@dataclass
class Pen:
    """Draws shapes in a style.

    Attributes:
        rng: the source of all variation.
        style: a key of `STYLES`.
        main: the colour a thing is named by, such as the hull of a red boat; `#rrggbb`.
        accent, third: two more colours that go with it.
    """

    rng: Random
    style: str
    main: str
    accent: str
    third: str
    elements: list[str] = field(default_factory=list)
    definitions: list[str] = field(default_factory=list)

    def shape(self, path: str, fill: str, *, outline: bool = True) -> None:
        """Draw a closed path (SVG path data). `outline=False` for markings inside a shape that bear no contour."""
        rng = self.rng
        if self.style == "cartoon":
            edge = f' stroke="{INK}" stroke-width="2.4" stroke-linejoin="round"' if outline else ""
            self._add(f'<path d="{path}" fill="{fill}"{edge}/>')
        elif self.style == "painting":
            self._add(f'<path d="{path}" fill="{self.gradient(lighter(fill, 0.32), darker(fill, 0.3))}"/>')
        elif self.style == "sketch":
            self._add(f'<path d="{path}" fill="{lighter(fill, 0.45)}" fill-opacity=".75"/>')
            if outline:
                for _ in range(2):
                    shift = (
                        f"translate({rng.gauss(0, 0.7):.2f} {rng.gauss(0, 0.7):.2f}) rotate({rng.gauss(0, 0.7):.2f})"
                    )
                    self._add(
                        f'<path d="{path}" fill="none" stroke="#4a4e5a" stroke-opacity=".8" stroke-width="1.1" '
                        f'stroke-linejoin="round" transform="{shift}"/>'
                    )
        elif self.style == "cutout":
            if outline:
                self._add(f'<path d="{path}" fill="#1b1b2f" fill-opacity=".28" transform="translate(1.6 2.4)"/>')
            self._add(f'<path d="{path}" fill="{fill}"/>')
        elif self.style == "chalk":
            edge = f' stroke="{lighter(fill, 0.55)}" stroke-width="1.8" stroke-linejoin="round"' if outline else ""
            opacity = 0.42 if outline else 0.85
            self._add(f'<path d="{path}" fill="{lighter(fill, 0.2)}" fill-opacity="{opacity}"{edge}/>')
        else:
            self._add(f'<path d="{path}" fill="{fill}"/>')

    def line(self, path: str, colour: str, width: float = 3.0) -> None:
        """Draw an open path with round ends; `width` in the thing's units (100 is the whole thing)."""
        ends = 'fill="none" stroke-linecap="round" stroke-linejoin="round"'
        if self.style == "cartoon" and width > 3:
            self._add(f'<path d="{path}" {ends} stroke="{INK}" stroke-width="{width + 4:.2f}"/>')
        if self.style == "cutout":
            self._add(
                f'<path d="{path}" {ends} stroke="#1b1b2f" stroke-opacity=".28" stroke-width="{width:.2f}" '
                'transform="translate(1.6 2.4)"/>'
            )
        colour = {"chalk": lighter(colour, 0.5), "sketch": mix(colour, "#4a4e5a", 0.35)}.get(self.style, colour)
        self._add(f'<path d="{path}" {ends} stroke="{colour}" stroke-width="{width:.2f}"/>')

    def circle(self, x: float, y: float, r: float, fill: str, *, outline: bool = True) -> None:
        """Draw a disc."""
        self.shape(ellipse_path(x, y, r, r), fill, outline=outline)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, fill: str, *, angle: float = 0.0, outline: bool = True
    ) -> None:
        """Draw an ellipse, turned by `angle` degrees."""
        self.shape(ellipse_path(x, y, rx, ry, angle), fill, outline=outline)

    def polygon(self, points: Sequence[Point], fill: str, *, smooth: bool = False, outline: bool = True) -> None:
        """Draw a closed polygon, with straight sides or as a smooth curve through its points."""
        self.shape(smooth_path(points, closed=True) if smooth else polygon_path(points), fill, outline=outline)

    @contextmanager
    def moved(
        self, x: float = 0.0, y: float = 0.0, *, angle: float = 0.0, scale: float = 1.0, flip: bool = False
    ) -> Iterator[None]:
        """Draw what is inside shifted, then turned by degrees (clockwise), then scaled, then mirrored left to right."""
        mirror = -scale if flip else scale
        self._add(f'<g transform="translate({x:.2f} {y:.2f}) rotate({angle:.2f}) scale({mirror:.4f} {scale:.4f})">')
        yield
        self._add("</g>")

    def gradient(self, first: str, second: str) -> str:
        """A fill that goes from the first colour at the upper left to the second at the lower right."""
        name = f"g{len(self.definitions)}"
        self.definitions.append(
            f'<linearGradient id="{name}" x1="0.2" y1="0" x2="0.6" y2="1"><stop offset="0" stop-color="{first}"/>'
            f'<stop offset="1" stop-color="{second}"/></linearGradient>'
        )
        return f"url(#{name})"

    def _add(self, element: str) -> None:
        self.elements.append(element)


def polygon_path(points: Sequence[Point]) -> str:
    """A closed path with straight sides."""
    return "M" + " L".join(f"{x:.2f} {y:.2f}" for x, y in points) + " Z"


def polyline_path(points: Sequence[Point]) -> str:
    """An open path with straight sides."""
    return "M" + " L".join(f"{x:.2f} {y:.2f}" for x, y in points)


def smooth_path(points: Sequence[Point], *, closed: bool = False) -> str:
    """A smooth curve (Catmull-Rom) through the points."""
    n = len(points)

    def at(i: int) -> Point:
        return points[i % n] if closed else points[min(max(i, 0), n - 1)]

    parts = [f"M{points[0][0]:.2f} {points[0][1]:.2f}"]
    for i in range(n if closed else n - 1):
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (at(i + k) for k in (-1, 0, 1, 2))
        parts.append(
            f"C{x1 + (x2 - x0) / 6:.2f} {y1 + (y2 - y0) / 6:.2f} {x2 - (x3 - x1) / 6:.2f} {y2 - (y3 - y1) / 6:.2f} "
            f"{x2:.2f} {y2:.2f}"
        )
    return " ".join(parts) + (" Z" if closed else "")


def ellipse_path(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> str:
    """A closed path along an ellipse turned by `angle` degrees."""
    dx, dy = rx * math.cos(math.radians(angle)), rx * math.sin(math.radians(angle))
    arc = f"A{rx:.2f} {ry:.2f} {angle:.1f} 1 1"
    return f"M{x - dx:.2f} {y - dy:.2f} {arc} {x + dx:.2f} {y + dy:.2f} {arc} {x - dx:.2f} {y - dy:.2f} Z"


def around(x: float, y: float, r: float, degrees: float) -> Point:
    """The point at distance r from (x, y); 0 degrees points right, 90 down."""
    return x + r * math.cos(math.radians(degrees)), y + r * math.sin(math.radians(degrees))


def mix(a: str, b: str, share: float) -> str:
    """A colour between two; `share` 0 is `a`, 1 is `b`."""
    channels = zip(_rgb(a), _rgb(b), strict=True)
    return "#" + "".join(f"{round(p + (q - p) * share):02x}" for p, q in channels)


def lighter(colour: str, share: float) -> str:
    """A colour on its way to white."""
    return mix(colour, "#ffffff", share)


def darker(colour: str, share: float) -> str:
    """A colour on its way to black."""
    return mix(colour, "#000000", share)


def shifted_hue(colour: str, degrees: float) -> str:
    """The colour with its hue turned by degrees."""
    r, g, b = (value / 255 for value in _rgb(colour))
    h, lightness, s = colorsys.rgb_to_hls(r, g, b)
    return "#" + "".join(
        f"{round(255 * value):02x}" for value in colorsys.hls_to_rgb((h + degrees / 360) % 1, lightness, s)
    )


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def distance(a: str, b: str) -> float:
    """How far apart two colours are, from 0 to 1 (black and white)."""
    return math.dist(_rgb(a), _rgb(b)) / math.dist((0, 0, 0), (255, 255, 255))
