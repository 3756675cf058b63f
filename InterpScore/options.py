"""The options of a scoring run, their validation, and the two presets of defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from Activation_Extraction.base.errors import did_you_mean
from Activation_Extraction.base.validation import validated
from InterpScore.errors import InputError
from InterpScore.metric import BUILT_IN, components, metrics

PresetName = Literal["default", "published"]
SelectivityName = Literal["cles", "auroc", "ap", "correlation", "cosine", "auprc_images", "f1_images", "iou_images"]
TWO_READINGS = (
    "ap (average precision of images ranked by activation, which auprc was) or auprc_images (the column AUPRC: of top images "
    "ranked by presence of the concept, METRICS 8); both are called AUPRC"
)
OnMissing = Literal["renormalise", "nan", "zero"]
Adjustment = Literal["bh", "by", "holm", "none"]
UnitOfAnalysis = Literal["image", "rating"]
PerturbedKind = Literal["benign", "adversarial", "synthetic", "exemplar"]
CHOSEN_BY_ACTIVATION = ("synthetic", "exemplar")
"""Kinds of levels whose images were made or chosen by what they do to the unit; they count neither in R nor in H."""
LevelKind = Literal["clean"] | PerturbedKind


def _items(value: Any) -> Any:
    """Text from the command line, "3 4 5" or "3,4,5", as a list."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    """Text such as "4=synthetic" as a mapping."""
    items = _items(value)
    if isinstance(value, str) and any("=" in item for item in items):
        pairs = [item.partition("=")[::2] for item in items]
        return dict(pairs) if len(dict(pairs)) == len(pairs) else None
    return items


def _selectivity(value: Any) -> Any:
    """Names in any case, and the one refused that means two scores."""
    if not isinstance(value, str):
        return value
    if value.lower() == "auprc":
        raise ValueError(TWO_READINGS)
    return value.lower()


def _weights(value: Any) -> tuple[float, ...]:
    """Weights of every component, from those of S, C, R and H, those of all, or some by name."""
    expected = "four numbers for S, C, R and H, or pairs such as S=0.3, none negative, at least one positive"
    names, value = [metric.name for metric in components()], _pairs(value)
    try:
        if not isinstance(value, Mapping):
            value = dict(zip(names if len(value) == len(names) else names[: len(BUILT_IN)], value, strict=True))
        weights = {name: float(weight) for name, weight in value.items()}
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    for name in weights:
        if name in {metric.name for metric in metrics()} - set(names):
            raise ValueError(f"weights of {', '.join(names)}; {name} enters in the place of S, with --selectivity")
        if name not in names:
            raise ValueError(f"weights of {', '.join(names)}, not of {name!r}{did_you_mean(name, names)}")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()) or not any(weights.values()):
        raise ValueError(expected)
    return tuple(weights.get(name, 0.0) for name in names)


Level = Annotated[int, Field(description="a whole number")]
Levels = Annotated[
    tuple[int, ...], BeforeValidator(_items), Field(min_length=1, description="whole numbers, at least one")
]
Kinds = Annotated[
    Mapping[int, PerturbedKind],
    BeforeValidator(_pairs),
    Field(description=f"pairs such as 4=synthetic, each kind one of {', '.join(get_args(PerturbedKind))}"),
]
Weights = Annotated[tuple[float, ...], BeforeValidator(_weights)]
Count = Annotated[int, Field(ge=0, description="a whole number, 0 or more")]
Quantile = Annotated[float, Field(gt=0, lt=1, description="a fraction between 0 and 1 (0.95 is the 95th percentile)")]
Significance = Annotated[float, Field(gt=0, lt=1, description="a number between 0 and 1")]
Coverage = Annotated[float, Field(gt=0, lt=1, description="a fraction between 0 and 1, such as 0.95")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ScoringOptions:
    """The options of one scoring run (METRICS.md). Users set the first block, presets the second."""

    preset: PresetName = "default"
    clean_level: Level = 5
    threshold_percentile: Quantile = 0.95
    recognizable_levels: Levels = (3, 4, 5)
    level_kinds: Kinds = Field(default_factory=dict)
    min_p_value: Significance = 0.05
    human_score_col: str = "soft_correct"
    weights: Weights = Field(default_factory=lambda: tuple(metric.weight or 0.0 for metric in components()))
    """One for each component: S, C, R, H, then those of packages."""
    selectivity: Annotated[SelectivityName, BeforeValidator(_selectivity)] = "cles"
    on_missing: OnMissing = "renormalise"
    resamples: Count = 2000
    confidence: Coverage = 0.95
    adjust: Adjustment = "bh"
    seed: Count = 0
    unit_of_analysis: UnitOfAnalysis = "image"
    per_concept: bool = False
    rank_all: bool = False
    """Rank neurons that lack components which others have, too."""
    draws: Count | None = None
    """How many resamples stay with the results; None: all up to 200 neurons, 200 of more."""

    recognised_at: float = 0.5
    """The least score of a recognised rating."""
    pool_levels_by_kind: bool = False
    """R: one group per kind of level instead of per level."""
    synthetic_counts_in_H: bool = False
    ratio_epsilon: float = 0.0
    """R: added to numerator and denominator of the activation ratio."""
    fill_missing: Mapping[str, float] = Field(default_factory=dict)
    """Values for components that cannot be computed (otherwise NaN)."""

    def kind_of(self, level: int) -> LevelKind:
        """The kind of a level; undeclared levels are benign perturbations."""
        if level == self.clean_level:
            return "clean"
        return self.level_kinds.get(level, "benign")

    def counts_in_H(self, level: int) -> bool:
        """Whether ratings of images at this level enter human alignment."""
        return self.synthetic_counts_in_H or self.kind_of(level) not in CHOSEN_BY_ACTIVATION

    def robustness_groups(self) -> dict[str, tuple[int, ...]]:
        """The groups of perturbed levels that R averages over, by name."""
        groups: dict[str, tuple[int, ...]] = {}
        for level in sorted(set(self.recognizable_levels) - {self.clean_level}):
            kind = self.kind_of(level)
            if kind not in CHOSEN_BY_ACTIVATION:
                name = kind if self.pool_levels_by_kind else str(level)
                groups[name] = (*groups.get(name, ()), level)
        return groups

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON can hold them."""
        return dict(TypeAdapter(ScoringOptions).dump_python(self, mode="json"))


