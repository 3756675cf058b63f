"""The images that untrained units are chosen on, and the others, that they are scored on. METRICS.md, section 13.

Shapes: I images of a table, N rows of a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from InterpScore.helpers import Bools, Ints
from InterpScore.tables.experiment_table import ExperimentTable

SELECTION = "selection"
"""What the column `split` of an image table or experiment table says of images that units were chosen on."""


@dataclass(frozen=True)
class Halves:
    """Images to choose on and images to score on; none is both.

    Attributes:
        selection_N: rows of the store with the clean images to choose on.
        concepts: what each of them shows.
        evaluation_I: the images of the table to score on, all of them in the store.
        how: where the halves are from, in words.
    """

    selection_N: Ints
    concepts: list[str]
    evaluation_I: Bools
    how: str


def is_for_selection(split: object) -> bool:
    """Whether a cell of the column `split` says that units were chosen on an image."""
    return str(split).strip().casefold() == SELECTION


def is_clean(level: object, clean_level: int) -> bool:
    """Whether a cell of the column `level` says that an image is clean; one that says nothing does."""
    try:
        number = float(str(level))
    except ValueError:
        return level is None or str(level).strip() == ""
    return np.isnan(number) or number == clean_level


def halves_of(
    table: ExperimentTable, row_I: Ints, stored: Mapping[str, list[object]], clean_level: int, seed: int
) -> Halves:
    """The halves that the trained units were chosen and scored on where a column `split` tells, else random ones.

    Args:
        table: its `split_I` counts first.
        row_I: the row of each image of the table in the store; -1 where there is none.
        stored: columns of the store's image table: `split`, `concept` and, where known, `level`. Images that are not in the
            table may be among those for selection.
        seed: of random halves, which divide sources: a clean image goes with those that were made from it, and of each
            concept half goes to each side.
    """
    marked_I = np.array([is_for_selection(split) for split in table.split_I or [""] * len(row_I)], dtype=bool)
    splits = stored.get("split", [])
    for i, row in enumerate(row_I):
        marked_I[i] |= row >= 0 and len(splits) > 0 and is_for_selection(splits[row])
    further = _further(row_I, stored, clean_level)
    how = "which the column split marks as selection"
    if not marked_I.any() and not further:
        marked_I = _random_half(table, seed)
        how = f"half of the study's, drawn by source with seed {seed}"
    chosen = np.flatnonzero(marked_I & (table.level_I == clean_level) & (row_I >= 0))
    rows = [*row_I[chosen].tolist(), *further]
    concepts = [table.concepts[c] for c in table.concept_I[chosen]] + list(further.values())
    return Halves(np.array(rows, dtype=np.int64), concepts, ~marked_I & (row_I >= 0), how)


def _further(row_I: Ints, stored: Mapping[str, list[object]], clean_level: int) -> dict[int, str]:
    """Rows for selection that the table does not have → what they show."""
    if "split" not in stored or "concept" not in stored:
        return {}
    in_table = set(row_I.tolist())
    levels = stored.get("level", [None] * len(stored["split"]))
    return {
        row: str(concept)
        for row, (split, concept, level) in enumerate(zip(stored["split"], stored["concept"], levels, strict=True))
        if row not in in_table and is_for_selection(split) and isinstance(concept, str) and is_clean(level, clean_level)
    }


def _random_half(table: ExperimentTable, seed: int) -> Bools:
    """Half of the sources of each concept; of an odd number the larger part is scored on."""
    source_I = np.where(table.partner_I >= 0, table.partner_I, np.arange(len(table.images)))
    generator = np.random.default_rng((seed, 13))
    half_I = np.zeros(len(table.images), dtype=bool)
    for concept in range(len(table.concepts)):
        sources = generator.permutation(np.unique(source_I[table.concept_I == concept]))
        half_I |= np.isin(source_I, sources[: len(sources) // 2]) & (table.concept_I == concept)
    return half_I
