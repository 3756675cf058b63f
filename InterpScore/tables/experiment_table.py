"""The experiment table: one row per rating, checked in one pass and turned into arrays.

Data/README.md describes every column. Shapes: I images, U units, R ratings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import did_you_mean
from Activation_Extraction.tables.dialects.number_words import FALSE
from Activation_Extraction.tables.dialects.options import CsvOptions
from Activation_Extraction.tables.identifiers import as_words, repaired
from InterpScore.errors import InputError, Problem
from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.resampling import RatingDesign
from InterpScore.tables.checks import ImageIndex, TableChecks
from InterpScore.tables.effects import (
    ACTIVATION,
    EFFECTS,
    IMAGE_COLUMNS,
    UNIT_KINDS,
    Effects,
    EffectsSource,
    LayerEffects,
    disagreement,
    join_effects,
    read_effects,
    unit_column,
)
from InterpScore.tables.experiment_rows import (
    CLEAN_IMAGE_COLUMN,
    CONCEPT_COLUMN,
    GROUP_COLUMN,
    LEVEL_COLUMN,
    PARTICIPANT_COLUMNS,
    SHA256_COLUMN,
    SIMULATED_COLUMN,
    SPLIT_COLUMN,
    experiment_rows,
    scored_trials,
    without_excluded,
)
from InterpScore.tables.from_stores import StoredNeurons
from InterpScore.tables.neuron_map import normalised

ACTIVATION_PREFIX = unit_column(ACTIVATION, "")
NO_LAYER = "measured effects name no layer"

_NOT_SIMULATED = ("", *FALSE, "0", "0.0", "0,0", "none", "nan")
_PUBLISHED_NAME = re.compile(r"(?P<concept>.+)_noisy_level\d+_(?P<index>\d+)\.\w+$")


@dataclass(frozen=True)
class ExperimentTable:
    """The measurements of a study, by image and by rating."""

    source: str
    images: list[str]
    concepts: list[str]
    """Every concept the table shows; of several spellings the first in the alphabet."""
    concept_I: Ints
    """Index into `concepts`."""
    level_I: Ints
    partner_I: Ints
    """Index of the clean image that a perturbed one was made from; -1 where unknown."""
    units: list[str]
    """The units that have activations."""
    activation_UI: Floats
    ablation_UI: Floats
    """Relative change of the embedding when the unit is ablated; NaN where not measured."""
    amplification_UI: Floats
    image_R: Ints
    participant_R: Ints
    score_R: Floats
    """Recognition in [0, 1]."""
    absent: dict[str, str] = field(default_factory=dict)
    """Unit that was asked for and has no activations → why."""
    layer_of: dict[str, str] = field(default_factory=dict)
    """Unit → its layer, where activations come from stores."""
    layer_units: dict[str, int] = field(default_factory=dict)
    """Layer → how many units it has, where activations come from stores."""
    layer_effects: dict[str, LayerEffects] = field(default_factory=dict)
    """Layer ("" without stores) → effects of its measured units."""
    effects_from: list[dict[str, Any]] = field(default_factory=list)
    """Where measured effects come from."""
    split_I: list[str] = field(default_factory=list)
    """What the column `split` says of each image; empty without one."""
    simulated: bool = False
    remarks: list[str] = field(default_factory=list)
    source_I: Ints | None = None
    """Which images are of one source, such as crops of one picture: equal integers; None where each is its own."""

    def unit_of(self, neuron: str) -> str:
        """A neuron's unit, without its layer."""
        return neuron.removeprefix(f"{self.layer_of.get(neuron, '')}:")

    def images_of(self, *concepts: str) -> Bools:
        """Which images show one of the concepts, however they are spelled, as booleans `(I,)`."""
        wanted = {normalised(concept) for concept in concepts}
        same = np.array([normalised(name) in wanted for name in self.concepts])
        return np.asarray(same[self.concept_I])

    def only_images(self, chosen_I: Bools) -> ExperimentTable:
        """The same study with some of its images, their ratings, and pairs among them."""
        position_I = np.where(chosen_I, np.cumsum(chosen_I) - 1, -1)
        rated = chosen_I[self.image_R]
        return replace(
            self,
            images=[name for name, kept in zip(self.images, chosen_I, strict=True) if kept],
            concept_I=self.concept_I[chosen_I],
            level_I=self.level_I[chosen_I],
            partner_I=np.where(self.partner_I >= 0, position_I[self.partner_I], -1)[chosen_I],
            split_I=[split for split, kept in zip(self.split_I, chosen_I) if kept],
            source_I=None if self.source_I is None else self.source_I[chosen_I],
            activation_UI=self.activation_UI[:, chosen_I],
            ablation_UI=self.ablation_UI[:, chosen_I],
            amplification_UI=self.amplification_UI[:, chosen_I],
            image_R=position_I[self.image_R[rated]],
            participant_R=self.participant_R[rated],
            score_R=self.score_R[rated],
            layer_effects={label: layer.only_images(position_I) for label, layer in self.layer_effects.items()},
        )

    def rating_design(self, recognised_at: float) -> RatingDesign:
        """The ratings, as resampling reads them."""
        return RatingDesign(self.image_R, self.participant_R, self.score_R, self.cell_I, recognised_at)

    @property
    def cell_I(self) -> Ints:
        """The cell of the design that each image belongs to: one number a concept and level."""
        levels, level_I = np.unique(self.level_I, return_inverse=True)
        return np.asarray(self.concept_I * len(levels) + level_I)


