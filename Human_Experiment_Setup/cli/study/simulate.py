"""`interpscore study simulate`: simulated participants take a study at its server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from Human_Experiment_Setup.study.simulation.visit import Visit

simulate_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
PEOPLE = "How they behave"
PARTIAL = 1


@simulate_app.command(no_args_is_help=True)
def simulate(
    protocol: Annotated[str, typer.Argument(help="The protocol that is served: a YAML file, or a name.")],
    stimuli: Annotated[Path, typer.Option(help="Folder or image table of the stimuli that are served: what the pictures show is known by their hashes.")],
    at: Annotated[str, typer.Option(help="Address of the study's server, started with --mark simulated.")] = "http://127.0.0.1:8000",
    participants: Annotated[int | None, typer.Option(min=1, max=100_000, help="How many come.", show_default="as many as the protocol has places")] = None,
    at_once: Annotated[int, typer.Option(min=1, max=1000, help="How many take part at the same time.")] = 8,
    pause: Annotated[float, typer.Option(min=0, max=3600, help="Seconds before each answer.")] = 0.0,
    patience: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds for which a request is tried again while the server does not answer.")] = 30.0,
    recognition: Annotated[str | None, typer.Option(help="Share of pictures that a typical participant recognizes, by level, such as '5=0.9 1=0.4'.", show_default="0.9 at the clean level, 0.6 at others", rich_help_panel=PEOPLE)] = None,
    spread: Annotated[float, typer.Option(min=0, max=10, help="Standard deviation of participants, and of pictures, in log odds.", rich_help_panel=PEOPLE)] = 1.0,
    cannot_tell: Annotated[float, typer.Option(min=0, max=1, help="“I can't tell”, of pictures that they do not recognize.", rich_help_panel=PEOPLE)] = 0.4,
    lapses: Annotated[float, typer.Option(min=0, max=1, help="Answers that have nothing to do with the picture.", rich_help_panel=PEOPLE)] = 0.02,
    typos: Annotated[float, typer.Option(min=0, max=1, help="Words with a typing error.", rich_help_panel=PEOPLE)] = 0.03,
    drop_outs: Annotated[float, typer.Option(min=0, max=1, help="Participants who leave before the end.", rich_help_panel=PEOPLE)] = 0.1,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Participants whose browser sends every answer twice, and who open the link again.", rich_help_panel=PEOPLE)] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; another one sends other people.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Send simulated participants through a study: links, consent, checks, pictures, answers, as browsers do.

    [bold]interpscore study serve mine.yaml --stimuli stimuli --database trial.db --mark simulated[/bold]

    [bold]interpscore study simulate mine.yaml --stimuli stimuli --participants 40[/bold]

    Only a server that marks all its sessions as simulated is used: on any other nothing is written. Their answers are
    exported with --sessions simulated alone, and the table says so in every row. The same seed sends the same people,
    who go on where they were. Exit code 1: some did not get through.
    """
    from Activation_Extraction.base.progress import stage_progress
    from Human_Experiment_Setup.scoring.printing import grid
    from Human_Experiment_Setup.study.plan import plan_of
    from Human_Experiment_Setup.study.protocol import read_study_protocol
    from Human_Experiment_Setup.study.simulation.crowd import check_address, send_all
    from Human_Experiment_Setup.study.simulation.people import Behavior, Person, default_recognition, read_recognition
    from Human_Experiment_Setup.study.simulation.visit import World
    from Human_Experiment_Setup.study.stimuli_table import read_stimuli

    address, chosen = check_address(at), read_study_protocol(protocol)
    shares = default_recognition(chosen.levels) | read_recognition(recognition or "", chosen.levels)
    behavior = Behavior(shares, spread, cannot_tell, lapses, typos, drop_outs, duplicates)
    pictures = read_stimuli(stimuli, chosen.levels)
    count = participants or len(plan_of(chosen, pictures).places)
    people = [Person(seed, number, behavior, [each.concept for each in pictures]) for number in range(count)]
    world = World(address, chosen, {each.sha256: each for each in pictures}, pause, patience)
    with stage_progress(shown=not quiet) as progress:
        visits = send_all(world, people, at_once, progress or (lambda *_: None))
    if not quiet:
        grid(["SIMULATED participants", "", "Answers saved"], _outcomes(visits))
        if again := sum(each.again for each in visits):
            say(f"{again:,} answers were sent twice and are there once")
    failed = [each for each in visits if each.outcome == "failed"]
    for each in failed[:3]:
        say(f"participant {each.number}: {each.reason}", error=True)
    raise typer.Exit(PARTIAL if failed else 0)


def _outcomes(visits: list[Visit]) -> list[list[str]]:
    """Rows: an outcome, how many, and the answers that the server confirmed."""
    kinds = Counter((each.outcome, each.reason if each.outcome == "refused" else "") for each in visits)
    rows = []
    for (outcome, reason), count in sorted(kinds.items()):
        saved = sum(len(each.saved) for each in visits if each.outcome == outcome and reason in ("", each.reason))
        rows.append([f"{outcome}: {reason}" if reason else outcome, f"{count:,}", f"{saved:,}"])
    return rows
