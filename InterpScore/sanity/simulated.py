"""Ground truth in simulated studies: noise, planted concepts, wrong labels, invariances.

METRICS.md, section 7. Each check is run side by side for three ways of scoring: `default` (the default
preset), `published` (the 2025 study's conventions, ratings taken as independent) and `ours`
(excess over chance, average precision, tests over images).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pandas as pd

from Activation_Extraction.base.progress import StageProgress
from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.helpers import Floats
from InterpScore.options import scoring_options
from InterpScore.resampling import adjusted_p_values
from InterpScore.sanity.coverage import interval_coverage
from InterpScore.sanity.simulation import Noise, PlantedUnit, StudyDesign, simulate_table, simulated_frame
from InterpScore.sanity.verdict import VARIANTS, Check, judged
from InterpScore.selectivity import mann_whitney_p
from InterpScore.tables.experiment_table import ExperimentTable

COVERAGE = (0.93, 0.995)
ALPHA = 0.05
DESIGN = StudyDesign([f"concept {k}" for k in range(6)], raters_per_image=10)


def check_null_p_values(studies: int, seed: int) -> Iterator[Check]:
    """7.1: under the null, p-values are uniform and false discoveries at most nominal."""
    from scipy.stats import kstest  # imported late: only the sanity checks need it

    units_per_study = 20
    design = replace(DESIGN, graded=True, participants=30)
    p: dict[tuple[str, str], list[Floats]] = {}
    false_discoveries: dict[str, list[bool]] = {"ours": [], "published": []}
    for study in range(studies):
        generator = np.random.default_rng((seed, 71, study))
        units = {
            str(u): PlantedUnit(design.concepts[u % 6], noise="uniform" if u % 2 else "normal")
            for u in range(units_per_study)
        }
        table = simulate_table(design, units, generator)
        result = _benchmark(table, units, resamples=400, seed=study).sort_values("Neuron")
        # The tests of a study share its ratings, so few neurons of each enter the test of uniformity of H.
        p.setdefault(("S", "ours"), []).append(result["S_p"].to_numpy())
        p.setdefault(("H", "ours"), []).append(result["H_p"].to_numpy()[:3])
        naive_S, naive_H = _p_over_ratings(table, units)
        p.setdefault(("S", "published"), []).append(naive_S)
        p.setdefault(("H", "published"), []).append(naive_H[:3])
        adjusted = np.concatenate([adjusted_p_values(result[f"{k}_p"].to_numpy(), "bh") for k in "SH"])
        false_discoveries["ours"].append(bool((adjusted <= ALPHA).any()))
        naive = np.concatenate([adjusted_p_values(values, "bh") for values in (naive_S, naive_H)])
        false_discoveries["published"].append(bool((naive <= ALPHA).any()))
    for name, what in (
        ("S", "selectivity p-values under the null are uniform"),
        ("H", "alignment p-values under the null are uniform"),
    ):
        for variant in ("ours", "published"):
            values = np.concatenate(p[name, variant])
            values = values[np.isfinite(values)]
            ks = float(kstest(values, "uniform").pvalue)
            below = float((values <= ALPHA).mean())
            note = "" if variant == "ours" else ", ratings taken as independent"
            figure = f"KS p = {ks:.2g}, {below:.1%} below .05 (n = {len(values)}{note})"
            yield judged("7.1", what, variant, figure, "KS p > .001", ks > 0.001)
    for variant in ("ours", "published"):
        rate = float(np.mean(false_discoveries[variant]))
        # Two families (S and H) are each held at 5%, so at most about 10% of null studies have a discovery.
        allowed = 1 - (1 - ALPHA) ** 2
        bound = allowed + 2.6 * np.sqrt(allowed * (1 - allowed) / studies)
        figure = f"{rate:.1%} of {studies} null studies (S and H families)"
        yield judged("7.1", "null studies with any discovery", variant, figure, f"≤ {bound:.1%}", rate <= bound)


def check_null_scores(studies: int, seed: int) -> Iterator[Check]:
    """7.1: a unit of noise scores 0, whatever its distribution."""
    kinds = get_args(Noise)
    scores: dict[tuple[str, str], list[float]] = {}
    covers: dict[str, list[bool]] = {kind: [] for kind in kinds}
    for study in range(studies):
        units = {str(kind): PlantedUnit(DESIGN.concepts[0], noise=kind) for kind in kinds}
        table = simulate_table(DESIGN, units, np.random.default_rng((seed, 72, study)))
        ours = _benchmark(table, units, resamples=400, seed=study).set_index("Neuron")
        published = _benchmark(table, units, preset="published", resamples=0).set_index("Neuron")
        for kind in kinds:
            row = ours.loc[kind]
            scores.setdefault((kind, "default"), []).append(row["InterpScore"])
            scores.setdefault((kind, "published"), []).append(published.loc[kind, "InterpScore"])
            scores.setdefault((kind, "ours"), []).append(row["I_excess"])
            if np.isfinite(row["I_excess_low"]):
                covers[kind].append(bool(row["I_excess_low"] - 1e-9 <= 0 <= row["I_excess_high"] + 1e-9))
    for kind in kinds:
        for variant in VARIANTS:
            mean = float(np.nanmean(scores[kind, variant]))
            figure, expected, good = f"InterpScore {mean:.3f}", "|mean| < .02", abs(mean) < 0.02
            if variant == "ours":
                bound = COVERAGE[0] - 2.6 * np.sqrt(0.05 * 0.95 / studies)
                figure = f"I_excess {mean:+.3f}; without an interval in {studies} of {studies}"
                if covers[kind]:  # where no draw differs from another there is no interval
                    inside = float(np.mean(covers[kind]))
                    figure = f"I_excess {mean:+.3f}; its interval covers 0 in {inside:.1%} of {len(covers[kind])}"
                    good = good and inside >= bound
                expected = f"{expected}, covers ≥ {bound:.0%}"
            yield judged("7.1", f"a {kind} unit scores 0", variant, figure, expected, good, required=variant == "ours")


def check_dose(studies: int, seed: int) -> Iterator[Check]:
    """7.2: S grows with the planted strength, and a unit of two concepts scores below a pure one."""
    strengths = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
    concept, second = DESIGN.concepts[:2]
    units = {f"β = {strength}": PlantedUnit(concept, strength) for strength in strengths}
    units |= {"pure": PlantedUnit(concept, 3.0), "two": PlantedUnit(concept, 3.0, also={second: 3.0})}
    tables = [simulate_table(DESIGN, units, np.random.default_rng((seed, 73, study))) for study in range(studies)]
    for variant, options in _VARIANT_OPTIONS.items():
        frames = [_benchmark(table, units, resamples=0, **options).set_index("Neuron") for table in tables]
        means = [float(np.mean([frame.loc[f"β = {strength}", "S"] for frame in frames])) for strength in strengths]
        rising = all(later > earlier for earlier, later in pairwise(means))
        figure = "S = " + " ".join(f"{mean:.3f}" for mean in means) + f" at β = {' '.join(f'{s:g}' for s in strengths)}"
        yield judged("7.2", "S grows with the planted strength β", variant, figure, "strictly", rising)
        gap = [frame.loc["pure", "S"] - frame.loc["two", "S"] for frame in frames]
        share = float(np.mean(np.array(gap) > 0))
        figure = f"in {share:.0%} of {studies}, by {np.mean(gap):.3f}"
        check = "a unit of two concepts scores below a pure one"
        yield judged("7.2", check, variant, figure, "≥ 95%", share >= 0.95)


def check_coverage(studies: int, seed: int, tell: StageProgress | None = None) -> Iterator[Check]:
    """7.2: 95% intervals cover the truth."""
    unit = PlantedUnit(DESIGN.concepts[0], strength=2.0, follows_ease=0.5)
    for row in interval_coverage(DESIGN, unit, studies, seed, tell):
        slack = 2.6 * np.sqrt(0.05 * 0.95 / row.studies) if row.studies < 1000 else 0.0
        variant, note = ("default", "") if row.way == "crossed" else ("published", ", ratings taken as independent")
        figure = f"{row.share:.1%} of {row.studies} simulations{note}; truth {row.truth:.3f}"
        good = COVERAGE[0] - slack <= row.share < COVERAGE[1] + slack
        check = f"95% intervals of {row.score} cover the truth"
        yield judged("7.2", check, variant, figure, "93% to 99.5%", good)


def check_causality(seed: int) -> Iterator[Check]:
    """7.3, from effects in the table: selective but acausal, and causal but unselective."""
    concept = DESIGN.concepts[0]
    units = {"acausal": PlantedUnit(concept, 4.0, effect=0.0), "unselective": PlantedUnit(concept, 0.0, effect=1.0)}
    table = simulate_table(DESIGN, units, np.random.default_rng((seed, 75)))
    for variant, options in _VARIANT_OPTIONS.items():
        frame = _benchmark(table, units, resamples=0, **options).set_index("Neuron")
        S, C = frame.loc["acausal", ["S", "C"]]
        low = 0.9 if options.get("selectivity") != "ap" else 0.8
        figure, check = f"S = {S:.3f}, C = {C:.3g}", "selective but acausal: S high, C = 0"
        yield judged("7.3", check, variant, figure, f"S > {low:g}, C = 0", low < S and C == 0)
        S, C = frame.loc["unselective", ["S", "C"]]
        chance = 0.5 if options.get("selectivity") != "ap" else float(frame.loc["unselective", "prevalence"])
        figure = f"S = {S:.3f} (chance {chance:.3g}), C = {C:.3f}"
        check, good = "causal but unselective: C high, S at chance", C > 0.5 and abs(S - chance) < 0.2
        yield judged("7.3", check, variant, figure, "C > .5, S within .2 of chance", good)


def check_invariance(seed: int) -> Iterator[Check]:
    """7.5: scale, order and duplicated ratings change nothing, intervals included."""
    units = {
        "1": PlantedUnit(DESIGN.concepts[0], 1.5, follows_ease=0.4),
        "2": PlantedUnit(DESIGN.concepts[1], 0.5, noise="sparse"),
    }
    generator = np.random.default_rng((seed, 77))
    frame = simulated_frame(simulate_table(DESIGN, units, generator))
    activations = [name for name in frame if name.startswith("activation_")]
    unequal = frame.loc[np.repeat(frame.index, generator.integers(1, 4, len(frame)))]
    changed = {
        "activations times 7.3": frame.assign(**{name: frame[name] * 7.3 for name in activations}),
        "rows in another order": frame.sample(frac=1, random_state=seed),
        "every rating twice": pd.concat([frame, frame]),
    }
    columns = [f"{k}{end}" for k in ("S", "R", "H", "InterpScore", "I_excess") for end in ("", "_low", "_high")]
    columns += ["S_p", "H_p", "S_excess", "R_excess", "H_excess", "H_rho", "H_ceiling", "R_paired"]
    concept_of = {unit: planted.concept for unit, planted in units.items()}

    def scored(data: pd.DataFrame, preset: str, **options: Any) -> Floats:
        return np.asarray(
            _table(data, concept_of, preset=preset, resamples=300, **options)[columns].to_numpy(dtype=float)
        )

    unchanged = {variant: scored(frame, variant) for variant in ("default", "published")}
    for what, data in changed.items():
        for variant, before in unchanged.items():
            largest = float(np.nanmax(np.abs(before - scored(data, variant))))
            check = f"{what}: no score, interval or p changes"
            yield judged("7.5", check, variant, f"largest change {largest:.2g}", "< 1e-9", largest < 1e-9)
    for variant, before in unchanged.items():
        largest = float(np.nanmax(np.abs(before[:, :1] - scored(unequal, variant)[:, :1])))
        check = "some ratings up to three times: no S changes"
        yield judged("7.5", check, variant, f"largest change {largest:.2g}", "< 1e-9", largest < 1e-9)


def check_synthetic_level(seed: int) -> Iterator[Check]:
    """7.7: a unit that fires on DeepDream images only gains no H by it."""
    kept = {5: 1.0, 3: 0.4, 4: 1.0}
    design = replace(DESIGN, kept=kept, ease={5: 1.0, 3: -0.3, 4: 3.0})
    units = {"dreamer": PlantedUnit(design.concepts[0], 8.0, only_at=4)}
    table = simulate_table(design, units, np.random.default_rng((seed, 78)))
    declared: dict[str, Any] = {"level_kinds": {4: "synthetic"}}
    ways: dict[str, dict[str, Any]] = {"default": {}, "published": {"preset": "published"}, "ours": declared}
    for variant, options in ways.items():
        row = _benchmark(table, units, resamples=0, **options).iloc[0]
        without = _benchmark(_without_level(table, 4), units, resamples=0, **options).iloc[0]
        gain = float(np.nan_to_num(row["H"]) - np.nan_to_num(without["H"]))
        note = ", level 4 declared synthetic" if options is declared else ""
        figure = f"H {row['H']:.3f} with DeepDream images, {without['H']:.3f} without{note}"
        check = "firing on DeepDream images alone gains no H"
        yield judged("7.7", check, variant, figure, "no gain", gain <= 1e-9, required=variant == "ours")


_VARIANT_OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "published": {"preset": "published"},
    "ours": {"selectivity": "ap"},
}


def _benchmark(table: ExperimentTable, units: Mapping[str, PlantedUnit], **options: Any) -> pd.DataFrame:
    return _table(simulated_frame(table), {unit: planted.concept for unit, planted in units.items()}, **options)


def _table(data: pd.DataFrame, concept_of: Mapping[str, str], **options: Any) -> pd.DataFrame:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the simulated participants are announced once, by the caller
        return run_interpretability_benchmark(data, concept_of, **options).table


def _without_level(table: ExperimentTable, level: int) -> ExperimentTable:
    rated = table.level_I[table.image_R] != level
    return replace(
        table, image_R=table.image_R[rated], participant_R=table.participant_R[rated], score_R=table.score_R[rated]
    )


def _p_over_ratings(table: ExperimentTable, units: Mapping[str, PlantedUnit]) -> tuple[Floats, Floats]:
    """p-values of S and H as they come out when ratings are taken as independent."""
    options = scoring_options("published")
    p_S, p_H = [], []
    for u, planted in enumerate(units.values()):
        shown = table.images_of(planted.concept)[table.image_R]
        clean = (table.level_I == options.clean_level)[table.image_R]
        activation = table.activation_UI[u][table.image_R]
        p_S.append(float(mann_whitney_p(activation[clean][None], shown[clean])[0]))
        high = activation[shown] > np.quantile(activation[clean & ~shown], options.threshold_percentile)
        p_H.append(float(mann_whitney_p(table.score_R[shown][None], high)[0]))
    return np.array(p_S), np.array(p_H)
