"""The benchmark: every neuron of a map scored, with intervals, tests, ranks and provenance.

Shapes: U neurons of the run, I images, B draws.
"""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.extras import naming_extras
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.base.names import without_folders
from Activation_Extraction.base.progress import StageProgress
from Activation_Extraction.images.places import HUGGING_FACE
from Activation_Extraction.models.own_file import FILE_SHA256, names_a_file
from Activation_Extraction.tables.dialects.options import CsvOptions, Given, table_options
from InterpScore.baselines.beside import Baseline
from InterpScore.errors import InputError, TableWarning, shown
from InterpScore.metric import components
from InterpScore.options import ScoringOptions, scoring_options
from InterpScore.scoring.results import BenchmarkResult
from InterpScore.scoring.scoring_run import ScoringRun
from InterpScore.tables.effects import EffectsSource, read_effects
from InterpScore.tables.experiment_table import ExperimentTable, load_experiment_table, with_effects
from InterpScore.tables.from_stores import StoredNeurons, neurons_in_stores
from InterpScore.tables.neuron_map import Concepts, neuron_map_and_notes

if TYPE_CHECKING:
    from Activation_Extraction.models.registry import Model
    from Activation_Extraction.store.reader import ActivationStore

HASHES = (FILE_SHA256, "state_sha256")
"""What provenance says of a network's file and files that it imports, and of its weights."""


@naming_extras()
def run_interpretability_benchmark(
    data: str | os.PathLike[str] | pd.DataFrame,
    neuron_map: str | os.PathLike[str] | Mapping[Any, str | Sequence[str]],
    *,
    stores: str | os.PathLike[str] | ActivationStore | Sequence[str | os.PathLike[str] | ActivationStore] = (),
    layers: str | Sequence[str] = (),
    causality: EffectsSource | Sequence[EffectsSource] | None = None,
    images: Any = None,
    model: Model | str | None = None,
    model_weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    baseline: str | os.PathLike[str] | None = None,
    preset: str = "default",
    csv: Given | Sequence[Given] = None,
    progress: StageProgress | None = None,
    **options: Any,
) -> BenchmarkResult:
    """Score every neuron of a map on an experiment table.

    Args:
        data: experiment table, a CSV, Excel or Parquet file or a DataFrame (Data/README.md).
        neuron_map: neuron → concept or list of concepts, a JSON file or a mapping such as `{89: "cat"}`. Of stores, `89`
            is this unit of every layer, `"layer4.5:89"` of one.
        stores: activation stores, as `interpscore extract` writes them, in place of activation columns; joined by the
            names of images.
        layers: of the stores, those to score, by any of their names; none means all. Without stores, the one layer that
            `model` is to be changed at; none means what feeds a CLIP's attention pool.
        causality: measured effects, one row an image (Data/README.md), as `interpscore causality` writes them; several
            are of several layers.
        images: the folder that holds the table's images, or anything else that `image_set` takes: C is measured on
            them, by ablating and amplifying every neuron in `model`.
        model: a network or its name, as `load_model` takes it; None is the one that the stores are of, which is never a
            Python file: those are run only if they are named here.
        model_weights, device: of a model by name, as `load_model` takes them.
        baseline: a folder that `interpscore baseline` wrote: the same scores of untrained networks, beside each (METRICS 13).
        preset: `default`, or `published` for the conventions of the 2025 study.
        csv: how to read `data` where that cannot be found out: `"sep=; decimal=, encoding=latin-1"`, with any of the keys
            `sep`, `decimal`, `thousands`, `encoding`, `quote`, `comment` and, of a workbook, `sheet`; or a mapping of them.
            With `file="effects.csv"` they are of another table; several are a list.
        progress: progress callback (stage, completed, total).
        **options: the fields of `InterpScore.options.ScoringOptions`; they override the preset.

    Returns:
        One row a neuron, best first, with its signature; several concepts of a neuron count as one (`per_concept=True`
        adds a row for each). A neuron that cannot be scored keeps its
        row: NaN, with the reason in `Notes`. From stores there is a column `Layer`; tests are adjusted, and ranks
        given, over all layers together.

    Raises:
        InputError: with every problem of the input; also when no neuron at all can be scored.

    Source: METRICS.md.
    """
    chosen = scoring_options(preset, **options)
    told = table_options(csv)
    sources = [images] if isinstance(images, str | os.PathLike) or not isinstance(images, Sequence) else images
    told.refuse_unused([data], [*_several(causality), *sources])
    how = told.of(data) if isinstance(data, str | os.PathLike) else CsvOptions()
    (concepts_of, notes_on_map), stored = neuron_map_and_notes(neuron_map), None
    stores = list(stores) if isinstance(stores, Sequence) and not isinstance(stores, str) else [stores]
    layers = [layers] if isinstance(layers, str) else list(layers)
    if stores:
        stored = neurons_in_stores(stores, layers, concepts_of)
        concepts_of = stored.concepts_of
    elif layers and (images is None or len(layers) > 1):
        raise InputError(f"--layer: found {shown(layers[-1])} without a store; expected --store as well")
    if images is not None and causality is not None:
        raise InputError(
            "--causality: found with --images; expected effects measured before, or images to measure them on"
        )
    of_network = {"--model": model, "--model-weights": model_weights, "--device": None if device == "cpu" else device}
    if images is None and (given := {name: value for name, value in of_network.items() if value is not None}):
        name, value = next(iter(given.items()))
        raise InputError(f"{name}: found {shown(value)} without images; expected --images as well")
    effects = read_effects(causality, told.of_others())
    table = load_experiment_table(data, list(concepts_of), chosen.human_score_col, effects, stored, how)
    _refuse_other_network(stored, table.effects_from)
    if images is not None:
        from Activation_Extraction.models.registry import load_model  # late: it loads torch
        from InterpScore.interventions.of_tables import measured_for_table

        network = _model_of(stored) if model is None else model
        if isinstance(network, str):
            network = load_model(network, weights=model_weights, device=device)
        _refuse_other_network(stored, [network.identity])
        layer = layers[0] if layers and not stored else None
        measured = measured_for_table(table, chosen.clean_level, images, network, layer, progress, told.of_others())
        table = with_effects(table, measured)
    untrained = None if baseline is None else Baseline.read(baseline, stored, table)
    result = score_table(table, concepts_of, chosen, progress, untrained)
    result.warnings[:0] = notes_on_map
    inputs = {"data": data, "neuron_map": neuron_map}
    inputs |= {f"causality{f' {i}' if i else ''}": one for i, one in enumerate(_several(causality))}
    files = {name: str(value) for name, value in inputs.items() if isinstance(value, str | os.PathLike)}
    result.signature["inputs"] = {
        name: {"name": Path(path).name, "sha256": sha256_of(path)} for name, path in files.items()
    }
    for name, path in files.items():
        if pairs := (told if name == "data" else told.of_others()).of(path).as_dict():
            result.signature["inputs"][name]["csv"] = pairs
    if stored is not None:
        result.signature["stores"] = stored.signature()
    if table.effects_from:
        result.signature["causality"] = table.effects_from
    result = _without_folders(result, (*files.values(), *stores, *sources, baseline))
    for message in result.warnings:
        warnings.warn(message, TableWarning, stacklevel=2)
    return result


