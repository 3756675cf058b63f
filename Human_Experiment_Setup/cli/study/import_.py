"""`interpscore study import`: answers of a study that was run elsewhere, as the table that scoring reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from Activation_Extraction.base.text import say

import_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@import_app.command(no_args_is_help=True)
def import_answers(
    files: Annotated[list[Path], typer.Argument(help="jsPsych's data as JSON, one file or one for each participant; or a table with one row an answer, CSV, Excel or Parquet, such as of Qualtrics or Gorilla.")],
    columns: Annotated[Path, typer.Option(help="YAML that says which column is what: participant, image_filename, ground_truth, level, words, and keep: {column: value} for the rows with answers.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write, .csv or .parquet.")],
    csv: Annotated[str | None, typer.Option("--csv", help="How to read a CSV, where it can't be found out: sep=; decimal=, encoding=latin-1.", show_default="found out")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Make the table of answers from a study that was run with another program.

    [bold]interpscore study import data/*.json --columns map.yaml -o answers.csv[/bold]

    In names of columns, dots reach into cells that hold JSON: response.Q0. In place of a column, (file) is the name of the
    file. Ids of participants stay as they are in the file.
    """
    from Activation_Extraction.base.files import check_writable, write_together
    from Human_Experiment_Setup.scoring.answers import refuse_same_file
    from Human_Experiment_Setup.scoring.scored_table import as_table, table_paths
    from Human_Experiment_Setup.study.answers.columns import answers_frame
    from Human_Experiment_Setup.study.imports.answers import imported
    from Human_Experiment_Setup.study.imports.column_map import read_column_map

    table, _ = table_paths(output)
    refuse_same_file([table], [*files, columns])
    check_writable(table)
    found = imported(files, read_column_map(columns), csv)
    frame = answers_frame(found.rows, all_columns=False)
    write_together({table: as_table(frame, table)})
    if not quiet:
        for note in found.notes:
            say(f"note: {note}")
        people, pictures = frame["participant"].nunique(), frame["image_filename"].nunique()
        say(f"{len(frame):,} answers of {people:,} participants to {pictures:,} pictures")
        say(f"Written: {table}")
