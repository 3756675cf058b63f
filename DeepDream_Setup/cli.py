"""`interpscore dream`: images that units prefer, and `interpscore dream check`: whether to trust them."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from DeepDream_Setup.session import Report

dream_app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich", no_args_is_help=True
)

NETWORK, PICTURES, RUNNING = "The network", "Your pictures", "Running it"
_SHOWN_UNITS = 12


@dream_app.callback(invoke_without_command=True)
def dream(
    context: typer.Context,
    layer: Annotated[str | None, typer.Option(help="A layer; see `interpscore models layers`.", show_default="what --units names", rich_help_panel=NETWORK)] = None,
    units: Annotated[str, typer.Option(help="5,12 or 0:64 (excludes 64) or : (all); 5+9 is one image for both; layer4.5:89 includes the layer.", rich_help_panel=NETWORK)] = ":",
    model: Annotated[str, typer.Option(help="A network; see `interpscore models list`; or my_file.py:load, a function in a Python file that returns a Model; the file is run.", rich_help_panel=NETWORK)] = "clip",
    weights: Annotated[str | None, typer.Option(help="A weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=NETWORK)] = None,
    recipe: Annotated[str, typer.Option(help="microscope (fast), study (four starting images), paper (facets, 4,096 steps), or a YAML file.")] = "microscope",
    start: Annotated[list[str] | None, typer.Option(help="Starting image: fourier, grey, perlin, gradient, structured_noise, or a photograph; repeatable.", show_default="the recipe's")] = None,
    images: Annotated[list[str] | None, typer.Option(help="Natural images to compare with: folder, glob, table, tar or hf:NAME; repeatable. MACO uses their spectrum.", show_default="none", rich_help_panel=PICTURES)] = None,
    facet_images: Annotated[list[str] | None, typer.Option(help="Labelled pictures: a subfolder per facet, or a table with the column concept; repeatable.", show_default="none", rich_help_panel=PICTURES)] = None,
    facet: Annotated[list[str] | None, typer.Option(help="Only this label becomes a facet; repeatable.", show_default="every label", rich_help_panel=PICTURES)] = None,
    csv: Annotated[list[str] | None, typer.Option(help='How to read an image table in CSV or Excel where that cannot be found out, "sep=; encoding=latin-1"; with file=NAME of one table alone.', show_default="found out", rich_help_panel=PICTURES)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write <model>/<layer>/<unit>/*.png and the manifest to.")] = Path("renders"),
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    precision: Annotated[Literal["fp32", "bf16", "fp64"] | None, typer.Option(help="Precision of the optimisation; images are always measured in fp32. fp64 is slow, and makes renders comparable between ways to run a network.", show_default="bf16 if the device supports it", rich_help_panel=RUNNING)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.", rich_help_panel=RUNNING)] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Number of processor threads.", show_default="all", rich_help_panel=RUNNING)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Make images that units of a layer prefer, and measure how far to trust each.

    [bold]interpscore dream --model clip-mini --layer block_4 --units 0:64 --images photos/[/bold]

    [bold]interpscore dream check renders/clip-mini/layer4[/bold]

    With --images, each image is compared with the natural image that
    activates its unit most. Interrupted runs resume with the same command. A
    unit's image does not depend on which others are rendered.
    """
    from Activation_Extraction.base.errors import InputError
    from Activation_Extraction.base.files import check_creatable
    from Activation_Extraction.base.progress import doing

    if context.invoked_subcommand is not None:
        return
    if facet and not facet_images:
        raise InputError("--facet: found without --facet-images; expected both")
    check_creatable(output)
    with doing("Loading libraries", shown=not quiet):
        from DeepDream_Setup.session import Request, run_session
    request = Request(
        model=model, weights=weights, layer=layer, units=units, recipe=recipe, starts=tuple(start or ()),
        images=tuple(images or ()), facet_images=tuple(facet_images or ()), facets=tuple(facet or ()), output=output,
        seed=seed, precision=precision, device=device, threads=threads, csv=tuple(csv or ()),
    )  # fmt: skip
    report = run_session(request, progress=not quiet)
    if not quiet:
        _print_report(report)


