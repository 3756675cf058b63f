"""`interpscore stimuli`: from clean pictures to the levels of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from Human_Experiment_Setup.stimuli.build import BuildReport

stimuli_app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich", no_args_is_help=True
)

PARTIAL = 1
"""Exit code of a build with strengths that could not be reached, and of a check that found problems."""

_SHOWN = 10
NETWORK, OTHERS = "Network and units", "Other pictures"


@stimuli_app.callback()
def stimuli() -> None:
    """Make the pictures of a study at every level, from clean pictures with concepts.

    [bold]interpscore stimuli build photos/ --protocol noise -o stimuli[/bold]

    [bold]interpscore stimuli check stimuli[/bold]
    """


@stimuli_app.command(no_args_is_help=True)
def build(
    images: Annotated[list[str], typer.Argument(help="Clean pictures: folders with a subfolder per concept, 'globs', tables with the column concept, tar shards, or hf:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; interrupted builds resume.")],
    protocol: Annotated[str, typer.Option("--protocol", "-p", help="A YAML file, or a name; see `interpscore stimuli protocols`.")] = "default",
    size: Annotated[int | None, typer.Option(help="Pixels per side of every picture.", show_default="the protocol's")] = None,
    split: Annotated[str | None, typer.Option(help="Use only this split of a table or dataset.")] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read an image table in CSV or Excel where that cannot be found out, "sep=; encoding=latin-1"; with file=NAME of one table alone.', show_default="found out")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    neuron_map: Annotated[Path | None, typer.Option(help='JSON file of units and their concepts, such as {"89": "trump"}.', rich_help_panel=NETWORK)] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the units; adds activations to the table.", rich_help_panel=NETWORK)] = None,
    model: Annotated[str | None, typer.Option(help="A network; see `interpscore models list`; or my_file.py:load, a function in a Python file that returns a Model; the file is run.", show_default="clip, if one is needed", rich_help_panel=NETWORK)] = None,
    weights: Annotated[str | None, typer.Option(help="A weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=NETWORK)] = None,
    preprocessing: Annotated[Literal["clip", "published", "own"] | None, typer.Option(help="clip resizes and crops, published squashes, own is the network's own.", show_default="as in training", rich_help_panel=NETWORK)] = None,
    renders: Annotated[Path | None, typer.Option(help="For synthetic levels: folder with [<model>/<layer>/]<unit>/*.png.", rich_help_panel=OTHERS)] = None,
    exemplars: Annotated[list[str] | None, typer.Option(help="For exemplar levels: natural pictures, given as IMAGES, without concepts; repeatable.", rich_help_panel=OTHERS)] = None,
    store: Annotated[Path | None, typer.Option(help="Store of `interpscore extract` with the exemplars' activations.", show_default="measured now", rich_help_panel=OTHERS)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors and strengths not reached.")] = False,
) -> None:  # fmt: skip
    """Make the levels of a study.

    [bold]interpscore stimuli build photos/ --protocol noise -o stimuli[/bold]

    [bold]interpscore stimuli build photos/ --protocol default --neuron-map map.json --layer block_4 --renders renders -o stimuli[/bold]

    Writes pictures/ (opaque names, one size, no metadata), images.csv (what
    each picture is, and what was measured on it; `interpscore extract` reads
    it), stimuli.json (what they were made from) and a contact sheet.

    Interrupted builds resume with the same command and end with the same
    bytes. Unreadable pictures are listed and refused before anything is
    written. Exit codes: 0; 1 if strengths could not be reached (they are
    listed); 2 for wrong input or a folder that cannot be written; 130 if
    interrupted.
    """
    from dataclasses import replace

    from Activation_Extraction.base.errors import InputError
    from Activation_Extraction.base.files import check_creatable
    from Activation_Extraction.base.progress import doing

    check_creatable(output)
    with doing("Loading libraries", shown=not quiet):
        from Activation_Extraction.images.sets import image_set
        from Activation_Extraction.tables.dialects.options import table_options
        from Human_Experiment_Setup.stimuli.build import build_stimuli
        from Human_Experiment_Setup.stimuli.plan import needs_network
        from Human_Experiment_Setup.stimuli.protocol import LARGEST, SMALLEST, read_protocol

    chosen = read_protocol(protocol)
    if size is not None:
        if not SMALLEST <= size <= LARGEST:
            raise InputError(f"--size: found {size}; expected a whole number from {SMALLEST} to {LARGEST}")
        chosen = replace(chosen, size=size)
    told = table_options(csv)
    clean = image_set(images, split=split, csv=told)
    shown_too = image_set(exemplars, csv=told) if exemplars else None
    told.refuse_unused([*clean.text_tables, *(shown_too.text_tables if shown_too else ())])
    network = None
    if model is not None or weights is not None or needs_network(chosen, layer):
        with doing(f"Loading {model or 'clip'}", shown=not quiet):
            from Activation_Extraction.models.registry import load_model

            network = load_model(model or "clip", weights=weights)
    report = build_stimuli(
        clean, chosen, output, neuron_map=neuron_map, model=network, layer=layer, preprocessing=preprocessing,
        renders=renders, exemplars=shown_too, store=store, seed=seed,
        progress=not quiet,
    )  # fmt: skip
    for row in report.not_reached[:_SHOWN]:
        say(f"not reached: {_missed(row)}", error=True)
    if len(report.not_reached) > _SHOWN:
        say(f"… and {len(report.not_reached) - _SHOWN:,} more: reached is false in images.csv", error=True)
    if not quiet:
        for remark in clean.remarks:
            say(f"note: {remark}")
        _print_report(report)
    raise typer.Exit(PARTIAL if report.not_reached else 0)


@stimuli_app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of a complete build.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print problems only.")] = False,
) -> None:
    """Verify the pictures of a study against images.csv: hashes and strengths.

    [bold]interpscore stimuli check stimuli[/bold]

    The exit code is 1 if there are problems.
    """
    from Activation_Extraction.base.progress import image_progress
    from Human_Experiment_Setup.stimuli.manifest import check_stimuli, read_table

    rows = read_table(folder)
    with image_progress("Checking", len(rows), shown=not quiet) as advance:
        problems = check_stimuli(folder, advance)
    for problem in problems:
        say(f"damaged: {problem}", error=True)
    if not quiet:
        say(
            f"{folder}: {len(rows):,} pictures; "
            + (f"{len(problems)} problems" if problems else "all as images.csv says")
        )
    raise typer.Exit(PARTIAL if problems else 0)


@stimuli_app.command()
def protocols(
    name: Annotated[str | None, typer.Argument(help="Protocol to print.", show_default="list all")] = None,
) -> None:
    """List the included protocols, or print one as a template for your own.

    [bold]interpscore stimuli protocols noise > mine.yaml[/bold]
    """
    from Activation_Extraction.base.files import read_bytes
    from Human_Experiment_Setup.stimuli.protocol import available_protocols, protocol_path, read_protocol

    if name is not None:
        for line in read_bytes(protocol_path(name)).decode().splitlines():
            say(line)
        return
    for each in available_protocols():
        say(f"{each:<12}{read_protocol(each).about}")


def _missed(row: dict[str, str]) -> str:
    from Human_Experiment_Setup.stimuli.contact_sheet import strength

    declared, found = (strength(row["measure"], row[f"strength_{which}"]) for which in ("declared", "measured"))
    line = f"{row['source']}, level {row['level']} ({row['method']}): {found}; declared {declared}"
    for what in ("probability", "activation"):
        if row["kind"] == "adversarial" and row[f"{what}_after"]:
            return f"{line}; {what} {row[f'{what}_before']} before, {row[f'{what}_after']} after"
    return line


def _print_report(report: BuildReport) -> None:
    from statistics import median

    from Human_Experiment_Setup.stimuli.contact_sheet import relative_activations, strength

    relative = relative_activations(report.rows)
    lines: list[tuple[str, ...]] = [
        ("Level", "Kind", "Method", "Images", "Declared", "Measured (median)", "Activation ÷ clean (median)")
    ]
    for level in dict.fromkeys(row["level"] for row in report.rows):
        rows = [row for row in report.rows if row["level"] == level]
        shares = [relative[row["image"]] for row in rows if row["image"] in relative]
        measure = rows[0]["measure"]
        said = ("", "")
        if measure:
            middle = median(float(row["strength_measured"]) for row in rows)
            said = strength(measure, rows[0]["strength_declared"]), strength(measure, middle)
        share = f"{median(shares):.2f}" if shares else ""
        lines.append((level, rows[0]["kind"], rows[0]["method"], f"{len(rows):,}", *said, share))
    if not relative:
        lines = [line[:-1] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    there = (
        f"{len(report.rows) - report.made:,} were there already" if report.made < len(report.rows) else "all made now"
    )
    say(f"{report.folder}: {len(report.rows):,} pictures, {there}; look at {report.folder / 'contact_sheet.html'}")
    for remark in report.remarks:
        say(f"note: {remark}")
    kinds = {row["level"]: row["kind"] for row in report.rows}
    scored = " ".join(f"{level}={kind}" for level, kind in kinds.items() if kind in ("adversarial", "synthetic"))
    if scored:
        say(f"For `interpscore score`: --level-kinds '{scored}'")
