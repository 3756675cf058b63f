"""`interpscore dream`: images that units prefer, and `interpscore dream check`: whether to trust them."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

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
    layer: Annotated[str | None, typer.Option(help="A layer, in either scheme; `interpscore models layers` lists them.", show_default="what --units names", rich_help_panel=NETWORK)] = None,
    units: Annotated[str, typer.Option(help="Such as 5,12 or 0:64 (64 is not part of it); : is all; 5+9 is one image for both; layer4.5:89 names the layer, too.", rich_help_panel=NETWORK)] = ":",
    model: Annotated[str, typer.Option(help="Name of a network, as `interpscore models list` shows it.", rich_help_panel=NETWORK)] = "clip",
    weights: Annotated[str | None, typer.Option(help="A weights file, its source, or random.", show_default="what is on this machine", rich_help_panel=NETWORK)] = None,
    recipe: Annotated[str, typer.Option(help="microscope (fast, for whole layers), study (four starts), paper (facets, 4,096 steps), or a YAML file.")] = "microscope",
    start: Annotated[list[str] | None, typer.Option(help="Image to start from in place of the recipe's: fourier, grey, perlin, gradient, structured_noise, or a photograph; repeat it for several.", show_default="the recipe's")] = None,
    images: Annotated[list[str] | None, typer.Option(help="Natural images to compare with: a folder, glob, table, tar or hf:NAME. MACO takes its spectrum from them.", show_default="none", rich_help_panel=PICTURES)] = None,
    facet_images: Annotated[list[str] | None, typer.Option(help="Labelled pictures: a subfolder for each facet, or a table with the column concept.", show_default="none", rich_help_panel=PICTURES)] = None,
    facet: Annotated[list[str] | None, typer.Option(help="Of the labels, only these become facets; repeat it.", show_default="every label", rich_help_panel=PICTURES)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for <model>/<layer>/<unit>/*.png and the manifest.")] = Path("renders"),
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    precision: Annotated[Literal["fp32", "bf16"] | None, typer.Option(help="Of the network while images grow; they are always measured in fp32.", show_default="bf16 where the device has it", rich_help_panel=RUNNING)] = None,
    device: Annotated[str, typer.Option(help="Such as cpu or cuda:1.", rich_help_panel=RUNNING)] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads of the network.", show_default="all", rich_help_panel=RUNNING)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Make images that units of a layer prefer, and measure how far to trust each.

    [bold]interpscore dream --model clip-mini --layer block_4 --units 0:64 --images photos/[/bold]

    The same command goes on where a stopped run ended; a unit's image does not depend on which others are made. With
    --images, each is compared with the natural image that its unit likes best. [bold]interpscore dream check
    renders/clip-mini/layer4[/bold] shows the numbers again.
    """
    from Activation_Extraction.base.errors import InputError

    if context.invoked_subcommand is not None:
        return
    if facet and not facet_images:
        raise InputError("--facet: found without --facet-images; expected both")
    from DeepDream_Setup.session import Request, run_session

    request = Request(
        model=model, weights=weights, layer=layer, units=units, recipe=recipe, starts=tuple(start or ()),
        images=tuple(images or ()), facet_images=tuple(facet_images or ()), facets=tuple(facet or ()), output=output,
        seed=seed, precision=precision, device=device, threads=threads,
    )  # fmt: skip
    report = run_session(request, progress=not quiet)
    if not quiet:
        _print_report(report)


@dream_app.command()
def check(
    renders: Annotated[Path, typer.Argument(help="A folder with a manifest.json, such as renders/clip-mini/layer4.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but images that are flagged.")] = False,
) -> None:
    """Show what the manifest says of renders: how many can be trusted, and which not, and why."""
    from DeepDream_Setup.manifest import read_manifest

    content = read_manifest(renders)
    entries = [entry for unit in content["units"].values() for entry in unit]
    if not quiet:
        natural = content.get("natural_images")
        print(f"{content['model']} {content['layer']}: {len(content['units']):,} units, {len(entries):,} images")
        print(summary(entries))
        if natural:
            limits = ", ".join(f"{name} {value:.3g}" for name, value in natural["thresholds"].items())
            print(f"thresholds from {natural['images']:,} natural images: {limits}")
    for entry in entries:
        if entry["flags"]:
            print(f"{entry['file']}: {', '.join(entry['flags'])}  ({_numbers(entry)})")


def summary(entries: list[dict[str, Any]]) -> str:
    """How many images of live units exceed what is natural, how many are where their facet is, and what is flagged.

    A unit is live when some natural image activates it. An image is where its facet is when no other of its unit, from
    the same start, scores higher on the facet's probe.
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
        lines.append(f"{sum(own):,} of {len(own):,} images of facets score highest on their own probe in their unit")
    counts = Counter(flag for entry in entries for flag in entry["flags"])
    clean = sum(not entry["flags"] for entry in entries)
    flagged = ", ".join(f"{count:,} {flag}" for flag, count in counts.most_common())
    lines.append(f"{clean:,} without a flag" + (f"; {flagged}" if flagged else ""))
    return "\n".join(lines)


def _numbers(entry: dict[str, Any]) -> str:
    natural = "" if entry["times_natural"] is None else f", {entry['times_natural']:.2f} × natural"
    return (
        f"activation {entry['activation']:.3g}{natural}, jittered {entry['jittered']:.3g}, contrast "
        f"{entry['contrast']:.2f}, saturation {entry['saturation']:.2f}, slope {entry['slope']:.1f}"
    )


def _print_report(report: Report) -> None:
    done = f"{report.made:,} units rendered"
    if report.made:
        done += f" in {report.seconds:.0f} s ({report.seconds / report.made:.2g} s a unit)"
    if report.found:
        done += f", {report.found:,} were there"
    print(f"{report.folder}: {done}")
    for remark in report.remarks:
        print(f"note: {remark}")
    print(summary(report.entries))
