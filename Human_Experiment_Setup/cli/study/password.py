"""`interpscore study password`: the password of the admin page."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

password_app = typer.Typer()


@password_app.command(no_args_is_help=True)
def password(
    database: Annotated[
        str, typer.Argument(help="Database of the study: a file, or postgresql://user:password@host/name.")
    ],
) -> None:
    """Set the password of the admin page; an empty one turns the page off.

    [bold]interpscore study password study.db[/bold]

    Asks for it twice, or reads one line of standard input.
    """
    from getpass import getpass

    from Activation_Extraction.base.errors import InputError
    from Human_Experiment_Setup.study.database.connection import open_database
    from Human_Experiment_Setup.study.database.schema import Study
    from Human_Experiment_Setup.study.passwords import SHORTEST_PASSWORD, hashed
    from Human_Experiment_Setup.study.versions import the_study

    with closing(open_database(database, create=False)) as opened:
        with opened.reading() as session:
            the_study(session, database)
        if sys.stdin.isatty():
            chosen = getpass("Password: ")
            if chosen and getpass("Again: ") != chosen:
                raise InputError("password: the second is another; expected the same twice")
        else:
            chosen = sys.stdin.readline().rstrip("\n")
        if chosen and len(chosen) < SHORTEST_PASSWORD:
            raise InputError(f"password: has {len(chosen)} characters; expected {SHORTEST_PASSWORD} or more")
        with opened.writing() as session:
            row: Study = the_study(session, database)
            row.password_hash = hashed(chosen) if chosen else None
    say("The password is set." if chosen else "The admin page is off.")