def load_experiment_table(
    data: str | os.PathLike[str] | pd.DataFrame,
    units: Sequence[str],
    human_score_col: str | None = "soft_correct",
    effects: EffectsSource | Sequence[EffectsSource] | None = None,
    stored: StoredNeurons | None = None,
    options: CsvOptions = CsvOptions(),  # noqa: B008 - frozen
) -> ExperimentTable:
    """Read, check and index an experiment table.

    Args:
        data: a CSV, Excel or Parquet file, or a DataFrame with the same columns.
        units: the units to read; those without an activation column are left out of the result.
        human_score_col: the column with the recognition score; None where no ratings are needed.
        effects: separate tables with one row per image and the columns `ablation_effect_<unit>` and
            `amplification_effect_<unit>`, joined by image; several are of several layers.
        stored: activations that take the place of the table's columns, joined by image.
        options: what is known of a CSV or workbook; the rest is found out.

    Raises:
        InputError: with every problem found, each with file, column, row and what was expected.
    """
    problems: list[Problem] = []
    mine = stored.units if stored else units
    read = experiment_rows(data, mine, human_score_col, stored is None, options, problems)
    frame, source, columns = read.frame, read.source, read.columns
    required = [CONCEPT_COLUMN, LEVEL_COLUMN, *([human_score_col] if human_score_col else [])]
    missing = [name for name in required if name not in frame]
    problems += [
        Problem(
            source, f"the column is missing{did_you_mean(name, columns)}", "one row per rating with this column", name
        )
        for name in missing
    ]
    if frame.empty:
        raise InputError([*problems, Problem(source, "no rows", "at least one row below the header")])
    # A stand-in that passes every check, so that the columns that are there are checked as well.
    frame, rows, remarks = scored_trials(frame.assign(**dict.fromkeys(missing, "0")), read.rows)
    frame, rows, left_out = without_excluded(frame, rows, source)
    remarks += left_out
    checks = TableChecks(frame, source, rows, problems, read.number_words)
    images = ImageIndex(checks, IMAGE_COLUMNS)
    if not any(name in frame for name in IMAGE_COLUMNS):
        near = f"no column {' or '.join(IMAGE_COLUMNS)}{did_you_mean(IMAGE_COLUMNS[0], columns)}"
        if stored is None:
            remarks.append(f"{near}; every row counts as an image of its own")
        else:
            problems.append(Problem(source, near, "the name of each row's image, to find it in the store"))

    concept_names = checks.words(CONCEPT_COLUMN, "a concept")
    concept_codes, _ = pd.factorize(concept_names.map(normalised), sort=True)
    concepts = list(concept_names.groupby(concept_codes).min())
    concept_I = images.one_value_an_image(CONCEPT_COLUMN, concept_codes, "concept")
    level_I = images.one_value_an_image(LEVEL_COLUMN, checks.whole_numbers(LEVEL_COLUMN), "level")
    scores = checks.recognition(human_score_col) if human_score_col else np.full(len(frame), np.nan)
    found = stored.units if stored else [unit for unit in units if unit_column("activation", unit) in frame]
    values = {kind: _values_of_units(kind, found, checks, images) for kind in (EFFECTS if stored else UNIT_KINDS)}
    layer_of = stored.layer_of if stored else {}
    joined = _Joined(read_effects(effects))
    joined.into(values, found, layer_of, images.names, source, problems, named=False)
    rated = ~np.isnan(scores)
    participant_R = _participants(checks, rated, remarks)
    partner_I = _clean_partners(frame, images)
    sha256_I = _hashes(checks, images)
    source_I = _sources(frame, images, remarks)
    if problems:
        raise InputError(problems)
    if notes := [*read.notes, *checks.notes, *read.number_words.said()]:
        remarks.insert(0, f"read as: {'; '.join(notes)}")
    about_stores: list[str] = []
    if stored is not None:
        values["activation"], about_stores = stored.activations(images.names, source, sha256_I)
        remarks += _not_used(columns, stored)

    table = ExperimentTable(
        source=source, images=images.names, concepts=concepts, concept_I=concept_I, level_I=level_I,
        partner_I=partner_I, units=found,
        activation_UI=values["activation"], ablation_UI=values["ablation"], amplification_UI=values["amplification"],
        image_R=images.image_of_row[rated], participant_R=participant_R, score_R=scores[rated],
        absent=stored.absent if stored else _no_column(units, found, columns),
        layer_of=layer_of, layer_units=stored.layer_units if stored else {}, simulated=_is_simulated(frame),
        split_I=_splits(frame, images), source_I=source_I,
        remarks=[*(f"{source}: {remark}" for remark in remarks), *about_stores],
    )  # fmt: skip
    return joined.told_of(table)


