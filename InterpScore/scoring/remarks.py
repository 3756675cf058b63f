"""What readers of a run should know: levels that look like renders, scores that rest on little or on different things."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import listed_up_to
from InterpScore.helpers import Bools, Ints
from InterpScore.options import ScoringOptions
from InterpScore.scoring.blocks import Block
from InterpScore.scoring.results import listed
from InterpScore.scoring.study import Study
from InterpScore.tables.experiment_table import ExperimentTable
from InterpScore.tables.twins import same_pictures

LIKE_RENDERS = 4.0
"""Activation relative to clean images from which a level looks like renders: theirs is 5 to 14, that of others up to 1.5."""
_SHOWN_NEURONS, _SHOWN_TWINS = 5, 3


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


def little_data(table: ExperimentTable, options: ScoringOptions) -> list[str]:
    """Pictures that count twice, ratings by a single participant, and draws too few for the ends of an interval."""
    told = []
    if twins := same_pictures(table.activation_UI):
        extra = sum(len(group) for group in twins) - len(twins)
        pairs = [" = ".join(table.images[i] for i in group[:2]) for group in twins]
        told.append(
            f"{table.source}: {extra} of {len(table.images)} images repeat the activations of another in every unit "
            f"({', '.join(listed_up_to(pairs, _SHOWN_TWINS))}): one picture twice counts as two"
        )
    if len(table.score_R) > 1 and len(np.unique(table.participant_R)) == 1:
        told.append(f"{table.source}: all ratings are by one participant; nothing here says how others would rate")
    needed = math.ceil(2 / (1 - options.confidence) - 1e-9)
    if 0 < options.resamples < needed:
        told.append(
            f"intervals from {options.resamples} resample{'s' * (options.resamples > 1)} are too narrow; "
            f"{100 * options.confidence:g}% takes at least {needed}"
        )
    return told


def shared_sources(study: Study) -> list[str]:
    """Clean images that are not independent, and what allows for it."""
    if study.source_I is None:
        return []
    n, of = int(study.clean_I.sum()), study.n_sources(study.clean_I)
    return [
        f"{study.table.source}: its {n} clean images are of {of} sources (columns group, clean_image); the scores of "
        "METRICS 8 resample and permute sources, S, C, R and H images"
    ]


def missing_for_some(metric: str, present_U: Bools, neurons: Sequence[str]) -> list[str]:
    """Neurons whose scores lack a component that others have."""
    lacking = [neuron for neuron, there in zip(neurons, present_U, strict=True) if not there]
    if not present_U.any() or not lacking:
        return []
    return [
        f"{metric} is missing for {len(lacking)} of {len(neurons)} neurons ({_named(lacking)}): "
        "InterpScores are not comparable"
    ]


def without_any(held_KU: Bools, rows: Ints, neurons: Sequence[str]) -> list[str]:
    """Neurons among some rows that have activations and a concept, and no component all the same."""
    bare = [neurons[n] for n in rows if not held_KU[:, n].any()]
    return (
        [f"no component can be computed for {len(bare)} of {len(neurons)} neurons ({_named(bare)}); Notes say why"]
        if bare
        else []
    )


def means_of_one(scored_of: Mapping[str, int]) -> list[str]:
    """Layers whose mean is of a single neuron, given how many are scored of each."""
    alone = [layer for layer, n in scored_of.items() if n == 1]
    return [f"the mean of layer {layer} is that of a single neuron, without an interval" for layer in alone]


def not_ranked(set_names: Sequence[str], ranked_U: Bools, neurons: Sequence[str]) -> list[str]:
    """Scored neurons that have no rank, since their score rests on other components than that of most."""
    without = [neuron for neuron, ranked in zip(neurons, ranked_U, strict=True) if not ranked]
    if not without:
        return []
    n = len(neurons) - len(without)
    return [
        f"{n} of {len(neurons)} scored neurons {'is' if n == 1 else 'are'} ranked, those whose score rests on "
        f"{listed(set_names)}; the others ({_named(without)}) come after them without a rank, unless with --rank-all"
    ]


def rests_on(held_K: Bools, counts_K: Bools, names: Sequence[str], filled_K: Bools, on_missing: str) -> str:
    """What a score rests on, where that is not everything that carries weight."""
    held = [name for name, there in zip(names, held_K & counts_K, strict=True) if there]
    if not held or not (counts_K & ~held_K).any():
        return ""
    rest = ", the others count as 0" if on_missing == "zero" else ""
    if (counts_K & filled_K).any():
        rest = f", with stand-ins for {listed([n for n, f in zip(names, counts_K & filled_K, strict=True) if f])}"
    return f"rests on {listed(held)}{' alone' * (len(held) == 1)}{rest}"


def together(reasons: Mapping[str, str], alike: Sequence[str]) -> list[str]:
    """Notes `name: reason`; those of the names `alike` come last, in one note where they say the same.

    >>> together({"F1": "no image", "S": "no image", "IoU": "no image", "F1 interval": "none"}, ["F1", "IoU"])
    ['S: no image', 'F1 and IoU: no image', 'F1 interval: none']
    """
    own, shared = list[str](), dict[tuple[str, str], list[str]]()
    for named, reason in reasons.items():
        name, _, what = named.partition(" ")
        if name in alike:
            shared.setdefault((what, reason), []).append(name)
        else:
            own.append(f"{named}: {reason}")
    return own + [f"{f'{listed(names)} {what}'.strip()}: {reason}" for (what, reason), names in shared.items()]


def reasons_missing(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Lines that say why metrics are missing for scored neurons of a table of results, each reason with its neurons."""
    own = [name for name in ("Neuron", "Layer") if name in frame]
    neurons = frame.drop_duplicates(own)  # rows of single concepts come after that of their neuron
    scored = neurons[neurons[list(names)].notna().any(axis=1)]
    lines = []
    for name in names:
        rows = scored[scored[name].isna()]
        reasons = rows["Notes"].str.extract(rf"(?:^|; ){name}: ([^;]*)")[0].fillna("see Notes")
        called = rows[own[::-1]].astype(str).agg(":".join, axis=1)
        told = [(why, called[reasons == why].tolist()) for why in reasons.unique()]
        several = len(told) > 1
        parts = [f"{why} ({_named(which)})" if several else why for why, which in told]
        if parts:
            lines.append(f"{name} is missing for {len(rows)} of {len(scored)}: {'; '.join(parts)}")
    return lines


def _named(neurons: Sequence[str]) -> str:
    return f"{', '.join(neurons[:_SHOWN_NEURONS])}{', …' if len(neurons) > _SHOWN_NEURONS else ''}"


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
