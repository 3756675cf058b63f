"""Guards the words of the report: findings, limits and methods follow the run's own numbers and options."""

import json
import re

import pytest

from InterpScore.options import scoring_options
from tests.Visualizations.report.small_report import Page, parsed
from Visualizations.report.marks import coded, digits
from Visualizations.report.page import make_report
from Visualizations.report.summary import findings, limits
from Visualizations.run import Run, Sources

BASE = {
    "Concept": "cat", "S": 0.8, "C": 0.1, "R": 0.7, "H": 0.6, "InterpScore": 0.5, "InterpScore_low": 0.4, "InterpScore_high": 0.6,
    "Notes": "", "I_excess": 0.1, "I_excess_low": 0.05, "I_excess_high": 0.2, "n_target_images": 30, "n_high_images": 9,
    "S_p_adjusted": 0.01, "S_significant": True, "H_p_adjusted": 0.5, "H_significant": False, "Rank_high": 3,
}  # fmt: skip


@pytest.fixture
def run_of(tmp_path):
    """A run of some rows, which differ from `BASE`, and changes of the signature."""

    def make(rows, options=None, **signature):
        neurons = [
            {**BASE, "Neuron": str(at), "Rank": at + 1, "Rank_low": at + 1, **row} for at, row in enumerate(rows)
        ]
        about = {
            "options": scoring_options(**(options or {})).as_dict(), "versions": {}, "inputs": {}, "participants_simulated": False,
            "n": {"neurons": len(rows), "concepts": 2, "images": 100, "ratings": 1500, "participants": 40},
        } | signature  # fmt: skip
        content = {"signature": about, "warnings": [], "columns": {}, "neurons": neurons}
        (tmp_path / "r.json").write_text(json.dumps(content))
        return Run(Sources(tmp_path / "r.csv"))

    return make


def plain(lines):
    return [" ".join(re.sub(r"<[^>]+>", "", str(line)).split()) for line in lines]


def told(run_of, rows, **more):
    return " ".join(plain(findings(run_of(rows, **more))))


# Findings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{}, {}], "cat (neuron 0) has the highest InterpScore, 0.500 [0.40, 0.60]. Its lead is clear"),
        ([{}, {"Rank_low": 1}, {}], "the rank intervals of 2 of 3 ranked neurons include first place"),
        ([{"InterpScore_low": None, "Rank_low": None}, {}], "0.500 (no interval). 2 of 2"),
        ([{}, {"Rank": 1}], "2 neurons share the highest InterpScore, 0.500."),
        ([{}], "0.500 [0.40, 0.60]. 1 of 1 neurons"),
        ([{"InterpScore": None}], "No neuron has a score"),
        ([{"Rank": None}], "1 of 1 neurons tested are significantly selective"),
    ],
)
def test_the_first_finding_is_who_leads_and_whether_clearly(run_of, rows, said):
    assert said in told(run_of, rows)


def test_tests_are_counted_among_the_neurons_that_were_tested(run_of):
    rows = [{}, {"S_significant": False}, {"S_significant": None, "S_p_adjusted": None}]
    said = told(run_of, rows, options={"adjust": "holm", "min_p_value": 0.01})
    assert (
        "1 of 2 neurons tested are significantly selective for their concept (p ≤ 0.01, adjusted after Holm)." in said
    )
    assert "0 of 3 neurons tested are recognised significantly more often" in said


def test_scores_above_chance_are_those_whose_interval_is(run_of):
    rows = [{}, {"I_excess_low": -0.1}, {"I_excess_low": None}]
    assert "1 of 2 neurons score above chance" in told(run_of, rows)
    assert "above chance" not in told(run_of, [{"I_excess_low": None}])


def test_untrained_networks_are_compared_where_both_have_a_score(run_of):
    rows = [
        {"InterpScore_evaluation": 0.6, "InterpScore_untrained_best": 0.3},
        {"InterpScore_evaluation": 0.2, "InterpScore_untrained_best": 0.4},
        {"InterpScore_evaluation": 0.6, "InterpScore_untrained_best": None},
    ]
    assert "1 of the 2 neurons that have both scores are above" in told(run_of, rows)
    assert "(median 0.40 against 0.35, on the same images)" in told(run_of, rows)


# Limits ---------------------------------------------------------------------------------------------------------------

ENOUGH = [{}, {"S": 0.3}]
N = {"neurons": 2, "concepts": 2, "images": 100, "ratings": 1500, "participants": 40}


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([{}, {"n_target_images": 8}], {}, "1 of 2 neurons rest on fewer than 20 clean images of their concept (fewest: 8)"),
        (ENOUGH, {"n": N | {"ratings": 500}}, "Few raters: 5.0 ratings an image"),
        (ENOUGH, {"n": N | {"participants": 7}}, "Few participants: 7."),
        ([{}, {"n_high_images": 2}], {}, "H of 1 neurons rests on fewer than 5 images above the activation threshold"),
        ([{}, {"H": None, "Notes": "H: no rating; x"}], {}, "H is missing for 1 of 2: no rating."),
        ([{"S": 0.999}, {"S": 0.995}, {"S": 0.5}], {}, "S is saturated: at least 0.99 for 2 of 3 neurons"),
        ([{"H": 1.0}, {"H": 1.0}], {}, "H is saturated: at least 0.99 for 2 of 2 neurons, which it hardly separates."),
        ([{"Notes": "S: heavy tails (excess kurtosis 9)"}, {}], {}, "Activations of 1 neurons have heavy tails"),
        ([{"Rank_low": 1, "Rank_high": 4}] * 4, {}, "half of the rank intervals span 4 or more of 4 places"),
        (ENOUGH, {"options": {"resamples": 0}}, "No intervals: the run has no resamples."),
        (ENOUGH, {"options": {"level_kinds": "3=adversarial", "recognizable_levels": "3 5"}}, "a single group of images, level 3 (adversarial)"),
        (ENOUGH, {}, "No kinds of levels were declared"),
        (ENOUGH, {"participants_simulated": True}, "The participants are simulated"),
        (ENOUGH, {}, "The results do not record how concepts were chosen"),
    ],
)  # fmt: skip
def test_limits_are_those_of_the_data(run_of, rows, more, said):
    assert said in " ".join(limits(run_of(rows, **more)))


