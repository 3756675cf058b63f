"""The table of a study's stimuli: what it says, writing it, and whether the files are still what it says.

`images.csv` is an image set: extraction reads it as it is. It tells levels and concepts apart, which the names of the
files do not.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from io import BytesIO, TextIOWrapper
from pathlib import Path

from Activation_Extraction.base.errors import InputError, Problem, first_line
from Activation_Extraction.base.files import check_file, open_file, sha256_of
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.base.text import CsvLines, from_cell, to_cell
from Activation_Extraction.images.places import ImageError
from Human_Experiment_Setup.stimuli.calibration import measured
from Human_Experiment_Setup.stimuli.pictures import saved_picture

TABLE, PROVENANCE, PICTURES = "images.csv", "stimuli.json", "pictures"
CONTACT_SHEET, CONTACT_PAGE = "contact_sheet.png", "contact_sheet.html"

COLUMNS: Mapping[str, str] = {
    "image": "the file, relative to the table; its name tells neither concept nor level",
    "concept": "what it shows; of renders and exemplars, the concept of their unit",
    "level": "number of the level",
    "kind": "of the level: clean, benign, adversarial, synthetic or exemplar",
    "split": "as the clean pictures' image set has it",
    "clean_image": "the clean stimulus that it was made from; empty where it was made from none",
    "unit": "the concept's unit in the neuron map",
    "method": "what was done",
    "measure": "what the strengths are in: snr_db, rms, ssim; linf and l2 in levels of 255",
    "strength_declared": "what the protocol says; of adversarial pictures the bound",
    "strength_measured": "the same, measured on the saved file against that of clean_image",
    "reached": "whether the measured strength is within 2% of the declared; of adversarial pictures, whether it is within the bound and the target moved as asked",
    "activation_before": "the unit's activation on clean_image, measured on the saved file",
    "activation_after": "the unit's activation on this picture, measured on the saved file",
    "probability_before": "where a class is attacked: zero-shot probability of the concept on clean_image",
    "probability_after": "the same on this picture",
    "source": "the picture that it was made from; of renders the unit and the file",
    "sha256": "of the file",
}
"""Column → what it holds."""

Row = dict[str, str]


def as_text(value: float | None) -> str:
    """A number as the table has it: six digits; nothing where there is none."""
    return "" if value is None else f"{value:.6g}"


def table_as_bytes(rows: Sequence[Mapping[str, str]]) -> bytes:
    """The file `images.csv`."""
    file = BytesIO()
    writer = csv.DictWriter(CsvLines(file), list(COLUMNS), restval="", lineterminator=CsvLines.END)
    writer.writeheader()
    writer.writerows({name: to_cell(text) for name, text in row.items()} for row in rows)
    return file.getvalue()


def read_table(folder: Path) -> list[Row]:
    """The rows of a study's `images.csv`.

    Raises:
        InputError: no such table, or one that lacks a column.
    """
    path = folder / TABLE
    try:
        with TextIOWrapper(open_file(path, folder), encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = [{name: from_cell(text or "") for name, text in row.items() if name} for row in reader]
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {found}; expected a folder that `interpscore stimuli build` has finished") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as CSV ({first_line(error)}); expected the table as written") from None
    if missing := [name for name in COLUMNS if name not in columns]:
        raise InputError(
            [Problem(str(path), "the column is missing", "the table as it was written", column=missing[0])]
        )
    return rows


def check_stimuli(folder: Path, advance: Advance = lambda count: None) -> list[str]:
    """What is wrong with the files of a study: hashes, sizes, strengths measured again, files that the table lacks.

    Raises:
        InputError: no study there.
    """
    problems = []
    rows = read_table(folder)
    for row in rows:
        path = folder / row["image"]
        try:
            found = sha256_of(path, folder)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            problems.append(f"{path}: {'no such file' if missing else error.strerror}")
        else:
            if found != row["sha256"]:
                problems.append(f"{path}: SHA-256 {found[:12]}…; expected {row['sha256'][:12]}…")
            elif row["strength_measured"]:
                problems += _strength_problems(folder, row)
        advance(1)
    known = {row["image"] for row in rows}
    extra = sorted(path.name for path in (folder / PICTURES).glob("*") if f"{PICTURES}/{path.name}" not in known)
    return problems + [f"{folder / PICTURES / name}: is not in {TABLE}" for name in extra]


def _strength_problems(folder: Path, row: Row) -> list[str]:
    path = folder / row["image"]
    try:
        check_file(folder / row["clean_image"], folder)
        found = measured(row["measure"], saved_picture(folder / row["clean_image"]), saved_picture(path))
        said = float(row["strength_measured"])
    except (ImageError, OSError, ValueError, KeyError) as error:
        return [f"{path}: its strength cannot be measured ({first_line(error)})"]
    if math.isclose(found, said, rel_tol=1e-4, abs_tol=1e-4):
        return []
    return [f"{path}: {row['measure']} {found:.6g}; {TABLE} says {said:.6g}"]
