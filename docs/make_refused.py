"""Writes `docs/refused.md`: the kinds of tables that are refused, from the examples of their tests."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "InterpScore" / "tables" / "test_refused.py"
HEAD = """# What we refuse and why

Made by `python docs/make_refused.py` from the examples of `tests/InterpScore/tables/test_refused.py`.

Tables of other programs are read as they are meant where only one reading is possible, and the run says how
(Data/README.md). Where several are, a guess could be wrong in silence, so the table is refused with exit code 2 and a line
for each problem: file, column, row, what was found and what was expected.
"""


def page(kinds: Mapping[str, Any]) -> str:
    """The page."""
    parts = [HEAD]
    for name, kind in kinds.items():
        rows = [f"| {example} | {_in_cell(said)} |" for example, (_, said) in kind.examples.items()]
        table = "\n".join(["| example | in the message |", "|---|---|", *rows])
        parts.append(f"## {name}\n\n{kind.why} What helps: {kind.helps}.\n\n{table}\n")
    return "\n".join(parts)


def _in_cell(said: str) -> str:
    return f"`{said}`".replace("|", "\\|")


if __name__ == "__main__":
    (ROOT / "docs" / "refused.md").write_text(page(runpy.run_path(str(TESTS))["REFUSED"]), encoding="utf-8")
