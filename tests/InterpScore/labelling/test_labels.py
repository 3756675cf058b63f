"""Guards labels: planted concepts are found, noise gets none, silent units get none, and options do what they say."""

import numpy as np
import pandas as pd
import pytest

from InterpScore.errors import InputError
from InterpScore.labelling import chance
from InterpScore.labelling.labels import label_units
from InterpScore.labelling.labels_table import COLUMNS
from tests.InterpScore.labelling.planted import planted, share_of_noise, share_right


@pytest.fixture(scope="module")
def small():
    """40 units, 20 of them planted, 30 concepts on 1,000 images."""
    return planted(40, 30, 1000, 0.03, 20)


@pytest.fixture(scope="module")
def labels(small):
    return label_units(small.a_IU, small.presence, resamples=60)


@pytest.fixture
def few_permutations(monkeypatch):
    monkeypatch.setattr(chance, "MOST", 2500)


def test_planted_units_get_their_concept_and_noise_gets_none(labels, small):
    assert share_right(labels, small.truth) >= 0.95
    assert share_of_noise(labels, small.truth) == 0
    assert set(labels.table["reason"][20:]) == {"none better than chance"}


def test_pure_units_need_one_concept_and_are_sure_of_it(labels):
    with_label = labels.table[labels.table["concept"].notna()]
    assert set(with_label["polysemy"]) == {1}
    assert (with_label["prediction_set"].map(lambda names: names[0]) == with_label["concept"]).all()
    sure = with_label[with_label["n_hits"] >= 5]
    assert (sure["score_low"] <= sure["score"]).all()
    assert (sure["score_high"] >= sure["score"]).all()
    assert with_label["score_low"].isna().tolist() == (with_label["n_hits"] < 5).tolist()
    assert (labels.table["polysemy"][20:] == 0).all()


