"""Guards the experiment table: what counts as a valid table, what it becomes, and what is said of a wrong one."""

import numpy as np
import pandas as pd
import pytest

from InterpScore.errors import InputError
from InterpScore.tables.experiment_table import load_experiment_table, one_unit_table

NAN = float("nan")


def small(**columns):
    """Four images of two concepts, one rating each; columns may be replaced, added or, with None, left out."""
    base = {
        "ground_truth": ["cat", "cat", "dog", "dog"],
        "level": [5, 3, 5, 3],
        "image_filename": ["c5.png", "c3.png", "d5.png", "d3.png"],
        "participant": ["p1", "p2", "p1", "p2"],
        "soft_correct": [True, False, True, True],
        "activation_1": [2.0, 1.0, 0.5, 0.25],
    }
    return pd.DataFrame({name: cells for name, cells in {**base, **columns}.items() if cells is not None}, dtype=object)


def by_hand(tmp_path, frame, suffix=".csv"):
    path = tmp_path / f"table{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.astype(str).to_parquet(path)
    return path


def problems_of(data, units=("1",), **how):
    with pytest.raises(InputError) as caught:
        load_experiment_table(data, list(units), **how)
    return caught.value.problems


def of_images(table, values):
    """Values by image name, so that tests do not depend on the order of images."""
    return dict(zip(table.images, np.asarray(values).tolist(), strict=True))


# --- what a table becomes ----------------------------------------------------------------------


@pytest.fixture(params=["CSV", "Parquet", "words in Parquet", "DataFrame", "DataFrame of words"])
def as_read(request, simulated_study, tmp_path):
    """The simulated study as each kind of input."""
    words = simulated_study.astype(str)
    if request.param == "CSV":
        return by_hand(tmp_path, simulated_study)
    if request.param == "Parquet":
        simulated_study.to_parquet(tmp_path / "t.parquet")
        return tmp_path / "t.parquet"
    if request.param == "words in Parquet":
        words.to_parquet(tmp_path / "t.parquet")
        return tmp_path / "t.parquet"
    return simulated_study if request.param == "DataFrame" else words


def test_every_kind_of_input_gives_the_same_numbers(as_read, simulated_study, neurons):
    table, frame = load_experiment_table(as_read, list(neurons)), simulated_study
    first = frame.drop_duplicates("image_filename").set_index("image_filename").sort_index()
    assert table.images == first.index.tolist()
    np.testing.assert_array_equal(table.level_I, first["level"])
    np.testing.assert_array_equal(np.array(table.concepts)[table.concept_I], first["ground_truth"])
    np.testing.assert_array_equal(table.activation_UI, first[[f"activation_{unit}" for unit in neurons]].T)
    np.testing.assert_array_equal(table.ablation_UI[:2], first[["ablation_effect_1", "ablation_effect_2"]].T)
    assert np.isnan(table.ablation_UI[2]).all()
    np.testing.assert_array_equal(np.array(table.images)[table.image_R], frame["image_filename"])
    np.testing.assert_array_equal(np.sort(frame["participant"].unique())[table.participant_R], frame["participant"])
    np.testing.assert_array_equal(table.score_R, frame["soft_correct"])
    assert table.simulated


def test_a_concept_called_NA_is_a_concept(tmp_path):
    frame = small(ground_truth=["NA", "NA", "null", "null"], participant=["nan", "None", "nan", "null"])
    table = load_experiment_table(by_hand(tmp_path, frame), ["1"])
    assert table.concepts == ["NA", "null"]
    assert len(set(table.participant_R)) == 3


def test_what_participants_typed_does_not_matter_to_the_table(tmp_path):
    frame = small(response=["null", "NA", 'a "cat",\nI think', "é;|\t"])
    assert load_experiment_table(by_hand(tmp_path, frame), ["1"]).score_R.tolist() == [1, 0, 1, 1]


def test_concepts_match_without_case_and_surrounding_space(tmp_path):
    frame = small(ground_truth=[" Raised  Hand", "raised hand ", "dog", "DOG"])
    table = load_experiment_table(by_hand(tmp_path, frame), ["1"])
    assert len(table.concepts) == 2
    assert of_images(table, table.images_of("RAISED HAND")) == {
        "c5.png": True,
        "c3.png": True,
        "d5.png": False,
        "d3.png": False,
    }
    assert not table.images_of("hand").any()


