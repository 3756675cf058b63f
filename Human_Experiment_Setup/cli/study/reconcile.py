"""`interpscore study reconcile`: Prolific's export beside the database of a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from Human_Experiment_Setup.study.database.connection import Database
    from Human_Experiment_Setup.study.prolific.reconciliation import Reconciled

reconcile_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
_SHOWN = 40


@reconcile_app.command(no_args_is_help=True)
def reconcile(
    database: Annotated[str, typer.Argument(help="Database of the study: a file, or postgresql://user:password@host/name.")],
    submissions: Annotated[Path, typer.Argument(help="Prolific's export of the study's submissions, a CSV with Submission id, Participant id and Status.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a line for each submission to this CSV; participants are named by Prolific's ids.", show_default="print only")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Note no status in the database, and open no place.")] = False,
    state: Annotated[Path | None, typer.Option(help="Folder with the study's keys and withdrawals.", show_default="DATABASE.state")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Say whom to pay and how many to recruit, from Prolific's export and the answers that are there.

    [bold]interpscore study reconcile study.db prolific_export.csv -o reconciled.csv[/bold]

    Statuses are noted in the database: places of RETURNED and TIMED-OUT submissions are open again, once. Prolific gives
    these places out by itself, so they are not recruited a second time. A flag or an exclusion is no reason not to pay.
    """
    import dataclasses

    import pandas as pd

    from Activation_Extraction.base.errors import OutputError
    from Activation_Extraction.base.files import check_writable, write_together
    from Activation_Extraction.base.text import as_csv
    from Human_Experiment_Setup.scoring.answers import refuse_same_file
    from Human_Experiment_Setup.study.database.connection import open_database
    from Human_Experiment_Setup.study.keys import state_folder, study_keys
    from Human_Experiment_Setup.study.prolific import reconciliation
    from Human_Experiment_Setup.study.prolific.submissions import read_submissions
    from Human_Experiment_Setup.study.server.context import now_in_ms
    from Human_Experiment_Setup.study.versions import check_keys, the_study

    if output is not None:
        if output.suffix.lower() != ".csv":
            raise OutputError(f"{output}: expected a name that ends in .csv")
        refuse_same_file([output], [submissions, Path(database)])
        check_writable(output)
    listed = read_submissions(submissions)
    keys = study_keys(state_folder(database, state), create=False)
    opened = open_database(database, create=False)
    try:
        with _transaction(opened, dry_run) as session:
            check_keys(the_study(session, database), keys)
            found = reconciliation.reconcile(session, keys, listed, now_in_ms())
    finally:
        opened.close()
    if output is not None:
        columns = [field.name for field in dataclasses.fields(reconciliation.Line)]
        frame = pd.DataFrame([dataclasses.astuple(line) for line in found.lines], columns=columns)
        write_together({output: as_csv(frame, index=False)})
    if not quiet:
        _print(found, dry_run)
        if output is not None:
            say(f"Written: {output}")


class _DryRunError(Exception):
    pass


@contextmanager
def _transaction(database: Database, dry_run: bool) -> Iterator[Session]:
    """A writing transaction; a dry run is undone at its end."""
    try:
        with database.writing() as session:
            yield session
            if dry_run:
                raise _DryRunError
    except _DryRunError:
        pass


def _print(found: Reconciled, dry_run: bool) -> None:
    from Human_Experiment_Setup.scoring.printing import grid
    from Human_Experiment_Setup.study.prolific.reconciliation import CHECK, DECISIONS, PAY

    counts = {decision: sum(line.decision == decision for line in found.lines) for decision in DECISIONS}
    grid(
        ["", "Submissions", ""], [[name, f"{counts[name]:,}", about] for name, about in DECISIONS.items()], text=(0, 2)
    )
    shown = [line for decision in (PAY, CHECK) for line in found.lines if line.decision == decision]
    rows = [[line.decision, line.submission or "–", line.status or "–", line.reason] for line in shown[:_SHOWN]]
    if rows:
        grid(["", "Submission", "Status", "Reason"], rows, text=(0, 1, 2, 3))
    if len(shown) > _SHOWN:
        say(f"… and {len(shown) - _SHOWN:,} more (--output has all)")
    say(f"Places      {found.places:,}: {found.filled:,} filled, {found.coming:,} on the way")
    say(
        f"To recruit  {found.recruit:,}"
        + (f": on Prolific, set the study's places to {found.holding + found.recruit:,}" if found.recruit else "")
    )
    say(f"Statuses    {found.changed:,} new" + (", not noted: dry run" if dry_run else ", noted in the database"))
