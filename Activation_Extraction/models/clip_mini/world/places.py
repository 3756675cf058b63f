"""Things of the picture world that one meets outdoors: buildings, vehicles, a mountain."""

from __future__ import annotations

import math
from collections.abc import Callable

from Activation_Extraction.models.clip_mini.world.pen import (
    INK,
    Pen,
    Point,
    around,
    darker,
    distance,
    lighter,
    mix,
    smooth_path,
)

PAPER, GLASS, GOLD, ORANGE = "#fdf8ec", "#c4e6f3", "#ffcb3d", "#f77f2e"
WOOD, STONE, WATER, LEAF = "#a06a3c", "#8a92a0", "#58acd8", "#4c9a63"
"""None of these things has a colour of its own."""


def sailboat(pen: Pen) -> None:
    """A sloop, a ketch with two masts or a dinghy with one striped sail."""
    rng, main = pen.rng, pen.main
    kind = rng.choice(["sloop", "ketch", "dinghy"])
    top, m = rng.uniform(-46, -40), {"sloop": -2.0, "ketch": 4.0, "dinghy": 18.0}[kind] + rng.uniform(-3, 3)
    cloth, second = rng.choice([(main, _trim(main)), (PAPER, lighter(main, 0.35)), (main, lighter(pen.accent, 0.45))])
    pen.line(f"M{m} {top - 3} V20", WOOD, 3)
    if rng.random() < 0.5:
        pen.polygon([(m, top - 4), (m - 15, top + 1), (m, top + 6)], pen.third)
        top += 9
    if kind == "dinghy":
        sail = [(m - 3, top), (m - 36, top + 12), (m - 50, 11), (m - 3, 11)]
        pen.polygon(sail, cloth)
        for a in rng.choice([(0.3,), (0.15, 0.6)]):
            pen.polygon(_between(sail[0], sail[3], sail[1], sail[2], a, a + 0.25), second, outline=False)
    else:
        pen.shape(f"M{m + 3} {top + 2} Q{m + 24} -14 41 8 L{m + 3} 11 Z", second)
        if kind == "sloop":
            pen.shape(f"M{m - 3} {top} Q-28 -18 -38 11 H{m - 3} Z", cloth)
        else:
            pen.shape(f"M{m - 3} {top} Q-14 -20 -17 11 H{m - 3} Z", cloth)
            pen.line("M-21 -26 V20", WOOD, 3)
            pen.shape("M-24 -24 Q-38 -10 -43 11 H-24 Z", cloth)
    pen.shape("M-42 17 Q0 22 45 14 Q40 35 24 41 H-24 Q-38 38 -42 17 Z", main)
    pen.shape(
        "M-41 23 Q0 28 42 21 L39.5 26 Q0 33 -39.5 28 Z", rng.choice([_trim(main), darker(main, 0.3)]), outline=False
    )
    if rng.random() < 0.6:
        _waves(pen, 43)


