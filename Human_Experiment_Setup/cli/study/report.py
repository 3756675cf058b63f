"""`interpscore study report`: how reliable the scored answers are, per level and concept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    import pandas as pd

    from Human_Experiment_Setup.scoring.reliability.report import Report

report_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_LEVELS_A_TABLE, _SHOWN_CONCEPTS = 5, 40


@report_app.command(no_args_is_help=True)
def report(
    scored: Annotated[Path, typer.Argument(help="A table of `interpscore study score`, or any experiment table with participants and images.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The report, .json or .csv: both are written, and beside them a mixed model as an R script (lme4).", show_default="print only")] = None,
    human_score_col: Annotated[str, typer.Option(help="Column with the score of an answer.")] = "soft_correct",
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of images and participants for intervals; 0: none.")] = 2000,
    splits: Annotated[int, typer.Option(min=1, help="Random halves of the participants for the noise ceiling.")] = 1000,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Coverage of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    csv: Annotated[str | None, typer.Option("--csv", help="How to read a CSV, where it can't be found out: sep=; decimal=, encoding=latin-1.", show_default="found out")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Report recognition, agreement of raters, noise ceiling, name agreement and intrusion, per level and concept.

    [bold]interpscore study report scored.csv -o report.json[/bold]

    Intervals resample images and participants. Where the table has a column excluded, rows it marks are left out, and
    the results with them are shown beside. Intrusion, the share of answers that name what an attack aimed at, needs
    the column attack_target in the table that was scored.
    """
    from Activation_Extraction.base.files import check_writable
    from Activation_Extraction.base.progress import stage_progress
    from Human_Experiment_Setup.scoring.answers import read_raw, refuse_same_file
    from Human_Experiment_Setup.scoring.reliability.groups import ReportOptions
    from Human_Experiment_Setup.scoring.reliability.report import reliability_report
    from Human_Experiment_Setup.scoring.reliability.report_files import report_paths, save_report

    if output is not None:
        refuse_same_file(report_paths(output), [scored, scored.with_suffix(".json")])
        for path in report_paths(output):
            check_writable(path)
    options = ReportOptions(human_score_col, resamples, splits, confidence, seed)
    raw = read_raw(scored, csv)
    with stage_progress(shown=not quiet) as progress:
        made = reliability_report(raw.frame, str(scored), options, progress)
    saved = save_report(made, scored, raw.frame, options, output) if output is not None else ()
    if not quiet:
        for remark in (*raw.remarks, *made.remarks):
            say(f"note: {remark}")
        _print_levels(made)
        _print_concepts(made)
        _print_exclusions(made)
        if resamples:
            say(f"{100 * confidence:g}% intervals from {resamples:,} resamples of images and participants")
        if saved:
            say(f"Written: {', '.join(map(str, saved))}")


def _print_levels(made: Report) -> None:
    import pandas as pd

    from Human_Experiment_Setup.scoring.printing import grid

    rows = pd.concat([made.rows(made.main, True, False), made.rows(made.main, False, False)])
    columns = ["Level", "Images", "Raters", "Recognition", "Agree", "Alpha", "Ceiling", "Modal", "H"]
    has_targets = bool(rows["attacked"].sum())
    lines = []
    for _, row in rows.iterrows():
        numbers = [_short(row[name]) for name in ("agreement", "alpha", "ceiling", "modal_share", "name_H")]
        numbers += [_short(row["intrusion"])] if has_targets else []
        level = "all" if row["level"] is pd.NA else row["level"]
        lines.append([level, f"{row['images']:,}", f"{row['participants']:,}", _with_interval(row), *numbers])
    grid([*columns, *(["Intrusion"] if has_targets else [])], lines)
    for _, row in rows.iterrows():
        if row["Notes"] and row["level"] is not pd.NA:
            say(f"note: level {row['level']}: {row['Notes']}")


def _print_concepts(made: Report) -> None:
    """Recognition by concept and level."""
    from Human_Experiment_Setup.scoring.printing import grid

    over_levels = made.rows(made.main, False, True).set_index("concept")
    both = made.rows(made.main, True, True)
    levels = sorted(both["level"].unique())
    names = list(over_levels.index)
    for start in range(0, len(levels), _LEVELS_A_TABLE):
        part = levels[start : start + _LEVELS_A_TABLE]
        cells = {(row["concept"], row["level"]): _below(row) for _, row in both.iterrows() if row["level"] in part}
        lines = [
            [name, *(cells.get((name, level), "–") for level in part), _below(over_levels.loc[name])] for name in names
        ]
        grid(["Recognition", *(f"level {level}" for level in part), "all"], lines[:_SHOWN_CONCEPTS])
    if len(names) > _SHOWN_CONCEPTS:
        say(f"… and {len(names) - _SHOWN_CONCEPTS:,} more concepts in the file")


def _print_exclusions(made: Report) -> None:
    from Human_Experiment_Setup.scoring.printing import grid
    from Human_Experiment_Setup.scoring.reliability.report import ALL, KEPT

    if not made.has_exclusions:
        return
    lines = []
    for answers, title in ((KEPT, "without the excluded (above)"), (ALL, "with them")):
        row = made.rows(answers, False, False).iloc[0]
        counts = [f"{row[name]:,}" for name in ("participants", "ratings")]
        lines.append([title, *counts, _with_interval(row), _short(row["agreement"]), _short(row["alpha"])])
    grid(["Exclusions", "Raters", "Ratings", "Recognition", "Agree", "Alpha"], lines)


def _with_interval(row: pd.Series[Any]) -> str:
    """`.590 (.55–.63)`."""
    value, low, high = (row[name] for name in ("recognition", "recognition_low", "recognition_high"))
    if math.isnan(value):
        return "–"
    return _short(value, 3) if math.isnan(low) else f"{_short(value, 3)} ({_short(low)}–{_short(high)})"


def _below(row: pd.Series[Any]) -> str:
    """A value with its interval below."""
    return _with_interval(row).replace(" (", "\n").rstrip(")")


def _short(value: float, digits: int = 2) -> str:
    if math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
