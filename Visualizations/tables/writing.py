"""Writes the tables of a run: each as LaTeX and as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Activation_Extraction.base.files import check_creatable, write_together
from Activation_Extraction.base.text import as_csv
from Visualizations.run import Run
from Visualizations.tables.contents import TABLES


def write_tables(run: Run, folder: Path) -> list[dict[str, Any]]:
    """Write each table of a run as LaTeX and CSV, and return its entry for the index.

    Raises:
        OutputError: they cannot be written.
    """
    check_creatable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for make in TABLES:
        table = make(run)
        csv = as_csv(table.values, index=False)
        write_together({folder / f"{table.name}.tex": table.latex, folder / f"{table.name}.csv": csv})
        files = [f"{folder.name}/{table.name}.{suffix}" for suffix in ("tex", "csv")]
        entries.append({"name": table.name, "files": files, "caption": table.caption})
    return entries
