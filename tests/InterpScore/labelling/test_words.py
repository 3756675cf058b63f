"""Guards words as concepts: presence by a real text tower, and directions toward texts that get the words of these texts."""

from random import Random

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from Activation_Extraction import load_model
from InterpScore.cli.label import label_app
from InterpScore.labelling import chance
from InterpScore.labelling.labels import label_units
from InterpScore.labelling.sources import words
from InterpScore.labelling.sources.words import WordOptions, read_words, unit_length, words_presence
from tests.Activation_Extraction import small_stores
from tests.InterpScore.labelling.test_label_command import command

WORDS = ["bird", "cat", "clock", "fire", "fish", "key", "puppy", "star"]
IMAGES = 240


def texts(template, names):
    model = load_model("clip-mini")
    return unit_length(np.asarray(model.encode_text([template.format(word=name) for name in names]).numpy()))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store with embeddings near the texts of words, and units that are directions toward the same texts, or noise."""
    folder = tmp_path_factory.mktemp("words")
    generator = np.random.default_rng(0)
    text_CE = texts(words.TEMPLATE, WORDS)
    concept_N = np.arange(IMAGES) % len(WORDS)
    embedding = text_CE[concept_N] + 0.04 * generator.normal(size=(IMAGES, text_CE.shape[1]))
    noise = generator.normal(size=(IMAGES, 2))
    centred = embedding - embedding.mean(axis=0)
    a = {"attnpool": 5 * embedding, "layer4": np.concatenate([centred @ text_CE.T, noise], axis=1)}
    a = {layer: values.astype(np.float32) for layer, values in a.items()}
    weights = load_model("clip-mini").identity
    images = small_stores.image_set(IMAGES)
    small_stores.write(folder / "acts.zarr", a, images=images, identity=weights, shard_rows=IMAGES)
    for name, layers, identity in (
        ("units", ["layer4"], weights), ("embeddings", ["attnpool"], weights),
        ("others", ["attnpool"], {**weights, "provenance": {"weights_sha256": "0" * 64}}),
    ):  # fmt: skip
        some = {layer: a[layer] for layer in layers}
        small_stores.write(folder / f"{name}.zarr", some, images=images, identity=identity, shard_rows=IMAGES)
    few = {"attnpool": a["attnpool"][:9]}
    small_stores.write(folder / "few.zarr", few, images=small_stores.image_set(9), identity=weights)
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n\n")
    return folder


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch):
    monkeypatch.setattr(chance, "MOST", 2500)


def label(home, tmp_path, *options, code=0, store="acts.zarr"):
    path = tmp_path / "l.parquet"
    out = command(label_app, home / store, "--concepts", home / "words.txt", "--layer", "layer4", "--resamples", 20, "-o", path, *options, code=code)  # fmt: skip
    return out if code else pd.read_parquet(path)


@pytest.fixture(scope="module")
def plain(home):
    """The labels without further options."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chance, "MOST", 2500)
        return label(home, home)


@pytest.mark.parametrize("by", ["auprc", "correlation", "soft-wpmi"])
def test_directions_toward_texts_get_the_words_of_these_texts(home, plain, tmp_path, by):
    found = plain if by == "auprc" else label(home, tmp_path, "--by", by)
    assert found["concept"].tolist()[:8] == WORDS
    assert found["concept"][8:].notna().sum() <= 1  # labels that are wrong are at most 5% of all


def test_presence_is_the_softmax_of_scaled_cosines(home, tmp_path):
    from Activation_Extraction.store.reader import ActivationStore

    store = ActivationStore.open(home / "acts.zarr")
    found, about = words_presence(WORDS, store, tmp_path / "l.parquet", WordOptions(scale=20.0), True, True)
    embedding = store.units("attnpool", range(128)).astype(float)
    cosine = texts(words.TEMPLATE, WORDS) @ (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).T
    np.testing.assert_allclose(found.cosine_CN, cosine, atol=1e-6)
    np.testing.assert_allclose(found.y_CN, softmax(20 * cosine, axis=0), atol=1e-5)
    _, about = words_presence(WORDS, store, tmp_path / "l.parquet", WordOptions(), False, True)
    assert about["scale"] == pytest.approx(float(load_model("clip-mini").module.logit_scale.exp()))


@pytest.mark.parametrize("option", [("--template", "{word}, a drawing"), ("--scale", "3")])
def test_options_of_words_have_an_effect(home, plain, tmp_path, option):
    assert not plain["AUPRC"].equals(label(home, tmp_path, *option)["AUPRC"])


