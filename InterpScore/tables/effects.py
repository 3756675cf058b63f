"""Measured effects of interventions, one row per image: read from a file or a network, and joined to a table's images.

Data/README.md describes the columns. Shapes: U neurons of a run, V units of a layer, I images of a table, M of them
measured.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.base.validation import validated
from Activation_Extraction.tables.column_names import ColumnNames
from Activation_Extraction.tables.dialects.number_words import NumberWords, is_numeric
from Activation_Extraction.tables.dialects.options import CsvOptions, TableOptions
from Activation_Extraction.tables.files import read_table
from Activation_Extraction.tables.identifiers import unit_number
from InterpScore.errors import InputError, Problem, shown
from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.tables.checks import TableChecks
from InterpScore.tables.image_names import rows_of_images

FORMAT = "InterpScore effects 1"
"""The format named in the JSON of an effects file."""

ABLATION, AMPLIFICATION = "ablation", "amplification"
EFFECTS = (ABLATION, AMPLIFICATION)
"""The interventions that enter C: the unit times 0 and times 2."""
MEAN_ABLATION, RESAMPLE_ABLATION = "mean_ablation", "resample_ablation"
"""The unit set to its mean over all images and positions; to its map on another image."""
TOWARD, ACTIVATION = "toward", "activation"
"""Cosine of embedding and text minus the same with the unit ablated; the unit's mean activation."""

ALL = "all"
"""`units` of a measurement of the complete layer."""

UNIT_KINDS = (ACTIVATION, *EFFECTS)
"""The kinds of column of a unit in an experiment table."""
IMAGE_COLUMNS = ("image_filename", "image", "image_basename")

_COLUMN = re.compile(
    r"(?:(ablation|amplification|toward|mean_ablation|resample_ablation|scale_[-+.\de]+)_effect|(activation))_(.+)",
    re.DOTALL,
)


def unit_column(kind: str, unit: object) -> str:
    """The name of a unit's column.

    >>> unit_column("activation", 89), unit_column("ablation", "layer4.5:89")
    ('activation_89', 'ablation_effect_layer4.5:89')
    """
    return f"{kind}_{unit}" if kind == ACTIVATION else f"{kind}_effect_{unit}"


def scaling(strength: float) -> str:
    """The name of scaling by λ.

    >>> scaling(0), scaling(2), scaling(0.5)
    ('ablation', 'amplification', 'scale_0.5')
    """
    return {0.0: ABLATION, 2.0: AMPLIFICATION}.get(float(strength), f"scale_{strength:g}")


def strength_of(kind: str) -> float | None:
    """λ of an intervention that scales, else None."""
    named = {ABLATION: 0.0, AMPLIFICATION: 2.0}
    return float(kind.removeprefix("scale_")) if kind.startswith("scale_") else named.get(kind)


@dataclass(frozen=True)
class Effects:
    """Effects of interventions on the units of a layer, before they are joined to a table.

    Attributes:
        frame: one row per image.
        source: its name in messages.
        about: provenance: model, weights and their hash, layer and its other names, method; empty for foreign tables.
        rows: the number of each row in its file; is_local, options: as of `RawTable`.
    """

    frame: pd.DataFrame
    source: str
    about: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    rows: Ints | None = None
    is_local: bool = False
    options: CsvOptions = CsvOptions()  # noqa: RUF009 - frozen

    @property
    def layer_names(self) -> tuple[str, ...]:
        """All names of the layer; none if unknown."""
        return (str(self.about["layer"]), *map(str, self.about.get("layer_aliases", ()))) if self.about else ()

    def signature(self) -> dict[str, Any]:
        return {**self.about, "source": self.source}


EffectsSource: TypeAlias = "str | os.PathLike[str] | pd.DataFrame | Effects"


@dataclass(frozen=True)
class LayerEffects:
    """Effects of every measured unit of a layer on the images of a table.

    Attributes:
        units: their names; whole: whether they are the complete layer.
        image_M: positions of the measured images in the table.
        values_VM: kind (interventions, "toward", "activation") → values; NaN where not measured.
    """

    units: list[str]
    whole: bool
    image_M: Ints
    values_VM: dict[str, Floats]

    @cached_property
    def raw_VM(self) -> Floats:
        """Mean of the ablation's and the amplification's effect; NaN where either is missing."""
        return np.asarray((self.values_VM[ABLATION] + self.values_VM[AMPLIFICATION]) / 2)

    def only_images(self, position_I: Ints) -> LayerEffects:
        """Keep some images of the table, given the new position of each; -1 drops it."""
        kept_M = position_I[self.image_M] >= 0
        values_VM = {kind: value_VM[:, kept_M] for kind, value_VM in self.values_VM.items()}
        return replace(self, image_M=position_I[self.image_M[kept_M]], values_VM=values_VM)


