"""The profile of a layer: scores of every unit in passes over its activations and embeddings, in memory that stays flat.

Embeddings are read twice: for what chance depends on, and for the one matrix product of the layer. Activations are read
twice as well: by unit, for statistics, quantiles and top images; and by image, for the product.

Shapes: N images of the layer, I of them that count, U units, u of a block, D dimensions of the embedding, K places of the top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from Activation_Extraction.base.progress import StageProgress
from InterpScore.errors import InputError
from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.profiles import formulas
from InterpScore.profiles.by_unit import Units, scaled, units_of
from InterpScore.profiles.formulas import EmbeddingSums
from InterpScore.profiles.neighbours import overlap, redundancy
from InterpScore.profiles.sources import Layer, batches, rows_without_values

PERMUTED = ("MS", "MS_top", "clarity")
"""Scores with a chance level: that of permuted activations."""
SCORES = (*PERMUTED, "redundancy", "overlap", "sparsity", "entropy", "kurtosis")


@dataclass(frozen=True, eq=False)
class LayerProfile:
    """Scores of every unit.

    Attributes:
        score_U: score → `(U,)`; NaN with the reason in `reasons`.
        chance, spread_U: of the scores in `PERMUTED`: mean over permutations of a unit's activations, the same for every
            unit, and their standard deviations `(U,)`.
        neighbour_U: "redundancy" and "overlap" → the other unit, −1 for none.
        reasons: for each unit, why scores are missing.
        images: how many count; excluded: those that do not, by reason.
    """

    score_U: dict[str, Floats]
    chance: float
    spread_U: dict[str, Floats]
    neighbour_U: dict[str, Ints]
    reasons: list[list[str]]
    images: int
    excluded: dict[str, int]


def layer_profile(
    activations: Layer, embeddings: Layer, row_N: Ints | None = None, progress: StageProgress | None = None
) -> LayerProfile:
    """Profile every unit of a layer. METRICS.md, section 9.

    Args:
        row_N: the row of each image's embedding, −1 for none; by default the image's own.

    Raises:
        InputError: fewer than two images that count.
    """
    tell = progress or (lambda stage, completed, total: None)
    row_N = np.arange(activations.shape[0]) if row_N is None else row_N
    unread_N = (row_N < 0) | rows_without_values(activations)
    sums, usable_N = _embedding_sums(embeddings, np.where(unread_N, -1, row_N), tell)
    excluded = {
        "could not be read": int(unread_N.sum()),
        "have no embedding (zero or NaN)": int((~usable_N & ~unread_N).sum()),
    }
    if sums.n < 2:
        raise InputError(f"images: {sums.n} of {len(row_N)} have activations and an embedding; expected at least two")
    units = units_of(activations, np.flatnonzero(usable_N), tell)
    totals = _products(activations, embeddings, usable_N, row_N, units, tell)
    return _scores(units, totals, sums, {why: count for why, count in excluded.items() if count})


def _embedding_sums(embeddings: Layer, row_N: Ints, tell: StageProgress) -> tuple[EmbeddingSums, Bools]:
    """Sums over the unit-length embeddings of the images that have one, and which images these are."""
    usable_N, width = row_N >= 0, embeddings.shape[1]
    total_D, gram_DD = np.zeros(width), np.zeros((width, width))
    for images in batches(embeddings, row_N >= 0):
        given_ID = embeddings.of_rows(row_N[images])
        e_ID, has_I = _unit_length(given_ID)
        usable_N[images] = has_I
        total_D += e_ID.sum(0)
        e_ID = e_ID.astype(given_ID.dtype)
        gram_DD += e_ID.T @ e_ID
        tell("Embeddings", int(images.max(initial=0)) + 1, len(row_N))
    return EmbeddingSums(int(usable_N.sum()), total_D, gram_DD), usable_N


def _unit_length(e_ID: NDArray[Any]) -> tuple[Floats, Bools]:
    """Embeddings of length 1, and which images have one; the others are zero."""
    e_ID = e_ID.astype(np.float64)
    largest_I = np.abs(e_ID).max(1)
    has_I = np.isfinite(largest_I) & (largest_I > 0)
    e_ID[~has_I] = 0
    e_ID /= np.where(has_I, largest_I, 1)[:, None]  # squares of small ones vanish
    e_ID /= np.where(has_I, np.sqrt(np.einsum("id,id->i", e_ID, e_ID)), 1)[:, None]
    return e_ID, has_I


# By image -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Totals:
    """`Σ a e` of each unit, `(U, D)`: of scaled activations, of those above the quantile, of the top images alone."""

    all_UD: Floats
    above_UD: Floats
    top_UD: Floats


def _products(
    activations: Layer, embeddings: Layer, usable_N: Bools, row_N: Ints, units: Units, tell: StageProgress
) -> _Totals:
    """The product of activations and embeddings; that of the few activations of the top is sparse, and in double precision.

    Args:
        usable_N: the images that count; row_N: the rows of their embeddings.
    """
    n_units, width = activations.shape[1], embeddings.shape[1]
    totals = _Totals(*(np.zeros((n_units, width)) for _ in range(3)))
    unit_C, place_C = np.nonzero(units.top_UK >= 0)
    image_C, done = units.top_UK[unit_C, place_C], 0
    for images in batches(activations, usable_N):
        e_ID = _unit_length(embeddings.of_rows(row_N[images]))[0]
        a_IU = activations.of_rows(images)
        a_IU[:, ~units.varies_U] = 0
        scaled(a_IU, units.minimum_U, units.range_U)
        totals.all_UD[:] += a_IU.T @ e_ID.astype(a_IU.dtype)
        totals.above_UD[:] += _above(a_IU, units.quantile_U).T @ e_ID
        here_C = (image_C >= done) & (image_C < done + len(images))
        places = unit_C[here_C], image_C[here_C] - done
        member_UI = sparse.csr_array((np.ones(len(places[0])), places), (n_units, len(images)))
        totals.top_UD[:] += member_UI @ e_ID
        done += len(images)
        tell("Products", done, int(usable_N.sum()))
    return totals


def _above(scaled_IU: NDArray[Any], quantile_U: Floats) -> sparse.csr_array:
    """Activations above the quantile of each unit."""
    above_IU = scaled_IU > quantile_U.astype(scaled_IU.dtype)
    unit_C = np.flatnonzero(above_IU) % above_IU.shape[1]
    values_C = formulas.above(scaled_IU[above_IU], quantile_U[unit_C]).astype(np.float64)
    first_I = np.concatenate([[0], np.cumsum(np.count_nonzero(above_IU, axis=1))])
    return sparse.csr_array((values_C, unit_C, first_I), above_IU.shape)


# Scores ---------------------------------------------------------------------------------------------------------------


def _scores(units: Units, totals: _Totals, sums: EmbeddingSums, excluded: dict[str, int]) -> LayerProfile:
    varies_U = units.varies_U
    top_UK = np.where(varies_U[:, None], units.top_UK, -1)
    top_U = (top_UK >= 0).sum(1)
    sums_of = {
        "MS": units.sums_PU,
        "MS_top": units.top_sums_PU,
        "clarity": formulas.counts(np.where(top_U > 1, top_U, 0)),
    }
    totals_of = {"MS": totals.all_UD, "MS_top": totals.above_UD, "clarity": totals.top_UD}
    mean_UD = np.where(top_U[:, None] > 1, totals.top_UD / np.maximum(top_U, 1)[:, None], np.nan)
    found, neighbour_U = {}, {}
    found["redundancy"], neighbour_U["redundancy"] = redundancy(mean_UD, sums.mean_D)
    found["overlap"], neighbour_U["overlap"] = overlap(top_UK)
    found |= {name: formulas.similarity(sums_of[name], totals_of[name]) for name in PERMUTED}
    found |= {"sparsity": units.sparsity_U, "entropy": units.entropy_U, "kurtosis": units.kurtosis_U}
    score_U = {name: np.where(varies_U, found[name], np.nan) for name in SCORES}
    spread_U = {name: np.where(varies_U, sums.spread(sums_of[name]), np.nan) for name in PERMUTED}
    return LayerProfile(
        score_U, sums.chance, spread_U, neighbour_U, _reasons(units, score_U, top_U), sums.n, excluded
    )  # fmt: skip


def _reasons(units: Units, score_U: dict[str, Floats], top_U: Ints) -> list[list[str]]:
    missing: dict[str, Callable[[int], str]] = {
        "MS": lambda u: "no two images activate it",
        "MS_top": lambda u: "fewer than two images above its 99% quantile",
        "clarity": lambda u: "fewer than two images in its top",
        "redundancy": lambda u: "its top images are like the average one, or no other unit to compare with",
        "overlap": lambda u: "no other unit to compare with",
        "sparsity": lambda u: "negative activations",
    }
    reasons = []
    for u in range(len(top_U)):
        if units.odd_U[u]:
            reasons.append([f"all scores are missing: its activations are not finite on {units.odd_U[u]:,} images"])
        elif not units.range_U[u]:
            reasons.append(["all scores are missing: it is constant"])
        else:
            lacking = {name: why(u) for name, why in missing.items() if np.isnan(score_U[name][u])}
            if top_U[u] < 2:
                lacking = {n: w for n, w in lacking.items() if n not in ("redundancy", "overlap", "clarity")}
                lacking["clarity, redundancy and overlap"] = missing["clarity"](u)
            reasons.append([f"{name} is missing: {why}" for name, why in lacking.items()])
    return reasons
