"""Makes the figures of a run: files in a folder, and an index of what was made and what was not, with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import as_json, check_creatable, sha256_of, write_together
from Activation_Extraction.base.progress import StageProgress, in_stage
from Activation_Extraction.base.text import as_csv
from Activation_Extraction.base.user_code import lines_in
from Visualizations.kinds import Drawing, FigureKind, chosen_kinds
from Visualizations.run import Run
from Visualizations.styles import Style
from Visualizations.tables.writing import write_tables

Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[Format, ...] = ("svg", "pdf", "png")
INDEX = "index.json"
NO_GLYPH = r"characters that no font here has, or that cannot be seen, are shown as escapes such as \u9577"
_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_NO_DATES: Mapping[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Made:
    """What became of one kind of figure: the files, or why there are none; `failed` where another package's code did."""

    kind: FigureKind
    files: tuple[str, ...] = ()
    caption: str = ""
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For the index."""
        about = {"name": self.kind.name, "title": self.kind.title}
        if self.missing:
            return about | {"missing": list(self.missing)}
        return about | {"files": list(self.files), "caption": self.caption, "notes": list(self.notes)}


def make_figures(
    run: Run,
    folder: Path,
    names: Sequence[str] = (),
    style: Style = Style(),  # noqa: B008 - frozen
    formats: Sequence[Format] = FORMATS,
    progress: StageProgress | None = None,
) -> list[Made]:
    """Draw figures and write each as `<name>.<format>`, with what is plotted as `<name>.csv`, and `index.json`.

    Args:
        names: of the figures; all where none are named.
        progress: callback (stage, completed, total).

    Returns:
        one entry for each figure, in the order of the gallery. A figure that cannot be drawn from these files is among
        them with the reason; the others are made.

    Raises:
        InputError: no such figure; a file of the run is damaged, or of another run.
        OutputError: the folder cannot be written.
    """
    kinds = chosen_kinds(list(names))
    run.check()
    check_creatable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    advance = in_stage(progress, "figures", len(kinds))
    made = []
    for kind in kinds:
        made.append(_made(run, kind, folder, style, formats))
        advance(1)
    write_together(
        {folder / INDEX: as_json(_index(run, style, made) | {"tables": write_tables(run, folder / "tables")})}
    )
    return made


def _made(run: Run, kind: FigureKind, folder: Path, style: Style, formats: Sequence[Format]) -> Made:
    try:
        if missing := kind.missing(run):
            return Made(kind, missing=tuple(missing))
        drawing, images = _drawn(run, kind, style, formats)
    except InputError as error:  # a file that is damaged or of another run
        return Made(kind, missing=tuple(map(str, error.problems)))
    except (Exception, SystemExit) as error:  # any error of another package's code
        if kind.is_ours:
            raise
        file = getattr(getattr(kind.draw, "__code__", None), "co_filename", "")
        return Made(kind, missing=tuple(lines_in(error, file)), failed=True)
    contents: dict[Path, str | bytes] = {folder / f"{kind.name}.{suffix}": image for suffix, image in images.items()}
    contents[folder / f"{kind.name}.csv"] = as_csv(drawing.values, index=False)
    write_together(contents)
    return Made(kind, tuple(path.name for path in contents), drawing.caption, drawing.notes)


def _drawn(run: Run, kind: FigureKind, style: Style, formats: Sequence[Format]) -> tuple[Drawing, dict[Format, bytes]]:
    """A drawing, with a note where its font lacks characters, and the figure in each format."""
    from matplotlib.text import Text

    with style.applied():
        drawing = kind.draw(run, style)
        if not isinstance(drawing, Drawing):
            raise TypeError(f"draw gave {type(drawing).__name__}; expected a Drawing")
        drawing.figure.draw_without_rendering()  # arranges it, once for all formats
        drawing.figure.set_layout_engine("none")
        if any(_ESCAPED.search(text.get_text()) for text in drawing.figure.findobj(Text)):
            drawing = replace(drawing, notes=(*drawing.notes, NO_GLYPH))
        return drawing, {suffix: _saved(drawing, suffix) for suffix in formats}


def _saved(drawing: Drawing, suffix: Format) -> bytes:
    """The figure as a file: the same bytes for the same figure."""
    buffer = BytesIO()
    drawing.figure.savefig(buffer, format=suffix, metadata=_NO_DATES[suffix])
    return buffer.getvalue()


def _index(run: Run, style: Style, made: Sequence[Made]) -> dict[str, Any]:
    import matplotlib as mpl

    return {
        "format": "interpscore-figures/1",
        "results": {"name": run.path.name, "sha256": sha256_of(run.path)},
        "style": {"venue": style.venue, "theme": style.theme},
        "versions": run.signature.get("versions", {}) | {"matplotlib": mpl.__version__},
        "figures": [each.as_dict() for each in made],
    }