@dream_app.command()
def check(
    renders: Annotated[
        Path, typer.Argument(help="A folder with a manifest.json, or one with several below it, such as renders.")
    ],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print flagged images only.")] = False,
) -> None:
    """Show which renders to trust, which are flagged, and why.

    [bold]interpscore dream check renders/clip-mini/layer4[/bold]
    """
    from DeepDream_Setup.manifest import MANIFEST

    below = [] if renders.is_file() or (renders / MANIFEST).exists() else sorted(renders.glob(f"*/*/{MANIFEST}"))
    for folder in [manifest.parent for manifest in below] or [renders]:
        _check(folder, quiet)


def _check(renders: Path, quiet: bool) -> None:
    from DeepDream_Setup.manifest import read_manifest

    content = read_manifest(renders)
    entries = [entry for unit in content["units"].values() for entry in unit]
    if not quiet:
        natural = content.get("natural_images")
        say(f"{content['model']} {content['layer']}: {len(content['units']):,} units, {len(entries):,} images")
        for line in summary(entries):
            say(line)
        if natural:
            limits = ", ".join(f"{name} {value:.3g}" for name, value in natural["thresholds"].items())
            say(f"thresholds from {natural['images']:,} natural images: {limits}")
    for entry in entries:
        if entry["flags"]:
            say(f"{entry['file']}: {', '.join(entry['flags'])}  ({_numbers(entry)})")


def summary(entries: list[dict[str, Any]]) -> list[str]:
    """Three lines: images of live units that exceed the best natural image, images that match their facet, flags.

    A unit is live if some natural image activates it. An image matches its facet if no other image of its unit, from the
    same start, scores higher on the facet's probe.
    """
    live = [entry for entry in entries if entry["best_natural"] is not None and entry["best_natural"] > 0]
    lines = []
    if live:
        above = sum(entry["activation"] > entry["best_natural"] for entry in live)
        times = sorted(entry["times_natural"] for entry in live)
        lines.append(
            f"{above:,} of {len(live):,} images of live units ({above / len(live):.1%}) exceed the best natural image; "
            f"median {times[len(times) // 2]:.1f} times"
        )
    rivals: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        if entry.get("facet_scores"):
            rivals[entry["file"].rpartition("/")[0], entry["start"]].append(entry)
    own = [
        entry["facet_scores"][entry["facet"]] == max(other["facet_scores"][entry["facet"]] for other in group)
        for group in rivals.values()
        for entry in group
    ]
    if own:
        lines.append(
            f"{sum(own):,} of {len(own):,} images score highest on their own facet's probe among those of their unit"
        )
    counts = Counter(flag for entry in entries for flag in entry["flags"])
    clean = sum(not entry["flags"] for entry in entries)
    flagged = ", ".join(f"{count:,} {flag}" for flag, count in counts.most_common())
    lines.append(f"{clean:,} without a flag" + (f"; {flagged}" if flagged else ""))
    return lines


def _numbers(entry: dict[str, Any]) -> str:
    natural = "" if entry["times_natural"] is None else f", {entry['times_natural']:.2f} × natural"
    return (
        f"activation {entry['activation']:.3g}{natural}, jittered {entry['jittered']:.3g}, contrast "
        f"{entry['contrast']:.2f}, saturation {entry['saturation']:.2f}, slope {entry['slope']:.1f}"
    )


def _print_report(report: Report) -> None:
    done = f"{report.made:,} unit{'s' * (report.made != 1)} rendered"
    if report.made:
        done += f" in {report.seconds:.0f} s"
    if report.made > 1:
        done += f" ({report.seconds / report.made:,.1f} s each)"
    if report.found:
        done += f", {report.found:,} {'was' if report.found == 1 else 'were'} there"
    say(f"{report.folder}: {done}")
    for remark in report.remarks:
        say(f"note: {remark}")
    for line in summary(report.entries):
        say(line)