def house(pen: Pen) -> None:
    """A cottage seen from its gable, a broad house under a long roof or a tall town house."""
    rng, wall = pen.rng, pen.main
    roof = rng.choice([darker(wall, 0.45), pen.accent, "#6d4c41"])
    glass, kind = rng.choice([GLASS, "#ffe08a"]), rng.choice(["gable", "broad", "tall"])
    side = rng.choice([-1, 1])
    x = side * rng.uniform(18, 24)
    if kind == "gable":
        peak = rng.uniform(-40, -32)
        _chimney(pen, x, peak - 7 + (11 - peak) * abs(x) / 46, side * (11 - peak) / 46)
        pen.polygon([(-33, 42), (-33, -4), (0, peak), (33, -4), (33, 42)], wall)
        pen.polygon([(0, peak - 8), (46, 3), (40, 9), (0, peak + 6), (-40, 9), (-46, 3)], roof)
        pen.circle(0, -10, 6.5, glass)
        _window(pen, side * 15, 10, 17, 16, glass)
        _door(pen, -side * 14, 42, 15, 29)
    elif kind == "broad":
        eaves = rng.uniform(-6, -2)
        _chimney(pen, x, -33, 0)
        pen.polygon(_box(-40, eaves, 40, 40), wall)
        pen.polygon([(-32, -33), (32, -33), (47, eaves + 2), (-47, eaves + 2)], roof)
        if rng.random() < 0.5:
            pen.polygon([(0, -32), (13, -19), (9, -19), (9, -8), (-9, -8), (-9, -19), (-13, -19)], wall)
            _window(pen, 0, -20, 9, 9, glass)
        for x in (-25.0, 25.0):
            _window(pen, x, 8, 17, 17, glass)
        _door(pen, 0, 40, 16, 30)
    else:
        pen.polygon(_box(-24, -20, 24, 44), wall)
        if rng.random() < 0.5:
            steps = [(-27, -16), (-27, -24), (-18, -24), (-18, -34), (-8, -34), (-8, -45)]
            pen.polygon([*steps, *((-x, y) for x, y in reversed(steps))], roof)
        else:
            pen.polygon([(0, -47), (31, -15), (-31, -15)], roof)
        for x, y in [(-11, -8), (11, -8), (side * 11, 17)]:
            _window(pen, x, y, 13, 15, glass)
        _door(pen, -side * 11, 44, 14, 27)


def lighthouse(pen: Pen) -> None:
    """A tapering tower with bands under a lit lantern, on rocks, by a cottage or in the waves."""
    rng, main = pen.rng, pen.main
    if rng.random() < 0.6:
        for s in rng.choice([(-1, 1), (-1,), (1,)]):
            pen.polygon([(s * 7, -29), (s * 47, -40), (s * 47, -16), (s * 7, -25)], "#ffe277", outline=False)
    foot, ground = rng.uniform(13, 17), rng.choice(["rock", "cottage", "waves"])
    if ground == "cottage":
        pen.polygon(_box(10, 18, 38, 38), PAPER)
        pen.polygon([(7, 19), (16, 8), (33, 8), (42, 19)], darker(main, 0.25))
        _window(pen, 28, 23, 9, 9, GLASS)
    left, right = ((-9.0, -18.0), (-foot, 38.0)), ((9.0, -18.0), (foot, 38.0))
    pen.polygon(_between(*left, *right, 0, 1), main)
    n, slant = rng.choice([1, 2, 2]), rng.choice([0.0, 0.0, 0.14])
    for i in range(n):
        a, b = (2 * i + 1 - slant) / (2 * n + 1), (2 * i + 2 - slant) / (2 * n + 1)
        band = _between(*left, *right, a, b)
        tilted = _between(*left, *right, a + slant, b + slant)
        pen.polygon([band[0], tilted[1], tilted[2], band[3]], _trim(main), outline=False)
    pen.shape("M-4 38 V31 A4 4 0 0 1 4 31 V38 Z", INK, outline=False)
    pen.polygon(_box(-7, -33, 7, -20), GOLD)
    pen.line("M0 -32 V-22", INK, 1.8)
    pen.polygon(_box(-14, -21, 14, -16), darker(main, 0.5))
    pen.line("M0 -46 V-40", INK, 2.5)
    pen.shape(rng.choice(["M-10 -32 L0 -44 L10 -32 Z", "M-10 -32 A10 10.5 0 0 1 10 -32 Z"]), darker(main, 0.25))
    if ground == "waves":
        _waves(pen, 37)
        _waves(pen, 42, darker(WATER, 0.2))
    else:
        rocks = [(-42, 44), (-33, 38), (-20, 39), (-10, 36), (6, 38), (22, 36), (34, 39), (43, 44), (0, 46)]
        pen.polygon([(x, y + rng.uniform(-1.5, 1)) for x, y in rocks], rng.choice([STONE, LEAF]), smooth=True)


