"""Objects and symbols: fire, droplets, a raised hand, letters, a star, a heart, a key, an umbrella, a cup and more."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from Activation_Extraction.models.clip_mini.world.pen import (
    INK,
    Pen,
    Point,
    around,
    darker,
    lighter,
    mix,
    polyline_path,
    smooth_path,
)

FIXED_COLOURS = {"fire", "raised hand"}
"""Things that keep their natural colours, whatever the pen's main colour."""

CREAM, WOOD, STEAM = "#fff8e7", "#8a5a34", "#a9b4c6"
SKINS = ("#fbd7bd", "#f1bf94", "#d99a66", "#b87848", "#8b5533", "#63391f")
GLYPHS = {
    "A": "M0 30 L10 0 L20 30 M4 20 H16",
    "B": "M1 0 V30 H11 A7 7.6 0 0 0 11 14.5 H1 M11 14.5 A6 7.25 0 0 0 10 0 H1",
    "C": "M20 5 A11 15 0 1 0 20 25",
    "D": "M1 0 V30 H6 C25 30 25 0 6 0 Z",
    "E": "M19 0 H2 V30 H19 M2 15 H16",
    "H": "M1 0 V30 M19 0 V30 M1 15 H19",
    "K": "M1 0 V30 M19 0 L2 17 M8 11 L20 30",
    "L": "M2 0 V30 H19",
    "M": "M-1 30 V0 L10 18 L21 0 V30",
    "N": "M1 30 V0 L19 30 V0",
    "O": "M10 0 C-4.5 0 -4.5 30 10 30 C24.5 30 24.5 0 10 0 Z",
    "R": "M1 30 V0 H10 A7 8 0 0 1 10 16 H1 M9 16 L19 30",
    "S": "M19 5 C15 -3 1 -1 2 7.5 C3 15 18 13 18.5 22 C19 32 4 33 0 25",
    "T": "M-1 0 H21 M10 0 V30",
    "X": "M0 0 L20 30 M20 0 L0 30",
    "Z": "M1 0 H19 L1 30 H20",
}
"""Capital letters as strokes in a box of 20 by 30."""
DROP = "M0 -2.15 C0.12 -1.35 1 -0.75 1 0 C1 0.55 0.55 1 0 1 C-0.55 1 -1 0.55 -1 0 C-1 -0.75 -0.12 -1.35 0 -2.15 Z"
RIGHT = "C0.08 -0.72 0.28 -0.86 0.5 -0.86 C0.8 -0.86 1 -0.62 1 -0.32 C1 0.2 0.3 0.5 0 0.92"
LEFT = "C-0.3 0.5 -1 0.2 -1 -0.32 C-1 -0.62 -0.8 -0.86 -0.5 -0.86 C-0.28 -0.86 -0.08 -0.72 0 -0.5"
HEART = f"M0 -0.5 {RIGHT} {LEFT} Z"
FINGERS = {
    4.7: ((-14.4, -6, 23), (-4.8, -9, 28), (4.8, -8.5, 26), (14.2, -4, 19)),
    6.2: ((-13, -6, 24), (0, -9, 28), (13, -5, 23)),
}
"""Where fingers of a breadth begin on the palm, and how long they are."""


def _rounded(points: Sequence[Point], r: float) -> str:
    """A closed path with straight sides and round corners; `r` is how much of a side a corner takes."""
    parts: list[str] = []
    for i, (x, y) in enumerate(points):
        ends = []
        for px, py in (points[i - 1], points[(i + 1) % len(points)]):
            share = min(0.5, r / math.hypot(px - x, py - y))
            ends.append(f"{x + (px - x) * share:.2f} {y + (py - y) * share:.2f}")
        parts.append(f"{'L' if parts else 'M'}{ends[0]} Q{x:.2f} {y:.2f} {ends[1]}")
    return " ".join(parts) + " Z"


def _box(x: float, y: float, width: float, height: float, r: float, taper: float = 0.0) -> str:
    """A box with round corners around x from y downwards; `taper` is taken off both sides of the bottom."""
    w, low = width / 2, width / 2 - taper
    return _rounded([(x - w, y), (x + w, y), (x + low, y + height), (x - low, y + height)], r)


def _points(numbers: str) -> list[Point]:
    """The points "x y x y …"."""
    values = [float(number) for number in numbers.split()]
    return list(zip(values[::2], values[1::2]))


