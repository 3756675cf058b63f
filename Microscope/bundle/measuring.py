"""What is measured of all units of a layer together: how alike they are, by activations, weights and effects; their map.

Shapes: U units, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.store.files import spatial_mean
from Microscope.bundle import similarity
from Microscope.bundle.atlas import atlas
from Microscope.bundle.distributions import Distributions, Floats
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.format import Null
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.options import Options

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


def measure(layer: SourceLayer, d: Distributions, known: Known, options: Options, cached: Cache, work: Path) -> Facts:
    """Measure what is not measured yet.

    Args:
        work: a file for what does not fit into memory.
    """
    found = cached(f"{layer.key}.correlation", lambda: _correlation(layer, d, options.seed, work))
    neighbours: dict[str, tuple[Any, Any]] = {CORRELATION: (found["unit_UK"], found["value_UK"])}
    nulls: dict[str, Null] = {}
    how = "each unit's activations permuted over the images, each by a permutation of its own"
    _add_null(nulls, CORRELATION, found["chance"], how)
    start_U = np.append(0, np.cumsum(found["edges_U"]))
    edges = [
        [(int(a), int(b), float(r)) for (a, b), r in zip(found["edge_E2"][s:e], found["edge_E"][s:e], strict=True)]
        for s, e in zip(start_U, start_U[1:], strict=False)
    ]
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
