"""Ground truth in edited networks, which takes torch. METRICS.md, sections 7.3 and 7.6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from Activation_Extraction.models.untrained import untrained
from InterpScore.benchmark import score_table
from InterpScore.helpers import Floats
from InterpScore.options import scoring_options
from InterpScore.sanity import edited_networks as networks
from InterpScore.sanity.verdict import Check, judged

NETWORKS = 10
"""Untrained ones."""


def check_network(seed: int) -> Iterator[Check]:
    """7.3 and 7.6 on clip-mini and drawn pictures: what causes nothing, what is always on, and untrained copies."""
    study = networks.DrawnStudy(seed)
    chosen = list(study.unit_of.values())
    cut = networks.read(networks.without_outgoing_weights(study.model, chosen), study.x_NCHW)
    scores = np.array([cut.S_and_C(unit, study.shows(concept)) for concept, unit in study.unit_of.items()])
    intact = np.array([study.trained.S_and_C(unit, study.shows(concept)) for concept, unit in study.unit_of.items()])
    figure = f"{len(chosen)} units: S ≥ {scores[:, 0].min():.3f}, C ≤ {scores[:, 1].max():.3g} (C {intact[:, 1].min():.3f} to {intact[:, 1].max():.3f} in the network itself)"  # fmt: skip
    selective = bool((scores[:, 0] > 0.9).all() and (scores[:, 1] == 0).all())
    yield judged("7.3", "clip-mini, outgoing weights 0: S high, C = 0", "default", figure, "S > .9, C = 0", selective)

    free = int(np.setdiff1d(np.arange(len(study.trained.activation_UI)), chosen)[0])
    on = networks.read(networks.with_unit_always_on(study.model, free, 2 * study.trained.activation_UI.max()), study.x_NCHW)  # fmt: skip
    raw_U = on.effect_KUI.mean(axis=(0, 2))
    S, C = on.S_and_C(free, study.shows(networks.DESIGN.concepts[0]))
    above = float((raw_U < raw_U[free]).mean())
    figure = f"S = {S:.3f}, C = {C:.3f}, above {above:.1%} of the layer's units"
    yield judged("7.3", "clip-mini, a unit that is always on: C high, S = ½", "default", figure, "S = ½, C above 99% of units", abs(S - 0.5) < 1e-6 and above > 0.99)  # fmt: skip

    one, zero, apart = networks.scaling_by_one_and_zero(study, chosen[:4])
    figure = f"λ = 1 moves {one:.2g}; λ = 0 and ablation differ by {zero:.2g}, from a forward pass with the unit at 0 by {apart:.1g}"  # fmt: skip
    yield judged("7.3", "clip-mini: λ = 1 changes nothing, ablate is λ = 0", "default", figure, "0, 0, < 1e-4", one == 0 and zero == 0 and apart < 1e-4)  # fmt: skip

    def above_chance(reading: Any, at: int) -> Floats:
        table, concepts_of = networks.rated_table(study, reading, at)
        options = scoring_options(resamples=100, seed=at)
        return np.asarray(networks.excesses(score_table(table, concepts_of, options).table), dtype=float)

    trained = above_chance(study.trained, seed)
    random = np.stack(
        [
            above_chance(networks.read(untrained(study.model, k, list(study.x_NCHW)), study.x_NCHW), k)
            for k in range(NETWORKS)
        ]
    )
    for name, there, found in zip(("S_excess", "C_specific", "H_excess"), trained, random.T, strict=True):
        mean, error = float(np.nanmean(found)), float(np.nanstd(found, ddof=1) / np.sqrt(np.isfinite(found).sum()))
        figure = f"{mean:+.4f} ± {error:.4f} over {NETWORKS} untrained networks; {there:+.4f} in the trained one"  # fmt: skip
        falls = abs(mean) < 0.1 * abs(there) or abs(mean) < 3 * error
        yield judged("7.6", f"untrained: {name} falls to 0", "default", figure, "|mean| < 3 standard errors, or a tenth", falls)  # fmt: skip