def test_plenty_of_good_data_has_the_one_limit_that_is_never_known(run_of):
    found = limits(run_of([{"Rank_high": 1}, {"S": 0.3, "Rank_high": 2}], options={"level_kinds": "3=adversarial"}))
    assert [line[:42] for line in found] == ["The results do not record how concepts wer"]


def test_labels_without_a_split_are_a_limit(run_of):
    assert "chosen on all images" in limits(run_of(ENOUGH), "none")[-1]
    assert "do not record" in limits(run_of(ENOUGH), "half")[-1]


def test_warnings_of_the_run_are_limits_unless_said_above(run_of):
    run = run_of(ENOUGH)
    run.warnings[:] = ["data.csv: 3 of 9 images repeat", "H is missing for 1 of 2 neurons (1): not comparable"]
    assert limits(run)[-1] == "data.csv: 3 of 9 images repeat."


# Methods --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said", "unsaid"),
    [
        ({}, ["S = Φ(g / √2)", "level 3 (benign); level 4 (benign)", "(h ≥ ½)", "I = 0.3 S + 0.3 C + 0.2 R + 0.2 H", "once an image"], ["h = 1", "1e-08"]),
        ({"preset": "published"}, ["I = 0.25 S + 0.25 C + 0.25 R + 0.25 H", "benign levels 1 and 2; adversarial level 3", "(h = 1)", "both means + 1e-08", "S = 0.5, R = 0, H = 0", "All neurons with a score are ranked", "Every mean is over ratings"], ["does not count"]),
        ({"selectivity": "auroc"}, ["aX > aother", "½ P(aX = aother)"], ["Φ(g / √2)"]),
        ({"selectivity": "ap"}, ["(Rk − Rk−1) Pk"], ["Φ(g / √2)"]),
        ({"selectivity": "f1_images"}, ["S = 2 TP / (ny + k)"], ["Φ(g / √2)"]),
        ({"selectivity": "iou_images"}, ["S = TP / (ny + k − TP)"], ["Φ(g / √2)"]),
        ({"selectivity": "auprc_images"}, ["S = P · R + π (1 − R)"], ["Φ(g / √2)"]),
        ({"selectivity": "correlation"}, ["S = max(0, Pearson(a, y))"], ["Φ(g / √2)"]),
        ({"selectivity": "cosine"}, ["⟨a, y⟩ / (‖a‖ ‖y‖)"], ["Φ(g / √2)"]),
        ({"weights": "1 0 0 1"}, ["I = (1 S + 1 H) / 2"], []),
        ({"level_kinds": "4=synthetic", "threshold_percentile": 0.9}, ["level 4 does not count", "θ is the 90% quantile", "one group: level 3 (benign)"], []),
        ({"on_missing": "zero", "adjust": "none"}, ["A missing component counts as 0", "p-values are not adjusted"], ["left out with its weight"]),
        ({"resamples": 0}, ["no resamples, so there are no intervals"], ["crossed bootstrap"]),
        ({"confidence": 0.9, "seed": 7}, ["90% intervals are from a crossed bootstrap", "(seed 7)"], ["95%  intervals"]),
    ],
)  # fmt: skip
def test_methods_are_the_formulas_of_the_run(run_of, options, said, unsaid):
    text = Page(make_report(run_of(ENOUGH, options=options))).text.partition("Methods a(u, i)")[2]
    text = re.sub(r"\s+", " ", text)
    missing = [part for part in said if part.replace(" ", "") not in text.replace(" ", "")]
    assert (missing, [part for part in unsaid if part in text]) == ([], [])


def test_causality_says_where_it_was_measured(run_of):
    said = {"model": "clip-mini", "layer": "layer4", "method": "exact update"}
    text = Page(make_report(run_of(ENOUGH, causality=[said]))).text
    assert "measured at layer4 of clip-mini (exact update)" in text
    assert "effects are from the table" in Page(make_report(run_of(ENOUGH))).text
    assert "Not measured in this run." in Page(make_report(run_of([{"C": None}]))).text


# Words and digits -----------------------------------------------------------------------------------------------------


def test_commands_in_sentences_are_code_and_all_else_is_escaped():
    assert coded("<b> add --data (`a <i>`), not x--y") == (
        "&lt;b&gt; add <code>--data</code> (<code>a &lt;i&gt;</code>), not x--y"
    )


@pytest.mark.parametrize("value", [0.1234567, -0.00049, 1e-9, 0.0, 99.99, 1234.5, -3.25, 12.0, 0.9999999])
def test_digits_are_the_value_at_their_precision(value):
    found, within = parsed(digits(value))
    assert abs(found - value) <= within