def _without_folders(result: BenchmarkResult, inputs: Sequence[Any]) -> BenchmarkResult:
    """The result with names of files in the place of paths: it is made to be shared. Names of datasets stay."""
    texts = [str(each) for each in inputs if isinstance(each, str | os.PathLike)]
    paths = [text for text in texts if not text.startswith(HUGGING_FACE)]
    table = result.table.assign(Notes=without_folders(result.table["Notes"].tolist(), paths))
    signature, said = without_folders(result.signature, paths), without_folders(result.warnings, paths)
    return replace(result, table=table, signature=signature, warnings=said)


def _several(causality: EffectsSource | Sequence[EffectsSource] | None) -> Sequence[EffectsSource | None]:
    return causality if isinstance(causality, list | tuple) else [causality]


def score_table(
    table: ExperimentTable,
    concepts_of: Mapping[str, Concepts],
    options: ScoringOptions,
    progress: StageProgress | None = None,
    baseline: Baseline | None = None,
) -> BenchmarkResult:
    """Score every neuron of a map on a table that is already checked, beside untrained networks where they are given.

    Raises:
        InputError: no neuron at all can be scored.
    """
    progress = progress or (lambda *_: None)
    run = ScoringRun(table, concepts_of, options, progress)
    signature = _signature(table, len(concepts_of), options)
    if baseline is None:
        frame = run.frame()
    else:
        beside, signature["baseline"] = baseline.beside(run, progress)
        frame = run.frame(beside.columns, beside.reasons)
    return BenchmarkResult(frame, signature, run.remarks, run.layers(), run.draws)


def _model_of(stored: StoredNeurons | None) -> str:
    """The network that stores are of."""
    names = {str(layer.store.identity.get("model")) for layer in stored.layers} if stored else set()
    if len(names) != 1:
        found = f"stores of {' and '.join(sorted(names))}" if names else "no name"
        raise InputError(f"--model: {found}; expected the network to intervene on, such as clip-rn50x4")
    name = names.pop()
    if names_a_file(name):
        raise InputError(
            f"--model: not given, and the store is of the model {shown(name)}; expected --model with this file's path, "
            "as a file that a store names is never run"
        )
    return name


def _refuse_other_network(stored: StoredNeurons | None, others: Sequence[Mapping[str, Any]]) -> None:
    """Refuse effects that were measured in another network than the activations of a store, as far as hashes tell."""
    for store in {id(layer.store): layer.store for layer in stored.layers}.values() if stored else ():
        ours = store.identity.get("provenance") or {}
        for other in others:
            theirs = other.get("provenance") or {}
            for name in sorted(name for name in ours.keys() & theirs.keys() if name.startswith(HASHES)):
                if ours[name] != theirs[name]:
                    raise InputError(
                        f"{store.path}: activations of {store.identity.get('model')} with {name} {ours[name]}; effects "
                        f"were measured in {other.get('model')} with {theirs[name]}; expected the same network"
                    )


def _signature(table: ExperimentTable, n_neurons: int, options: ScoringOptions) -> dict[str, Any]:
    packages = {"interpscore": _version("interpscore"), "python": platform.python_version()}
    packages |= {name: _version(name) for name in ("numpy", "scipy", "pandas", "pyarrow")}
    return {
        "formula": f"I = sum(w_k X_k) / sum(w_k), k in {', '.join(metric.name for metric in components())}",
        "versions": packages,
        "options": options.as_dict(),
        "inputs": {},
        "n": {
            "neurons": n_neurons,
            "images": len(table.images),
            "ratings": len(table.score_R),
            "participants": len(np.unique(table.participant_R)),
            "concepts": len(table.concepts),
        },
        "resampled": _resampled(table),
        "participants_simulated": table.simulated,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _resampled(table: ExperimentTable) -> str:
    """The hash of what draws reweight: with the same seed and options, draw k of two runs is of the same resampled study."""
    of_images = [table.images, [table.concepts[concept] for concept in table.concept_I], table.level_I.tolist()]
    of_ratings = [table.image_R.tolist(), table.participant_R.tolist(), table.score_R.tolist()]
    return sha256(json.dumps([*of_images, *of_ratings]).encode()).hexdigest()


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
