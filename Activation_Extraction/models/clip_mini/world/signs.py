"""Elements and signs: fire, droplets, a raised hand, letters, a star, a heart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from Activation_Extraction.models.clip_mini.world.outlines import (
    CREAM,
    HEART,
    LEFT,
    RIGHT,
    WOOD,
    box,
    points_of,
    rounded,
    sized,
)
from Activation_Extraction.models.clip_mini.world.pen import (
    Pen,
    Point,
    around,
    darker,
    lighter,
    polyline_path,
    smooth_path,
)

FIXED_COLOURS = {"fire", "raised hand"}
"""Things that come in their own colours only, whatever the pen's main colour; captions name none."""

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
FINGERS = {
    4.7: ((-14.4, -6, 23), (-4.8, -9, 28), (4.8, -8.5, 26), (14.2, -4, 19)),
    6.2: ((-13, -6, 24), (0, -9, 28), (13, -5, 23)),
}
"""Where fingers of a breadth begin on the palm, and how long they are."""


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
        pen.shape(box(0, 2, 22, 11, 3, 4), darker(WOOD, 0.45))
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
                pen.shape(box(0, -5.5, 72, 11, 5), WOOD)
                pen.ellipse(math.copysign(34, angle), 0, 3.6, 5.6, "#e0b27a")
    elif kind == "flames":
        for x in rng.sample((-34, 36), rng.randint(0, 2)):
            with pen.moved(x, rng.uniform(-34, -18)):
                pen.shape(sized(DROP, 7, 7), "#ff9f24")


def _water(pen: Pen, x: float, y: float, r: float, angle: float) -> None:
    shade = "M0.1 0.75 Q0.75 0.6 0.72 -0.1 Q0.45 0.4 0.1 0.75 Z"
    with pen.moved(x, y, angle=angle):
        pen.shape(sized(DROP, r, r), pen.main)
        pen.shape(sized(shade, r, r), darker(pen.main, 0.25), outline=False)
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
        for x, y in points_of("-30 -22 0 -26 30 -20 -16 9 16 12 -31 36 1 38 31 37"):
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
        pen.shape(box(0, 33, 28, 14, 2, -2), pen.main)
        if rng.random() < 0.7:
            pen.shape(box(0, 29, 32, 8, 3), pen.accent)


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
        low = points_of(rng.choice(("-18 22", "0 22", "18 22")) if n == 3 else "-21 22 22 22")
        places = points_of("-22 -22 22 -21") + low
    for (x, y), glyph in zip(places, word):
        colour = pen.main if kind != "jumble" else rng.choice((pen.main, pen.main, darker(pen.main, 0.25)))
        with pen.moved(x, y, angle=rng.uniform(-22, 22) * (kind != "row"), scale=size * rng.uniform(0.92, 1.06)):
            if kind == "blocks":
                pen.shape(box(0, -20, 40, 40, 5), pen.main)
                pen.shape(box(0, -15.5, 31, 31, 4), CREAM, outline=False)
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
                pen.shape(rounded(_star(x, y, r, n, inner), 2), pen.main)
        r = 34.0 if kind == "group" else 46.0
        points = _star(0, 0, r, n, inner)
        pen.shape(rounded(points, {"plump": 10.0, "facets": 1.0}.get(kind, 4.0)), pen.main)
        if kind == "facets":
            for i in range(0, 2 * n, 2):
                pen.polygon([(0, 0), points[i], points[i + 1]], darker(pen.main, 0.22), outline=False)
        elif kind == "frame":
            pen.shape(rounded(_star(0, 0, r * 0.66, n, inner), 3), lighter(pen.main, 0.4), outline=False)
        else:
            shine = [(x * 0.62 - 2, y * 0.62 - 1) for x, y in (points[-2], points[-1], points[0])]
            pen.line(smooth_path(shine), lighter(pen.main, 0.6), 3)


def heart(pen: Pen) -> None:
    """A heart: glossy, with an arrow, broken, framed or two together."""
    rng = pen.rng
    kind = rng.choice(("glossy", "arrow", "broken", "frame", "pair"))
    w, h = rng.uniform(40, 46), rng.uniform(40, 48)
    whole, gloss = sized(HEART, w, h), sized("M-0.74 -0.2 Q-0.76 -0.52 -0.5 -0.6", w, h)
    if kind == "broken":
        for side, half in ((-1, LEFT), (1, f"L0 -0.5 {RIGHT}")):
            crack = points_of("0 -0.5 -0.17 -0.18 0.14 0.04 -0.14 0.33 0.12 0.54 0 0.92")[::-side]
            with pen.moved(4 * side, 0, angle=6 * side):
                pen.shape(sized(f"{polyline_path(crack)} {half} Z", w, h), pen.main)
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
            pen.polygon(points_of("-40 16 -52 23 -62 35 -46 37 -34 31 -43 25"), pen.accent)


THINGS: dict[str, Callable[[Pen], None]] = {
    "fire": fire,
    "droplets": droplets,
    "raised hand": raised_hand,
    "letters": letters,
    "star": star,
    "heart": heart,
}
