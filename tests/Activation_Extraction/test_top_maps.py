"""Maps of top images: what they hold, and what is refused."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import Activation_Extraction.top_maps as module
from Activation_Extraction import image_set
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations
from Activation_Extraction.models.layers import LayerNames
from Activation_Extraction.models.registry import Model
from Activation_Extraction.store.maps import FOLDER, top_maps
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.top_maps import keep_top_maps

pytestmark = pytest.mark.usefixtures("decoding_here")
K, SIDE = 3, 16


def network(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(5 * 16, 2))
    net = net.eval().requires_grad_(False)
    return Model("toy", net, net, ImageInput(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), LayerNames(net))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(9):
        pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def model():
    return network()


def extracted(photos, model, output, layers=("1", "2"), **options):
    options = {"progress": False, "workers": 1, "backend": "eager", **options}
    return extract_full_layer_activations(photos, list(layers), output, model, **options).store


@pytest.fixture(scope="module")
def original(photos, model, tmp_path_factory):
    return extracted(photos, model, tmp_path_factory.mktemp("store") / "acts.zarr").path


@pytest.fixture
def store(original, tmp_path):
    """A store that a test may change."""
    return ActivationStore.open(shutil.copytree(original, tmp_path / "acts.zarr"))


def kept(store, photos, model, k=K):
    return keep_top_maps(store, image_set(photos), model, k, workers=1, progress=False)


@pytest.fixture(scope="module")
def positions(photos, model, tmp_path_factory):
    """The same layers with all positions."""
    return extracted(photos, model, tmp_path_factory.mktemp("all") / "all.zarr", pooling="none")


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_maps_are_those_of_the_network_on_each_top_image(store, positions, photos, model, tmp_path, pooling):
    if pooling == "max":
        store = extracted(photos, model, tmp_path / "max.zarr", pooling="max")
    assert 0 < kept(store, photos, model) <= 9
    for layer in ("1", "2"):
        maps = top_maps(store, layer)
        all_NUhw = positions.units(layer, range(store.shapes[layer][0]), positions=True)
        np.testing.assert_array_equal(maps.rows_UK, store.statistics(layer).top_image_UK[:, :K])
        for unit, rank in np.ndindex(*maps.rows_UK.shape):
            wanted = all_NUhw[maps.rows_UK[unit, rank], unit]
            np.testing.assert_allclose(maps.values(unit, rank), wanted, atol=np.ptp(wanted) / 500 + 1e-6)


def test_the_second_run_computes_nothing_and_an_interrupted_one_the_rest(store, photos, model, monkeypatch):
    monkeypatch.setattr(module, "PART_IMAGES", 2)
    assert kept(store, photos, model) == 9
    part = sorted((store.path / FOLDER).glob("*.npz"))[1]
    first, before = part.read_bytes(), top_maps(store, "1")
    assert kept(store, photos, model) == 0
    part.unlink()
    assert kept(store, photos, model) == 2
    assert part.read_bytes() == first
    np.testing.assert_array_equal(top_maps(store, "1").steps_UKhw, before.steps_UKhw)


def test_a_store_without_maps_says_so_and_damaged_or_unfinished_ones_are_refused(store, photos, model, monkeypatch):
    monkeypatch.setattr(module, "PART_IMAGES", 4)
    assert top_maps(store, "1") is None
    kept(store, photos, model)
    part = sorted((store.path / FOLDER).glob("*.npz"))[0]
    content = part.read_bytes()
    part.write_bytes(content[:-1] + b"x")
    with pytest.raises(InputError, match=r"damaged .*00000000\.npz is not what was written"):
        top_maps(store, "1")
    part.write_bytes(content)
    (store.path / FOLDER / ".records" / "00000004.json").unlink()
    with pytest.raises(InputError, match="__maps__: unfinished, 2 of 3 parts"):
        top_maps(store, "1")


def test_maps_of_a_store_that_has_grown_are_made_again(store, photos, model, tmp_path):
    more = shutil.copytree(photos, tmp_path / "photos")
    kept(store, photos, model)
    shutil.copy(photos / "3.png", more / "9.png")
    grown = extracted(more, model, store.path, append=True)
    with pytest.raises(InputError, match="maps of this store before it changed"):
        top_maps(grown, "1")
    assert kept(grown, more, model) > 0
    np.testing.assert_array_equal(top_maps(grown, "1").rows_UK, grown.statistics("1").top_image_UK[:, :K])


def test_layers_without_positions_are_refused(photos, model, tmp_path):
    with pytest.raises(InputError, match="layer 4 has no positions"):
        kept(extracted(photos, model, tmp_path / "a.zarr", ["4"]), photos, model)


def test_a_store_that_keeps_all_positions_is_refused(positions, photos, model):
    with pytest.raises(InputError, match="keeps all positions of all images"):
        kept(positions, photos, model)


def test_more_images_than_the_store_keeps_are_refused(store, photos, model):
    with pytest.raises(InputError, match="found 101; expected 1 to 100"):
        kept(store, photos, model, 101)


def test_another_network_is_refused(store, photos):
    with pytest.raises(InputError, match="is not what the store has of these images"):
        kept(store, photos, network(1))


def test_images_that_are_missing_or_others_are_refused(store, photos, model, tmp_path):
    some = shutil.copytree(photos, tmp_path / "photos")
    (some / "8.png").unlink()
    with pytest.raises(InputError, match=r"1 images of .* are not among those given, such as '8\.png'"):
        kept(store, some, model)
    shutil.copy(some / "1.png", some / "8.png")
    with pytest.raises(InputError, match=r"8\.png: not the image that the store was made from"):
        kept(store, some, model)
