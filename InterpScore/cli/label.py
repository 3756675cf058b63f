"""`interpscore label`: which unit stands for which concept, chosen on one half of the images and tested on the other."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.base.text import console, in_markup, say
from InterpScore.errors import InputError

if TYPE_CHECKING:
    from InterpScore.labelling.results import UnitLabels
    from InterpScore.labelling.sources.images import LabelledImages
    from InterpScore.labelling.sources.stored import StoredStudy
    from InterpScore.tables.from_images import LabelledTable

label_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PARTIAL = 1
"""Exit code of labels that some images have no part in, as they have no activations."""
_SHOWN_LINES, _SHOWN_UNITS = 10, 40
CONCEPTS, WORDS = "Concepts", "Words as concepts"
CHOICE, OUTPUTS = "Choice and test", "What is written besides"


@label_app.command(no_args_is_help=True)
def label(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Complete activation stores of the same images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The labels to write, .parquet. A .json of the same name has them too, with their provenance.")],
    concepts: Annotated[str | None, typer.Option(help="What the images show: a folder with a subfolder for each concept, an image table (.csv, .parquet) with the columns image and concept, in which an image may have several rows, or words, a .txt with one a line.", show_default="the store's own column concept", rich_help_panel=CONCEPTS)] = None,
    layer: Annotated[list[str] | None, typer.Option(help="A layer of the stores, may be given several times.", show_default="all")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates several concepts in a cell, such as '|'.", show_default="a cell is one concept", rich_help_panel=CONCEPTS)] = None,
    images_root: Annotated[Path | None, typer.Option(help="Folder that the paths of an image table are relative to.", show_default="the table's own", rich_help_panel=CONCEPTS)] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read an image table in CSV or Excel where that cannot be found out, "sep=; encoding=latin-1"; with file=NAME of one table alone.', show_default="found out", rich_help_panel=CONCEPTS)] = None,
    levels: Annotated[str, typer.Option(help='Levels whose images count, "5 1", where the images have levels.', rich_help_panel=CONCEPTS)] = "5",
    min_images: Annotated[int | None, typer.Option(help="Leave out concepts of fewer images.", show_default="one of a single image is an error", rich_help_panel=CONCEPTS)] = None,
    embedding: Annotated[Path | None, typer.Option(help="Store of the embeddings of the images, of a network with a text tower.", show_default="the layer attnpool of the first store", rich_help_panel=WORDS)] = None,
    images: Annotated[str | None, typer.Option(help="The pictures, to compute embeddings where no store has them; they are kept in <labels>.embedding.zarr.", rich_help_panel=WORDS)] = None,
    model: Annotated[str | None, typer.Option(help="The network with a text tower, as `interpscore models list` shows it, or my_file.py:load, a function in a Python file that returns a Model; the file is run.", show_default="that of the embeddings", rich_help_panel=WORDS)] = None,
    model_weights: Annotated[str | None, typer.Option(help="A weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=WORDS)] = None,
    device: Annotated[str, typer.Option(help="Where the network runs, such as cuda:0.", rich_help_panel=WORDS)] = "cpu",
    template: Annotated[str | None, typer.Option(help="The text that images are compared with, with {word} in it.", show_default="a photo of a {word}", rich_help_panel=WORDS)] = None,
    scale: Annotated[float | None, typer.Option(help="What cosines are multiplied by before the softmax over words.", show_default="the network's logit scale", rich_help_panel=WORDS)] = None,
    by: Annotated[Literal["auprc", "correlation", "f1", "soft-wpmi"], typer.Option(help="What concepts are chosen by: AUPRC or F1 above chance, correlation, or, of words, soft-WPMI.", rich_help_panel=CHOICE)] = "auprc",
    split: Annotated[Literal["half", "none"], typer.Option(help="half: chosen on one half of the images, scored on the other. none: both on all images, tested against the best concept of permuted labels.", rich_help_panel=CHOICE)] = "half",
    min_p_value: Annotated[float | None, typer.Option(help="A unit has a label where its adjusted p-value is at most this.", show_default="0.05", rich_help_panel=CHOICE)] = None,
    adjust: Annotated[Literal["bh", "by", "holm", "none"] | None, typer.Option(help="Correction of p-values over all units of the run.", show_default="bh", rich_help_panel=CHOICE)] = None,
    resamples: Annotated[int | None, typer.Option(help="Bootstrap resamples for intervals and prediction sets; 0 for none.", show_default="1000", rich_help_panel=CHOICE)] = None,
    confidence: Annotated[float | None, typer.Option(help="Coverage of the intervals, a fraction.", show_default="0.95", rich_help_panel=CHOICE)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the halves, permutations and resamples.", show_default="0", rich_help_panel=CHOICE)] = None,
    map_out: Annotated[Path | None, typer.Option(help="Neuron map to write, .json; beside it <map>.evaluation.csv, the table to score it on, without the images that labels were chosen on.", rich_help_panel=OUTPUTS)] = None,
    map_units: Annotated[Literal["one", "all"], typer.Option("--map", help="Units of the map: the best one of each concept, or all with a label.", rich_help_panel=OUTPUTS)] = "one",
    export: Annotated[list[str] | None, typer.Option(help="Labels as other programs write them: clip-dissect=FILE.csv or milan=FILE.csv; may be given several times.", rich_help_panel=OUTPUTS)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Label units: the concept that each stands for, with its score, interval and p-value, or none better than chance.

    [bold]interpscore label acts.zarr --concepts photos/ -o labels.parquet --map-out map.json[/bold]

    [bold]interpscore score map.evaluation.csv map.json results.csv --store acts.zarr[/bold]

    With words, a network with a text tower says how present each is in an image:

    [bold]interpscore label acts.zarr --concepts words.txt --embedding embeddings.zarr -o labels.parquet[/bold]

    Concepts are chosen on one half of the images and tested on the other, so scores and p-values owe nothing to the
    search. Scoring takes images that labels were not chosen on: the second command.

    Images are matched to the store by name, and compared with it by hash. Long runs of permutations resume when the same
    command is run again. Exit code 1: some images have no activations.
    """
    from Activation_Extraction.base.files import write_together
    from Activation_Extraction.base.progress import stage_progress
    from InterpScore.labelling.options import labelling_options
    from InterpScore.labelling.parts import PermutationFolder, label_in_folder
    from InterpScore.labelling.sources.stored import level_numbers, stored_study
    from InterpScore.labelling.sources.words import WordOptions

    options = labelling_options(by=by, split=split, min_p_value=min_p_value, adjust=adjust, resamples=resamples, confidence=confidence, min_images=min_images, seed=seed)  # fmt: skip
    exports = _exports(export)
    table_out = None if map_out is None else map_out.with_name(f"{map_out.stem}.evaluation.csv")
    _check_outputs(output, [path for path in (map_out, table_out, *exports) if path is not None], stores, concepts)
    if map_out is None and map_units != "one":
        raise InputError("--map: found all without a map to write; expected --map-out as well")
    given: dict[str, Any] = {"embedding": embedding, "images": images, "model": model, "weights": model_weights, "template": template, "scale": scale}  # fmt: skip
    of_words = {name: value for name, value in given.items() if value is not None} | ({} if device == "cpu" else {"device": device})  # fmt: skip
    with stage_progress(shown=not quiet) as progress:
        found = stored_study(
            stores, layer or [], concepts, level_numbers(levels), separator=separator, images_root=images_root, csv=csv,
            words=WordOptions(**of_words) if of_words else None, output=output, keep_cosines=by == "soft-wpmi",
            progress=progress,
        )  # fmt: skip
        folder = PermutationFolder(output, {"options": options.as_dict(), **found.study.inputs}, progress)
        labels = label_in_folder(found.study, options, folder)
    labels.signature["images"] = found.halves(labels.evaluation)
    files = labels.files(output)
    table_remarks: list[str] = []
    if map_out is not None and table_out is not None:
        table, table_remarks = found.images.evaluation_table(_selection(labels, found.images), level_numbers(levels)[0])
        files |= _files_of_map(labels, map_out, table_out, table, every=map_units == "all")
    files |= {path: _csv(labels, layout) for path, layout in exports.items()}
    write_together(files)
    folder.remove()
    lines = [*(f"not in the store: {name}" for name in found.images.missing), *(f"not read: {why}" for why in found.images.unreadable)]  # fmt: skip
    for line in listed_up_to(lines, _SHOWN_LINES):
        say(line, error=True)
    if not quiet:
        _print_labels(labels, [*found.images.remarks, *labels.remarks, *table_remarks])
        say(f"Written: {', '.join(map(str, files))}")
        if map_out is not None and table_out in files:
            _print_next(map_out, table_out, found, layer or [])
    raise typer.Exit(PARTIAL if lines else 0)


