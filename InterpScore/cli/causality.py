"""`interpscore causality`: effects of ablating and amplifying every unit of a layer, in a file for scoring."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.base.text import say
from InterpScore.errors import InputError

if TYPE_CHECKING:
    from InterpScore.interventions.files import MeasurementReport

causality_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PARTIAL = 1
"""Exit code of a run with unreadable or missing images."""
_SHOWN_LINES = 10
NETWORK, IMAGES = "The network", "The images"


@causality_app.command(no_args_is_help=True)
def causality(
    output: Annotated[Path, typer.Option("--output", "-o", help="The .parquet file to write or resume; a .json of the same name records its provenance.")],
    images: Annotated[list[str] | None, typer.Argument(help="Folders, 'quoted/**/globs*.jpg', image files, image tables (.csv, .parquet), tar shards, or hf:NAME for a Hugging Face dataset.")] = None,
    model: Annotated[str, typer.Option(help="Name of a network, as `interpscore models list` shows it, or my_file.py:load, a function in a Python file that returns a Model; the file is run.", rich_help_panel=NETWORK)] = "clip",
    layer: Annotated[str | None, typer.Option(help="The layer to intervene on, by any of its names.", show_default="the one in --units, else the input of a CLIP's attention pool", rich_help_panel=NETWORK)] = None,
    units: Annotated[str, typer.Option(help="Units, such as 5,12 or 0:64 (without 64); : is all; layer4.5:89 also names the layer. For the input of the attention pool, all units cost little more.", rich_help_panel=NETWORK)] = ":",
    also: Annotated[str | None, typer.Option(help='Interventions in addition to ablation (× 0) and amplification (× 2): factors, mean, resample, such as "0.5 5 mean".', rich_help_panel=NETWORK)] = None,
    weights: Annotated[str | None, typer.Option(help="A weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=NETWORK)] = None,
    device: Annotated[str, typer.Option(help="Where the network runs, such as cuda:0.", rich_help_panel=NETWORK)] = "cpu",
    table: Annotated[Path | None, typer.Option(help="Measure only the clean images of this experiment table, and compare embeddings with the texts of its concepts.", rich_help_panel=IMAGES)] = None,
    clean_level: Annotated[int, typer.Option(help="With --table: level of its unperturbed images.", rich_help_panel=IMAGES)] = 5,
    split: Annotated[str | None, typer.Option(help="Only rows of this split of a table or dataset.", rich_help_panel=IMAGES)] = None,
    images_root: Annotated[Path | None, typer.Option(help="Folder that the paths of image tables are relative to.", show_default="the table's own", rich_help_panel=IMAGES)] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read a table in CSV or Excel where that cannot be found out, "sep=; decimal=, encoding=latin-1"; with file=NAME of one table alone.', show_default="found out", rich_help_panel=IMAGES)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Intervene on every unit of a layer, one at a time, and write how far each image's embedding moves.

    [bold]interpscore causality pictures/ --table data.csv --model clip-rn50x4 -o effects.parquet[/bold]

    [bold]interpscore score data.csv neuron_map.json results.csv --causality effects.parquet[/bold]

    Measure on a large machine, score on a small one. For the input of CLIP's attention pool, the effects of all units are
    computed at once, exactly; for any other layer, the rest of the network runs for each unit.

    Interrupted runs resume when the same command is run again. Unreadable images are listed, and their rows are empty.
    Exit codes: 0 complete, 1 unreadable or missing images, 2 wrong input or output, 130 interrupted.
    """
    from Activation_Extraction.base.files import check_writable
    from Activation_Extraction.base.progress import doing, image_progress

    if not images:
        raise InputError("IMAGES: none given; expected a folder, a glob, image files, tables, tar shards or hf:NAME")
    check_writable(output)
    with doing("Loading libraries", shown=not quiet):
        from Activation_Extraction.images.sets import image_set
        from Activation_Extraction.images.twins import remarks_on_files
        from Activation_Extraction.models.registry import load_model
        from Activation_Extraction.models.units import layer_of_units
        from Activation_Extraction.tables.dialects.options import table_options
        from InterpScore.interventions.files import measure_to_file
        from InterpScore.interventions.layer import unit_count
        from InterpScore.interventions.measurement import ImagesOfSet, default_layer, prepare_layer
        from InterpScore.tables.effects import EFFECTS
        from InterpScore.tables.experiment_table import clean_images_of
        from InterpScore.tables.image_names import rows_of_images
    kinds = [*EFFECTS, *_kinds(also)]
    told = table_options(csv)
    chosen = image_set(images, split=split, images_root=images_root, csv=told if table is None else told.of_others())
    is_about_table = table is not None and not chosen.text_tables
    if table is None:
        told.refuse_unused(chosen.text_tables)
    else:
        told.refuse_unused([table] if is_about_table else [], others=[*chosen.text_tables, table])
    names = chosen.table["image"].to_pylist()
    known = chosen.table["concept"].to_pylist() if "concept" in chosen.table.column_names else None
    concepts = None if known is None else [None if concept is None else str(concept) for concept in known]
    rows, lost = list(range(len(names))), []
    if table is not None:
        concept_of = clean_images_of(table, clean_level, (told if is_about_table else told.of_others()).of(table))
        row_I = rows_of_images(list(concept_of), names, str(table), ", ".join(images))
        lost = [name for name, row in zip(concept_of, row_I, strict=True) if row < 0]
        rows = [int(row) for row in row_I if row >= 0]
        names = [name for name, row in zip(concept_of, row_I, strict=True) if row >= 0]
        concepts = [concept_of[name] for name in names]
    with doing(f"Loading {model}", shown=not quiet):
        network = load_model(model, weights=weights, device=device)
        layer = layer_of_units(units, layer, network.layers.resolve) or default_layer(network)
        prepared = prepare_layer(network, layer, _units(units, unit_count(network, layer)))
    with ExitStack() as shown:

        def progress(done: int) -> Callable[[int], None]:
            return shown.enter_context(image_progress("Intervening", len(rows), done=done, shown=not quiet))

        report = measure_to_file(output, names, ImagesOfSet(chosen, rows), prepared, kinds, concepts, progress)
    for line in listed_up_to(
        [f"unreadable: {why}" for why in report.unreadable], _SHOWN_LINES, "more in the column error"
    ):
        say(line, error=True)
    if not quiet:
        for line in listed_up_to([f"missing: {name} of {table}" for name in lost], _SHOWN_LINES):
            say(line)
        for remark in [*chosen.remarks, *remarks_on_files(chosen, rows)]:
            say(f"note: {remark}")
        _print_report(report, len(lost))
    raise typer.Exit(PARTIAL if report.unreadable or lost else 0)


