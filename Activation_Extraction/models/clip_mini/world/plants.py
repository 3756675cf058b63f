"""Plants and a mushroom."""

from __future__ import annotations

import math
from collections.abc import Callable

from Activation_Extraction.models.clip_mini.world.outlines import BARK, LEAF, SAND, WHITE, band, blob, leaf, mirrored
from Activation_Extraction.models.clip_mini.world.pen import Pen, Point, around, darker, lighter, mix

PINK = "#ff8fa3"


def mushroom(pen: Pen) -> None:
    """A mushroom with a domed, bell-shaped or flat cap, sometimes with a small one beside it."""
    rng = pen.rng
    kind, spotted, side = rng.choice(["dome", "bell", "flat"]), rng.random() < 0.75, rng.choice([-1, 1])
    small = rng.random() < 0.45
    if small:
        with pen.moved(side * 27, 29, angle=side * 10, scale=0.42):
            _one_mushroom(pen, rng.choice(["dome", "bell"]), False)
    with pen.moved(-side * 7 if small else 0, 2 if small else 0, scale=0.94 if small else 1):
        _one_mushroom(pen, kind, spotted)
    for x in (-20, 17) if rng.random() < 0.6 else ():
        for lean in (-125, -90, -58):
            pen.shape(leaf(x, 46, 15, 5.5, lean), LEAF)


def tree(pen: Pen) -> None:
    """A tree: a leafy crown, a conifer, or a round crown with branches."""
    rng = pen.rng
    kind = rng.choice(["leafy", "conifer", "round"])
    if kind == "conifer":
        pen.polygon([(-6, 30), (6, 30), (8, 47), (-8, 47)], BARK)
        tiers = rng.choice([3, 4])
        for i in range(tiers):
            bottom, width = 36 - i * 54 / tiers, 38 - i * 22 / tiers
            top = bottom - 76 / tiers - 8 if i < tiers - 1 else -47
            rim = f"{width:.1f} {bottom - 2:.1f} Q0 {bottom + 9:.1f} {-width:.1f} {bottom - 2:.1f}"
            waist, high = width * 0.3, bottom - 14
            path = f"M0 {top:.1f} Q{waist:.1f} {high:.1f} {rim} Q{-waist:.1f} {high:.1f} 0 {top:.1f} Z"
            pen.shape(path, mix(darker(pen.main, 0.2), lighter(pen.main, 0.12), i / (tiers - 1)))
        return
    if kind == "round":
        pen.polygon([(-5, 12), (5, 12), (9, 47), (-9, 47)], BARK)
        crown: list[Point] = [(0, -47), (22, -37), (34, -13), (29, 9), (14, 20), (0, 22)]
        blob(pen, mirrored(crown), pen.main)
        blob(pen, [*crown, (6, 8), (8, -20)], darker(pen.main, 0.14), outline=False)
        pen.line("M0 26 L0 -24 M0 10 L15 -4 M0 0 L-14 -15 M0 -10 L10 -20", BARK, 4)
        return
    pen.polygon([(-6, 8), (6, 8), (6, 30), (13, 46), (-13, 46), (-6, 30)], BARK)
    rx, ry, bumps = rng.uniform(36, 41), rng.uniform(26, 30), rng.choice([7, 8, 9])
    for x in (-15, 15):
        band(pen, [(0, 26), (x * 0.5, 14), (x, 4)], [4, 3.4, 3], BARK)
    turn = rng.uniform(0, 360)
    pen.shape(_cloud(0, -15, rx, ry, bumps, turn), pen.main)
    pen.shape(_cloud(-7, -21, rx * 0.62, ry * 0.56, bumps - 2, turn), lighter(pen.main, 0.25), outline=False)
    if rng.random() < 0.55:
        for x, y in ((-25, -10), (-8, -29), (-4, -3), (13, -17), (27, -7), (22, -31)):
            pen.circle(x + rng.uniform(-2, 2), y + rng.uniform(-2, 2), 4.2, pen.accent, outline=False)