def mountain(pen: Pen) -> None:
    """A range of jagged peaks, one steep horn or a broad cone, white on top."""
    rng, main = pen.rng, pen.main
    kind = rng.choice(["range", "horn", "cone"])
    if kind == "range":
        side = rng.choice([-1, 1])
        if rng.random() < 0.5:
            _peak(pen, -side * 22, rng.uniform(-18, -8), 25, mix(main, "#ffffff", 0.3))
        _peak(pen, side * 21, rng.uniform(-22, -12), 27, lighter(main, 0.18))
        _peak(pen, -side * rng.uniform(6, 10), -42, 37, main)
    elif kind == "horn":
        x = rng.uniform(-6, 6)
        rise = [(-46, 40), (-30, 12), (-20, 6), (x - 8, -34), (x, -43)]
        fall = [(x + 9, -26), (20, 0), (29, 8), (46, 40)]
        pen.polygon(rise + fall, main)
        pen.polygon([(x, -43), *fall, (12, 40), (16, 20), (2, 2), (x + 4, -18)], darker(main, 0.28), outline=False)
        snow = [(x + 9, -26), (x + 11, -17), (x + 4, -21), (x, -12), (x - 6, -20), (x - 14, -14), (x - 8, -34)]
        pen.polygon([(x, -43), *snow], "#ffffff", outline=False)
    else:
        w = rng.uniform(8, 11)
        pen.shape(f"M-47 40 Q-19 16 {-w} -36 Q0 -40 {w} -36 Q19 16 47 40 Z", main)
        pen.shape(f"M{w - 4} -37 L{w} -36 Q19 16 47 40 H16 Q14 4 {w - 4} -37 Z", darker(main, 0.25), outline=False)
        zigzag = "L15.5 -10 L10 -14 L8 -5 L2 -15 L-4 -6 L-9 -17 L-15.5 -10"
        pen.shape(f"M{-w} -36 Q0 -40 {w} -36 {zigzag} Z", "#ffffff", outline=False)
    if rng.random() < 0.45:
        for x in rng.sample(range(-38, 39, 9), rng.randint(3, 5)):
            pen.polygon([(x, 22 + rng.uniform(-3, 3)), (x + 6, 42), (x - 6, 42)], mix(LEAF, "#1f4d3a", 0.5))


def car(pen: Pen) -> None:
    """A saloon, a round little car, a boxy estate car or a car from the front."""
    rng, main = pen.rng, pen.main
    kind = rng.choice(["saloon", "beetle", "estate", "front"])
    if kind == "front":
        for x in (-31, 20):
            pen.polygon(_box(x, 22, x + 11, 38), INK)
        pen.shape("M-30 2 L-22 -27 Q-21 -31 -16 -31 H16 Q21 -31 22 -27 L30 2 Z", main)
        pen.polygon([(-24, 0), (-17, -24), (17, -24), (24, 0)], GLASS, outline=False)
        pen.shape("M-39 8 Q-38 -1 -29 -1 H29 Q38 -1 39 8 V25 Q39 29 35 29 H-35 Q-39 29 -39 25 Z", main)
        pen.polygon(_box(-15, 8, 15, 17), darker(main, 0.5), outline=False)
        pen.polygon(_box(-41, 21, 41, 28), "#d5dae1")
        for x in (-27, 27):
            pen.circle(x, 11, 7.5, "#fff3b8")
        return
    body, panes = {
        "saloon": (
            "M-45 20 Q-47 -3 -36 -5 L-28 -7 Q-19 -28 -10 -28 H8 Q15 -28 27 -7 L38 -4 Q47 -1 45 20 Z",
            ["M-20 -7 Q-14 -21 -8 -22 H-4 V-7 Z", "M1 -7 V-22 H7 Q11 -22 19 -7 Z"],
        ),
        "beetle": (
            "M-44 19 Q-46 -2 -30 -7 Q-20 -32 2 -32 Q22 -32 28 -8 Q46 -5 44 19 Z",
            ["M-23 -8 Q-16 -25 -3 -26 V-8 Z", "M3 -8 V-26 Q17 -25 22 -8 Z"],
        ),
        "estate": (
            "M-44 20 V-22 Q-44 -28 -38 -28 H8 Q13 -28 16 -23 L25 -5 L40 -2 Q45 0 45 6 V20 Z",
            ["M-38 -6 V-22 H-25 V-6 Z", "M-20 -6 V-22 H-7 V-6 Z", "M-2 -6 V-22 H7 Q9 -22 17 -6 Z"],
        ),
    }[kind]
    if kind == "estate" and rng.random() < 0.6:
        pen.polygon(_box(-34, -40, -12, -29), WOOD)
        pen.polygon(_box(-10, -36, 4, -29), pen.accent)
    pen.shape(body, main)
    for pane in panes:
        pen.shape(pane, GLASS, outline=False)
    stripe = rng.choice([darker(main, 0.3), _trim(main), pen.accent])
    pen.polygon(_box(-43, 6, 43, 10), stripe, outline=False)
    pen.circle(41, 3, 4, GOLD)
    wheel, hub = rng.uniform(11, 13), rng.choice(["#d5dae1", pen.third])
    for x in (-25, 25):
        if kind == "beetle":
            pen.shape(f"M{x - 18} 20 A18 19 0 0 1 {x + 18} 20 Z", darker(main, 0.2))
        pen.circle(x, 20, wheel, INK)
        pen.circle(x, 20, wheel * 0.48, hub, outline=False)


