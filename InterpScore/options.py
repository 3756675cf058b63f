"""Every choice a scoring run can make, the two presets that set their defaults, and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from Activation_Extraction.base.errors import did_you_mean
from InterpScore.errors import InputError
from InterpScore.metric import BUILT_IN, metrics

PresetName = Literal["default", "published"]
SelectivityName = Literal["cles", "auroc", "auprc"]
OnMissing = Literal["renormalise", "nan", "zero"]
Adjustment = Literal["bh", "by", "holm", "none"]
UnitOfAnalysis = Literal["image", "rating"]
LevelKind = Literal["clean", "benign", "adversarial", "synthetic"]
PERTURBED_KINDS = ("benign", "adversarial", "synthetic")


@dataclass(frozen=True)
class ScoringOptions:
    """The options of one scoring run; METRICS.md names the formulas they enter.

    The first block is what users set; the second is what a preset fixes.
    """

    preset: PresetName = "default"
    clean_level: int = 5
    threshold_percentile: float = 0.95
    recognizable_levels: tuple[int, ...] = (3, 4, 5)
    level_kinds: Mapping[int, LevelKind] = field(default_factory=dict)
    min_p_value: float = 0.05
    human_score_col: str = "soft_correct"
    weights: tuple[float, ...] = field(default_factory=lambda: tuple(metric.weight for metric in metrics()))
    """One for each registered metric, in their order: S, C, R, H, then those of packages."""
    selectivity: SelectivityName = "cles"
    on_missing: OnMissing = "renormalise"
    resamples: int = 2000
    confidence: float = 0.95
    adjust: Adjustment = "bh"
    seed: int = 0
    unit_of_analysis: UnitOfAnalysis = "image"
    per_concept: bool = False
    """Whether a neuron with several concepts also gets a row for each of them."""

    recognised_at: float = 0.5
    """A rating counts as recognised when its score is at least this."""
    pool_levels_by_kind: bool = False
    """R: one group for each kind of level rather than for each level."""
    synthetic_counts_in_H: bool = False
    ratio_epsilon: float = 0.0
    """R: added to numerator and denominator of the activation ratio."""
    fill_missing: Mapping[str, float] = field(default_factory=dict)
    """What stands in for a component that cannot be computed (otherwise NaN)."""

    def kind_of(self, level: int) -> LevelKind:
        """The kind of a level; levels that nobody declared are benign perturbations."""
        if level == self.clean_level:
            return "clean"
        return self.level_kinds.get(level, "benign")

    def counts_in_H(self, level: int) -> bool:
        """Whether ratings of images at this level enter human alignment."""
        return self.synthetic_counts_in_H or self.kind_of(level) != "synthetic"

    def robustness_groups(self) -> dict[str, tuple[int, ...]]:
        """The groups of perturbed levels that R averages over, by name."""
        groups: dict[str, tuple[int, ...]] = {}
        for level in sorted(set(self.recognizable_levels) - {self.clean_level}):
            name = self.kind_of(level) if self.pool_levels_by_kind else str(level)
            if name != "synthetic":
                groups[name] = (*groups.get(name, ()), level)
        return groups

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON can hold them."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: {str(k): v for k, v in value.items()}
            if isinstance(value, Mapping)
            else list(value)
            if isinstance(value, tuple)
            else value
            for name, value in plain.items()
        }


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
    },
}
"""What each preset sets otherwise than the fields of `ScoringOptions` say."""


RENAMED = "the option is now called preset; expected {0}default or {0}published"


def scoring_options(preset: str = "default", **explicit: Any) -> ScoringOptions:
    """The options of `preset`, overridden by those given explicitly (`None` is not given).

    Raises:
        InputError: an unknown option or a value outside its range, every one of them named.

    >>> scoring_options("published").weights
    (0.25, 0.25, 0.25, 0.25)
    >>> scoring_options("published", weights={"S": 1}).weights
    (1.0, 0.0, 0.0, 0.0)
    """
    given = {name: value for name, value in explicit.items() if value is not None}
    if "protocol" in given:
        raise InputError(f"protocol: found {given['protocol']!r}; {RENAMED.format('preset=')}")
    if preset not in PRESETS:
        raise InputError(f"preset: found {preset!r}; expected one of {', '.join(PRESETS)}")
    names = [f.name for f in fields(ScoringOptions)]
    if unknown := [name for name in given if name not in names]:
        problems = [
            f"{name}: no such option{did_you_mean(name, names)}; expected a field of ScoringOptions" for name in unknown
        ]
        raise InputError(problems)
    values = {**PRESETS[preset], **given}
    if isinstance(given.get("level_kinds"), Mapping):
        values["level_kinds"] = {**PRESETS[preset].get("level_kinds", {}), **given["level_kinds"]}
    problems = []
    for name, check in _CHECKS.items():
        if name in values:
            try:
                values[name] = check(values[name])
            except (TypeError, ValueError) as error:
                problems.append(f"--{name.replace('_', '-')}: found {given[name]!r}; expected {error}")
    if problems:
        raise InputError(problems)
    chosen = ScoringOptions(preset=preset, **values)
    if chosen.clean_level in _kinds(given.get("level_kinds", {})):
        raise InputError(f"--level-kinds: level {chosen.clean_level} is the clean level; expected kinds of the others")
    return chosen


def _number(low: float, high: float, expected: str) -> Any:
    def check(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(expected) from None
        if not low < number < high:
            raise ValueError(expected)
        return number

    return check


def _integer(low: int, expected: str) -> Any:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not float(value).is_integer() or int(value) < low:
            raise ValueError(expected)
        return int(value)

    def guarded(value: Any) -> int:
        try:
            return check(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(expected) from None

    return guarded


def _choice(names: tuple[str, ...]) -> Any:
    def check(value: Any) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return str(value)

    return check


def _weights(value: Any) -> tuple[float, ...]:
    expected = "four numbers for S, C, R and H, or pairs such as S=0.3, none negative, at least one positive"
    names = [metric.name for metric in metrics()]
    try:
        named = value if isinstance(value, Mapping) else dict(zip(names[: len(BUILT_IN)], value, strict=True))
        given = {name: float(weight) for name, weight in named.items()}
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    for name in given:
        if name not in names:
            raise ValueError(f"weights of {', '.join(names)}, not of {name!r}{did_you_mean(name, names)}")
    if not all(math.isfinite(weight) and weight >= 0 for weight in given.values()) or not any(given.values()):
        raise ValueError(expected)
    return tuple(given.get(name, 0.0) for name in names)


def _levels(value: Any) -> tuple[int, ...]:
    expected = "whole numbers, at least one"
    check = _integer(-(10**9), expected)
    try:
        levels = tuple(check(level) for level in value)
    except TypeError:
        raise ValueError(expected) from None
    if not levels:
        raise ValueError(expected)
    return levels


def _kinds(value: Any) -> dict[int, str]:
    expected = f"pairs such as 4=synthetic, each kind one of {', '.join(PERTURBED_KINDS)}"
    check = _integer(-(10**9), expected)
    if not isinstance(value, Mapping):
        raise ValueError(expected)
    kinds = {check(level): kind for level, kind in value.items()}
    if any(kind not in PERTURBED_KINDS for kind in kinds.values()):
        raise ValueError(expected)
    return kinds


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


_CHECKS: dict[str, Any] = {
    "clean_level": _integer(-(10**9), "a whole number"),
    "threshold_percentile": _number(0, 1, "a fraction between 0 and 1 (0.95 is the 95th percentile)"),
    "recognizable_levels": _levels,
    "level_kinds": _kinds,
    "min_p_value": _number(0, 1, "a number between 0 and 1"),
    "human_score_col": str,
    "weights": _weights,
    "selectivity": _choice(get_args(SelectivityName)),
    "on_missing": _choice(get_args(OnMissing)),
    "resamples": _integer(0, "a whole number, 0 or more"),
    "confidence": _number(0, 1, "a fraction between 0 and 1, such as 0.95"),
    "adjust": _choice(get_args(Adjustment)),
    "seed": _integer(0, "a whole number, 0 or more"),
    "unit_of_analysis": _choice(get_args(UnitOfAnalysis)),
    "per_concept": _yes_or_no,
}
