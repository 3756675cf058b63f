"""Outlines and colours that several things of the picture world are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from Activation_Extraction.models.clip_mini.world.pen import Point

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