def test_scores_of_a_label_are_those_of_the_evaluation_half(labels, small):
    row = labels.table[labels.table["n_hits"] >= 5].iloc[0]
    rows = labels.evaluation
    a_N, y_N = small.a_IU[rows, row["unit"]].astype(float), small.presence.of(row["unit"])[rows]
    assert (row["n_images"], row["n_concept"]) == (len(rows), y_N.sum())
    top = np.argsort(-a_N, kind="stable")[: int(row["n_top"])]
    hits = y_N[top].sum()
    assert row["n_hits"] == hits
    assert row["F1"] == pytest.approx(2 * hits / (y_N.sum() + len(top)))
    assert row["IoU"] == pytest.approx(hits / (y_N.sum() + len(top) - hits))
    assert row["correlation"] == pytest.approx(np.corrcoef(a_N, y_N)[0, 1], abs=1e-9)
    assert row["cosine"] == pytest.approx(a_N @ y_N / np.linalg.norm(a_N) / np.linalg.norm(y_N))
    assert row["cosine_chance"] == pytest.approx(row["cosine"] * len(a_N) * a_N.mean() * y_N.mean() / (a_N @ y_N))
    for name in ("AUPRC", "F1", "IoU", "correlation", "cosine"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert row["score"] == pytest.approx(row["AUPRC"] - row["AUPRC_chance"])
    assert {*labels.table.columns} | {"layer"} == {*COLUMNS}


def test_units_of_two_concepts_get_both():
    study = planted(12, 20, 1500, 0.04, 8, shift=3.0, several=2, seed=2)
    table = label_units(study.a_IU, study.presence, resamples=0).table
    both = [sorted(table["concepts"][unit]) == sorted(concepts) for unit, concepts in study.truth.items()]
    assert np.mean(both) >= 0.75
    assert (table["polysemy"][8:] > 0).sum() <= 1  # labels that are wrong are at most 5% of all


@pytest.mark.parametrize("active", [0, 1, 3])
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_silent_units_get_no_label_however_images_are_listed(active, order):
    """Ranked by row, a unit that is silent would have the first folder's images as its top images."""
    concepts = np.repeat([f"concept {c}" for c in range(10)], 40)
    generator = np.random.default_rng(5)
    concepts = concepts if order == "sorted" else generator.permutation(concepts)
    a_IU = generator.normal(size=(400, 30))
    a_IU[:, :20] = 0
    for unit in range(20):
        a_IU[generator.choice(400, active, replace=False), unit] = 1.0
    table = label_units(a_IU, concepts.tolist(), resamples=0).table
    assert table["concept"][:20].isna().all()
    if not active:
        assert set(table["reason"][:20]) == {"the same activation on every image"}


def test_missing_activations_are_a_reason(small):
    a_IU = small.a_IU[:, :3].copy()
    a_IU[7, 1] = np.nan
    table = label_units(a_IU, small.presence, resamples=0).table
    assert table["reason"][1] == "1 activations are missing"
    assert table["concept"].notna().tolist() == [True, False, True]


def test_equal_seeds_give_equal_labels_and_others_other_halves(small, labels):
    same, other = (label_units(small.a_IU, small.presence, resamples=60, seed=seed) for seed in (0, 1))
    pd.testing.assert_frame_equal(same.table, labels.table)
    assert set(other.evaluation.tolist()) != set(labels.evaluation.tolist())


@pytest.mark.parametrize("by", ["correlation", "f1"])
def test_concepts_are_chosen_by_what_was_asked_for(small, labels, by):
    other = label_units(small.a_IU, small.presence, resamples=50, by=by)
    assert share_right(other, small.truth) >= 0.95
    expected = other.table["correlation"] if by == "correlation" else other.table["F1"] - other.table["F1_chance"]
    np.testing.assert_allclose(other.table["score"], expected, atol=1e-6)
    assert not np.allclose(other.table["selection_score"], labels.table["selection_score"])


def test_without_a_split_the_null_is_the_best_of_all_concepts(small, few_permutations):
    found = label_units(small.a_IU, small.presence, resamples=20, split="none")
    assert share_right(found, small.truth) >= 0.95
    assert share_of_noise(found, small.truth) == 0
    assert found.table["p"].min() == 1 / 2501
    assert (found.table["n_images"] == 1000).all()
    assert found.table["polysemy"][:20].isna().all()
    assert "chosen on the images that they are scored on" in found.remarks[0]
    noise = found.table["p"][20:]
    assert 0.2 < noise.mean() < 0.8  # the best of 30 concepts is no surprise


def test_groups_are_permuted_as_a_whole(few_permutations):
    """Five versions of each source that hardly differ: no label, though images alone would give many."""
    generator = np.random.default_rng(1)
    source_IU = generator.normal(size=(200, 60))
    a_IU = np.repeat(source_IU, 5, axis=0) + 0.1 * generator.normal(size=(1000, 60))
    concepts = np.repeat(generator.permutation([f"c{k % 20}" for k in range(200)]), 5).tolist()
    groups = np.repeat(np.arange(200), 5).tolist()
    grouped = label_units(a_IU, concepts, groups=groups, resamples=0)
    alone = label_units(a_IU, concepts, resamples=0)
    assert grouped.table["concept"].notna().sum() <= 3
    assert alone.table["concept"].notna().sum() >= 10
    assert grouped.signature["test"] == "permutations among groups of equal size"


def test_graded_presence_is_labelled_as_well(few_permutations):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(600, 8))
    a_IU = generator.normal(size=(600, 10))
    a_IU[:, :8] += 2 * logits
    y = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    frame = pd.DataFrame(y, columns=[f"w{c}" for c in range(8)])
    found = label_units(a_IU, frame, resamples=50)
    assert found.table["concept"].tolist() == [*(f"w{c}" for c in range(8)), None, None]
    assert found.table["F1"].isna().all()
    assert found.table["p"][:8].max() == 1 / 2501


@pytest.mark.parametrize("every", [False, True])
def test_neuron_map_has_the_best_unit_of_each_concept_or_all(every):
    study = planted(9, 3, 600, 0.1, 9, shift=2.5)
    found = label_units(study.a_IU, study.presence, resamples=0)
    chosen = found.neuron_map(every)
    assert len(chosen) == (9 if every else 3)
    table = found.table
    for unit, concept in chosen.items():
        assert concept == study.truth[int(unit)][0]
        of_concept = table[table["concept"] == concept]
        if not every:
            assert table["selection_score"][int(unit)] == of_concept["selection_score"].max()


def test_several_concepts_of_a_unit_are_a_list_in_the_map(labels):
    table = labels.table.head(2).copy()
    table["chosen"], table["concepts"] = True, [["cat", "dog"], ["owl"]]
    assert type(labels)(table, {}).neuron_map() == {"0": ["cat", "dog"], "1": "owl"}


def test_files_hold_the_same(labels, tmp_path):
    import json

    path, beside = labels.save(tmp_path / "labels.parquet")
    read, document = pd.read_parquet(path), json.loads(beside.read_text())
    assert (
        read["concept"].astype(object).where(read["concept"].notna(), None).tolist() == labels.table["concept"].tolist()
    )
    assert read["runners_up"][0][0]["concept"] == labels.table["runners_up"][0][0]["concept"]
    assert [unit["concept"] for unit in document["units"]] == labels.table["concept"].tolist()
    assert document["signature"]["options"]["seed"] == 0
    assert document["columns"].keys() == {*labels.table.columns}
    assert "20 of 40 units have a label" in labels._repr_html_()


