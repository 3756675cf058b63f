"""`interpscore study backup`: a copy of the database while it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

backup_app = typer.Typer()


@backup_app.command(no_args_is_help=True)
def backup(
    database: Annotated[
        str, typer.Argument(help="Database of the study: a file, or postgresql://user:password@host/name.")
    ],
    target: Annotated[Path, typer.Argument(help="File to write; must not be there.")],
) -> None:
    """Copy the database of a study while it is being served.

    [bold]interpscore study backup study.db backups/monday.db[/bold]

    The state folder (DATABASE.state) has the keys: keep a copy of it at
    another place, and never restore an older withdrawn.txt. Of PostgreSQL,
    use pg_dump.
    """
    from Human_Experiment_Setup.study.database.backup import back_up

    back_up(database, target)
    say(f"{target}: complete")
