"""Guards that every number of a bundle says what it is, in a bundle of everything that the builder takes."""

from typing import get_args

import numpy as np
import pytest

from InterpScore.metric import metrics
from InterpScore.options import SelectivityName
from InterpScore.profiles.layer import SCORES
from InterpScore.scoring.results import columns as columns_of_results
from Microscope.bundle import columns
from Microscope.bundle.evidence.labels import _BY
from tests.Microscope.full_bundle import CLEAN
from tests.Microscope.small_bundles import five

PROPER = {"InterpScore", "Rank"}
"""Titles that are names."""


def test_every_column_has_a_title_a_meaning_and_where_it_is_from(made):
    about = made.layer.columns
    shown = {*made.numbers.columns, *made.unit(0).scores, *made.layer.statistics, *(metric.name for metric in metrics()), *SCORES}  # fmt: skip
    assert shown <= {*about}
    titles = {name: column.title for name, column in about.items()}
    assert {
        name
        for name, title in titles.items()
        if title == name or len(title) < 4 or "_" in title or not title[0].isupper()
    } <= PROPER
    assert len({*titles.values()}) == len(titles)
    sources = {source.name for source in made.layer.sources}
    for name, column in about.items():
        assert len(column.meaning) > 10, name
        assert "METRICS" not in column.meaning
        assert column.section or column.source in sources, name


@pytest.mark.parametrize(
    "name", [*(metric.name for metric in metrics()), *SCORES, "InterpScore", "I_excess", "C_specific"]
)
def test_scores_have_the_section_that_their_own_description_cites(made, name):
    cited = columns._CITED.search(columns_of_results().get(name, ""))
    column = made.layer.columns[name]
    assert column.formula
    assert cited is None or column.section == cited[1]


def test_the_formula_of_causality_gives_the_number_that_it_is_beside(full, made):
    effects = full.table("effects").iloc[:CLEAN]  # clean images of the concept of unit 0
    mean = (effects["ablation_effect_0"].mean() + effects["amplification_effect_0"].mean()) / 2
    assert made.layer.columns["C"].formula.startswith("1 - exp(-C_raw), C_raw = ½ (mean of Δ₀ + mean of Δ₂)")
    assert made.unit(0).scores["C"].value == five(1 - np.exp(-mean))


def test_the_formula_follows_how_labels_and_selectivity_were_computed():
    assert {*columns.OF_LABELS} == {*_BY}
    for by, formula in columns.OF_LABELS.items():
        assert columns.described("label_score", by, None, formula=formula).formula == formula
    assert {*columns.OF_SELECTIVITY} == {*get_args(SelectivityName)} - {"cles"}


def test_a_score_of_a_package_is_titled_by_its_name():
    found = columns.described("my_metric", "how blue it is, 0 to 1 (METRICS 8)", "results.csv")
    assert (found.title, found.meaning, found.section) == ("My metric", "How blue it is, 0 to 1", "8")
    assert columns.described("my_metric_low", "its interval", None).title == "My metric, lower end"
