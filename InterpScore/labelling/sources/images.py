"""The images of activation stores and the concepts that they show, from a folder, an image table or the store itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from InterpScore.errors import InputError, shown
from InterpScore.helpers import Bools, Ints
from InterpScore.labelling.presence import Presence, shown_pairs
from InterpScore.tables.effects import IMAGE_COLUMNS
from InterpScore.tables.experiment_rows import CLEAN_IMAGE_COLUMN, CONCEPT_COLUMN, LEVEL_COLUMN
from InterpScore.tables.from_images import LabelledTable, refuse_changed
from InterpScore.tables.image_names import rows_of_images
from InterpScore.tables.neuron_map import normalised

if TYPE_CHECKING:
    from Activation_Extraction.images.sets import ImageSet
    from Activation_Extraction.store.reader import ActivationStore

CONCEPT, GROUP, LEVEL = "concept", "group", "level"
EXPECTED = (
    "a folder with a subfolder for each concept, an image table with the columns image and concept, or words in a .txt"
)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Distinct images of a store and what they show.

    Attributes:
        frame: a row for each image: `image`, its name; `row` in the store; `concepts`, several, one or none; `group`, a
            number; `counts`, whether labels are chosen and tested on it; and `level` and `clean_image` where known.
        missing: images that are not in the store; unreadable: lines on those that could not be read for it.
        remarks: what a reader should know.
    """

    frame: pd.DataFrame
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def counted(self) -> pd.DataFrame:
        """The images that labels are chosen and tested on."""
        return self.frame[self.frame["counts"]]

    def presence(self, source: str) -> Presence:
        """Which of the counted images show which concept, concepts in alphabetical order.

        Raises:
            InputError: no concept.
        """
        spelled: dict[str, str] = {}
        pairs = []
        for at, concepts in enumerate(self.counted["concepts"]):
            for concept in concepts:
                spelled.setdefault(normalised(concept), concept)
                pairs.append((normalised(concept), at))
        if not pairs:
            raise InputError(f"{source}: none of its images has a concept; expected {EXPECTED}")
        names = sorted(spelled, key=spelled.__getitem__)
        number = {name: at for at, name in enumerate(names)}
        concept_P, image_P = zip(*((number[name], at) for name, at in pairs), strict=True)
        concepts = [spelled[name] for name in names]
        return shown_pairs(concepts, len(self.counted), np.array(concept_P), np.array(image_P))

    def evaluation_table(self, chosen_on: Ints, level: int) -> tuple[LabelledTable, list[str]]:
        """The experiment table of the images whose sources labels were not chosen on, and remarks on those left out.

        Args:
            chosen_on: images of the selection half, counted from 0 among those that count.
            level: of images without one.
        """
        counted = self.counted
        of_selection = self.frame["group"].isin(counted["group"].iloc[chosen_on])
        others = self.frame[~of_selection]
        single = others["concepts"].map(len) == 1
        kept = others[single]
        remarks = [f"{int((~single).sum()):,} images of several concepts or none are not in the table, whose rows have one each"] if not single.all() else []  # fmt: skip
        columns: dict[str, Any] = {
            "trial_category": "experiment", IMAGE_COLUMNS[0]: kept["image"],
            CONCEPT_COLUMN: kept["concepts"].map(lambda concepts: concepts[0]),
            LEVEL_COLUMN: kept.get(LEVEL, level),
        }  # fmt: skip
        if CLEAN_IMAGE_COLUMN in kept:
            columns[CLEAN_IMAGE_COLUMN] = kept[CLEAN_IMAGE_COLUMN]
        columns |= {"split": "evaluation", "soft_correct": np.nan}
        return LabelledTable(pd.DataFrame(columns).reset_index(drop=True), [], []), remarks