def _exports(export: list[str] | None) -> dict[Path, str]:
    """File → layout of each export."""
    from InterpScore.labelling.results import EXPORTS

    found: dict[Path, str] = {}
    for text in export or ():
        layout, _, name = text.partition("=")
        if layout not in EXPORTS or not name:
            raise InputError(f"--export: found {text!r}; expected {' or '.join(f'{one}=FILE.csv' for one in EXPORTS)}")
        found[Path(name)] = layout
    return found


def _check_outputs(output: Path, others: list[Path], stores: list[Path], concepts: str | None) -> None:
    """See to it that everything can be written, and nothing that is read would be."""
    from Activation_Extraction.base.files import check_writable

    if output.suffix.lower() not in (".parquet", ".pq"):
        raise InputError(f"{output}: expected the name of a .parquet file to write")
    written = [output, output.with_suffix(".json"), *others]
    resolved = [path.resolve() for path in written]
    if twice := [path for path, place in zip(written, resolved, strict=True) if resolved.count(place) > 1]:
        raise InputError(f"{twice[-1]}: would be written twice; expected another name")
    for path in written:
        check_writable(path)
        if concepts is not None and path.resolve() == Path(concepts).resolve():
            raise InputError(f"{path}: would overwrite the input {concepts}; expected another name")
        for store in stores:
            if store.resolve() in path.resolve().parents:
                raise InputError(f"{path}: is inside the store {store}; expected another folder")


