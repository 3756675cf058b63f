"""Labels: the concept that each unit stands for, chosen on one half of the images and tested on the other. METRICS.md, section 10.

Shapes: U units, N images, C concepts, D candidates of a unit, B draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from Activation_Extraction.base.progress import StageProgress, in_stage
from InterpScore.errors import InputError, shown
from InterpScore.helpers import Floats, Ints
from InterpScore.labelling import chance
from InterpScore.labelling.bootstrap.intervals import Bootstrap, Intervals, weights
from InterpScore.labelling.halves import in_halves, in_one
from InterpScore.labelling.labels_table import Found, labels_table
from InterpScore.labelling.options import LabellingOptions, check_goes_with, labelling_options
from InterpScore.labelling.pair_scores import Images, PairScores, scores_of_pairs
from InterpScore.labelling.presence import AnyPresence, GradedPresence, Presence, codes, distinct_pairs, presence_of
from InterpScore.labelling.results import UnitLabels, signature_of
from InterpScore.labelling.several import concept_sets
from InterpScore.resampling import adjusted_p_values

CANDIDATES = 10
"""The best concepts of the selection half, among which the prediction set and the runners-up are."""
FEWEST_IMAGES = 2
_FIXED = 0.1
"""Share of images that permutations leave as they are, from which a remark says so."""


def label_units(
    activations: Any,
    concepts: Any,
    *,
    groups: Sequence[Any] | None = None,
    units: Sequence[Any] | None = None,
    progress: StageProgress | None = None,
    **options: Any,
) -> UnitLabels:
    """The concept that each unit stands for, with its score, interval and p-value on images that did not choose it.

    Args:
        activations: `(images, units)`, of distinct clean images.
        concepts: what each image shows: a name, a list of names, or none; or a table images × concepts of 0 and 1, or of
            numbers between, whose columns are the names.
        groups: the source of each image, such as the picture that it is a version of; images of one are never divided.
        units: their names; by default their numbers.
        progress: called with (stage, completed, total).
        **options: as of `LabellingOptions`: by, split, min_p_value, adjust, resamples, confidence, min_images, seed.

    Returns:
        A row for each unit, in their order; a unit that is labelled no better than chance has no concept, and the reason.

    Raises:
        InputError: lengths that do not agree, a concept of one image, fewer than two images, wrong options.

    Source: METRICS.md, section 10.

    >>> activations = np.random.default_rng(1).normal(size=(200, 3))
    >>> concepts = ["cat", "dog", "owl", "fox"] * 50
    >>> activations[::4, 1] += 3  # unit 1 fires on cats
    >>> label_units(activations, concepts).table["concept"].tolist()
    [None, 'cat', None]
    """
    chosen = labelling_options(**options)
    a_IU = np.asarray(activations)
    if a_IU.ndim != 2 or a_IU.size == 0 or a_IU.dtype.kind not in "fiub":
        raise InputError(f"activations: found shape {a_IU.shape} of {a_IU.dtype}; expected numbers, (images, units)")
    a_IU = a_IU if a_IU.dtype == np.float32 else a_IU.astype(float)
    n = len(a_IU)
    names = list(range(a_IU.shape[1])) if units is None else list(units)
    if len(names) != a_IU.shape[1]:
        raise InputError(f"units: {len(names)} names for {a_IU.shape[1]} units; expected a name each")
    group_N = np.arange(n) if groups is None else codes(groups, n)
    layout = pd.DataFrame({"unit": names})
    study = Study(np.ascontiguousarray(a_IU.T), presence_of(concepts, n), group_N, layout)
    return label_study(study, chosen, progress)


@dataclass(frozen=True, eq=False)
class Study:
    """What is labelled.

    Attributes:
        a_UN: activations; presence: of concepts; group_N: the source of each image, numbers.
        units: a row for each unit, with the column `unit` and, of several layers, `layer`.
        inputs: where they are from, for the signature.
    """

    a_UN: NDArray[Any]
    presence: AnyPresence
    group_N: Ints
    units: pd.DataFrame
    inputs: Mapping[str, Any] = field(default_factory=dict)


def label_study(
    study: Study, options: LabellingOptions, progress: StageProgress | None = None, run: chance.Run | None = None
) -> UnitLabels:
    """`label_units` of what is checked.

    Args:
        run: computes permutations, where p-values take any.
    """
    check_goes_with(options, study.presence)
    presence, remarks = _usable(study, options)
    reason_U = _reasons(study.a_UN)
    live = np.flatnonzero(reason_U == "")
    if not len(live):
        raise InputError(f"activations: no unit to label; expected one that varies ({reason_U[0]})")
    chosen_on, tested_on = _sides(study, presence, live, options, remarks)
    found = _find(chosen_on, tested_on, options, progress, run or chance.in_memory(progress))
    if (fixed := chance.fixed_share(tested_on.group_N)) > _FIXED and "permut" in found.test:
        remarks.append(f"{fixed:.0%} of the images are in groups of a size that no other group has; permutations leave them as they are")  # fmt: skip
    counts = {
        "units": len(reason_U), "labelled": len(found.labelled), "concepts": len(tested_on.presence.concepts),
        "images": presence.n, "groups": len(np.unique(study.group_N)), "chosen_on": chosen_on.n, "tested_on": tested_on.n,
    }  # fmt: skip
    table = labels_table(study.units, reason_U, live, found, options)
    signature = signature_of(options, found.test, counts, study.inputs)
    return UnitLabels(table, signature, remarks, tested_on.row_N, study.presence)


def _find(
    chosen_on: Images, tested_on: Images, options: LabellingOptions, progress: StageProgress | None, run: chance.Run
) -> Found:
    """Labels of units that vary: candidates of one half, and their scores, p-values, intervals and sets on the other."""
    presence = chosen_on.presence
    steps = len(presence.concepts) if isinstance(presence, GradedPresence) else len(chosen_on.a_UN)
    chosen_by = tested = scores_of_pairs(chosen_on, options.by, in_stage(progress, "Choosing", steps))
    score_UC = np.nan_to_num(chosen_by.score_UC, nan=-np.inf)
    candidate_UD = np.argsort(-score_UC, axis=1, kind="stable")[:, :CANDIDATES]
    if chosen_on is not tested_on:
        tested = scores_of_pairs(tested_on, options.by, in_stage(progress, "Testing", steps))
    p_U, count_U, test = _p_values(tested_on, tested, candidate_UD[:, 0], options, run)
    adjusted_U = adjusted_p_values(p_U, options.adjust)
    labelled = np.flatnonzero(adjusted_U <= options.min_p_value)
    drawn: dict[int, Intervals] = {}
    if options.resamples and len(labelled):
        weight_NB = weights(tested_on.group_N, options.resamples, options.seed)
        bootstrap = Bootstrap(tested_on, tested, options.by, weight_NB, options.confidence)
        drawn = bootstrap.of_units(candidate_UD, labelled, progress)
    sets: dict[int, list[int]] = {}
    if options.split == "half":
        advance = in_stage(progress, "Adding concepts", len(labelled))
        sets = concept_sets(chosen_on, tested_on, candidate_UD, labelled, options.seed, advance)
    return Found(tested_on, chosen_by, tested, candidate_UD, test, p_U, adjusted_U, count_U, labelled, drawn, sets)


def _usable(study: Study, options: LabellingOptions) -> tuple[AnyPresence, list[str]]:
    """Concepts of enough images, and a remark on those that are left out."""
    presence = study.presence
    if study.presence.n < 2 * FEWEST_IMAGES:
        raise InputError(f"images: {presence.n}; expected at least {2 * FEWEST_IMAGES}, for two halves")
    if isinstance(presence, GradedPresence):
        if len(presence.concepts) < 2:
            raise InputError(
                f"concepts: found {len(presence.concepts)} alone; expected at least two words to tell apart"
            )
        return presence, []
    fewest = FEWEST_IMAGES if options.min_images is None else max(options.min_images, FEWEST_IMAGES)
    source_N = codes(study.group_N, presence.n)
    concept_P, _ = distinct_pairs(presence.concept_P, source_N[presence.image_P], presence.n)
    sources_C = np.bincount(concept_P, minlength=len(presence.concepts))
    few = np.flatnonzero(sources_C < fewest)
    if len(few) and options.min_images is None:
        more = f" (and {len(few) - 1} more such concepts)" if len(few) > 1 else ""
        images = int(presence.positives_C[few[0]])
        of_one = f"{images} images of one source" if images > 1 else "one image" if images else "no image"
        raise InputError(
            f"concept {shown(presence.concepts[few[0]])}: {of_one}{more}; expected at least {fewest}, one to choose on and "
            f"one to test on (--min-images {fewest} leaves such concepts out)"
        )
    if len(few) == len(sources_C):
        raise InputError(f"concepts: none of {len(few)} has {fewest} images; expected at least one that has")
    return presence.of_concepts(sources_C >= fewest), [f"{len(few):,} of {len(sources_C):,} concepts have fewer than {fewest} images and are left out"] if len(few) else []  # fmt: skip


def _reasons(a_UN: NDArray[Any]) -> NDArray[Any]:
    """Why units cannot be labelled, "" for others, `(U,)`."""
    reason_U = np.full(len(a_UN), "", dtype=object)
    for u, a_N in enumerate(a_UN):
        if unknown := int((~np.isfinite(a_N)).sum()):
            reason_U[u] = f"{unknown:,} activations are missing"
        elif a_N.min() == a_N.max():
            reason_U[u] = "the same activation on every image"
    return reason_U


def _sides(
    study: Study, presence: AnyPresence, live: Ints, options: LabellingOptions, remarks: list[str]
) -> tuple[Images, Images]:
    """The images to choose on and to test on (the same without a split), with the concepts that both show."""
    if options.split == "none":
        rows = in_one(presence, options.seed)
        whole = Images(study.a_UN[np.ix_(live, rows)], presence.only(rows), study.group_N[rows], rows)
        remarks.append("labels were chosen on the images that they are scored on: their scores are too high, their p-values are not")  # fmt: skip
        return whole, whole
    halves = in_halves(presence, study.group_N, options.seed)
    parts = [presence.only(rows) for rows in halves]
    if isinstance(presence, Presence):
        both_C = np.logical_and(*(part.positives_C > 0 for part in parts))
        if not both_C.all():
            remarks.append(f"{int((~both_C).sum()):,} concepts have images in one half only and are left out")
            if not both_C.any():
                raise InputError("concepts: none has images in both halves; expected concepts of more images")
            parts = [part.of_concepts(both_C) for part in parts]
    first, second = (
        Images(study.a_UN[np.ix_(live, rows)], part, study.group_N[rows], rows)
        for rows, part in zip(halves, parts, strict=True)
    )
    return first, second


def _p_values(
    images: Images, scores: PairScores, concept_U: Ints, options: LabellingOptions, run: chance.Run
) -> tuple[Floats, Ints, str]:
    """p-values, the number of permutations behind each (0: exact), and what was tested."""
    units, own = len(concept_U), len(np.unique(images.group_N)) == images.n
    at = np.arange(units), concept_U
    null: chance.Null
    if options.split == "none":
        null, test = chance.LargestNull(images, options.by, scores.score_UC[at]), "permutations, best over concepts"
    elif scores.hits_UC is not None and own:
        return (
            chance.exact_p_values(images, scores, concept_U),
            np.zeros(units, dtype=np.int64),
            "hypergeometric, exact",
        )
    elif own:
        null, test = chance.GradedNull(images, concept_U, scores.auprc_UC[at]), "permutations of images"
    else:
        observed_U = scores.auprc_UC[at] if scores.hits_UC is None else scores.hits_UC[at].astype(float)
        null, test = chance.GroupNull(images, concept_U, observed_U), "permutations among groups of equal size"
    return *chance.permuted_p_values(null, units, options.seed, run), test