def clean_images_of(
    data: str | os.PathLike[str] | pd.DataFrame,
    clean_level: int,
    options: CsvOptions = CsvOptions(),  # noqa: B008 - frozen
) -> dict[str, str]:
    """The clean images of an experiment table, and the concept of each; needs no ratings.

    Raises:
        InputError: with every problem found; no image at that level.
    """
    table = load_experiment_table(data, [], None, options=options)
    clean_I = np.flatnonzero(table.level_I == clean_level)
    if not len(clean_I):
        levels = ", ".join(map(str, sorted(set(table.level_I.tolist()))))
        raise InputError(f"{table.source}: no image at the clean level {clean_level}; its levels are {levels}")
    return {table.images[i]: table.concepts[table.concept_I[i]] for i in clean_I}


def with_effects(table: ExperimentTable, effects: EffectsSource | Sequence[EffectsSource]) -> ExperimentTable:
    """A table with measured effects, which come before those that it has.

    Raises:
        InputError: with every problem found.
    """
    values = {kind: getattr(table, f"{kind}_UI").copy() for kind in EFFECTS}
    problems: list[Problem] = []
    joined = _Joined(read_effects(effects))
    joined.into(values, table.units, table.layer_of, table.images, table.source, problems, bool(table.effects_from))
    if problems:
        raise InputError(problems)
    return joined.told_of(replace(table, **{f"{kind}_UI": values[kind] for kind in EFFECTS}))