def _sized(path: str, width: float, height: float) -> str:
    """A path of M, L, C and Q, stretched."""
    return re.sub(r"([-.\d]+) ([-.\d]+)", lambda m: f"{float(m[1]) * width:.2f} {float(m[2]) * height:.2f}", path)


def _wave(x: float, r: float, lobes: int, depth: float, *, back: bool = False) -> str:
    """A circle with lobes; `back` turns the other way round and so cuts a hole into a path it is added to."""
    points = [around(x, 0, r * (1 + depth * math.cos(math.radians(lobes * t))), t) for t in range(0, 360, 10)]
    return smooth_path(points[::-1] if back else points, closed=True)


def _ear(top: Point, low: Point, w: float, t: float) -> str:
    """The handle of a cup, `t` thick, from a point on its side down to another one."""
    (x, y), (u, v) = top, low
    inner = w - 1.5 * t
    return (
        f"M{x:.2f} {y:.2f} C{x + w:.2f} {y - 3:.2f} {x + w:.2f} {v + 3:.2f} {u:.2f} {v:.2f} L{u + 1:.2f} {v - t:.2f} "
        f"C{x + inner:.2f} {v + 1.5 - t:.2f} {x + inner:.2f} {y - 1.5 + t:.2f} {x:.2f} {y + t:.2f} Z"
    )


def _flame(rng: Random, w: float, h: float, tips: Sequence[Point]) -> str:
    """A flame that stands on (0, 0); the tips of its tongues are in shares of width and height."""
    path, handle, curl = "M0 0", (-0.85 * w, 0.0), rng.uniform(-0.14, 0.14) * w
    for i, (fx, fh) in enumerate(tips):
        x, y = fx * w, -fh * h
        path += f" C{handle[0]:.2f} {handle[1]:.2f} {x + curl - 0.05 * w:.2f} {y + 0.4 * fh * h:.2f} {x:.2f} {y:.2f}"
        path += f" C{x + curl + 0.07 * w:.2f} {y + 0.26 * fh * h:.2f}"
        if i + 1 < len(tips):
            vx, vy = (x + tips[i + 1][0] * w) / 2, -h * min(fh, tips[i + 1][1]) * rng.uniform(0.6, 0.72)
            path += f" {vx - 0.07 * w:.2f} {vy:.2f} {vx:.2f} {vy:.2f}"
            handle = (vx + 0.07 * w, vy)
    return f"{path} {0.85 * w:.2f} 0 0 0 Z"


def fire(pen: Pen) -> None:
    """A campfire on logs, a torch or bare flames."""
    rng = pen.rng
    kind = rng.choice(("campfire", "campfire", "torch", "flames"))
    if kind == "torch":
        pen.polygon([(-7, 4), (7, 4), (3.5, 46), (-3.5, 46)], WOOD)
        pen.shape(_box(0, 2, 22, 11, 3, 4), darker(WOOD, 0.45))
        pen.polygon([(-5, 22), (5, 22), (4.5, 27), (-4.5, 27)], darker(WOOD, 0.45), outline=False)
    wide, high, base = {"campfire": (62, 74, 31), "torch": (44, 52, 8), "flames": (70, 86, 43)}[kind]
    side, tall = rng.choice((-1, 1)), [rng.uniform(0.55, 0.8) for _ in range(2)]
    tips = [(-0.4, tall[0]), (0.04 * side, 1.0), (0.4, tall[1])]
    if kind != "torch" and rng.random() < 0.4:
        tips = [(-0.44, tall[0] * 0.85), (-0.15, 0.75 + 0.2 * side), (0.16, 0.75 - 0.2 * side), (0.44, tall[1] * 0.85)]
    red = rng.choice(("#e63322", "#ee4b1f", "#f2601d"))
    with pen.moved(0, base):
        for share, colour in ((1.0, red), (0.72, "#ff9f24"), (0.44, "#ffe25c")):
            bent = [(x * (0.6 + 0.4 * share), y * rng.uniform(0.92, 1.0)) for x, y in tips]
            with pen.moved(0, -6 * (1 - share)):
                pen.shape(_flame(rng, wide * share, high * share, bent), colour, outline=share == 1)
    if kind == "campfire":
        for angle in rng.sample((14, -14), 2):
            with pen.moved(0, 35, angle=angle + rng.uniform(-4, 4)):
                pen.shape(_box(0, -5.5, 72, 11, 5), WOOD)
                pen.ellipse(math.copysign(34, angle), 0, 3.6, 5.6, "#e0b27a")
    elif kind == "flames":
        for x in rng.sample((-34, 36), rng.randint(0, 2)):
            with pen.moved(x, rng.uniform(-34, -18)):
                pen.shape(_sized(DROP, 7, 7), "#ff9f24")