PRESETS: dict[PresetName, Mapping[str, Any]] = {
    "default": {},
    "published": {
        "recognizable_levels": (1, 2, 3, 5),
        "level_kinds": {3: "adversarial", 4: "synthetic"},
        "weights": (0.25, 0.25, 0.25, 0.25),
        "unit_of_analysis": "rating",
        "recognised_at": 1.0,
        "pool_levels_by_kind": True,
        "synthetic_counts_in_H": True,
        "ratio_epsilon": 1e-8,
        "fill_missing": {"S": 0.5, "R": 0.0, "H": 0.0},
        "rank_all": True,
    },
}
"""Where each preset differs from the defaults of `ScoringOptions`."""
RENAMED = "the option is now called preset; expected {0}default or {0}published"


def scoring_options(preset: str = "default", **explicit: Any) -> ScoringOptions:
    """The options of `preset`, overridden by those given explicitly and not None.

    Lists may be text, as on the command line. Kinds of levels are added to those of the preset.

    Raises:
        InputError: unknown options and values outside their range, all listed.

    >>> scoring_options("published").weights
    (0.25, 0.25, 0.25, 0.25)
    >>> scoring_options("published", weights="S=1").weights
    (1.0, 0.0, 0.0, 0.0)
    """
    given = {name: value for name, value in explicit.items() if value is not None}
    if "protocol" in given:
        raise InputError(f"protocol: {RENAMED.format('preset=')}")
    of_preset = next((values for name, values in PRESETS.items() if name == preset), {})
    chosen = validated(ScoringOptions, {"preset": preset, **of_preset, **given}, None)
    if "level_kinds" not in given:
        return chosen
    if chosen.clean_level in chosen.level_kinds:
        raise InputError(f"--level-kinds: level {chosen.clean_level} is the clean level; expected kinds of the others")
    return replace(chosen, level_kinds={**of_preset.get("level_kinds", {}), **chosen.level_kinds})
