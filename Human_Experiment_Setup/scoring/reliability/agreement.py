"""Agreement of raters: share of pairs, Krippendorff's alpha, and how far people use the same name for a picture.

METRICS.md, section 14. Shapes: I images (or other items), C values, V values given.
"""

from __future__ import annotations

import numpy as np

from InterpScore.helpers import Floats, Ints


def values_by_image(image_V: Ints, value_V: Ints, n_images: int) -> Floats:
    """How often each value was given to each image, `(I, C)`.

    Args:
        image_V: the image of each value given, from 0.
        value_V: the value, integers from 0.
    """
    n_values = int(value_V.max()) + 1 if value_V.size else 0
    counts = np.bincount(image_V * max(n_values, 1) + value_V, minlength=n_images * n_values)
    return counts.reshape(n_images, n_values).astype(float)


def pair_agreement(counts_IC: Floats) -> float:
    """The share of pairs of raters of an image who gave it the same value, over all such pairs; NaN without any.

    >>> pair_agreement(np.array([[2., 1.], [0., 3.]]))  # 1 of 3 pairs, and 3 of 3
    0.6666666666666666
    """
    raters_I = counts_IC.sum(axis=1)
    pairs = (raters_I * (raters_I - 1)).sum()
    return float((counts_IC * (counts_IC - 1)).sum() / pairs) if pairs else float("nan")


def krippendorff_alpha(counts_IC: Floats) -> float:
    """Krippendorff's alpha for nominal values: 1 is perfect agreement, 0 what chance gives.

    1 minus the observed over the expected disagreement, from the coincidences within images with at least two raters.

    Returns:
        NaN where no image has two raters, or where all values are the same, so that chance agrees as well.

    Source: Krippendorff 2004; Hayes & Krippendorff 2007.
    """
    rated_IC = counts_IC[counts_IC.sum(axis=1) >= 2]
    raters_I = rated_IC.sum(axis=1)
    n_C = rated_IC.sum(axis=0)
    n = n_C.sum()
    expected = n * n - (n_C**2).sum()
    if not expected:
        return float("nan")
    observed = ((raters_I**2 - (rated_IC**2).sum(axis=1)) / (raters_I - 1)).sum()
    return float(1 - (n - 1) * observed / expected)


def name_agreement(image_V: Ints, word_V: Ints, n_images: int) -> tuple[Floats, Floats]:
    """Modal share and H statistic of the names that people gave each image, `(I,)` both.

    The modal share is that of the most frequent name. H = -Σ p log2 p is 0 where all gave the same name, and the higher
    the more names there are.

    Returns:
        NaN for images without a name.

    Source: Snodgrass & Vanderwart 1980.

    >>> modal, h = name_agreement(np.array([0, 0, 0, 0, 1]), np.array([3, 3, 3, 7, 2]), 2)
    >>> modal.tolist(), h.round(3).tolist()
    ([0.75, 1.0], [0.811, 0.0])
    """
    pairs, counts = np.unique(np.stack([image_V, word_V]), axis=1, return_counts=True)
    names_I = np.bincount(image_V, minlength=n_images).astype(float)
    p = counts / names_I[pairs[0]]
    modal_I = np.zeros(n_images)
    np.maximum.at(modal_I, pairs[0], p)
    h_I = np.bincount(pairs[0], weights=-p * np.log2(p), minlength=n_images)
    named_I = names_I > 0
    return np.where(named_I, modal_I, np.nan), np.where(named_I, np.abs(h_I), np.nan)