def _water(pen: Pen, x: float, y: float, r: float, angle: float) -> None:
    shade = "M0.1 0.75 Q0.75 0.6 0.72 -0.1 Q0.45 0.4 0.1 0.75 Z"
    with pen.moved(x, y, angle=angle):
        pen.shape(_sized(DROP, r, r), pen.main)
        pen.shape(_sized(shade, r, r), darker(pen.main, 0.25), outline=False)
        pen.ellipse(-0.42 * r, -0.1 * r, 0.2 * r, 0.42 * r, lighter(pen.main, 0.75), angle=18, outline=False)


def droplets(pen: Pen) -> None:
    """Drops of water, falling as rain or jumping from a splash."""
    rng = pen.rng
    kind, lean, side = rng.choice(("rain", "few", "splash")), rng.uniform(-16, 16), rng.choice((-1, 1))
    if kind == "splash":
        pen.ellipse(0, 35, 42, 9, pen.main)
        pen.ellipse(0, 34, rng.uniform(22, 30), 4.5, lighter(pen.main, 0.5), outline=False)
        for angle in (-50, 50):
            _water(pen, *around(0, 34, rng.uniform(40, 46), angle - 90), rng.uniform(7.5, 9.5), angle + 180)
        _water(pen, 0, rng.uniform(-18, -8), rng.uniform(12, 14), 0)
    elif kind == "few":
        for x, y, r in ((-15.0, 13.0, 20.0), (22.0, -12.0, 13.5), (24.0, 33.0, 9.0))[: rng.randint(2, 3)]:
            _water(pen, side * x, y + rng.uniform(-2, 2), r * rng.uniform(0.9, 1.08), lean)
    else:
        for x, y in _points("-30 -22 0 -26 30 -20 -16 9 16 12 -31 36 1 38 31 37"):
            if rng.random() < 0.9:
                _water(pen, x + rng.uniform(-3, 3), y + rng.uniform(-3, 3), rng.uniform(7, 9.5), lean)


def raised_hand(pen: Pen) -> None:
    """An open palm with fingers together or spread, in a sleeve."""
    rng = pen.rng
    skin, spread = rng.choice(SKINS), rng.choice((3.5, 8, 13))
    r = rng.choice((4.7, 4.7, 4.7, 6.2))
    thumb = (-14.0, 13.0, 22 * rng.uniform(0.9, 1.1), -rng.uniform(38, 62), 5.6)
    fingers = [thumb] + [(x, y, n * rng.uniform(0.95, 1.05), spread * x / 9.6 + 1.5, r) for x, y, n in FINGERS[r]]
    path = "M-11 38 C-12 30 -19 27"
    for i, (x, y, length, angle, radius) in enumerate(fingers):
        s, c = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        (lx, ly), (ux, uy) = (-c * radius, -s * radius), (s * length, -c * length)
        path += f" {x + lx:.2f} {y + ly:.2f} L{x + lx + ux:.2f} {y + ly + uy:.2f}"
        path += f" A{radius} {radius} 0 0 1 {x - lx + ux:.2f} {y - ly + uy:.2f} L{x - lx:.2f} {y - ly:.2f}"
        path += " L" if i + 1 < len(fingers) else " C21 14 17 26 12 38 Z"
    line = darker(skin, 0.3)
    with pen.moved(rng.choice((2, 4)), 2, angle=rng.uniform(-7, 7), flip=rng.random() < 0.5):
        pen.shape(path, skin)
        pen.line("M-9 4 Q-3 10 -5 23", line, 1.8)
        pen.line("M-3 6 Q6 9 15 3", line, 1.8)
        if rng.random() < 0.5:
            pen.line("M1 14 Q8 15 14 11", line, 1.8)
        pen.shape(_box(0, 33, 28, 14, 2, -2), pen.main)
        if rng.random() < 0.7:
            pen.shape(_box(0, 29, 32, 8, 3), pen.accent)