@pytest.mark.parametrize(
    ("cells", "scores"),
    [
        ([True, False, True, False], [1, 0, 1, 0]),
        (["true", "FALSE", " True ", "false"], [1, 0, 1, 0]),
        ([0, 1, 1, 0], [0, 1, 1, 0]),
        (["0.0", "1.0", "1", "0"], [0, 1, 1, 0]),
        ([0.25, 0.5, 1, 0], [0.25, 0.5, 1, 0]),
        (["true", "0", "0.75", "1"], [1, 0, 0.75, 1]),
    ],
)
@pytest.mark.parametrize("kind", ["CSV", "Parquet", "DataFrame"])
def test_booleans_words_and_fractions_are_recognition_scores(tmp_path, cells, scores, kind):
    frame = small(soft_correct=cells)
    data = frame if kind == "DataFrame" else by_hand(tmp_path, frame, f".{kind.lower()}")
    assert load_experiment_table(data, ["1"]).score_R.tolist() == scores


@pytest.mark.parametrize("dtype", ["bool", "boolean", "Int64", "float32", "category", "string"])
def test_scores_of_any_type_that_pandas_knows_are_read(dtype):
    frame = small(soft_correct=pd.Series([1, 0, 1, 1]).astype(dtype))
    assert load_experiment_table(frame, ["1"]).score_R.tolist() == [1, 0, 1, 1]


def test_a_nullable_boolean_that_is_missing_is_a_missing_rating():
    frame = small(soft_correct=pd.array([True, None, False, None], dtype="boolean"))
    frame["soft_correct"] = frame["soft_correct"].astype("boolean")
    assert load_experiment_table(frame, ["1"]).score_R.tolist() == [1, 0]


@pytest.mark.parametrize("blank", ["", "NA", "nan", "null", "None", " "])
def test_an_empty_score_is_a_rating_not_made(tmp_path, blank):
    frame = small(soft_correct=[True, blank, True, False])
    table = load_experiment_table(by_hand(tmp_path, frame), ["1"])
    assert (len(table.images), table.score_R.tolist()) == (4, [1, 1, 0])
    assert [table.images[i] for i in table.image_R] == ["c5.png", "d5.png", "d3.png"]


@pytest.mark.parametrize(
    ("column", "others"),
    [("image_filename", ["image", "image_basename"]), ("image", ["image_basename"]), ("image_basename", [])],
)
def test_an_image_is_known_by_the_first_of_its_columns(column, others):
    same = ["x", "x", "y", "y"]
    frame = small(level=5, ground_truth=["cat", "cat", "dog", "dog"], activation_1=[1, 1, 2, 2], image_filename=None)
    frame[column] = same
    for other in others:
        frame[other] = ["a", "b", "c", "d"]
    assert load_experiment_table(frame, ["1"]).images == ["x", "y"]


def test_without_a_column_for_images_each_row_is_its_own_image():
    table = load_experiment_table(small(image_filename=None), ["1"])
    assert table.images == ["row 2", "row 3", "row 4", "row 5"]
    assert table.image_R.tolist() == [0, 1, 2, 3]


def test_participants_are_known_by_participant_else_by_prolific_id():
    both = small(PROLIFIC_PID=["a", "b", "c", "d"])
    assert load_experiment_table(both, ["1"]).participant_R.tolist() == [0, 1, 0, 1]
    assert load_experiment_table(both.drop(columns="participant"), ["1"]).participant_R.tolist() == [0, 1, 2, 3]


def test_without_participants_each_rating_is_its_own_and_the_run_says_so():
    table = load_experiment_table(small(participant=None, soft_correct=[1, "", 1, 0]), ["1"])
    assert table.participant_R.tolist() == [0, 1, 2]
    assert any("every rating counts as another participant" in remark for remark in table.remarks)


def test_practice_and_attention_trials_are_left_out_and_counted():
    frame = small(trial_category=["experiment", "practice", " Experiment ", "attention"])
    table = load_experiment_table(frame, ["1"])
    assert table.images == ["c5.png", "d5.png"]
    assert any("2 of 4 rows left out" in remark for remark in table.remarks)


