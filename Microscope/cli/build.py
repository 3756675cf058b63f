"""`interpscore microscope build`: from stores and what was found out about their units to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

PARTIAL = 1
"""Exit code where pictures were not found."""
_SHOWN = 5
KNOWN, SHOWN = "What is known of the units", "What is shown"


def build(
    stores: Annotated[list[Path], typer.Argument(help="Activation stores of `interpscore extract`, complete.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; interrupted builds resume.")],
    images: Annotated[list[str] | None, typer.Option(help="The pictures, as `interpscore extract` takes them; repeatable.", show_default="no pictures")] = None,
    layer: Annotated[list[str] | None, typer.Option(help="Layers, by any of their names; repeatable.", show_default="all")] = None,
    renders: Annotated[list[Path] | None, typer.Option(help="Renders of `interpscore dream`; repeatable.", rich_help_panel=KNOWN)] = None,
    labels: Annotated[list[Path] | None, typer.Option(help="Labels of `interpscore label`; repeatable.", rich_help_panel=KNOWN)] = None,
    profile: Annotated[list[Path] | None, typer.Option(help="Profile of `interpscore profile`; repeatable.", rich_help_panel=KNOWN)] = None,
    results: Annotated[list[Path] | None, typer.Option(help="Results of `interpscore score`, with their baseline; repeatable.", rich_help_panel=KNOWN)] = None,
    effects: Annotated[list[Path] | None, typer.Option(help="Effects of `interpscore causality`: the dose curve; repeatable.", rich_help_panel=KNOWN)] = None,
    neuron_map: Annotated[Path | None, typer.Option(help='Concepts of units, such as {"89": "trump"}; shown as given, not tested.', rich_help_panel=KNOWN)] = None,
    published: Annotated[Path | None, typer.Option(help="A CSV of published scores: neuron or concept, S, C, R, H, InterpScore.", rich_help_panel=KNOWN)] = None,
    embedding: Annotated[Path | None, typer.Option(help="Store of embeddings of the same images: clusters of top pictures, words.", rich_help_panel=KNOWN)] = None,
    model: Annotated[str | None, typer.Option(help="The network of the stores: similarity by weights and by effects.", rich_help_panel=KNOWN)] = None,
    weights: Annotated[str | None, typer.Option(help="Its weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=KNOWN)] = None,
    words: Annotated[Path | None, typer.Option(help="Vocabulary, one word a line, for an --embedding with a text tower.", rich_help_panel=KNOWN)] = None,
    template: Annotated[str, typer.Option(help="Text of a word.", rich_help_panel=KNOWN)] = "a photo of a {word}",
    effect_images: Annotated[int, typer.Option(help="Images on which units are ablated, with --model.", rich_help_panel=KNOWN)] = 32,
    title: Annotated[str | None, typer.Option(help="Title of the bundle.", show_default="networks and layers", rich_help_panel=SHOWN)] = None,
    top: Annotated[int, typer.Option(help="Pictures of a unit, best first.", rich_help_panel=SHOWN)] = 30,
    strata: Annotated[str, typer.Option(help="Ranges of quantiles x pictures of each.", rich_help_panel=SHOWN)] = "6x4",
    tile: Annotated[int, typer.Option(help="Pixels per side of a picture.", rich_help_panel=SHOWN)] = 96,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors and missing pictures only.")] = False,
) -> None:  # fmt: skip
    """Make a bundle: a folder that the explorer shows, and that any web server can serve.

    [bold]interpscore microscope build acts.zarr --images photos/ -o bundle[/bold]

    [bold]interpscore microscope build acts.zarr --images photos/ --labels labels.parquet --results results.csv -o bundle[/bold]

    A store alone gives histograms, percentiles, similar units and a map, of
    all its images; each further file adds what it knows. What was not
    measured is absent, with the reason. Files that state a hash are refused
    where they are of other stores.

    Interrupted builds resume with the same command and end with the same
    bytes. Exit codes: 0; 1 if pictures were not found (they are listed, and
    the bundle is complete without them); 2 for wrong input; 130 if
    interrupted.
    """
    from Activation_Extraction.base.errors import listed_up_to
    from Activation_Extraction.base.files import check_creatable
    from Activation_Extraction.base.progress import doing
    from Microscope.bundle.options import Files, Options, strata_of

    ranges, pictures = strata_of(strata)
    check_creatable(output)
    files = Files(
        images or (), renders or (), labels or (), profile or (), results or (), effects or (), neuron_map, published,
        embedding, model, weights, words,
    )  # fmt: skip
    options = Options(layer or (), title, top, ranges, pictures, tile, effect_images, template, seed)
    with doing("Loading libraries", shown=not quiet):
        from Microscope.bundle.build import build_bundle
    report = build_bundle(stores, output, files, options, progress=not quiet)
    if report.not_found:
        say(f"not found, or other files than those that were measured: {len(report.not_found):,} pictures", error=True)
        for name in listed_up_to(report.not_found, _SHOWN, "more"):
            say(f"  {name}", error=True)
    if not quiet:
        units = sum(layer.units for layer in report.bundle.layers)
        say(f"{report.folder}: {units:,} units, {report.units:,} made now")
        for remark in report.remarks:
            say(f"note: {remark}")
    raise typer.Exit(PARTIAL if report.not_found else 0)
