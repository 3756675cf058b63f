"""Guards the report: its numbers are those of the CSV, everything from outside is text, what is missing is said."""

import dataclasses
import json
import math
import re
import shlex
import shutil
import statistics

import pandas as pd
import pytest

import Visualizations
from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.text import printable
from tests.hostile import NAMES
from tests.Visualizations.report.small_report import CONCEPTS, UNITS, Page, make_run, parsed
from Visualizations.report.page import make_report
from Visualizations.run import Run, Sources

SCORES = ("S", "R", "H", "InterpScore")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.fixture(scope="module")
def results(home):
    return pd.read_csv(home / "results.csv")


@pytest.fixture
def copied(home, tmp_path):
    """The results alone, to be changed; `json` writes changes of the JSON."""
    for suffix in (".csv", ".json", ".draws.npz"):
        shutil.copy(home / f"results{suffix}", tmp_path)

    def change(edit):
        path = tmp_path / "results.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        return tmp_path / "results.csv"

    return change


def shown(sources, **options):
    return Page(make_report(Run(sources), **options))


# Numbers --------------------------------------------------------------------------------------------------------------


def test_every_shown_number_is_that_of_the_csv_at_its_digits(page, results):
    wrong = []
    for row, column, text, is_percentage, _ in page.cells:
        value, (found, within) = results.loc[row, column], parsed(text)
        if not math.isclose(100 * value if is_percentage else value, found, rel_tol=0, abs_tol=within):
            wrong.append((row, column, text, value))
    assert wrong == []


def test_every_neuron_has_its_scores_and_intervals_in_the_ranking_and_on_its_card(page, results):
    wanted = {*SCORES, *(f"InterpScore_{end}" for end in ("low", "high")), "Rank", "Rank_low", "Rank_high", "I_excess"}
    for row in range(len(results)):
        of = {place: {column for at, column, *_, where in page.cells if at == row and where == place} for place in ("ranking", f"neuron-{row}")}  # fmt: skip
        assert wanted <= of["ranking"], row
        there = {name for name in (*wanted, *(f"{s}_{end}" for s in SCORES for end in ("low", "high"))) if pd.notna(results.loc[row, name])}  # fmt: skip
        assert there <= of[f"neuron-{row}"], row
        assert {"S_evaluation", "S_untrained_best", "S_untrained_higher", "AUROC", "n_target_images"} <= of[
            f"neuron-{row}"
        ]


def test_overview_and_counts_are_of_the_run(page, results, home):
    for (name, what), text in page.spreads.items():
        values = results[name].dropna()
        expected = {"median": statistics.median, "min": min, "max": max}[what](values)
        found, within = parsed(text)
        assert abs(found - expected) <= within, (name, what)
    assert {name for name, _ in page.spreads} == set(SCORES)
    n = json.loads((home / "results.json").read_text())["signature"]["n"]
    assert {name: parsed(text)[0] for name, text in page.counts.items()} == n


def test_bars_are_where_their_values_are(page, results):
    of_first = [at for row, at in page.bars if row == "0"]
    expected = [f"{100 * results.loc[0, name]:.2f}%" for name in SCORES]
    assert of_first == [expected[-1], *expected[:-1], *expected]  # the ranking, then the card


def test_levels_are_those_of_the_table(home, html):
    table = pd.read_csv(home / "data.csv")
    for level, rows in table.groupby("level"):
        (line,) = re.findall(rf'<tr data-level="{level}">(.*?)</tr>', html)
        cells = re.findall(r"<td[^>]*>(.*?)</td>", line)
        share = f"{100 * rows['soft_correct'].astype(float).mean():.0f}%"
        assert cells[1:4] == [str(rows["image_filename"].nunique()), str(len(rows)), share]


# One file, the same bytes ---------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_page_without_paths_of_the_machine(everything, html, home):
    assert make_report(Run(everything)) == html
    assert str(home) not in html


def test_the_page_needs_no_other_file(page, html):
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link[0] == "#"} <= set(re.findall(r' id="([^"]+)"', html))
    assert not re.search(r"url\(|@import|https?://", html)
    assert len(html) < 1_000_000


def test_the_lazy_name_is_the_function():
    assert Visualizations.make_report is make_report


# Cards ----------------------------------------------------------------------------------------------------------------


