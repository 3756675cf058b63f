"""Groups of a study's images (a level, a concept, both, all): what people recognized in them and how far they agree.

METRICS.md, sections 6 and 14. Shapes: I images, R ratings, G groups, B draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.progress import StageProgress
from Activation_Extraction.tables.identifiers import as_words, repaired
from Human_Experiment_Setup.scoring.answers import SOFT
from Human_Experiment_Setup.scoring.reliability.agreement import (
    krippendorff_alpha,
    name_agreement,
    pair_agreement,
    values_by_image,
)
from Human_Experiment_Setup.scoring.scored_table import MATCH, NAMES_TARGET, WORDS
from InterpScore.helpers import FEWEST, Bools, Floats, Ints
from InterpScore.intervals import interval_of_draws
from InterpScore.tables.effects import IMAGE_COLUMNS
from InterpScore.tables.experiment_rows import YES, scored_trials
from InterpScore.tables.experiment_table import ExperimentTable, load_experiment_table


@dataclass(frozen=True)
class ReportOptions:
    """How a report is computed; as the options of `interpscore study report`."""

    human_score_col: str = SOFT
    resamples: int = 2000
    splits: int = 1000
    confidence: float = 0.95
    seed: int = 0


def _read(frame: pd.DataFrame, source: str, score: str) -> ExperimentTable:
    try:
        return load_experiment_table(frame, [], score)
    except InputError as error:
        raise InputError(problem.replace("the table", source, 1) for problem in error.problems) from None


class RatedImages:
    """Some answers of a study, by image and by rating."""

    def __init__(self, frame: pd.DataFrame, source: str, options: ReportOptions, progress: StageProgress) -> None:
        self.options, self._progress = options, progress
        self.table = _read(frame, source, options.human_score_col)
        self._design = self.table.rating_design(0.5)
        rows, _, _ = scored_trials(frame, np.arange(len(frame)))
        self.remarks = [remark.replace("the table:", f"{source}:", 1) for remark in self.table.remarks]
        if unscored := len(rows) - len(self.table.score_R):
            self.remarks.append(f"{source}: {unscored:,} answers without {options.human_score_col} are left out")
        pairs = np.unique(np.stack([self.table.image_R, self.table.participant_R]), axis=1).shape[1]
        if repeated := len(self.table.score_R) - pairs:
            self.remarks.append(
                f"{source}: {repeated:,} answers are by someone who rated the same image before; all count"
            )
        n_images = len(self.table.images)
        column = next(name for name in IMAGE_COLUMNS if name in rows)
        place = {name: i for i, name in enumerate(self.table.images)}
        row_images = np.array([place[name] for name in repaired(as_words(rows[column])).words], dtype=np.int64)
        self._names(rows, row_images, n_images)
        self.attacked_I, self.named_target_I = np.zeros((2, n_images))
        if NAMES_TARGET in rows:
            said = as_words(rows[NAMES_TARGET]).str.casefold()
            asked = (said != "").to_numpy()
            hits = said.isin(YES).to_numpy()
            self.attacked_I = np.bincount(row_images[asked], minlength=n_images).astype(float)
            self.named_target_I = np.bincount(row_images[hits], minlength=n_images).astype(float)

    def _names(self, rows: pd.DataFrame, row_images: Ints, n_images: int) -> None:
        """Names of each image; answers that name nothing do not count."""
        self.modal_I, self.name_H_I = np.full((2, n_images), np.nan)
        self.names_I = np.zeros(n_images)
        if WORDS not in rows or MATCH not in rows:
            self.remarks.append(
                "no columns words and match, as `interpscore study score` writes them: no agreement on names"
            )
            return
        unnamed = as_words(rows[MATCH]).isin(("no answer", "too long", "empty", "")).to_numpy()
        pairs = [
            (image, word)
            for image, words, none in zip(row_images.tolist(), as_words(rows[WORDS]), unnamed, strict=True)
            if not none
            for word in words.split(", ")
            if word
        ]
        if pairs:
            image_V = np.array([image for image, _ in pairs], dtype=np.int64)
            word_V = np.asarray(pd.factorize(np.array([word for _, word in pairs], dtype=object))[0], dtype=np.int64)
            self.modal_I, self.name_H_I = name_agreement(image_V, word_V, n_images)
            self.names_I = np.bincount(image_V, minlength=n_images).astype(float)

    def report(self) -> pd.DataFrame:
        groups = list(self._groups())
        member_GI = np.stack([chosen for _, _, chosen in groups])
        low_G, high_G = self._intervals(member_GI)
        rows = []
        for g, (level, concept, chosen_I) in enumerate(groups):
            interval = {"recognition_low": low_G[g], "recognition_high": high_G[g]}
            rows.append({"level": level, "concept": concept} | self._group(chosen_I) | interval)
            self._progress("groups", g + 1, len(groups))
        frame = pd.DataFrame(rows)
        return frame.assign(level=frame["level"].astype("Int64"))

    def _groups(self) -> Iterator[tuple[int | None, str, Bools]]:
        """All images; those of each level, of each concept, of both."""
        table = self.table
        levels, concepts = np.unique(table.level_I).tolist(), list(enumerate(table.concepts))
        yield None, "", np.ones(len(table.images), dtype=bool)
        yield from ((level, "", table.level_I == level) for level in levels)
        yield from ((None, name, table.concept_I == c) for c, name in concepts)
        for level in levels:
            for c, name in concepts:
                both_I = (table.level_I == level) & (table.concept_I == c)
                if both_I.any():
                    yield level, name, both_I

    def _intervals(self, member_GI: Bools) -> tuple[Floats, Floats]:
        """Of the mean score of each group, as of H: the crossed bootstrap, with Jeffreys' prior."""
        table, groups = self.table, member_GI.astype(float)
        ratings_I = np.bincount(table.image_R, minlength=len(table.images))
        images_G, ratings_G = (member_GI & (ratings_I > 0)).sum(axis=1), groups @ ratings_I
        sample = self._design.unit_weights()
        with np.errstate(invalid="ignore", divide="ignore"):
            point_G = (groups @ sample.score_IB / (groups @ sample.rating_IB))[:, 0]
            batches = []
            for draws in self._design.bootstrap(self.options.resamples, self.options.seed):
                share_GB = (groups @ draws.score_IB) / (groups @ draws.rating_IB)
                batches.append(draws.smoothed(share_GB, np.sqrt(images_G * ratings_G)))
                self._progress("resamples", sum(b.shape[1] for b in batches), self.options.resamples)
        if not batches:
            return np.full(len(groups), np.nan), np.full(len(groups), np.nan)
        low_G, high_G = interval_of_draws(point_G, np.concatenate(batches, axis=1), self.options.confidence)
        raters_G = [len(np.unique(table.participant_R[chosen[table.image_R]])) for chosen in member_GI]
        too_few = (images_G < FEWEST) | (np.array(raters_G) < FEWEST)
        return np.where(too_few, np.nan, low_G), np.where(too_few, np.nan, high_G)

    def _group(self, chosen_I: Bools) -> dict[str, object]:
        table = self.table
        rated_R = chosen_I[table.image_R]
        images = np.flatnonzero(np.bincount(table.image_R[rated_R], minlength=len(table.images)))
        score_R = table.score_R[rated_R]
        position_I = np.searchsorted(images, table.image_R[rated_R])
        counts_IC = values_by_image(position_I, np.unique(score_R, return_inverse=True)[1], len(images))
        reliability = self._design.split_half_reliability(images, self.options.splits, self.options.seed)
        attacked = float(self.attacked_I[chosen_I].sum())
        named_I = chosen_I & (self.names_I > 0)
        found: dict[str, object] = {
            "images": len(images),
            "participants": len(np.unique(table.participant_R[rated_R])),
            "ratings": int(rated_R.sum()),
            "recognition": float(score_R.mean()) if score_R.size else np.nan,
            "agreement": pair_agreement(counts_IC),
            "alpha": krippendorff_alpha(counts_IC),
            "reliability": reliability,
            "ceiling": float(np.sqrt(reliability)) if reliability > 0 else np.nan,
            "modal_share": float(self.modal_I[named_I].mean()) if named_I.any() else np.nan,
            "name_H": float(self.name_H_I[named_I].mean()) if named_I.any() else np.nan,
            "names": int(self.names_I[chosen_I].sum()),
            "intrusion": float(self.named_target_I[chosen_I].sum() / attacked) if attacked else np.nan,
            "attacked": int(attacked),
        }
        return found | {"Notes": "; ".join(_reasons(found, counts_IC))}


def _reasons(found: dict[str, object], counts_IC: Floats) -> Iterator[str]:
    """Why values of a group are missing."""
    if not found["ratings"]:
        yield "no rating"
        return
    pairs = (counts_IC.sum(axis=1) >= 2).any()
    if not pairs:
        yield "agreement and alpha: no image has two raters"
    elif np.isnan(float(str(found["alpha"]))):
        yield "alpha: all scores are the same"
    if np.isnan(float(str(found["ceiling"]))):
        few = int(str(found["images"])) < 3
        why = "fewer than three images" if few else "the halves of the participants do not correlate"
        yield f"ceiling: {why}"
