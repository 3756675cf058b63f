"""Guards the folder of a baseline: its stores in the order of their seeds, and what is refused in one line."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from Activation_Extraction import image_set
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.store.writer import StoreWriter
from InterpScore.baselines.stores import MANIFEST, store_path, untrained_stores
from InterpScore.errors import InputError

LAYERS = {"layer3": (2,), "layer4": (3,)}


def write_store(path, images, weights, layers=LAYERS, sha256="0", seed=0, complete=True, **identity):
    """A store of numbers from a generator, of a network with weights that are told apart by their hash."""
    provenance = {"weights": weights, "state_sha256": weights}
    about = {
        "model": "m",
        "preprocessing": "clip",
        "pooling": "mean",
        "input": "4x4",
        "provenance": provenance,
        "batch_size": 2,
    }
    generator = np.random.default_rng(seed)
    with StoreWriter(path, about | identity, images, layers, shard_rows=4) as writer:
        for shard in writer.missing if complete else writer.missing[:1]:
            n = len(shard.rows)
            values = {name: generator.normal(size=(n, *shape)).astype(np.float32) for name, shape in layers.items()}
            writer.commit(shard, values, [f"{sha256}{row}" for row in shard.rows], [""] * n)
        if complete:
            writer.finish()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Six pictures, a trained store of them, and a baseline of two seeds."""
    home = tmp_path_factory.mktemp("baseline")
    (home / "photos").mkdir()
    (home / "untrained").mkdir()
    for i in range(6):
        Image.new("RGB", (4, 4), (40 * i, 0, 0)).save(home / "photos" / f"{i}.png")
    images = image_set(home / "photos")
    write_store(home / "acts.zarr", images, "trained.pt")
    for seed in (0, 1):
        write_store(store_path(home / "untrained", seed), images, f"untrained, seed {seed}", seed=seed + 1)
    (home / "untrained" / MANIFEST).write_text(json.dumps({"seeds": [0, 1]}))
    return home, images


def refusal(folder, trained, **options):
    with pytest.raises(InputError) as error:
        untrained_stores(folder, trained, **options)
    (problem,) = error.value.problems
    return str(problem)


def test_stores_are_in_the_order_of_the_seeds(made):
    home, _ = made
    trained = ActivationStore.open(home / "acts.zarr")
    stores = untrained_stores(home / "untrained", trained)
    assert [store.path.name for store in stores] == ["seed_0.zarr", "seed_1.zarr"]
    assert untrained_stores(home / "untrained")[0].layers == list(LAYERS)


def test_layers_that_are_not_needed_may_be_missing(made, tmp_path):
    home, images = made
    write_store(store_path(tmp_path, 5), images, "untrained, seed 5", layers={"layer4": (3,)})
    (tmp_path / MANIFEST).write_text(json.dumps({"seeds": [5]}))
    trained = ActivationStore.open(home / "acts.zarr")
    assert len(untrained_stores(tmp_path, trained, layers=["layer4"])) == 1
    assert "has layers layer4; expected layer3 among them" in refusal(tmp_path, trained)


def changed(folder, change):
    """A copy of the baseline in a folder, in which the provenance of seed 1 is changed."""
    path = store_path(folder, 1) / "provenance.json"
    provenance = json.loads(path.read_text())
    change(provenance)
    path.write_text(json.dumps(provenance))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["identity"].update(model="n"), "model 'n'; expected 'm', as"),
        (lambda p: p["identity"].update(pooling="max"), "pooling 'max'"),
        (lambda p: p["identity"].update(preprocessing="own"), "preprocessing 'own'"),
        (
            lambda p: p.update(layers={"layer2": [2], "layer4": [3]}),
            "has layers layer2, layer4; expected layer3 among them",
        ),
        (lambda p: p["layers"].update(layer4=[9]), "layer layer4 of 9 units; expected 3"),
        (
            lambda p: p["identity"]["provenance"].update(weights="trained.pt"),
            "weights 'trained.pt'; expected those of an untrained copy, 'untrained, seed 1'",
        ),
        (lambda p: p["identity"]["provenance"].update(weights="untrained, seed 0"), "weights 'untrained, seed 0'"),
        (lambda p: p["identity"]["provenance"].update(state_sha256="untrained, seed 0"), "has the weights of"),
    ],
)
def test_a_store_unlike_the_others_is_refused(made, tmp_path, change, said):
    home, _ = made
    shutil.copytree(home / "untrained", tmp_path / "untrained")
    changed(tmp_path / "untrained", change)
    problem = refusal(tmp_path / "untrained", None)
    assert said in problem
    assert "seed_1.zarr" in problem


def test_a_store_that_is_not_complete_or_of_other_pictures_is_refused(made, tmp_path):
    home, images = made
    shutil.copytree(home / "untrained", tmp_path / "untrained")
    path = store_path(tmp_path / "untrained", 1)
    shutil.rmtree(path)
    write_store(path, images, "untrained, seed 1", complete=False)
    assert "seed_1.zarr: unfinished, 2 of 6 images are missing" in refusal(tmp_path / "untrained", None)
    shutil.rmtree(path)
    write_store(path, images, "untrained, seed 1", sha256="f")
    assert "image 0 ('0.png') has the contents 'f0'; expected '00', as" in refusal(tmp_path / "untrained", None)


def test_stores_of_other_images_than_the_trained_one_are_refused(made, tmp_path):
    home, images = made
    others = {"order": images.chosen([1, 0, 2, 3, 4, 5]), "fewer": images.chosen([0, 1, 2])}
    for name, rows in others.items():
        write_store(tmp_path / name, rows, "trained.pt")
    assert "image 0 is '0.png'; expected '1.png'" in refusal(
        home / "untrained", ActivationStore.open(tmp_path / "order")
    )
    assert "6 images; expected 3" in refusal(home / "untrained", ActivationStore.open(tmp_path / "fewer"))
    itself = ActivationStore.open(store_path(home / "untrained", 0))
    assert "is itself of an untrained network" in refusal(home / "untrained", itself)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "has no baseline.json"),
        ({"seeds": [0, 1, 2]}, "has no seed_2.zarr, though baseline.json lists seed 2"),
        ({"seeds": [0, 0]}, "expected each seed once"),
        ({"seeds": []}, "baseline.json, seeds: found '[]'; expected a list of seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": [0], "format": "other"}, "format"),
    ],
)
def test_a_folder_that_is_no_complete_baseline_is_refused(made, tmp_path, manifest, said):
    home, _ = made
    shutil.copytree(home / "untrained", tmp_path / "untrained")
    (tmp_path / "untrained" / MANIFEST).unlink()
    if manifest is not None:
        (tmp_path / "untrained" / MANIFEST).write_text(json.dumps(manifest))
    assert said in refusal(tmp_path / "untrained", None)


def test_what_is_no_folder_is_refused(tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere", None)
    (tmp_path / "file").write_text("")
    assert "is a file" in refusal(tmp_path / "file", None)
