"""Guards every number on the pages: a page's numbers, all of them and in order, are recomputed from stores and tables.

Two kinds are taken from the bundle: chance of correlations and ends of dose intervals, which are random and are guarded in
test_numbers.py and test_evidence.py.
"""

import hashlib
import re
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd
import pytest

from InterpScore.pairs import formulas
from Microscope.bundle.evidence.embeddings import clusters_of
from tests.browser import chromium, needs_chromium
from tests.Microscope.full_bundle import CONCEPTS, CONSTANT, DEAD, EACH, OPTIONS, UNITS
from tests.Microscope.serving_pages import static_site
from tests.Microscope.small_bundles import five

pytestmark = needs_chromium

ALIVE = [u for u in range(UNITS) if u not in (DEAD, CONSTANT)]
NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")
SECTIONS = """() => {
    const texts = (node, out) => {
        if (node.nodeType === Node.TEXT_NODE) out.push(node.textContent);
        else if (node.nodeType === Node.ELEMENT_NODE && !(out.rest && node.tagName === "SECTION")) {
            for (const name of ["aria-label", "title", "alt"]) out.push(node.getAttribute(name) ?? "");
            node.childNodes.forEach((child) => texts(child, out));
        }
        return out;
    };
    const content = document.querySelector(".content"), found = {};
    for (const section of content.querySelectorAll("section")) found[section.querySelector("h2").textContent] = texts(section, []).join(" ¦ ");
    found.rest = texts(content, Object.assign([], { rest: true })).join(" ¦ ");
    return found;
}"""


@pytest.fixture(scope="module")
def sections(full, tmp_path_factory):
    """Address → heading → what the section says, tooltips and alternative texts included; `rest` is in no section."""
    with static_site(full.bundle, tmp_path_factory.mktemp("site")) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})

        def said(query):
            page.goto(address + query)
            page.locator(".microscope[data-complete]").wait_for(timeout=60_000)
            return page.evaluate(SECTIONS)

        yield said


def numbers(text):
    return NUMBER.findall(text)


def fixed(value, digits):
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"


def shown(value):
    """A number of a store or a table as pages show it, from the five digits of the bundle."""
    value = five(float(value))
    size = abs(value)
    if value == int(value):
        return f"{int(value):,}"
    if size < 0.001:
        return re.sub("e([+-])0", r"e\1", f"{value:.1e}")
    return fixed(value, 3 if size < 1 else 2 if size < 10 else 1)


def percent(value):
    left = min(value, 100 - value)
    return fixed(five(value), 0 if left >= 1 or left == 0 else 1 if left >= 0.1 else 2)


def percentile(a_N, value):
    return 100 * (np.sum(a_N < value) + np.sum(a_N == value) / 2) / len(a_N)


def of_tiles(full, unit, text):
    """Tooltip, which has activation and percentile, and activation of each picture that a text names."""
    a_N = full.home.a_NU[:, unit].astype(float)
    found = []
    for name in re.findall(r"(\w+/\w+\.png):", text):
        a = a_N[full.names.index(name)]
        found += [shown(a), percent(percentile(a_N, a)), shown(a)]
    return found


def between(low, high):
    return [] if pd.isna(low) or pd.isna(high) else [shown(low), shown(high)]


def correlations(full):
    return pd.DataFrame(np.corrcoef(full.home.a_NU[:, ALIVE].T.astype(float)), ALIVE, ALIVE)


def nearest(r, unit):
    """Units and correlations, nearest first."""
    return r[unit].drop(unit).sort_values(ascending=False)


