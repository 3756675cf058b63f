"""`interpscore study power`: how many raters, pictures and participants a study needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

power_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

_MOST = 10_000


@power_app.command()
def power(
    recognition: Annotated[float, typer.Option(min=0.01, max=0.99, help="The H that is expected: mean recognition of a unit's high-activation pictures.")] = 0.75,
    against: Annotated[float, typer.Option(min=0.0, max=1.0, help="The value that H is to be told from, such as the concept's mean recognition.")] = 0.5,
    pictures: Annotated[str, typer.Option(help="Numbers of high-activation pictures of a unit.")] = "9,18,27",
    raters: Annotated[str, typer.Option(help="Numbers of raters a picture.")] = "2,4,8,12",
    all_pictures: Annotated[int, typer.Option(min=1, help="Pictures in the whole study.")] = 600,
    trials: Annotated[int, typer.Option(min=1, help="Pictures that one participant sees.")] = 60,
    picture_sd: Annotated[float, typer.Option(min=0.0, max=10.0, help="How far pictures differ, in log odds.")] = 2.5,
    participant_sd: Annotated[float, typer.Option(min=0.0, max=10.0, help="How far participants differ, in log odds.")] = 0.7,
    wanted: Annotated[float, typer.Option(min=0.01, max=0.999, help="Power that is enough.")] = 0.8,
    studies: Annotated[int, typer.Option(min=10, max=100_000, help="Simulated studies a design.")] = 400,
    resamples: Annotated[int, typer.Option(min=20, max=100_000, help="Resamples a study.")] = 400,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Coverage of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the table, as CSV.", show_default="print only")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors and the table only.")] = False,
) -> None:  # fmt: skip
    """Simulate studies and show how narrow the interval of H becomes, and what that costs in participants.

    [bold]interpscore study power --recognition 0.7 --against 0.5 --all-pictures 600 --trials 60[/bold]

    For each number of pictures and raters: the participants that it takes, the mean width of the interval of H, the
    power (share of studies whose interval excludes --against), and the share of intervals that cover the truth.
    """
    from Activation_Extraction.base.errors import InputError
    from Activation_Extraction.base.files import check_writable, write_together
    from Activation_Extraction.base.progress import image_progress
    from Activation_Extraction.base.text import as_csv
    from Human_Experiment_Setup.scoring.printing import grid
    from Human_Experiment_Setup.scoring.reliability.power import Expectation, advice, designs, power_of

    if recognition == against:
        raise InputError(f"--against: found {against:g}, as --recognition; expected another value to tell it from")
    if output is not None:
        check_writable(output)
    chosen = designs(_numbers("--pictures", pictures), _numbers("--raters", raters), all_pictures, trials)
    expected = Expectation(recognition, against, picture_sd, participant_sd)
    found = []
    with image_progress("Simulating", len(chosen), shown=not quiet, counted="designs") as advance:
        for design in chosen:
            found.append(power_of(design, expected, studies, resamples, confidence, seed))
            advance(1)
    columns = ["pictures", "raters", "participants", "answers", "width", "power", "coverage"]
    rows = [
        [each.design.pictures, each.design.raters, each.design.participants, all_pictures * each.design.raters, each.width,
         each.power, each.coverage]
        for each in found
    ]  # fmt: skip
    if output is not None:
        import pandas as pd

        write_together({output: as_csv(pd.DataFrame(rows, columns=columns), index=False)})
    titles = ["Pictures a unit", "Raters a picture", "Participants", "Answers", "Width", "Power", "Coverage"]
    grid(titles, [[*(f"{n:,}" for n in row[:4]), *(f"{value:.2f}" for value in row[4:])] for row in rows], text=())
    say(advice(found, wanted))
    if not quiet:
        say(f"{studies:,} studies a design; H {recognition:g} against {against:g}; {100 * confidence:g}% intervals")


def _numbers(option: str, text: str) -> list[int]:
    """Whole numbers, separated by commas or spaces."""
    from Activation_Extraction.base.errors import InputError, shown

    parts = re.split(r"[,\s]+", text.strip())
    numbers = [int(part) for part in parts if re.fullmatch(r"[1-9][0-9]{0,4}", part)]
    if len(numbers) < len(parts) or not all(2 <= number <= _MOST for number in numbers):
        raise InputError(f"{option}: found {shown(text)}; expected whole numbers from 2 to {_MOST:,}, such as 9,18,27")
    return sorted(set(numbers))