def read_effects(
    effects: EffectsSource | Sequence[EffectsSource] | None,
    told: TableOptions = TableOptions(),  # noqa: B008 - frozen
) -> list[Effects]:
    """Tables of effects, with their provenance from the accompanying JSON.

    Args:
        told: what is known of CSVs and workbooks; the rest is found out.

    Raises:
        InputError: no such file, not a table, or a JSON that was written with another file or in another format.
    """
    if effects is None:
        return []
    if isinstance(effects, str | os.PathLike | pd.DataFrame | Effects):
        effects = [effects]
    return [_read(one, told) for one in effects]


def _read(effects: EffectsSource, told: TableOptions) -> Effects:
    if isinstance(effects, Effects):
        return effects
    names = ColumnNames(IMAGE_COLUMNS, units=True)
    problems: list[Problem] = []
    notes: list[str] = []
    if isinstance(effects, pd.DataFrame):
        frame = own_copy(effects, "the effects")
        frame = names.renamed(frame[[name for name in frame if str(name) in names]], "the effects", problems, notes)
        read = Effects(frame, "the effects")
    else:
        options = told.of(effects)
        raw = read_table(
            effects, names.__contains__, lambda name: names.meant(name) not in (*IMAGE_COLUMNS, None), options
        )
        source = str(effects)
        notes += raw.read_as
        frame = names.renamed(raw.frame, source, problems, notes)
        read = Effects(
            frame, source, provenance_of_effects(Path(effects)), rows=raw.rows, is_local=raw.is_local, options=options
        )
    if problems:
        raise InputError(problems)
    return replace(read, remarks=(f"{read.source}: read as: {'; '.join(notes)}",)) if notes else read


def own_copy(data: pd.DataFrame, source: str) -> pd.DataFrame:
    """A caller's table with rows counted from 0.

    Raises:
        InputError: a column that appears more than once.
    """
    if not data.columns.is_unique:
        twins = sorted({str(name) for name in data.columns[data.columns.duplicated()]})
        raise InputError(f"{source}: columns {', '.join(twins)} appear more than once; expected each column once")
    named = [name for name in data.index.names if name is not None and name not in data.columns]
    return data.reset_index(level=named).reset_index(drop=True) if named else data.reset_index(drop=True)


@dataclass(frozen=True)
class _Origin:
    """What the JSON of an effects file says that scoring reads."""

    layer: str
    model: str
    method: str
    units: str | list[int]
    layer_aliases: list[str]


def provenance_of_effects(path: Path) -> dict[str, Any]:
    """Provenance from the JSON of an effects file; empty if there is none in our format."""
    document_path = path.with_suffix(".json")
    try:
        document = read_json(document_path, document_path.parent) or {}
    except InputError:
        # What it says is not to be lost without a word; beside a CSV, it is another program's.
        if document_path.is_symlink() or path.suffix.lower() != ".csv":
            raise
        return {}
    if not isinstance(document.get("layer"), str):
        return {}
    if document.get("format") != FORMAT:
        if "interventions" in document:  # ours, of another version: without a format that is known, nothing is checked
            raise InputError(f"{document_path}: format {shown(document.get('format'))}; expected {FORMAT!r}: measure the effects again")  # fmt: skip
        return {}
    if document.get("sha256") != sha256_of(path):
        raise InputError(
            f"{document_path}: was written with another {path.name}; expected the two files as written together"
        )
    validated(_Origin, document, str(document_path))
    return {key: value for key, value in document.items() if key not in ("format", "sha256", "images")}