def test_a_practice_trial_may_hold_anything():
    frame = small(trial_category=["experiment", "practice", "experiment", "experiment"], level=[5, "?", 5, 3])
    assert load_experiment_table(frame, ["1"]).images == ["c5.png", "d3.png", "d5.png"]


def test_a_table_with_other_words_for_its_trials_counts_in_full_and_says_so():
    table = load_experiment_table(small(trial_category="main"), ["1"])
    assert len(table.images) == 4
    assert table.remarks == ["the table: no trial_category is 'experiment', so every row counts"]


def test_a_blank_trial_category_leaves_no_row_out():
    assert len(load_experiment_table(small(trial_category=""), ["1"]).images) == 4


def test_rows_keep_their_number_when_others_are_left_out():
    frame = small(trial_category=["practice", "experiment", "practice", "experiment"], soft_correct=[1, 1, 1, 7])
    assert "row 5: found '7'" in problems_of(frame)[0]


def test_units_without_a_column_are_left_out_and_the_nearest_column_is_named():
    table = load_experiment_table(small(activation_77=1.0), ["1", "7"])
    assert table.units == ["1"]
    assert table.absent == {"7": "no column activation_7 (did you mean 'activation_77'?)"}


def test_a_blank_activation_is_missing_on_that_image_alone(tmp_path):
    table = load_experiment_table(by_hand(tmp_path, small(activation_1=[2.0, "", "NA", 0.25])), ["1"])
    np.testing.assert_equal(
        of_images(table, table.activation_UI[0]), {"c5.png": 2.0, "c3.png": NAN, "d5.png": NAN, "d3.png": 0.25}
    )


@pytest.mark.parametrize("cells", [[5, 3, 5, 3], [5.0, 3.0, 5.0, 3.0], ["5", "3.0", " 5 ", "3e0"]])
def test_levels_are_whole_numbers_however_they_are_written(cells):
    table = load_experiment_table(small(level=cells), ["1"])
    assert of_images(table, table.level_I) == {"c5.png": 5, "c3.png": 3, "d5.png": 5, "d3.png": 3}


def test_the_order_of_rows_changes_nothing_about_an_image(simulated_study, neurons):
    straight = load_experiment_table(simulated_study, list(neurons))
    shuffled = load_experiment_table(simulated_study.sample(frac=1, random_state=0), list(neurons))
    assert straight.images == shuffled.images
    np.testing.assert_array_equal(straight.activation_UI, shuffled.activation_UI)
    np.testing.assert_array_equal(straight.level_I, shuffled.level_I)


def test_the_frame_given_is_not_changed(simulated_study, neurons):
    frame = simulated_study.copy()
    load_experiment_table(frame, list(neurons))
    pd.testing.assert_frame_equal(frame, simulated_study)


@pytest.mark.parametrize(
    ("cells", "simulated"), [("True", True), ("1", True), (["", "", "true", ""], True), ("False", False), ("", False)]
)
def test_a_table_says_whether_people_were_simulated(cells, simulated):
    assert load_experiment_table(small(simulated=cells), ["1"]).simulated is simulated


def test_one_unit_table_reads_a_column_of_any_name():
    table = one_unit_table(small().rename(columns={"activation_1": "mine"}), "mine", "soft_correct")
    assert of_images(table, table.activation_UI[0])["c5.png"] == 2.0
    with pytest.raises(InputError, match=r"no column 'mein' .did you mean 'mine'.."):
        one_unit_table(small(mine=1.0), "mein", "soft_correct")


# --- pairing -----------------------------------------------------------------------------------


def partners(table):
    return {name: table.images[i] if i >= 0 else None for name, i in zip(table.images, table.partner_I, strict=True)}


def test_the_column_clean_image_pairs_perturbed_images_with_clean_ones():
    table = load_experiment_table(small(clean_image=["", "c5.png", "", "lost.png"]), ["1"])
    assert partners(table) == {"c5.png": None, "c3.png": "c5.png", "d5.png": None, "d3.png": None}


