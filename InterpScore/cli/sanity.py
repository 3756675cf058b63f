"""`interpscore sanity`: the metrics on units with known ground truth."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.extras import install_command
from Activation_Extraction.base.progress import stage_progress
from Activation_Extraction.base.text import as_csv, console, in_markup, say

if TYPE_CHECKING:
    import pandas as pd


LABELS = "7.4"
"""The section of METRICS.md with the checks that are printed as tables."""
sanity_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@sanity_app.command()
def sanity(
    simulations: Annotated[
        int, typer.Option(min=50, help="Simulated studies behind the coverage of intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulations.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the checks to this CSV.")] = None,
) -> None:
    """Check the metrics on units with known ground truth: noise, planted concepts, wrong labels.

    [bold]interpscore sanity --output checks.csv[/bold]

    Each check runs for the default preset, the published one and our variants. Exit code 1: a required check failed.
    """
    from Activation_Extraction.base.files import check_writable, write_together
    from InterpScore.sanity.checks import failures, run_sanity_checks

    if output is not None:
        check_writable(output)
    network = find_spec("torch") is not None
    with stage_progress() as progress:
        checks = run_sanity_checks(simulations=simulations, seed=seed, progress=progress, network=network)
    _print_checks(checks)
    if not network:
        say(f"skipped the checks on a network: torch is not installed; type: {install_command('models')}")
    failed = failures(checks)
    say(f"{len(checks)} checks, {int(checks['required'].sum())} required; required checks that fail: {len(failed)}")
    if output is not None:
        write_together({output: as_csv(checks, index=False)})
    raise typer.Exit(1 if len(failed) else 0)


def _print_checks(checks: pd.DataFrame) -> None:
    """Each check, with verdict and figure of each way of scoring; those of wrong labels as tables."""
    shown = console(soft_wrap=True)
    for (section, check), rows in checks[checks["section"] != LABELS].groupby(["section", "check"], sort=False):
        shown.print(f"[bold]{section}  {in_markup(check)}[/bold]")
        for row in rows.itertuples():
            failed = "[bold red]FAIL[/bold red] " if row.required else "[yellow]fails[/yellow]"
            verdict, expected = "[green]pass[/green] " if row.passed else failed, in_markup(row.expected)
            shown.print(f"     {row.variant:<13} {verdict} {in_markup(row.figure)}  [dim](expected: {expected})[/dim]")
    _print_label_tests(checks)


def _print_label_tests(checks: pd.DataFrame) -> None:
    """Which scores notice labels that are missing or wrong, by prevalence."""
    from rich.table import Table

    from InterpScore.sanity.labels import SHOWN_ONLY, UNITS, label_table

    screen = console()
    for labels, marks in label_table(checks).items():
        title = f"{LABELS}  {labels}: does the score fall? ({UNITS[0]} unit, {UNITS[1]})"
        screen.print(f"[bold]{in_markup(title)}[/bold]", soft_wrap=True)
        grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        grid.add_column("")
        for prevalence in marks:
            grid.add_column(str(prevalence).removeprefix("0"), justify="right")
        for score, row in marks.iterrows():
            known = str(score).removesuffix(", offset") in SHOWN_ONLY
            failing = "[yellow]✗[/yellow]" if known else "[bold red]✗[/bold red]"
            cells = [str(cell).replace("✗", failing).replace("✓", "[green]✓[/green]") for cell in row]
            grid.add_row(in_markup(str(score)), *cells)
        screen.print(grid)
    if (checks["section"] == LABELS).any():
        say(
            "offset: the unit's mean activation off its concept is half of that on it. Not required: S, AUROC, AP, cosine"
        )