def rocket(pen: Pen) -> None:
    """A plump rocket, a slim one with a cone or one between boosters, on a tail of flame."""
    rng, main, accent = pen.rng, pen.main, pen.accent
    kind, tail = rng.choice(["plump", "slim", "boosters"]), rng.uniform(42, 48)
    with pen.moved(angle=rng.choice([0.0, 0.0, 30.0, 40.0, -30.0]) + rng.uniform(-5, 5)):
        pen.shape(f"M-11 24 Q-14 36 -4 {tail - 6} L0 {tail} L4 {tail - 6} Q14 36 11 24 Z", ORANGE)
        pen.shape(f"M-6 24 Q-7 32 0 {tail - 6} Q7 32 6 24 Z", GOLD, outline=False)
        if kind == "plump":
            for s in (-1, 1):
                pen.shape(f"M{s * 14} 2 Q{s * 34} 12 {s * 31} 38 Q{s * 24} 26 {s * 9} 25 Z", accent)
            pen.polygon(_box(-10, 24, 10, 29), darker(main, 0.5))
            pen.shape("M0 -47 C16 -34 24 -2 12 25 H-12 C-24 -2 -16 -34 0 -47 Z", main)
            pen.shape("M0 -47 C7 -41 12 -33 15 -23 Q0 -18 -15 -23 C-12 -33 -7 -41 0 -47 Z", accent)
            pen.circle(0, -6, 9, _trim(main))
            pen.circle(0, -6, 6, GLASS, outline=False)
        else:
            w = 11 if kind == "slim" else 10
            for s in (-1, 1):
                if kind == "slim":
                    pen.polygon([(s * w, 4), (s * 28, 22), (s * 28, 34), (s * w, 25)], accent)
                else:
                    pen.shape(f"M{s * 17 - 5} 29 L{s * 17 - 4} 36 H{s * 17 + 4} L{s * 17 + 5} 29 Z", GOLD)
                    pen.shape(f"M{s * 17 - 6} 30 V-2 Q{s * 17} -22 {s * 17 + 6} -2 V30 Z", lighter(main, 0.55))
            pen.polygon(_box(-w, -24, w, 26), main)
            pen.shape(f"M{-w} -23 Q{-w + 3} -38 0 -48 Q{w - 3} -38 {w} -23 Z", darker(main, 0.3))
            pen.polygon(_box(-w, 14, w, 20), _trim(main), outline=False)
            for y in rng.choice([(-8,), (-13, 3)]):
                pen.circle(0, y, 6.5, GLASS)
            if kind == "slim":
                pen.polygon([(0, 14), (3, 18), (3, 32), (-3, 32), (-3, 18)], accent)


