"""`interpscore baseline`: the same images through untrained copies of a network, to put beside every score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.base.text import say
from InterpScore.errors import InputError

if TYPE_CHECKING:
    from InterpScore.baselines.make import BaselineReport

baseline_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PARTIAL = 1
"""Exit code of a complete run with unreadable images."""
_SHOWN_LINES = 10
NETWORK, IMAGES = "The network", "The images"
FROM_STORE = "that of the store"


@baseline_app.command(no_args_is_help=True)
def baseline(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write or complete, such as untrained/: a store for each seed, and its effects.")],
    images: Annotated[list[str] | None, typer.Argument(help="Folders, 'quoted/**/globs*.jpg', image files, image tables (.csv, .parquet), tar shards, or hf:NAME for a Hugging Face dataset.")] = None,
    store: Annotated[Path | None, typer.Option(help="The trained network's activation store: network, layers, pooling, preprocessing and the order of the images are taken from it, and the images are compared with it by hash.", rich_help_panel=NETWORK)] = None,
    model: Annotated[str | None, typer.Option(help="Name of a network, as `interpscore models list` shows it, or my_file.py:load, a function in a Python file that returns a Model; the file is run.", show_default=f"{FROM_STORE}, else clip", rich_help_panel=NETWORK)] = None,
    layer: Annotated[list[str] | None, typer.Option(help="A layer, by any of its names; may be given several times.", show_default="all of the store", rich_help_panel=NETWORK)] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Untrained copies.", rich_help_panel=NETWORK)] = 3,
    effects: Annotated[bool | None, typer.Option("--effects/--no-effects", help="Also measure what ablating and amplifying each unit does to the embedding, for C.", show_default="where all units are computed at once: before a CLIP's attention pool", rich_help_panel=NETWORK)] = None,
    pooling: Annotated[Literal["mean", "max", "none"] | None, typer.Option(help="Over the positions of a map; none keeps all positions.", show_default=f"{FROM_STORE}, else mean", rich_help_panel=NETWORK)] = None,
    preprocessing: Annotated[Literal["clip", "published", "own"] | None, typer.Option(help="clip scales and crops, published squashes, own is the network's.", show_default=f"{FROM_STORE}, else the network's own", rich_help_panel=NETWORK)] = None,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="bf16 is several times as fast on processors that have it, within about 1%.", rich_help_panel=NETWORK)] = "fp32",
    device: Annotated[str, typer.Option(help="Where the network runs, such as cuda:0.", rich_help_panel=NETWORK)] = "cpu",
    clean_level: Annotated[int, typer.Option(help="Level of unperturbed images, on which effects are measured where the image table has levels.", rich_help_panel=IMAGES)] = 5,
    split: Annotated[str | None, typer.Option(help="Only rows of this split of a table or dataset.", rich_help_panel=IMAGES)] = None,
    images_root: Annotated[Path | None, typer.Option(help="Folder that the paths of image tables are relative to.", show_default="the table's own", rich_help_panel=IMAGES)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Run the same images through untrained copies of a network, to see what architecture and pictures alone score.

    [bold]interpscore baseline photos/ --store acts.zarr -o untrained/[/bold]

    [bold]interpscore score data.csv neuron_map.json results.csv --store acts.zarr --baseline untrained/[/bold]

    A copy is initialized as its family is trained from, and its BatchNorm statistics are measured on the images, without
    labels. Without --store, name the network: --model clip-mini --layer block_4.

    Interrupted runs resume with the same command. Exit code 1: some images could not be read.
    """
    from Activation_Extraction.base.files import check_creatable
    from Activation_Extraction.base.progress import doing, image_progress

    if not images:
        raise InputError("IMAGES: none given; expected a folder, a glob, image files, tables, tar shards or hf:NAME")
    if store is None and not layer:
        raise InputError(
            "--layer: none given; expected --store, or at least one layer (`interpscore models layers` lists them)"
        )
    given = {"--pooling": pooling, "--preprocessing": preprocessing}
    if store is not None and (named := [name for name, value in given.items() if value is not None]):
        raise InputError(f"{named[0]}: found with --store; expected one of them: the store says how it was made")
    check_creatable(output)
    with doing("Loading libraries", shown=not quiet):
        from Activation_Extraction.images.sets import image_set
        from Activation_Extraction.store.reader import ActivationStore
        from InterpScore.baselines.make import architecture, architecture_of, images_of, make_baseline
        from InterpScore.baselines.stores import untrained_stores
    chosen, layers = image_set(images, split=split, images_root=images_root), layer or []
    trained = None if store is None else ActivationStore.open(store)
    if trained is None:
        network = architecture(model or "clip", device)
    else:
        if trained.path.resolve() in [output.resolve(), *output.resolve().parents]:
            raise InputError(f"{output}: is inside the store {store}; expected another folder")
        layers = [trained.resolve_layer(name) for name in layers or trained.layers]
        network = architecture_of(trained, model, device)
        with image_progress("Comparing", len(chosen), shown=not quiet) as advance:
            chosen = images_of(trained, chosen, ", ".join(images), advance)
        pooling, preprocessing = trained.identity.get("pooling"), trained.identity.get("preprocessing")
    report = make_baseline(
        chosen, layers, output, network, seeds=seeds, effects=effects, clean_level=clean_level,
        preprocessing=preprocessing, progress=not quiet, pooling=pooling or "mean", precision=precision,
    )  # fmt: skip
    untrained_stores(output, trained, layers)
    for line in listed_up_to([f"not read: {why}" for why in report.unreadable], _SHOWN_LINES):
        say(line, error=True)
    if not quiet:
        _print_report(output, report)
    raise typer.Exit(PARTIAL if report.unreadable else 0)


def _print_report(output: Path, report: BaselineReport) -> None:
    first = report.stores[0]
    layers = ", ".join(f"{name} ({'×'.join(map(str, shape))})" for name, shape in first.shapes.items())
    copies = (
        f"{len(report.stores)} untrained cop{'ies' if len(report.stores) > 1 else 'y'} of {first.identity['model']}"
    )
    say(f"{output}: {copies}, {layers}, {len(first):,} images each")
    if report.measured_on:
        say(f"BatchNorm statistics measured on {report.measured_on:,} of the images")
    if report.effects is not None:
        say(f"effects of the units of {report.effects} on {report.effects_on:,} images, for C")
    say(f"{report.computed:,} images computed" if report.computed else "already complete; nothing computed")
    for remark in report.remarks:
        say(f"note: {remark}")