class _Joined:
    """Effects on their way into a table."""

    def __init__(self, effects: Sequence[Effects]) -> None:
        self.effects = effects
        self.layers: dict[str, LayerEffects] = {}
        self.named: dict[str, Bools] = {}

    def into(
        self,
        values: dict[str, Floats],
        units: list[str],
        layer_of: dict[str, str],
        images: list[str],
        source: str,
        problems: list[Problem],
        named: bool,
    ) -> None:
        """Write them into `values`, whose effects so far are of a known layer or, unless `named`, of none."""
        self.named = {kind: np.full(values[kind].shape, named) for kind in EFFECTS}
        for one in self.effects:
            found = join_effects(one, units, layer_of, images, source, values, self.named, problems)
            if found is None:
                continue
            label, layer = found
            if label in self.layers:
                problems.append(Problem(one.source, "effects of a layer that others are of, too", "one table a layer"))
            self.layers[label] = layer

    def told_of(self, table: ExperimentTable) -> ExperimentTable:
        """The table, with where its effects come from and what is odd about them."""
        remarks = [remark for remark in table.remarks if NO_LAYER not in remark]
        remarks += [remark for one in self.effects for remark in one.remarks]
        nameless = any((np.isfinite(getattr(table, f"{kind}_UI")) & ~self.named[kind]).any() for kind in EFFECTS)
        if nameless and table.layer_of and all(table.unit_of(neuron) == neuron for neuron in table.units):
            remarks.append(f"{table.source}: {NO_LAYER}; they are taken as those of {table.layer_of[table.units[0]]}")
        for label, layer in self.layers.items():
            names = [table.unit_of(n) if table.layer_of.get(n, "") == label else None for n in table.units]
            if odd := disagreement(layer, table.activation_UI, names):
                remarks.append(f"{table.source}: {odd}")
        return replace(
            table,
            layer_effects={**table.layer_effects, **self.layers},
            effects_from=[*table.effects_from, *(one.signature() for one in self.effects)],
            remarks=remarks,
        )


def one_unit_table(
    df: pd.DataFrame,
    activation_col: str,
    human_score_col: str,
    unit: str = "0",
    effects: EffectsSource | Sequence[EffectsSource] | None = None,
) -> ExperimentTable:
    """The table of a single unit whose activations are in a column of any name.

    Raises:
        InputError: no such column, or a table that cannot be read.
    """
    if activation_col not in df:
        near = did_you_mean(activation_col, list(df.columns))
        raise InputError(f"the table: no column '{activation_col}'{near}; expected the activations of a neuron")
    name = unit_column("activation", unit)
    others = df.drop(columns=name) if name in df and name != activation_col else df
    return load_experiment_table(others.rename(columns={activation_col: name}), [unit], human_score_col, effects)