def test_published_file_names_pair_perturbed_images_with_clean_ones():
    names = [
        "level5/raised_hand_clean_7.jpg",
        "level2/raised_hand_noisy_level2_7.jpg",
        "level5/dog_clean_7.jpg",
        "level2/dog_noisy_level2_8.jpg",
    ]
    table = load_experiment_table(small(image_filename=names), ["1"])
    assert partners(table) == {names[0]: None, names[1]: names[0], names[2]: None, names[3]: None}


# --- effects -----------------------------------------------------------------------------------


def effects(**columns):
    base = {
        "image_filename": ["d5.png", "c5.png", "elsewhere.png"],
        "ablation_effect_1": [0.1, 0.2, 9],
        "amplification_effect_1": [0.3, 0.4, 9],
    }
    return pd.DataFrame({name: cells for name, cells in {**base, **columns}.items() if cells is not None}, dtype=object)


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_effects_are_joined_by_image(tmp_path, kind):
    source = effects() if kind == "frame" else by_hand(tmp_path, effects(), f".{kind}")
    table = load_experiment_table(small(), ["1"], effects=source)
    np.testing.assert_equal(
        of_images(table, table.ablation_UI[0]), {"c5.png": 0.2, "d5.png": 0.1, "c3.png": NAN, "d3.png": NAN}
    )
    np.testing.assert_equal(
        of_images(table, table.amplification_UI[0]), {"c5.png": 0.4, "d5.png": 0.3, "c3.png": NAN, "d3.png": NAN}
    )


def test_effects_of_their_own_table_come_before_those_of_the_experiment():
    table = load_experiment_table(small(ablation_effect_1=0.7), ["1"], effects=effects())
    assert of_images(table, table.ablation_UI[0]) == {"c5.png": 0.2, "d5.png": 0.1, "c3.png": 0.7, "d3.png": 0.7}


EFFECTS_WRONG = {
    "no image column": (effects(image_filename=None), "the effects: no column with the image; expected image_filename and"),
    "no effect column": (effects(ablation_effect_1=None, amplification_effect_1=None), "the effects: no effect column of any neuron of the map"),
    "no rows": (effects()[:0], "the effects: no rows; expected one row an image"),
    "an image twice": (effects(image_filename=["c5.png", "d5.png", "c5.png"]), "column 'image_filename', row 4: found 'c5.png'; expected each image once"),
    "a word": (effects(ablation_effect_1=["much", 0, 0]), "column 'ablation_effect_1', row 2: found 'much'; expected a finite number"),
    "infinite": (effects(amplification_effect_1=[0, "inf", 0]), "column 'amplification_effect_1', row 3: found 'inf'; expected a finite number"),
    "other images": (effects(image_filename=["x", "y", "z"]), "the table: none of its 4 images is in the effects; the table has names such as 'c3.png', the effects 'x'; expected"),
    "a column twice": (effects().rename(columns={"amplification_effect_1": "ablation_effect_1"}), "the effects: columns ablation_effect_1 appear more than once"),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "found"), EFFECTS_WRONG.values(), ids=EFFECTS_WRONG)
def test_wrong_effects_are_refused_with_their_place(wrong, found):
    (problem,) = problems_of(small(), effects=wrong)
    assert found in problem


def test_problems_of_the_effects_are_told_together_with_those_of_the_table():
    problems = problems_of(small(soft_correct=[1, 2, 1, 1]), effects=effects(ablation_effect_1=["much", 0, 0]))
    assert [problem.split(":")[0] for problem in problems] == [
        "the table, column 'soft_correct', row 3",
        "the effects, column 'ablation_effect_1', row 2",
    ]


# --- what is wrong -----------------------------------------------------------------------------

