"""The coverage tables of docs/validation.md: `python benchmarks/coverage.py [studies]` simulates and prints them."""

from __future__ import annotations

import sys
from itertools import groupby

from InterpScore.sanity.coverage_table import CoverageRow, coverage_rows


def table_of(rows: list[CoverageRow]) -> str:
    """One table in Markdown: coverage, in parentheses that of percentiles, then the width relative to theirs."""
    columns = list(rows[0].cells)
    lines = [f"| {rows[0].table} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row in rows:
        cells = [
            f"{100 * cell.share:.1f} ({100 * cell.percentiles:.1f}) ×{cell.wider:.2f}" for cell in row.cells.values()
        ]
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"{studies} simulated studies a cell, seed 0\n")
    rows = sorted(coverage_rows(studies, 0), key=lambda row: row.table)
    for _, group in groupby(rows, key=lambda row: row.table):
        print(table_of(list(group)), end="\n\n")
