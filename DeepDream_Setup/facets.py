"""Facets of a unit (Goh et al. 2021): what a unit likes among faces, among texts, among whatever one has labelled.

A probe is a direction of a layer half-way up that tells the pictures of one label from the rest. With g the activations
of that layer, f what is read of the unit, and w the probe, an image of the facet makes

    f + weight · Σ w ⊙ (g ⊙ ∇_g f)⁺

large: what excites the unit is to lie along the probe. Where the network is piecewise linear, ∇_g f is constant around
each image, and is held so. The paper takes the whole attribution, not its positive part. But what inhibits the unit has
∇_g f < 0, so there the product grows as g moves against the probe: images then end outside their facet about as often as
in it.

Shapes: I pictures, N images, M units of the probes' layer, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from torch import Tensor

from Activation_Extraction.base.errors import InputError, shown
from DeepDream_Setup.objectives import Objective, Seen

FOLDS = 4
"""Parts of the pictures, each of which is scored by probes that were trained on the others."""


@dataclass(frozen=True, eq=False)
class FacetProbes:
    """A direction for each label.

    Attributes:
        layer: that they read.
        names: labels, in the order that they were asked for.
        weights_KM: on means over positions; `offset_K` makes the scores positive for the label's pictures.
        auroc_K: how well pictures of the label are told from the rest, on pictures that the probe was not trained on.
    """

    layer: str
    names: list[str]
    weights_KM: NDArray[np.float64]
    offset_K: NDArray[np.float64]
    auroc_K: NDArray[np.float64]

    def scores(self, a_IM: ArrayLike) -> NDArray[np.float64]:
        """Of pictures by each probe, `(I, K)`: 1 is the mean of its label, -1 that of the rest."""
        return np.asarray(a_IM, dtype=float) @ self.weights_KM.T + self.offset_K

    def vector(self, name: str | None) -> Tensor:
        """The probe of a label, made 1 long."""
        w_M = self.weights_KM[self.names.index(str(name))]
        return torch.from_numpy(w_M / np.linalg.norm(w_M)).float()


def train_probes(layer: str, a_IM: ArrayLike, labels: Sequence[str], facets: Sequence[str] = ()) -> FacetProbes:
    """Train a linear probe for each label against all others: Fisher's discriminant, shrunk (Ledoit and Wolf's idea).

    Args:
        layer: name of the layer.
        a_IM: its activations on the pictures, means over positions.
        labels: what each picture shows.
        facets: labels that get a probe; none is all of them.

    Raises:
        InputError: fewer than two labels, a label with fewer than `FOLDS` pictures, or a facet that is no label.
    """
    a_IM = np.asarray(a_IM, dtype=float)
    names = sorted(set(labels))
    if len(names) < 2:
        raise InputError(f"facets: {len(names)} label{'s' * (len(names) != 1)}; expected at least two to tell apart")
    if unknown := [facet for facet in facets if facet not in names]:
        raise InputError(f"facet {shown(unknown[0])}: no picture has this label; expected {', '.join(names)}")
    label_I = np.array(labels)
    if few := [name for name in names if (label_I == name).sum() < FOLDS]:
        raise InputError(f"facet {shown(few[0])}: fewer than {FOLDS} pictures; expected at least {FOLDS}")
    chosen = list(facets) or names
    weights, offsets, aurocs = [], [], []
    fold_I = np.arange(len(label_I)) % FOLDS
    for name in chosen:
        is_K = label_I == name
        fold_I[is_K] = np.arange(is_K.sum()) % FOLDS  # each fold has some of them
        held = np.empty(len(is_K))
        for fold in range(FOLDS):
            out = fold_I == fold
            w, b = _discriminant(a_IM[~out], is_K[~out])
            held[out] = a_IM[out] @ w + b
        aurocs.append(_auroc(held, is_K))
        w, b = _discriminant(a_IM, is_K)
        weights.append(w)
        offsets.append(b)
    return FacetProbes(layer, chosen, np.array(weights), np.array(offsets), np.array(aurocs))


def facet(reading: Objective, layer: str, probes_NM: Tensor) -> Objective:
    """The part of what excites a unit, in a layer below it, that lies along a probe.

    An image's positive attributions are divided by their sum and multiplied by what is read of the unit, so the weight
    of this term means the same for every unit and image.

    Args:
        reading: of the unit.
        layer: canonical name of the probes' layer, below the unit's.
        probes_NM: a probe for each image.
    """

    def values(seen: Seen) -> Tensor:
        below, read_N = seen.at(layer), reading.values(seen)
        (gradient,) = torch.autograd.grad(read_N.sum(), below, retain_graph=True)
        exciting_NMP = (below * gradient).flatten(2).clamp(min=0)
        along_N = torch.einsum("nmp,nm->n", exciting_NMP, probes_NM)
        total_N = exciting_NMP.detach().sum((1, 2)).clamp(min=1e-12)
        # A probe 1 long has numbers of about 1/√M.
        share_N: Tensor = along_N / total_N * probes_NM.shape[1] ** 0.5
        return share_N * read_N.detach()

    return Objective(values, reading.layers | {layer})


def _discriminant(a_IM: NDArray[np.float64], is_label: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights and offset with a mean of 1 on the label's pictures and of -1 on the rest."""
    inside, outside = a_IM[is_label], a_IM[~is_label]
    apart = inside.mean(0) - outside.mean(0)
    covariance = (np.cov(inside.T, bias=True) + np.cov(outside.T, bias=True)) / 2
    covariance += (0.1 * np.trace(covariance) / len(covariance) + 1e-12) * np.eye(len(covariance))
    w = np.linalg.solve(covariance, apart)
    w *= 2 / max(float(w @ apart), 1e-12)
    return w, float(-w @ (inside.mean(0) + outside.mean(0)) / 2)


def _auroc(scores: NDArray[np.float64], is_label: NDArray[np.bool_]) -> float:
    inside = int(is_label.sum())
    ranks = rankdata(scores)[is_label].sum() - inside * (inside + 1) / 2
    return float(ranks / (inside * (len(scores) - inside)))
