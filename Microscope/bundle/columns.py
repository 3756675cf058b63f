"""What the numbers of a bundle mean, where they come from, and what they are numbers of."""

from __future__ import annotations

from Microscope.bundle.format import Column

SECTIONS = {
    "S": "1", "C": "2", "R": "3", "H": "4", "InterpScore": "5", "Rank": "6", "MS": "9", "MS_top": "9", "clarity": "9",
    "redundancy": "9", "overlap": "9", "sparsity": "9", "entropy": "9", "kurtosis": "9", "label_score": "10",
    "polysemy": "10", "correlation": "8", "cosine": "8", "AUPRC": "8", "F1_images": "8", "IoU_images": "8",
}  # fmt: skip
"""Column → section of METRICS.md."""

FORMULAS = {
    "S": "Φ(g / √2), g = (mean on the concept - mean off it) / standard deviation (Hedges)",
    "C": "mean of ‖E' - E‖ / ‖E‖ at λ = 0 and λ = 2",
    "R": "mean over levels of exp(-|log ratio of activation|)",
    "H": "mean recognition of ratings with high activation",
    "InterpScore": "Σ w X / Σ w over its components",
    "MS": "(‖Σ ã e‖² - Σ ã²) / ((Σ ã)² - Σ ã²)",
    "MS_top": "MS of (a - its 99% quantile)₊",
    "clarity": "(n ‖mean e‖² - 1) / (n - 1) over the top n ≤ 16",
    "redundancy": "largest cosine of the mean embedding of the top 16, the overall mean subtracted",
    "overlap": "largest Jaccard index of the top 16",
    "sparsity": "(1 - (mean a)² / mean a²) / (1 - 1/n)",
    "entropy": "-Σ p log p / log n, p = ã / Σ ã",
    "kurtosis": "m₄ / m₂² - 3",
}
"""Column → its formula, as METRICS.md gives it."""


def of_store(n_images: int, store: str) -> dict[str, Column]:
    """The columns that a store alone gives."""
    n = f"{n_images:,} images"

    def column(title: str, meaning: str, formula: str | None = None) -> Column:
        return Column(title=title, meaning=meaning, formula=formula, source=store, n=n)

    return {
        "mean": column("Mean activation", "mean of the unit's activation over all images", "Σ a / n"),
        "maximum": column("Maximum", "highest activation over all images", "max a"),
        "minimum": column("Minimum", "lowest activation over all images", "min a"),
        "deviation": column("Standard deviation", "of the activation over all images", "√(Σ (a - mean)² / (n - 1))"),
        "inactive": column("Inactive", "share of images on which the unit is 0 or below, 0 to 1", "#{a ≤ 0} / n"),
        "dead": column("Dead", "1 where the unit is never above 0, else 0", "max a ≤ 0"),
        "constant": column("Constant", "1 where the unit has the same activation on all images, else 0", "max a = min a"),
        "percentile": column("Percentile", "share of all images whose activation is lower, ties ½, 0 to 100", "100 (#{lower} + #{equal} / 2) / n"),
        "histogram": column("Histogram", "images in 64 bins of equal width between minimum and maximum"),
        "strata": column("Over the complete range", "pictures drawn at random from ranges of quantiles of equal width; images of equal activation in random order"),
        "nearest_correlation": column("Nearest by correlation", "highest correlation with another unit, -1 to 1", "max r"),
        "similar_correlation": column("Correlation", "Pearson correlation of the activations of two units, -1 to 1", "Σ (a - ā)(b - b̄) / √(Σ (a - ā)² Σ (b - b̄)²)"),
    }  # fmt: skip


def of_metric(name: str, title: str, meaning: str, source: str | None, n: str | None = None) -> Column:
    """A column of a metric."""
    return Column(
        title=title, meaning=meaning, formula=FORMULAS.get(name), section=SECTIONS.get(name), source=source, n=n
    )
