"""`interpscore top`: a wall of the pictures that activate units most."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say
from InterpScore.errors import InputError

top_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

MOST_UNITS = 200
"""Rows of a picture that viewers still open."""


@top_app.command(no_args_is_help=True)
def top(
    store: Annotated[Path, typer.Argument(help="An activation store of `interpscore extract`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .png to write.")],
    units: Annotated[str | None, typer.Option(help="Units, such as 22,52 or 0:64 (without 64); layer4.5:89 also names the layer.", show_default="those of --neuron-map, else all")] = None,
    layer: Annotated[str | None, typer.Option(help="The layer of the units, by any of its names.", show_default="the store's only one")] = None,
    images: Annotated[list[str] | None, typer.Option(help="The pictures that the store was made from: folders, image tables, tar shards, or hf:NAME.", show_default="the working folder")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Pictures for each unit.")] = 9,
    neuron_map: Annotated[Path | None, typer.Option(help="The concept of each unit, JSON; it is written below the unit's name.")] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read an image table in CSV or Excel where that cannot be found out, "sep=; encoding=latin-1"; with file=NAME of one table alone.', show_default="found out")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Draw the pictures that activate units most: a row for each unit, best first, with rank, concept and activation.

    [bold]interpscore top acts.zarr --units 22,52 --images photos/ -o wall.png[/bold]

    A store holds names and hashes, not pictures: they are found in --images by name, and compared by hash.
    """
    from Activation_Extraction.base.files import check_writable, write_together
    from Activation_Extraction.images.reading import png_bytes
    from Activation_Extraction.images.sets import image_set
    from Activation_Extraction.store.reader import ActivationStore
    from Activation_Extraction.top_images import top_images_wall
    from InterpScore.cli.table import chosen_units
    from InterpScore.tables.neuron_map import neuron_map_and_notes

    check_writable(output)
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: expected the name of a .png to write")
    opened = ActivationStore.open(store)
    if opened.path.resolve() in output.resolve().parents:
        raise InputError(f"{output}: is inside the store {store}; expected another folder")
    concepts_of, notes = ({}, []) if neuron_map is None else neuron_map_and_notes(neuron_map)
    concepts = {name: " | ".join(several) for name, several in concepts_of.items()}
    of_layer, chosen = chosen_units(opened, layer, units if units is not None else ",".join(concepts) or ":")
    assert of_layer is not None
    if len(chosen) > MOST_UNITS:
        raise InputError(
            f"--units: found {len(chosen):,} units; expected at most {MOST_UNITS} in a picture, such as 0:{MOST_UNITS}"
        )
    named = {int(name.rpartition(":")[2]): concept for name, concept in concepts.items() if name.rpartition(":")[2].isdecimal()}  # fmt: skip
    if images is None and not any(Path(str(name)).is_file() for name in opened.images["image"][:100]):
        raise InputError(
            f"--images: none given, and the pictures of {store} are not in the working folder; expected the folder of "
            "the pictures that it was made from"
        )
    pictures = image_set(images or ".", csv=csv)
    pixels_HWC = top_images_wall(opened, of_layer, chosen, pictures, k=k, concepts=named)
    write_together({output: png_bytes(pixels_HWC)})
    if not quiet:
        for remark in [*notes, *pictures.remarks]:
            say(f"note: {remark}")
        if missing := sum(len(shard.rows) for shard in opened.missing_shards()):
            say(f"note: {store} is unfinished: {missing:,} of {len(opened):,} images are still to be computed")
        say(f"{output}: {len(chosen):,} units of {of_layer}, {pixels_HWC.shape[1]} × {pixels_HWC.shape[0]} pixels")
