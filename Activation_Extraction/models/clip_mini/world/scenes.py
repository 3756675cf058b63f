"""Scenes of the picture world: one thing or two, somewhere, in some style, and the words for it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import resvg_py
from PIL import Image

from Activation_Extraction.models.clip_mini.world import animals, objects, places, plants, signs
from Activation_Extraction.models.clip_mini.world.backgrounds import BACKGROUNDS, clutter
from Activation_Extraction.models.clip_mini.world.pen import STYLES, Pen, distance, mix
from Activation_Extraction.models.clip_mini.world.signs import FIXED_COLOURS

THINGS: dict[str, Callable[[Pen], None]] = {
    name: draw for file in (animals, plants, places, objects, signs) for name, draw in file.THINGS.items()
}
"""Every nameable thing, with the function that draws it."""

CONCEPTS = tuple(sorted(THINGS))
PLURAL = {"droplets", "letters"}

COLOURS = {
    "red": ("#e63946", "#d62839", "#c1121f"),
    "orange": ("#f77f00", "#f3722c", "#fb8b24"),
    "yellow": ("#ffd166", "#f9c80e", "#ffc933"),
    "green": ("#57a773", "#6a994e", "#2a9d5c"),
    "blue": ("#2b7fc4", "#457bb5", "#1d6fd1"),
    "purple": ("#8e5bd6", "#7b4fb5", "#9a4fc9"),
    "pink": ("#f48fb1", "#ee6c9f", "#f78da7"),
    "brown": ("#8d5a3b", "#7f5539", "#9c6644"),
    "white": ("#fbfaf5", "#f3f4f6", "#fffdf7"),
    "grey": ("#7d8597", "#6c757d", "#8a8f98"),
}

_PAPER = {"sketch": "#f6f1e4", "chalk": "#2c463e"}
_CONTRAST = 0.2
_PIXELS = 32
_TRIES = 8


@dataclass(frozen=True)
class Scene:
    """A picture as SVG, and what it shows.

    Attributes:
        svg: 100 × 100 units.
        style: a key of `STYLES`.
        background: a key of `BACKGROUNDS`.
        things: the names of one thing or two.
        colours: of each thing, a key of `COLOURS`.
        large: whether each thing is drawn large.
    """

    svg: str
    style: str
    background: str
    things: tuple[str, ...]
    colours: tuple[str, ...]
    large: tuple[bool, ...]

    def render(self, size: int) -> Image.Image:
        """The picture as RGB, `size` × `size` pixels."""
        pixels = _PIXELS if self.style == "pixels" else size
        png = resvg_py.svg_to_bytes(svg_string=self.svg, width=pixels, height=pixels, skip_system_fonts=True)
        image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
        return image.resize((size, size), Image.Resampling.NEAREST) if pixels != size else image


def draw_scene(
    rng: Random, things: Sequence[str] | None = None, *, style: str | None = None, background: str | None = None
) -> Scene:
    """Draw a scene.

    Args:
        rng: the only source of chance: the same state draws the same scene.
        things: one name of `CONCEPTS` or two; drawn at random when None, two things in one scene of four.
        style: a key of `STYLES`; background: a key of `BACKGROUNDS`; at random when None.
    """
    if things is None:
        things = rng.sample(CONCEPTS, 2 if rng.random() < 0.25 else 1)
    style = style or rng.choice(list(STYLES))
    background = background or rng.choice(list(BACKGROUNDS))
    ground = Pen(rng, style, "#ffffff", *_two_colours(rng))
    behind = BACKGROUNDS[background][1](ground)
    clutter(ground, rng.choice([0, 0, 0, 4, 8, 12]))
    elements, definitions = ground.elements, ground.definitions
    if style in _PAPER:  # drawn on paper or a blackboard: the background is only hinted at
        behind = mix(_PAPER[style], behind, 0.25)
        elements = [
            f'<rect width="100" height="100" fill="{_PAPER[style]}"/>',
            f'<g opacity=".25">{"".join(elements)}</g>',
        ]
    colours, large = [], []
    for thing, (x, y, scale) in zip(things, _spots(rng, len(things)), strict=True):
        colour, main = _colour_against(rng, behind)
        pen = Pen(rng, style, main, *_two_colours(rng, main), definitions=definitions)
        with pen.moved(x, y, angle=rng.gauss(0, 9), scale=scale, flip=rng.random() < 0.5 and thing != "letters"):
            THINGS[thing](pen)
        elements = elements + pen.elements
        colours.append(colour)
        large.append(scale > 0.68)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><defs>'
        f"{''.join(definitions)}</defs>{''.join(elements)}</svg>"
    )
    return Scene(svg, style, background, tuple(things), tuple(colours), tuple(large))


def caption(scene: Scene, rng: Random) -> str:
    """One of many ways to say what a scene shows; colour, size, style and background are named now and then."""
    names = " and ".join(
        named(
            thing, colour if rng.random() < 0.5 else "", ("large" if large else "small") if rng.random() < 0.2 else ""
        )
        for thing, colour, large in zip(scene.things, scene.colours, scene.large, strict=True)
    )
    noun = STYLES[scene.style] if rng.random() < 0.5 else rng.choice(["picture", "picture", "drawing", "image"])
    text = f"{_article(noun)} {noun} of {names}" if rng.random() < 0.6 else names
    return f"{text} {BACKGROUNDS[scene.background][0]}" if rng.random() < 0.4 else text


def prompt(concept: str) -> str:
    """The text that zero-shot classification compares pictures with.

    >>> prompt("umbrella"), prompt("letters")
    ('a picture of an umbrella', 'a picture of letters')
    """
    return f"a picture of {named(concept)}"


def named(thing: str, colour: str = "", size: str = "") -> str:
    """A thing with its article, and the words said of it; things that come in their own colours get no other.

    >>> named("umbrella", "red", "large"), named("letters", "red"), named("fire", "red")
    ('a large red umbrella', 'red letters', 'fire')
    """
    words = [word for word in (size, "" if thing in FIXED_COLOURS else colour, thing) if word]
    if thing in PLURAL or thing == "fire":
        return " ".join(words)
    return f"{_article(words[0])} {' '.join(words)}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _spots(rng: Random, count: int) -> list[tuple[float, float, float]]:
    """Centre and scale of each thing; two stand side by side or one above the other, in any order."""
    if count == 1:
        scale = rng.uniform(0.45, 0.95)
        room = 50 * (1 - scale) + 2
        return [(50 + rng.uniform(-room, room) * 0.8, 50 + rng.uniform(-room, room) * 0.8, scale)]
    near, far = 50 - rng.uniform(20, 24), 50 + rng.uniform(20, 24)
    across = [rng.uniform(36, 64), rng.uniform(36, 64)]
    ends = list(zip([near, far], across)) if rng.random() < 0.7 else list(zip(across, [near, far]))
    rng.shuffle(ends)
    return [(x, y, rng.uniform(0.38, 0.56)) for x, y in ends]


def _colour_against(rng: Random, behind: str) -> tuple[str, str]:
    """A named colour that can be seen in front of another."""
    for _ in range(_TRIES):
        name = rng.choice(list(COLOURS))
        main = rng.choice(COLOURS[name])
        if distance(main, behind) > _CONTRAST:
            break
    return name, main


def _two_colours(rng: Random, main: str = "#000000") -> tuple[str, str]:
    """Two more colours that stand off the main one."""
    others = [shade for shades in COLOURS.values() for shade in shades if distance(shade, main) > 2 * _CONTRAST]
    first, second = rng.sample(others, 2)
    return first, second
