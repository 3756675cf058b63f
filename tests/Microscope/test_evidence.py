"""Guards what bundles say of units from files and networks: the right units, the right numbers, the right store."""

import json

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.errors import InputError
from Microscope.bundle.evidence.effects import intervals
from Microscope.bundle.evidence.embeddings import clusters_of, silhouette
from Microscope.bundle.evidence.texts import network_of_words, units_of_text
from Microscope.bundle.options import Files
from tests.Microscope.full_bundle import write_ratings
from tests.Microscope.small_bundles import activations, build, five, read, small_home, write_json, write_store


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return small_home(tmp_path_factory.mktemp("home"))


def command(*arguments):
    with pytest.raises(SystemExit) as left:
        run(app, [str(part) for part in arguments])
    assert left.value.code in (0, 1)  # 1: images that could not be read


@pytest.fixture(scope="module")
def labels(home, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.parquet"
    command("label", home.store, "-o", path, "--resamples", 50, "--quiet")
    return path


@pytest.fixture(scope="module")
def profile(home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    names = [f"{concept}/{i}.png" for i, concept in enumerate(home.concepts)]
    contents = [(home.photos / name).read_bytes() for name in names]
    e_ND = np.random.default_rng(4).normal(size=(90, 6)).astype(np.float32)
    embedding = write_store(folder / "e.zarr", {"pooled": e_ND}, names, contents, identity={"model": "other", "provenance": {"weights_sha256": "b" * 64}})  # fmt: skip
    command("profile", home.store, "--embedding", embedding, "-o", folder / "profile.parquet", "--quiet")
    return folder / "profile.parquet", embedding, e_ND


def results(path, rows, **signature):
    """Results as `interpscore score` writes them."""
    options = {"weights": [0.4, 0.3, 0.2, 0.1], "preset": "default"}
    columns = dict.fromkeys({name for row in rows for name in row}, "what it means")
    signature = {"options": options, "n": {"neurons": len(rows)}, "inputs": {"data": {"path": "/home/me/d.csv"}}, **signature}  # fmt: skip
    rows = [{"Concept": "fire", "InterpScore": 0.5, "InterpScore_low": 0.4, "InterpScore_high": 0.6, "Notes": "", **row} for row in rows]  # fmt: skip
    write_json(path.with_suffix(".json"), {"signature": signature, "warnings": ["/home/me/d.csv: odd"], "columns": columns, "neurons": rows})  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


# Labels


def test_labels_are_those_of_the_table_with_everything_beside_them(home, labels, tmp_path):
    build(home, tmp_path / "b", Files(labels=[labels]))
    made, table = read(tmp_path / "b"), pd.read_parquet(labels).set_index("unit")
    assert made.index.label == [concept if isinstance(concept, str) else None for concept in table["concept"]]
    found, row = made.unit(0).label, table.loc[0]
    assert (found.text, found.source) == ("concept 0", "labels of images, evaluation half")
    assert found.score.value == five(row["score"])
    assert (found.score.low, found.score.high) == (five(row["score_low"]), five(row["score_high"]))
    assert found.score.p_adjusted == five(row["p_adjusted"])
    assert [one.text for one in found.runners_up] == [one["concept"] for one in row["runners_up"]]
    assert found.prediction_set == list(row["prediction_set"])
    none = made.unit(4).label
    assert (none.text, none.why) == (None, "the same activation on every image")
    assert made.numbers.columns["label_score"][0] == five(row["score"])
    assert made.layer.statistics["labelled"] == table["concept"].notna().sum()
    assert next(one for one in made.concepts.concepts if one.name == "concept 0").labelled[0] == 0
    (source,) = [one for one in made.layer.sources if one.kind == "labels"]
    assert (tmp_path / "b" / source.download).read_bytes() == labels.read_bytes()


def test_no_unit_of_permuted_activations_has_a_label_or_is_selective(tmp_path):
    generator = np.random.default_rng(8)
    permuted = np.stack([generator.permutation(np.linspace(0, 3, 90)) for _ in range(40)], 1).astype(np.float32)
    home = small_home(tmp_path, permuted, broken=())
    command("label", home.store, "-o", tmp_path / "labels.parquet", "--resamples", 0, "--quiet")
    names = [f"{concept}/{i}.png" for i, concept in enumerate(home.concepts)]
    write_ratings(tmp_path / "ratings.csv", names, home.concepts)
    given = write_json(tmp_path / "map.json", {str(u): f"concept {u % 3}" for u in range(40)})
    command("score", tmp_path / "ratings.csv", given, tmp_path / "r.csv", "--store", home.store, "--resamples", 20, "--quiet")  # fmt: skip
    build(home, tmp_path / "b", Files(labels=[tmp_path / "labels.parquet"], results=[tmp_path / "r.csv"]))
    made = read(tmp_path / "b")
    assert made.index.label == [None] * 40
    selectivity = [made.unit(u).scores["S"] for u in range(40)]
    assert [one.significant for one in selectivity] == [False] * 40
    assert np.mean([one.value - one.chance for one in selectivity]) == pytest.approx(0, abs=0.03)
    assert made.unit(3).label.why == "none better than chance"
    assert made.unit(3).label.runners_up[0].score is not None


def test_a_neuron_map_is_said_to_be_given_and_yields_to_labels(home, labels, tmp_path):
    given = write_json(tmp_path / "map.json", {"0": "boat", "4": ["night", "dusk"]})
    build(home, tmp_path / "b", Files(labels=[labels], neuron_map=given))
    made = read(tmp_path / "b")
    assert made.unit(0).label.text == "concept 0"
    build(home, tmp_path / "c", Files(neuron_map=given))
    found = read(tmp_path / "c").unit(4).label
    assert (found.text, found.needs, found.source, found.score) == ("night", ["dusk"], "neuron map (given, not tested)", None)  # fmt: skip


# Scores


def test_scores_are_those_of_the_results_with_chance_and_untrained_beside_them(home, tmp_path):
    row = {
        "Neuron": "17", "S": 0.9, "S_low": 0.8, "S_high": 0.95, "S_excess": 0.4, "S_p_adjusted": 0.01, "S_significant": True,
        "S_untrained_best": 0.6, "S_untrained_higher": 0.1, "n_target_images": 8, "n_other_images": 82, "H": None, "H_low": None,
        "H_high": None, "Rank": 1, "Rank_low": 1, "Rank_high": 2, "Notes": "H: no rating in /home/me/d.csv; selective",
    }  # fmt: skip
    path = results(tmp_path / "r.csv", [row, {"Neuron": "layer4:2"}], participants_simulated=True)
    build(home, tmp_path / "b", Files(results=[path]))
    made = read(tmp_path / "b")
    found = made.unit(17).scores
    s = found["S"]
    assert (s.value, s.low, s.high, s.chance, s.p_adjusted, s.significant) == (0.9, 0.8, 0.95, 0.5, 0.01, True)
    assert (s.untrained, s.untrained_higher, s.n) == (0.6, 0.1, "8 images of the concept, 82 others")
    assert (found["H"].value, found["H"].why) == (None, "H: no rating in d.csv; selective")
    assert found["Rank"].high == 2
    assert made.unit(17).notes == ["H: no rating in d.csv", "selective"]
    assert made.unit(2).scores["InterpScore"].value == 0.5
    assert made.unit(3).scores == {}
    assert made.numbers.columns["S_low"][17] == 0.8
    assert made.numbers.columns["InterpScore"].count(None) == 38
    assert made.layer.weights == {"S": 0.4, "C": 0.3, "R": 0.2, "H": 0.1}
    assert made.unit(17).label.text == "fire"
    assert json.loads((tmp_path / "b" / "bundle.json").read_bytes())["participants_simulated"]
    assert any("SIMULATED" in line for line in made.layer.limits)
    assert "r.csv: d.csv: odd" in made.layer.limits


def test_published_scores_are_of_the_same_unit_and_concept(home, tmp_path):
    board = tmp_path / "board.csv"
    board.write_text("concept,neuron,S,InterpScore\nFire,17,0.99,0.7\nBoat,3,0.5,0.5\nFire,2999,0.1,0.1\n")
    path = results(tmp_path / "r.csv", [{"Neuron": "17"}, {"Neuron": "3"}])
    build(home, tmp_path / "b", Files(results=[path], published=board))
    columns = read(tmp_path / "b").numbers.columns
    assert {u: value for u, value in enumerate(columns["published_InterpScore"]) if value is not None} == {17: 0.7}
    board.write_text("concept,S\nfire,0.99\n")
    build(home, tmp_path / "c", Files(results=[path], published=board))
    columns = read(tmp_path / "c").numbers.columns
    assert [u for u, value in enumerate(columns["published_S"]) if value is not None] == [3, 17]


def test_profile_has_chance_beside_its_scores_and_clusters_are_of_the_embeddings(home, profile, tmp_path):
    path, embedding, e_ND = profile
    build(home, tmp_path / "b", Files(profile=[path], embedding=embedding))
    made, table = read(tmp_path / "b"), pd.read_parquet(path)
    found = made.unit(17).scores["MS_top"]
    assert (found.value, found.chance) == (five(table["MS_top"][17]), five(table["MS_top_chance"][17]))
    assert made.unit(4).scores["MS"].value is None
    assert made.unit(4).scores["MS"].why
    rows = [int(tile.image.rpartition("/")[2].removesuffix(".png")) for tile in made.unit(17).top]
    unit_nD = e_ND[rows] / np.linalg.norm(e_ND[rows], axis=1, keepdims=True)
    assert [tile.cluster for tile in made.unit(17).top] == clusters_of(unit_nD).tolist()
    assert sum(one.size for one in made.unit(17).clusters) == len(rows)


def test_pictures_of_two_kinds_are_two_clusters_and_of_one_kind_one():
    generator = np.random.default_rng(0)
    centre_2D = np.linalg.qr(generator.normal(size=(20, 2)))[0].T
    two = centre_2D[[0] * 7 + [1] * 5] + 0.1 * generator.normal(size=(12, 20))
    two /= np.linalg.norm(two, axis=1, keepdims=True)
    assert clusters_of(two).tolist() == [0] * 7 + [1] * 5
    assert clusters_of(two[:7]).tolist() == [0] * 7
    noise = generator.normal(size=(30, 20))
    assert clusters_of(noise / np.linalg.norm(noise, axis=1, keepdims=True)).tolist() == [0] * 30


def test_silhouette_agrees_with_scikit_learn():
    from sklearn.metrics import silhouette_score

    x = np.random.default_rng(1).normal(size=(20, 4))
    far = np.linalg.norm(x[:, None] - x, axis=2)
    of = np.arange(20) % 3
    assert silhouette(far, of) == pytest.approx(silhouette_score(far, of, metric="precomputed"))


# Effects


def test_dose_is_the_mean_over_images_with_an_interval_over_them(home, tmp_path):
    effect = np.random.default_rng(2).uniform(0, 1, (30, 2))
    effect[4, 1] = np.nan
    frame = pd.DataFrame({"image_filename": [f"{i}.png" for i in range(30)], "ablation_effect_17": effect[:, 0], "scale_0.5_effect_17": effect[:, 1], "toward_effect_17": 0.0})  # fmt: skip
    frame.to_parquet(tmp_path / "e.parquet")
    build(home, tmp_path / "b", Files(effects=[tmp_path / "e.parquet"]))
    dose = read(tmp_path / "b").unit(17).dose
    assert [one.strength for one in dose] == [0, 0.5]
    for one, values in zip(dose, effect.T, strict=True):
        there = values[np.isfinite(values)]
        error = there.std(ddof=1) / np.sqrt(len(there))
        assert one.effect.value == five(there.mean())
        assert one.effect.low == pytest.approx(there.mean() - 1.96 * error, abs=error / 3)
        assert one.effect.high == pytest.approx(there.mean() + 1.96 * error, abs=error / 3)
    assert dose[1].effect.n == "29 images"
    assert read(tmp_path / "b").unit(2).dose is None


def test_a_unit_without_an_effect_says_so():
    (found,) = intervals(np.full((3, 1), np.nan), np.ones((5, 3)))
    assert (found.value, found.why) == (None, "no image has an effect of the unit")


# The network


@pytest.mark.slow
def test_weights_effects_and_words_are_those_of_the_network(tmp_path):
    import torch

    from Activation_Extraction import extract_full_layer_activations, image_set, load_model
    from Activation_Extraction.clip_helpers import prepare
    from InterpScore.interventions.edits import scale
    from InterpScore.interventions.layer import LayerInterventions
    from Microscope.bundle.options import Options
    from tests.small_jobs import set_up

    set_up(tmp_path)
    model = load_model("clip-mini", threads=1)
    photos = image_set(tmp_path / "photos")
    extract_full_layer_activations(photos, ["block_4", "attnpool"], tmp_path / "a.zarr", model, workers=1)
    (tmp_path / "words.txt").write_text("fire\nmushroom\n")
    files = Files(images=[str(tmp_path / "photos")], model="clip-mini", embedding=tmp_path / "a.zarr", words=tmp_path / "words.txt")  # fmt: skip
    options = Options(layers=["block_4"], top=2, strata=1, per_stratum=1, tile=16)
    build(None, tmp_path / "b", files, options, stores=[tmp_path / "a.zarr"])
    made = read(tmp_path / "b")
    block = model.image_tower.layer4[-1]
    w = block.conv3.weight.detach().flatten(1).double() * torch.sign(block.bn3.weight.detach().double())[:, None]
    cosine = torch.nn.functional.normalize(w) @ torch.nn.functional.normalize(w).T
    first = made.unit(185).similar.weights[0]
    cosine.fill_diagonal_(-1)
    assert (first.unit, first.value) == (int(cosine[185].argmax()), pytest.approx(float(cosine[185].max()), abs=1e-4))
    x = torch.stack([prepare(photos.source(row), model.image_input) for row in range(4)])
    changes = [torch.cat([part[0] for _, part in state.changes([scale(0.0)])]) for state in LayerInterventions(model, "block_4").forward_to_layer(x)]  # fmt: skip
    mean = torch.nn.functional.normalize(torch.stack(changes).mean(0).double())
    alike = (mean[185] @ mean.T).nan_to_num(-1)
    alike[185] = -1
    assert made.unit(185).similar.effect[0].unit == int(alike.argmax())
    words = made.concepts.words
    assert words.vocabulary == ["fire", "mushroom"]
    assert [len(units) for units in words.units] == [20, 20]
    assert words.score[0] == sorted(words.score[0], reverse=True)
    assert words.score[0][0] > 0
    embedding = (made.folder / words.embedding).read_bytes()
    for k, word in enumerate(words.vocabulary):  # a text that is typed on a server ranks units as the vocabulary does
        found = units_of_text(words, embedding, network_of_words(words), word)
        assert [unit for unit, _ in found] == words.units[k]
        assert [score for _, score in found] == pytest.approx(words.score[k], abs=1e-5)


# The right store


@pytest.mark.parametrize("kind", ["labels", "profile"])
def test_files_of_another_store_are_refused(home, labels, profile, tmp_path, kind):
    other = small_home(tmp_path, activations(seed=9))
    files = {"labels": Files(labels=[labels]), "profile": Files(profile=[profile[0]])}[kind]
    with pytest.raises(InputError, match=r"made from a store with hash .*; expected one from"):
        build(other, tmp_path / "b", files)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("rows", "signature", "said"),
    [
        ([{"Neuron": "40"}], {}, "unit 40; layer4 of .* has 0 to 39"),
        ([{"Neuron": "1", "Layer": "layer3"}], {}, "of layer 'layer3'; expected one of the bundle's: layer4"),
        ([{"Neuron": "1"}], {"stores": [{"layers": ["layer4"], "sha256": "0" * 64}]}, "made from a store with hash 000000000000"),
        ([{"Neuron": "1"}], {"causality": [{"layer": "layer4", "provenance": {"weights_sha256": "c" * 64}}]}, "of a network whose weights have hash cccccccccccc"),
    ],
)  # fmt: skip
def test_results_of_other_units_layers_stores_and_networks_are_refused(home, tmp_path, rows, signature, said):
    path = results(tmp_path / "r.csv", rows, **signature)
    with pytest.raises(InputError, match=said):
        build(home, tmp_path / "b", Files(results=[path]))


def test_a_unit_in_two_results_is_refused(home, tmp_path):
    paths = [results(tmp_path / name, [{"Neuron": "1"}]) for name in ("r.csv", "q.csv")]
    with pytest.raises(InputError, match="unit 1 of layer4 has scores already"):
        build(home, tmp_path / "b", Files(results=paths))


def test_words_of_a_network_that_is_a_file_are_not_measured_since_it_is_not_run(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    (tmp_path / "words.txt").write_text("fire\nsnow\n")
    names = [f"{concept}/{i}.png" for i, concept in enumerate(home.concepts)]
    contents = [(home.photos / name).read_bytes() for name in names]
    embedding = write_store(tmp_path / "e.zarr", {"pooled": np.ones((90, 4), np.float32)}, names, contents, identity={"model": "evil.py:load"})  # fmt: skip
    build(home, tmp_path / "b", Files(embedding=embedding, words=tmp_path / "words.txt"))
    assert "is never run" in read(tmp_path / "b").layer.not_measured["words"]


def test_weights_without_their_network_are_refused(home, tmp_path):
    with pytest.raises(InputError, match=r"--weights: found w\.pt; expected the network"):
        build(home, tmp_path / "b", Files(weights="w.pt"))


@pytest.mark.parametrize("kind", ["labels", "profile", "results", "effects", "renders", "published", "embedding"])
def test_a_file_that_is_not_there_is_one_line(home, tmp_path, kind):
    path = tmp_path / ("nowhere" if kind in ("renders", "embedding") else "nowhere.parquet")
    files = Files(**{kind: path if kind in ("published", "embedding") else [path]})
    with pytest.raises((InputError, OSError)) as error:
        build(home, tmp_path / "b", files)
    assert isinstance(error.value, InputError)
    assert "nowhere" in str(error.value)
    assert len(error.value.problems) == 1