def join_effects(
    effects: Effects,
    units: Sequence[str],
    layer_of: Mapping[str, str],
    images: Sequence[str],
    table: str,
    values: Mapping[str, Floats],
    of_layer: Mapping[str, Bools],
    problems: list[Problem],
) -> tuple[str, LayerEffects] | None:
    """Write effects into `values`, or add what is wrong with them to `problems`.

    Args:
        units: the neurons of the run that have activations.
        layer_of: neuron → its layer, where activations come from stores.
        images: names of the images of the table, which messages call `table`.
        values: kind → array `(U, I)` to fill.
        of_layer: kind → which of them are of a known layer, `(U, I)`, to fill as well.

    Returns:
        The layer's name in `layer_of` ("" without stores) and its effects; None if unknown or wrong.
    """
    frame, source = effects.frame, effects.source
    key = next((name for name in IMAGE_COLUMNS if name in frame), None)
    columns = _columns(frame)
    label, named = _layer(effects, layer_of)
    if label is None and effects.layer_names:
        labels = ", ".join(dict.fromkeys(layer_of.values()))
        problems.append(Problem(source, f"effects of layer {effects.layer_names[0]}", f"those of {labels}"))
        return None
    number_of = ["" if (name := named(unit)) is None else unit_number(name) for unit in units]
    of_neuron = {(kind, u): columns[kind, n] for u, n in enumerate(number_of) for kind in EFFECTS if (kind, n) in columns}  # fmt: skip
    if frame.empty:
        problems.append(Problem(source, "no rows", "one row an image"))
        return None
    if key is None or not of_neuron:
        found = "no column with the image" if key is None else "no effect column of any neuron of the map"
        columns_expected = "image_filename and ablation_effect_<neuron>, amplification_effect_<neuron>"
        problems.append(Problem(source, found, columns_expected))
        return None
    rows = np.arange(len(frame)) + 2 if effects.rows is None else effects.rows
    number_words = NumberWords(lambda: (frame[name] for name in columns.values()), effects.is_local, effects.options)
    checks = TableChecks(frame, source, rows, problems, number_words)
    keys = checks.names(key, "the name of an image")
    checks.report(key, keys.duplicated().to_numpy() & ~checks.bad(key), "each image once")
    numbers = {at: checks.effects(column) for at, column in of_neuron.items()}
    if problems:
        return None
    row_I = rows_of_images(images, keys.tolist(), table, source)
    for (kind, u), number_N in numbers.items():
        values[kind][u] = np.where(row_I >= 0, number_N[row_I], values[kind][u])
        of_layer[kind][u] = np.where(row_I >= 0, bool(effects.layer_names), of_layer[kind][u])
    return None if label is None else (label, _whole_layer(effects, columns, row_I, number_words))


def _columns(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Kind and unit, as a number → column."""
    matches = {str(name): _COLUMN.fullmatch(str(name)) for name in frame}
    return {(match[1] or match[2], unit_number(match[3])): name for name, match in matches.items() if match}


def _layer(effects: Effects, layer_of: Mapping[str, str]) -> tuple[str | None, Any]:
    """The effects' layer in the run (None if unknown or absent), and the function from neuron to name in their columns."""
    labels = list(dict.fromkeys(layer_of.values()))
    if not labels:
        return "", lambda neuron: neuron
    if effects.layer_names:
        mine = [label for label in labels if {label, label.rpartition(":")[2]} & set(effects.layer_names)]
        if not mine:
            return None, lambda neuron: None
        return mine[0], lambda n: n.removeprefix(f"{mine[0]}:") if layer_of.get(n) == mine[0] else None
    return (labels[0] if len(labels) == 1 else None), lambda neuron: neuron


def _whole_layer(
    effects: Effects, columns: Mapping[tuple[str, str], str], row_I: Ints, number_words: NumberWords
) -> LayerEffects:
    units = [unit for kind, unit in columns if kind == ABLATION and (AMPLIFICATION, unit) in columns]
    image_M = np.flatnonzero(row_I >= 0)
    values_VM = {}
    for kind in dict.fromkeys(kind for kind, _ in columns):
        there = [columns[kind, unit] for unit in units if (kind, unit) in columns]
        if len(there) == len(units):
            values_VM[kind] = _numbers(effects.frame[there], number_words)[:, row_I[image_M]]
    return LayerEffects(units, effects.about.get("units") == ALL, image_M, values_VM)


def _numbers(frame: pd.DataFrame, number_words: NumberWords) -> Floats:
    """All columns as numbers, `(columns, rows)`."""
    if all(dtype == np.float64 or dtype == np.float32 for dtype in frame.dtypes):  # by far the fastest for many units
        return np.asarray(frame.to_numpy(np.float64).T)
    columns = [frame[name] for name in frame]
    numbers = [n.to_numpy(float) if is_numeric(n) else number_words.read(str(n.name), n)[0] for n in columns]
    return np.stack(numbers)


def disagreement(
    layer: LayerEffects, activation_UI: Floats, names: Sequence[str | None], least: float = 0.9
) -> str | None:
    """A remark if the table's activations do not correlate with those measured while intervening.

    `names` are the table's units as `layer` names them, None for those of another layer.
    """
    if (measured_VM := layer.values_VM.get(ACTIVATION)) is None:
        return None
    position = {unit: v for v, unit in enumerate(layer.units)}
    found = []
    for u, name in enumerate(names):
        if name is not None and (number := unit_number(name)) in position:
            pair = np.stack([activation_UI[u, layer.image_M], measured_VM[position[number]]])
            pair = pair[:, np.isfinite(pair).all(axis=0)]
            if pair.shape[1] > 2 and (np.ptp(pair, axis=1) > 0).all():
                found.append(float(np.corrcoef(pair)[0, 1]))
    if not found or np.median(found) >= least:
        return None
    return (
        f"the table's activations do not match those that effects were measured with (median correlation "
        f"{np.median(found):.2f} over {len(found)} neurons); are they of the same layer, weights and preprocessing?"
    )