def test_pictures_are_the_best_of_the_store_and_say_what_they_show(page, results):
    for row, unit in enumerate(results["Neuron"]):
        best = sorted(range(12), key=lambda i: -((7 * unit + i) % 12))[:9]
        concepts = [CONCEPTS[i % 4] for i in best]
        alts = [f"{concept}, activation {a:.1f}" for concept, a in zip(concepts, range(11, 2, -1), strict=True)]
        at = sum(9 + 2 * (UNITS[str(u)] in ("cat", "dog") and u < 2) for u in results["Neuron"][:row])
        assert [picture["alt"] for picture in page.pictures[at : at + 9]] == alts
    renders = [picture["alt"] for picture in page.pictures if "rendered" in picture["alt"]]
    assert sorted(renders) == [
        f"image rendered for unit {u} from {start}" for u in (0, 1) for start in ("grey", "perlin")
    ]


@pytest.mark.parametrize("what", ["It was not rendered.", "2.2 times the best natural image (noisy)", "No label: none better than chance (best candidate: fish)", "it needs 2 concepts", "(chance 0.45 ± 0.45)", "show its concept"])  # fmt: skip
def test_cards_say_what_was_found_beside_the_run(page, what):
    assert what in page.text


def test_what_was_not_given_is_left_out_with_the_option_to_add(home, page):
    left_out = shown(Sources(home / "results.csv")).text.partition("Left out")[2].partition("Rank 1")[0]
    for option in ("--store", "--images", "--renders", "--labels", "--profile", "--data"):
        assert option in left_out
    assert "Left out" not in page.text


def test_named_neurons_alone_have_cards(home):
    page = shown(Sources(home / "results.csv"), neurons=["3", "1"])
    assert page.tags.count("article") == 2
    with pytest.raises(InputError, match=r"--neurons: no neuron '30' in results.json \(did you mean '3'\?\)"):
        shown(Sources(home / "results.csv"), neurons=["30"])


def test_many_neurons_are_a_ranking_with_bars_and_a_compact_rest(copied):
    def many(content):
        content["neurons"] = [{**content["neurons"][0], "Neuron": str(n), "Rank": n + 1} for n in range(203)]

    results = copied(many)
    results.unlink()
    page = shown(Sources(results))
    assert page.tags.count("article") == 10
    assert {row for row, column, *_ in page.cells if column == "InterpScore"} == set(range(203))
    assert page.bars[-1][0] == "9"
    assert len({row for row, _ in page.bars} - {None}) == 50


# Names from outside ---------------------------------------------------------------------------------------------------


def test_hostile_names_are_text_everywhere(copied, home, html):
    names = [*NAMES, "א" * 40 + "\u202eabc", "x" * 300]

    def rename(content):
        kept = ("S", "C", "R", "H", "InterpScore", "InterpScore_low", "InterpScore_high", "Rank", "Notes")
        first = {name: content["neurons"][0][name] for name in kept}
        rows = [{**first, "Neuron": str(n), "Concept": name} for n, name in enumerate(names)]
        rows += [{**rows[0], "Neuron": name, "Concept": "cat", "Notes": f"S: {name}"} for name in names[:-2]]
        content["neurons"] = rows
        content["warnings"] = list(names)
        content["columns"] = {name: name for name in names}
        content["signature"]["inputs"] = {name: {"name": name, "sha256": name} for name in ("data", "neuron_map")}
        content["signature"]["inputs"]["data"] = {"name": "<b>&\u202e.csv", "sha256": "a"}
        content["signature"]["versions"] = {"<b>": "\x1b[2J"}
        content["signature"]["causality"][0] |= {"model": "<i>m", "layer": "<u>\u202el", "method": "<s>"}

    results = copied(rename)
    results.unlink()
    text = make_report(Run(Sources(results)))
    page = Page(text)
    assert {printable(name) for name in names} <= set(page.names)
    assert set(page.tags) <= {*Page(html).tags, "h3"}
    assert page.tags.count("script") == 1
    assert not any(name.startswith("on") for _, name in page.attributes)
    assert all(line.isprintable() for line in text.split("\n"))


def test_hostile_names_of_pictures_and_labels_are_text(everything, home, tmp_path):
    labels = pd.read_parquet(home / "labels.parquet").assign(concept="\"><img src=x onerror='a'>\u202e", reason="<b>")
    labels.to_parquet(tmp_path / "labels.parquet")
    shutil.copytree(home / "renders", tmp_path / "renders")
    manifest = tmp_path / "renders" / "toy" / "layer4" / "manifest.json"
    content = json.loads(manifest.read_text())
    for entry in content["units"]["0"]:
        entry |= {"start": '"><script>\u202e', "facet": "<i>\x1b", "flags": ["<b>"]}
    manifest.write_text(json.dumps(content))
    ours = Sources(everything.results, labels=tmp_path / "labels.parquet", renders=tmp_path / "renders")
    text = make_report(Run(ours))
    page = Page(text)
    assert all("src" not in picture or picture["src"].startswith("data:") for picture in page.pictures)
    assert page.tags.count("script") == 1
    assert all(line.isprintable() for line in text.split("\n"))
    assert "onerror='a'" in page.text