def _selection(labels: UnitLabels, images: LabelledImages) -> Any:
    """The images that labels were chosen on; those of all sources where there is no split."""
    import numpy as np

    everyone = np.arange(len(images.counted))
    return everyone if labels.signature["options"]["split"] == "none" else np.setdiff1d(everyone, labels.evaluation)


def _files_of_map(
    labels: UnitLabels, map_out: Path, table_out: Path, table: LabelledTable, every: bool
) -> dict[Path, bytes]:
    """The neuron map and, where images are left to score it on, their table."""
    from Activation_Extraction.base.files import as_json
    from Activation_Extraction.base.text import as_csv

    found = labels.neuron_map(every)
    if not found:
        say(f"note: {map_out} is not written: no unit has a label", error=True)
        return {}
    files = {map_out: as_json(found)}
    if not len(table.frame):
        say(f"note: {table_out} is not written: labels were chosen on all images; score the map on others", error=True)
    else:
        files[table_out] = as_csv(table.frame, index=False)
    return files


def _csv(labels: UnitLabels, layout: str) -> bytes:
    from Activation_Extraction.base.text import as_csv

    return as_csv(labels.export(layout), index=False)


def _print_labels(labels: UnitLabels, remarks: list[str]) -> None:
    """Units with a label, the surest first, and how many have none."""
    from rich import box
    from rich.table import Table

    screen = console(width=None if sys.stdout.isatty() else 100)
    for remark in remarks:
        screen.print(f"[yellow]note:[/yellow] {in_markup(remark)}", soft_wrap=True)
    with_label = labels.table[labels.table["concept"].notna()].sort_values("score", ascending=False, kind="stable")
    columns, rows = labels.shown(with_label.head(_SHOWN_UNITS))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        text = name in ("Layer", "Label", "Needs", "Runner-up")
        grid.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    for row in rows:
        grid.add_row(*map(in_markup, row))
    if rows:
        screen.print(grid)
    if len(with_label) > _SHOWN_UNITS:
        say(f"… and {len(with_label) - _SHOWN_UNITS:,} more units in the file")
    n, options = labels.signature["n"], labels.signature["options"]
    where = "all images" if options["split"] == "none" else f"{n['tested_on']:,} images, chosen on {n['chosen_on']:,} others"  # fmt: skip
    say(
        f"{labels.summary()}; scores ({_SCORES[options['by']]}) and p-values are of {where}; {n['concepts']:,} concepts"
    )
    say(f"p-values: {labels.signature['test']}; a label has an adjusted p of at most {options['min_p_value']:g}")


_SCORES = {
    "auprc": "AUPRC above chance",
    "f1": "F1 above chance",
    "correlation": "correlation",
    "soft-wpmi": "soft-WPMI",
}


def _print_next(map_out: Path, table_out: Path, found: StoredStudy, layers: list[str]) -> None:
    """The command that scores the map on images that it was not chosen on."""
    words = ["interpscore", "score", str(table_out), str(map_out), "results.csv"]
    for path in found.paths:
        words += ["--store", str(path)]
    for name in layers:
        words += ["--layer", name]
    say(f"Score it on images that it was not chosen on: {shlex.join(words)}")