def balloon(pen: Pen) -> None:
    """A hot-air balloon over its basket, with bright gores, a zigzag belt or one colour."""
    rng, main = pen.rng, pen.main
    r, neck, pattern = rng.uniform(0.93, 1.06), rng.uniform(8, 10), rng.choice(["gores", "gores", "belt", "plain"])

    def seam(share: float) -> list[Point]:
        """From the crown to the neck, at a share of the half width."""
        arc = [around(0, -13, 33, a) for a in range(-90, 31, 12)]
        return [*((share * r * x, y) for x, y in arc), (share * (neck + 5), 15.0), (share * neck, 21.0)]

    for s in (-1, 1):
        pen.line(f"M{s * neck * 0.9} 20 L{s * 6} 34", WOOD, 2)
    pen.polygon(seam(-1) + seam(1)[::-1], main)
    if pattern == "belt":
        low = rng.choice([0, 6])
        zigzag = [(x / 5, -20 + low + 4 * (-1) ** x) for x in range(-5, 6)]
        rim = [[(x * r * math.sqrt(33**2 - (y + d + 13) ** 2), y + d) for x, y in zigzag] for d in (0, 12)]
        pen.polygon(rim[0] + rim[1][::-1], rng.choice([_trim(main), pen.accent]), outline=False)
    else:
        n = rng.choice([5, 7])
        cuts = [math.sin(math.pi * (i / n - 0.5)) for i in range(n + 1)]
        other = rng.choice([_trim(main), mix(main, _trim(main), 0.5)]) if pattern == "gores" else darker(main, 0.2)
        for i in range(1, n, 2):
            pen.polygon(seam(cuts[i]) + seam(cuts[i + 1])[::-1], other, outline=False)
    pen.polygon([(-neck - 1, 19), (neck + 1, 19), (neck - 1, 24), (1 - neck, 24)], darker(main, 0.35))
    pen.shape("M-9 33 H9 L7 44 Q7 46 5 46 H-5 Q-7 46 -7 44 Z", WOOD)
    pen.polygon(_box(-10, 32, 10, 36), lighter(WOOD, 0.3))


def windmill(pen: Pen) -> None:
    """A tower mill, a mill house on a trestle or a wind pump with many blades."""
    rng, main = pen.rng, pen.main
    kind, turn = rng.choice(["tower", "tower", "post", "pump"]), rng.uniform(15, 75)
    if kind == "pump":
        for path in ("M-17 45 L-3 -14 M17 45 L3 -14", "M-13 28 H13 M-9 10 H9 M-13 28 L9 10 M13 28 L-9 10"):
            pen.line(path, STONE, 2.6)
        pen.polygon([(0, -20), (34, -24), (44, -32), (44, -8), (34, -16), (0, -16)], pen.accent)
        n = rng.choice([8, 10, 12])
        for i in range(n):
            with pen.moved(0, -18, angle=360 * i / n + turn):
                pen.polygon([(-2, -7), (-60 / n, -28), (60 / n, -28), (2, -7)], main)
        pen.circle(0, -18, 5, INK)
        return
    if kind == "tower":
        top, foot = rng.uniform(11, 14), rng.uniform(19, 23)
        left, right = ((-top, -10.0), (-foot, 46.0)), ((top, -10.0), (foot, 46.0))
        pen.polygon(_between(*left, *right, 0, 1), main)
        if rng.random() < 0.5:
            pen.polygon(_between(*left, *right, 0.5, 0.62), _trim(main), outline=False)
        pen.shape(f"M{-top - 3} -9 Q{-top} -27 0 -28 Q{top} -27 {top + 3} -9 Z", darker(main, 0.4))
    else:
        pen.line("M-18 45 L0 20 L18 45 M0 20 V45", WOOD, 4)
        pen.polygon([(-17, -16), (0, -32), (17, -16), (17, 27), (-17, 27)], main)
        pen.polygon([(0, -36), (23, -14), (19, -10), (0, -28), (-19, -10), (-23, -14)], darker(main, 0.4))
    _door(pen, 0, 46 if kind == "tower" else 27, 11, 16)
    cloth = rng.choice([PAPER, "#ecd6a4", lighter(main, 0.5), lighter(pen.accent, 0.5)])
    for i in range(4):
        with pen.moved(0, -14, angle=turn + 90 * i):
            pen.polygon(_box(1, -36, 11, -9), cloth)
            pen.line("M0 0 V-36", darker(WOOD, 0.25), 2.6)
            pen.line("M1 -18 H10 M1 -27 H10", darker(WOOD, 0.25), 1.5)
    pen.circle(0, -14, 4, darker(WOOD, 0.4))


