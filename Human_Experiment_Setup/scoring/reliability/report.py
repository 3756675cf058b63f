"""How reliable the answers of a study are, per level and concept, with and without those that are excluded.

METRICS.md, sections 6 and 14.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from Activation_Extraction.base.errors import InputError, Problem
from Activation_Extraction.base.progress import StageProgress
from Human_Experiment_Setup.scoring.reliability.groups import RatedImages, ReportOptions
from InterpScore.tables.effects import IMAGE_COLUMNS
from InterpScore.tables.experiment_rows import EXCLUDED_COLUMN, PARTICIPANT_COLUMNS, yes_or_no

ALL, KEPT = "all", "kept"
"""All answers, and those that no exclusion rule leaves out."""
COLUMNS = {
    "answers": "all, or kept: without rows that the column excluded marks",
    "level": "of the images; empty over all",
    "concept": "that they show; empty over all",
    "images": "with a rating",
    "participants": "who rated one of them",
    "ratings": "answers with a score",
    "recognition": "mean score of the ratings",
    "recognition_low": "its interval, lower end (crossed bootstrap of images and participants, METRICS 6)",
    "recognition_high": "upper end",
    "agreement": "share of pairs of raters of an image with the same score",
    "alpha": "Krippendorff's alpha of the scores, nominal; 0 is what chance gives",
    "reliability": "of the images' recognition rates: split-half over participants, Spearman-Brown, mean over splits",
    "ceiling": "noise ceiling: √reliability, the highest correlation with the images' recognition rates that can be expected",
    "modal_share": "share of the most frequent name of an image, mean over images",
    "name_H": "H statistic of an image's names, in bits, mean over images; 0 where all names are the same",
    "names": "names typed",
    "intrusion": "share of answers that name what the attack aimed at",
    "attacked": "answers to images with such a target",
    "Notes": "why a value is missing",
}
"""Column of the report → its meaning."""


@dataclass(frozen=True)
class Report:
    """Reliability of a study: a row a group of images, with the columns of `COLUMNS`; remarks on the table."""

    frame: pd.DataFrame
    remarks: tuple[str, ...]
    has_exclusions: bool

    def rows(self, answers: str, by_level: bool, by_concept: bool) -> pd.DataFrame:
        """The rows of one kind of group."""
        frame = self.frame[self.frame["answers"] == answers]
        return frame[(frame["level"].notna() == by_level) & ((frame["concept"] != "") == by_concept)]

    @property
    def main(self) -> str:
        """The answers that count: those kept, where there are exclusions."""
        return KEPT if self.has_exclusions else ALL


def reliability_report(
    scored: pd.DataFrame, source: str, options: ReportOptions, progress: StageProgress | None = None
) -> Report:
    """The report of a scored table.

    Args:
        scored: with the columns of an experiment table (Data/README.md); `words` and `match` for names, `names_target` for
            intrusion, `excluded` for exclusions.
        source: its name in messages.

    Raises:
        InputError: an experiment table that cannot be read, no image or participant, unknown cells in `excluded`.
    """
    problems = [
        Problem(source, f"no column {' or '.join(names)}", f"the {what} of each answer")
        for names, what in ((IMAGE_COLUMNS, "image"), (PARTICIPANT_COLUMNS, "participant"))
        if not set(names) & set(scored)
    ]
    if problems:
        raise InputError(problems)
    progress = progress or (lambda *_: None)
    excluded = np.array(yes_or_no(scored, EXCLUDED_COLUMN, source, range(2, len(scored) + 2)), dtype=bool)
    has_exclusions = EXCLUDED_COLUMN in scored
    if has_exclusions:
        scored = scored.drop(columns=EXCLUDED_COLUMN)  # from here on, every row counts
    chosen = {ALL: scored, KEPT: scored[~excluded]} if has_exclusions else {ALL: scored}
    if has_exclusions and excluded.all():
        raise InputError([Problem(source, "all rows are excluded", "answers that count", EXCLUDED_COLUMN)])
    parts, remarks = [], dict[str, None]()
    for answers, frame in chosen.items():
        study = RatedImages(frame.reset_index(drop=True), source, options, progress)
        parts.append(study.report().assign(answers=answers))
        remarks |= dict.fromkeys(study.remarks)
    report = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    return Report(report, tuple(remarks), has_exclusions)