def letters(pen: Pen) -> None:
    """Two to four capital letters: in a row, jumbled or on toy blocks."""
    rng = pen.rng
    kind = rng.choice(("row", "row", "jumble", "blocks"))
    word = rng.sample(sorted(GLYPHS), rng.randint(2, 4) if kind != "row" else rng.randint(2, 3))
    n, shadow, inline = len(word), rng.random() < 0.4, rng.random() < 0.35
    size = 1.45 if n == 2 else 1.08 if n == 3 and kind != "row" else 0.98
    if n == 2:
        places = [(-22.0, rng.uniform(-8, 0)), (22.0, rng.uniform(0, 8))]
    elif kind == "row":
        places = [(30.5 * (i - 1), rng.choice((-4.0, 0.0, 4.0))) for i in range(n)]
    else:
        low = _points(rng.choice(("-18 22", "0 22", "18 22")) if n == 3 else "-21 22 22 22")
        places = _points("-22 -22 22 -21") + low
    for (x, y), glyph in zip(places, word):
        colour = pen.main if kind != "jumble" else rng.choice((pen.main, pen.main, darker(pen.main, 0.25)))
        with pen.moved(x, y, angle=rng.uniform(-22, 22) * (kind != "row"), scale=size * rng.uniform(0.92, 1.06)):
            if kind == "blocks":
                pen.shape(_box(0, -20, 40, 40, 5), pen.main)
                pen.shape(_box(0, -15.5, 31, 31, 4), CREAM, outline=False)
                with pen.moved(-7, -10.5, scale=0.7):
                    pen.line(GLYPHS[glyph], darker(pen.main, 0.15), 6)
                continue
            for shift, tone, width in ((2.2, darker(pen.main, 0.45), 8), (0, colour, 8), (0, lighter(colour, 0.55), 2)):
                if (shift == 0 and width == 8) or (shadow if shift else inline):
                    with pen.moved(shift - 10, shift - 15):
                        pen.line(GLYPHS[glyph], tone, width)


def _star(x: float, y: float, r: float, n: int, inner: float) -> list[Point]:
    return [around(x, y, r * (inner if i % 2 else 1), 180 * i / n - 90) for i in range(2 * n)]


def star(pen: Pen) -> None:
    """A star: faceted, framed, plump or with small companions."""
    rng = pen.rng
    kind = rng.choice(("facets", "frame", "plump", "group"))
    n = rng.choice({"facets": (4, 5, 5, 8), "frame": (5, 5, 6)}.get(kind, (5,)))
    inner = {4: 0.36, 5: 0.45, 6: 0.56, 8: 0.55}[n] + rng.uniform(-0.03, 0.06) + 0.06 * (kind == "plump")
    with pen.moved(0, 2, angle=rng.uniform(-14, 14)):
        if kind == "group":
            for x, y, r in ((30.0, -30.0, 15.0), (-33.0, 27.0, 12.0)):
                pen.shape(_rounded(_star(x, y, r, n, inner), 2), pen.main)
        r = 34.0 if kind == "group" else 46.0
        points = _star(0, 0, r, n, inner)
        pen.shape(_rounded(points, {"plump": 10.0, "facets": 1.0}.get(kind, 4.0)), pen.main)
        if kind == "facets":
            for i in range(0, 2 * n, 2):
                pen.polygon([(0, 0), points[i], points[i + 1]], darker(pen.main, 0.22), outline=False)
        elif kind == "frame":
            pen.shape(_rounded(_star(0, 0, r * 0.66, n, inner), 3), lighter(pen.main, 0.4), outline=False)
        else:
            shine = [(x * 0.62 - 2, y * 0.62 - 1) for x, y in (points[-2], points[-1], points[0])]
            pen.line(smooth_path(shine), lighter(pen.main, 0.6), 3)


