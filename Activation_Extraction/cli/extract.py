"""`interpscore extract`: whole layers of any number of images into an activation store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from Activation_Extraction.base.errors import InputError, listed_up_to
from Activation_Extraction.base.progress import doing
from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from Activation_Extraction.extract_full_layer_activations import ExtractionReport
    from Activation_Extraction.images.sets import ImageSet

extract_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PARTIAL = 1
"""Exit code of a complete run with unreadable images."""

_SHOWN_ERRORS = 10
NETWORK, IMAGES, RUNNING = "The network", "The images", "Running it"


@extract_app.command(no_args_is_help=True)
def extract(
    output: Annotated[Path, typer.Option("--output", "-o", help="The activation store to write or resume, such as acts.zarr.")],
    images: Annotated[list[str] | None, typer.Argument(help="Folders, 'quoted/**/globs*.jpg', image files, image tables (.csv, .parquet), tar shards, or hf:NAME for a Hugging Face dataset.")] = None,
    layer: Annotated[list[str] | None, typer.Option("--layer", help="A layer, in either naming scheme; repeat for several in one pass. `interpscore models layers` lists them.", rich_help_panel=NETWORK)] = None,
    model: Annotated[str, typer.Option(help="Name of a network, as `interpscore models list` shows it, or my_file.py:load, a function in a Python file that returns a Model; the file is run.", rich_help_panel=NETWORK)] = "clip",
    weights: Annotated[str | None, typer.Option(help="A weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=NETWORK)] = None,
    pooling: Annotated[Literal["mean", "max", "none"], typer.Option(help="Over the positions of a map; none keeps all positions.", rich_help_panel=NETWORK)] = "mean",
    preprocessing: Annotated[Literal["clip", "published", "own"] | None, typer.Option(help="clip scales and crops, published squashes, own is the network's.", show_default="what the network was trained with", rich_help_panel=NETWORK)] = None,
    split: Annotated[str | None, typer.Option(help="Take only rows of this split of a table or dataset.", rich_help_panel=IMAGES)] = None,
    images_root: Annotated[Path | None, typer.Option(help="Folder that the paths of image tables are relative to.", show_default="the table's own", rich_help_panel=IMAGES)] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read an image table in CSV or Excel where that cannot be found out, "sep=; encoding=latin-1"; with file=NAME of one table alone.', show_default="found out", rich_help_panel=IMAGES)] = None,
    backend: Annotated[Literal["auto", "eager", "openvino"], typer.Option(help="What runs the network: PyTorch (eager), or OpenVINO, the fastest on processors (the extra openvino); auto takes the store's own, else openvino if it is installed and runs this network, else eager.", rich_help_panel=RUNNING)] = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="bf16 is several times as fast on processors that have it, within about 1%; on others it is an error.", rich_help_panel=RUNNING)] = "fp32",
    devices: Annotated[str, typer.Option(help="cpu, cuda (every GPU), or a list such as cuda:0,cuda:1.", rich_help_panel=RUNNING)] = "cpu",
    batch_size: Annotated[str | None, typer.Option(help="Images at a time, or auto: the fastest of a short trial.", show_default="8, or what --memory-limit has room for", rich_help_panel=RUNNING)] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads of the network.", show_default="all", rich_help_panel=RUNNING)] = None,
    memory_limit: Annotated[str | None, typer.Option(help="For weights and batches on each device, such as '4 GB'.", show_default="none", rich_help_panel=RUNNING)] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that decode images.", show_default="one per processor", rich_help_panel=RUNNING)] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Images kept for each unit, best first.", show_default="100", rich_help_panel=RUNNING)] = None,
    maps: Annotated[int | None, typer.Option(min=1, help="Also keep where in a picture each unit is active, for this many of its top images; they are run once more.", show_default="none", rich_help_panel=RUNNING)] = None,
    shard_rows: Annotated[int | None, typer.Option(min=1, help="Images in a shard: an interrupted run loses at most one shard of work.", show_default="by size", rich_help_panel=RUNNING)] = None,
    export: Annotated[Path | None, typer.Option(help="Also write all activations to this .npz, and the image table to a .csv beside it.")] = None,
    duplicates: Annotated[Literal["keep", "drop"], typer.Option(help="Byte-identical images: keep them as independent ones and say how many, or drop all but the first of each.", rich_help_panel=IMAGES)] = "keep",
    append: Annotated[bool, typer.Option("--append", help="Add images that the store does not have yet at its end; the others keep their rows, and none of them may be gone.", rich_help_panel=IMAGES)] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Do not extract: check the hashes of every file of the store and of the given images.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="With --verify: mark damaged shards as missing, so that the command that made the store recomputes them.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Write the activations of every unit of whole layers into a store, and statistics of each unit with them.

    [bold]interpscore extract photos/ --model clip-mini --layer block_4 -o acts.zarr[/bold]

    Interrupted runs resume with the same command. Unreadable images are listed at the end; their rows are NaN, and the
    exit code is then 1 (0: success; 2: wrong input, or a store that cannot be written; 130: interrupted).
    """
    from Activation_Extraction.base.files import check_creatable, check_writable
    from Activation_Extraction.images.sets import image_set
    from Activation_Extraction.store.reader import export_npz, export_paths

    if repair and not verify:
        raise InputError("--repair: found without --verify; expected both")
    chosen = image_set(images, split=split, images_root=images_root, csv=csv) if images else None
    if verify:
        raise typer.Exit(_verify(output, chosen, repair=repair, quiet=quiet))
    if chosen is None:
        raise InputError("IMAGES: none given; expected a folder, a glob, image files, tables, tar shards or hf:NAME")
    if not layer:
        raise InputError("--layer: none given; expected at least one (`interpscore models layers` lists them)")
    check_creatable(output)
    if export is not None:
        for path in export_paths(export):
            check_writable(path)
    report = _extracted(
        chosen, layer, output, model, weights=weights, pooling=pooling, preprocessing=preprocessing, backend=backend,
        precision=precision, devices=devices, threads=threads, memory_limit=memory_limit,
        batch_size=int(batch_size) if batch_size and batch_size.isdecimal() else batch_size,
        workers=workers, top_k=top_k, shard_rows=shard_rows, append=append, duplicates=duplicates, progress=not quiet,
    )  # fmt: skip
    if maps is not None:
        report = _with_maps(
            report, chosen, maps, model, weights, devices, threads, memory_limit, workers, progress=not quiet
        )
    exported = export_npz(report.store, export) if export is not None else ()
    lines = [f"not read: {line}" for line in report.unreadable]
    for line in listed_up_to(lines, _SHOWN_ERRORS, "more in the column error of images.parquet"):
        say(line, error=True)
    if not quiet:
        _print_report(report, [str(path) for path in exported])
    raise typer.Exit(PARTIAL if report.unreadable else 0)