@pytest.mark.parametrize(
    ("layout", "columns"),
    [("clip-dissect", ["layer", "unit", "description", "similarity"]), ("milan", ["layer", "unit", "description"])],
)
def test_exports_are_laid_out_as_other_programs_write_them(labels, layout, columns):
    frame = labels.export(layout)
    assert list(frame) == columns
    assert len(frame) == labels.table["concept"].notna().sum()


A = np.random.default_rng(0).normal(size=(8, 2))
PAIRS = ["a", "a", "b", "b", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((A, PAIRS[:7]), {}, "of 7 images, and activations of 8"),
        ((A, ["a"] * 7 + ["b"]), {}, "concept 'b': one image; expected at least 2"),
        ((A, ["a"] * 6 + ["b", "c"]), {}, r"concept 'b': one image \(and 1 more such concepts\)"),
        ((A, PAIRS), {"groups": [0, 0, 1, 1, 0, 0, 1, 1]}, "concept 'a': 4 images of one source"),
        ((A, PAIRS), {"groups": [0, 1]}, "groups: 2 for 8 images"),
        ((A, [None] * 8), {}, "concepts: none in them"),
        ((A, PAIRS), {"min_images": 5}, "none of 2 has 5 images"),
        ((A[:3], PAIRS[:3]), {}, "images: 3; expected at least 4"),
        ((A[:, 0], PAIRS), {}, r"shape \(8,\)"),
        ((np.zeros((8, 2)), PAIRS), {}, "no unit to label"),
        ((A, PAIRS), {"units": ["x"]}, "units: 1 names for 2 units"),
        ((A, PAIRS), {"by": "soft-wpmi"}, "soft-wpmi without words"),
        ((A, np.full((8, 2), 0.3)), {"by": "f1"}, "f1 with graded presence"),
        ((A, np.full((8, 1), 0.3)), {}, "found 1 alone"),
        ((A, np.full((8, 2), 1.3)), {}, "values outside 0 to 1"),
        ((A, PAIRS), {"split": "none", "by": "correlation"}, "expected --by auprc or f1"),
        ((A, PAIRS), {"min_p_value": 2}, "--min-p-value: found '2'"),
        ((A, PAIRS), {"sed": 1}, "unknown|did you mean"),
        ((A, [3] * 8), {}, "found '3' for image 0"),
    ],
)
def test_what_cannot_be_labelled_is_refused_in_one_line(arguments, options, message):
    with pytest.raises(InputError, match=message) as raised:
        label_units(*arguments, **options)
    assert len(raised.value.problems) == 1


def test_concepts_of_few_images_are_left_out_where_asked(small):
    concepts = [["rare"] if i == 3 else [small.presence.concepts[0]] if i % 30 == 0 else [] for i in range(1000)]
    found = label_units(small.a_IU[:, :2], concepts, resamples=0, min_images=2)
    assert found.signature["n"]["concepts"] == 1
    assert found.remarks == ["1 of 2 concepts have fewer than 2 images and are left out"]


# At full size ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prevalence", "of_units", "right"), [(0.01, 2560, 0.95), (0.01, 25, 0.95), (np.geomspace(0.001, 0.25, 1000), 2560, 0.85)]
)  # fmt: skip
def test_planted_units_of_a_whole_layer_are_labelled_right(prevalence, of_units, right):
    study = planted(2560, 1000, 10_000, prevalence, of_units)
    found = label_units(study.a_IU, study.presence, resamples=0)
    assert share_right(found, study.truth) >= right
    if of_units < 2560:
        assert share_of_noise(found, study.truth) <= 0.01


@pytest.mark.slow
def test_shuffled_labels_of_grouped_images_label_no_more_units_than_the_level(monkeypatch):
    monkeypatch.setattr(chance, "MOST", 20_000)
    shares = []
    for run in range(20):
        generator = np.random.default_rng((9, run))
        source_IU = generator.normal(size=(400, 64))
        a_IU = np.repeat(source_IU, 5, axis=0) + 0.5 * generator.normal(size=(2000, 64))
        concepts = np.repeat(generator.permutation([f"c{k % 40}" for k in range(400)]), 5).tolist()
        groups = np.repeat(np.arange(400), 5).tolist()
        found = label_units(a_IU, concepts, groups=groups, resamples=0, seed=run)
        shares.append(found.table["concept"].notna().mean())
    assert np.mean(shares) <= 0.05
