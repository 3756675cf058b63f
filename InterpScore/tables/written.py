"""Tables that are written: CSV or Parquet by the suffix, with a JSON of the same name that tells what is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.files import as_json, check_writable, write_together
from Activation_Extraction.base.text import as_csv
from InterpScore.errors import OutputError

_SUFFIXES = (".csv", ".parquet", ".pq")


def table_and_json(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The paths of a table and of its JSON.

    Raises:
        OutputError: neither .parquet nor .csv, or they cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise OutputError(f"{path}: expected the name of a table to write, .parquet or .csv")
    check_writable(path)
    check_writable(path.with_suffix(".json"))
    return path, path.with_suffix(".json")


def write_table(table: pd.DataFrame, about: Mapping[str, Any], path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write a table, and beside it what is to be known of it; return both paths.

    Raises:
        OutputError: as `table_and_json`; existing files are unchanged.
    """
    table_path, json_path = table_and_json(path)
    is_csv = table_path.suffix.lower() == ".csv"
    content = as_csv(table, index=False) if is_csv else table.to_parquet(None, index=False)
    write_together({table_path: content, json_path: as_json(about)})
    return table_path, json_path