def heart(pen: Pen) -> None:
    """A heart: glossy, with an arrow, broken, framed or two together."""
    rng = pen.rng
    kind = rng.choice(("glossy", "arrow", "broken", "frame", "pair"))
    w, h = rng.uniform(40, 46), rng.uniform(40, 48)
    whole, gloss = _sized(HEART, w, h), _sized("M-0.74 -0.2 Q-0.76 -0.52 -0.5 -0.6", w, h)
    if kind == "broken":
        for side, half in ((-1, LEFT), (1, f"L0 -0.5 {RIGHT}")):
            crack = _points("0 -0.5 -0.17 -0.18 0.14 0.04 -0.14 0.33 0.12 0.54 0 0.92")[::-side]
            with pen.moved(4 * side, 0, angle=6 * side):
                pen.shape(_sized(f"{polyline_path(crack)} {half} Z", w, h), pen.main)
        return
    if kind == "pair":
        with pen.moved(20, -16, angle=16, scale=0.52):
            pen.shape(whole, lighter(pen.main, 0.3))
    scale, x, y = (0.72, -11, 8) if kind == "pair" else (0.86, 0, 0) if kind == "arrow" else (1.0, 0, 0)
    with pen.moved(x, y, angle=rng.uniform(-10, 10) - 10 * (kind == "pair"), scale=scale):
        if kind == "arrow":
            pen.line("M20 -8 L50 -24", WOOD, 3.6)
            pen.polygon([(60, -30), (44, -31), (50, -15)], pen.accent)
        pen.shape(whole, pen.main)
        if kind == "frame":
            with pen.moved(0, -1, scale=0.68):
                pen.shape(whole, lighter(pen.main, 0.45), outline=False)
        else:
            pen.line(gloss, lighter(pen.main, 0.6), 4)
        if kind == "arrow":
            pen.line("M-6 6 L-54 31", WOOD, 3.6)
            pen.polygon(_points("-40 16 -52 23 -62 35 -46 37 -34 31 -43 25"), pen.accent)


def key(pen: Pen) -> None:
    """A key: old with a ring, a clover or a square bow, or new with a cut blade."""
    rng = pen.rng
    kind = rng.choice(("ring", "clover", "square", "new"))
    side, angle = rng.choice((-1, 1)), rng.choice((-45, 45, 0, 90, 135)) + rng.uniform(-8, 8)
    with pen.moved(0, 0, angle=angle, scale=1.04, flip=rng.random() < 0.5):
        if kind == "new":
            steel = lighter(mix(pen.main, "#c9ced8", 0.55), 0.1)
            pen.polygon(_points("-12 -6 40 -6 46 0 40 7 35 3 29 8 23 3 17 7 12 8 -12 8"), steel)
            pen.line("M-6 -2 H36", darker(steel, 0.25), 1.8)
            pen.shape(_wave(-26, 20, rng.choice((3, 4, 6)), 0.05) + _wave(-34, 5, 1, 0, back=True), pen.main)
            return
        teeth = _points("-12 -4.2 45 -4.2 45 4.2")
        for x in (42, 32, 22)[: rng.randint(2, 3)]:
            depth = rng.uniform(13, 19)
            teeth += [(x, 4.2), (x, depth), (x - 6.5, depth), (x - 6.5, 4.2)]
        pen.polygon([(x, side * y) for x, y in (*teeth, (-12, 4.2))], pen.main)
        if kind == "ring":
            pen.shape(_wave(-27, 19, 1, 0) + _wave(-27, 10.5, 1, 0, back=True), pen.main)
        elif kind == "clover":
            with pen.moved(-27, 0, flip=True):
                pen.shape(_wave(0, 18, 3, 0.22) + _wave(0, 9, 3, 0.3, back=True), pen.main)
        else:
            outer, hole = ([around(-27, 0, r, turn * t) for t in (0, 90, 180, 270)] for r, turn in ((21, 1), (10, -1)))
            pen.shape(_rounded(outer, 6) + _rounded(hole, 3), pen.main)
        for x in (-5, 1)[: rng.randint(1, 2)]:
            pen.shape(_box(x, -6.5, 4.8, 13, 2), darker(pen.main, 0.25))


