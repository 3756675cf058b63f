"""`interpscore study recruiting`: open, pause or close recruiting."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Literal

import typer

from Activation_Extraction.base.text import say

recruiting_app = typer.Typer()


@recruiting_app.command(no_args_is_help=True)
def recruiting(
    database: Annotated[
        str, typer.Argument(help="Database of the study: a file, or postgresql://user:password@host/name.")
    ],
    state: Annotated[Literal["open", "paused", "closed"], typer.Argument(help="What newcomers find.")],
) -> None:
    """Open, pause or close recruiting; whoever has begun can finish.

    [bold]interpscore study recruiting study.db paused[/bold]
    """
    from Human_Experiment_Setup.study.database.connection import open_database
    from Human_Experiment_Setup.study.versions import the_study

    with closing(open_database(database, create=False)) as opened, opened.writing() as session:
        the_study(session, database).state = state
    say(f"Recruiting is {state}.")