def _extracted(
    images: ImageSet, layers: list[str], output: Path, model: str, *, progress: bool, **options: Any
) -> ExtractionReport:
    with doing("Loading libraries", shown=progress):
        from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations

    return extract_full_layer_activations(images, layers, output, model, progress=progress, **options)


def _with_maps(
    report: ExtractionReport, images: ImageSet, k: int, model: str, weights: str | None, devices: str,
    threads: int | None, memory_limit: str | None, workers: int | None, *, progress: bool,
) -> ExtractionReport:  # fmt: skip
    """Keep the maps of each unit's top images in the store, and say so in the report."""
    from Activation_Extraction.models.registry import load_model
    from Activation_Extraction.models.resources import devices_named
    from Activation_Extraction.top_maps import keep_top_maps

    loaded = load_model(
        model, weights=weights, device=devices_named(devices)[0], threads=threads, memory_limit=memory_limit
    )
    computed = keep_top_maps(report.store, images, loaded, k, workers=workers, progress=progress)
    done = f"{computed:,} images run once more" if computed else "already there"
    return replace(report, remarks=[*report.remarks, f"maps of the {k} top images of each unit: {done}"])


def _verify(path: Path, images: ImageSet | None, *, repair: bool, quiet: bool) -> int:
    """Print the problems of a store; the exit code."""
    from Activation_Extraction.base.progress import image_progress
    from Activation_Extraction.store.check import verify
    from Activation_Extraction.store.reader import ActivationStore

    store = ActivationStore.open(path)
    with image_progress("Verifying", int(store.identity["rows"]), shown=not quiet) as advance:
        problems = verify(path, images, repair=repair, advance=advance)
    for problem in problems:
        say(f"damaged: {problem}", error=True)
    missing = sum(len(shard.rows) for shard in store.missing_shards())
    if not quiet:
        state = "complete" if store.is_complete else f"unfinished: {missing:,} images are still to be computed"
        also = f", and those of {len(images):,} images" if images is not None else ""
        say(f"{path}: {state}; " + (f"{len(problems)} problems" if problems else f"all hashes right{also}"))
        if problems:
            how = "Run" if repair else "Add --repair, then run"
            say(f"{how} the command that made the store again; it recomputes damaged shards.")
    return PARTIAL if problems or missing else 0


def _print_report(report: ExtractionReport, exported: list[str]) -> None:
    store = report.store
    size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    layers = ", ".join(f"{name} ({'×'.join(map(str, shape))})" for name, shape in store.shapes.items())
    say(f"{store.path}: {len(store):,} images × {layers}, {size / 1e6:,.1f} MB")
    if report.computed:
        speed = report.computed / report.seconds
        say(
            f"{report.computed:,} images computed at {speed:,.1f} images/s, {report.batch_size} at a time, "
            f"by {store.identity['backend']} in {store.identity['precision']}"
        )
    else:
        say("already complete; nothing computed (images are known by name; --verify compares their bytes)")
    for layer in store.layers:
        statistics = store.statistics(layer)
        silent = int((statistics.maximum_U <= 0).sum())
        say(
            f"{layer}: mean activation {statistics.mean_U.mean():.4g}, {silent:,} of {len(statistics.mean_U):,} units never active"
        )
    if exported:
        say(f"Exported: {' and '.join(exported)}")
    for remark in report.remarks:
        say(f"note: {remark}")
    say(
        f"{len(report.unreadable):,} of {len(store):,} images could not be read; their rows are NaN"
        if report.unreadable
        else "every image was read"
    )