def umbrella(pen: Pen) -> None:
    """An open umbrella with a hooked handle, a pointed sunshade or a striped parasol."""
    rng = pen.rng
    kind = rng.choice(("dome", "dome", "pagoda", "parasol"))
    n, w = rng.choice((4, 5, 6)), rng.uniform(40, 46)
    h = {"dome": rng.uniform(32, 40), "pagoda": 40.0, "parasol": 28.0}[kind]
    xs = [w * (0.55 * (2 * i / n - 1) + 0.45 * math.sin(math.pi * (i / n - 0.5))) for i in range(n + 1)]
    a, b, c, d = (0.26, 0.7, 0.64, 0.3) if kind == "pagoda" else (0.6, 1.0, 0.98, 0.5)
    stick, side = rng.choice((WOOD, INK, darker(pen.main, 0.5))), rng.choice((-1, 1))
    second = rng.choice((darker, darker, lighter))(pen.main, 0.25)
    if kind == "parasol":
        second = rng.choice((CREAM, CREAM, pen.accent))

    def panels(first: int, last: int) -> str:
        """The outline of the cloth between two ribs: down one rib, along the hem and up the other."""
        x, end = xs[last], xs[first]
        path = f"M0 {-h:.2f} C{a * x:.2f} {-b * h:.2f} {c * x:.2f} {-d * h:.2f} {x:.2f} 0"
        for right, left in zip(xs[last:first:-1], xs[last - 1 :: -1]):
            path += f" Q{(left + right) / 2:.2f} {-0.26 * (right - left) - 2:.2f} {left:.2f} 0"
        return f"{path} C{c * end:.2f} {-d * h:.2f} {a * end:.2f} {-b * h:.2f} 0 {-h:.2f} Z"

    with pen.moved(0, -3, angle=rng.uniform(-24, 24)):
        if kind == "parasol":
            pen.line("M0 -20 V46", stick, 4)
        else:
            pen.line("M0 -20 V30", rng.choice(("#8d99ae", stick)), 3.4)
            pen.line(f"M0 24 V37 Q0 45 {7 * side} 45 Q{14 * side} 45 {14 * side} 37", stick, 5)
        pen.line(f"M0 {-h - 5:.1f} V{-h + 3:.1f}", stick, 4)
        pen.shape(panels(0, n), pen.main)
        for i in range(1, n, 2):
            pen.shape(panels(i, i + 1), second, outline=False)


def cup(pen: Pen) -> None:
    """A mug, a cup on a saucer or a paper cup to take away."""
    rng = pen.rng
    kind = rng.choice(("mug", "teacup", "paper"))
    brew = rng.choice(("#6b3f22", "#4a2a18", "#b5692b"))
    if kind == "paper":
        with pen.moved(0, 0, angle=rng.uniform(-6, 6)):
            pen.shape(_box(0, -26, 52, 71, 3, 8), pen.main)
            pen.shape(_box(0, -8, 50, 28, 3, 3.2), rng.choice((CREAM, "#c89b6c")))
            pen.ellipse(0, 6, 7, 9, brew, angle=30)
            pen.line("M3 -1 Q-3 5 -2 13", lighter(brew, 0.5), 1.8)
            lid = rng.choice(("#e4d9c6", "#4a3428", pen.accent))
            pen.shape(_box(0, -42, 42, 11, 4, -3), lid)
            pen.shape(_box(0, -34, 60, 9, 4), lid)
        return
    for x in (-14, 0, 14) if rng.random() < 0.6 else (-8, 8):
        pen.line(f"M{x - 4} -21 C{x - 11} -29 {x + 5} -34 {x - 2} -44", STEAM, 3)
    wide = rng.uniform(26, 29) if kind == "mug" else 33.0
    with pen.moved(-5, 0, flip=rng.random() < 0.5):
        if kind == "mug":
            pen.shape(_ear((wide - 0.5, -4), (wide - 1, rng.uniform(26, 31)), 25, 6.5), pen.main)
            mug = "M-1 -11 L-0.93 33 Q-0.9 42 -0.5 42 L0.5 42 Q0.9 42 0.93 33 L1 -11 Z"
            pen.shape(_sized(mug, wide, rng.uniform(0.92, 1.08)), pen.main)
        else:
            pen.ellipse(0, 35, 43, 9, rng.choice((pen.main, pen.accent, CREAM)))
            pen.ellipse(0, 34, 26, 4, darker(pen.main, 0.3), outline=False)
            pen.shape(_ear((32.5, -6), (27.5, 17), 21, 5.5), pen.main)
            pen.shape("M-33 -11 C-33 18 -18 35 -12 35 L12 35 C18 35 33 18 33 -11 Z", pen.main)
        mark = rng.choice(("none", "band", "heart", "tag"))
        if mark == "band" and kind == "mug":
            pen.shape(_box(0, 8, 2 * wide - 2, 12, 0.5), pen.accent, outline=False)
        elif mark == "heart":
            with pen.moved(0, 14):
                pen.shape(_sized(HEART, 9, 9), lighter(pen.main, 0.7), outline=False)
        pen.ellipse(0, -11, wide, 7, lighter(pen.main, 0.55))
        pen.ellipse(0, -10, wide - 4.5, 4.6, brew, outline=False)
        if mark == "tag":
            pen.line("M-12 -8 V12", CREAM, 1.6)
            pen.shape(_box(-12, 10, 11, 13, 2), CREAM)


