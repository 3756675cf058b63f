"""What another network sees in a unit's top pictures: clusters that look alike, and words that are closest to them.

Shapes: U units, K top images, D dimensions, W words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import InputError, shown
from InterpScore.labelling.sources.words import (
    embedded_texts,
    embedding_layer,
    read_words,
    refuse_other_network,
    unit_length,
)
from InterpScore.profiles.sources import LayerOfStore, matched_rows
from InterpScore.tables.from_stores import complete_store
from Microscope.bundle.distributions import Ints
from Microscope.bundle.evidence.matching import WEIGHTS
from Microscope.bundle.format import Cluster, Words
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.writing import hashed

MOST_CLUSTERS, FEWEST = 4, 3
"""Clusters of a unit's top pictures, and pictures of a cluster."""
CLEAR = 0.25
"""Mean silhouette from which pictures count as clustered; below it there is "no substantial structure" (Kaufman & Rousseeuw 1990)."""
BEST_UNITS = 20
MEAN = "mean_UD"
"""Array of the file of mean embeddings."""
HOW = f"average linkage of cosine distances; 2 to {MOST_CLUSTERS} clusters of at least {FEWEST} pictures with the highest mean silhouette, one where it is below {CLEAR}"  # fmt: skip


class Embeddings:
    """Embeddings of a layer's images by another network, of length 1."""

    def __init__(self, layer: SourceLayer, path: Path) -> None:
        store = complete_store(path)
        name = embedding_layer(store, _width(store), required=True)
        assert name is not None
        self.of = LayerOfStore(store, name)
        self._row_N = matched_rows(LayerOfStore(layer.store, layer.layer), self.of)

    def read(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Of some images, `(n, D)`; NaN where there is none."""
        place_n = self._row_N[np.asarray(rows, np.int64)]
        found = self.of.of_rows(np.maximum(place_n, 0))
        return np.where(place_n[:, None] >= 0, unit_length(found), np.nan)


def _width(store: Any) -> int:
    """Dimensions of the embedding: of attnpool, or of the only layer."""
    name = "attnpool" if "attnpool" in store.shapes else store.layers[0]
    return int(store.shapes[name][0])


# Clusters -------------------------------------------------------------------------------------------------------------


def clusters_of(e_KD: NDArray[Any]) -> Ints:
    """The cluster of each picture, numbered from the largest; all 0 where they are one. `HOW` tells the method."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    n = len(e_KD)
    if n < 2 * FEWEST or not np.isfinite(e_KD).all():
        return np.zeros(n, np.int64)
    far_KK = np.clip(1 - e_KD.astype(float) @ e_KD.T.astype(float), 0, 2)
    np.fill_diagonal(far_KK, 0)
    tree = linkage(squareform((far_KK + far_KK.T) / 2, checks=False), "average")
    best, chosen = CLEAR, np.zeros(n, np.int64)
    for k in range(2, MOST_CLUSTERS + 1):
        of_K = fcluster(tree, k, "maxclust")
        if min(Counter(of_K.tolist()).values()) >= FEWEST and len(set(of_K.tolist())) == k:
            value = silhouette(far_KK, of_K)
            if value > best:
                best, chosen = value, of_K.astype(np.int64)
    sizes = Counter(chosen.tolist())
    order = sorted(sizes, key=lambda c: (-sizes[c], chosen.tolist().index(c)))
    return np.array([order.index(c) for c in chosen.tolist()], np.int64)


def silhouette(far_KK: NDArray[Any], of_K: NDArray[Any]) -> float:
    """Mean silhouette (Rousseeuw 1987) of pictures in clusters of two or more."""
    labels = sorted(set(of_K.tolist()))
    mean_KC = np.stack([far_KK[:, of_K == c].sum(1) for c in labels], 1)
    size_C = np.array([(of_K == c).sum() for c in labels])
    own_K = np.array([labels.index(c) for c in of_K.tolist()])
    place = np.arange(len(of_K))
    inside_K = mean_KC[place, own_K] / (size_C[own_K] - 1)
    mean_KC = mean_KC / size_C
    mean_KC[place, own_K] = np.inf
    outside_K = mean_KC.min(1)
    return float(np.mean((outside_K - inside_K) / np.maximum(np.maximum(outside_K, inside_K), 1e-12)))


def described(layer: SourceLayer, rows: Sequence[int], of_K: Ints) -> tuple[list[Cluster], dict[int, int]]:
    """Clusters with their most common concepts, and image row → cluster."""
    found = []
    for c in range(int(of_K.max()) + 1):
        members = [row for row, own in zip(rows, of_K.tolist(), strict=True) if own == c]
        concepts = Counter(layer.concepts[row] for row in members if layer.concepts[row] is not None)
        found.append(Cluster(size=len(members), concept=concepts.most_common(1)[0][0] if concepts else None))
    return found, dict(zip(rows, of_K.tolist(), strict=True))


# From top pictures to arrays ------------------------------------------------------------------------------------------


def embedded_tops(embeddings: Embeddings, top_row_UK: Ints) -> Mapping[str, NDArray[Any]]:
    """Clusters of each unit's top pictures, `(U, K)`, -1 where there is none; and their mean embedding, `(U, D)`."""
    rows = np.unique(top_row_UK[top_row_UK >= 0])
    place = np.searchsorted(rows, np.maximum(top_row_UK, 0))
    e_nD = embeddings.read(rows.tolist())
    cluster_UK = np.full(top_row_UK.shape, -1, np.int64)
    mean_UD = np.full((len(top_row_UK), e_nD.shape[1]), np.nan)
    for u, row_K in enumerate(top_row_UK):
        has = (row_K >= 0) & np.isfinite(e_nD[place[u]]).all(1)
        if has.any():
            e_kD = e_nD[place[u, has]]
            cluster_UK[u, has] = clusters_of(e_kD)
            mean_UD[u] = e_kD.astype(float).mean(0)
    return {"cluster_UK": cluster_UK, "mean_UD": mean_UD}


def words_of(embeddings: Embeddings, mean_UD: NDArray[Any], path: Path, template: str) -> Mapping[str, NDArray[Any]]:
    """The units whose top pictures are closest to each word, best first, and how much closer than those of other units.

    Returns:
        `(W, BEST_UNITS)` each: cosine of the mean embedding of a unit's top pictures with the text, minus the mean over units.
    """
    from Activation_Extraction.models.own_file import names_a_file
    from Activation_Extraction.models.registry import load_model

    vocabulary = read_words(path)
    if names_a_file(embeddings.of.network):
        raise InputError(f"{path}: the embeddings are of the model {shown(embeddings.of.network)}; a file that a store names is never run")  # fmt: skip
    model = load_model(embeddings.of.network)
    refuse_other_network(embeddings.of.store, model)
    text_WD = embedded_texts(model, [template.replace("{word}", word) for word in vocabulary])
    return closest_units(text_WD, mean_UD)


def closest_units(text_WD: NDArray[Any], mean_UD: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    """What `words_of` returns, of embeddings of texts."""
    alive = np.flatnonzero(np.isfinite(mean_UD).all(1))
    cosine_WU = text_WD @ unit_length(mean_UD[alive]).T
    cosine_WU -= cosine_WU.mean(1, keepdims=True)
    order_WK = np.argsort(-cosine_WU, axis=1, kind="stable")[:, :BEST_UNITS]
    return {"unit_WK": alive[order_WK], "score_WK": np.take_along_axis(cosine_WU, order_WK, 1)}


def as_words(
    embeddings: Embeddings, found: Mapping[str, NDArray[Any]], mean_UD: NDArray[Any], path: Path, template: str
) -> tuple[Words, bytes]:
    """Words as the bundle has them, and the file of mean embeddings."""
    content = BytesIO()
    np.savez(content, **{MEAN: mean_UD.astype(np.float32)})  # type: ignore[arg-type]
    words = Words(
        model=embeddings.of.network, template=template, vocabulary=read_words(path),
        units=found["unit_WK"].tolist(), score=found["score_WK"].tolist(),
        embedding=hashed("embedding", "npz", content.getvalue()), weights_sha256=embeddings.of.store.identity.get("provenance", {}).get(WEIGHTS),
    )  # fmt: skip
    return words, content.getvalue()
