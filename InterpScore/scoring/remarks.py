"""What readers of a run should know: levels that look like renders, scores that rest on different things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from Activation_Extraction.base.errors import listed_up_to
from InterpScore.helpers import Bools
from InterpScore.scoring.blocks import Block, Study

LIKE_RENDERS = 4.0
"""Activation relative to clean images from which a level looks like renders: theirs is 5 to 14, that of others up to 1.5."""
_SHOWN_NEURONS = 5


def levels_like_renders(study: Study, blocks: Sequence[Block]) -> list[str]:
    """Levels that count as benign and activate neurons as renders do, with the option that declares them."""
    options, level_I = study.options, study.table.level_I
    told = []
    for level in np.unique(level_I[~study.clean_I]).tolist():
        if options.kind_of(level) != "benign":
            continue
        ratios = [np.empty(0)]
        for block in blocks:
            at_I = block.target_I & (level_I == level)
            if at_I.any() and block.clean_target_I.any():
                size_UI = np.abs(block.activation_UI)
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratios.append(size_UI[:, at_I].mean(axis=1) / size_UI[:, block.clean_target_I].mean(axis=1))
        found = np.concatenate(ratios)
        ratio = float(np.median(found[np.isfinite(found)])) if np.isfinite(found).any() else 0.0
        if ratio >= LIKE_RENDERS:
            told.append(
                f"level {level} counts as benign, but its images activate their neurons {ratio:.1f} times as much as "
                f"clean ones, as renders do; if they are renders, add --level-kinds {level}=synthetic"
            )
    return told


def missing_for_some(metric: str, present_U: Bools, neurons: Sequence[str]) -> list[str]:
    """Neurons whose scores lack a component that others have."""
    lacking = [neuron for neuron, there in zip(neurons, present_U, strict=True) if not there]
    if not present_U.any() or not lacking:
        return []
    named = f"{', '.join(lacking[:_SHOWN_NEURONS])}{', …' if len(lacking) > _SHOWN_NEURONS else ''}"
    return [
        f"{metric} is missing for {len(lacking)} of {len(neurons)} neurons ({named}): InterpScores are not comparable"
    ]


def different_groups(metric: str, names: Sequence[str], there_GU: Bools, neurons: Sequence[str]) -> list[str]:
    """Neurons for which a folded metric rests on other groups of images than for the rest."""
    resting: dict[tuple[str, ...], list[str]] = {}
    for neuron, there_G in zip(neurons, there_GU.T, strict=True):
        if there_G.any():
            groups = tuple(name for name, there in zip(names, there_G, strict=True) if there)
            resting.setdefault(groups, []).append(neuron)
    if len(resting) < 2:
        return []
    told = (
        f"{' and '.join(groups)} for {len(found)} ({', '.join(listed_up_to(found, _SHOWN_NEURONS))})"
        for groups, found in sorted(resting.items(), key=lambda item: -len(item[1]))
    )
    return [f"{metric} rests on different groups of images: {'; '.join(told)}"]
