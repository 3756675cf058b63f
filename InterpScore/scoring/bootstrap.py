"""The crossed bootstrap of a run: every quantity of every row in every resample, and the intervals from them.

Shapes: U rows of the results, I images, B draws, G groups of images of a folded metric. METRICS.md, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from Activation_Extraction.base.progress import StageProgress
from InterpScore.aggregated_measure import weighted_components
from InterpScore.helpers import IDENTITY, Floats, Link, on_all_cores
from InterpScore.intervals import Folded, Part, interval_of_draws, mean_of_folds, score_interval
from InterpScore.metric import Metric
from InterpScore.resampling import DrawWeights
from InterpScore.scoring.blocks import Block, laid_out
from InterpScore.scoring.study import Study

SCORE, EXCESS = "InterpScore", "I_excess"


class Bootstrap:
    """All draws of a run.

    Args:
        study, blocks: what to resample.
        metrics: the registered ones.
        estimates: column → `(U,)`: every metric and further quantity, every excess, InterpScore and I_excess. A score
            combines the components that its estimate does.
        expected: metric → its mean under permuted labels, `(U, 1)`.
    """

    def __init__(
        self,
        study: Study,
        blocks: Sequence[Block],
        metrics: Sequence[Metric],
        estimates: Mapping[str, Floats],
        expected: Mapping[str, Floats],
        progress: StageProgress,
    ) -> None:
        self.study, self.blocks, self.metrics, self.estimates = study, blocks, metrics, estimates
        self.options = study.options
        weighted = [metric for metric in metrics if metric.weight is not None]
        self.weight_of = {m.name: w for m, w in zip(weighted, self.options.weights, strict=True)}
        self.above_chance = [metric for metric in weighted if f"{metric.name}_excess" in estimates]
        self._expected, self._metric_of = expected, {metric.name: metric for metric in metrics}
        n_rows, n_draws = len(estimates[SCORE]), self.options.resamples
        self.draws: dict[str, Floats] = {}
        """`(U, B)` each: scores, further quantities, metrics or their log ratios. NaN in rows that no block has; what has
        no value in any row is left out."""
        self.lost = {metric.name: np.zeros(n_rows) for metric in metrics}
        """In how many draws each metric could not be computed, `(U,)`."""
        start = 0
        for weights in study.design.bootstrap(n_draws, self.options.seed):
            stop = start + weights.image_IB.shape[1]
            for block, (values, lost) in zip(
                blocks, on_all_cores(partial(self._resampled, weights), blocks), strict=True
            ):
                for name, lost_U in lost.items():
                    self.lost[name][block.rows] += lost_U
                for name, values_UB in values.items():
                    if name not in self.draws and np.isnan(values_UB).all():
                        continue  # what nothing was measured for takes no memory
                    if name not in self.draws:
                        self.draws[name] = np.full((n_rows, n_draws), np.nan)
                    self.draws[name][block.rows, start:stop] = values_UB
            start = stop
            progress("resamples", start, n_draws)
        self._folded = {metric.name: self._log_ratios(metric) for metric in metrics if metric.folds}

    def of(self, name: str) -> Floats:
        """`draws[name]`, `(U, B)`; NaN, which takes no memory, where nothing has a value."""
        if name not in self.draws:
            return np.broadcast_to(np.nan, (len(self.estimates[SCORE]), self.options.resamples))
        return self.draws[name]

    def _resampled(self, weights: DrawWeights, block: Block) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """What is kept of a block in a batch of draws, and in how many of them each metric has no value.

        Of a metric that is a mean of folds these are its log ratios; of one whose chance level depends on the draw, its
        excess as well.
        """
        components, kept, lost = dict[str, Floats](), dict[str, Floats](), dict[str, Floats]()
        weights = replace(weights)  # what the block keeps of these draws ends with them
        for metric in self.metrics:
            if metric.folds:
                ratios = log_ratios_of(metric, weights, block)
                values_UB = mean_of_folds(np.stack(list(ratios.values())))
                kept |= ratios
            else:
                values_UB = metric.compute(block, weights)
            missing_UB = np.isnan(values_UB)
            lost[metric.name] = missing_UB.sum(axis=1)
            if metric.name in self.options.fill_missing:
                values_UB = np.where(missing_UB, self.options.fill_missing[metric.name], values_UB)
            components[metric.name] = values_UB
            kept |= {name: further(block, weights) for name, further in metric.further.items()}
        kept[SCORE] = self._combined(block, components)
        excess = dict[str, Floats]()
        for metric in self.above_chance:
            name = f"{metric.name}_excess"
            if callable(metric.null):
                excess[name] = kept[name] = components[metric.name] - metric.null(block, weights)
            else:
                excess[name] = components[metric.name] - self._expected[metric.name][block.rows]
        kept[EXCESS] = self._combined(block, excess)
        return kept | {m.name: components[m.name] for m in self.metrics if not m.folds}, lost

    def _combined(self, block: Block, values: Mapping[str, Floats]) -> Floats:
        weight_of = {name: self.weight_of.get(name.removesuffix("_excess")) for name in values}
        weights = {name: weight for name, weight in weight_of.items() if weight is not None}
        present = np.isfinite([self.estimates[name][block.rows] for name in weights])[:, :, None]
        stacked = np.stack([values[name] for name in weights])
        return weighted_components(stacked, present, list(weights.values()), self.options.on_missing)

    def _log_ratios(self, metric: Metric) -> Folded | None:
        assert metric.folds is not None
        images = metric.folds.images
        n_rows = len(self.estimates[SCORE])
        point = laid_out(self.blocks, partial(log_ratios_of, metric, self.study.sample), n_rows, 1)
        images_U = laid_out(
            self.blocks, lambda block: {"n": np.full((len(block.rows), 1), float(images(block)))}, n_rows, 1
        )
        point = {name: values for name, values in point.items() if name in self.draws}
        if not point:
            return None
        return Folded(
            np.stack([values[:, 0] for values in point.values()]),
            np.stack([self.draws[name] for name in point]),
            images_U["n"][:, 0],
        )

    def first_draws(self, metric: Metric, n: int) -> Floats:
        """The first draws of a metric, `(U, n)`; NaN where it cannot be computed."""
        folded = self._folded.get(metric.name)
        draws_UB = mean_of_folds(folded.draws_GUB[:, :, :n]) if folded else self.of(metric.name)[:, :n]
        fill = self.options.fill_missing.get(metric.name, np.nan)
        return np.where(np.isnan(draws_UB), fill, draws_UB)

    # Intervals, each as lower and upper ends, `(U,)` ----------------------------------------------------------------

    def interval(self, metric: Metric, name: str) -> tuple[Floats, Floats]:
        """Of a further quantity of a metric."""
        images_U = self._images(metric, name)
        return interval_of_draws(self.estimates[name], self.of(name), self.options.confidence, images_U)

    def _link(self, metric: Metric) -> Link:
        return metric.link_with(self.options) or IDENTITY

    def _images(self, metric: Metric, name: str) -> Floats | None:
        """How many images are behind a metric or a further quantity, `(U,)`; None where its interval is percentiles."""
        if metric.link is None:
            return None
        images_U = np.full(len(self.estimates[SCORE]), np.nan)
        for block in self.blocks:
            images_U[block.rows] = metric.behind(block, name).get("image", np.inf)
        return images_U

    def metric_interval(self, metric: Metric) -> tuple[Floats, Floats]:
        """Of a metric."""
        return self._score_interval(metric.name, {metric.name: 1.0})

    def score_interval(self) -> tuple[Floats, Floats]:
        """Of InterpScore."""
        return self._score_interval(SCORE, self.weight_of)

    def excess_interval(self) -> tuple[Floats, Floats]:
        """Of I_excess."""
        weights = {metric.name: self.weight_of[metric.name] for metric in self.above_chance}
        return self._score_interval(EXCESS, weights, "_excess")

    def _score_interval(self, score: str, weights: Mapping[str, float], ending: str = "") -> tuple[Floats, Floats]:
        """Of a weighted mean of metrics, or of the columns named `<metric><ending>`."""
        names = [name for name, weight in weights.items() if weight > 0]
        values = [self.estimates[f"{name}{ending}"] for name in names]
        weight_KU = np.array([weights[name] for name in names])[:, None] * np.ones(len(self.estimates[score]))
        counted_KU = np.where(np.isfinite(values), weight_KU, 0.0) if values else weight_KU
        total_U = (weight_KU if self.options.on_missing == "zero" else counted_KU).sum(axis=0)
        share_KU = counted_KU / np.where(total_U > 0, total_U, 1.0)
        parts = []
        for name, value_U, share_U in zip(names, values, share_KU, strict=True):
            if not share_U.any():
                continue
            # A constant chance level does not change how an excess varies.
            draws_UB = self.draws.get(f"{name}{ending}", self.of(name))
            metric, low = self._metric_of[name], -1.0 if ending else 0.0
            images_U, link = self._images(metric, name), self._link(metric)
            parts.append(Part(value_U, draws_UB, share_U, low, 1.0, self._folded.get(name), images_U, link))
        return score_interval(self.estimates[score], self.of(score), parts, self.options.confidence)


def log_ratios_of(metric: Metric, weights: DrawWeights, block: Block) -> dict[str, Floats]:
    """The log ratios of a folded metric by name, `(U, B)` each."""
    assert metric.folds is not None
    theta_GUB = metric.folds.log_ratios(block, weights)
    return {f"{metric.name} log ratio {g}": theta_UB for g, theta_UB in enumerate(theta_GUB)}
