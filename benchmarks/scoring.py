"""Scoring speed of a table: ours, the plain loop that one would write, and the arithmetic bound.

`python benchmarks/scoring.py` prints one table, measured in one run. The loop filters the table for every neuron and
every resample, as the published code does; it is timed on a few neurons and resamples and extrapolated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from scipy.special import ndtr

from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.options import ScoringOptions
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame
from InterpScore.scoring.draws import draws_path, read_draws

ROOT = Path(__file__).resolve().parent.parent
CONCEPTS = [f"concept {k}" for k in range(10)]
DESIGN = StudyDesign(
    CONCEPTS,
    images_per_concept=27,
    kept={5: 1.0, 1: 0.3, 2: 0.6, 3: 0.4},
    ease={5: 1.0, 1: 0.0, 2: 0.5, 3: 0.0},
    participants=110,
    raters_per_image=7,
)
N_RATINGS, N_UNITS, N_RESAMPLES = 7290, 2560, 2000
LOOP_NEURONS, LOOP_RESAMPLES = 20, 3


def layer(n_units: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """A simulated layer: the size of the published study, one concept a unit."""
    generator = np.random.default_rng(0)
    units = {str(u): PlantedUnit(CONCEPTS[u % 10], strength=generator.uniform(0, 4)) for u in range(n_units)}
    frame = simulated_frame(simulate_table(DESIGN, units, generator))
    return frame.sample(N_RATINGS, random_state=0), {unit: planted.concept for unit, planted in units.items()}


def plain_loop(frame: pd.DataFrame, neuron_map: dict[str, str]) -> pd.DataFrame:
    """S, R and H of the published study, one neuron after the other."""
    rows = []
    for neuron, concept in neuron_map.items():
        activation = f"activation_{neuron}"
        target = frame[frame["ground_truth"] == concept]
        other = frame[frame["ground_truth"] != concept]
        clean_target = target[target["level"] == 5][activation]
        clean_other = other[other["level"] == 5][activation]
        n, m = len(clean_target), len(clean_other)
        pooled = np.sqrt(((n - 1) * clean_target.var() + (m - 1) * clean_other.var()) / (n + m - 2))
        g = (clean_target.mean() - clean_other.mean()) / pooled * (1 - 3 / (4 * (n + m) - 9))
        stabilities = []
        for levels in ([1, 2], [3]):
            seen = target[target["level"].isin(levels) & (target["soft_correct"] == True)]  # noqa: E712
            if len(seen):
                ratio = (seen[activation].abs().mean() + 1e-8) / (clean_target.abs().mean() + 1e-8)
                stabilities.append(min(ratio, 1 / ratio))
        high = target[target[activation] > clean_other.quantile(0.95)]
        H = high["soft_correct"].mean() if len(high) else 0.0
        rows.append({"Neuron": neuron, "S": ndtr(g / np.sqrt(2)), "R": np.mean(stabilities), "H": H})
    return pd.DataFrame(rows)


def timed(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


def matrix_products(n_units: int, n_resamples: int) -> float:
    """Seconds of the matrix products for means and variances of every unit and resample."""
    generator = np.random.default_rng(0)
    images = len(CONCEPTS) * DESIGN.images_per_concept
    per_concept = n_units // len(CONCEPTS)
    clean = generator.standard_normal((per_concept, images))
    weights = generator.standard_exponential((images, n_resamples))
    product = clean @ weights
    # S: first and second moments of both sides over clean images; R: clean baseline and one level.
    return len(CONCEPTS) * timed(lambda: [np.matmul(clean, weights, out=product) for _ in range(4)])


def measure_layer(resamples: int) -> None:
    """Run in a separate process, to measure its memory: prints seconds and peak bytes."""
    frame, neuron_map = layer(N_UNITS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = []
        seconds = timed(lambda: results.append(run_interpretability_benchmark(frame, neuron_map, resamples=resamples)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    measured = {"seconds": seconds, "before": before, "peak": peak}
    with tempfile.TemporaryDirectory() as folder:
        measured["saving"] = timed(lambda: results[0].save(Path(folder) / "results.csv"))
        if resamples:
            measured["draws"] = draws_path(Path(folder) / "results.csv").stat().st_size
            measured["writing"] = timed(lambda: dataclasses.replace(results[0].draws).file)
            measured["reading"] = timed(lambda: read_draws(Path(folder) / "results.csv"))
    print(json.dumps(measured))


def in_own_process(resamples: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--layer-only", str(resamples)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


IMPORTS = [sys.executable, "-c", "import pandas, scipy.stats"]
"""The imports that any scoring of a table needs, as a reference for the command."""


def ten_neuron_command() -> tuple[dict[str, float], bool]:
    """Median processor seconds of the documented command on ten neurons and of `IMPORTS`, and whether it loads torch."""
    frame, neuron_map = layer(10)
    with tempfile.TemporaryDirectory() as folder:
        data, concepts, results = (str(Path(folder) / name) for name in ("data.csv", "map.json", "results.csv"))
        frame.to_csv(data, index=False)
        Path(concepts).write_text(json.dumps(neuron_map), encoding="utf-8")
        command = [sys.executable, str(ROOT / "interpretability_score.py"), data, concepts, results]
        timed_commands = {"imports": IMPORTS, "command": command, "no resamples": [*command, "--resamples", "0"]}
        for each in timed_commands.values():  # warms up bytecode and disk caches
            subprocess.run(each, check=True, capture_output=True)
        rounds = [{name: processor_seconds(each) for name, each in timed_commands.items()} for _ in range(5)]
        imports = [sys.executable, "-X", "importtime", *command[1:]]
        loaded = subprocess.run(imports, check=True, capture_output=True, text=True).stderr
    seconds = {name: median(each[name] for each in rounds) for name in timed_commands}
    return seconds, any(line.rsplit("|", 1)[-1].strip().split(".")[0] == "torch" for line in loaded.splitlines())


def processor_seconds(command: list[str]) -> float:
    """Processor time of a command, on all its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    frame, neuron_map = layer(N_UNITS)
    few = dict(list(neuron_map.items())[:LOOP_NEURONS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = run_interpretability_benchmark(frame, few, preset="published", resamples=0).table.set_index("Neuron")
    loop = plain_loop(frame, few).set_index("Neuron")
    difference = float((ours[["S", "R", "H"]] - loop).abs().max().max())
    loop_point = timed(lambda: plain_loop(frame, few)) / LOOP_NEURONS
    loop_resample = (
        timed(
            lambda: [plain_loop(frame.sample(frac=1, replace=True, random_state=b), few) for b in range(LOOP_RESAMPLES)]
        )
        / LOOP_RESAMPLES
        / LOOP_NEURONS
    )
    point, full = in_own_process(0), in_own_process(N_RESAMPLES)
    ours_resample = (full["seconds"] - point["seconds"]) / N_RESAMPLES
    bound = matrix_products(N_UNITS, N_RESAMPLES)
    ten, torch = ten_neuron_command()
    loop_layer, loop_layer_resample = loop_point * N_UNITS, loop_resample * N_UNITS

    print(f"Whole layer: {N_UNITS} units × {N_RATINGS} ratings, {N_RESAMPLES} resamples and as many permutations\n")
    print("| what | ours | plain loop | ratio |")
    print("|---|---|---|---|")
    print(
        f"| point estimates | {point['seconds']:.2f} s | {loop_layer:.1f} s¹ | {loop_layer / point['seconds']:.0f}× |"
    )
    print(
        f"| one resample more | {1000 * ours_resample:.2f} ms | {loop_layer_resample:.1f} s¹ | {loop_layer_resample / ours_resample:,.0f}× |"
    )
    hours = (loop_layer + N_RESAMPLES * loop_layer_resample) / 3600
    print(
        f"| with {N_RESAMPLES} resamples | {full['seconds']:.1f} s | {hours:.1f} h¹ | {hours * 3600 / full['seconds']:,.0f}× |"
    )
    print(f"| peak memory | {full['peak'] / 1e9:.2f} GB, table alone {full['before'] / 1e9:.2f} GB | | |")
    files = f"{full['draws'] / 1e6:.1f} MB, made in {full['writing']:.2f} s, read in {full['reading']:.2f} s"
    print(f"| draws kept beside the results | {files} | | |")
    print(f"| all files written | {full['saving']:.2f} s | | |")
    print(f"| matrix products alone (the bound) | {bound:.2f} s | | {full['seconds'] / bound:.1f}× the bound |")
    for name, what in (("command", f"{ScoringOptions.resamples} resamples"), ("no resamples", "no resamples")):
        ratio = f"{ten[name] / ten['imports']:.2f}× `import pandas, scipy.stats`"
        print(
            f"| the command on ten neurons, {what}, processor time | {ten[name]:.2f} s | {ten['imports']:.2f} s | {ratio} |"
        )
    print(f"| torch in the command | {'LOADED' if torch else 'not loaded'} | | |")
    print(
        f"\n¹ timed on {LOOP_NEURONS} neurons ({LOOP_RESAMPLES} resamples) and extrapolated; S, R and H differ from ours by at most {difference:.1g}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layer-only", type=int, metavar="RESAMPLES", help="measure one layer and print JSON")
    arguments = parser.parse_args()
    main() if arguments.layer_only is None else measure_layer(arguments.layer_only)