def bridge(pen: Pen) -> None:
    """A suspension bridge, stone arches, a steel arch or a humped garden bridge."""
    rng, main, deep = pen.rng, pen.main, darker(pen.main, 0.3)
    kind = rng.choice(["suspension", "stone", "steel", "garden"])
    if kind == "suspension":
        x, top = rng.uniform(22, 26), rng.uniform(-36, -30)
        for h in range(-15, 16, 6):
            pen.line(f"M{h} {6 + (top - 6) * (h / x) ** 2:.1f} V12", deep, 1.6)
        pen.line(f"M-47 9 Q{-x - 7} {top / 2} {-x} {top} Q0 {12 - top} {x} {top} Q{x + 7} {top / 2} 47 9", deep, 2.8)
        for s in (-x, x):
            pen.polygon([(s - 4, top - 4), (s + 4, top - 4), (s + 6, 38), (s - 6, 38)], main)
        pen.polygon(_box(-48, 11, 48, 19), main)
    elif kind == "stone":
        n, hump = rng.choice([(1, 26), (2, 0), (2, 26), (3, 0), (3, 26)])
        r = (94 - 8 * (n + 1)) / n / 2
        path, spring = f"M-47 -8 Q0 {-8 - hump} 47 -8 V36", min(6 + r, 36)
        for right in (39 - i * (2 * r + 8) for i in range(n)):
            path += f" H{right:.1f} V{spring} A{r:.1f} {min(r, 32)} 0 0 0 {right - 2 * r:.1f} {spring} V36"
        pen.shape(path + " H-47 Z", main)
        for x in rng.sample([-36, -21, -7, 7, 21, 36], 4):
            y = (1 - (x / 47) ** 2) * (2 - hump / 2) if n > 1 else 3 - hump / 2 + abs(x) / 4
            pen.polygon(_box(x - 4, y - 1.5, x + 4, y + 1.5), deep, outline=False)
        pen.shape(f"M-48 -14 Q0 {-14 - hump} 48 -14 V-7 Q0 {-7 - hump} -48 -7 Z", lighter(main, 0.3))
    elif kind == "steel":
        top = rng.uniform(-84, -70)
        for h in range(-24, 25, 8):
            pen.line(f"M{h} {33 + (top - 30) / 2 * (1 - (h / 34) ** 2):.1f} V14", deep, 2)
        pen.shape(f"M-42 34 Q0 {top - 18} 42 34 H34 Q0 {top + 4} -34 34 Z", main)
        pen.polygon(_box(-48, 11, 48, 19), rng.choice([deep, pen.accent]))
        for x in (-43, 35):
            pen.polygon(_box(x, 20, x + 8, 40), STONE)
    else:
        rise = rng.uniform(-36, -28)
        for x in range(-36, 37, 12):
            y = 24 + rise * (1 - (x / 44) ** 2)
            pen.line(f"M{x} {y:.1f} V{y - 18:.1f}", deep, 3)
        pen.shape(f"M-46 7 Q0 {7 + 2 * rise} 46 7 V12 Q0 {12 + 2 * rise} -46 12 Z", main)
        pen.shape(f"M-47 22 Q0 {22 + 2 * rise} 47 22 V36 H36 Q0 {32 + 2 * rise} -36 36 H-47 Z", main)
    _waves(pen, 41)


