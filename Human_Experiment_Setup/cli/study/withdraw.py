"""`interpscore study withdraw`: deletes a participant's answers."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

withdraw_app = typer.Typer()


@withdraw_app.command(no_args_is_help=True)
def withdraw_participant(
    database: Annotated[
        str, typer.Argument(help="Database of the study: a file, or postgresql://user:password@host/name.")
    ],
    participant: Annotated[str, typer.Argument(help="The participant's id, as in the study's link.")],
    state: Annotated[
        Path | None, typer.Option(help="Folder with the study's keys and withdrawals.", show_default="DATABASE.state")
    ] = None,
) -> None:
    """Delete all answers and signals of a participant for good.

    [bold]interpscore study withdraw study.db 5f1b2c3d4e5f6a7b8c9d0e1f[/bold]

    What stays is a keyed hash of the id, so that they cannot take part
    again, and so that a restored backup withdraws them again.
    """
    from Human_Experiment_Setup.study.database.connection import open_database
    from Human_Experiment_Setup.study.keys import state_folder, study_keys
    from Human_Experiment_Setup.study.leaving import withdraw
    from Human_Experiment_Setup.study.server.context import now_in_ms
    from Human_Experiment_Setup.study.versions import open_study, the_study

    keys = study_keys(state_folder(database, state), create=False)
    with closing(open_database(database, create=False)) as opened, opened.writing() as session:
        the_study(session, database)
        open_study(session, keys, now_in_ms())
        count = withdraw(session, keys, participant, now_in_ms())
    say(
        f"Withdrawn: {count} session{'s' if count > 1 else ''}."
        if count
        else "No session has this id; it is noted and cannot take part."
    )
