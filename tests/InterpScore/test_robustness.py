"""Guards robustness R (METRICS.md, section 3): how stable activation is across perturbation levels."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from InterpScore import InputError, MissingScoreWarning, calculate_robustness_score
from InterpScore.options import scoring_options
from InterpScore.robustness import activation_ratio, mean_over_groups, paired_stability, robustness, stability
from InterpScore.tables.experiment_table import load_experiment_table

positive = st.floats(0.01, 100)
COLUMNS = ["ground_truth", "level", "image_filename", "participant", "soft_correct", "act"]
PUBLISHED_GROUPS = [(1, 2), (3,)]


def ratings(*images):
    """A table from images `(concept, level, activation, score, score, …)`, one participant a score."""
    rows = [
        (concept, level, f"image {i:02d}", f"person {p}", score, a)
        for i, (concept, level, a, *scores) in enumerate(images)
        for p, score in enumerate(scores)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def R_of(frame, **options):
    return calculate_robustness_score(frame, "cat", "act", **options)


def plain_R(frame, groups, threshold=0.5, distinct_clean=True, epsilon=0.0):
    """R of the concept cat, group by group, with pandas."""
    rows = frame[(frame.ground_truth == "cat") & frame.act.notna()]
    clean = rows[rows.level == 5]
    if distinct_clean:
        clean = clean.drop_duplicates("image_filename")
    sigmas = []
    for levels in groups:
        seen = rows[rows.level.isin(levels) & (rows.soft_correct >= threshold)]
        if len(seen) and len(clean):
            r = (seen.act.abs().mean() + epsilon) / (clean.act.abs().mean() + epsilon)
            sigmas.append(min(r, 1 / r))
    return sum(sigmas) / len(sigmas) if sigmas else math.nan


def random_study(seed, levels=(1, 2, 3, 4, 5)):
    """Two concepts, five images a level, one to four graded ratings each, activations of both signs."""
    generator = np.random.default_rng(seed)
    return ratings(
        *(
            (concept, level, generator.normal(1, 1), *generator.choice([0, 0.25, 0.5, 1], generator.integers(1, 5)))
            for concept in ("cat", "dog")
            for level in levels
            for _ in range(5)
        )
    )


@pytest.fixture
def small():
    """Clean mean 2; level 3 mean 1 over its recognised ratings; level 4 mean 4."""
    return ratings(
        ("cat", 5, 1.0, 1, 1, 1),
        ("cat", 5, 3.0, 1),
        ("cat", 3, 1.0, 1),
        ("cat", 3, 9.0, 0),
        ("cat", 4, 4.0, 1),
        ("dog", 5, 50.0, 1),
        ("dog", 3, 50.0, 1),
    )


# The score


@pytest.mark.parametrize("seed", range(5))
def test_score_is_the_formula_level_by_level(seed):
    frame = random_study(seed)
    assert R_of(frame) == pytest.approx(plain_R(frame, [(3,), (4,)]), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_published_score_is_the_formula_with_pooled_kinds(seed):
    frame = random_study(seed)
    expected = plain_R(frame, PUBLISHED_GROUPS, threshold=1, distinct_clean=False, epsilon=1e-8)
    assert R_of(frame, preset="published") == pytest.approx(expected, rel=1e-12)


def test_score_of_a_worked_example(small):
    # r at level 3: 1/2, σ = 1/2; r at level 4: 4/2, σ = 1/2
    assert R_of(small) == 0.5


def test_unchanged_activation_gives_one():
    assert R_of(ratings(("cat", 5, 2.0, 1), ("cat", 3, 2.0, 1), ("cat", 4, 2.0, 1))) == 1


def test_vanished_activation_gives_zero():
    assert R_of(ratings(("cat", 5, 2.0, 1), ("cat", 3, 0.0, 1))) == 0


def test_activation_that_appears_from_nothing_gives_zero():
    assert R_of(ratings(("cat", 5, 0.0, 1), ("cat", 3, 2.0, 1))) == 0


def test_sign_of_activation_does_not_count(small):
    flipped = small.assign(act=np.where(small.level == 3, -small.act, small.act))
    assert R_of(flipped) == R_of(small)


def test_clean_level_is_no_group_of_its_own():
    frame = ratings(("cat", 5, 2.0, 1), ("cat", 3, 1.0, 1))
    assert R_of(frame, recognizable_levels=[3, 5]) == 0.5


def test_level_that_is_not_recognizable_does_not_count(small):
    extra = ratings(("cat", 2, 100.0, 1)).assign(image_filename="another image")
    assert R_of(pd.concat([small, extra])) == R_of(small)


def test_levels_are_groups_of_equal_weight_whatever_their_size():
    frame = ratings(("cat", 5, 1.0, 1), ("cat", 3, 1.0, 1), *[("cat", 4, 0.5, 1)] * 9)
    assert R_of(frame) == pytest.approx((1 + 0.5) / 2)


def test_published_pools_levels_of_a_kind_into_one_group():
    # benign: mean(1, .5, .5, .5) over level 1 and 2 together; adversarial: .25
    frame = ratings(("cat", 5, 1.0, 1), ("cat", 1, 1.0, 1), *[("cat", 2, 0.5, 1)] * 3, ("cat", 3, 0.25, 1))
    assert R_of(frame, preset="published") == pytest.approx((0.625 + 0.25) / 2, abs=1e-7)


def test_published_leaves_synthetic_images_out():
    frame = ratings(("cat", 5, 1.0, 1), ("cat", 1, 0.5, 1), ("cat", 4, 1.0, 1))
    assert R_of(frame, preset="published") == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [({}, 1.0), ({2: "adversarial"}, (1 / 1.5 + 0.5) / 2)],
    ids=["one kind: σ of the mean of 1.5 and .5", "two kinds: mean of σ(1.5) and σ(.5)"],
)
def test_level_kinds_decide_which_levels_are_pooled(kinds, expected):
    frame = ratings(("cat", 5, 1.0, 1), ("cat", 1, 1.5, 1), ("cat", 2, 0.5, 1))
    assert R_of(frame, preset="published", level_kinds=kinds) == pytest.approx(expected, abs=1e-7)


def test_clean_level_can_be_another():
    frame = ratings(("cat", 0, 2.0, 1), ("cat", 3, 1.0, 1), ("cat", 5, 2.0, 1))
    assert R_of(frame, clean_level=0) == pytest.approx((0.5 + 1) / 2)


# Recognition


def test_unrecognised_ratings_do_not_count():
    frame = ratings(("cat", 5, 2.0, 1), ("cat", 3, 1.0, 1), ("cat", 3, 2.0, 0, 0))
    assert R_of(frame) == 0.5


@pytest.mark.parametrize(("score", "counts"), [(0.49, False), (0.5, True), (0.51, True), (1.0, True)])
def test_recognised_is_one_half_and_more(score, counts):
    frame = ratings(("cat", 5, 2.0, 1), ("cat", 3, 1.0, 1), ("cat", 3, 2.0, score))
    assert R_of(frame) == (0.75 if counts else 0.5)


@pytest.mark.parametrize(("score", "counts"), [(0.5, False), (0.99, False), (1.0, True)])
def test_published_recognised_is_one_exactly(score, counts):
    frame = ratings(("cat", 5, 2.0, 1), ("cat", 3, 1.0, 1), ("cat", 3, 2.0, score))
    assert R_of(frame, preset="published") == pytest.approx(0.75 if counts else 0.5, abs=1e-7)


def test_recognition_of_clean_images_does_not_count(small):
    unseen = small.assign(soft_correct=small.soft_correct.where(small.level != 5, 0))
    assert R_of(unseen) == R_of(small)


def test_recognition_may_stand_in_another_column(small):
    renamed = small.rename(columns={"soft_correct": "named"})
    assert R_of(renamed, human_score_col="named") == R_of(small)


# Unit of analysis


def test_clean_baseline_is_over_distinct_images(small):
    assert R_of(small, unit_of_analysis="image", recognizable_levels=[3]) == pytest.approx(1 / 2)


def test_clean_baseline_is_over_ratings_on_request(small):
    # ratings of the clean images: 1, 1, 1, 3; mean 1.5
    assert R_of(small, unit_of_analysis="rating", recognizable_levels=[3]) == pytest.approx(1 / 1.5)


def test_published_clean_baseline_is_over_ratings(small):
    assert R_of(small, preset="published") == pytest.approx(1 / 1.5, abs=1e-7)


@pytest.mark.parametrize("preset", ["default", "published"])
def test_duplicating_every_rating_changes_nothing(preset):
    frame = random_study(8)
    twice = pd.concat([frame, frame.assign(participant="twin of " + frame.participant)])
    assert R_of(twice, preset=preset) == pytest.approx(R_of(frame, preset=preset), rel=1e-12)


def test_order_of_rows_changes_nothing():
    frame = random_study(8)
    assert R_of(frame.sample(frac=1, random_state=1)) == pytest.approx(R_of(frame), rel=1e-12)


@settings(max_examples=10)
@given(st.floats(1e-3, 1e3))
def test_scale_of_activation_changes_nothing(factor):
    frame = random_study(8)
    assert R_of(frame.assign(act=frame.act * factor)) == pytest.approx(R_of(frame), rel=1e-9)


def test_images_without_activation_are_left_out():
    frame = ratings(("cat", 5, 2.0, 1), ("cat", 5, math.nan, 1), ("cat", 3, 1.0, 1), ("cat", 3, math.nan, 1))
    assert R_of(frame) == 0.5


# Epsilon


def test_published_adds_its_epsilon_to_both_sides():
    # r = (3e-8 + 1e-8) / (1e-8 + 1e-8) = 2
    frame = ratings(("cat", 5, 1e-8, 1), ("cat", 3, 3e-8, 1))
    assert R_of(frame, preset="published") == pytest.approx(0.5)


def test_seed_adds_no_epsilon():
    frame = ratings(("cat", 5, 1e-8, 1), ("cat", 3, 3e-8, 1))
    assert R_of(frame) == pytest.approx(1 / 3)


def test_published_silent_unit_is_perfectly_stable():
    assert R_of(ratings(("cat", 5, 0.0, 1), ("cat", 3, 0.0, 1)), preset="published") == 1


# Missing


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([("cat", 3, 1.0, 1), ("dog", 5, 1.0, 1)], "no clean image of the concept"),
        ([("dog", 5, 1.0, 1), ("dog", 3, 1.0, 1)], "no clean image of the concept"),
        ([("cat", 5, 1.0, 1), ("cat", 2, 1.0, 1)], "no image of the concept at levels 3, 4"),
        ([("cat", 5, 1.0, 1), ("cat", 3, 1.0, 0), ("cat", 4, 1.0, 0.4)], "no recognised image at levels 3, 4"),
        ([("cat", 5, 0.0, 1), ("cat", 3, 0.0, 1)], "the unit is silent on every clean and perturbed image"),
    ],
    ids=["no clean image", "no image", "no perturbed image", "not recognised", "silent"],
)
def test_score_that_cannot_be_computed_is_nan_with_its_reason(images, reason):
    with pytest.warns(MissingScoreWarning, match=f"R of act is NaN: {reason}"):
        score = R_of(ratings(*images))
    assert math.isnan(score)


def test_single_level_is_named_in_the_reason():
    with pytest.warns(MissingScoreWarning, match="no image of the concept at level 4$"):
        R_of(ratings(("cat", 5, 1.0, 1)), recognizable_levels=[4])


def test_no_perturbed_level_to_count_is_a_reason():
    with pytest.warns(MissingScoreWarning, match="no recognizable level besides the clean one"):
        R_of(ratings(("cat", 5, 1.0, 1)), recognizable_levels=[5])


def test_published_score_that_cannot_be_computed_is_zero():
    with pytest.warns(MissingScoreWarning, match="no recognised image"):
        score = R_of(ratings(("cat", 5, 1.0, 1), ("cat", 3, 1.0, 0)), preset="published")
    assert score == 0


def test_level_without_recognised_image_is_left_out_of_the_mean():
    frame = ratings(("cat", 5, 1.0, 1), ("cat", 3, 0.5, 1), ("cat", 4, 1.0, 0))
    assert R_of(frame) == 0.5


def test_absent_activation_column_is_an_input_error():
    with pytest.raises(InputError, match="no column 'acts' \\(did you mean 'act'"):
        calculate_robustness_score(ratings(("cat", 5, 1.0, 1)), "cat", "acts")


def test_unknown_option_is_an_input_error():
    with pytest.raises(InputError, match="no such key '--levels'"):
        R_of(ratings(("cat", 5, 1.0, 1)), levels=[3])


# The core


@pytest.mark.parametrize("preset", ["default", "published"])
def test_many_units_at_once_score_as_each_alone(preset):
    frame, options = random_study(4), scoring_options(preset)
    scales = np.random.default_rng(0).normal(1, 1, (6, frame.image_filename.nunique()))
    image = frame.image_filename.str.split().str[1].astype(int)
    for u in range(6):
        frame[f"activation_{u}"] = scales[u, image]
    table = load_experiment_table(frame, [str(u) for u in range(6)])
    draw = table.rating_design(options.recognised_at).unit_weights()
    together = robustness(table.activation_UI, table.images_of("cat"), table.level_I, draw, options)[:, 0]
    alone = [calculate_robustness_score(frame, "cat", f"activation_{u}", preset=preset) for u in range(6)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_draws_weigh_images_and_ratings():
    frame, options = random_study(4), scoring_options()
    table = load_experiment_table(frame.rename(columns={"act": "activation_0"}), ["0"])
    cat = table.images_of("cat")
    draws = next(table.rating_design(0.5).bootstrap(4, seed=1))
    found = robustness(table.activation_UI, cat, table.level_I, draws, options)[0]
    a_I = np.abs(table.activation_UI[0])
    for b in range(4):
        clean = [(w, a) for w, a, c, level in zip(draws.image_IB[:, b], a_I, cat, table.level_I) if c and level == 5]
        baseline = sum(w * a for w, a in clean) / sum(w for w, _ in clean)
        sigmas = []
        for group in (3, 4):
            at = cat & (table.level_I == group)
            r = np.average(a_I[at], weights=draws.recognised_IB[at, b]) / baseline
            sigmas.append(min(r, 1 / r))
        assert found[b] == pytest.approx(np.mean(sigmas), rel=1e-12), b


# Its parts


@given(positive)
def test_stability_is_the_smaller_of_ratio_and_inverse(ratio):
    assert stability(np.array([ratio]))[0] == pytest.approx(ratio if ratio < 1 else 1 / ratio)


def test_stability_of_nothing_and_of_infinity_is_zero():
    assert stability(np.array([0.0, np.inf])).tolist() == [0, 0]


def test_ratio_is_that_of_mean_absolute_activation():
    ratio = activation_ratio(
        np.array([[-1.0, 3.0]]), np.array([[3.0], [1.0]]), np.array([[2.0, -4.0]]), np.ones((2, 1))
    )
    assert ratio[0, 0] == pytest.approx((3 * 1 + 1 * 3) / 4 / 3)


@pytest.mark.parametrize("weighted", ["perturbed", "clean"])
def test_ratio_is_nan_where_a_side_has_no_weight(weighted):
    perturbed, clean = (np.full((1, 1), float(weighted == side)) for side in ("perturbed", "clean"))
    assert np.isnan(activation_ratio(np.ones((1, 1)), perturbed, np.ones((1, 1)), clean)).all()


def test_mean_over_groups_leaves_missing_groups_out():
    groups = [np.array([[0.2, np.nan, np.nan]]), np.array([[0.4, 0.4, np.nan]])]
    np.testing.assert_allclose(mean_over_groups(groups), [[0.3, 0.4, np.nan]])


@given(st.lists(st.tuples(positive, positive, st.sampled_from([-1, 1])), min_size=1, max_size=8))
def test_paired_stability_is_the_mean_over_pairs(pairs):
    perturbed, clean = np.array([[a * sign for a, _, sign in pairs]]), np.array([[b for _, b, _ in pairs]])
    expected = sum(min(a / b, b / a) for a, b, _ in pairs) / len(pairs)
    assert paired_stability(perturbed, clean)[0] == pytest.approx(expected)


def test_pairs_that_are_silent_twice_are_left_out():
    assert paired_stability(np.array([[0.0, 1.0]]), np.array([[0.0, 2.0]])).tolist() == [0.5]


def test_pair_with_one_silent_side_counts_as_zero():
    assert paired_stability(np.array([[0.0, 3.0, 1.0]]), np.array([[2.0, 0.0, 1.0]])).tolist() == [1 / 3]


def test_a_ratio_too_large_for_a_number_is_an_explosion_without_a_warning():
    one = np.ones((1, 1))
    assert stability(activation_ratio(2 * one, one, 1e-308 * one, one)).tolist() == [[0]]
    assert stability(activation_ratio(1e-308 * one, one, one, one))[0, 0] == 1e-308
    assert stability(np.array([1e-310])).tolist() == [1e-310]  # 1 / ratio is too large
    assert paired_stability(np.array([[2.0, 1.0]]), np.array([[1e-308, 1.0]])).tolist() == [0.5]


def test_published_stand_in_is_named_in_the_warning():
    frame = pd.DataFrame(
        {
            "ground_truth": ["cat", "cat"],
            "level": [5, 1],
            "soft_correct": [1, 0],
            "act": [1.0, 1.0],
            "image": ["a", "b"],
        }
    )
    with pytest.warns(MissingScoreWarning, match="R of act is 0: no recognised image at levels 1, 2, 3"):
        assert calculate_robustness_score(frame, "cat", "act", preset="published") == 0


def test_unrated_clean_images_are_the_reason_when_ratings_are_analysed():
    frame = pd.DataFrame(
        {"ground_truth": "cat", "level": [5, 5, 3], "soft_correct": [np.nan, np.nan, 1], "act": [1.0, 2.0, 1.0]}
    )
    with pytest.warns(MissingScoreWarning, match="R of act is NaN: no rated clean image of the concept"):
        calculate_robustness_score(frame, "cat", "act", unit_of_analysis="rating")
