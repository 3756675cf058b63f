"""The page: a run and the files beside it as one HTML text that needs no other file and no network."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import read_bytes
from Activation_Extraction.base.progress import StageProgress
from Activation_Extraction.base.text import printable
from Activation_Extraction.tables.dialects.options import Given
from Visualizations.needs import DATA
from Visualizations.report import marks, provenance
from Visualizations.report.cards import MANY, make_cards
from Visualizations.report.levels import levels
from Visualizations.report.methods import methods
from Visualizations.report.summary import findings, limits, missing_names
from Visualizations.run import Run

TEMPLATES = Path(__file__).parent / "templates"
_NEEDED = ("Concept", "InterpScore", "Rank", "Notes")
FIRST = 50
"""Rows of the ranking with bars, of more than `MANY` neurons; the others are a compact table."""


def make_report(
    run: Run, *, neurons: Sequence[str] = (), csv: Sequence[Given] | None = None, progress: StageProgress | None = None
) -> str:
    """A self-contained HTML page of a scoring run; the same run and files give the same text.

    Args:
        run: the results, with the files that are beside them; what is not given is left out, and the page says so.
        neurons: those to make cards of, as `90` or `layer4:90`; none means all, or the first ten of more than 200.
        csv: how to read image tables, as of `image_set`.
        progress: callback (stage, completed, total).

    Raises:
        InputError: no such neuron; a file that is damaged, of another run or network, or other than its hash says.

    >>> make_report(Run(Sources("results.csv")))  # doctest: +SKIP
    """
    if lacking := [name for name in _NEEDED if name not in run.all_rows]:
        raise InputError(f"{run.path}: no {', '.join(lacking)}; expected the results of `interpscore score`")
    if run.sources.data is not None and (missing := DATA.missing(run)):
        raise InputError(missing)
    cards = make_cards(run, neurons, csv, progress)
    rows = run.table.to_dict("records")
    with_bars = rows if len(rows) <= MANY else rows[:FIRST]
    style, script = (_text(name) for name in ("report.css", "report.js"))
    return _environment().get_template("report.html").render(
        run=run, title=_title(run), when=provenance.when(run), style=Markup(style), script=Markup(script),
        policy=_policy(style, script), findings=findings(run), components=run.component_names, scores=(*run.component_names, "InterpScore"), rows=with_bars,
        rest=rows[len(with_bars):], every=rows, anchors={card.row["row"] for card in cards.cards}, cards=cards,
        unscored=missing_names(run), limits=limits(run, cards.split_of_labels),
        levels=levels(run) if run.sources.data is not None else None, methods=methods(run), files=provenance.files(run),
        versions=provenance.versions(run), score_command=provenance.score_command(run),
        report_command=provenance.report_command(run, tuple(neurons)), meaning=run.meaning,
    )  # fmt: skip


def _title(run: Run) -> str:
    """What was scored: "14 neurons of layer4 of clip-mini"."""
    n = len(run.table)
    said = f"{n:,} neuron{'s' * (n != 1)}"
    models = list(dict.fromkeys(str(one["model"]) for one in run.measured if one.get("model")))
    layers = [names[0] for names in run.layer_names]
    if len(layers) == 1:
        said += f" of {layers[0]}"
    elif layers:
        said += f" of {len(layers)} layers"
    return f"{said} of {models[0]}" if len(models) == 1 else said


@cache
def _environment() -> Environment:
    """Templates in which every text is escaped, and shows its invisible characters."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_visible,
    )  # fmt: skip
    environment.globals |= {name: getattr(marks, name) for name in ("number", "interval", "bar", "dots", "digits", "named", "is_missing", "component", "spread", "coded")}  # fmt: skip
    return environment


def _visible(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(name: str) -> str:
    return read_bytes(TEMPLATES / name).decode()


def _policy(style: str, script: str) -> str:
    """What a browser may load: nothing but the pictures, the style and the script that are in the page."""
    of = [b64encode(hashlib.sha256(f"\n{text}".encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; img-src data:; style-src 'sha256-{of[0]}'; script-src 'sha256-{of[1]}'"
