"""Writes `docs/layout.md`: every file of the rooms with the first sentence of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "Activation_Extraction",
    "InterpScore",
    "DeepDream_Setup",
    "Human_Experiment_Setup",
    "Visualizations",
    "Data",
    "benchmarks",
)


def summary(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    content = path.read_text(encoding="utf-8")
    if content.startswith('"""'):  # parsing the docstring alone is much faster
        content = content[: content.index('"""', 3) + 3]
    text = ast.get_docstring(ast.parse(content)) or ""
    return " ".join(text.split("\n\n")[0].split()).removesuffix(":").removesuffix(".")


def folder_lines(folder: Path, depth: int = 0) -> list[str]:
    """A folder, its files, then its folders, as nested Markdown items."""
    indent = "  " * depth
    package = folder / "__init__.py"
    lines = [f"{indent}- **{folder.name}/**{': ' + summary(package) if package.exists() else ''}"]
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            lines.append(f"{indent}  - `{path.name}`: {summary(path)}")
    for below in sorted(path for path in folder.iterdir() if path.is_dir() and any(path.rglob("*.py"))):
        if below.name != "__pycache__":
            lines += folder_lines(below, depth + 1)
    return lines


def layout() -> str:
    """The page."""
    head = "# Repository layout\n\nMade by `python docs/make_layout.py` from the first line of each file.\n"
    rooms = ("\n".join(folder_lines(ROOT / room)) for room in ROOMS)
    return "\n".join([head, *(f"{room}\n" for room in rooms)])


if __name__ == "__main__":
    (ROOT / "docs" / "layout.md").write_text(layout(), encoding="utf-8")
