"""Profiles of the units of a layer, by the embeddings of another network: the public function. METRICS.md, section 9."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from Activation_Extraction.base.progress import StageProgress
from Activation_Extraction.base.run_folder import versions_of
from InterpScore.baselines.stores import untrained_stores
from InterpScore.errors import InputError, shown
from InterpScore.profiles.formulas import TOP, TOP_QUANTILE
from InterpScore.profiles.layer import LayerProfile, layer_profile
from InterpScore.profiles.results import UnitProfiles, profile_table
from InterpScore.profiles.sources import ArrayLayer, LayerOfStore, layer_of_store, matched_rows

if TYPE_CHECKING:
    from Activation_Extraction.store.reader import ActivationStore

    Source = str | os.PathLike[str] | ActivationStore | Any

NO_BASELINE = "no untrained copy was given (--baseline), so the untrained columns are empty"
SAME_NETWORK = (
    "the embeddings are of the network that is scored (--same-network): it is asked about itself, so similar images are "
    "those that it takes for similar, and MS, MS_top, clarity and redundancy do not say what another network or a person would"
)


def profile_units(
    activations: Source,
    embeddings: Source,
    *,
    layer: str | None = None,
    embedding_layer: str | None = None,
    baseline: str | os.PathLike[str] | Sequence[Source] | None = None,
    same_network: bool = False,
    progress: StageProgress | None = None,
) -> UnitProfiles:
    """What every unit of a layer does, without labels: monosemanticity, clarity, redundancy, overlap, sparsity, entropy, kurtosis.

    Args:
        activations: a store of `interpscore extract`, by its path or opened; or an array, images × units, which may be a
            labelled one of `extract_layer_activations`.
        embeddings: the same images by another network: a store, matched by hash; or an array, images × dimensions, of the
            same images in the same order. Embeddings are scaled to length 1.
        layer, embedding_layer: of the stores, by any of their names; None for the only one.
        baseline: the layer in untrained copies of the network, on the same images: the folder that `interpscore baseline`
            wrote; of arrays, a list of arrays.
        same_network: allow embeddings of the network that is scored, which then grades itself.
        progress: called with (stage, completed, total).

    Returns:
        A row a unit. Scores are NaN, with the reason in `Notes`, for constant units and where no two images activate one.

    Raises:
        InputError: stores of different images, or of one network; arrays of other shapes; fewer than two images.

    Source: METRICS.md, section 9.
    """
    if not (_is_store(activations) and _is_store(embeddings)):
        return _of_arrays(activations, embeddings, baseline or (), progress)
    scored = layer_of_store(activations, layer, "--layer")
    other = layer_of_store(embeddings, embedding_layer, "--embedding-layer")
    alike = scored.same_network(other)
    if alike and not same_network:
        raise InputError(
            f"{other.store.path}: of {other.network}, the network that is scored; expected embeddings by another one, such "
            "as efficientnet-lite0 (or --same-network, where the network shall grade itself)"
        )
    copies = _untrained(baseline, scored)
    row_N = matched_rows(scored, other)
    profile, *untrained = (layer_profile(each, other, row_N, progress) for each in (scored, *copies))
    about = {
        "activations": scored.about,
        "embedding": {**other.about, "same_network": alike},
        "untrained": [copy.about for copy in copies],
    }
    return _result(profile, untrained, about, [SAME_NETWORK] if alike else [])


def _untrained(baseline: str | os.PathLike[str] | Sequence[Source] | None, scored: LayerOfStore) -> list[LayerOfStore]:
    """The layer in untrained copies, of the same images in the same rows."""
    if baseline is None:
        return []
    if not isinstance(baseline, str | os.PathLike):
        raise InputError("baseline: found a list; expected the folder that `interpscore baseline` wrote")
    stores = untrained_stores(baseline, scored.store, [scored.layer])
    return [LayerOfStore(store, scored.layer) for store in stores]


def _is_store(source: Source) -> bool:
    return isinstance(source, str | os.PathLike) or hasattr(source, "is_complete")


def _of_arrays(
    activations: Source,
    embeddings: Source,
    baseline: str | os.PathLike[str] | Sequence[Source],
    progress: StageProgress | None,
) -> UnitProfiles:
    if isinstance(baseline, str | os.PathLike):
        raise InputError(f"baseline: found {shown(baseline)}; expected a list of arrays, as activations is an array")
    sources = {"activations": activations, "embeddings": embeddings}
    sources |= {f"baseline[{i}]": copy for i, copy in enumerate(baseline)}
    layers = [_array(source, name) for name, source in sources.items()]
    for layer, (name, source) in zip(layers, sources.items(), strict=True):
        if layer.shape[0] != layers[0].shape[0]:
            raise InputError(f"{name}: {layer.shape[0]:,} images; expected {layers[0].shape[0]:,}, as in activations")
        mine, theirs = getattr(activations, "coords", {}), getattr(source, "coords", {})
        if "image" in mine and "image" in theirs and list(mine["image"].values) != list(theirs["image"].values):
            raise InputError(f"{name}: other images than in activations, or in another order; expected the same")
    scored, other, *copies = layers
    profile, *untrained = (layer_profile(each, other, None, progress) for each in (scored, *copies))
    said = [{"array": list(layer.shape)} for layer in layers]
    return _result(profile, untrained, {"activations": said[0], "embedding": said[1], "untrained": said[2:]}, [])


def _array(source: Source, name: str) -> ArrayLayer:
    values = getattr(source, "values", source)
    if _is_store(source) or not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiu":
        found = f"an array of shape {values.shape}" if isinstance(values, np.ndarray) else type(source).__name__
        raise InputError(f"{name}: found {found}; expected stores alone, or arrays alone: numbers, images × units")
    if not values.shape[1]:
        raise InputError(f"{name}: no column; expected images × units")
    return ArrayLayer(values if values.dtype in (np.float32, np.float64) else values.astype(np.float64))


def _result(
    profile: LayerProfile, untrained: Sequence[LayerProfile], about: dict[str, Any], warnings: list[str]
) -> UnitProfiles:
    excluded = [f"{count:,} images {why} and are left out" for why, count in profile.excluded.items()]
    signature = {
        "made_by": "interpscore profile",
        **about,
        "n": {"units": len(profile.reasons), "images": profile.images, "excluded": profile.excluded},
        "top_images": TOP,
        "top_quantile": TOP_QUANTILE,
        "versions": versions_of(["interpscore", "numpy", "scipy"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    warnings = [*warnings, *excluded, *([] if untrained else [NO_BASELINE])]
    return UnitProfiles(profile_table(profile, untrained), signature, warnings)