def clock(pen: Pen) -> None:
    """A round wall clock, a square one, an alarm clock or a pendulum clock."""
    rng = pen.rng
    kind = rng.choice(("wall", "square", "alarm", "pendulum"))
    ink = CREAM if pen.style == "chalk" else INK
    x, y, r = {"wall": (0, 0, 44), "square": (0, 0, 43), "alarm": (0, 7, 33), "pendulum": (0, -12, 25)}[kind]
    if kind == "alarm":
        for side in (-1, 1):
            pen.line(f"M{18 * side} 32 L{25 * side} 43", darker(pen.main, 0.4), 6)
            with pen.moved(0, 7, angle=34 * side):
                pen.shape("M-16 -36 C-15 -53 15 -53 16 -36 Z", pen.accent)
        pen.line("M0 -25 V-38 M-5 -40 H5", darker(pen.main, 0.4), 4)
        pen.circle(x, y, r, pen.main)
    elif kind == "wall":
        pen.circle(x, y, r, pen.main)
    elif kind == "square":
        pen.shape(_box(0, -43, 86, 86, rng.choice((8, 22))), pen.main)
    else:
        swing = rng.uniform(-16, 16)
        pen.shape(_box(0, -24, 54, 69, 3), pen.main)
        pen.shape(_box(0, 14, 38, 25, 3), darker(pen.main, 0.5), outline=False)
        bob = around(0, 8, 21, 90 - swing)
        pen.line(f"M0 12 L{bob[0]:.1f} {bob[1]:.1f}", "#f2c14e", 2.6)
        pen.circle(*bob, 6, "#f2c14e")
        pen.polygon([(-38, -22), (0, -48), (38, -22), (33, -16), (-33, -16)], pen.accent)
        r, y = 24, -8
    face = rng.choice((CREAM, "#ffffff", lighter(pen.main, 0.85)))
    f = r * (0.8 if kind != "pendulum" else 0.9)
    pen.circle(x, y, f, face)
    for i in range(0, 12, 3 if kind == "pendulum" or rng.random() < 0.4 else 1):
        (x0, y0), (x1, y1) = (around(x, y, f * k, 30 * i) for k in (0.86, 0.74 if i % 3 else 0.66))
        pen.line(f"M{x0:.1f} {y0:.1f} L{x1:.1f} {y1:.1f}", ink, 1.6 if i % 3 else 2.9)
    minute, hour = 30 * rng.randrange(12), rng.randrange(12)
    for reach, angle, width in ((0.44, 30 * hour + minute / 12, 0.12), (0.68, minute, 0.08)):
        hx, hy = around(x, y, f * reach, angle - 90)
        pen.line(f"M{x} {y} L{hx:.1f} {hy:.1f}", ink, f * width)
    pen.circle(x, y, f * 0.1, pen.main, outline=False)


def guitar(pen: Pen) -> None:
    """An acoustic guitar, an electric one with horns or one in the shape of a V."""
    rng = pen.rng
    kind = rng.choice(("acoustic", "acoustic", "electric", "vee"))
    neck, head, pale = darker(WOOD, 0.35), rng.choice((darker(WOOD, 0.55), pen.main)), "#f3ead7"
    tilt = rng.uniform(16, 30) if kind == "vee" else rng.uniform(22, 50)
    with pen.moved(-2, 2, angle=tilt, scale=0.96 if kind == "vee" else 1.03, flip=rng.random() < 0.5):
        for y in (-52, -46.5, -41) if kind == "acoustic" else (-53, -48, -43, -38):
            for x in (-8, 8) if kind == "acoustic" else (-7,):
                pen.circle(x, y, 2.4, pale)
        if kind == "acoustic":
            hips, waist, chest = rng.uniform(24, 28), rng.uniform(13, 16), rng.uniform(17, 20)
            half = [(11, 0), (chest, 8), (waist, 19), (hips - 4, 28), (hips, 38), (hips - 8, 49)]
            pen.polygon([*half, (0, 52), *((-x, y) for x, y in half[::-1])], pen.main, smooth=True)
            pen.circle(0, 18, 9, lighter(pen.main, 0.6), outline=False)
            pen.circle(0, 18, 6.8, "#3a2418", outline=False)
        elif kind == "electric":
            body = "-5 13 -10 9 -18 -3 -22 6 -17 21 -25 36 -16 50 4 53 23 47 25 34 16 23 20 12 16 3 9 11 5 14"
            guard = _points("-6 12 -12 22 -9 34 4 40 15 43 16 36 8 30 9 16")
            pen.polygon(_points(body), pen.main, smooth=True)
            pen.polygon(guard, rng.choice((CREAM, pen.accent)), smooth=True, outline=False)
        else:
            pen.shape(_rounded(_points("0 0 9 3 36 45 24 53 0 29 -24 53 -36 45 -9 3"), 6), pen.main)
        end = 16 if kind == "electric" else 11
        pen.polygon([(-2.8, -38), (2.8, -38), (3.6, end), (-3.6, end)], neck)
        pen.shape(_box(0, -57, 12, 21, 3, 2), head)
        for y in (39,) if kind == "acoustic" else (14, 21) if kind == "vee" else (18, 26):
            pen.shape(_box(0, y, 16 if kind == "acoustic" else 13, 4.5, 1.5), "#2e2622", outline=False)
        pen.line("M-1.3 -40 V39 M1.3 -40 V39" if kind == "acoustic" else f"M0 -40 V{end + 8}", pale, 0.9)


