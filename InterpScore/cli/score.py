"""`interpscore score`: arguments in, ranked table out."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from Activation_Extraction.base.progress import stage_progress
from Activation_Extraction.base.text import console, in_markup, say
from InterpScore.cli.untrained import print_untrained
from InterpScore.errors import InputError
from InterpScore.metric import components
from InterpScore.options import RENAMED

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from InterpScore.scoring.results import BenchmarkResult

LIST_OPTIONS = ("--weights", "--recognizable-levels", "--level-kinds")
_NUMBER = r"[-+]?[\d.][\d.eE+-]*"
_LIST_ITEM = re.compile(rf"({_NUMBER}(=\w+)?|[^\W\d]\w*={_NUMBER}),?$")
_SHOWN_NEURONS = 40
_ROOMY, _ROOMY_METRIC = 58, 10
"""Terminal columns for the ranking with full names and rules, and for each metric in addition."""


class ListOptionsCommand(TyperCommand):
    """A command whose list options need no quotes: `--weights "1 1 1 1"`, `--weights 1 1 1 1`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(argument.partition("=")[0] == "--protocol" for argument in args):
            raise InputError(f"--protocol: {RENAMED.format('--preset ')}")
        return super().parse_args(ctx, join_list_options(args))


def join_list_options(arguments: list[str]) -> list[str]:
    """Join the numbers that follow a list option into its value.

    >>> join_list_options(["--weights", "1", "1", "0", "0", "out.csv"])
    ['--weights', '1 1 0 0', 'out.csv']
    """
    joined: list[str] = []
    gathering = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in LIST_OPTIONS:
            joined += [name, value]
            gathering = True
            continue
        gathering = gathering and bool(_LIST_ITEM.match(argument)) and not isfile(argument)
        if gathering and joined[-1] not in LIST_OPTIONS:
            joined[-1] += f" {argument}"
        else:
            joined.append(argument)
        gathering = gathering or argument in LIST_OPTIONS
    return joined


score_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

OUR_OPTIONS = "Options of InterpScore"
FROM_NETWORK = "Activations and causality from a network"


