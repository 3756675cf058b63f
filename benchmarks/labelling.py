"""The cost of labelling a whole layer: ours, a loop over pairs, and one matrix product of that size.

All seconds are processor time, of all threads together: other work on the machine hardly changes it.
`python benchmarks/labelling.py [units concepts images]` prints one table, measured in one run; by default 2,560 units, 1,000
concepts and 50,000 images. The loop scores pair after pair as the formulas are written; it is timed on some pairs and
extrapolated. Each kind of concepts runs in a process of its own, to measure its memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from InterpScore.labelling import chance
from InterpScore.labelling.labels import Study, label_study
from InterpScore.labelling.options import labelling_options
from InterpScore.labelling.pair_scores import Images, scores_of_pairs
from InterpScore.labelling.presence import AnyPresence, GradedPresence, shown_pairs
from InterpScore.labelling.sources.words import presence_of_cosines

SIZES = 2560, 1000, 50_000
PREVALENCE, SHIFT = 0.01, 2.0
LOOP_PAIRS = 40


def activations(units: int, images: int) -> np.ndarray:
    """Noise, one unit a row."""
    return np.random.default_rng(0).standard_normal((units, images), dtype=np.float32)


def labelled_by_images(units: int, concepts: int, images: int) -> tuple[np.ndarray, AnyPresence]:
    """Every unit is shifted on the images of a concept; each is on 1% of the images."""
    a_UN, generator = activations(units, images), np.random.default_rng(1)
    shown = [generator.choice(images, round(PREVALENCE * images), replace=False) for _ in range(concepts)]
    for unit in range(units):
        a_UN[unit, shown[unit % concepts]] += SHIFT
    concept_P = np.repeat(np.arange(concepts), [len(rows) for rows in shown])
    return a_UN, shown_pairs([f"c{c}" for c in range(concepts)], images, concept_P, np.concatenate(shown))


def labelled_by_words(units: int, concepts: int, images: int) -> tuple[np.ndarray, AnyPresence]:
    """Cosines as of a CLIP: noise, and .1 more for the word of each image; units fire for words."""
    a_UN, generator = activations(units, images), np.random.default_rng(1)
    cosine_CN = 0.2 + 0.02 * generator.standard_normal((concepts, images), dtype=np.float32)
    word_N = generator.integers(0, concepts, images)
    cosine_CN[word_N, np.arange(images)] += 0.1
    for unit in range(units):
        a_UN[unit, word_N == unit % concepts] += SHIFT
    return a_UN, GradedPresence(tuple(f"w{c}" for c in range(concepts)), presence_of_cosines(cosine_CN, 100.0))


STUDIES: dict[str, Callable[[int, int, int], tuple[np.ndarray, AnyPresence]]] = {
    "images": labelled_by_images,
    "words": labelled_by_words,
}


def timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def one_pair(a_N: np.ndarray, y_N: np.ndarray) -> float:
    """AUPRC of a unit and a concept, as the formula is written."""
    k = max(int(np.ceil(0.005 * len(a_N))), int((y_N >= 0.5).sum()))
    is_top_N = np.zeros(len(a_N), dtype=bool)
    is_top_N[np.argsort(-a_N, kind="stable")[:k]] = True
    order_N = np.argsort(-y_N, kind="stable")
    hits_N, ends_N = np.cumsum(is_top_N[order_N]), np.append(np.flatnonzero(np.diff(y_N[order_N])) + 1, len(a_N))
    gained = np.diff(hits_N[ends_N - 1], prepend=0)
    return float((gained * hits_N[ends_N - 1] / ends_N).sum() / k)


def measure(kind: str, sizes: tuple[int, int, int]) -> None:
    """Run in a process of its own: prints seconds of each step, peak memory, and the largest difference to the loop."""
    a_UN, presence = STUDIES[kind](*sizes)
    units, concepts, images = sizes
    everything = Images(a_UN, presence, np.arange(images), np.arange(images))
    scored = []
    all_pairs = timed(lambda: scored.append(scores_of_pairs(everything, "auprc").auprc_UC))
    pairs = np.random.default_rng(2).integers(0, [units, concepts], (LOOP_PAIRS, 2))
    looped: list[float] = []
    loop = timed(lambda: looped.extend(one_pair(a_UN[u], presence.of(c)) for u, c in pairs)) / LOOP_PAIRS
    difference = max(abs(scored[0][u, c] - value) for (u, c), value in zip(pairs, looped, strict=True))
    stages: dict[str, list[float]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        stages.setdefault(stage, [time.process_time()] * 2)[1] = time.process_time()

    frame = pd.DataFrame({"unit": range(units)})
    found = []
    study = Study(a_UN, presence, np.arange(images), frame)
    whole = timed(lambda: found.append(label_study(study, labelling_options(), progress, chance.in_memory(progress))))
    print(json.dumps({
        "all pairs": all_pairs, "loop": loop * units * concepts, "whole": whole, "difference": difference,
        "labelled": int(found[0].table["concept"].notna().sum()),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "data": a_UN.nbytes,
        "stages": {stage: round(last - first, 1) for stage, (first, last) in stages.items()},
    }))  # fmt: skip


def product(sizes: tuple[int, int, int]) -> float:
    """Seconds of one product, units × images times images × concepts, in single precision on all cores."""
    units, concepts, images = sizes
    a_UN, y_NC = activations(units, images), np.ones((images, concepts), dtype=np.float32)
    from InterpScore.helpers import in_shares, on_all_cores

    def multiply() -> None:
        for _ in on_all_cores(lambda share: a_UN[share] @ y_NC, in_shares(units, units // 8)):
            pass

    multiply()
    return min(timed(multiply) for _ in range(3))


def main(sizes: tuple[int, int, int]) -> None:
    units, concepts, images = sizes
    bare = product(sizes)
    print(
        f"{units:,} units × {concepts:,} concepts × {images:,} images; one fp32 matrix product of that size: {bare:.1f} s\n"
    )
    print("| concepts | all pairs | × product | the loop¹ | × ours | labels² | × product | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    notes = []
    for kind in STUDIES:
        command = [sys.executable, __file__, *map(str, sizes), "--only", kind]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"| {kind} | {found['all pairs']:.1f} s | {found['all pairs'] / bare:.1f} | {found['loop'] / 3600:.1f} h | "
            f"{found['loop'] / found['all pairs']:,.0f} | {found['whole']:.0f} s | {found['whole'] / bare:.1f} | "
            f"{found['peak'] / 1e9:.1f} GB, activations {found['data'] / 1e9:.2f} |"
        )
        notes.append(f"{kind}: {found['labelled']:,} units labelled; seconds {found['stages']}; loop differs by {found['difference']:.1g}")  # fmt: skip
    print(
        f"\n¹ timed on {LOOP_PAIRS} pairs, extrapolated. ² everything: both halves, p-values, 1,000 resamples, sets of concepts."
    )
    print("\n".join(notes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="units, concepts, images")
    parser.add_argument("--only", choices=STUDIES, help="measure one kind of concepts and print JSON")
    arguments = parser.parse_args()
    chosen = tuple(arguments.sizes)
    main(chosen) if arguments.only is None else measure(arguments.only, chosen)
