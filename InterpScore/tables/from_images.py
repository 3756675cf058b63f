"""The experiment table of labelled pictures and an activation store: one row an image, without ratings.

Shapes: I images, U units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import listed_up_to
from Activation_Extraction.base.files import write_together
from Activation_Extraction.base.text import as_csv
from InterpScore.errors import InputError, OutputError, Problem, shown
from InterpScore.tables.effects import ACTIVATION, IMAGE_COLUMNS, unit_column
from InterpScore.tables.experiment_rows import CLEAN_IMAGE_COLUMN, CONCEPT_COLUMN, GROUP_COLUMN, LEVEL_COLUMN
from InterpScore.tables.experiment_table import load_experiment_table
from InterpScore.tables.image_names import rows_of_images

if TYPE_CHECKING:
    from Activation_Extraction.images.sets import ImageSet
    from Activation_Extraction.store.reader import ActivationStore

IMAGE_COLUMN, SCORE_COLUMN = IMAGE_COLUMNS[0], "soft_correct"
KEPT = (CLEAN_IMAGE_COLUMN, GROUP_COLUMN, "split", "kind")
"""Columns of an image table that the experiment table has as well."""

BENIGN_KINDS = ("clean", "benign")
TABLES = (".csv", ".parquet", ".pq")


@dataclass(frozen=True)
class LabelledTable:
    """An experiment table, and what became of its images.

    Attributes:
        frame: one row an image; `soft_correct` is empty, as nobody rated.
        missing: images that are not in the store, by name; unreadable: lines on those that could not be read for it.
    """

    frame: pd.DataFrame
    missing: list[str]
    unreadable: list[str]

    @property
    def level_kinds(self) -> str:
        """The levels that are neither clean nor benign, as `score --level-kinds` takes them."""
        if "kind" not in self.frame:
            return ""
        pairs = self.frame[[LEVEL_COLUMN, "kind"]].drop_duplicates().sort_values(LEVEL_COLUMN, ascending=False)
        return " ".join(f"{level}={kind}" for level, kind in pairs.itertuples(index=False) if kind not in BENIGN_KINDS)

    def save(self, path: Path) -> None:
        """Write the table, as CSV or Parquet.

        Raises:
            OutputError: another kind of file, or one that cannot be written.
        """
        suffix = path.suffix.lower()
        if suffix not in TABLES:
            raise OutputError(f"{path}: expected the name of a table to write, .csv or .parquet")
        content = as_csv(self.frame, index=False) if suffix == ".csv" else self.frame.to_parquet(None, index=False)
        write_together({path: content})


def labelled_table(
    images: ImageSet,
    source: str,
    store: ActivationStore,
    layer: str | None = None,
    units: Sequence[int] = (),
    clean_level: int = 5,
    advance: Callable[[int], None] = lambda count: None,
) -> LabelledTable:
    """The table that scoring takes, of labelled pictures and a complete store.

    Args:
        images: with the column `concept` (of a folder, the last subfolder), and where known `level`, `clean_image` and `group`.
        source: what messages call them.
        layer, units: the units to have columns of activations; none where `score --store` is to join them.
        clean_level: of images without a column `level`.
        advance: called with the number of pictures that were compared with the store.

    Raises:
        InputError: an image without a concept or level, one that is another picture in the store, none in the store,
            no such unit.
    """
    table = images.table.to_pandas()
    names = table["image"].astype(str).tolist()
    concepts = _filled(table, "concept", source, "a folder for each concept, or a column 'concept'")
    levels = _filled(table, LEVEL_COLUMN, source, "a level in each row") if LEVEL_COLUMN in table else clean_level
    stored = store.images
    row_I = rows_of_images(names, stored["image"].astype(str).tolist(), source, str(store.path))
    refuse_changed(images, row_I, stored["sha256"], source, store, advance)
    found_I = row_I >= 0
    columns: dict[str, Any] = {
        "trial_category": "experiment", IMAGE_COLUMN: names, CONCEPT_COLUMN: concepts, LEVEL_COLUMN: levels,
        **{name: table[name].fillna("").astype(str) for name in KEPT if name in table}, SCORE_COLUMN: np.nan,
    }  # fmt: skip
    if units:
        assert layer is not None
        activation_IU = np.full((len(names), len(units)), np.nan)
        activation_IU[found_I] = store.units(layer, units)[row_I[found_I]]
        columns |= {unit_column(ACTIVATION, str(unit)): activation_IU[:, u] for u, unit in enumerate(units)}
    frame = pd.DataFrame(columns)
    checked = load_experiment_table(frame, [str(unit) for unit in units], SCORE_COLUMN)
    if clean_level not in checked.level_I:
        there = ", ".join(map(str, sorted(set(checked.level_I.tolist()))))
        raise InputError(f"{source}: no image at the clean level {clean_level}; its levels are {there} (--clean-level)")
    errors = stored["error"].fillna("").astype(str).to_numpy()[row_I[found_I]]
    return LabelledTable(
        frame, [name for name, found in zip(names, found_I, strict=True) if not found], errors[errors != ""].tolist()
    )


def _filled(table: pd.DataFrame, column: str, source: str, expected: str) -> pd.Series:
    """A column without empty cells."""
    values = table[column] if column in table else pd.Series([None] * len(table))
    empty = values.isna() | (values.astype(str).str.strip() == "")
    if empty.any():
        first = int(np.flatnonzero(empty)[0])
        found = f"image {shown(table['image'].iloc[first])} has no {column}"
        raise InputError([Problem(source, found, expected, more=int(empty.sum()) - 1)])
    return values


def refuse_changed(
    images: ImageSet,
    row_I: Iterable[int],
    sha256: pd.Series,
    source: str,
    store: ActivationStore,
    advance: Callable[[int], None],
) -> None:
    """Refuse pictures that are others than those the store has activations of; those that are not there are not compared."""
    from Activation_Extraction.images.places import ImageError

    changed = []
    for i, row in enumerate(row_I):
        advance(1)
        if row < 0 or not isinstance(sha256.iloc[row], str):
            continue
        try:
            same = hashlib.sha256(images.read(i)).hexdigest() == sha256.iloc[row]
        except ImageError:
            continue
        changed += [] if same else [images.name(i)]
    if changed:
        named = ", ".join(listed_up_to(changed, 5))
        raise InputError(
            f"{source}: {len(changed)} of its pictures are not those of {store.path} ({named}); expected the pictures "
            "that it was made from: extract again"
        )