def labelled_images(
    store: ActivationStore,
    images: ImageSet | None,
    source: str,
    levels: Sequence[int],
    separator: str | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> LabelledImages:
    """The images of a store with the concepts that an image set, or the store's own table, gives them.

    Args:
        images: the image set; None for the store's own column `concept`.
        source: what messages call it.
        levels: of an image table with levels, those whose images count.
        separator: what separates concepts in a cell; None: each cell is one.
        advance: called with the number of pictures that were compared with the store.

    Raises:
        InputError: no concepts, ambiguous names, other pictures than those of the store, rows that contradict each other.
    """
    stored = store.images
    table = stored if images is None else images.table.to_pandas()
    if CONCEPT not in table:
        found = "none given, and the store has no column 'concept'" if images is None else "no column 'concept'"
        raise InputError(f"{'--concepts' if images is None else source}: {found}; expected {EXPECTED}")
    table = table.assign(image=table["image"].astype(str), concepts=_concepts(table[CONCEPT], separator))
    of_image = table.groupby("image", sort=False)
    for column in (LEVEL, CLEAN_IMAGE_COLUMN, GROUP):
        if column in table and (several := of_image[column].nunique() > 1).any():
            raise InputError(f"{source}: image {shown(several.idxmax())} has more than one {column}; expected one")
    frame = table.drop_duplicates("image").reset_index(drop=True)
    frame["concepts"] = of_image["concepts"].agg(lambda of_rows: tuple(dict.fromkeys(c for row in of_rows for c in row))).to_numpy()  # fmt: skip
    if images is None:
        frame["row"] = frame["image"].map(dict(zip(stored["image"].astype(str)[::-1], stored.index[::-1], strict=True)))
    else:
        frame["row"] = rows_of_images(frame["image"].tolist(), stored["image"].astype(str).tolist(), source, str(store.path))  # fmt: skip
        first = table.drop_duplicates("image").index.tolist()
        refuse_changed(images.chosen(first), frame["row"].to_numpy(), stored["sha256"], source, store, advance)
    for column in (CLEAN_IMAGE_COLUMN, GROUP):
        if column not in frame and column in stored:
            frame[column] = stored[column].reindex(frame["row"]).to_numpy()
    return _distinct(store, frame, source, levels)


def images_of_store(store: ActivationStore, levels: Sequence[int]) -> LabelledImages:
    """The images of a store, without concepts; groups and levels are those of its own table."""
    frame = store.images.assign(row=np.arange(len(store)), concepts=[()] * len(store))
    return _distinct(store, frame.drop_duplicates("image").reset_index(drop=True), str(store.path), levels)


def _distinct(store: ActivationStore, frame: pd.DataFrame, source: str, levels: Sequence[int]) -> LabelledImages:
    """Images that are in the store and could be read, each picture once, with groups."""
    stored, row_I = store.images, frame["row"].to_numpy()
    missing = frame["image"][row_I < 0].tolist()
    frame = frame[row_I >= 0]
    error_I = stored["error"].fillna("").astype(str).reindex(frame["row"]).to_numpy()
    unreadable, frame = error_I[error_I != ""].tolist(), frame[error_I == ""]
    group = _groups(frame)
    sha256 = stored["sha256"].reindex(frame["row"]).to_numpy()
    # Hashes that are not known are each their own.
    picture = pd.Series(np.where(pd.isna(sha256), frame["image"], sha256), index=frame.index)
    twins = picture.duplicated()
    remarks = []
    if twins.any():
        joined = frame["concepts"].groupby(picture).agg(lambda of_twins: tuple(dict.fromkeys(c for one in of_twins for c in one)))  # fmt: skip
        remarks.append(f"{int(twins.sum()):,} images are byte-identical copies of others; each picture counts once, with the concepts of all copies")  # fmt: skip
        frame, group = frame[~twins], group[~twins.to_numpy()]
        frame = frame.assign(concepts=picture[~twins].map(joined))
    frame = frame.assign(group=group, counts=_of_levels(frame, levels, source, remarks))
    kept = [
        name for name in ("image", "row", "concepts", "group", "counts", LEVEL, CLEAN_IMAGE_COLUMN) if name in frame
    ]
    return LabelledImages(frame[kept].reset_index(drop=True), missing, unreadable, remarks)


def _concepts(column: pd.Series, separator: str | None) -> list[tuple[str, ...]]:
    """The concepts in each cell, spaces and Unicode forms aside."""

    def of_cell(cell: Any) -> tuple[str, ...]:
        text = "" if cell is None or (isinstance(cell, float) and np.isnan(cell)) else str(cell)
        parts = text.split(separator) if separator else [text]
        names = (unicodedata.normalize("NFC", " ".join(part.split())) for part in parts)
        return tuple(dict.fromkeys(name for name in names if name))

    cells = {cell: of_cell(cell) for cell in column.unique()}
    return [cells[cell] if cell in cells else of_cell(cell) for cell in column]


def _groups(frame: pd.DataFrame) -> Ints:
    """The source of each image: its group, else the clean image that it is a version of, else itself."""
    names = frame["image"].astype(str)
    source = names
    if CLEAN_IMAGE_COLUMN in frame:
        clean = frame[CLEAN_IMAGE_COLUMN].fillna("").astype(str).str.strip()
        source = clean.where(clean != "", names)
    if GROUP in frame:
        of_group = frame[GROUP].fillna("").astype(str).str.strip()
        source = source.where(of_group == "", "group " + of_group)
    return np.asarray(pd.factorize(source)[0], dtype=np.int64)


def _of_levels(frame: pd.DataFrame, levels: Sequence[int], source: str, remarks: list[str]) -> Bools:
    """Images whose level counts."""
    if LEVEL not in frame:
        return np.ones(len(frame), dtype=bool)
    counts: Bools = pd.to_numeric(frame[LEVEL], errors="coerce").isin(list(levels)).to_numpy(dtype=bool)
    if not counts.any():
        there = ", ".join(map(str, sorted(frame[LEVEL].dropna().unique(), key=str)[:10]))
        raise InputError(
            f"{source}: no image at level {', '.join(map(str, levels))}; its levels are {there} (--levels)"
        )
    if not counts.all():
        of_levels = f"level {' and '.join(map(str, levels))}"
        remarks.append(f"{int((~counts).sum()):,} images of other levels than {of_levels} take no part (--levels)")
    return counts