def _kinds(also: str | None) -> list[str]:
    """The interventions that `--also` names, each once."""
    from InterpScore.tables.effects import EFFECTS, MEAN_ABLATION, RESAMPLE_ABLATION, scaling

    named = {"mean": MEAN_ABLATION, "resample": RESAMPLE_ABLATION}
    kinds = []
    for item in (also or "").replace(",", " ").split():
        try:
            kinds.append(named[item] if item in named else scaling(float(item)))
            if item not in named and not math.isfinite(float(item)):
                raise ValueError
        except ValueError:
            raise InputError(f"--also: found {item!r}; expected factors such as 0.5, mean, resample") from None
    return [kind for kind in dict.fromkeys(kinds) if kind not in EFFECTS]


def _units(text: str, count: int) -> list[int] | None:
    """The units in a text; None for all, `:`."""
    from Activation_Extraction.models.units import parse_units

    units = parse_units(text, count)
    if joint := [unit.name for unit in units if len(unit.channels) > 1]:
        raise InputError(f"units: found '{joint[0]}'; expected single units: interventions are made one at a time")
    return None if text.strip() == ":" else [unit.channels[0] for unit in units]


def _print_report(report: MeasurementReport, lost: int) -> None:
    about = report.about
    say(
        f"{report.path}: {report.images:,} images × {report.units:,} units of {about['layer']} of {about['model']}, "
        f"{', '.join(about['interventions'])}"
    )
    say(f"method: {about['method']}" if report.computed else "already complete; nothing measured")
    for remark in report.remarks:
        say(f"note: {remark}")
    if lost:
        say(f"{lost:,} of {report.images + lost:,} clean images of the table are missing")
    unreadable = f"{len(report.unreadable):,} of {report.images:,} images could not be read; their rows are empty"
    say(unreadable if report.unreadable else "every image was read")
