"""A small scoring run on disk, of simulated participants: seven neurons, one without H and so without a rank."""

import warnings
from functools import cache

import numpy as np

from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame
from Visualizations.run import Run, Sources

STRENGTHS = (2.5, 2.0, 1.6, 1.2, 0.9, 0.5)
CONCEPTS = ("cat", "50% {of} a_dog", "fish")
UNITS = {
    str(i): PlantedUnit(CONCEPTS[i % 3], strength, follows_ease=0.1 * i, effect=0.3 - 0.04 * i)
    for i, strength in enumerate(STRENGTHS)
} | {"99": PlantedUnit("cat", -4.0, effect=0.1)}


def planted_results(folder, resamples=80, units=UNITS, **options):
    """The results of a run, as CSV, JSON and draws; the path of the CSV."""
    design = StudyDesign(CONCEPTS, images_per_concept=8, participants=12)
    frame = simulated_frame(simulate_table(design, units, np.random.default_rng(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {unit: planted.concept for unit, planted in units.items()}
        result = run_interpretability_benchmark(frame, names, resamples=resamples, **options)
    return result.save(folder / "results.csv")[0]


def planted_run(folder, **options):
    """The same as figures read it."""
    return Run(Sources(planted_results(folder, **options)))


@cache
def drawn(run, module):
    """What a figure draws of a run."""
    from Visualizations.styles import Style

    style = Style()
    assert not module.FIGURE.missing(run)
    with style.applied():
        return module.FIGURE.draw(run, style)
