"""Guards the simulation behind `interpscore study power`: truths, plain recomputation, costs, advice, every option."""

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.base.commands import run
from Human_Experiment_Setup.cli.study import study_app
from Human_Experiment_Setup.scoring.reliability import power
from Human_Experiment_Setup.scoring.reliability.power import Design, Expectation, Power, advice, designs, power_of


def quick(design, expected=Expectation(), **options):  # noqa: B008 - frozen
    return power_of(design, expected, **{"studies": 60, "resamples": 60} | options)


@pytest.mark.parametrize(
    "expected", [Expectation(0.9), Expectation(0.3, 0.6, 0.5, 2.0), Expectation(0.5, 0.1, 0.0, 0.0)]
)
def test_ratings_have_the_expected_mean_and_different_raters(expected):
    design = Design(pictures=20, raters=3, participants=7)
    image_R, participant_R, score_R = power._ratings(design, expected, 400, np.random.default_rng(0))
    assert score_R.mean() == pytest.approx(expected.recognition, abs=0.03)
    assert (np.bincount(image_R) == 3).all()
    assert len({*zip(image_R.tolist(), participant_R.tolist())}) == len(image_R)
    assert participant_R.max() + 1 <= 400 * 7


def test_studies_side_by_side_are_as_studies_alone():
    """Rates and their spread over draws, study by study, against a loop over the ratings."""
    design = Design(pictures=6, raters=4, participants=5)
    image_R, participant_R, score_R = power._ratings(design, Expectation(), 3, np.random.default_rng(1))
    low_S, high_S = power._intervals(design, 3, image_R, participant_R, score_R, 400, 0.95, 0)
    for s in range(3):
        mine = image_R // 6 == s
        alone = power._intervals(design, 1, image_R[mine] - 6 * s, np.unique(participant_R[mine], return_inverse=True)[1], score_R[mine], 400, 0.95, 1)  # fmt: skip
        assert low_S[s] <= score_R[mine].mean() <= high_S[s]
        assert (low_S[s], high_S[s]) == pytest.approx((alone[0][0], alone[1][0]), abs=0.08)


def test_intervals_cover_and_narrow_with_pictures_and_raters():
    base, more_pictures, more_raters = (quick(Design(n, k, 30)) for n, k in ((9, 3), (27, 3), (9, 12)))
    assert base.coverage >= 0.9
    assert max(more_pictures.width, more_raters.width) < base.width
    assert quick(Design(27, 8, 30), Expectation(0.95, 0.2)).power == 1
    assert quick(Design(27, 8, 30), Expectation(0.05, 0.8)).power == 1  # from above as well
    assert quick(Design(9, 2, 30), Expectation(0.55, 0.5)).power < 0.3


def test_participants_are_what_the_ratings_cost():
    assert designs([9], [4, 12], 600, 60) == [Design(9, 4, 40), Design(9, 12, 120)]
    assert designs([2], [8], 10, 10) == [Design(2, 8, 8)]


def test_advice_names_the_cheapest_design_with_enough_power():
    found = [Power(Design(9, k, 10 * k), 0.3, k / 10, 0.95) for k in (2, 8, 9)]
    assert advice(found, 0.8).startswith(
        "The fewest participants with a power of 0.80: 80 participants, 8 raters a picture"
    )
    assert advice(found, 0.95).startswith("No design has a power of 0.95; the highest is 0.90, with 90 participants")


@pytest.fixture
def called(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(**options):
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        with pytest.raises(SystemExit) as stopped:
            run(study_app, ["power", *words])
        return stopped.value.code, *capsys.readouterr()

    return call


BASE = {"pictures": "4", "raters": "3", "studies": 12, "resamples": 20, "all_pictures": 60, "output": "t.csv"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("power") / "t.csv"
    words = [f"--{name.replace('_', '-')}={value}" for name, value in (BASE | {"output": path}).items()]
    with pytest.raises(SystemExit):
        run(study_app, ["power", *words])
    return pd.read_csv(path)


@pytest.mark.parametrize(
    "option",
    [
        {"recognition": 0.9}, {"against": 0.1}, {"pictures": "5"}, {"raters": "4"}, {"all_pictures": 100}, {"trials": 30},
        {"picture_sd": 0.1}, {"participant_sd": 4}, {"studies": 13}, {"resamples": 25}, {"confidence": 0.6}, {"seed": 1},
    ],
)  # fmt: skip
def test_every_option_has_an_effect(called, base, option):
    assert called(**BASE | option)[0] == 0
    assert not base.equals(pd.read_csv("t.csv"))


def test_wanted_power_changes_the_advice(called):
    assert "a power of 0.01: 3 participants" in called(**BASE, wanted=0.01, recognition=0.99)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pictures": "9,x"}, "--pictures: found '9,x'; expected whole numbers from 2 to 10,000"),
        ({"raters": "1"}, "--raters: found '1'; expected whole numbers from 2"),
        ({"pictures": "700"}, "--pictures: found 700; expected up to 600, the pictures of the study"),
        ({"trials": "700"}, "--trials: found 700; expected up to 600"),
        ({"against": "0.75"}, "--against: found 0.75, as --recognition"),
    ],
)
def test_wrong_options_are_one_line(called, options, message):
    code, _, err = called(**options)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
