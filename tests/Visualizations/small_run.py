"""A scoring run of simulated participants on disk, with every file that figures read beside it."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.sanity.checks import check_labels
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame
from Visualizations.run import Run, Sources

CONCEPTS = ("cat", "dog", "NA", "raised hand")
KEPT = {5: 1.0, 1: 0.9, 2: 0.8, 3: 0.4, 4: 4.0}
LEVEL_KINDS = {3: "adversarial", 4: "synthetic"}
DOSES = (0.5, 4.0)


@dataclass(frozen=True)
class SmallRun:
    """The table as it was scored, and the files of the run."""

    frame: pd.DataFrame
    result: object
    sources: Sources
    extra: dict = field(default_factory=dict)

    @property
    def run(self):
        return Run(self.sources)

    def with_files(self, **files):
        return Run(replace(self.sources, **files))

    def saved(self, folder, **change):
        """The run with another result; its files."""
        result = replace(self.result, **change)
        return replace(self.sources, results=result.save(folder / "results.csv")[0])


def small_run(folder, concepts=CONCEPTS, resamples=60, **options):
    """Four neurons, of which the last likes nothing; five levels of six images of each concept, three raters an image."""
    design = StudyDesign(
        concepts, images_per_concept=6, kept=KEPT, ease={5: 1.0, 1: 0.8, 2: 0.5, 3: -0.3, 4: 0.0}, participants=8,
        raters_per_image=3,
    )  # fmt: skip
    strengths = (3.0, 2.0, 2.5, 0.0)
    units = {
        str(10 * i + 1): PlantedUnit(
            concept, strength, noise="sparse" if i == 2 else "normal", follows_ease=0.4, effect=0.2
        )
        for i, (concept, strength) in enumerate(zip(concepts, strengths))
    }
    frame = simulated_frame(simulate_table(design, units, np.random.default_rng(5)))
    frame.to_parquet(folder / "data.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run_interpretability_benchmark(
            folder / "data.parquet", {unit: planted.concept for unit, planted in units.items()}, resamples=resamples,
            level_kinds=LEVEL_KINDS, **options,
        )  # fmt: skip
    sources = Sources(
        result.save(folder / "results.csv")[0], data=folder / "data.parquet",
        effects=[_effects(folder / "effects.parquet", frame, list(units))], labels=_labels(folder / "labels.parquet", concepts),
        sanity=_checks(folder / "checks.csv"), published=_published(folder / "published.csv", result.table),
    )  # fmt: skip
    return SmallRun(frame, result, sources)


def _effects(path, frame, units):
    """Effects of four doses on clean images, larger on images of the unit's concept."""
    clean = frame[frame["level"] == 5].drop_duplicates("image_filename")
    columns = {"image_filename": clean["image_filename"].to_numpy()}
    for at, unit in enumerate(units):
        size = np.linspace(0.05, 0.2, len(clean)) * (1 + at)
        for name, scale in (("ablation", 0.0), ("amplification", 2.0), *((f"scale_{dose:g}", dose) for dose in DOSES)):
            columns[f"{name}_effect_{unit}"] = size * abs(scale - 1)
    pd.DataFrame(columns).to_parquet(path)
    return path


def _labels(path, concepts):
    """Nine units, of which five have a label, one of them without an interval."""
    score = np.array([0.9, 0.7, 0.8, 0.35, 0.3, 0.1, 0.05, 0.0, -0.02])
    concept = [concepts[0], concepts[1], concepts[1], concepts[2], concepts[2], None, None, None, None]
    low = np.where([c is not None for c in concept], score - 0.1, np.nan)
    low[3] = np.nan
    table = {
        "unit": range(9), "concept": concept, "score": score, "score_low": low, "score_high": low + 0.15, "p_adjusted": 0.01,
        "polysemy": pd.array([1, 2, 1, 1, 1, 0, 0, 0, 0], "Int64"), "n_images": 48, "n_top": 6, "split": "half",
    }  # fmt: skip
    pd.DataFrame(table).to_parquet(path)
    return path


def _checks(path):
    """Label tests at two prevalences, and a few other checks."""
    coverage = "95% intervals of {} cover the truth"
    rows = [
        ("7.1", "a dead unit scores 0", "ours", "I_excess 0.001", True, True),
        ("7.1", "a dead unit scores 0", "published", "InterpScore 0.375", False, False),
        ("7.2", coverage.format("S"), "default", "96.0% of 50 simulations; truth 0.92", True, True),
        ("7.2", coverage.format("S"), "published", "41.0% of 50 simulations; truth 0.92", False, False),
        ("7.2", "95% intervals of R up to 1: InterpScore, 1 group, gamma", "default", "94% at .3, 90% at 1 (n = 50 each)", True, True),
        ("7.2", "95% intervals of S by tails of the activations: sparse, 12 images", "default", "74% at no effect, 100% at 1.2 SD (n = 50 each)", False, False),
        ("7.5", "every rating twice", "default", "largest change 0", True, True),
        ("7.5", "every rating twice", "published", "largest change 0.1", False, False),
    ]  # fmt: skip
    names = ["section", "check", "variant", "figure", "passed", "required"]
    told = pd.DataFrame(rows, columns=names).assign(expected="a")
    labels = pd.DataFrame([vars(check) for check in check_labels(0, (0.1, 0.25), 2)])
    pd.concat([told, labels]).to_csv(path, index=False)
    return path


def _published(path, table):
    """Two of the four neurons and one of another run, without C."""
    rows = table.iloc[:2]
    theirs = pd.DataFrame(
        {"concept": ["a", "b", "c"], "neuron": [*rows["Neuron"], "999"], "S": 0.99, "R": [0.9, 0.1, 0.5], "H": 0.5, "InterpScore": 0.6}
    )  # fmt: skip
    theirs.to_csv(path, index=False)
    return path


def with_baseline(result):
    """The same result as if it had been scored beside two untrained networks."""
    table = result.table.copy()
    for at, score in enumerate(("S", "C", "InterpScore")):
        table[f"{score}_evaluation"] = table[score]
        table[f"{score}_untrained"] = 0.3 - 0.05 * at
        table[f"{score}_untrained_sd"] = 0.05
        table[f"{score}_untrained_best"] = [0.5, 0.45, np.nan, 0.4]
        table[f"{score}_untrained_higher"] = 0.01
    about = {"networks": [{"seed": 0}, {"seed": 1}], "compared_on": 24, "notes": ["R does not exist"]}
    return {"table": table, "signature": result.signature | {"baseline": about}}


def with_layers(result):
    """The same result as if every neuron had been scored in two layers."""
    table = pd.concat([result.table.assign(Layer="layer10"), result.table.assign(Layer="layer2")], ignore_index=True)
    rows = [
        {
            "Layer": layer, "neurons": 4, "scored": 4, "units": 64, "share": 4 / 64, "InterpScore": 0.5 + at, "InterpScore_low": 0.4,
            "InterpScore_high": 0.7 + at, "I_excess": 0.1, "I_excess_low": -0.05, "I_excess_high": 0.2,
        }
        for at, layer in enumerate(("layer10", "layer2"))
    ]  # fmt: skip
    return {"table": table, "layers": pd.DataFrame(rows), "draws": None}
