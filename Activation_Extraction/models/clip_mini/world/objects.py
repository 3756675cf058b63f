"""Objects: a key, an umbrella, a cup, a clock, a guitar and a crown."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from Activation_Extraction.models.clip_mini.world.outlines import CREAM, HEART, WOOD, box, points_of, rounded, sized
from Activation_Extraction.models.clip_mini.world.pen import (
    INK,
    Pen,
    Point,
    around,
    darker,
    lighter,
    mix,
    smooth_path,
)

STEAM = "#a9b4c6"


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


def key(pen: Pen) -> None:
    """A key: old with a ring, a clover or a square bow, or new with a cut blade."""
    rng = pen.rng
    kind = rng.choice(("ring", "clover", "square", "new"))
    side, angle = rng.choice((-1, 1)), rng.choice((-45, 45, 0, 90, 135)) + rng.uniform(-8, 8)
    with pen.moved(0, 0, angle=angle, scale=1.04, flip=rng.random() < 0.5):
        if kind == "new":
            steel = lighter(mix(pen.main, "#c9ced8", 0.55), 0.1)
            pen.polygon(points_of("-12 -6 40 -6 46 0 40 7 35 3 29 8 23 3 17 7 12 8 -12 8"), steel)
            pen.line("M-6 -2 H36", darker(steel, 0.25), 1.8)
            pen.shape(_wave(-26, 20, rng.choice((3, 4, 6)), 0.05) + _wave(-34, 5, 1, 0, back=True), pen.main)
            return
        teeth = points_of("-12 -4.2 45 -4.2 45 4.2")
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
            pen.shape(rounded(outer, 6) + rounded(hole, 3), pen.main)
        for x in (-5, 1)[: rng.randint(1, 2)]:
            pen.shape(box(x, -6.5, 4.8, 13, 2), darker(pen.main, 0.25))


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
            pen.shape(box(0, -26, 52, 71, 3, 8), pen.main)
            pen.shape(box(0, -8, 50, 28, 3, 3.2), rng.choice((CREAM, "#c89b6c")))
            pen.ellipse(0, 6, 7, 9, brew, angle=30)
            pen.line("M3 -1 Q-3 5 -2 13", lighter(brew, 0.5), 1.8)
            lid = rng.choice(("#e4d9c6", "#4a3428", pen.accent))
            pen.shape(box(0, -42, 42, 11, 4, -3), lid)
            pen.shape(box(0, -34, 60, 9, 4), lid)
        return
    for x in (-14, 0, 14) if rng.random() < 0.6 else (-8, 8):
        pen.line(f"M{x - 4} -21 C{x - 11} -29 {x + 5} -34 {x - 2} -44", STEAM, 3)
    wide = rng.uniform(26, 29) if kind == "mug" else 33.0
    with pen.moved(-5, 0, flip=rng.random() < 0.5):
        if kind == "mug":
            pen.shape(_ear((wide - 0.5, -4), (wide - 1, rng.uniform(26, 31)), 25, 6.5), pen.main)
            mug = "M-1 -11 L-0.93 33 Q-0.9 42 -0.5 42 L0.5 42 Q0.9 42 0.93 33 L1 -11 Z"
            pen.shape(sized(mug, wide, rng.uniform(0.92, 1.08)), pen.main)
        else:
            pen.ellipse(0, 35, 43, 9, rng.choice((pen.main, pen.accent, CREAM)))
            pen.ellipse(0, 34, 26, 4, darker(pen.main, 0.3), outline=False)
            pen.shape(_ear((32.5, -6), (27.5, 17), 21, 5.5), pen.main)
            pen.shape("M-33 -11 C-33 18 -18 35 -12 35 L12 35 C18 35 33 18 33 -11 Z", pen.main)
        mark = rng.choice(("none", "band", "heart", "tag"))
        if mark == "band" and kind == "mug":
            pen.shape(box(0, 8, 2 * wide - 2, 12, 0.5), pen.accent, outline=False)
        elif mark == "heart":
            with pen.moved(0, 14):
                pen.shape(sized(HEART, 9, 9), lighter(pen.main, 0.7), outline=False)
        pen.ellipse(0, -11, wide, 7, lighter(pen.main, 0.55))
        pen.ellipse(0, -10, wide - 4.5, 4.6, brew, outline=False)
        if mark == "tag":
            pen.line("M-12 -8 V12", CREAM, 1.6)
            pen.shape(box(-12, 10, 11, 13, 2), CREAM)


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
        pen.shape(box(0, -43, 86, 86, rng.choice((8, 22))), pen.main)
    else:
        swing = rng.uniform(-16, 16)
        pen.shape(box(0, -24, 54, 69, 3), pen.main)
        pen.shape(box(0, 14, 38, 25, 3), darker(pen.main, 0.5), outline=False)
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
            guard = points_of("-6 12 -12 22 -9 34 4 40 15 43 16 36 8 30 9 16")
            pen.polygon(points_of(body), pen.main, smooth=True)
            pen.polygon(guard, rng.choice((CREAM, pen.accent)), smooth=True, outline=False)
        else:
            pen.shape(rounded(points_of("0 0 9 3 36 45 24 53 0 29 -24 53 -36 45 -9 3"), 6), pen.main)
        end = 16 if kind == "electric" else 11
        pen.polygon([(-2.8, -38), (2.8, -38), (3.6, end), (-3.6, end)], neck)
        pen.shape(box(0, -57, 12, 21, 3, 2), head)
        for y in (39,) if kind == "acoustic" else (14, 21) if kind == "vee" else (18, 26):
            pen.shape(box(0, y, 16 if kind == "acoustic" else 13, 4.5, 1.5), "#2e2622", outline=False)
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
        half = points_of("12 -18 18 2 25 -14 34 -24 42 -12 38 28")
        pen.shape(rounded([*((-x, y) for x, y in half[::-1]), (0, -40), *half], 7), pen.main)
        for x, y, r in ((-34.0, -4.0, 4.2), (0.0, -16.0, 5.9), (34.0, -4.0, 4.2)):
            pen.circle(x, y, r, gem)
    w, base = (w + 1.5, base) if kind == "pointed" else (37.5, 28)
    band = f"M{-w:.1f} {base - 16:.1f} Q0 {base - 7:.1f} {w:.1f} {base - 16:.1f} L{w - 1:.1f} {base:.1f}"
    pen.shape(f"{band} Q0 {base + 9:.1f} {1 - w:.1f} {base:.1f} Z", darker(pen.main, 0 if kind == "royal" else 0.18))
    for x in (-0.62, 0.62):
        pen.circle(x * w, base - 6.1, 3.8, lighter(gem, 0.55), outline=False)
    pen.shape(rounded([around(0, base - 3.5, r, t) for r, t in ((7, 0), (6, 90), (7, 180), (6, 270))], 1), gem)


THINGS: dict[str, Callable[[Pen], None]] = {
    "key": key,
    "umbrella": umbrella,
    "cup": cup,
    "clock": clock,
    "guitar": guitar,
    "crown": crown,
}
