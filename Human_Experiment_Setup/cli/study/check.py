"""`interpscore study check`: a protocol and the plan that follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

check_app = typer.Typer()


@check_app.command(no_args_is_help=True)
def check(
    protocol: Annotated[str, typer.Argument(help="A YAML file, or a name; see `interpscore study protocols`.")],
    stimuli: Annotated[Path | None, typer.Option(help="Folder of `interpscore stimuli build`, or an image table with the columns image, concept, level, clean_image.")] = None,
) -> None:  # fmt: skip
    """Check a protocol, and print what it asks for: cells, places, participants, minutes.

    [bold]interpscore study check mine.yaml --stimuli stimuli[/bold]

    Every place of the template that is still to be filled in is listed; the
    exit code is then 2. Without --stimuli, only the protocol is checked.
    """
    from Human_Experiment_Setup.scoring.rules import read_rules
    from Human_Experiment_Setup.study.plan import plan_lines, plan_of
    from Human_Experiment_Setup.study.protocol import read_study_protocol, refuse_places_to_fill, study_protocol_path
    from Human_Experiment_Setup.study.stimuli_table import read_stimuli

    chosen = read_study_protocol(protocol)
    read_rules(study_protocol_path(protocol))
    if stimuli is not None:
        for line in plan_lines(chosen, plan_of(chosen, read_stimuli(stimuli, chosen.levels))):
            say(line)
    refuse_places_to_fill(chosen, protocol)
    say(f"{protocol}: ready" + ("" if stimuli else " (give --stimuli for the plan)"))
