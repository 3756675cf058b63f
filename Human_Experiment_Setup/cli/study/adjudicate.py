"""`interpscore study adjudicate`: a sheet of undecided words for raters, and their decisions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

adjudicate_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PARTIAL = 1
"""Exit code where raters differ, or have not decided on a word."""
_SHOWN = 20


@adjudicate_app.command(no_args_is_help=True)
def adjudicate(
    output: Annotated[Path, typer.Option("--output", "--out", "-o", help="The sheet to write, or with --filled the decisions; CSV.")],
    scored: Annotated[Path | None, typer.Argument(help="A table of `interpscore study score`; without --filled.", show_default=False)] = None,
    filled: Annotated[list[Path] | None, typer.Option(help="A sheet that a rater filled in; once for each rater.")] = None,
    unlisted: Annotated[bool, typer.Option("--unlisted", help="Also put words on the sheet that count as wrong because no list has them.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Write the undecided words on a sheet for two raters, or read the filled sheets.

    [bold]interpscore study adjudicate scored.csv -o sheet.csv[/bold]

    [bold]interpscore study adjudicate --filled ann.csv --filled bo.csv -o decisions.csv[/bold]

    [bold]interpscore study score answers.csv --synonyms synonyms.csv --decisions decisions.csv -o scored.csv[/bold]

    The sheet has each concept and word once and nothing else, so raters can't know level, picture or participant. They
    write yes or no under decision, each in a copy. Words on which raters differ are listed, and stay undecided until
    somebody fills in their decision in decisions.csv. Exit code 1: such words are left.
    """
    from Activation_Extraction.base.errors import InputError, OutputError, listed_up_to
    from Activation_Extraction.base.files import check_writable, write_together
    from Activation_Extraction.base.text import as_csv
    from Human_Experiment_Setup.scoring.adjudication import read_scored, read_sheets, refuse_to_lose, sheet
    from Human_Experiment_Setup.scoring.answers import refuse_same_file

    if (scored is None) == (not filled):
        raise InputError(
            "adjudicate: expected a scored table, to write a sheet; or --filled for each rater, to read them"
        )
    if output.suffix.lower() != ".csv":
        raise OutputError(f"{output}: expected a name that ends in .csv")
    refuse_same_file([output], [scored, *(filled or ())])
    check_writable(output)
    if scored is not None:
        made = sheet(read_scored(scored), unlisted)
        refuse_to_lose(output, made)
        write_together({output: as_csv(made, index=False)})
        if not quiet:
            say(f"{output}: {len(made):,} words of {made['concept'].nunique():,} concepts; give a copy to each rater")
        return
    if unlisted:
        raise InputError("--unlisted: found with --filled; expected a scored table, to write a sheet")
    found = read_sheets(filled or [])
    refuse_to_lose(output, found.frame)
    write_together({output: as_csv(found.frame, index=False)})
    if not quiet:
        decided = len(found.frame) - len(found.conflicts) - len(found.open)
        say(f"{output}: {decided:,} of {len(found.frame):,} words decided by {len(filled or [])} raters")
        if not math.isnan(found.agreement):
            alpha = "not defined (all decisions are the same)" if math.isnan(found.alpha) else f"{found.alpha:.2f}"
            say(f"Raters agree on {found.agreement:.1%} of pairs of decisions; Krippendorff's alpha {alpha}")
    for what, words in (("raters differ", found.conflicts), ("not decided by all", found.open)):
        for line in listed_up_to([f"{what}: {concept}: {word}" for concept, word in words], _SHOWN):
            say(line, error=True)
    raise typer.Exit(PARTIAL if found.conflicts or found.open else 0)
