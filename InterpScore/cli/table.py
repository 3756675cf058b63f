"""`interpscore table`: the experiment table of labelled pictures and an activation store, for scoring without ratings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.base.text import say
from InterpScore.errors import InputError

if TYPE_CHECKING:
    from Activation_Extraction.store.reader import ActivationStore

table_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PARTIAL = 1
"""Exit code of a table with images that have no activations."""
_SHOWN_LINES = 10


@table_app.command(no_args_is_help=True)
def table(
    store: Annotated[Path, typer.Option(help="A complete activation store of the pictures.")],
    images: Annotated[str, typer.Option(help="The pictures and their concepts: a folder with a subfolder for each concept, or an image table (.csv, .parquet) with the columns image and concept, and where known level, clean_image and split, as `interpscore stimuli` writes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The experiment table to write, .csv or .parquet.")],
    units: Annotated[str | None, typer.Option(help="Units to have columns of activations, such as 22,52 or 0:64 (without 64); layer4.5:89 also names the layer.", show_default="none, for score --store")] = None,
    layer: Annotated[str | None, typer.Option(help="The layer of --units, by any of its names.", show_default="the store's only one")] = None,
    clean_level: Annotated[int, typer.Option(help="Level of unperturbed images, also of all where no level is given.")] = 5,
    split: Annotated[str | None, typer.Option(help="Only rows of this split of an image table.")] = None,
    images_root: Annotated[Path | None, typer.Option(help="Folder that the paths of an image table are relative to.", show_default="the table's own")] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read an image table in CSV or Excel where that cannot be found out, "sep=; encoding=latin-1"; with file=NAME of one table alone.', show_default="found out")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Make the experiment table that score takes from labelled pictures and an activation store, without ratings.

    [bold]interpscore table --images photos/ --store acts.zarr -o table.csv[/bold]

    [bold]interpscore score table.csv neuron_map.json results.csv --store acts.zarr[/bold]

    Without ratings, S is scored, and C with --causality or --images; R and H are missing, and Notes says why. With
    --units, the table has their activations, and is scored without the store.

    Pictures are matched to the store by name, and compared with it by hash. Exit code 1: some have no activations.
    """
    from Activation_Extraction.base.files import check_writable
    from Activation_Extraction.base.progress import image_progress
    from Activation_Extraction.images.sets import image_set
    from Activation_Extraction.store.reader import ActivationStore
    from InterpScore.tables.from_images import labelled_table

    check_writable(output)
    opened = ActivationStore.open(store)
    if missing := sum(len(shard.rows) for shard in opened.missing_shards()):
        raise InputError(f"{store}: unfinished, {missing:,} of {len(opened):,} images are still to be computed; expected a complete store (the same `interpscore extract` command again resumes it)")  # fmt: skip
    if store.resolve() in output.resolve().parents:
        raise InputError(f"{output}: is inside the store {store}; expected another folder")
    chosen_layer, chosen = chosen_units(opened, layer, units)
    pictures = image_set(images, split=split, images_root=images_root, csv=csv)
    with image_progress("Comparing", len(pictures), shown=not quiet) as advance:
        made = labelled_table(pictures, images, opened, chosen_layer, chosen, clean_level, advance)
    made.save(output)
    lines = [*(f"not in the store: {name}" for name in made.missing), *(f"not read: {why}" for why in made.unreadable)]
    for line in listed_up_to(lines, _SHOWN_LINES):
        say(line, error=True)
    if not quiet:
        of_units = f"{len(chosen):,} units of {chosen_layer}" if chosen else "no units (score it with --store)"
        concepts = made.frame["ground_truth"].nunique()
        say(f"{output}: {len(made.frame):,} images of {concepts:,} concepts, {of_units}, no ratings")
        for remark in pictures.remarks:
            say(f"note: {remark}")
        if made.level_kinds:
            say(f"score it with --level-kinds '{made.level_kinds}'")
    raise typer.Exit(PARTIAL if lines else 0)


def chosen_units(store: ActivationStore, layer: str | None, units: str | None) -> tuple[str | None, list[int]]:
    """The layer and the units of a store that two options name; no units where none are named.

    Raises:
        InputError: no such layer or unit, several layers to choose from, units that are directions.
    """
    from Activation_Extraction.models.units import layer_of_units, parse_units

    if units is None:
        return (None if layer is None else store.resolve_layer(layer)), []
    named = layer_of_units(units, layer, store.resolve_layer) or (store.layers[0] if len(store.layers) == 1 else None)
    if named is None:
        raise InputError(f"--layer: none given; {store.path} has {', '.join(store.layers)}; expected one of them")
    named = store.resolve_layer(named)
    found = parse_units(units, store.shapes[named][0])
    if joint := [unit.name for unit in found if len(unit.channels) > 1]:
        raise InputError(f"--units: found '{joint[0]}'; expected single units")
    return named, [unit.channels[0] for unit in found]