def flower(pen: Pen) -> None:
    """A flower on its stem, with round, long or pointed petals, or a tulip."""
    rng = pen.rng
    bend = rng.uniform(-6, 6)
    band(pen, [(0, -12), (bend, 16), (0, 45)], [2.2, 2.4, 2.8], LEAF)
    for side in rng.choice([(-1, 1), (-1, 1), (-1,), (1,)]):
        pen.shape(leaf(bend * 0.4, 40, 32, 15, -90 + side * rng.uniform(40, 58)), LEAF)
    kind = rng.choice(["tulip", "round", "pointed", "daisy"])
    if kind == "tulip":
        for side in (-1, 1):
            outer = [(side * 3, 9), (side * 24, 4), (side * 30, -15), (side * 24, -40), (side * 9, -26), (0, -6)]
            blob(pen, outer, pen.main)
        blob(pen, mirrored([(0, -45), (12, -28), (16, -8), (10, 7), (0, 11)]), lighter(pen.main, 0.28))
        return
    first, heart = rng.uniform(0, 360), rng.choice(["#ffd23f", "#6b4226", pen.accent])
    count, size = {"round": (5, 9.5), "pointed": (rng.choice([9, 10, 11]), 11), "daisy": (rng.choice([7, 8]), 9)}[kind]
    petals = [first + 360 * i / count for i in range(count)]
    for angle in petals if kind == "pointed" else []:
        pen.shape(leaf(*around(0, -15, 6, angle + 180 / count), 26, 12, angle + 180 / count), darker(pen.main, 0.22))
    for angle in petals:
        if kind == "pointed":
            pen.shape(leaf(*around(0, -15, 4, angle), 28, 13, angle), pen.main)
        else:
            rx, ry = (13, 13) if kind == "round" else (13, 7.2)
            pen.ellipse(*around(0, -15, 18.5, angle), rx, ry, pen.main, angle=angle)
    pen.circle(0, -15, size + 3.5, darker(pen.main, 0.3), outline=False)
    pen.circle(0, -15, size, heart)
    pen.circle(-2, -17, 4, lighter(heart, 0.4), outline=False)


def cactus(pen: Pen) -> None:
    """A cactus in a pot or on sand: a column with arms, a ribbed ball, or flat pads."""
    rng = pen.rng
    kind = rng.choice(["column", "column", "ball", "pads"])
    sandy, blooms = kind == "column" and rng.random() < 0.5, rng.random() < 0.6
    dark, pale = darker(pen.main, 0.3), lighter(pen.main, 0.6)
    tops: list[Point]
    if kind == "column":
        high, low = rng.sample([-12, 0, -6], 2)
        for side, y in ((-1, high), (1, low)):
            arm = [(side * 8, y + 14), (side * 16, y + 14), (side * 26, y + 8), (side * 28, y - 4), (side * 28, y - 14)]
            band(pen, arm, [6.5, 6.5, 7, 7, 6.5], pen.main)
        band(pen, [(0, 27 if sandy else 18), (0, 6), (0, -14), (0, -34)], [12, 12, 12, 10.5], pen.main)
        for x in (-4.5, 4.5):
            pen.line(f"M{x} -30 L{x} 20", dark, 2.2)
        tops = [(0, -44)]
    elif kind == "ball":
        for angle in range(150, 391, 24):
            (ax, ay), (bx, by) = around(0, -2, 27, angle), around(0, -2, 39, angle)
            pen.line(f"M{ax:.1f} {ay:.1f} L{bx:.1f} {by:.1f}", dark, 2.6)
        pen.ellipse(0, -2, 31, 30, pen.main)
        for rx in (9, 22):
            for side in (-1, 1):
                pen.line(f"M{side * rx * 0.5:.1f} -24 Q{side * rx * 1.35:.1f} 0 {side * rx * 0.5:.1f} 24", dark, 2.2)
        for x, y in ((-20, -8), (0, -12), (20, -8), (-13, 8), (13, 8)):
            pen.line(f"M{x - 3.5} {y - 3} L{x} {y + 1} L{x + 3.5} {y - 3}", pale, 2.2)
        tops = [(0, -32)]
    else:
        pads = [(-17, -17, 12, 17, -28), (20, -12, 11, 15, 34), (2, -31, 11, 13, 8), (0, 8, 17, 22, 0)]
        for x, y, rx, ry, lean in pads:
            pen.ellipse(x, y, rx, ry, pen.main, angle=lean)
            for dx, dy in ((-4, -5), (4, 1), (-4, 7)):
                pen.circle(x + dx, y + dy, 1.8, pale, outline=False)
        tops = [(-25, -32), (29, -24)]
    for top in tops if blooms else []:
        for angle in (-150, -30, -90):
            pen.shape(leaf(top[0], top[1] + 4, 13, 8, angle), mix(pen.third, PINK, 0.3))
    if sandy:
        blob(pen, [(-46, 44), (-28, 34), (0, 30), (28, 34), (46, 44), (0, 47)], SAND)
    else:
        pen.polygon([(-20, 26), (20, 26), (15, 47), (-15, 47)], pen.accent)
        pen.polygon([(-24, 20), (24, 20), (23, 29), (-23, 29)], lighter(pen.accent, 0.2))


