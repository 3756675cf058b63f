"""The options of a labelling run, and their validation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.validation import validated
from InterpScore.errors import InputError
from InterpScore.labelling.pair_scores import By
from InterpScore.labelling.presence import AnyPresence, GradedPresence
from InterpScore.options import Adjustment, Count, Coverage, Significance

Split = Literal["half", "none"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabellingOptions:
    """The options of a labelling run. METRICS.md, section 10."""

    by: By = "auprc"
    split: Split = "half"
    min_p_value: Significance = 0.05
    adjust: Adjustment = "bh"
    resamples: Count = 1000
    confidence: Coverage = 0.95
    min_images: Count | None = None
    """Concepts of fewer images are left out; None: one of a single image is an error."""
    seed: Count = 0

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON can hold them."""
        return dict(TypeAdapter(LabellingOptions).dump_python(self, mode="json"))


def labelling_options(**explicit: Any) -> LabellingOptions:
    """The options given, and defaults for those that are None.

    Raises:
        InputError: unknown options, values outside their range, and options that do not go together.

    >>> labelling_options(by="f1", seed=None).seed
    0
    """
    chosen = validated(LabellingOptions, {name: v for name, v in explicit.items() if v is not None}, None)
    if chosen.split == "none" and chosen.by not in ("auprc", "f1"):
        raise InputError(
            f"--split: none with --by {chosen.by}; expected --by auprc or f1, whose best value over concepts can be permuted"
        )
    return chosen


def check_goes_with(options: LabellingOptions, presence: AnyPresence) -> None:
    """See to it that concepts can be chosen by what was asked for.

    Raises:
        InputError: they cannot.
    """
    graded = isinstance(presence, GradedPresence)
    if options.by == "f1" and graded:
        raise InputError(
            "--by: f1 with graded presence, which hardly ever reaches 1/2 among many words; expected auprc, correlation "
            "or soft-wpmi"
        )
    if options.by == "soft-wpmi" and (not isinstance(presence, GradedPresence) or presence.cosine_CN is None):
        raise InputError(
            "--by: soft-wpmi without words, whose similarity to images it is defined on; expected auprc, correlation or f1"
        )
