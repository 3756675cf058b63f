"""Score every unit of an activation array, without writing a table first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.progress import StageProgress
from Activation_Extraction.tables.column_names import ColumnNames
from InterpScore.benchmark import run_interpretability_benchmark, score_table
from InterpScore.errors import InputError
from InterpScore.helpers import Floats, sides
from InterpScore.metric import metrics
from InterpScore.options import ScoringOptions, scoring_options
from InterpScore.scoring.results import BenchmarkResult
from InterpScore.selectivity import hedges_g
from InterpScore.tables.effects import IMAGE_COLUMNS, EffectsSource, unit_column
from InterpScore.tables.experiment_rows import CONCEPT_COLUMN, LEVEL_COLUMN, OTHER_CONCEPT_COLUMN
from InterpScore.tables.experiment_table import ACTIVATION_PREFIX, ExperimentTable, load_experiment_table
from InterpScore.tables.neuron_map import Concepts

_COLUMNS = ColumnNames((CONCEPT_COLUMN, OTHER_CONCEPT_COLUMN), units=True)


def calculate_interpretability_metrics(
    activations: Any,
    concepts: Sequence[str] | None = None,
    *,
    levels: Sequence[int] | None = None,
    human_scores: Sequence[float] | None = None,
    neuron_map: Mapping[Any, str | Sequence[str]] | None = None,
    causality: EffectsSource | Sequence[EffectsSource] | None = None,
    progress: StageProgress | None = None,
    **options: Any,
) -> BenchmarkResult:
    """S, C, R, H, other registered metrics and InterpScore of every unit of an activation array.

    Args:
        activations: `(images, units)` or, for one unit, `(images,)`; or a mapping from concept to
            such an array; or a labelled array with the coordinates `image`, `unit`, `concept` and,
            where known, `level`; or an experiment table as a DataFrame.
        concepts: the concept each image shows, where `activations` does not say it.
        levels: the level of each image; by default all are clean.
        human_scores: recognition of each image in [0, 1]; NaN where not rated.
        neuron_map: unit → concept or concepts. Without it, the concept of each unit is searched for on one
            half of the images and scored on the other half.
        causality, progress, **options: as in `run_interpretability_benchmark`.

    Returns:
        One row a unit, best first. Without any concept labels every score is NaN, and says so.

    Raises:
        InputError: lengths that do not agree, or wrong options.

    Source: METRICS.md, sections 5 and 6.
    """
    chosen = scoring_options(**options)
    frame = _as_table(activations, concepts, levels, human_scores, chosen)
    columns = [_COLUMNS.meant(str(name)) or "" for name in frame]
    units = [name.removeprefix(ACTIVATION_PREFIX) for name in columns if name.startswith(ACTIVATION_PREFIX)]
    if not units:
        raise InputError(f"activations: no unit in them; expected images × units, or columns {ACTIVATION_PREFIX}<unit>")
    if len(set(units)) < len(units):
        raise InputError("activations: two units have the same name; expected each unit once")
    if not {CONCEPT_COLUMN, OTHER_CONCEPT_COLUMN} & {*columns}:
        return _unlabelled(units)
    if neuron_map is not None:
        return run_interpretability_benchmark(frame, neuron_map, causality=causality, progress=progress, **options)
    table = load_experiment_table(frame, units, chosen.human_score_col, causality)
    concepts_of, other_half = _searched_concepts(table, chosen)
    result = score_table(other_half, concepts_of, chosen, progress)
    remark = "each unit's concept was chosen on one half of the images; these scores are from the other half"
    return replace(result, warnings=[remark, *result.warnings])


def _has_concepts(frame: pd.DataFrame) -> bool:
    return any(_COLUMNS.meant(str(name)) in (CONCEPT_COLUMN, OTHER_CONCEPT_COLUMN) for name in frame)


def _as_table(activations: Any, concepts: Any, levels: Any, human_scores: Any, options: ScoringOptions) -> pd.DataFrame:
    if isinstance(activations, pd.DataFrame) and _has_concepts(activations):
        if not all(labels is None for labels in (concepts, levels, human_scores)):
            raise InputError("activations: a table with its own labels, and labels as arguments; expected one of them")
        return activations
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
            names = [str(name).removeprefix(ACTIVATION_PREFIX) for name in activations.columns]
    names = range(values.shape[1]) if names is None else names
    frame = pd.DataFrame(values, columns=[unit_column("activation", str(name)) for name in names])
    given = {CONCEPT_COLUMN: concepts, LEVEL_COLUMN: levels, options.human_score_col: human_scores}
    for column, labels in given.items():
        if labels is not None:
            if len(labels) != len(values):
                raise InputError(f"{column}: {len(labels)} labels for {len(values)} images; expected one an image")
            frame[column] = list(labels)
    if LEVEL_COLUMN not in frame:
        frame[LEVEL_COLUMN] = options.clean_level
    if options.human_score_col not in frame:
        frame[options.human_score_col] = np.nan
    frame[IMAGE_COLUMNS[0]] = [f"image {i:08d}" for i in range(len(frame))]
    return frame


def _images_by_units(values: Any) -> Floats:
    try:
        array = (
            np.ma.filled(np.ma.asarray(values).astype(float), np.nan)
            if np.ma.isMaskedArray(values)
            else np.asarray(values, dtype=float)
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"activations: not numbers ({error}); expected (images, units), or a table") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"activations: found shape {array.shape}; expected (images, units), pooled over positions")
    return array


def _searched_concepts(table: ExperimentTable, options: ScoringOptions) -> tuple[dict[str, Concepts], ExperimentTable]:
    """The concept with the largest effect size for each unit on one half of the images, and the other half.

    A unit that can be compared for no concept gets none, and with it no scores.
    """
    generator = np.random.default_rng(options.seed)
    searched_I = np.zeros(len(table.images), dtype=bool)
    for cell in np.unique(table.cell_I):
        members = generator.permutation(np.flatnonzero(table.cell_I == cell))
        searched_I[members[: len(members) // 2]] = True
    clean_I = searched_I & (table.level_I == options.clean_level)
    measured_UN = np.isfinite(table.activation_UI[:, clean_I])
    effect = np.full((len(table.concepts), len(table.units)), -np.inf)
    patterns, pattern_U = np.unique(measured_UN, axis=0, return_inverse=True)
    for k, measured_N in enumerate(patterns):  # units measured on the same images are compared at once
        units = np.flatnonzero(pattern_U.ravel() == k)
        images = np.flatnonzero(clean_I)[measured_N]
        for concept in range(len(table.concepts)):
            g = hedges_g(table.activation_UI[np.ix_(units, images)], *sides(table.concept_I[images] == concept))
            effect[concept, units] = np.nan_to_num(g[:, 0], nan=-np.inf)
    best = [(table.concepts[c],) if effect[c, u] > -np.inf else () for u, c in enumerate(effect.argmax(axis=0))]
    return dict(zip(table.units, best, strict=True)), table.only_images(~searched_I)


def _unlabelled(units: list[str]) -> BenchmarkResult:
    reason = "no concept labels given; pass concepts=, or a mapping from concept to activations"
    table = pd.DataFrame(
        {
            "Neuron": units,
            "Concept": None,
            **dict.fromkeys((*(metric.name for metric in metrics()), "InterpScore"), np.nan),
            "Rank": pd.NA,
            "Notes": reason,
        }
    )
    return BenchmarkResult(table, {"n": {"neurons": len(units)}}, [reason])