def test_embeddings_may_be_in_another_store(home, tmp_path):
    found = label(home, tmp_path, "--embedding", home / "embeddings.zarr", store="units.zarr")
    assert found["concept"].tolist()[:8] == WORDS


@pytest.mark.parametrize(
    ("store", "options", "message"),
    [
        ("units.zarr", [], "has no layer attnpool, the embedding that words are compared with"),
        ("acts.zarr", ["--embedding", "few.zarr"], "9 images, and 240 in"),
        ("acts.zarr", ["--embedding", "others.zarr"], "expected the same network"),
        ("acts.zarr", ["--embedding", "units.zarr"], "layer layer4 has 10 units, texts have 128"),
        ("acts.zarr", ["--template", "a photo"], "expected a text with {word} in it"),
        ("acts.zarr", ["--scale", "0"], "--scale: found 0"),
        ("acts.zarr", ["--by", "f1"], "f1 with graded presence"),
        ("acts.zarr", ["--model", "textless"], "textless: no text tower"),
        ("acts.zarr", ["--model", "clip-mini", "--model-weights", "random"], "expected the same network"),
    ],
)
def test_words_that_cannot_be_compared_are_one_line(home, tmp_path, store, options, message, monkeypatch):
    from dataclasses import replace

    from Activation_Extraction.models import registry
    from Activation_Extraction.models.registry import ModelSpec

    textless = replace(load_model("clip-mini"), name="textless", make_tokenizer=None)
    spec = ModelSpec("textless", "a test", lambda file, sha256: textless, embedded=True)
    monkeypatch.setitem(registry._registered, "textless", spec)
    options = [home / option if option.endswith(".zarr") else option for option in options]
    err = label(home, tmp_path, *options, code=2, store=store)
    assert message in err
    assert len(err.splitlines()) == 1


def test_words_are_lines_without_spaces_around_them(tmp_path):
    (tmp_path / "w.txt").write_text("\ufeff  raised   hand \n\nfire\r\n")
    assert read_words(tmp_path / "w.txt") == ["raised hand", "fire"]


# With pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Pictures of all 31 things of the picture world, in a folder for each, and a store of their embeddings."""
    from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations
    from Activation_Extraction.models.clip_mini.world.scenes import CONCEPTS, draw_scene

    folder = tmp_path_factory.mktemp("drawn")
    for concept in CONCEPTS:
        (folder / "pictures" / concept).mkdir(parents=True)
        for k in range(16):
            path = folder / "pictures" / concept / f"{k}.png"
            draw_scene(Random(f"labels/{concept}/{k}"), [concept]).render(96).save(path)
    report = extract_full_layer_activations(
        folder / "pictures", ["attnpool", "block_4"], folder / "acts.zarr", "clip-mini", progress=False, workers=1
    )
    (folder / "words.txt").write_text("\n".join(CONCEPTS))
    return folder, report.store, list(CONCEPTS)


@pytest.mark.slow
@pytest.mark.parametrize("by_words", [False, True])
def test_directions_of_clip_mini_toward_concepts_get_their_labels(drawn, tmp_path, by_words):
    _, store, concepts = drawn
    image_NE = unit_length(store.units("attnpool", range(128)))
    units_NU = (image_NE - image_NE.mean(axis=0)) @ texts("a picture of a {word}", concepts).T
    if by_words:
        options = WordOptions(template="a picture of a {word}")
        shown, _ = words_presence(concepts, store, tmp_path / "l.parquet", options, False, True)
    else:
        shown = store.images["concept"].tolist()
    found = label_units(units_NU, shown, resamples=50).table["concept"]
    assert np.mean(found == np.array(concepts)) >= 0.9


@pytest.mark.slow
def test_embeddings_are_computed_from_pictures_where_no_store_has_them(drawn, tmp_path):
    from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations

    folder, _, _ = drawn
    extract_full_layer_activations(folder / "pictures", "block_4", tmp_path / "a.zarr", "clip-mini", progress=False)
    options = ("--concepts", folder / "words.txt", "--images", folder / "pictures", "--resamples", 0, "--quiet")
    command(label_app, tmp_path / "a.zarr", *options, "-o", tmp_path / "computed.parquet")
    kept = ("--concepts", folder / "words.txt", "--embedding", tmp_path / "computed.embedding.zarr", "--resamples", 0)
    command(label_app, tmp_path / "a.zarr", *kept, "--quiet", "-o", tmp_path / "read.parquet")
    one, other = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("computed", "read"))
    assert one["concept"].notna().sum() >= 100
    assert one["concept"].tolist() == other["concept"].tolist()
