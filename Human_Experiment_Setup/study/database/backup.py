"""A copy of a study's database while it is being served."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.files import PART, check_file, check_writable, flush


def back_up(database: str, target: Path) -> None:
    """Copy a SQLite database, complete and consistent, while others write to it.

    Raises:
        InputError: it is no file of SQLite; OutputError: the copy cannot be written, or is there already.
    """
    if "://" in database:
        raise InputError(f"{database.partition('://')[0]}: is a database server; expected a file (use pg_dump)")
    try:
        check_file(database)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{database}: {reason}; expected the database of a study") from None
    if target.exists():
        raise OutputError(f"{target}: exists; expected the name of a new file")
    check_writable(target)
    part = target.with_name(f".{target.name}{PART}")
    read_only = f"{Path(database).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(read_only, uri=True)) as source, closing(sqlite3.connect(part)) as copy:
            source.execute("SELECT 1 FROM study").fetchall()
            source.backup(copy)
        flush(part)
        part.rename(target)
        flush(target.parent)
    except sqlite3.Error as error:
        raise InputError(f"{database}: cannot be copied ({error}); expected the database of a study") from None
    finally:
        part.unlink(missing_ok=True)
