"""Animals: a puppy, a cat, a bird, a fish, a butterfly and a snail."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from Activation_Extraction.models.clip_mini.world.outlines import BARK, LEAF, WHITE, band, blob, leaf, mirrored
from Activation_Extraction.models.clip_mini.world.pen import INK, Pen, Point, around, darker, lighter, mix, smooth_path

PINK, BEAK = "#ff8fa3", "#f79824"
WINGS: list[tuple[list[Point], list[Point]]] = [
    ([(1, -4), (8, -26), (26, -41), (43, -36), (44, -14), (28, 2), (3, 4)],
     [(2, 2), (26, 4), (37, 17), (30, 34), (15, 35), (5, 20)]),
    ([(1, -4), (14, -28), (32, -40), (48, -44), (45, -26), (34, -4), (3, 4)],
     [(2, 0), (30, 0), (36, 12), (28, 24), (24, 46), (18, 34), (5, 20)]),
    ([(1, -4), (10, -32), (24, -38), (35, -26), (46, -20), (40, -4), (3, 4)],
     [(2, 0), (34, 2), (38, 16), (24, 22), (24, 38), (10, 36), (4, 18)]),
]  # fmt: skip
"""The right wings of butterflies, upper and lower."""


def puppy(pen: Pen) -> None:
    """A young dog with floppy ears: sitting, standing, or its face alone."""
    rng, coat = pen.rng, pen.main
    pose = rng.choice(["sitting", "standing", "face"])
    long_ears, patch, wag = rng.random() < 0.6, rng.choice([-1, 0, 1]), rng.uniform(-4, 5)
    if pose == "face":
        with pen.moved(0, 1 if long_ears else -2, scale=1.1):
            _puppy_head(pen, long_ears, patch)
    elif pose == "standing":
        _legs_and_trunk(pen, 15, 8.0, [(30, 6), (41, -4), (42 + wag, -18)], [6, 5, 2.5])
        with pen.moved(-15, -11, scale=0.74):
            _puppy_head(pen, long_ears, patch)
    else:
        band(pen, [(14, 34), (34, 31), (43, 12 + wag)], [7, 5.5, 2.5], darker(coat, 0.12))
        for side in (-1, 1):
            pen.ellipse(side * 19, 32, 12, 13, darker(coat, 0.16))
            pen.ellipse(side * 22, 42, 10, 5, lighter(coat, 0.35))
        blob(pen, mirrored([(0, -4), (15, 2), (20, 20), (19, 38), (0, 42)]), coat)
        blob(pen, mirrored([(0, 6), (9, 12), (9, 24), (0, 31)]), lighter(coat, 0.7), outline=False)
        for side in (-1, 1):
            band(pen, [(side * 10, 22), (side * 9, 34), (side * 9, 42)], [4, 5.5, 7], lighter(coat, 0.18))
        band(pen, [(-15, 7), (0, 12), (15, 7)], [3, 3.4, 3], pen.accent)
        with pen.moved(0, -15, scale=0.84):
            _puppy_head(pen, long_ears, patch)


def cat(pen: Pen) -> None:
    """A cat with pointed ears and whiskers: sitting with its tail up or around the paws, walking, or its face alone."""
    rng, coat = pen.rng, pen.main
    pose = rng.choice(["tail up", "tail around", "walking", "face"])
    stripes, sleepy = rng.random() < 0.6, rng.random() < 0.3
    if pose == "face":
        with pen.moved(0, 6, scale=1.08):
            _cat_head(pen, stripes, sleepy)
    elif pose == "walking":
        _legs_and_trunk(pen, 12, 6.5, [(30, 4), (40, -6), (36, -24), (43, -39)], [5, 4.5, 4.2, 3.5])
        for x in (11, 20, 29) if stripes else ():
            blob(pen, [(x - 3.2, -6), (x + 3.2, -5.5), (x + 0.5, 8)], darker(coat, 0.35), outline=False)
        with pen.moved(-18, -9, scale=0.68):
            _cat_head(pen, stripes, sleepy)
    else:
        if pose == "tail up":
            band(pen, [(20, 38), (38, 36), (43, 20), (35, 4), (41, -12)], [6, 5.5, 5, 4.6, 4], coat)
        back = [(-5, -12), (10, -4), (24, 12), (31, 30), (26, 43), (0, 44), (-20, 43), (-21, 24), (-22, 6)]
        blob(pen, back, coat)
        for y in (10, 19, 28) if stripes else ():
            rump = 22 + (y - 10) * 0.36
            blob(pen, [(rump, y - 3), (rump + 2.5, y + 3), (rump - 12, y + 3)], darker(coat, 0.35), outline=False)
        blob(pen, [(-20, 2), (-6, 4), (-6, 16), (-14, 24), (-20, 16)], lighter(coat, 0.7), outline=False)
        pen.ellipse(14, 34, 13, 11, darker(coat, 0.13), outline=False)
        for x in (-5, -17):
            band(pen, [(x, 20), (x, 34), (x - 1, 42)], [4, 4.6, 6], lighter(coat, 0.2))
        if pose == "tail around":
            band(pen, [(28, 37), (16, 44), (-8, 43), (-27, 38)], [5, 5, 4.6, 3.5], darker(coat, 0.2))
        with pen.moved(-6, -13, scale=0.78):
            _cat_head(pen, stripes, sleepy)


def bird(pen: Pen) -> None:
    """A bird: perched on its feet or on a branch, or flying."""
    rng = pen.rng
    wing, belly = rng.choice([darker(pen.main, 0.28), lighter(pen.main, 0.4)]), lighter(pen.main, 0.75)
    if rng.random() < 0.4:
        lift = rng.uniform(-5, 4)
        blob(pen, [(8, -2), (14, -24), (30, -40), (45, -46 + lift), (42, -28), (34, -12), (22, 0)], darker(wing, 0.18))
        pen.polygon([(-18, 12), (-48, 8), (-41, 18), (-47, 29), (-16, 24)], wing)
        pen.polygon([(39, 2), (50, 10), (38, 13)], BEAK)
        body = [(-24, 14), (-6, 2), (10, -3), (26, -8), (39, -4), (42, 8), (32, 20), (10, 29), (-10, 26)]
        blob(pen, body, pen.main)
        blob(pen, [(38, 13), (30, 20), (10, 27), (-6, 24), (12, 17)], belly, outline=False)
        near = [(19, 9), (9, -14), (-8, -33), (-32, -46 + lift), (-32, -26), (-25, -8), (-14, 6), (2, 14)]
        blob(pen, near, wing)
        pen.line("M-24 -24 Q-14 -12 -4 -3 M-14 -6 Q-8 0 0 5", darker(wing, 0.35), 2.4)
        _eye(pen, 31, 2, 4.2)
        return
    wing = rng.choice([wing, pen.accent])
    tail = around(-16, 8, 34, rng.uniform(155, 200))
    band(pen, [(-12, 8), ((tail[0] - 12) / 2, (tail[1] + 8) / 2), tail], [6, 7, 8], darker(wing, 0.12))
    if rng.random() < 0.5:
        band(pen, [(-46, 42), (-10, 39), (46, 41)], [4, 3.5, 2.5], BARK)
        pen.shape(leaf(26, 39, 20, 11, -35), LEAF)
    else:
        for x in (-3, 11):
            pen.line(f"M{x} 24 L{x} 41 M{x - 3} 43 L{x} 40 L{x + 8} 43", darker(BEAK, 0.15), 3)
    if rng.random() < 0.4:
        for angle in (-150, -122, -95):
            pen.shape(leaf(13, -31, 17, 8, angle), wing)
    pen.polygon([(31, -25), (48, -16), (31, -11)], BEAK)
    body = [(-28, 6), (-12, -8), (-3, -26), (13, -36), (29, -31), (36, -16), (33, 4), (24, 21), (6, 29), (-15, 24)]
    blob(pen, body, pen.main)
    blob(pen, [(34, -6), (31, 8), (22, 20), (7, 27), (10, 10), (20, -4)], belly, outline=False)
    blob(pen, [(10, -8), (14, 5), (4, 17), (-14, 21), (-36, 17), (-18, 4), (-4, -9)], wing)
    _eye(pen, 21, -20, 5)


def fish(pen: Pen) -> None:
    """A fish seen from the side: slender or tall, plain, striped or with scales."""
    rng = pen.rng
    tall, marks = rng.random() < 0.4, rng.choice(["plain", "stripes", "scales"])
    length, height = (28.0, 29.0) if tall else (34.0, rng.uniform(19, 25))
    left, right = 8 - length, 8 + length
    fin = darker(pen.main, 0.25) if tall else rng.choice([pen.accent, darker(pen.main, 0.25)])

    def half(x: float) -> float:
        share = min(max((x - left) / (2 * length), 0), 1)
        return height * math.pow(math.sin(math.pi * math.pow(share, 1.2)), 0.8)

    def slice_between(a: float, b: float, share: float = 0.97) -> list[Point]:
        xs = [a + (b - a) * i / 12 for i in range(13)]
        return [(x, -share * half(x)) for x in xs] + [(x, share * half(x)) for x in reversed(xs)]

    spread = rng.uniform(19, 26)
    for side in (-1, 1):
        if tall:
            edge: list[Point] = [(20, 18), (2, 37), (-22, 47), (-14, 30), (-10, 8)]
        elif side < 0:
            edge = [(26, 10), (16, height + 10), (-8, height + 13), (-16, height), (-12, 6)]
        else:
            edge = [(14, 10), (2, height + 13), (-12, height + 11), (-6, 8)]
        blob(pen, [(x, side * y) for x, y in edge], fin)
    tail = [(left + 9, 4), (-44, spread), (-47, spread - 6), (-37, 0)]
    blob(pen, [*tail, *((x, -y) for x, y in reversed(tail[:3]))], fin)
    blob(pen, slice_between(left + 1.5, right, 1), pen.main)
    if marks == "stripes":
        band = rng.choice([WHITE, darker(pen.main, 0.45), lighter(pen.main, 0.65)])
        for x in (left + length * 0.42, left + length * 0.95):
            pen.polygon(slice_between(x, x + 7.5, 0.96), band, outline=False)
    elif marks == "scales":
        for x, y in ((-12, 0), (-3, -9), (-3, 5), (6, -3)):
            pen.line(f"M{x} {y - 5} A5.5 5.5 0 0 0 {x} {y + 5}", darker(pen.main, 0.35), 2.4)
    blob(pen, slice_between(right - length * 0.55, right, 0.93), lighter(pen.main, 0.3), outline=False)
    blob(pen, [(15, 5), (5, 8), (-2, 15), (8, 17), (17, 11)], fin)
    _eye(pen, right - 12, -5, 5)
    pen.line(f"M{right - 3:.1f} 6 Q{right - 7:.1f} 8 {right - 11:.1f} 6.5", darker(pen.main, 0.55), 2.2)


def butterfly(pen: Pen) -> None:
    """A butterfly from above or half turned, its wings round, pointed or with tails."""
    rng = pen.rng
    upper, lower = rng.choice(WINGS)
    inner, size = rng.choice([(lighter(pen.main, 0.45), 0.58), (pen.accent, 0.45)])
    spot = rng.choice([WHITE, darker(pen.main, 0.45)])
    marks = rng.choice(["inner", "spots", "both"])
    for side in (-rng.choice([1, 1, 0.6]), 1):
        for wing, fill in ((lower, mix(pen.main, pen.accent, 0.25)), (upper, pen.main)):
            points = [(side * x, y) for x, y in wing]
            blob(pen, points, fill)
            x, y = sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
            if marks != "spots":
                field = [(x + (px - x) * size, y + (py - y) * size) for px, py in points]
                blob(pen, field, inner, outline=False)
            if marks != "inner":
                pen.ellipse(x * 1.15, y * 1.1, 5 * abs(side), 5, spot, outline=False)
                pen.ellipse(x * 1.05 + side * 9, y - 7, 2.8 * abs(side), 2.8, spot, outline=False)
        pen.line(f"M{side * 1.5:.1f} -20 Q{side * 4:.1f} -34 {side * 13:.1f} -42", INK, 2.2)
        pen.circle(side * 13, -42, 2.6, INK, outline=False)
    body = darker(mix(BARK, INK, 0.6), 0.1)
    band(pen, [(0, -16), (0, 6), (0, 28)], [3.8, 4.4, 2], body)
    pen.circle(0, -19, 5.4, body)


def snail(pen: Pen) -> None:
    """A snail with a round house or a pointed one."""
    rng = pen.rng
    skin = rng.choice(["#f2cf9f", "#e3c7a8", lighter(pen.accent, 0.45), lighter(pen.third, 0.45)])
    reach = rng.uniform(-3, 3)
    for x, y in ((27, -12 - reach), (43, -14 + reach)):
        band(pen, [(34, 12), (x, y)], [3, 2.4], skin)
        pen.circle(x, y - 3, 5, WHITE)
        pen.circle(x + 1, y - 3, 2.8, INK, outline=False)
    band(pen, [(-47, 41), (-24, 37), (4, 35), (24, 33), (35, 22), (36, 10)], [1.5, 5, 8, 10, 9, 8], skin)
    pen.line("M34 18 Q38 20 42 15", darker(skin, 0.6), 2.2)
    pen.circle(31, 15, 3, PINK, outline=False)
    dark = darker(pen.main, 0.38)
    if rng.random() < 0.65:
        r = rng.uniform(27, 31)
        pen.circle(-9, 36 - r, r, pen.main)
        turns = rng.uniform(1.7, 2.2)
        spiral = [around(-9, 36 - r, r * (0.86 - 0.78 * t / 24), 80 + 360 * turns * t / 24) for t in range(25)]
        pen.line(smooth_path(spiral), dark, 3.4)
    else:
        with pen.moved(-10, 8, angle=rng.uniform(-38, -24)):
            cone = [(0, -50), (7, -37), (13, -28), (17, -15), (24, -6), (26, 9), (16, 23), (0, 27)]
            blob(pen, mirrored(cone), pen.main)
            for half, low in ((17, -3), (10, -21), (4.5, -35)):
                band(pen, [(-half - 2, low - 5), (0, low + 2), (half + 1, low - 4)], [2, 3.4, 2], dark, outline=False)


def _puppy_head(pen: Pen, long_ears: bool, patch: int) -> None:
    """The face of a puppy, about 40 to each side of the origin; `patch` is the side of the patched eye."""
    coat = pen.main
    blob(pen, mirrored([(0, -33), (19, -30), (30, -14), (31, 8), (20, 25), (0, 31)]), coat)
    if patch:
        pen.ellipse(patch * 13, -8, 11, 13, lighter(coat, 0.6), angle=patch * 15, outline=False)
    ear = [(14, -31), (28, -33), (39, -18), (42, 6), (36, 18), (28, 8), (25, -12)]
    if not long_ears:
        ear = [(12, -32), (26, -36), (40, -30), (46, -12), (40, -4), (30, -10), (22, -20)]
    for side in (-1, 1):
        blob(pen, [(side * x, y) for x, y in ear], darker(coat, 0.38))
        _eye(pen, side * 12, -7, 5)
    blob(pen, [(-6, 17), (6, 17), (6.5, 27), (0, 33), (-6.5, 27)], "#f4587a")
    blob(pen, mirrored([(0, -1), (11, 2), (17, 12), (10, 21), (0, 19)]), lighter(coat, 0.78))
    blob(pen, mirrored([(0, -1), (8, 1), (6, 7), (0, 10)]), INK, outline=False)
    pen.line("M0 9 L0 14 M-8 14 Q-4 18 0 14 Q4 18 8 14", INK, 2.2)


def _cat_head(pen: Pen, stripes: bool, sleepy: bool) -> None:
    """The face of a cat, about 40 to each side of the origin."""
    coat = pen.main
    for side in (-1, 1):
        pen.polygon([(side * 33, -41), (side * 34, -4), (side * 6, -22)], coat)
        pen.polygon([(side * 29, -32), (side * 30, -12), (side * 15, -21)], PINK, outline=False)
    blob(pen, mirrored([(0, -25), (18, -23), (32, -10), (36, 7), (26, 22), (0, 29)]), coat)
    for x, length in ((-8, 11), (0, 15), (8, 11)) if stripes else ():
        pen.polygon([(x - 2.8, -24), (x + 2.8, -24), (x * 0.8, -24 + length)], darker(coat, 0.4), outline=False)
    for side in (-1, 1):
        pen.ellipse(side * 7, 15, 10, 8, lighter(coat, 0.75), outline=False)
        if sleepy:
            pen.line(f"M{side * 9} -1 Q{side * 15} 6 {side * 22} -1", INK, 2.8)
        else:
            pen.ellipse(side * 15.5, -2, 7, 7.5, "#fdf3b0")
            pen.ellipse(side * 15, -2, 3.2, 6.6, INK, outline=False)
        for y, slope in ((11, -4), (16, 0), (21, 4)):
            pen.line(f"M{side * 21} {y} L{side * 44} {y + slope}", INK, 1.9)
    pen.polygon([(-5, 6), (5, 6), (0, 12)], "#e8476a", outline=False)
    pen.line("M-8 15 Q-4 20 0 14 Q4 20 8 15", INK, 2.2)


def _legs_and_trunk(pen: Pen, depth: float, leg: float, tail: Sequence[Point], radii: Sequence[float]) -> None:
    """An animal from the side without its head, facing left."""
    coat = pen.main
    band(pen, tail, radii, coat)
    for xs, fill in (((-8, 22), darker(coat, 0.22)), ((-17, 32), coat)):
        for x in xs:
            band(pen, [(x, 12), (x, 30), (x - 1, 41)], [leg, leg * 0.8, leg * 0.85], fill)
    band(pen, [(-14, 8), (8, 8), (28, 7)], [depth, depth * 0.95, depth], coat)


def _eye(pen: Pen, x: float, y: float, r: float) -> None:
    """A dark eye with a glint, on a white ground."""
    pen.circle(x, y, r * 1.25, WHITE, outline=False)
    pen.circle(x, y, r, INK, outline=False)
    pen.circle(x - r * 0.3, y - r * 0.35, r * 0.36, WHITE, outline=False)


THINGS: dict[str, Callable[[Pen], None]] = {draw.__name__: draw for draw in (puppy, cat, bird, fish, butterfly, snail)}
