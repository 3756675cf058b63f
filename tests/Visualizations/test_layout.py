"""Guards that figures can be printed as they are, and look as they did: nothing small, clipped, overlapping or nameless, at the
widths of venues; and small pictures in `references/`, compared with a tolerance. After a change that is meant, look at the figures
and run pytest on this file with INTERPSCORE_NEW_REFERENCES=1."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageFilter

from Visualizations.kinds import BUILT_IN, FigureKind, figure_kinds
from Visualizations.styles import Style

from .layout import layout_problems

OURS = [
    kind.name for kind in figure_kinds() if kind.is_ours and kind.name in {name.rpartition(".")[2] for name in BUILT_IN}
]
REFERENCES = Path(__file__).parent / "references"
DPI, MOST = 60, 6.0
"""The largest root mean square difference, of 255; other versions of Matplotlib and FreeType stay below, a moved panel or a
changed colour does not."""
SHOWN = tuple(kind.name for kind in figure_kinds() if kind.is_ours)
STYLES = {"icml, dark": Style("icml", "dark"), "nature": Style("nature")}


@pytest.mark.parametrize("name", OURS)
def test_figures_have_no_layout_problem_at_the_width_of_a_paper(drawn, name):
    assert layout_problems(drawn(name).figure) == []


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["heatmap", "robustness"])
def test_figures_with_many_panels_fit_other_venues(drawn, name, style):
    drawing = drawn(name, STYLES[style])
    assert layout_problems(drawing.figure) == []
    assert drawing.figure.get_size_inches()[0] == pytest.approx(STYLES[style].page)


# Looks ----------------------------------------------------------------------------------------------------------------


def picture(drawing):
    buffer = BytesIO()
    drawing.figure.savefig(buffer, dpi=DPI, format="png")
    return Image.open(buffer).convert("RGB")


def difference(a, b):
    """Root mean square of two pictures, blurred a little, so that a text moved by a pixel counts little."""
    if a.size != b.size:
        return np.inf
    blurred = [np.asarray(each.filter(ImageFilter.GaussianBlur(1)), float) for each in (a, b)]
    return float(np.sqrt(np.mean((blurred[0] - blurred[1]) ** 2)))


@pytest.mark.parametrize("name", SHOWN)
def test_figures_look_as_they_did(drawn, name):
    if os.environ.get("INTERPSCORE_NEW_REFERENCES"):
        picture(drawn(name)).quantize(64).save(REFERENCES / f"{name}.png", optimize=True)
    reference = Image.open(REFERENCES / f"{name}.png").convert("RGB")
    assert difference(picture(drawn(name)), reference) < MOST


def test_a_change_is_noticed(drawn):
    reference = Image.open(REFERENCES / "layers.png").convert("RGB")
    moved = Image.new("RGB", reference.size, "white")
    moved.paste(reference, (6, 0))
    assert difference(moved, reference) > MOST


def test_references_are_small():
    sizes = {path.name: path.stat().st_size for path in REFERENCES.iterdir()}
    assert sizes.keys() == {f"{name}.png" for name in SHOWN}
    assert max(sizes.values()) < 30_000


# The check itself -----------------------------------------------------------------------------------------------------


def figure(change):
    with Style().applied():
        made = Figure(figsize=(3, 2))
        axes = made.subplots(1, 2)
        for each in axes:
            each.plot([0, 1], [0, 1])
            each.set_xlabel("a")
            each.set_ylabel("b")
        change(made, *axes)
        made.draw_without_rendering()
    return made


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda f, a, b: a.set_title("small", fontsize=5.9), "5.9 pt"),
        (lambda f, a, b: f.text(0.99, 0.5, "beyond the edge"), "clipped"),
        (lambda f, a, b: a.text(0.5, 0.5, "there") and a.text(0.5, 0.5, "here"), "'there' and 'here' overlap"),
        (lambda f, a, b: a.annotate("far away", (2.2, 0.5), annotation_clip=False, in_layout=False), "another panel"),
        (lambda f, a, b: a.set_xlabel(""), "the x axis with '0' has no name"),
        (lambda f, a, b: b.set_ylabel(""), "the y axis"),
    ],
)
def test_the_check_finds_what_is_wrong(change, problem):
    assert problem in "; ".join(layout_problems(figure(change)))


def test_the_check_finds_nothing_where_nothing_is_wrong():
    assert layout_problems(figure(lambda f, a, b: a.set_title("fine"))) == []


# Grey -----------------------------------------------------------------------------------------------------------------


def luminance(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_stands_out_from_its_paper(theme):
    style = Style(theme=theme)
    colors = [
        style.ink,
        style.faint,
        *map(style.color, "SCRHQ"),
        *map(style.kind_color, ("clean", "benign", "adversarial", "synthetic", "exemplar")),
    ]
    for color in colors:
        lighter, darker = sorted((luminance(color), luminance(style.paper)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 2, color


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_heatmap_reads_in_grey(theme, signed):
    from Visualizations.figures.responses.heatmap import _colors

    scale = _colors(Style(theme=theme), signed)
    from matplotlib.colors import to_hex

    grey = np.array([luminance(to_hex(scale(at))) for at in np.linspace(0.5 if signed else 0, 1, 20)])
    steps = np.diff(grey)
    assert (steps < 0).all() if theme == "light" else (steps > 0).all()


def test_kinds_differ_by_mark_as_well_as_by_colour():
    from Visualizations.styles import COMPONENT_MARKS, KIND_MARKS

    assert len(set(KIND_MARKS.values())) == len(KIND_MARKS)
    assert len({COMPONENT_MARKS[name] for name in "SCRH"}) == 4


def test_third_party_kinds_are_told_from_ours():
    kinds = {kind.name: kind for kind in figure_kinds()}
    assert all(kinds[name].is_ours for name in OURS)
    assert not FigureKind("mine", "mine", lambda run, style: None).is_ours
