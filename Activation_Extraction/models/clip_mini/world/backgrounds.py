"""Where things are: the backgrounds of the picture world. Coordinates 0 to 100, y down; drawn in the scene's style."""

from __future__ import annotations

from collections.abc import Callable

from Activation_Extraction.models.clip_mini.world.pen import Pen, around, darker, lighter, mix, smooth_path


def _fill(pen: Pen, top: str, bottom: str | None = None, height: float = 100.0) -> None:
    """The whole width down to `height`, in one colour or fading to another."""
    paint = top
    if bottom is not None:
        paint = pen.gradient(top, bottom)
    pen.elements.append(f'<rect x="-1" y="-1" width="102" height="{height + 1:.2f}" fill="{paint}"/>')


def _ridge(pen: Pen, y: float, height: float, colour: str, steps: int = 5) -> None:
    """Hills: everything below a soft line around y."""
    rng = pen.rng
    tops = [(-10 + 120 * i / steps, y + rng.uniform(-height, height)) for i in range(steps + 1)]
    pen.elements.append(f'<path d="{smooth_path(tops)} L110 110 L-10 110 Z" fill="{colour}"/>')


def _disc(pen: Pen, x: float, y: float, r: float, colour: str, opacity: float = 1.0) -> None:
    pen.elements.append(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{r:.2f}" fill="{colour}" fill-opacity="{opacity:.2f}"/>')


def _cloud(pen: Pen, x: float, y: float, size: float, colour: str, opacity: float) -> None:
    for dx, dy, r in ((-1.1, 0.1, 0.6), (-0.4, -0.3, 0.8), (0.4, -0.1, 0.75), (1.1, 0.15, 0.5)):
        _disc(pen, x + dx * size, y + dy * size, r * size, colour, opacity)


def sea(pen: Pen) -> str:
    """Waves under a pale sky."""
    rng = pen.rng
    water = rng.choice(["#4aa3c7", "#3f88b5", "#57b8b0", "#5f9ed1"])
    horizon = rng.uniform(30, 60)
    _fill(pen, rng.choice(["#d8effa", "#fdf0d5", "#e8f3f1"]), "#ffffff", horizon + 2)
    pen.elements.append(
        f'<rect x="-1" y="{horizon:.2f}" width="102" height="102" fill="{pen.gradient(lighter(water, 0.25), darker(water, 0.15))}"/>'
    )
    for i in range(5):
        y = horizon + 6 + i * (100 - horizon) / 5
        start = rng.uniform(-14, 0)
        wave = [(start + 12 * k, y + (2 if k % 2 else -1) * (0.5 + i / 5)) for k in range(11)]
        pen.elements.append(
            f'<path d="{smooth_path(wave)}" fill="none" stroke="#ffffff" stroke-opacity=".45" stroke-width="{0.8 + 0.25 * i:.2f}"/>'
        )
    return water


def sky(pen: Pen) -> str:
    """Daylight with clouds."""
    rng = pen.rng
    blue = rng.choice(["#8ecdf0", "#a5d8ff", "#9ad1d4", "#b8d8f8"])
    _fill(pen, blue, lighter(blue, 0.65))
    for _ in range(rng.randint(2, 4)):
        _cloud(pen, rng.uniform(0, 100), rng.uniform(8, 92), rng.uniform(6, 12), "#ffffff", 0.7)
    return blue


def meadow(pen: Pen) -> str:
    """Green hills under a light sky."""
    rng = pen.rng
    green = rng.choice(["#8cc152", "#a3c76d", "#7fb77e", "#b5cf73"])
    _fill(pen, rng.choice(["#dff3fb", "#fef6d8", "#e7f5ea"]), "#ffffff")
    horizon = rng.uniform(35, 60)
    _ridge(pen, horizon, 6, lighter(green, 0.35))
    _ridge(pen, horizon + 14, 5, green)
    for _ in range(rng.randint(6, 14)):
        x, y = rng.uniform(0, 100), rng.uniform(horizon + 22, 99)
        pen.elements.append(
            f'<path d="M{x:.1f} {y:.1f} l-1.5 -4 M{x:.1f} {y:.1f} l0.4 -5 M{x:.1f} {y:.1f} l2 -3.6" '
            f'stroke="{darker(green, 0.25)}" stroke-width=".9" stroke-linecap="round"/>'
        )
    return green


def forest(pen: Pen) -> str:
    """Trunks in a green haze."""
    rng = pen.rng
    green = rng.choice(["#4f7f5c", "#5d8a66", "#44735e"])
    _fill(pen, lighter(green, 0.5), lighter(green, 0.2))
    for depth in (0.45, 0.25, 0.05):
        for _ in range(rng.randint(3, 5)):
            x, width = rng.uniform(-5, 105), rng.uniform(2, 5) * (1.3 - depth)
            lean = rng.uniform(-3, 3)
            pen.elements.append(
                f'<path d="M{x:.1f} -2 L{x + width:.1f} -2 L{x + width * 1.4 + lean:.1f} 102 L{x - width * 0.4 + lean:.1f} 102 Z" '
                f'fill="{lighter(darker(green, 0.15), depth)}"/>'
            )
    _ridge(pen, 88, 3, darker(green, 0.1))
    return lighter(green, 0.3)


def snow(pen: Pen) -> str:
    """White hills and falling flakes."""
    rng = pen.rng
    grey = rng.choice(["#a9c4d9", "#b7c9d3", "#9fb8d0"])
    _fill(pen, grey, lighter(grey, 0.5))
    _ridge(pen, rng.uniform(55, 70), 6, "#eef4f8")
    _ridge(pen, rng.uniform(78, 88), 4, "#ffffff")
    for _ in range(rng.randint(18, 34)):
        _disc(pen, rng.uniform(0, 100), rng.uniform(0, 100), rng.uniform(0.6, 1.6), "#ffffff", 0.9)
    return lighter(grey, 0.4)


def desert(pen: Pen) -> str:
    """Dunes."""
    rng = pen.rng
    sand = rng.choice(["#e6c48a", "#edc9a0", "#dfb77b"])
    _fill(pen, rng.choice(["#fbe3c0", "#cfe7ee", "#fbd7c3"]), "#fff5e4")
    for i, y in enumerate((48, 64, 82)):
        _ridge(pen, y + rng.uniform(-5, 5), 6, mix(lighter(sand, 0.35), darker(sand, 0.08), i / 2), steps=3)
    return sand


def night(pen: Pen) -> str:
    """A dark sky with points of light."""
    rng = pen.rng
    dark = rng.choice(["#1d2b4f", "#23284a", "#152a45", "#2d2350"])
    _fill(pen, dark, lighter(dark, 0.22))
    for _ in range(rng.randint(16, 36)):
        _disc(pen, rng.uniform(0, 100), rng.uniform(0, 100), rng.uniform(0.3, 0.9), "#fff7d6", rng.uniform(0.5, 1))
    if rng.random() < 0.5:
        _ridge(pen, rng.uniform(80, 92), 3, darker(dark, 0.35))
    return dark


def sunset(pen: Pen) -> str:
    """A low sun in a warm sky."""
    rng = pen.rng
    top, low = rng.choice([("#6d4c8f", "#ffb07c"), ("#d9668b", "#ffd39b"), ("#4b5d9b", "#ff9e80")])
    _fill(pen, top, low)
    x, y = rng.uniform(15, 85), rng.uniform(60, 74)
    _disc(pen, x, y, rng.uniform(9, 14), "#fff0c2", 0.9)
    _ridge(pen, rng.uniform(76, 86), 4, darker(mix(top, low, 0.3), 0.35))
    return mix(top, low, 0.55)


def room(pen: Pen) -> str:
    """A wall and a floor, perhaps with a window or a picture."""
    rng = pen.rng
    wall = rng.choice(["#efe3d3", "#dde5e8", "#e8dcec", "#dfe8d8", "#f3dcd3"])
    floor = rng.choice(["#b98b62", "#a27b5c", "#c9a27c", "#8d8d9b"])
    _fill(pen, wall)
    edge = rng.uniform(68, 82)
    pen.elements.append(f'<rect x="-1" y="{edge:.1f}" width="102" height="40" fill="{floor}"/>')
    pen.elements.append(f'<rect x="-1" y="{edge - 2.4:.1f}" width="102" height="2.4" fill="{lighter(wall, 0.5)}"/>')
    if rng.random() < 0.6:
        x, y, side = rng.choice([rng.uniform(3, 14), rng.uniform(66, 78)]), rng.uniform(6, 18), rng.uniform(18, 24)
        pen.elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side * 1.15:.1f}" rx="1" '
            f'fill="{rng.choice(["#cfe8f5", "#f7ead0", "#d7e7d0"])}" stroke="{darker(wall, 0.3)}" stroke-width="1.6"/>'
        )
    return wall


