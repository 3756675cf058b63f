"""Outlines, colours and strokes that several things of the picture world are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from Activation_Extraction.models.clip_mini.world.pen import Pen, Point, around

WHITE, SAND, BARK, LEAF = "#ffffff", "#edd6ab", "#8a5a3c", "#4f9d4a"
CREAM, WOOD = "#fff8e7", "#8a5a34"
RIGHT = "C0.08 -0.72 0.28 -0.86 0.5 -0.86 C0.8 -0.86 1 -0.62 1 -0.32 C1 0.2 0.3 0.5 0 0.92"
LEFT = "C-0.3 0.5 -1 0.2 -1 -0.32 C-1 -0.62 -0.8 -0.86 -0.5 -0.86 C-0.28 -0.86 -0.08 -0.72 0 -0.5"
HEART = f"M0 -0.5 {RIGHT} {LEFT} Z"


def rounded(points: Sequence[Point], r: float) -> str:
    """A closed path with straight sides and round corners; `r` is how much of a side a corner takes."""
    parts: list[str] = []
    for i, (x, y) in enumerate(points):
        ends = []
        for px, py in (points[i - 1], points[(i + 1) % len(points)]):
            share = min(0.5, r / math.hypot(px - x, py - y))
            ends.append(f"{x + (px - x) * share:.2f} {y + (py - y) * share:.2f}")
        parts.append(f"{'L' if parts else 'M'}{ends[0]} Q{x:.2f} {y:.2f} {ends[1]}")
    return " ".join(parts) + " Z"


def box(x: float, y: float, width: float, height: float, r: float, taper: float = 0.0) -> str:
    """A box with round corners around x from y downwards; `taper` is taken off both sides of the bottom."""
    w, low = width / 2, width / 2 - taper
    return rounded([(x - w, y), (x + w, y), (x + low, y + height), (x - low, y + height)], r)


def points_of(numbers: str) -> list[Point]:
    """The points "x y x y …"."""
    values = [float(number) for number in numbers.split()]
    return list(zip(values[::2], values[1::2]))


def sized(path: str, width: float, height: float) -> str:
    """A path of M, L, C and Q, stretched."""
    return re.sub(r"([-.\d]+) ([-.\d]+)", lambda m: f"{float(m[1]) * width:.2f} {float(m[2]) * height:.2f}", path)


def mirrored(right: Sequence[Point]) -> list[Point]:
    """The outline whose right half is given from top to bottom."""
    return [*right, *((-x, y) for x, y in reversed(right) if x)]


def blob(pen: Pen, points: Sequence[Point], fill: str, *, outline: bool = True) -> None:
    """A shape with a smooth rim."""
    pen.polygon(points, fill, smooth=True, outline=outline)


def band(pen: Pen, points: Sequence[Point], radii: Sequence[float], fill: str, *, outline: bool = True) -> None:
    """A smooth band along a line, with round ends, at each point as thick as its radius says."""
    left, right = [], []
    for i, ((x, y), r) in enumerate(zip(points, radii, strict=True)):
        (ax, ay), (bx, by) = points[max(i - 1, 0)], points[min(i + 1, len(points) - 1)]
        dx, dy = (r * d / math.hypot(bx - ax, by - ay) for d in (bx - ax, by - ay))
        left.append((x + dy, y - dx))
        right.append((x - dy, y + dx))
        if i == 0:
            left.insert(0, (x - dx, y - dy))
    blob(pen, [*left, (x + dx, y + dy), *reversed(right)], fill, outline=outline)


def leaf(x: float, y: float, length: float, width: float, degrees: float) -> str:
    """A leaf or petal that grows from (x, y)."""
    tip, middle = around(x, y, length, degrees), around(x, y, length * 0.5, degrees)
    (ax, ay), (bx, by) = around(*middle, width, degrees - 90), around(*middle, width, degrees + 90)
    return f"M{x:.2f} {y:.2f} Q{ax:.2f} {ay:.2f} {tip[0]:.2f} {tip[1]:.2f} Q{bx:.2f} {by:.2f} {x:.2f} {y:.2f} Z"
