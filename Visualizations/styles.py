"""How figures look: widths of venues, sizes of text, light and dark, colours that stay apart for the colour-blind and in grey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unicodedata import east_asian_width

from Activation_Extraction.base.text import printable
from Visualizations.fonts import displayable, families

Venue = Literal["neurips", "icml", "iclr", "cvpr", "nature", "plos", "screen"]
Theme = Literal["light", "dark"]

WIDTHS: dict[Venue, tuple[float, float]] = {
    "neurips": (2.7, 5.5), "iclr": (2.7, 5.5), "icml": (3.25, 6.75), "cvpr": (3.25, 6.875),
    "nature": (3.504, 7.205), "plos": (5.2, 7.5), "screen": (4.5, 9.0),
}  # fmt: skip
"""Width of a column and of the text, in inches."""
TEXT = {"screen": 9.0}
"""Points of the text; 7 where nothing is said, which no venue's limit is above. Ticks and notes are one point smaller."""
SMALLEST = 6.0
"""Points; no text of a figure is smaller at the venue's width."""

COMPONENTS = {"S": "#0072B2", "C": "#D55E00", "R": "#009E73", "H": "#CC79A7", "InterpScore": "#333333"}
"""Okabe and Ito's palette, safe for the colour-blind; marks differ as well."""
COMPONENT_MARKS = {"S": "o", "C": "s", "R": "^", "H": "D", "InterpScore": "o"}
KINDS = {
    "clean": "#0072B2",
    "benign": "#56B4E9",
    "adversarial": "#D55E00",
    "synthetic": "#CC79A7",
    "exemplar": "#B59F00",
}
KIND_MARKS = {"clean": "o", "benign": "s", "adversarial": "X", "synthetic": "*", "exemplar": "P"}
LONGEST = 34
"""Letters of a name, where nothing else limits it."""
_LIGHTER = 0.35
"""Share of white in colours on dark paper."""
_OTHERS = ("#E69F00", "#56B4E9", "#999933", "#882255")


@dataclass(frozen=True)
class Style:
    """How every figure of a run is drawn.

    Attributes:
        venue: whose column and text widths.
        theme: dark text on white, or light text on near black.
    """

    venue: Venue = "neurips"
    theme: Theme = "light"

    @property
    def column(self) -> float:
        """Inches across a column."""
        return WIDTHS[self.venue][0]

    @property
    def page(self) -> float:
        """Inches across the text."""
        return WIDTHS[self.venue][1]

    @property
    def text(self) -> float:
        """Points of labels."""
        return TEXT.get(self.venue, 7.0)

    @property
    def ink(self) -> str:
        """The colour of text, axes and of marks that mean nothing by their colour."""
        return "#1a1a1a" if self.theme == "light" else "#e8e8e8"

    @property
    def paper(self) -> str:
        """The colour behind everything."""
        return "#ffffff" if self.theme == "light" else "#15181c"

    @property
    def faint(self) -> str:
        """The colour of grids, of chance, and of what is not significant."""
        return "#8a8a8a" if self.theme == "light" else "#8f969e"

    def color(self, component: str) -> str:
        """The colour of a component; those of packages get one of four by name."""
        if component == "InterpScore":
            return self.ink
        return self._on_paper(COMPONENTS.get(component) or _OTHERS[sum(map(ord, component)) % len(_OTHERS)])

    def kind_color(self, kind: str) -> str:
        """The colour of a kind of level."""
        return self._on_paper(KINDS[kind])

    def _on_paper(self, color: str) -> str:
        """A colour that stands out from the paper: lighter on a dark one."""
        if self.theme == "light":
            return color
        parts = (int(color[at : at + 2], 16) for at in (1, 3, 5))
        return "#" + "".join(f"{round(part + (255 - part) * _LIGHTER):02x}" for part in parts)

    @property
    def rc(self) -> dict[str, Any]:
        """Matplotlib's settings."""
        small = self.text - 1
        return {
            "font.family": list(families()), "font.size": self.text, "axes.labelsize": self.text, "axes.titlesize": self.text,
            "xtick.labelsize": small, "ytick.labelsize": small, "legend.fontsize": small, "figure.titlesize": self.text + 1,
            "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.unicode_minus": True,
            "text.parse_math": False,  # a concept called $x^2$ is shown as it is written
            "text.color": self.ink, "axes.labelcolor": self.ink, "axes.edgecolor": self.ink, "xtick.color": self.ink,
            "ytick.color": self.ink, "figure.facecolor": self.paper, "axes.facecolor": self.paper,
            "savefig.facecolor": self.paper, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
            "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5,
            "ytick.major.size": 2.5, "grid.color": self.faint, "grid.alpha": 0.35, "grid.linewidth": 0.4,
            "lines.linewidth": 1.0, "lines.markersize": 3.5, "figure.constrained_layout.use": True,
            "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "interpscore",
            "figure.dpi": 100, "savefig.dpi": 300, "savefig.bbox": None,
        }  # fmt: skip

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Matplotlib's settings within a block; the user's own come back after it."""
        import matplotlib as mpl

        settings: Any = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
        with mpl.rc_context(settings | self.rc):
            yield


def label(text: object, longest: int = LONGEST) -> str:
    """Text from outside as a figure shows it: one line of characters that a font has, the middle left out where it is long.

    Args:
        longest: its width in letters; those of East Asian scripts are two wide, escapes as wide as they are long.

    >>> label("raised hand"), label("a" * 50, 9)
    ('raised hand', 'aaaa…aaaa')
    """
    shown = [displayable(c) if c.isprintable() else printable(c) for c in str(text)]
    if sum(map(_width, shown)) <= longest:
        return "".join(shown)
    head, tail = shown[: longest + 1], shown[-longest - 1 :]
    while sum(map(_width, head)) > longest // 2:
        head.pop()
    while sum(map(_width, tail)) > longest - 1 - longest // 2:
        tail.pop(0)
    return f"{''.join(head)}…{''.join(tail)}"


def _width(shown: str) -> int:
    return 2 if len(shown) == 1 and east_asian_width(shown) in "WF" else len(shown)