_DARK = ["#39424e", "#5b4b5f", "#2f5d62", "#7b3f4c"]
_PLAIN = ["#f7f3e9", "#e7eef2", "#fbe5e0", "#e4f1e1", "#f5eacb", "#e8e2f3", *_DARK]


def _two_tones(pen: Pen, up: float, down: float) -> tuple[str, str]:
    """Fill with one plain colour; it, and a near one: dark colours go `up` to white, light ones `down` to black."""
    colour = pen.rng.choice(_PLAIN)
    _fill(pen, colour)
    return colour, lighter(colour, up) if colour in _DARK else darker(colour, down)


def plain(pen: Pen) -> str:
    """One colour, or a soft fade."""
    colour = pen.rng.choice(_PLAIN)
    _fill(pen, lighter(colour, 0.12), darker(colour, 0.08))
    return colour


def stripes(pen: Pen) -> str:
    """Stripes of two near colours, in any direction."""
    rng = pen.rng
    colour, other = _two_tones(pen, 0.14, 0.12)
    width = rng.uniform(4, 10)
    bars = "".join(
        f'<rect x="{-60 + 2 * width * i:.1f}" y="-60" width="{width:.1f}" height="220" fill="{other}"/>'
        for i in range(int(110 / width) + 1)
    )
    pen.elements.append(f'<g transform="rotate({rng.choice([0, 45, 90, 135])} 50 50)">{bars}</g>')
    return colour