def test_every_number_of_the_unit_page(full, made, sections):
    unit = 0
    said, a_N = sections(f"?unit={unit}"), full.home.a_NU[:, unit].astype(float)
    expected = {}
    best = np.argsort(-a_N)[: OPTIONS.top]
    text = said["Pictures that activate it most"]
    assert re.findall(r"(\w+/\w+\.png):", text) == [full.names[row] for row in best]
    e_KD = full.e_ND[best] / np.linalg.norm(full.e_ND[best], axis=1, keepdims=True)
    sizes = Counter(clusters_of(e_KD).tolist())
    expected["Pictures that activate it most"] = ["6", "96", *of_tiles(full, unit, text), *([str(len(sizes))] if len(sizes) > 1 else []), *(str(sizes[c]) for c in sorted(sizes))]  # fmt: skip

    text, strata, ordered = said["Over the whole range"], [], np.sort(a_N)
    parts = re.split(r"(?<!\d)(?=\d+% – )", text)[1:]
    assert len(parts) == 3
    for s, part in enumerate(parts):
        inside = ordered[96 * s // 3 : 96 * (s + 1) // 3]
        strata += [percent(100 * s / 3), percent(100 * (s + 1) / 3), shown(inside[0]), shown(inside[-1]), *of_tiles(full, unit, part)]  # fmt: skip
    expected["Over the whole range"] = strata

    low, high, fullest = shown(a_N.min()), shown(a_N.max()), str(np.histogram(a_N, 64)[0].max())
    expected["All pictures"] = ["96", low, high, fullest, "6", low, high, "96", shown(a_N.mean()), "0", percent(100 * np.mean(a_N <= 0))]  # fmt: skip

    effects = full.table("effects")
    means = [shown(effects[f"{kind}_effect_{unit}"].mean()) for kind in ("ablation", "amplification")]
    most = max(one.effect.high for one in made.unit(unit).dose)
    expected["Dose curve"] = ["0", means[0], "2", means[1], "0", "2", shown(most), "0"]
    expected["Most alike"] = [text for v, r in nearest(correlations(full), unit)[:4].items() for text in (str(v), shown(r))]  # fmt: skip
    expected["Guess the picture"] = []
    expected["Made to activate it"] = ["1", shown(1.5)]
    expected["Label"] = _label(full.table("labels").set_index("unit").loc[unit])
    expected["Scores"] = _scores(full, made, unit)
    expected["Export"] = []
    expected["rest"] = [str(unit)]
    assert {heading: numbers(text) for heading, text in said.items()} == expected


def _label(row):
    found = [shown(row["score"]), *between(row["score_low"], row["score_high"]), shown(row["p_adjusted"]), shown(row["polysemy"])]  # fmt: skip
    for runner in row["runners_up"]:
        found += [shown(runner["score"]), *between(runner["low"] or np.nan, runner["high"] or np.nan)]
    return found


def _scores(full, made, unit):
    run = full.table("results").set_index("Neuron").loc[unit]
    profile = full.table("profile").set_index("unit").loc[unit]
    first = ["InterpScore", "S", "C", "R", "H", "Rank"]
    found = []
    for name in [*first, *(name for name in made.unit(unit).scores if name not in first)]:
        row = run if name in run else profile
        found += numbers(made.layer.columns[name].title)
        found += [] if pd.isna(row[name]) else [shown(row[name]), *between(row.get(f"{name}_low"), row.get(f"{name}_high"))]  # fmt: skip
    assert {name for name in profile.index if f"{name}_untrained_mean" in profile} <= {*made.unit(unit).scores}
    return [*found, "95", *numbers(run["Notes"])]


def test_every_number_of_a_comparison(full, made, sections):
    units, said = (0, 2), sections("?units=0,2")
    run, profile = (full.table(name).set_index(key) for name, key in (("results", "Neuron"), ("profile", "unit")))
    first = ["InterpScore", "S", "C", "R", "H", "Rank"]
    known = [made.unit(u).scores for u in units]
    scores = []
    for name in [*first, *(name for name in known[0] if name not in first)]:
        values = [(run if name in run else profile)[name][u] for u in units]
        marks = [
            x
            for each in known
            for x in (each[name].low, each[name].high, each[name].chance, each[name].untrained)
            if x is not None
        ]
        ends = [*(five(v) for v in values if not pd.isna(v)), *marks]
        scores += numbers(made.layer.columns[name].title)
        scores += [] if all(0 <= x <= 1 for x in ends) else [shown(min(ends)), shown(max(ends))]
        scores += [shown(v) for v in values if not pd.isna(v)]
    a_NU = full.home.a_NU[:, units].astype(float)
    ends = shown(a_NU.min()), shown(a_NU.max())
    ranges = [*ends]
    for u, a_N in zip(units, a_NU.T):
        counts, edges = np.histogram(a_N, 64)
        middles = (edges[1:] + edges[:-1]) / 2
        place = np.minimum(63, (64 * (middles - a_NU.min()) / np.ptp(a_NU)).astype(int))
        ranges += [str(u), "96", *ends, str(np.bincount(place, counts).max().astype(int)), *ends]
    effects = full.table("effects")
    dose = [
        text
        for u in units
        for text in (
            str(u),
            "0",
            shown(effects[f"ablation_effect_{u}"].mean()),
            "2",
            shown(effects[f"amplification_effect_{u}"].mean()),
        )
    ]
    most = max(one.effect.high for u in units for one in made.unit(u).dose)
    assert {heading: numbers(text) for heading, text in said.items()} == {
        "Pictures that activate them most": ["0", "2"],
        "Scores on shared axes": ["0", "2", *scores, "95"],
        "All pictures, on one axis": ranges,
        "Dose curves": [*dose, "0", "2", shown(most), "0"],
        "Notes": [],
        "rest": ["6", "0", "0", "2", "2"],  # numbers, and buttons that remove them
    }


def test_data_and_methods_are_those_of_the_files(full, made, sections):
    said = sections("?page=methods")
    folder = full.bundle.parent
    for source in made.layer.sources:
        found = [path for path in folder.rglob(source.name) if path.is_file() and full.bundle not in path.parents]
        assert source.sha256 in said["Files"]
        assert not found or hashlib.sha256(found[0].read_bytes()).hexdigest() == source.sha256, source.name
    assert numbers(said["m · block"])[:3] == ["12", "96", "0.300"]
    null = made.layer.nulls["correlation"]
    assert numbers(said["Chance"]) == ["95", "95", shown(null.pairs_95), shown(null.nearest_95)]
    assert numbers(said["Pictures"]) == ["96"]
    assert numbers(said["Limits"]) == ["96"]


def test_every_number_of_the_page_of_similar_units(full, made, sections):
    unit, r, null = 2, correlations(full), made.layer.nulls["correlation"]
    said, near = sections(f"?page=similar&unit={unit}"), nearest(correlations(full), 2)
    edges = [(v, w) for v in near.index for w in near.index if v < w and r.loc[v, w] > null.pairs_95]
    lines = [(unit, v) for v in near.index] + edges
    network = [text for v, w in lines for text in (str(v), str(w), shown(r.loc[v, w]))]
    network += 2 * [str(v) for v in (unit, *near.index)] + [shown(null.pairs_95), "95"]
    assert Counter(numbers(said["How they hang together"])) == Counter(network)
    expected = ["95", shown(null.nearest_95), *(text for v, value in near.items() for text in (str(v), shown(value)))]
    assert numbers(said["Nearest by correlation"]) == expected
    tags = re.findall("above chance|as by chance", said["Nearest by correlation"])
    assert tags == ["above chance" if value > null.nearest_95 else "as by chance" for value in near]
    assert tags.count("above chance") == 1
    assert numbers(said["rest"]) == [str(unit)]


def test_every_number_of_the_leaderboard(full, sections):
    said, run = sections("?page=leaderboard"), full.table("results").sort_values("Rank")
    published = full.table("published").set_index("neuron")["InterpScore"]
    rows = []
    for row in run.to_dict("records"):
        rows += [shown(row["Rank"]), shown(row["Rank_low"]), shown(row["Rank_high"]), str(row["Neuron"]), shown(row["InterpScore"])]  # fmt: skip
        rows += between(row["InterpScore_low"], row["InterpScore_high"]) + [shown(row[name]) for name in "SCRH"]
        rows += [shown(published[row["Neuron"]])] if row["Neuron"] in published else []
    assert numbers(said["Weights"]) == [shown(weight) for weight in (0.3, 0.3, 0.2, 0.2)]
    assert numbers(said["rest"].replace("–", " ")) == ["3", "0", "1", "95", *rows]


def test_every_number_of_the_atlas(full, made, sections):
    said, a_NU, r = sections("?page=atlas"), full.home.a_NU.astype(float), correlations(full)
    labels, profile = full.table("labels"), full.table("profile")
    label_U = {u: c for u, c in zip(labels["unit"], labels["concept"], strict=True) if isinstance(c, str)}
    nearest_U = [nearest(r, u).iloc[0] for u in ALIVE]
    pictures = {tile.image for u in range(UNITS) for tiles in (made.unit(u).top, *(s.tiles for s in made.unit(u).strata)) for tile in tiles}  # fmt: skip
    above = sum(value > made.layer.nulls["correlation"].nearest_95 for value in nearest_U)
    redundant = int((np.triu(r, 1) >= 0.95).sum())
    counts = [
        UNITS,
        96,
        1,
        2,
        redundant,
        96,
        0,
        len(pictures),
        0,
        above,
        len(label_U),
        len({*label_U.values()}),
        3,
        1,
        3,
    ]
    medians = [np.median((a_NU <= 0).mean(0)), *(profile[name].median() for name in ("entropy", "kurtosis", "MS", "clarity", "redundancy"))]  # fmt: skip
    expected = {"The layer": [*map(str, counts), *map(shown, medians)]}

    score = np.sort([five(value) for value in labels["score"].dropna()])
    ends = score[int(len(score) * 0.02)], score[int(np.ceil(len(score) * 0.98)) - 1]
    expected["Map of units"] = [*map(shown, ends), str(len(ALIVE))]
    count = Counter(label_U.values())
    ordered = sorted(CONCEPTS, key=lambda c: (-count[c], c))
    expected["Coverage of concepts"] = ["3", "3", *(str(count[c]) for c in ordered)]
    column = [(-five(v), u) for u, v in zip(profile["unit"], profile["redundancy"], strict=True) if np.isfinite(v)]
    expected["Most redundant"] = [text for v, u in sorted(column)[:8] for text in (str(u), shown(-v))]
    expected["Dead"] = ["1", "0", "96", str(DEAD)]
    expected["rest"] = []
    assert {heading: numbers(text) for heading, text in said.items()} == expected


def test_every_number_of_walls_and_of_concepts(full, sections):
    labels = full.table("labels")
    wall = sections("?sort=label_score")["rest"].partition("Best render, times natural, at most")[2]
    found = sorted((-five(v) if np.isfinite(v) else 9, u) for u, v in zip(labels["unit"], labels["score"], strict=True))
    assert numbers(wall) == [text for v, u in found for text in (str(u), *([] if v == 9 else [shown(-v)]))]

    said = sections("?page=concepts&concept=fire")["Units of a concept"].partition("with how many units")[2]
    count = Counter(labels["concept"].dropna())
    shows = np.array([concept == "fire" for concept in full.home.concepts])
    top = formulas.top_count(96, EACH)
    score = {}
    for u in ALIVE:
        hits = shows[np.argsort(-full.home.a_NU[:, u])[:top]].sum()
        score[u] = formulas.auprc(hits, EACH, top, 96) - formulas.auprc_at_chance(96, EACH, top)
    ranked = sorted((-five(value), u) for u, value in score.items() if value > 0)
    rows = [text for k, (value, u) in enumerate(ranked, 1) for text in (str(k), str(u), shown(-value))]
    assert numbers(said) == [*(str(count[c]) for c in CONCEPTS), str(EACH), str(count["fire"]), "96", *rows]