A_SCORE, A_NUMBER, WHOLE = "true, false or a number from 0 to 1", "a finite number", "a whole number"
WRONG_CELLS = {
    "activation that is a word": ("activation_1", [1, "high", 1, 1], 3, "found 'high'", A_NUMBER),
    "activation true": ("activation_1", [1, 1, True, 1], 4, "found 'True'", A_NUMBER),
    "activation with a comma": ("activation_1", [1.5, 1, "0,5", 1], 4, "found '0,5'", A_NUMBER),
    "activation with an underscore": ("activation_1", [1, 1, "1_0", 1], 4, "found '1_0'", A_NUMBER),
    "infinite activation": ("activation_1", [1, 1, 1, "inf"], 5, "found 'inf'", A_NUMBER),
    "activation beyond any float": ("activation_1", ["-1e999", 1, 1, 1], 2, "found '-", A_NUMBER),
    "level with a fraction": ("level", [5, 2.5, 5, 3], 3, "found '2.5'", WHOLE),
    "level that is a word": ("level", ["clean", 3, 5, 3], 2, "found 'clean'", WHOLE),
    "blank level": ("level", [5, 3, "", 3], 4, "found ''", WHOLE),
    "infinite level": ("level", [5, 3, "inf", 3], 4, "found 'inf'", WHOLE),
    "level beyond any integer": ("level", [5, 3, 5, "1e300"], 5, "found '1e300'", WHOLE),
    "score above 1": ("soft_correct", [1, 0, 1.01, 1], 4, "found '1.01'", A_SCORE),
    "score below 0": ("soft_correct", [1, 0, -0.1, 1], 4, "found '-0.1'", A_SCORE),
    "score that is a word": ("soft_correct", [1, "maybe", 1, 1], 3, "found 'maybe'", A_SCORE),
    "infinite score": ("soft_correct", [1, "inf", 1, 1], 3, "found 'inf'", A_SCORE),
    "blank concept": ("ground_truth", ["cat", " ", "dog", "dog"], 3, "found ' '", "a concept"),
    "blank image": ("image_filename", ["c5.png", "c3.png", "", "d3.png"], 4, "found ''", "the name of an image"),
}  # fmt: skip


@pytest.mark.parametrize(("column", "cells", "row", "found", "expected"), WRONG_CELLS.values(), ids=WRONG_CELLS)
@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_a_wrong_cell_is_told_once_with_file_column_row_and_expectation(
    tmp_path, kind, column, cells, row, found, expected
):
    frame = small(**{column: cells})
    data = frame if kind == "frame" else by_hand(tmp_path, frame, f".{kind}")
    (problem,) = problems_of(data)
    source = "the table" if kind == "frame" else str(data)
    place, _, rest = problem.partition(f", column '{column}', row {row}: ")
    assert place == source
    assert rest.endswith(f"; expected {expected}")
    assert found in rest


DIFFERENT = {
    "activations": ({"activation_1": [1.0, 2.0, 3.0, 3.0]}, "activation_1", "found '2.0'; expected one activation an image"),
    "an activation and none": ({"activation_1": [1.0, "", 3.0, 3.0]}, "activation_1", "found ''; expected one activation an image"),
    "concepts": ({"ground_truth": ["cat", "cow", "dog", "dog"]}, "ground_truth", "found 'cow'; expected one concept an image"),
    "levels": ({"level": [5, 4, 5, 5]}, "level", "found '4'; expected one level an image"),
    "ablations": ({"ablation_effect_1": [0.1, 0.2, 0.3, 0.3]}, "ablation_effect_1", "found '0.2'; expected one ablation an image"),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "column", "found"), DIFFERENT.values(), ids=DIFFERENT)
def test_an_image_cannot_have_two_values(columns, column, found):
    plain = {"level": 5, "image_filename": ["c", "c", "d", "d"], "activation_1": [1.0, 1.0, 3.0, 3.0]}
    (problem,) = problems_of(small(**{**plain, **columns}))
    assert problem == f"the table, column '{column}', row 3: {found}; image 'c' has another in row 2"


@pytest.mark.parametrize(
    ("column", "wrong"), [("activation_1", "high"), ("activation_1", "inf"), ("level", "?"), ("ground_truth", "")]
)
@pytest.mark.parametrize("row", [0, 1])
def test_a_wrong_cell_is_not_told_again_as_a_second_value_of_its_image(column, wrong, row):
    frame = small(level=5, image_filename=["c", "c", "d", "d"], activation_1=[1.0, 1.0, 3.0, 3.0])
    frame.loc[row, column] = wrong
    (problem,) = problems_of(frame)
    assert f"column '{column}', row {row + 2}: found '{wrong}'" in problem


def test_nameless_images_are_not_held_against_each_other():
    assert len(problems_of(small(image_filename=["", "c3.png", "", "d3.png"]))) == 2