def dots(pen: Pen) -> str:
    """A grid of dots."""
    rng = pen.rng
    colour, other = _two_tones(pen, 0.22, 0.15)
    gap = rng.uniform(9, 15)
    for row in range(int(100 / gap) + 2):
        for column in range(int(100 / gap) + 2):
            _disc(pen, gap * (column + row % 2 / 2), gap * row, gap * 0.2, other)
    return colour


BACKGROUNDS: dict[str, tuple[str, Callable[[Pen], str]]] = {
    "sea": ("at sea", sea),
    "sky": ("in the sky", sky),
    "meadow": ("in a meadow", meadow),
    "forest": ("in a forest", forest),
    "snow": ("in the snow", snow),
    "desert": ("in the desert", desert),
    "night": ("at night", night),
    "sunset": ("at sunset", sunset),
    "room": ("in a room", room),
    "plain": ("on a plain background", plain),
    "stripes": ("on stripes", stripes),
    "dots": ("on dots", dots),
}
"""Name, the phrase of captions, and the function that draws it and returns the colour behind the things."""


def clutter(pen: Pen, pieces: int) -> None:
    """Scatter small nameless shapes."""
    rng = pen.rng
    for _ in range(pieces):
        x, y, size = rng.uniform(2, 98), rng.uniform(2, 98), rng.uniform(1.5, 4)
        colour = rng.choice([pen.accent, pen.third, "#ffffff", "#f2c14e", "#4d7ea8", "#c95d63"])
        kind = rng.choice(["disc", "ring", "bar", "triangle", "squiggle"])
        line = f'fill="none" stroke="{colour}" stroke-width="1.3" stroke-linecap="round" stroke-opacity=".8"'
        if kind == "disc":
            _disc(pen, x, y, size * 0.6, colour, 0.8)
        elif kind == "ring":
            pen.elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size * 0.7:.1f}" {line}/>')
        elif kind == "bar":
            (x1, y1), (x2, y2) = around(x, y, size, angle := rng.uniform(0, 180)), around(x, y, size, angle + 180)
            pen.elements.append(f'<path d="M{x1:.1f} {y1:.1f} L{x2:.1f} {y2:.1f}" {line}/>')
        elif kind == "triangle":
            turn = rng.uniform(0, 120)
            corners = " ".join("{:.1f},{:.1f}".format(*around(x, y, size, turn + 120 * k)) for k in range(3))
            pen.elements.append(f'<polygon points="{corners}" fill="{colour}" fill-opacity=".8"/>')
        else:
            wave = [(x + (k - 2) * size * 0.6, y + (size * 0.4 if k % 2 else -size * 0.4)) for k in range(5)]
            pen.elements.append(f'<path d="{smooth_path(wave)}" {line}/>')
