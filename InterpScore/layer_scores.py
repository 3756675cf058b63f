"""Score every unit of an activation array, without writing a table first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from InterpScore.arrays import Floats
from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.errors import InputError
from InterpScore.experiment_table import ACTIVATION_PREFIX, CONCEPT_COLUMN, IMAGE_COLUMNS, LEVEL_COLUMN, unit_column
from InterpScore.neuron_map import normalised
from InterpScore.options import scoring_options
from InterpScore.results import BenchmarkResult
from InterpScore.selectivity import hedges_g, sides


def calculate_interpretability_metrics(
    activations: Any,
    concepts: Sequence[str] | None = None,
    *,
    levels: Sequence[int] | None = None,
    human_scores: Sequence[float] | None = None,
    neuron_map: Mapping[Any, str] | None = None,
    **options: Any,
) -> BenchmarkResult:
    """S, C, R, H and InterpScore of every unit of an activation array.

    Args:
        activations: `(images, units)` or, for one unit, `(images,)`; or a mapping from concept to
            such an array; or a labelled array with the coordinates `image`, `unit`, `concept` and,
            where known, `level`; or an experiment table as a DataFrame.
        concepts: the concept each image shows, where `activations` does not say it.
        levels: the level of each image; by default all are clean.
        human_scores: recognition of each image in [0, 1]; NaN where not rated.
        neuron_map: unit → concept. Without it, the concept of each unit is searched for on one
            half of the images and scored on the other half.
        **options: as in `run_interpretability_benchmark`.

    Returns:
        One row a unit, best first. Without any concept labels every score is NaN, and says so.

    Raises:
        InputError: lengths that do not agree, or wrong options.

    Source: METRICS.md, sections 5 and 6.
    """
    chosen = scoring_options(**options)
    frame = _as_table(activations, concepts, levels, human_scores, chosen.clean_level, chosen.human_score_col)
    units = [
        str(name).removeprefix(ACTIVATION_PREFIX) for name in frame.columns if str(name).startswith(ACTIVATION_PREFIX)
    ]
    if not units:
        raise InputError(f"activations: no unit in them; expected images × units, or columns {ACTIVATION_PREFIX}<unit>")
    if CONCEPT_COLUMN not in frame:
        return _unlabelled(units)
    remark = None
    if neuron_map is None:
        neuron_map, frame = _searched_concepts(frame, units, chosen.clean_level, chosen.seed)
        remark = "each unit's concept was chosen on one half of the images; these scores are from the other half"
    result = run_interpretability_benchmark(frame, neuron_map, **options)
    return BenchmarkResult(result.table, result.signature, [*([remark] if remark else []), *result.warnings])


def _as_table(
    activations: Any, concepts: Any, levels: Any, human_scores: Any, clean_level: int, score_column: str
) -> pd.DataFrame:
    if isinstance(activations, pd.DataFrame) and any(str(name).startswith(ACTIVATION_PREFIX) for name in activations):
        return activations.reset_index(drop=True)
    names: Sequence[Any] | None = None
    if isinstance(activations, Mapping):
        parts = {concept: _images_by_units(part) for concept, part in activations.items()}
        if not parts or len({part.shape[1] for part in parts.values()}) > 1:
            raise InputError(
                "activations: concepts with different numbers of units; expected one array (images, units) a concept, same units"
            )
        concepts = [concept for concept, part in parts.items() for _ in range(len(part))]
        values = np.concatenate(list(parts.values()))
    else:
        values = _images_by_units(activations)
        coordinates = getattr(activations, "coords", {})
        concepts = coordinates["concept"].values if concepts is None and "concept" in coordinates else concepts
        levels = coordinates["level"].values if levels is None and "level" in coordinates else levels
        names = coordinates["unit"].values if "unit" in coordinates else None
        if isinstance(activations, pd.DataFrame):
            names = list(activations.columns)
    names = range(values.shape[1]) if names is None else names
    frame = pd.DataFrame({unit_column("activation", str(name)): values[:, u] for u, name in enumerate(names)})
    given = {CONCEPT_COLUMN: concepts, LEVEL_COLUMN: levels, score_column: human_scores}
    for column, labels in given.items():
        if labels is not None:
            if len(labels) != len(values):
                raise InputError(f"{column}: {len(labels)} labels for {len(values)} images; expected one an image")
            frame[column] = np.asarray(labels)
    if LEVEL_COLUMN not in frame:
        frame[LEVEL_COLUMN] = clean_level
    if score_column not in frame:
        frame[score_column] = np.nan
    frame[IMAGE_COLUMNS[0]] = [f"image {i:08d}" for i in range(len(frame))]
    return frame


def _images_by_units(values: Any) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"activations: found shape {array.shape}; expected (images, units), pooled over positions")
    return array


def _searched_concepts(
    frame: pd.DataFrame, units: list[str], clean_level: int, seed: int
) -> tuple[dict[str, str], pd.DataFrame]:
    """The concept with the largest effect size for each unit on one half of the images, and the other half."""
    names = frame[CONCEPT_COLUMN].astype(str).map(normalised)
    image = next((frame[name] for name in IMAGE_COLUMNS if name in frame), pd.Series(np.arange(len(frame))))
    generator = np.random.default_rng(seed)
    one_an_image = ~image.duplicated().to_numpy()
    selected = np.zeros(len(frame), dtype=bool)
    for _, rows in frame[one_an_image].groupby([names[one_an_image], frame[LEVEL_COLUMN][one_an_image]]):
        members = generator.permutation(rows.index.to_numpy())
        selected[members[: len(members) // 2]] = True
    selection = image.isin(set(image[selected])).to_numpy()
    clean = selection & one_an_image & (pd.to_numeric(frame[LEVEL_COLUMN], errors="coerce") == clean_level).to_numpy()
    columns = [unit_column("activation", unit) for unit in units]
    values = frame.loc[clean, columns].to_numpy(dtype=float).T
    concepts = sorted(set(names))
    effects = np.full((len(concepts), len(units)), -np.inf)
    for c, concept in enumerate(concepts):
        is_target = (names[clean] == concept).to_numpy()
        effects[c] = np.nan_to_num(hedges_g(values, *sides(is_target))[:, 0], nan=-np.inf)
    best = [concepts[c] for c in effects.argmax(axis=0)]
    return dict(zip(units, best, strict=True)), frame[~selection].reset_index(drop=True)


def _unlabelled(units: list[str]) -> BenchmarkResult:
    reason = "no concept labels given; pass concepts=, or a mapping from concept to activations"
    table = pd.DataFrame(
        {
            "Neuron": units,
            "Concept": None,
            **dict.fromkeys(("S", "C", "R", "H", "InterpScore"), np.nan),
            "Rank": pd.NA,
            "Notes": reason,
        }
    )
    return BenchmarkResult(table, {"n": {"neurons": len(units)}}, [reason])