def crown(pen: Pen) -> None:
    """A crown: pointed, a coronet with round leaves, or royal with arches over velvet."""
    rng = pen.rng
    kind = rng.choice(("pointed", "pointed", "coronet", "royal"))
    gem, n = rng.choice((pen.accent, pen.third)), rng.choice((3, 5))
    base, w = rng.uniform(26, 30), rng.uniform(33, 38)
    if kind == "royal":
        pen.shape("M-36 12 C-44 -30 -14 -34 0 -26 C14 -34 44 -30 36 12 Z", pen.accent)
        for x in (-34.0, 34.0):
            pen.line(f"M{x} 10 C{x * 1.25} -32 {x * 0.35} -32 0 -24", pen.main, 6.5)
        pen.line("M0 10 V-24", pen.main, 6.5)
        pen.line("M0 -30 V-44 M-5.5 -38.5 H5.5", pen.main, 4)
        pen.circle(0, -25, 6, pen.main)
    elif kind == "pointed":
        xs, top, low = [84 * i / (n - 1) - 42 for i in range(n)], rng.uniform(-32, -26), rng.uniform(-4, 4)
        tips = [(x, top - (8 * math.cos(math.pi * x / 84) if n == 5 else 0)) for x in xs]
        path = f"M{-w:.1f} {base:.1f} L{xs[0]} {tips[0][1]:.1f}"
        for (left, _), (x, y) in pairwise(tips):
            path += f" L{(left + x) * 0.47:.1f} {low:.1f} L{x} {y:.1f}"
        pen.shape(f"{path} L{w:.1f} {base:.1f} Q0 {base + 9:.1f} {-w:.1f} {base:.1f} Z", pen.main)
        for x, y in tips:
            pen.circle(x, y, 5.6 if n == 3 else 4.8, gem)
    else:
        half = _points("12 -18 18 2 25 -14 34 -24 42 -12 38 28")
        pen.shape(_rounded([*((-x, y) for x, y in half[::-1]), (0, -40), *half], 7), pen.main)
        for x, y, r in ((-34.0, -4.0, 4.2), (0.0, -16.0, 5.9), (34.0, -4.0, 4.2)):
            pen.circle(x, y, r, gem)
    w, base = (w + 1.5, base) if kind == "pointed" else (37.5, 28)
    band = f"M{-w:.1f} {base - 16:.1f} Q0 {base - 7:.1f} {w:.1f} {base - 16:.1f} L{w - 1:.1f} {base:.1f}"
    pen.shape(f"{band} Q0 {base + 9:.1f} {1 - w:.1f} {base:.1f} Z", darker(pen.main, 0 if kind == "royal" else 0.18))
    for x in (-0.62, 0.62):
        pen.circle(x * w, base - 6.1, 3.8, lighter(gem, 0.55), outline=False)
    pen.shape(_rounded([around(0, base - 3.5, r, t) for r, t in ((7, 0), (6, 90), (7, 180), (6, 270))], 1), gem)


THINGS: dict[str, Callable[[Pen], None]] = {
    thing.__name__.replace("_", " "): thing
    for thing in (fire, droplets, raised_hand, letters, star, heart, key, umbrella, cup, clock, guitar, crown)
}
