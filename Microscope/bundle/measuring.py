"""What is measured of all units of a layer together: how alike they are, by activations, weights and effects; their map.

Shapes: U units, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.files import spatial_mean
from Microscope.bundle import columns, similarity
from Microscope.bundle.atlas import atlas
from Microscope.bundle.distributions import Distributions, Floats
from Microscope.bundle.evidence.concepts import RANKED_BY, concepts_of, has_concepts, ranked_units
from Microscope.bundle.evidence.embeddings import HOW, Embeddings, as_words, described, embedded_tops, words_of
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.evidence.network import incoming_weights, mean_changes, network_of
from Microscope.bundle.format import Concepts, Null, Source
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.options import Files, Options

Arrays = Mapping[str, NDArray[Any]]
Cache = Callable[[str, Callable[[], Arrays]], Arrays]
"""Name of a part and what computes it → its arrays."""

CORRELATION, WEIGHTS, EFFECT = "correlation", "weights", "effect"


@dataclass(frozen=True, eq=False)
class Facts:
    """Of a layer.

    Attributes:
        neighbours: kind → units and values, `(U, K)` each; nulls: kind → what chance gives.
        edges: among the neighbours of each unit by correlation.
        redundant: pairs; place_U2: on the map; nearest_U: highest correlation with another unit.
    """

    neighbours: Mapping[str, tuple[Any, Any]]
    nulls: Mapping[str, Null]
    edges: Sequence[Sequence[tuple[int, int, float]]]
    redundant: Sequence[tuple[int, int]]
    place_U2: Floats
    nearest_U: Floats


def measure(
    layer: SourceLayer, d: Distributions, known: Known, files: Files, options: Options, images: ImageSet | None,
    cached: Cache, work: Path,
) -> Facts:  # fmt: skip
    """Measure what is not measured yet; concepts, clusters and words are noted in `known`.

    Args:
        images: the pictures, for effects.
        cached: computes arrays once.
        work: a file for what does not fit into memory.

    Raises:
        InputError: a model or embeddings of another network, or of other images.
    """
    found = cached(f"{layer.key}.correlation", lambda: _correlation(layer, d, options.seed, work))
    neighbours: dict[str, tuple[Any, Any]] = {CORRELATION: (found["unit_UK"], found["value_UK"])}
    nulls: dict[str, Null] = {}
    how = "each unit's activations permuted over the images, each by a permutation of its own"
    _add_null(nulls, CORRELATION, found["chance"], how)
    start_U = np.append(0, np.cumsum(found["edges_U"]))
    edges = [
        [(int(a), int(b), float(r)) for (a, b), r in zip(found["edge_E2"][s:e], found["edge_E"][s:e], strict=True)]
        for s, e in pairwise(start_U)
    ]
    if files.model is None:
        known.not_measured |= dict.fromkeys(("weights", "effect"), "no network was given (--model)")
    else:
        for kind, compute in ((WEIGHTS, _weights), (EFFECT, _effect)):
            _add_vectors(layer, known, kind, neighbours, nulls, cached(f"{layer.key}.{kind}", lambda c=compute: c(layer, files, options, images)))  # type: ignore[misc]  # fmt: skip
    _add_concepts(layer, d, known, files, options, cached)
    value_U = found["value_UK"][:, 0]
    pairs = [(int(a), int(b)) for a, b in found["redundant_P2"]]
    return Facts(neighbours, nulls, edges, pairs, found["place_U2"], value_U)


def _add_null(nulls: dict[str, Null], kind: str, chance: Any, how: str) -> None:
    if np.isfinite(chance).all():
        nulls[kind] = Null(pairs_95=float(chance[0]), nearest_95=float(chance[1]), how=how)


def _correlation(layer: SourceLayer, d: Distributions, seed: int, work: Path) -> Arrays:
    store, name = layer.store, layer.layer
    blocks = (spatial_mean(block) for block in store.blocks(name))
    similar_UU = similarity.correlations(blocks, d.mean_U, d.deviation_U)
    permuted_UU = similarity.permuted_correlations(
        lambda units: store.units(name, units), d.mean_U, d.deviation_U, len(store), seed, work
    )
    chance = similarity.chance(permuted_UU)
    unit_UK, value_UK = similarity.nearest(similar_UU)
    edges = [similarity.edges(similar_UU, unit_K, chance[0]) for unit_K in unit_UK]
    flat = [edge for each in edges for edge in each]
    return {
        "unit_UK": unit_UK, "value_UK": value_UK, "chance": np.array(chance), "place_U2": atlas(similar_UU),
        "edges_U": np.array([len(each) for each in edges], np.int64),
        "edge_E2": np.array([edge[:2] for edge in flat], np.int64).reshape(-1, 2),
        "edge_E": np.array([edge[2] for edge in flat]),
        "redundant_P2": np.array(similarity.redundant_pairs(similar_UU), np.int64).reshape(-1, 2),
    }  # fmt: skip


# The network ----------------------------------------------------------------------------------------------------------


def _weights(layer: SourceLayer, files: Files, options: Options, images: ImageSet | None) -> Arrays:
    try:
        w_UD, name = incoming_weights(network_of(layer, str(files.model), files.weights), layer)
    except InputError as error:
        return _without(error)
    how = f"each unit's weights permuted, each by a permutation of its own; weights of {name}, its shortcut left out"
    return _compared(w_UD, options.seed, how)


def _effect(layer: SourceLayer, files: Files, options: Options, images: ImageSet | None) -> Arrays:
    model = network_of(layer, str(files.model), files.weights)
    try:
        if images is None:
            raise InputError("no pictures were given (--images)")
        change_UE = mean_changes(model, layer, images, options.effect_images, options.seed)
    except InputError as error:
        return _without(error)
    count = min(options.effect_images, sum(map(bool, layer.hashes)))
    how = f"each unit's mean change permuted over dimensions of the embedding; changes are means over {count} images"
    return _compared(change_UE, options.seed, how)


def _without(error: InputError) -> Arrays:
    """Nothing, with the reason."""
    if "weights have hash" in str(error):
        raise error
    return {"reason": np.array("; ".join(error.problems))}


def _compared(x_UD: NDArray[Any], seed: int, how: str) -> Arrays:
    chance = similarity.chance(similarity.cosines(similarity.permuted_vectors(x_UD, seed)))
    unit_UK, value_UK = similarity.nearest(similarity.cosines(x_UD))
    return {"unit_UK": unit_UK, "value_UK": value_UK, "chance": np.array(chance), "how": np.array(how)}


def _add_vectors(
    layer: SourceLayer, known: Known, kind: str, neighbours: dict[str, tuple[Any, Any]], nulls: dict[str, Null], found: Arrays
) -> None:  # fmt: skip
    if "reason" in found:
        known.not_measured[kind] = str(found["reason"])
        return
    how = str(found["how"])
    neighbours[kind] = found["unit_UK"], found["value_UK"]
    _add_null(nulls, kind, found["chance"], how)
    meaning = {
        WEIGHTS: "cosine of the incoming weights of two units, BatchNorm folded, -1 to 1",
        EFFECT: "cosine of the mean changes of the embedding when each of two units is ablated, -1 to 1",
    }[kind]
    known.columns[f"similar_{kind}"] = columns.described(f"similar_{kind}", f"{meaning} ({how.partition('; ')[2]})", layer.model)  # fmt: skip


# Concepts, clusters, words --------------------------------------------------------------------------------------------


def _add_concepts(
    layer: SourceLayer, d: Distributions, known: Known, files: Files, options: Options, cached: Cache
) -> None:
    if has_concepts(layer):
        found = cached(f"{layer.key}.concepts", lambda: ranked_units(layer, options.seed))
        known.concepts = concepts_of(layer, known, found, options.seed)
        n = f"{sum(map(bool, layer.hashes)):,} images"
        known.columns["concept_score"] = columns.described("concept_score", f"{RANKED_BY}, -1 to 1, of the unit's top images and the concept; for ranking units, since labels are tested on images of their own", layer.store.path.name, n)  # fmt: skip
    else:
        known.not_measured["concepts"] = (
            "the images have no concepts: no column 'concept' in the image table of the store, or of --images"
        )
    if files.embedding is None:
        return
    embeddings = Embeddings(layer, Path(files.embedding))
    tops = cached(f"{layer.key}.embedding", lambda: embedded_tops(embeddings, d.top_row_UK))
    for unit, (row_K, of_K) in enumerate(zip(d.top_row_UK, tops["cluster_UK"], strict=True)):
        has = of_K >= 0
        if has.any():
            known.clusters[unit] = described(layer, row_K[has].tolist(), of_K[has])
            known.column("clusters")[unit] = len(known.clusters[unit][0])
    name = embeddings.of.store.path.name
    known.columns["clusters"] = columns.described("clusters", HOW, name, f"{options.top} top pictures")  # fmt: skip
    about: dict[str, str | int | float | bool | None] = {"model": embeddings.of.network, "layer": embeddings.of.layer}
    known.sources.append(Source(kind="embedding", name=name, sha256=embeddings.of.about["sha256"], about=about))
    if files.words is None:
        return
    path = Path(files.words)
    try:
        words = cached(f"{layer.key}.words", lambda: words_of(embeddings, tops["mean_UD"], path, options.template))
    except InputError as error:
        known.not_measured["words"] = "; ".join(error.problems)
        return
    known.columns["word_score"] = columns.described("word_score", f"cosine of the mean embedding of the top pictures with the text of a word ({options.template}), above its mean over units", name, f"{options.top} top pictures")  # fmt: skip
    known.concepts = known.concepts or Concepts(ranked_by="not ranked: the images have no concepts", concepts=[])
    shown, content = as_words(embeddings, words, tops["mean_UD"], path, options.template)
    known.files[str(shown.embedding)] = content
    known.concepts = known.concepts.model_copy(update={"words": shown})