def test_one_pass_tells_of_every_problem(tmp_path):
    frame = small(
        level=[5, "x", 5, 3],
        soft_correct=[1, 0, 1, 3],
        activation_1=[1, 1, "?", 1],
        ground_truth=["cat", "cat", "dog", ""],
        amplification_effect_1=["inf", 0, 0, 0],
    )
    path = by_hand(tmp_path, frame)
    assert sorted(problem.split(": ")[0].removeprefix(f"{path}, ") for problem in problems_of(path)) == [
        "column 'activation_1', row 4",
        "column 'amplification_effect_1', row 2",
        "column 'ground_truth', row 5",
        "column 'level', row 3",
        "column 'soft_correct', row 5",
    ]


def test_every_missing_column_is_named_with_the_nearest_there_is(tmp_path):
    frame = small().rename(columns={"ground_truth": "ground_trut", "level": "levels", "soft_correct": "answer"})
    problems = problems_of(by_hand(tmp_path, frame))
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "the column is missing (did you mean 'ground_trut'?); expected one row per rating with this column",
        "the column is missing (did you mean 'levels'?); expected one row per rating with this column",
        "the column is missing; expected one row per rating with this column",
    ]


def test_a_missing_column_does_not_hide_what_else_is_wrong():
    problems = problems_of(small(level=None, soft_correct=[1, 0, 5, 1]))
    assert [problem.split(": ")[0] for problem in problems] == [
        "the table, column 'level'",
        "the table, column 'soft_correct', row 4",
    ]


def test_of_a_kind_of_problem_the_first_rows_are_told_and_the_rest_are_counted():
    problems = problems_of(small(soft_correct=[7, 7, 7, 7]))
    assert [problem.split("row ")[1][0] for problem in problems] == ["2", "3", "4"]
    assert problems[-1].endswith("(and 1 more like it)")


def test_a_header_without_rows_is_refused(tmp_path):
    (problem,) = problems_of(by_hand(tmp_path, small()[:0]))
    assert problem.endswith("table.csv: no rows; expected at least one row below the header")


def test_a_frame_with_a_column_twice_is_refused():
    twice = small(extra=1.0).rename(columns={"extra": "level"})
    assert problems_of(twice) == ["the table: columns level appear more than once; expected each column once"]


def test_what_is_neither_path_nor_frame_is_refused():
    assert problems_of(7) == ["data: found int; expected the path of a table, or a DataFrame"]


def test_rows_are_counted_as_a_spreadsheet_does_when_cells_hold_line_breaks(tmp_path):
    frame = small(response=["one\ntwo", "x", "a\nb\nc", "x"], soft_correct=[1, 1, 1, 2])
    assert "row 5: found '2'" in problems_of(by_hand(tmp_path, frame))[0]


def test_a_table_without_image_names_says_that_every_row_is_an_image():
    frame = small(image_filename=None).rename(columns=str)
    assert any("every row counts as an image of its own" in r for r in load_experiment_table(frame, ["1"]).remarks)


def test_a_named_index_is_read_as_a_column():
    frame = small().set_index("image_filename")
    assert load_experiment_table(frame, ["1"]).images == load_experiment_table(small(), ["1"]).images


def test_blank_participants_each_count_as_another_and_are_counted():
    table = load_experiment_table(small(participant=["", "p", "", "p"]), ["1"])
    assert len(set(table.participant_R.tolist())) == 3
    assert any("participant is blank for 2 ratings" in remark for remark in table.remarks)


def test_concepts_match_however_their_accents_are_coded():
    table = load_experiment_table(small(ground_truth=["cafe\u0301", "caf\u00e9", "dog", "dog"]), ["1"])
    assert len(table.concepts) == 2


@pytest.mark.parametrize(("word", "simulated"), [("yes", True), ("true", True), (1, True), ("no", False), (0, False)])
def test_simulated_participants_are_known_by_any_word_for_yes(word, simulated):
    assert load_experiment_table(small(simulated=word), ["1"]).simulated is simulated


def test_activations_that_differ_by_rounding_are_one():
    frame = pd.concat([small(activation_1=1.0), small(activation_1=1.0 + 1e-9)], ignore_index=True)
    assert len(load_experiment_table(frame, ["1"]).images) == 4
