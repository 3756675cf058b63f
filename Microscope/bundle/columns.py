"""What the numbers of a bundle mean, where they come from, and what they are numbers of.

Meanings are those of the places that compute the numbers, which also cite sections of METRICS.md; titles and formulas are here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from Microscope.bundle.format import Column

_SHARE_OF_TOP = "TP: top images of the unit that show the concept, k: top images, n_y: images of the concept"
_NAMED: dict[str, tuple[str, str | None, str | None]] = {
    "S": ("Selectivity", "1", "Φ(g / √2), g = (mean of the concept - mean of the others) / standard deviation, corrected (Hedges)"),
    "C": ("Causality", "2", "1 - exp(-C_raw), C_raw = ½ (mean of Δ₀ + mean of Δ₂), Δ_λ = ‖E_λ - E‖ / ‖E‖"),
    "R": ("Robustness", "3", "mean over levels of min(r, 1/r), r = mean |a| of recognised ratings / mean |a| of clean images"),
    "H": ("Human alignment", "4", "mean recognition of ratings of the concept with a > θ, a quantile of the other concepts' clean images"),
    "InterpScore": ("InterpScore", "5", "Σ w X / Σ w over its components"),
    "Rank": ("Rank", "5", "1 + #{neurons with a higher InterpScore}"),
    "I_excess": ("Above chance", "5", "Σ w X_excess / Σ w over S, R and H"),
    "C_specific": ("Specific causality", "2", "C_raw of the concept's clean images - C_raw of the others"),
    "correlation": ("Concept correlation", "8", "Pearson(a, y)"),
    "cosine": ("Concept cosine", "8", "Σ a y / (‖a‖ ‖y‖)"),
    "AUPRC": ("AUPRC of images", "8", f"P R + π (1 - R), P = TP / n_y, R = TP / k, π = k / n; {_SHARE_OF_TOP}"),
    "F1_images": ("F1 of images", "8", f"2 TP / (n_y + k); {_SHARE_OF_TOP}"),
    "IoU_images": ("IoU of images", "8", f"TP / (n_y + k - TP); {_SHARE_OF_TOP}"),
    "label_score": ("Label score", "10", None),
    "polysemy": ("Concepts needed", "10", None),
    "MS": ("Monosemanticity", "9", "(‖Σ ã e‖² - Σ ã²) / ((Σ ã)² - Σ ã²)"),
    "MS_top": ("Monosemanticity, top", "9", "that of (ã - its 99% quantile)₊"),
    "clarity": ("Clarity", "9", "(m ‖mean e‖² - 1) / (m - 1) over the m ≤ 16 top images"),
    "redundancy": ("Redundancy", "9", "largest cosine of (mean e of the top images - mean e) with another unit's"),
    "overlap": ("Overlap of tops", "9", "largest |A ∩ B| / |A ∪ B| of sets of top images"),
    "sparsity": ("Sparsity", "9", "(1 - (mean a)² / mean a²) / (1 - 1/n)"),
    "entropy": ("Entropy", "9", "-Σ p log p / log n, p = ã / Σ ã"),
    "kurtosis": ("Excess kurtosis", "9", "m₄ / m₂² - 3"),
    "dose": ("Dose curve", "2", "mean of ‖E_λ - E‖ / ‖E‖"),
    "ablation": ("Effect of ablation", "2", "mean of ‖E₀ - E‖ / ‖E‖"),
    "times_natural": ("Best render, times natural", None, "largest a of a render / largest a of a natural picture"),
    "similar_weights": ("Cosine of weights", None, "Σ w v / (‖w‖ ‖v‖)"),
    "similar_effect": ("Cosine of effects", None, "Σ d e / (‖d‖ ‖e‖), d and e: mean changes of the embedding"),
    "clusters": ("Clusters of top pictures", None, None),
    "concept_score": ("AUPRC above chance", "8", "AUPRC - its mean over permutations of the concept"),
    "word_score": ("Cosine with a word", None, "cos(mean e of the top pictures, text) - its mean over units"),
    "map": ("Place on the map", None, None),
}  # fmt: skip
"""Column → title, section of METRICS.md, formula. a: activation, ã: scaled to 0 to 1, e: embedding of length 1, y: 1 for the concept, else 0."""

OF_SELECTIVITY = {
    "auroc": "chance that a clean image of the concept has a higher activation than another, ties ½",
    "ap": "average precision of the concept's clean images ranked by activation", "correlation": "max(0, Pearson(a, y))",
    "cosine": "max(0, Σ a y / (‖a‖ ‖y‖))", "auprc_images": _NAMED["AUPRC"][2], "f1_images": _NAMED["F1_images"][2],
    "iou_images": _NAMED["IoU_images"][2],
}  # fmt: skip
"""`--selectivity` → the formula of S, where it is another than `cles`."""

OF_LABELS = {
    "auprc": f"AUPRC - its mean over permutations, AUPRC = {_NAMED['AUPRC'][2]}",
    "f1": f"F1 - its mean over permutations, F1 = {_NAMED['F1_images'][2]}", "correlation": _NAMED["correlation"][2],
    "soft-wpmi": "Σ log(1 + p_r (q - 1)) over top images - log of its mean over units",
}  # fmt: skip
"""`--by` of labels → the formula of their score."""

_OF_LAYER = {
    "redundant": ("Redundant pairs", "pairs of units whose correlation is at least .95"),
    "images": ("Pictures in the store", "images that units were measured on, unreadable ones included"),
    "unreadable_images": ("Unreadable pictures", "images that have no activation, since they could not be read"),
    "pictures_shown": ("Pictures shown", "distinct images that are among the top or sampled pictures of a unit, and were found"),
    "pictures_not_found": ("Pictures not found", "those that were not found, or are other files than those that were measured"),
    "nearest_above_chance": ("Units with a neighbour above chance", "units whose nearest by correlation is above the 95% quantile of permuted units'"),
    "labelled": ("Labelled units", "units with a label, tested or given"),
    "concepts_of_labels": ("Concepts of labels", "distinct labels"),
    "concepts_of_images": ("Concepts of pictures", "distinct concepts of the image table"),
    "concepts_covered": ("Concepts covered", "share of the pictures' concepts that are the label of a unit, 0 to 1"),
    "scored": ("Scored units", "units with an InterpScore in the results"),
}  # fmt: skip
"""Statistic of a layer → title, meaning; those that are a column of units, such as `dead`, count the units that have it."""

_ENDS = {"low": "lower end of the interval of {}", "high": "upper end of the interval of {}"}
_CITED = re.compile(r" \((?:METRICS|crossed bootstrap, METRICS) (\d+)\)")


def of_store(n_images: int, store: str) -> dict[str, Column]:
    """The columns that a store alone gives."""
    n = f"{n_images:,} images"

    def column(title: str, meaning: str, formula: str | None = None) -> Column:
        return Column(title=title, meaning=_sentence(meaning), formula=formula, source=store, n=n)

    return {
        "mean": column("Mean activation", "mean of the unit's activation over all images", "Σ a / n"),
        "maximum": column("Highest activation", "highest activation over all images", "max a"),
        "minimum": column("Lowest activation", "lowest activation over all images", "min a"),
        "deviation": column("Standard deviation", "standard deviation of the activation over all images", "√(Σ (a - mean)² / (n - 1))"),
        "inactive": column("Share inactive", "share of images on which the unit is 0 or below, 0 to 1", "#{a ≤ 0} / n"),
        "dead": column("Never active", "1 where the unit is never above 0, else 0", "max a ≤ 0"),
        "constant": column("Always the same", "1 where the unit has the same activation on all images, else 0", "max a = min a"),
        "activation": column("Activation", "of the unit on a picture, as the store has it"),
        "percentile": column("Percentile of activation", "share of all images whose activation is lower, ties ½, 0 to 100", "100 (#{lower} + #{equal} / 2) / n"),
        "histogram": column("Histogram of activations", "images in 64 bins of equal width between minimum and maximum"),
        "strata": column("Over the whole range", "pictures drawn at random from ranges of quantiles of equal width; images of equal activation in random order"),
        "nearest_correlation": column("Nearest by correlation", "highest correlation with another unit, -1 to 1", "max r"),
        "similar_correlation": column("Correlation of activations", "Pearson correlation of the activations of two units, -1 to 1", "Σ (a - ā)(b - b̄) / √(Σ (a - ā)² Σ (b - b̄)²)"),
    }  # fmt: skip


def of_layer(statistics: Iterable[str], known: Mapping[str, Column], store: str) -> dict[str, Column]:
    """The statistics of a layer that are no column of units: counts, and medians of columns over units."""
    found = {}
    for name in statistics:
        if name in _OF_LAYER:
            title, meaning = _OF_LAYER[name]
            found[name] = Column(title=title, meaning=_sentence(meaning), source=store)
        elif name.startswith("median_") and (of := known.get(name.removeprefix("median_"))):
            found[name] = of.model_copy(update={"title": f"Median: {of.title}", "meaning": f"Median over units. {of.meaning}"})  # fmt: skip
    return found


def described(name: str, meaning: str, source: str | None, n: str | None = None, formula: str | None = None) -> Column:
    """A column of what files and networks say.

    Args:
        name: of the column; ends of intervals, such as `S_low`, follow from the name before, and what is not named here is
            of a package, whose name becomes the title.
        meaning: as the place that computes it says it; a section of METRICS.md that it cites becomes the column's.
        formula: where it depends on options; None takes the one of the name.
    """
    base, _, end = name.rpartition("_")
    if end in _ENDS:
        title = _title(base)
        return Column(title=f"{title}, {'lower' if end == 'low' else 'upper'} end", meaning=_sentence(_ENDS[end].format(title)), section="6", source=source, n=n)  # fmt: skip
    _, section, usual = _NAMED.get(name, (None, None, None))
    cited = _CITED.search(meaning)
    return Column(
        title=_title(name), meaning=_sentence(_CITED.sub("", meaning)),
        formula=formula or usual,
        section=section or (cited[1] if cited else None), source=source, n=n,
    )  # fmt: skip


def published(name: str, source: str) -> Column:
    """The column of a published score."""
    meaning = f"{_title(name)} that was published of the same unit or concept; not recomputed"
    return Column(title=f"{_title(name)}, published", meaning=meaning, source=source)


def _title(name: str) -> str:
    return _NAMED[name][0] if name in _NAMED else _sentence(name.replace("_", " "))


def _sentence(text: str) -> str:
    """With a capital, but for a symbol at the start."""
    return text[:1].upper() + text[1:] if text[:2].isalpha() or text[:2] == "a " else text
