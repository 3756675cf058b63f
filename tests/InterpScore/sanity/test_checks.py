"""Guards the ground truth of METRICS.md, section 7: what must pass passes, and the checks can fail."""

import re
import runpy
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from Activation_Extraction.base.commands import run
from InterpScore.cli.sanity import sanity_app
from InterpScore.resampling import RatingDesign
from InterpScore.sanity import checks as sanity
from InterpScore.sanity import coverage, coverage_table, edited_networks
from InterpScore.sanity import network as sanity_network
from InterpScore.sanity import simulated as sanity_simulated
from InterpScore.sanity.coverage_table import CoverageRow
from InterpScore.sanity.ends import Covered
from InterpScore.sanity.simulation import PlantedUnit, StudyDesign, simulate_table, simulated_frame, true_scores

ROOT = Path(__file__).resolve().parents[3]
FEWER = {"check_null_p_values": 5, "check_dose": 2}
"""Simulated studies of checks that tell right from wrong with few; the slow tests take a tenth of the simulations."""
FEWER_DRAWS = 400
IMAGES_OF_THE_TRUTH = 50_000
"""Enough for coverage of 60 studies, of which the standard error is 3%."""


@pytest.fixture(scope="module", params=[60, pytest.param(1000, marks=pytest.mark.slow)])
def simulations(request):
    return request.param


@pytest.fixture(scope="module")
def checks(simulations):
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, studies in FEWER.items() if simulations < 1000 else ():
            check = getattr(sanity, name)
            monkeypatch.setattr(sanity, name, lambda _, seed, check=check, studies=studies: check(studies, seed))
        if simulations < 1000:  # cells at the ends of scales are tested beside the intervals
            monkeypatch.setattr(sanity, "check_ends", lambda studies, seed: [])
            some = sanity.check_labels  # every prevalence and statement is tested in test_labels
            monkeypatch.setattr(sanity, "check_labels", lambda seed: some(seed, (0.01, 0.499), corruptions=4))
            monkeypatch.setattr(coverage, "CROSSED_DRAWS", FEWER_DRAWS)
            monkeypatch.setattr(coverage, "true_scores", partial(true_scores, n=IMAGES_OF_THE_TRUTH))
        return sanity.run_sanity_checks(simulations=simulations)


def test_every_required_check_passes(checks):
    assert sanity.failures(checks).empty, sanity.failures(checks).to_string()


@pytest.mark.parametrize("name", ["S", "R", "H", "InterpScore"])
def test_intervals_cover_the_truth_in_simulations(checks, simulations, name):
    row = checks[checks["check"].eq(f"95% intervals of {name} cover the truth") & checks["variant"].eq("default")].iloc[
        0
    ]
    assert f"of {simulations} simulations" in row["figure"]
    least, below = {60: (88, 101), 1000: (93, 99.5)}[simulations]  # two or three standard errors around 95%
    assert least <= float(row["figure"].split("%")[0]) < below


@pytest.mark.parametrize(
    ("check", "variant"),
    [
        ("95% intervals of S cover the truth", "published"),
        ("selectivity p-values under the null are uniform", "published"),
        ("half of the labels missing, prevalence 0.01, ideal", "S"),
        ("as many labels too many, prevalence 0.499, d' = 2", "AP"),
        ("a constant unit scores 0", "published"),
        ("firing on DeepDream images alone gains no H", "published"),
        ("firing on DeepDream images alone gains no H", "default"),
        ("every rating twice: no score, interval or p changes", "published"),
    ],
)
def test_known_failures_are_shown(checks, check, variant):
    row = checks[checks["check"].eq(check) & checks["variant"].eq(variant)]
    assert row["passed"].tolist() == [False]
    assert row["required"].tolist() == [False]


def test_every_section_that_needs_no_network_is_checked(checks):
    assert set(checks["section"]) == {"7.1", "7.2", "7.3", "7.4", "7.5", "7.7"}


@pytest.mark.slow
def test_coverage_check_catches_intervals_that_are_too_narrow(monkeypatch):
    crossed = RatingDesign.bootstrap

    def half_as_wide(self, n_draws, seed):
        for draws in crossed(self, n_draws, seed):
            yield draws.changed(lambda weights_IB: (weights_IB + 3 * weights_IB.mean(axis=1, keepdims=True)) / 4, None)

    monkeypatch.setattr(RatingDesign, "bootstrap", half_as_wide)
    default_checks = [check for check in sanity_simulated.check_coverage(60, 0) if check.variant == "default"]
    assert not any(check.passed for check in default_checks)


@pytest.mark.slow
def test_truth_agrees_with_a_huge_simulated_study():
    design = replace(sanity_simulated.DESIGN, images_per_concept=1500, participants=1500, raters_per_image=4)
    unit = PlantedUnit(design.concepts[0], strength=2.0, follows_ease=0.5)
    table = simulate_table(design, {"1": unit}, np.random.default_rng(0))
    scored = sanity_simulated._table(simulated_frame(table), {"1": unit.concept}, resamples=0).iloc[0]
    truth = true_scores(design, unit)
    for name in ("S", "R", "H"):
        assert scored[name] == pytest.approx(truth[name], abs=0.02)


