"""What tests of figures share: a small run, scored once, and its figures, each drawn once a style."""

from dataclasses import replace
from functools import cache

import pytest

from Visualizations.kinds import chosen_kinds
from Visualizations.run import Run
from Visualizations.styles import Style

from .small_run import small_run, with_baseline, with_layers


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The run and the files beside it."""
    return small_run(tmp_path_factory.mktemp("small_run"))


@pytest.fixture(scope="session")
def runs(small, tmp_path_factory):
    """A run for each figure; most are made from the same."""
    baseline = Run(small.saved(tmp_path_factory.mktemp("baseline"), **with_baseline(small.result)))
    layers = Run(replace(small.saved(tmp_path_factory.mktemp("layers"), **with_layers(small.result)), data=None))
    plain = small.run
    return lambda name: {"untrained": baseline, "layers": layers}.get(name, plain)


@pytest.fixture(scope="session")
def drawn(runs):
    """Draws a figure of the small run by name; each once a style."""

    @cache
    def draw(name, style=Style()):  # noqa: B008 - frozen
        (kind,) = chosen_kinds([name])
        assert kind.missing(runs(name)) == []
        with style.applied():
            drawing = kind.draw(runs(name), style)
            drawing.figure.draw_without_rendering()
            drawing.figure.set_layout_engine("none")
        return drawing

    return draw
