"""Guards agreement: published worked examples of alpha, plain loops for pairs and names."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from Human_Experiment_Setup.scoring.reliability.agreement import (
    krippendorff_alpha,
    name_agreement,
    pair_agreement,
    values_by_image,
)

# Krippendorff 2011, "Computing Krippendorff's alpha-reliability": observers in rows, units in columns, "." missing. His values
# for nominal data are .095 and .743; PyPI krippendorff 0.9.0, alpha(reliability_data=…, level_of_measurement="nominal"), gives
# the digits below.
TWO_OBSERVERS = ["0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"]
FOUR_OBSERVERS = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]


def counts(lines):
    cells = [(i, int(cell)) for line in lines for i, cell in enumerate(line.split()) if cell != "."]
    image_V, value_V = np.array(cells).T
    return values_by_image(image_V, value_V, len(lines[0].split()))


@pytest.mark.parametrize(
    ("lines", "alpha"), [(TWO_OBSERVERS, 0.09523809523809534), (FOUR_OBSERVERS, 0.743421052631579)]
)
def test_alpha_is_that_of_published_examples(lines, alpha):
    assert krippendorff_alpha(counts(lines)) == pytest.approx(alpha, abs=1e-12)


def test_alpha_of_an_incomplete_table_is_that_of_the_package():
    # g = numpy.random.default_rng(0).integers(0, 2, (12, 40)).astype(float)
    # g[numpy.random.default_rng(1).random((12, 40)) < .6] = nan; krippendorff.alpha(g, level_of_measurement="nominal")
    values = np.random.default_rng(0).integers(0, 2, (12, 40))
    rater_V, image_V = np.nonzero(np.random.default_rng(1).random((12, 40)) >= 0.6)
    assert krippendorff_alpha(values_by_image(image_V, values[rater_V, image_V], 40)) == pytest.approx(
        0.032171974310339246
    )


@pytest.mark.parametrize("counts_IC", [np.zeros((3, 2)), np.array([[1.0, 0], [0, 1]]), np.array([[3.0, 0], [2, 0]])])
def test_alpha_is_missing_without_pairs_or_differences(counts_IC):
    assert math.isnan(krippendorff_alpha(counts_IC))


def test_agreement_is_the_share_of_pairs():
    generator = np.random.default_rng(0)
    image_V, value_V = generator.integers(0, 9, 60), generator.integers(0, 3, 60)
    pairs = [value_V[a] == value_V[b] for a, b in itertools.combinations(range(60), 2) if image_V[a] == image_V[b]]
    assert pair_agreement(values_by_image(image_V, value_V, 10)) == pytest.approx(sum(pairs) / len(pairs))
    assert math.isnan(pair_agreement(values_by_image(np.arange(4), np.zeros(4, int), 4)))


def test_names_of_an_image_by_plain_loops():
    generator = np.random.default_rng(1)
    image_V, word_V = generator.integers(0, 5, 80), generator.integers(0, 12, 80)
    modal_I, h_I = name_agreement(image_V, word_V, 6)
    for i in range(5):
        names = Counter(word_V[image_V == i].tolist())
        shares = [n / sum(names.values()) for n in names.values()]
        assert modal_I[i] == pytest.approx(max(shares))
        assert h_I[i] == pytest.approx(sum(-p * math.log2(p) for p in shares))
    assert np.isnan([modal_I[5], h_I[5]]).all()
