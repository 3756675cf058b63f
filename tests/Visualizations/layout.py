"""What is wrong with the layout of a figure at its final size: small, clipped or overlapping texts, axes without names."""

from itertools import combinations
from unittest.mock import patch

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from Visualizations.styles import SMALLEST

SLACK = 1.0
"""Pixels, of 1/100 inch, by which boxes may touch: they include room for accents and descenders."""


def texts_of(figure):
    """The texts that are drawn, with their boxes in pixels."""
    canvas, found = FigureCanvasAgg(figure), []
    draw = Text.draw

    def noting(text, renderer, *arguments, **options):
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        draw(text, renderer, *arguments, **options)

    with patch.object(Text, "draw", noting):
        canvas.draw()
    renderer = canvas.get_renderer()
    return [(text, text.get_window_extent(renderer)) for text in dict.fromkeys(found)]


def layout_problems(figure):
    """One line a problem; none where the layout is fine."""
    texts = texts_of(figure)
    return [
        *_small(texts),
        *_clipped(figure, texts),
        *_overlapping(texts),
        *_on_others(figure, texts),
        *_nameless(figure, texts),
    ]


def _small(texts):
    for text, _ in texts:
        if text.get_fontsize() < SMALLEST - 1e-9:
            yield f"{text.get_text()!r}: {text.get_fontsize():.1f} pt"


def _clipped(figure, texts):
    edge = figure.bbox
    for text, box in texts:
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > edge.width + SLACK or box.y1 > edge.height + SLACK:
            yield f"{text.get_text()!r}: clipped by the canvas"


def _common(a, b):
    across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return across > SLACK and down > 2 * SLACK


def _overlapping(texts):
    for (a, box_a), (b, box_b) in combinations(texts, 2):
        if _common(box_a, box_b):
            yield f"{a.get_text()!r} and {b.get_text()!r} overlap"


def _on_others(figure, texts):
    for text, box in texts:
        for axes in figure.axes:
            if axes.axison and text.axes is not axes and _common(box, axes.get_window_extent()):
                yield f"{text.get_text()!r}: lies on another panel"


def _nameless(figure, texts):
    drawn = {text for text, _ in texts}
    shared = {"x": figure.get_supxlabel(), "y": figure.get_supylabel()}
    for axes in figure.axes:
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            ticks = [text for text in axis.get_ticklabels(which="both") if text in drawn]
            if any(map(_is_number, ticks)) and not (axis.get_label_text() or shared[name]):
                yield f"the {name} axis with {ticks[0].get_text()!r} has no name"


def _is_number(text):
    return text.get_text().replace("\N{MINUS SIGN}", "").replace(".", "").isdigit()
