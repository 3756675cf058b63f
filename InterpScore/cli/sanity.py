"""`interpscore sanity`: the metrics on units whose truth is known."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.progress import stage_progress

if TYPE_CHECKING:
    import pandas as pd


sanity_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@sanity_app.command()
def sanity(
    simulations: Annotated[
        int, typer.Option(min=50, help="Simulated studies behind the coverage of intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulations.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the checks to this CSV.")] = None,
) -> None:
    """Put the metrics before units whose truth is known: noise, planted concepts, wrong labels.

    [bold]interpscore sanity --output checks.csv[/bold]

    Each check is run for the default preset, the published one and our variants, with its figure and
    its verdict. The exit code is 1 when a check fails that the default preset or our variants must pass.
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
        print("the checks on a network are left out: torch is not installed (pip install 'interpscore[models]')")
    failed = failures(checks)
    print(
        f"{len(checks)} checks, {int(checks['required'].sum())} of them required; required checks that fail: {len(failed)}"
    )
    if output is not None:
        write_together({output: checks.to_csv(index=False, lineterminator="\n")})
    raise typer.Exit(1 if len(failed) else 0)


def _print_checks(checks: pd.DataFrame) -> None:
    """Each check once, the ways of scoring beneath it, each with its verdict and figure."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for (section, check), rows in checks.groupby(["section", "check"], sort=False):
        console.print(f"[bold]{section}  {escape(check)}[/bold]")
        for row in rows.itertuples():
            verdict = (
                "[green]pass[/green] "
                if row.passed
                else "[bold red]FAIL[/bold red] "
                if row.required
                else "[yellow]fails[/yellow]"
            )
            console.print(
                f"     {row.variant:<13} {verdict} {escape(row.figure)}  [dim](expected: {escape(row.expected)})[/dim]"
            )