def test_simulated_tables_say_that_they_are_simulated():
    design = StudyDesign(["cat", "dog"], images_per_concept=2, participants=4, raters_per_image=2)
    frame = simulated_frame(simulate_table(design, {"1": PlantedUnit("cat")}, np.random.default_rng(0)))
    assert frame["simulated"].all()
    assert frame["participant"].str.startswith("simulated-").all()


def test_command_exits_1_when_a_required_check_fails(monkeypatch, capsys, checks):
    broken = checks.copy()
    broken.loc[broken["required"].astype(bool).idxmax(), "passed"] = False
    monkeypatch.setattr(sanity, "run_sanity_checks", lambda **_: broken)
    with pytest.raises(SystemExit) as stopped:
        run(sanity_app, [])
    assert stopped.value.code == 1
    assert "FAIL" in capsys.readouterr().out


def test_command_prints_every_check_and_writes_the_table(monkeypatch, capsys, checks, tmp_path):
    asked = {}
    monkeypatch.setattr(sanity, "run_sanity_checks", lambda **options: asked.update(options) or checks)
    with pytest.raises(SystemExit) as stopped:
        run(sanity_app, ["--simulations", "77", "--seed", "5", "-o", str(tmp_path / "checks.csv")])
    printed = capsys.readouterr().out
    assert stopped.value.code == 0
    assert (asked["simulations"], asked["seed"]) == (77, 5)
    assert all(check in printed for check in checks.loc[checks["section"] != "7.4", "check"])
    assert "7.4  half of the labels missing: does the score fall? (ideal unit, d' = 2)" in printed
    assert re.search(r"^S +[✗✓]{2} +[✗✓]{2}$", printed, re.MULTILINE)  # known to fail in places, which the draws decide
    assert re.search(r"^AUPRC +✓✓ +✓✓$", printed, re.MULTILINE)
    assert max(len(line) for line in printed.split("7.4", 1)[1].splitlines() if "✓" in line) <= 80
    assert len((tmp_path / "checks.csv").read_text().splitlines()) == len(checks) + 1


@pytest.mark.slow
def test_units_that_cause_nothing_or_fire_always_are_told_apart_in_a_network(monkeypatch):
    monkeypatch.setattr(edited_networks, "DESIGN", replace(edited_networks.DESIGN, images_per_concept=4))
    monkeypatch.setattr(edited_networks, "SELECTION", 8)
    checks = list(islice(sanity_network.check_network(0), 3))  # those after them read networks with random weights
    assert {check.section for check in checks} == {"7.3"}
    assert all(check.passed and check.required for check in checks), checks


@pytest.mark.slow
def test_checks_on_a_network_pass(monkeypatch):
    monkeypatch.setattr(sanity_network, "NETWORKS", 3)
    checks = list(sanity_network.check_network(0))
    assert {check.section for check in checks} == {"7.3", "7.6"}
    assert all(check.passed and check.required for check in checks), checks


@pytest.mark.slow
def test_checks_on_a_network_catch_one_that_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(sanity_network, "NETWORKS", 3)
    for edit in ("without_outgoing_weights", "with_unit_always_on"):
        monkeypatch.setattr(edited_networks, edit, lambda model, *how: model)
    monkeypatch.setattr(sanity_network, "untrained", lambda model, *how: model)
    failed = {check.check for check in sanity_network.check_network(0) if not check.passed}
    assert failed >= {
        "clip-mini, outgoing weights 0: S high, C = 0",
        "clip-mini, a unit that is always on: C high, S = ½",
        "untrained: S_excess falls to 0",
        "untrained: C_specific falls to 0",
    }


def test_coverage_of_a_row_must_be_enough_in_every_cell_unless_it_is_known_to_fall_short(monkeypatch):
    good, bad = Covered(0.9, 0.95, 0.5, 1.1), Covered(0.9, 0.6, 0.97, 1.1)
    rows = [
        CoverageRow("S", "good", {"a": good}),
        CoverageRow("S", "bad", {"a": good, "b": bad}),
        CoverageRow("S", "known", {"a": good, "b": bad}, falls_short=True),
    ]
    monkeypatch.setattr(coverage_table, "coverage_rows", lambda studies, seed: iter(rows))
    found = {(c.check.split(": ")[1], c.variant): (c.passed, c.required) for c in coverage_table.check_ends(100, 0)}
    assert found["good", "default"] == (True, True)
    assert found["bad", "default"] == (False, True)
    assert found["known", "default"] == (False, False)
    assert found["good", "published"] == (False, False)
    assert "95% at a, 60% at b (n = 100 each)" in [c.figure for c in coverage_table.check_ends(100, 0)]


def test_a_table_of_coverage_shows_percentiles_and_widths_beside_it():
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "coverage.py"))
    shown = benchmark["table_of"]([CoverageRow("C near 0", "12 images", {".02": Covered(0.02, 0.956, 0.9, 1.18)})])
    assert shown.splitlines()[2] == "| 12 images | 95.6 (90.0) ×1.18 |"
