"""Guards the tests of missing and wrong labels (METRICS.md, 7.4): every statement of section 8 on who passes."""

import numpy as np
import pytest

from InterpScore.sanity import labels
from InterpScore.sanity.labels import LABELS, PREVALENCES, UNITS, check_labels, label_falls

MISSING, ADDED = LABELS[1:]
IDEAL, NOISY, OFFSET = UNITS


def falls(prevalences, corruptions=50):
    return {(f.score, f.unit, f.labels, f.prevalence): f.fall for f in label_falls(0, prevalences, corruptions)}


@pytest.fixture(scope="module")
def near_half():
    return falls((0.499,))


def test_S_of_an_ideal_unit_does_not_move_where_concepts_are_rare():
    found = falls((0.001, 0.01), corruptions=2)
    for prevalence in (0.001, 0.01):
        for what in (MISSING, ADDED):
            assert abs(found["S", IDEAL, what, prevalence]) < 1e-5
            assert found["AUPRC", IDEAL, what, prevalence] > 0.04


def test_AUROC_of_an_ideal_unit_does_not_notice_missing_labels_at_the_lowest_prevalence():
    found = falls((0.0005,), corruptions=1)
    assert 0 < found["AUROC", IDEAL, MISSING, 0.0005] < 0.001
    assert found["AUROC", IDEAL, ADDED, 0.0005] == pytest.approx(0.25, abs=0.001)


def test_labels_added_near_one_half_raise_average_precision_where_AUPRC_falls(near_half):
    assert near_half["AP", IDEAL, ADDED, 0.499] == pytest.approx(0.001, abs=1e-4)
    assert near_half["AP", NOISY, ADDED, 0.499] == pytest.approx(-0.08, abs=0.01)
    assert near_half["AUPRC", IDEAL, ADDED, 0.499] == pytest.approx(0.50, abs=0.005)
    assert near_half["AUPRC", NOISY, ADDED, 0.499] == pytest.approx(0.29, abs=0.01)


def test_cosine_notices_wrong_labels_only_below_the_offset_that_is_derived(near_half):
    """The mean off the concept must be below √2 − 1 of that on it; here it is one half of it."""
    assert near_half["cosine", NOISY, ADDED, 0.499] > 0.05
    assert near_half["cosine", OFFSET, ADDED, 0.499] < 0
    assert near_half["cosine above chance", OFFSET, ADDED, 0.499] > 0.05


@pytest.mark.parametrize(("off", "notices"), [(0.40, True), (0.43, False)])
def test_the_offset_at_which_cosine_stops_noticing_is_the_square_root_of_2_minus_1(off, notices):
    shows = np.arange(4000) < 200
    added = np.arange(4000) < 400
    activation = np.where(shows, 1.0, off)
    score = [labels._scores(activation[None], y.astype(float)[:, None], 200)["cosine"][0, 0] for y in (shows, added)]
    assert (score[0] > score[1]) == notices


def test_the_scores_of_section_8_notice_both_and_it_is_required_of_them():
    checks = list(check_labels(0, (0.01, 0.499), corruptions=20))
    assert {check.variant for check in checks if not check.required} == {"S", "AUROC", "AP", "cosine"}
    assert [check for check in checks if check.required and not check.passed] == []


def test_the_check_catches_a_score_that_ignores_labels(monkeypatch):
    monkeypatch.setattr(labels, "auprc", lambda hits, positives, top, n: 0 * hits + 0.9)
    failed = {check.variant for check in check_labels(0, (0.1,), corruptions=2) if not check.passed and check.required}
    assert failed >= {"AUPRC"}


def test_cells_of_fewer_than_four_positives_are_skipped(monkeypatch):
    monkeypatch.setattr(labels, "POSITIVES", 2)
    monkeypatch.setattr(labels, "IMAGES", 100)
    assert {f.prevalence for f in label_falls(0, (0.01, 0.04), corruptions=1)} == {0.04}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_required_score_notices_at_every_prevalence(seed):
    checks = list(check_labels(seed))
    assert len(checks) == len(PREVALENCES) * 2 * (10 * 2 + 2 * 3)
    assert [check for check in checks if check.required and not check.passed] == []
