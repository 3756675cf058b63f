"""`interpscore compare`: differences of two layers, checkpoints or networks on the same images, with intervals."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from Activation_Extraction.base.text import console, in_markup, say
from InterpScore.errors import InputError

if TYPE_CHECKING:
    from InterpScore.comparison.results import Comparison

compare_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_SHOWN_PAIRS = 30
SIDES = "Which units"


@compare_app.command(no_args_is_help=True)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Results of `interpscore score`, with their draws beside them.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Other results on the same table, or the same file for another layer of it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write, .csv or .parquet; a .json of the same name has the rest.")],
    layer_a: Annotated[str | None, typer.Option(help="The layer of A, as its column Layer names it.", show_default="its only one", rich_help_panel=SIDES)] = None,
    layer_b: Annotated[str | None, typer.Option(help="The layer of B.", show_default="its only one", rich_help_panel=SIDES)] = None,
    match: Annotated[Literal["concept", "correlation"], typer.Option(help="concept compares the units of each concept; correlation compares each unit of A with the one of B that is active on the same images, one to one.", rich_help_panel=SIDES)] = "concept",
    store_a: Annotated[Path | None, typer.Option(help="With --match correlation: the activation store of A.", rich_help_panel=SIDES)] = None,
    store_b: Annotated[Path | None, typer.Option(help="With --match correlation: the activation store of B.", show_default="that of A", rich_help_panel=SIDES)] = None,
    confidence: Annotated[float, typer.Option(help="Coverage of the intervals, a fraction.")] = 0.95,
    adjust: Annotated[Literal["bh", "by", "holm", "none"], typer.Option(help="Correction of p-values over the pairs.")] = "bh",
    min_p_value: Annotated[float, typer.Option(help="Significance level for adjusted p-values.")] = 0.05,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Compare two layers, checkpoints or networks on the same images and ratings, by paired differences with intervals.

    [bold]interpscore score data.csv map_a.json a.csv --store a.zarr[/bold]

    [bold]interpscore score data.csv map_b.json b.csv --store b.zarr[/bold]

    [bold]interpscore compare a.csv b.csv -o comparison.csv[/bold]

    Differences (B minus A) are paired: both are scored in the same resampled images and participants, so what they share
    cancels. Two runs on other images, with another seed or other options are refused.
    """
    from InterpScore.comparison.differences import compare_runs
    from InterpScore.comparison.matching import Matching, by_concept, by_correlation
    from InterpScore.comparison.runs import read_run, refuse_other_resamples
    from InterpScore.tables.written import table_and_json

    table_and_json(output)
    for name, value in (("--confidence", confidence), ("--min-p-value", min_p_value)):
        if not 0 < value < 1:
            raise InputError(f"{name}: found {value}; expected a fraction between 0 and 1")
    if match == "concept" and (store_a or store_b):
        raise InputError("--store-a: found with --match concept; expected it with --match correlation alone")
    if match == "correlation" and store_a is None:
        raise InputError("--store-a: none given; expected the activation store of A, for --match correlation")
    one, other = read_run(a, layer_a, "--layer-a"), read_run(b, layer_b, "--layer-b")
    refuse_other_resamples(one, other)
    matching: Matching = by_concept
    if store_a is not None:
        from InterpScore.profiles.sources import layer_of_store

        of_a = layer_of_store(store_a, layer_a, "--layer-a")
        of_b = layer_of_store(store_b or store_a, layer_b, "--layer-b")
        matching = partial(by_correlation, of_a=of_a, of_b=of_b)
    result = compare_runs(one, other, matching, confidence=confidence, adjust=adjust, min_p_value=min_p_value)
    result.save(output)
    if not quiet:
        _print(result)
        say(f"{output}: {len(result.table):,} pairs; {output.with_suffix('.json').name} tells what each column means")


def _print(result: Comparison) -> None:
    from rich.table import Table

    from InterpScore.comparison.differences import SCORE
    from InterpScore.comparison.results import overall_cells

    screen = console(width=None if sys.stdout.isatty() else 100)
    for warning in result.warnings:
        screen.print(f"[yellow]note:[/yellow] {in_markup(warning)}", soft_wrap=True)
    signature = result.signature
    say(f"A: {signature['A']['name']}; B: {signature['B']['name']}; {signature['draws']} shared resamples")
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("Mean over pairs")
    for name in ("pairs", "A", "B", f"B − A [{100 * signature['confidence']:g}%]", "p", "pairs differ"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in result.overall.to_dict(orient="records"):
        grid.add_row(in_markup(row["component"]), str(row["pairs"]), *overall_cells(row), str(row["significant"]))
    screen.print(grid)
    say(f"pairs differ: adjusted p at most {signature['min_p_value']:g} ({signature['adjust']})")
    say()
    pairs = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("Concept", "A", "B"):
        pairs.add_column(name, overflow="fold")
    by_correlation = result.table["correlation"].notna().any()
    for name in (*(["r"] if by_correlation else []), f"{SCORE} A", "B", "B − A", "adjusted p"):
        pairs.add_column(name, justify="right", no_wrap=True)
    ordered = result.table.sort_values(f"{SCORE}_difference", ascending=False, kind="stable")
    for row in ordered.head(_SHOWN_PAIRS).to_dict(orient="records"):
        values = {"A": row[f"{SCORE}_A"], "B": row[f"{SCORE}_B"], "difference": row[f"{SCORE}_difference"]}
        interval = {"low": row[f"{SCORE}_low"], "high": row[f"{SCORE}_high"], "p": row[f"{SCORE}_p_adjusted"]}
        r = [f"{row['correlation']:.2f}"] if by_correlation else []
        units = [_units(row[name]) for name in ("Units_A", "Units_B")]
        pairs.add_row(in_markup(row["Concept"]), *units, *r, *overall_cells(values | interval))
    screen.print(pairs)
    if len(ordered) > _SHOWN_PAIRS:
        say(f"… and {len(ordered) - _SHOWN_PAIRS} more pairs in the file")


def _units(names: str) -> str:
    """The units of a side, or how many where there are several."""
    count = names.count(" ") + 1
    return in_markup(names) if count == 1 else f"{count} units"