def _no_column(units: Sequence[str], found: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Why a unit has no activations, with the nearest column."""
    candidates = [name for name in columns if name.startswith(ACTIVATION_PREFIX)]
    there = set(found)
    wanted = {unit: unit_column("activation", unit) for unit in units if unit not in there}
    return {unit: f"no column {column}{did_you_mean(column, candidates)}" for unit, column in wanted.items()}


def _not_used(columns: Sequence[str], stored: StoredNeurons) -> list[str]:
    """What a table says of units that the stores say otherwise, or say of no layer."""
    remarks = []
    if any(name.startswith(ACTIVATION_PREFIX) for name in columns):
        remarks.append(f"its activation columns are not used: activations come from {stored.source}, as asked")
    there = set(columns)
    for neuron in stored.units:
        plain, full = unit_column("ablation", stored.unit_of(neuron)), unit_column("ablation", neuron)
        if plain in there and full not in there:
            remarks.append(f"{plain} names no layer and is not used; among several layers expected {full}")
            break
    return remarks


def _values_of_units(kind: str, units: Sequence[str], checks: TableChecks, images: ImageIndex) -> Floats:
    """The columns of one kind, `(U, I)`; NaN where there is none."""
    values = np.full((len(units), len(images.names)), np.nan)
    for u, unit in enumerate(units):
        column = unit_column(kind, unit)
        if column in checks.frame:
            numbers = checks.numbers(column) if kind == "activation" else checks.effects(column)
            values[u] = images.one_value_an_image(column, numbers, kind)
    return values


def _participants(checks: TableChecks, rated: Bools, remarks: list[str]) -> Ints:
    """Who gave each rating, as integers."""
    column = next((name for name in PARTICIPANT_COLUMNS if name in checks.frame), None)
    if column is None:
        if rated.any():
            remarks.append(f"no column {' or '.join(PARTICIPANT_COLUMNS)}; every rating counts as another participant")
        return np.arange(int(rated.sum()))
    names = checks.names(column, "the participant", blank=True)[rated].reset_index(drop=True)
    nameless = (names == "").to_numpy()
    people = np.asarray(pd.factorize(names, sort=True)[0])
    if nameless.any():
        remarks.append(f"{column} is blank for {nameless.sum()} ratings; each counts as another participant")
        people = np.where(nameless, len(people) + np.cumsum(nameless), people)
        people = np.unique(people, return_inverse=True)[1]
    return people


def _splits(frame: pd.DataFrame, images: ImageIndex) -> list[str]:
    if SPLIT_COLUMN not in frame:
        return []
    return list(as_words(frame[SPLIT_COLUMN]).iloc[images.first_row])


def _hashes(checks: TableChecks, images: ImageIndex) -> list[str] | None:
    """The SHA-256 of each image's file, if the table has them; "" where it is not known."""
    if SHA256_COLUMN not in checks.frame:
        return None
    hashes = as_words(checks.frame[SHA256_COLUMN]).str.lower().to_numpy()
    return [str(each) for each in images.one_value_an_image(SHA256_COLUMN, hashes, "file")]


def _is_simulated(frame: pd.DataFrame) -> bool:
    if SIMULATED_COLUMN not in frame:
        return False
    return bool((~as_words(frame[SIMULATED_COLUMN]).str.casefold().isin(_NOT_SIMULATED)).any())


def _sources(frame: pd.DataFrame, images: ImageIndex, remarks: list[str]) -> Ints | None:
    """Which images are of one source: by group, else by the clean image that they were made from."""
    column = next((name for name in (GROUP_COLUMN, CLEAN_IMAGE_COLUMN) if name in frame), None)
    if column is None:
        return None
    names = repaired(as_words(frame[column])).words.to_numpy()
    of_image = names[images.first_row]
    if column == GROUP_COLUMN and (names != of_image[images.image_of_row]).any():
        remarks.append(f"{GROUP_COLUMN} differs among the rows of an image, so it is not taken for the image's source")
        return None
    own = [name or image for name, image in zip(of_image, images.names, strict=True)]
    source_I = np.unique(own, return_inverse=True)[1].astype(np.int64)
    return source_I if len(set(own)) < len(own) else None


def _clean_partners(frame: pd.DataFrame, images: ImageIndex) -> Ints:
    """For each image the clean image it was made from: by column, else by the published file names."""
    position = {name: i for i, name in enumerate(images.names)}
    if CLEAN_IMAGE_COLUMN in frame:
        bases = repaired(as_words(frame[CLEAN_IMAGE_COLUMN])).words.iloc[images.first_row]
        return np.array([position.get(base, -1) for base in bases], dtype=np.int64)
    by_file = {Path(name).name: i for name, i in position.items()}
    partners = np.full(len(images.names), -1, dtype=np.int64)
    for name, i in position.items():
        if match := _PUBLISHED_NAME.match(Path(name).name):
            clean = f"{match['concept']}_clean_{match['index']}{Path(name).suffix}"
            partners[i] = by_file.get(clean, -1)
    return partners
