"""`interpscore study export`: the answers in a study's database as a table that scoring reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    import pandas as pd

export_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@export_app.command(no_args_is_help=True)
def export(
    database: Annotated[str, typer.Argument(help="Database of the study: a file, or postgresql://user:password@host/name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write, .csv or .parquet; beside it a .json says what its columns are and which versions of the protocol it has.")],
    sessions: Annotated[Literal["data", "pilot", "simulated"], typer.Option(help="Whose answers: participants'; those of pilots, every row of which is marked as excluded; or of simulated participants, every row of which is marked as simulated.")] = "data",
    all_trials: Annotated[bool, typer.Option("--all-trials", help="Also practice, catch trials and traps; trial_category tells them apart, and scoring leaves them out.")] = False,
    identities: Annotated[bool, typer.Option("--identities", help="Name participants by their ids from outside, such as Prolific's, in place of pseudonyms.")] = False,
    stimuli: Annotated[Path | None, typer.Option(help="Image table of the stimuli whose column attack_target says what adversarial pictures were attacked towards.", show_default="no targets")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder with the study's keys and withdrawals.", show_default="DATABASE.state")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Write the answers of a study as a table, also while it is being served.

    [bold]interpscore study export study.db -o answers.csv[/bold]

    [bold]interpscore study score answers.csv --synonyms synonyms.csv -o scored.csv[/bold]

    One row an answer, in the columns of the published study and more. Answers of incomplete sessions, and of those that a
    pre-registered rule excludes, are there and marked as excluded; scoring leaves them out. Previews are never exported.
    """
    from Activation_Extraction.base.files import as_json, check_writable, write_together
    from Human_Experiment_Setup.scoring.answers import refuse_same_file
    from Human_Experiment_Setup.scoring.scored_table import as_table, table_paths
    from Human_Experiment_Setup.study.answers.columns import answers_frame
    from Human_Experiment_Setup.study.answers.exporting import attack_targets, exported
    from Human_Experiment_Setup.study.answers.from_database import ExportOptions
    from Human_Experiment_Setup.study.database.connection import open_database
    from Human_Experiment_Setup.study.keys import state_folder, study_keys

    paths = table_paths(output)
    refuse_same_file(paths, [Path(database), stimuli])
    for path in paths:
        check_writable(path)
    targets = attack_targets(stimuli) if stimuli is not None else None
    keys = study_keys(state_folder(database, state), create=False)
    opened = open_database(database, create=False)
    try:
        found = exported(opened, database, keys, ExportOptions(sessions, all_trials, identities, targets))
    finally:
        opened.close()
    frame = answers_frame(found.rows)
    write_together({paths[0]: as_table(frame, paths[0]), paths[1]: as_json(found.about)})
    if not quiet:
        _print(frame, sessions, found.others)
        say(f"Written: {paths[0]}, {paths[1]}")


def _print(frame: pd.DataFrame, sessions: str, others: dict[str, int]) -> None:
    from Human_Experiment_Setup.scoring.printing import grid

    reasons = frame["excluded_by"].where(frame["excluded_by"] != "", "(in results)")
    groups = frame.groupby(reasons, sort=True)
    grid(
        ["Excluded by", "Participants", "Answers"],
        [[reason, f"{rows['participant'].nunique():,}", f"{len(rows):,}"] for reason, rows in groups],
    )
    if sessions == "simulated":
        say("SIMULATED: no person answered; the column simulated says so in every row")
    for pool, count in others.items():
        say(f"note: {count:,} answers of {pool} sessions are not in the table (--sessions {pool})")