def _box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _between(a: Point, b: Point, c: Point, d: Point, start: float, end: float) -> list[Point]:
    """The strip between the edges a-b and c-d, from a share of their length to another."""

    def on(p: Point, q: Point, share: float) -> Point:
        return p[0] + (q[0] - p[0]) * share, p[1] + (q[1] - p[1]) * share

    return [on(a, b, start), on(c, d, start), on(c, d, end), on(a, b, end)]


def _waves(pen: Pen, y: float, colour: str = WATER) -> None:
    pen.line(smooth_path([(x, y + 2.5 * (x // 11 % 2)) for x in range(-44, 45, 11)]), colour, 4.5)


def _trim(main: str) -> str:
    """Paper white for bands and stripes, or a greyish blue where the thing itself is about white."""
    return PAPER if distance(main, PAPER) > 0.15 else "#7f93a8"


def _window(pen: Pen, x: float, y: float, width: float, height: float, glass: str) -> None:
    """A window with its frame; (x, y) is the middle of its upper edge."""
    pen.polygon(_box(x - width / 2, y, x + width / 2, y + height), glass)
    pen.line(f"M{x} {y} v{height} M{x - width / 2} {y + height / 2} h{width}", PAPER, 1.8)


def _door(pen: Pen, x: float, foot: float, width: float, height: float) -> None:
    """A door with a round top half the time."""
    arch = pen.rng.choice([0.0, width / 2])
    left, right = x - width / 2, x + width / 2
    pen.shape(
        f"M{left} {foot} V{foot - height + arch} Q{left} {foot - height} {x} {foot - height} "
        f"Q{right} {foot - height} {right} {foot - height + arch} V{foot} Z",
        pen.third if width > 12 else darker(WOOD, 0.3),
    )
    if width > 12:
        pen.circle(right - 3.5, foot - height * 0.45, 1.6, GOLD, outline=False)


def _chimney(pen: Pen, x: float, foot: float, slope: float) -> None:
    """A chimney that stands on a roof of that slope."""
    pen.polygon([(x - 5, -42), (x + 5, -42), (x + 5, foot + 5 * slope), (x - 5, foot - 5 * slope)], "#a2584a")
    pen.polygon(_box(x - 7, -45, x + 7, -40), STONE)


def _peak(pen: Pen, x: float, top: float, half: float, colour: str) -> None:
    """A triangular mountain, dark on its right, with snow."""
    rng, rise = pen.rng, 40 - top
    pen.polygon([(x - half, 40), (x, top), (x + half, 40)], colour)
    ridge = [(x + half * 0.1, top + rise * 0.3), (x - half * 0.08, top + rise * 0.5), (x + half * 0.2, 40)]
    pen.polygon([(x, top), *ridge, (x + half, 40)], darker(colour, 0.28), outline=False)
    depth = rng.uniform(0.28, 0.36)
    snow = [
        (x + half * depth * s, top + rise * depth * (1 + d))
        for s, d in ((-1, 0), (-0.5, -0.2), (-0.1, 0.3), (0.4, -0.2), (1, 0))
    ]
    pen.polygon([(x, top), *reversed(snow)], "#ffffff", outline=False)


THINGS: dict[str, Callable[[Pen], None]] = {
    "sailboat": sailboat,
    "house": house,
    "lighthouse": lighthouse,
    "mountain": mountain,
    "car": car,
    "rocket": rocket,
    "balloon": balloon,
    "windmill": windmill,
    "bridge": bridge,
}