# What does not belong to the run --------------------------------------------------------------------------------------


def changed_picture(home, folder):
    (folder / "pictures" / "11.png").write_bytes((home / "pictures" / "3.png").read_bytes())


def missing_picture(home, folder):
    (folder / "pictures" / "11.png").unlink()


def changed_render(home, folder):
    (folder / "renders" / "toy" / "layer4" / "0" / "grey.png").write_bytes((home / "pictures" / "3.png").read_bytes())


def missing_render(home, folder):
    (folder / "renders" / "toy" / "layer4" / "0" / "grey.png").unlink()


def manifest(edit):
    def change(home, folder):
        path = folder / "renders" / "toy" / "layer4" / "manifest.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_picture, "1 of the pictures of .* are found by name, with other contents"),
        (missing_picture, "1 of the pictures of .* are not found"),
        (changed_render, r"grey\.png: other contents than manifest\.json says"),
        (missing_render, r"grey\.png: cannot be read"),
        (manifest(lambda m: m["provenance"].update(weights_sha256="c" * 64)), "of 'toy' with weights_sha256 cccc.*expected the same network"),
        (manifest(lambda m: m.update(format=2)), "format: found 2; expected 1"),
        (manifest(lambda m: m["units"]["0"][0].update(sha256=3)), "units.0.0.sha256: found '?3'?; expected text"),
        (manifest(lambda m: m["units"]["0"][0].update(file="../../../../data.csv")), "cannot be read"),
    ],
)  # fmt: skip
def test_pictures_and_renders_of_something_else_are_refused(everything, home, tmp_path, change, message):
    for name in ("pictures", "renders"):
        shutil.copytree(home / name, tmp_path / name)
    change(home, tmp_path)
    sources = Sources(
        home / "results.csv", stores=everything.stores, images=[tmp_path / "pictures"], renders=tmp_path / "renders"
    )
    with pytest.raises(InputError, match=message):
        make_report(Run(sources))


@pytest.mark.parametrize(
    ("field", "name", "message"),
    [
        ("labels", "profile.csv", "expected the table of `interpscore label`"),
        ("profile", "labels.parquet", "no column MS_top, .*expected the table of `interpscore profile`"),
        ("data", "map.json", "not the table of results.json"),
        ("renders", "pictures", "no manifest.json; expected renders"),
    ],
)
def test_files_in_the_place_of_others_are_refused(everything, home, field, name, message):
    with pytest.raises(InputError, match=message):
        make_report(Run(dataclasses.replace(everything, **{field: home / name})))


def test_layers_that_are_not_those_of_the_run_leave_a_reason(home, tmp_path):
    shutil.copytree(home / "renders", tmp_path / "renders")
    place = tmp_path / "renders" / "toy" / "layer4" / "manifest.json"
    place.write_text(place.read_text().replace('"layer": "layer4"', '"layer": "layer9"'))
    page = shown(Sources(home / "results.csv", renders=tmp_path / "renders"))
    assert "No renders of its layer; those given are of layer9" in page.text


def test_units_that_the_store_lacks_leave_a_reason_without_its_path(copied, everything):
    results = copied(lambda content: content["neurons"][0].update(Neuron="77"))
    results.unlink()
    page = shown(Sources(results, stores=everything.stores, images=everything.images), neurons=["77"])
    assert "No unit 77 in layer4 of acts.zarr, which has 0 to 4" in page.text


# How to make it again -------------------------------------------------------------------------------------------------


def test_the_command_of_the_page_makes_the_same_results(tmp_path, monkeypatch):
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
    made = make_run(
        tmp_path / "first", resamples=60, weights="S=.5 H=.5", recognizable_levels="4 5", level_kinds="3=adversarial",
        adjust="holm", seed=3, preset="published", rank_all=False, threshold_percentile=0.9,
    )  # fmt: skip
    page = make_report(Run(Sources(made)))
    command = re.search(r"<code>(interpscore score .*?)\ninterpscore report", page, re.DOTALL)[1]
    words = shlex.split(command.replace("&#39;", "'").replace("\\\n", " "))
    for name in ("data.csv", "map.json"):
        shutil.copy(tmp_path / "first" / name, tmp_path / "again")
    monkeypatch.chdir(tmp_path / "again")
    with pytest.raises(SystemExit, match=r"^0$"):
        run(app, [*words[1:], "--quiet"])
    assert (tmp_path / "again" / "results.csv").read_bytes() == made.read_bytes()