@score_app.command(cls=ListOptionsCommand, no_args_is_help=True)
def score(
    data: Annotated[Path, typer.Argument(help="Experiment table, CSV, Excel or Parquet: one row per rating, with ground_truth, level, soft_correct and, without --store, activation_<neuron> columns.")],
    neuron_map: Annotated[Path, typer.Argument(help='Neuron map, JSON: {"89": "trump", "355": "puppies"}.')],
    results: Annotated[Path, typer.Argument(help="CSV to write. A .json of the same name holds the same numbers and their provenance, a .draws.npz the resamples.")],
    clean_level: Annotated[int | None, typer.Option(help="Level of the unperturbed images.", show_default="5")] = None,
    threshold_percentile: Annotated[float | None, typer.Option(help="H: an activation is high above this quantile of the clean images of other concepts, a fraction.", show_default="0.95")] = None,
    recognizable_levels: Annotated[str | None, typer.Option(help='R: levels to average over, "3 4 5"; the clean one is the baseline.', show_default="3 4 5; published: 1 2 3 5")] = None,
    min_p_value: Annotated[float | None, typer.Option(help="Significance level for adjusted p-values.", show_default="0.05")] = None,
    human_score_col: Annotated[str | None, typer.Option(help="Column with the recognition score: true/false, 0/1 or a fraction.", show_default="soft_correct")] = None,
    weights: Annotated[str | None, typer.Option(help='Weights of S, C, R and H, "0.3 0.3 0.2 0.2"; or of any metrics by name, "S=.3 C=.3 X=.1", the others 0.', show_default="0.3 0.3 0.2 0.2; published: equal")] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read the table where that cannot be found out, "sep=; decimal=, encoding=latin-1"; also thousands, quote, comment and sheet; file=effects.csv in it is of another table (--causality, --images).', show_default="found out")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    preset: Annotated[Literal["default", "published"], typer.Option(help="Defaults of all options and conventions: ours, or those of the 2025 study.", rich_help_panel=OUR_OPTIONS)] = "default",
    selectivity: Annotated[str | None, typer.Option(metavar="NAME", help="What S is: cles (common-language effect size), auroc, ap (average precision, images ranked by activation), or a score that notices wrong labels: correlation, cosine, auprc_images (the column AUPRC), f1_images, iou_images.", show_default="cles", rich_help_panel=OUR_OPTIONS)] = None,
    on_missing: Annotated[Literal["renormalise", "nan", "zero"] | None, typer.Option(help="A missing component is left out with its weight, makes the score NaN, or counts as 0.", show_default="renormalise", rich_help_panel=OUR_OPTIONS)] = None,
    resamples: Annotated[int | None, typer.Option(help="Bootstrap resamples and permutations; 0 gives point estimates only.", show_default="2000", rich_help_panel=OUR_OPTIONS)] = None,
    draws: Annotated[int | None, typer.Option(help="Resamples to keep beside the results, for figures and comparisons.", show_default="all; 200 above 200 neurons", rich_help_panel=OUR_OPTIONS)] = None,
    confidence: Annotated[float | None, typer.Option(help="Coverage of the intervals, a fraction.", show_default="0.95", rich_help_panel=OUR_OPTIONS)] = None,
    adjust: Annotated[Literal["bh", "by", "holm", "none"] | None, typer.Option(help="Correction of p-values over all neurons of the run.", show_default="bh", rich_help_panel=OUR_OPTIONS)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all resampling.", show_default="0", rich_help_panel=OUR_OPTIONS)] = None,
    unit_of_analysis: Annotated[Literal["image", "rating"] | None, typer.Option(help="Whether S and the baselines of R and H average over distinct images or over ratings.", show_default="image; published: rating", rich_help_panel=OUR_OPTIONS)] = None,
    level_kinds: Annotated[str | None, typer.Option(help='Kinds of levels, "3=adversarial 4=synthetic"; synthetic and exemplar levels count neither in R nor in H.', show_default="all benign", rich_help_panel=OUR_OPTIONS)] = None,
    per_concept: Annotated[bool, typer.Option("--per-concept", help="For neurons with several concepts, which count as one, add an unranked row per concept that leaves out images of the others.", rich_help_panel=OUR_OPTIONS)] = False,
    rank_all: Annotated[bool | None, typer.Option("--rank-all/--no-rank-all", help="Rank neurons that lack components which others have, too; otherwise they come after the others, without a rank.", show_default="off; published: on", rich_help_panel=OUR_OPTIONS)] = None,
    store: Annotated[list[Path] | None, typer.Option(help="Take activations from this store of `interpscore extract` instead of columns, by image; may be given several times.", rich_help_panel=FROM_NETWORK)] = None,
    layer: Annotated[list[str] | None, typer.Option(help="A layer of the stores, may be given several times; without a store, the layer of --model to intervene on.", show_default="all; the last of a CLIP", rich_help_panel=FROM_NETWORK)] = None,
    images: Annotated[list[str] | None, typer.Option(help="Measure C: the folder (or image table, tar, hf:NAME) with the table's images; every neuron is ablated and amplified in --model.", rich_help_panel=FROM_NETWORK)] = None,
    model: Annotated[str | None, typer.Option(help="The network, as `interpscore models list` shows it, or my_file.py:load, a function in a Python file that returns a Model; the file is run.", show_default="that of the store", rich_help_panel=FROM_NETWORK)] = None,
    model_weights: Annotated[str | None, typer.Option(help="A weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=FROM_NETWORK)] = None,
    device: Annotated[str, typer.Option(help="Where the network runs, such as cuda:0.", rich_help_panel=FROM_NETWORK)] = "cpu",
    causality: Annotated[list[Path] | None, typer.Option(help="Take C from this file of `interpscore causality`, or any CSV or Parquet with one row per image, ablation_effect_<neuron> and amplification_effect_<neuron>; may be given for several layers.", rich_help_panel=FROM_NETWORK)] = None,
    baseline: Annotated[Path | None, typer.Option(help="Put each score beside that of untrained networks: the folder of `interpscore baseline`.", rich_help_panel=FROM_NETWORK)] = None,
) -> None:  # fmt: skip
    """Score and rank neurons: selectivity, causality, robustness and human alignment, with intervals.

    [bold]interpscore score data.csv neuron_map.json results.csv[/bold]

    Missing is never zero: neurons that cannot be scored are listed, with the reason in Notes.

    With --store, activations come from a store, matched by image name, without regard to leading folders:

    [bold]interpscore score data.csv neuron_map.json results.csv --store acts.zarr[/bold]

    Its layers are compared, unless --layer names one. In the map "layer4.5:89" is a unit of one layer, "89" of each.

    With --images, causality is measured by intervening on the network; --causality reads effects measured before:

    [bold]interpscore score data.csv neuron_map.json results.csv --images pictures/ --model clip-rn50x4[/bold]
    """
    from Activation_Extraction.base.files import check_writable
    from InterpScore.benchmark import run_interpretability_benchmark
    from InterpScore.scoring.results import listed, result_paths

    for written in result_paths(results):
        for read in (data, neuron_map, *(causality or ())):
            if written.resolve() == read.resolve():
                raise InputError(f"{results}: would overwrite the input {read}; expected another name")
        for what, folder in [*(("store", one) for one in store or ()), *([("baseline", baseline)] if baseline else [])]:
            if folder.resolve() in written.resolve().parents:
                raise InputError(f"{results}: is inside the {what} {folder}; expected another folder")
    check_writable(results)
    with stage_progress(shown=not quiet) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the result carries them, and they are printed below
        result = run_interpretability_benchmark(
            data, neuron_map, stores=store or [], layers=layer or [], causality=causality or None,
            images=images[0] if images and len(images) == 1 else images,
            model=model, model_weights=model_weights, device=device, baseline=baseline, preset=preset, csv=csv, progress=progress,
            clean_level=clean_level, threshold_percentile=threshold_percentile,
            recognizable_levels=recognizable_levels, level_kinds=level_kinds,
            min_p_value=min_p_value, human_score_col=human_score_col, weights=weights,
            selectivity=selectivity, on_missing=on_missing, resamples=resamples, draws=draws, confidence=confidence,
            adjust=adjust, seed=seed, unit_of_analysis=unit_of_analysis, per_concept=per_concept, rank_all=rank_all,
        )  # fmt: skip
    saved = result.save(results)
    if not quiet:
        _print_ranking(result)
        say(f"Written: {listed([str(path) for path in saved])}")


def _print_ranking(result: BenchmarkResult) -> None:
    from rich import box
    from rich.table import Table

    from InterpScore.scoring.remarks import reasons_missing

    screen = console(width=None if sys.stdout.isatty() else 100)
    several_layers = result.layers is not None
    frame, counts = result.table, result.signature["n"]
    options = result.signature["options"]
    for warning in result.warnings:
        screen.print(f"[yellow]note:[/yellow] {in_markup(warning)}", soft_wrap=True)
    metric_names = [metric.name for metric in components()]
    roomy = screen.width >= _ROOMY + _ROOMY_METRIC * len(metric_names) and not several_layers
    grid = Table(box=box.SIMPLE_HEAD if roomy else None, pad_edge=False, padding=(0, 2 if roomy else 1, 0, 0))
    of_neuron = ("Neuron", "Layer", "Concept") if several_layers else ("Neuron", "Concept")
    for name in ("Rank", *of_neuron):
        text = name in ("Layer", "Concept")
        grid.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    for name in (*metric_names, "InterpScore" if roomy else "Score", "I_excess" if roomy else "Excess"):
        grid.add_column(name, justify="right", no_wrap=True)
    for _, row in frame.head(_SHOWN_NEURONS).iterrows():
        with_interval = [_with_interval(row, name) for name in (*metric_names, "InterpScore", "I_excess")]
        grid.add_row(_rank(row), *(in_markup(row[name]) for name in of_neuron), *with_interval)
    screen.print(grid)
    if len(frame) > _SHOWN_NEURONS:
        say(f"… and {len(frame) - _SHOWN_NEURONS} more neurons in the file")
    if result.layers is not None:
        _print_layers(result.layers, screen)
    if "baseline" in result.signature:
        print_untrained(frame, result.signature["baseline"], screen)
    intervals = f"{100 * options['confidence']:g}% intervals from {options['resamples']} resamples"
    rated = (
        f"{_counted(counts, 'ratings')} by {_counted(counts, 'participants')}" if counts["ratings"] else "no ratings"
    )
    say(
        f"{_counted(counts, 'neurons')}, {_counted(counts, 'images')}, {rated}; preset {options['preset']}; "
        f"{intervals if options['resamples'] else 'point estimates only'}"
    )
    for source in result.signature.get("stores", ()):
        known = ", ".join(str(source[name]) for name in ("model", "preprocessing", "pooling") if source.get(name))
        say(f"Activations: {', '.join(source['layers'])} of {source['name']} ({known})")
    for source in result.signature.get("causality", ()):
        if source.get("layer"):
            say(f"Interventions: {source['layer']} of {source['model']} ({source['method']})")
    for line in reasons_missing(frame, metric_names):
        say(line)


def _counted(counts: Mapping[str, int], what: str) -> str:
    return f"{counts[what]} {what if counts[what] != 1 else what.removesuffix('s')}"


def _print_layers(layers: pd.DataFrame, screen: Console) -> None:
    """The layers side by side."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("Layer", overflow="fold")
    tested = [metric.name for metric in components() if metric.test]
    significant = [f"{name} signif." for name in tested]
    for name in ("neurons", "scored", "median", "sd", "mean InterpScore", "mean I_excess", *significant):
        grid.add_column(name, justify="right", no_wrap=True)
    for _, row in layers.iterrows():
        counts = [str(row[name]) for name in ("scored", *(f"{name}_significant" for name in tested))]
        of_units = f"{row['neurons']} of {row['units']:,.0f}"
        names = ("InterpScore_median", "InterpScore_sd", "InterpScore", "I_excess")
        figures = [_with_interval(row, name) for name in names]
        in_line = [figure.replace("\n", "  ") for figure in figures]
        grid.add_row(in_markup(row["Layer"]), of_units, counts[0], *in_line, *counts[1:])
    screen.print(grid)
    say()


def _rank(row: Any) -> str:
    import pandas as pd

    if pd.isna(row["Rank"]):
        return "–"
    low, high = row.get("Rank_low"), row.get("Rank_high")
    return f"{row['Rank']}" if low is None or pd.isna(low) else f"{row['Rank']}\n{low}–{high}"


def _with_interval(row: Any, name: str) -> str:
    """A value with its interval below: `0.286` over `.23–.34`."""
    import math

    value = row.get(name, math.nan)
    if math.isnan(value):
        return "–"
    low, high = row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan)
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f}\n{_short(low)}–{_short(high)}"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1).replace("1.00", "1")