def _one_mushroom(pen: Pen, kind: str, spotted: bool) -> None:
    """A single mushroom."""
    stem = pen.rng.uniform(8, 11)
    wide, top = {"dome": (43, -58), "bell": (32, -74), "flat": (47, -42)}[kind]
    blob(pen, mirrored([(0, -2), (stem, 0), (stem, 22), (stem + 6, 40), (0, 45)]), SAND)
    if kind != "bell":
        pen.polygon([(-stem - 2, 15), (0, 12), (stem + 2, 15), (stem + 4, 22), (-stem - 4, 22)], lighter(SAND, 0.5))
    pen.shape(f"M{-wide} 2 Q0 -6 {wide} 2 Q{wide * 0.5} 12 0 12 Q{-wide * 0.5} 12 {-wide} 2 Z", darker(SAND, 0.18))
    sag, height = 14 if kind == "bell" else 10, top * 0.9
    pen.shape(f"M{-wide} 3 C{-wide} {height} {wide} {height} {wide} 3 Q0 {sag} {-wide} 3 Z", pen.main)
    if spotted:
        for x, y, r in ((-0.55, 0.2, 5.5), (-0.22, 0.46, 6), (0.08, 0.14, 6.5), (0.34, 0.42, 5), (0.64, 0.16, 5)):
            pen.ellipse(x * wide, y * top, r, r * 0.85, WHITE, outline=False)
    else:
        glow = [(-0.62, 0.2), (-0.45, 0.46), (-0.2, 0.58), (-0.3, 0.42), (-0.48, 0.2)]
        blob(pen, [(x * wide, y * top) for x, y in glow], lighter(pen.main, 0.5), outline=False)


def _cloud(x: float, y: float, rx: float, ry: float, bumps: int, turn: float) -> str:
    """An ellipse whose rim swells in bumps."""
    turns = [math.radians(turn + 360 * i / bumps) for i in range(bumps)]
    points = [(x + rx * 0.9 * math.cos(angle), y + ry * 0.9 * math.sin(angle)) for angle in turns]
    path = f"M{points[0][0]:.2f} {points[0][1]:.2f}"
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        r = math.hypot(bx - ax, by - ay) * 0.56
        path += f" A{r:.2f} {r:.2f} 0 0 1 {bx:.2f} {by:.2f}"
    return path + " Z"


THINGS: dict[str, Callable[[Pen], None]] = {draw.__name__: draw for draw in (mushroom, tree, flower, cactus)}
