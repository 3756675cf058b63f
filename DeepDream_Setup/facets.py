"""Facets of a unit (Goh et al. 2021): what it prefers among faces, among texts, among any labelled pictures.

A probe is a direction in an intermediate layer that separates the pictures of one label from all others. With g the
activations of that layer, f the unit's activation and w the probe, an image of the facet maximises

    f + weight · Σ w ⊙ (g ⊙ ∇_g f)⁺

so that what excites the unit lies along the probe. ∇_g f is treated as constant, which it is around each image where the
network is piecewise linear. The paper uses all of the attribution, not only its positive part. But where something
inhibits the unit, ∇_g f < 0 and the product grows as g moves against the probe: images then end up outside their facet
about as often as inside.

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
from DeepDream_Setup.objectives import ForwardPass, Objective

FOLDS = 4
"""Folds of cross-validation."""


@dataclass(frozen=True, eq=False)
class FacetProbes:
    """Linear probes, one for each label.

    Attributes:
        layer: the layer they read.
        names: labels, in the order requested.
        weights_KM: applied to means over positions; with `offset_K` added, scores of the label's pictures are positive.
        auroc_K: cross-validated AUROC of the label against the rest.
    """

    layer: str
    names: list[str]
    weights_KM: NDArray[np.float64]
    offset_K: NDArray[np.float64]
    auroc_K: NDArray[np.float64]

    def scores(self, a_IM: ArrayLike) -> NDArray[np.float64]:
        """Scores of pictures, `(I, K)`: 1 is the mean of the probe's label, -1 that of the rest."""
        return np.asarray(a_IM, dtype=float) @ self.weights_KM.T + self.offset_K

    def vector(self, name: str | None) -> Tensor:
        """The probe of a label, of unit length."""
        w_M = self.weights_KM[self.names.index(str(name))]
        return torch.from_numpy(w_M / np.linalg.norm(w_M)).float()


def train_probes(layer: str, a_IM: ArrayLike, labels: Sequence[str], facets: Sequence[str] = ()) -> FacetProbes:
    """Train a linear probe for each label against all others: Fisher's discriminant with a shrunk covariance.

    Args:
        layer: name of the layer.
        a_IM: its activations on the pictures, averaged over positions.
        labels: one for each picture.
        facets: labels to train probes for; empty means all.

    Raises:
        InputError: fewer than two labels, a label with fewer than `FOLDS` pictures, or a facet that is not a label.
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
    probes, aurocs = [], []
    fold_I = np.arange(len(label_I)) % FOLDS
    for name in chosen:
        is_label_I = label_I == name
        fold_I[is_label_I] = np.arange(is_label_I.sum()) % FOLDS  # every fold gets some of them
        score_I = np.empty(len(label_I))
        for fold in range(FOLDS):
            held_out = fold_I == fold
            w, offset = _discriminant(a_IM[~held_out], is_label_I[~held_out])
            score_I[held_out] = a_IM[held_out] @ w + offset
        inside = int(is_label_I.sum())
        wins = rankdata(score_I)[is_label_I].sum() - inside * (inside + 1) / 2
        aurocs.append(wins / (inside * (len(label_I) - inside)))
        probes.append(_discriminant(a_IM, is_label_I))
    weights, offsets = zip(*probes)
    return FacetProbes(layer, chosen, np.array(weights), np.array(offsets), np.array(aurocs))


def facet(reading: Objective, layer: str, probes_NM: Tensor) -> Objective:
    """The part of a unit's excitatory attribution, in a layer below it, that lies along a probe.

    Attributions are divided by their sum and multiplied by the unit's activation, so that a weight on this term means the
    same for every unit and image.

    Args:
        reading: the objective that reads the unit.
        layer: canonical name of the probes' layer, below the unit's.
        probes_NM: one for each image.
    """

    def values(state: ForwardPass) -> Tensor:
        below, read_N = state.at(layer), reading.values(state)
        (gradient,) = torch.autograd.grad(read_N.sum(), below, retain_graph=True)
        exciting_NMP = (below * gradient).flatten(2).clamp(min=0)
        along_N = torch.einsum("nmp,nm->n", exciting_NMP, probes_NM.to(exciting_NMP))
        total_N = exciting_NMP.detach().sum((1, 2)).clamp(min=1e-12)
        # Entries of a probe of unit length are about 1/√M.
        share_N: Tensor = along_N / total_N * probes_NM.shape[1] ** 0.5
        return share_N * read_N.detach()

    return Objective(values)


def _discriminant(a_IM: NDArray[np.float64], is_label: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights and offset with a mean of 1 on the label's pictures and of -1 on the rest."""
    inside, outside = a_IM[is_label], a_IM[~is_label]
    apart = inside.mean(0) - outside.mean(0)
    covariance = (np.cov(inside.T, bias=True) + np.cov(outside.T, bias=True)) / 2
    covariance += (0.1 * np.trace(covariance) / len(covariance) + 1e-12) * np.eye(len(covariance))
    w = np.linalg.solve(covariance, apart)
    w *= 2 / max(float(w @ apart), 1e-12)
    return w, float(-w @ (inside.mean(0) + outside.mean(0)) / 2)
