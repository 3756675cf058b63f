"""Guards that concepts of any name are shown as text in every figure: no markup, no missing glyph, no warning, nothing clipped."""

import re

import pytest
from matplotlib.text import Text

from Visualizations.fonts import displayable, has_glyph
from Visualizations.kinds import chosen_kinds, figure_kinds
from Visualizations.making import NO_GLYPH, make_figures
from Visualizations.styles import Style, label

from .layout import layout_problems, texts_of
from .small_run import small_run

CONCEPTS = (
    "_leading $x^2$ <b>bold</b> \\frac{a}{b}",
    "=1+1 長い名前の概念" * 40,
    "שלום 😀 🏴‍☠️ cafe\u0301",
    "zero\u200bwidth\u202egnp " + "long " * 60,
)
BY_NAME = ("ranking", "heatmap", "selectivity", "published")
"""One of each way that names are shown: beside rows, along both sides, as titles of panels."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run whose concepts have such names, without resamples."""
    return small_run(tmp_path_factory.mktemp("hostile"), CONCEPTS, resamples=0)


@pytest.fixture(scope="module")
def pictures(hostile):
    """The figures that show names, each drawn once; warnings of Matplotlib are errors."""
    drawn = {}
    for kind in chosen_kinds(BY_NAME):
        with Style().applied():
            figure = kind.draw(hostile.run, Style()).figure
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            drawn[kind.name] = (figure, texts_of(figure))
    return drawn


@pytest.mark.parametrize("name", BY_NAME)
def test_names_are_shown_as_text_and_fit(pictures, name):
    figure, texts = pictures[name]
    assert layout_problems(figure) == []
    shown = [text for text, _ in texts]
    assert not any(text.get_parse_math() for text in shown)
    for text in shown:
        assert all(character.isprintable() or character == "\n" for character in text.get_text())
        assert all(has_glyph(c) or c == "\n" for c in text.get_text() if not c.isascii()), text.get_text()


@pytest.mark.slow
def test_what_no_font_shows_is_an_escape_with_a_note(small, tmp_path):
    table = small.result.table.replace({"Concept": {"cat": "\ue000"}})
    for given, noted in ((table, True), (small.result.table, False)):
        run = small.with_files(results=small.saved(tmp_path, table=given).results)
        (made,) = make_figures(run, tmp_path / "figures", ["published"], formats=["png"])
        assert (NO_GLYPH in made.notes) == noted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\ue000", "\\ue000"), ("a\x1b[2J", "a\\x1b[2J"), ("\U000f0000", "\\U000f0000"), ("$x^2$", "$x^2$"), ("café", "café"), ("שלום", "שלום"),
        ("two\nlines", "two\\nlines"),
    ],
)  # fmt: skip
def test_a_character_that_no_font_has_is_an_escape(text, shown):
    assert label(text) == shown


@pytest.mark.parametrize("character", ["a", "é", "ש", "😀", "∅"])
def test_characters_of_the_font_stay(character):
    assert displayable(character) == character


def test_long_names_keep_both_ends_and_whole_escapes():
    assert label("begin " + "x" * 300 + " end", 15) == "begin x…xxx end"
    for longest in range(8, 40):
        shown = label("\ue000" * 300, longest)
        assert len(shown) <= longest
        assert re.fullmatch(r"(\\ue000)*…(\\ue000)*", shown)


def test_every_text_of_a_svg_is_a_path(small, tmp_path):
    """So that a page which shows the figure can take no name for markup."""
    make_figures(small.run, tmp_path, ["published"], formats=["svg"])
    assert "<text" not in (tmp_path / "published.svg").read_text()


def test_no_figure_leaves_settings_behind(runs):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    for kind in figure_kinds()[:1]:
        with Style(theme="dark").applied():
            kind.draw(runs(kind.name), Style(theme="dark"))
    assert dict(mpl.rcParams) == before
    assert Text(0, 0, "$a$").get_parse_math()
