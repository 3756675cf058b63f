"""Guards extraction: every row is its own image's, pooled as said, whatever the order, the batches and broken files."""

import os
import warnings
from importlib.metadata import version

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from Activation_Extraction.activation_extractor import extract_activations, extract_layer_activations
from Activation_Extraction.base.errors import InputError, UnreadableImageWarning
from Activation_Extraction.clip_helpers import ImageInput, prepare
from Activation_Extraction.models import registry
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.models.registry import ModelSpec, load_model, register_model

INPUT = ImageInput(20, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


class Tiny(nn.Module):
    """One layer of each kind: maps, a module that runs twice and overwrites its input, tokens, plain units."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, stride=2)
        self.second = nn.Conv2d(5, 7, 3, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.tokens = nn.Linear(7, 6)
        self.head = nn.Linear(6, 4)
        self.total = Total()

    def forward(self, x_NCHW):
        x_NCHW = self.relu(self.second(self.relu(self.first(x_NCHW))))
        x_NTD = self.tokens(x_NCHW.flatten(2).transpose(1, 2))
        x_ND = self.head(x_NTD.mean(1))
        self.total(x_ND)
        return x_ND


class Total(nn.Module):
    def forward(self, x_ND):
        return x_ND.sum()


LAYERS = {
    "first": ("first", 1, ("y", "x")),
    "second": ("second", 1, ("y", "x")),
    "relu#1": ("relu", 1, ("y", "x")),
    "relu#2": ("relu", 2, ("y", "x")),
    "tokens": ("tokens", 1, ("token",)),
    "head": ("head", 1, ()),
}
"""Name → module, which of its calls, and the axes after image and unit."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """So small a network loses more by waking threads than it gains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return from_module(
            Tiny(), INPUT, name="tiny-net", aliases={"node/1": "first"}, provenance={"weights": "seed 0"}
        )


@pytest.fixture
def registered(tiny, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register_model(ModelSpec("tiny-net", "a tiny network", lambda file, sha256: tiny))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four images, each of another shape and format, and four files that are none."""
    folder = tmp_path_factory.mktemp("images")
    for seed, name in enumerate(GOOD):
        values = np.random.default_rng(seed).integers(0, 256, (21 + 9 * seed, 47 - 8 * seed, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / name)
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not an image")
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:-300])
    return folder


GOOD = ("a.jpg", "b.png", "c.webp", "d.bmp")
BROKEN = ("empty.png", "text.png", "cut.png", "missing.png")


def by_hand(tiny, path, layer, preset="clip"):
    """A layer's output on one image alone, (units, positions…), by a hook placed by hand."""
    module, wanted, _ = LAYERS[layer]
    calls = []
    handle = getattr(tiny.module, module).register_forward_hook(lambda m, i, output: calls.append(output.clone()))
    with torch.no_grad():
        tiny.module(prepare(path, INPUT, preset)[None])
    handle.remove()
    output = calls[wanted - 1][0].numpy()
    return output.T if layer == "tokens" else output


def pooled_by_hand(output, pooling):
    positions = output.reshape(len(output), -1)
    if pooling == "none":
        return output
    return positions.max(1) if pooling == "max" else positions.sum(1) / positions.shape[1]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# Rows ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_row_is_its_own_images_for_any_order_duplicates_batches_and_broken_files(tiny, folder, data):
    names = data.draw(st.lists(st.sampled_from(GOOD + BROKEN), min_size=1, max_size=9).filter(set(GOOD).intersection))
    layer, pooling = data.draw(st.sampled_from(sorted(LAYERS))), data.draw(st.sampled_from(["mean", "max", "none"]))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = extract_layer_activations(
            [folder / name for name in names], layer, tiny, pooling=pooling, batch_size=data.draw(st.integers(1, 10))
        )
    assert found.dtype == np.float32
    assert found.coords["image"].values.tolist() == [str(folder / name) for name in names]
    assert found.dims == ("image", "unit", *(LAYERS[layer][2] if pooling == "none" else ()))
    for name, row in zip(names, found, strict=True):
        error = str(row.coords["error"].values)
        if name in BROKEN:
            assert np.isnan(row.values).all()
            assert error.startswith(f"{folder / name}: ")
            assert "; expected" in error
        else:
            close(row.values, pooled_by_hand(by_hand(tiny, folder / name, layer), pooling))
            assert error == ""
    broken = [name for name in names if name in BROKEN]
    assert [w.category for w in warned] == [UnreadableImageWarning] * bool(broken)
    if broken:
        message = str(warned[0].message)
        assert message.startswith(f"{len(broken)} of {len(names)} images not read, their rows are NaN: ")
        assert all(str(folder / name) in message for name in broken[:5])


@pytest.mark.parametrize("pooling", ["mean", "max", "none"])
@pytest.mark.parametrize("layer", LAYERS)
def test_pooling_of_every_kind_of_layer_equals_a_hook_placed_by_hand(tiny, folder, layer, pooling):
    paths = [folder / name for name in GOOD]
    found = extract_layer_activations(paths, layer, tiny, pooling=pooling)
    close(found.values, np.stack([pooled_by_hand(by_hand(tiny, path, layer), pooling) for path in paths]))


def test_paths_bytes_pil_images_and_arrays_give_the_same_rows(tiny, folder):
    path = folder / "b.png"
    with Image.open(path) as opened:
        sources = [path, str(path), path.read_bytes(), opened, np.asarray(opened), np.asarray(opened) / 255]
        found = extract_layer_activations(sources, "head", tiny)
    close(found.values, np.stack([by_hand(tiny, path, "head")] * 6))
    names = found.coords["image"].values.tolist()
    assert names == [
        str(path),
        str(path),
        "image 2, bytes",
        "image 3, PngImageFile",
        "image 4, ndarray",
        "image 5, ndarray",
    ]


def test_one_image_alone_is_a_list_of_one(tiny, folder):
    path = folder / "b.png"
    for alone in (path, str(path), path.read_bytes(), np.asarray(Image.open(path).copy())):
        found = extract_layer_activations(alone, "head", tiny)
        close(found.values, by_hand(tiny, path, "head")[None])


def test_iterators_and_stacks_of_images_are_read_whole(tiny, folder):
    found = extract_layer_activations(iter([folder / name for name in GOOD]), "head", tiny, batch_size=3)
    close(found.values, np.stack([by_hand(tiny, folder / name, "head") for name in GOOD]))
    stack = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    assert extract_layer_activations(stack, "head", tiny).shape == (3, 4)


def test_nothing_stays_on_the_network_and_its_outputs_stay_the_same(tiny, folder):
    x = prepare(folder / "a.jpg", INPUT)[None]
    before = tiny.module(x)
    extract_layer_activations([folder / "a.jpg"], "first", tiny)
    with pytest.raises(InputError):
        extract_layer_activations([folder / "a.jpg"], "total", tiny)
    assert torch.equal(tiny.module(x), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny.module.modules())


# Unreadable images --------------------------------------------------------------------------------------------------


def test_many_unreadable_images_are_counted_and_the_first_named(tiny, folder):
    paths = [folder / "a.jpg", *[f"gone{i}.png" for i in range(8)]]
    with pytest.warns(UnreadableImageWarning) as warned:
        found = extract_layer_activations(paths, "head", tiny)
    message = str(warned[0].message)
    assert message.startswith("8 of 9 images not read, their rows are NaN: gone0.png: no such file; expected")
    assert message.endswith("; … and 3 more")
    assert "gone4.png" in message
    assert "gone5.png" not in message
    assert np.isnan(found.values).any(axis=1).tolist() == [False] + [True] * 8


@pytest.mark.parametrize("function", [extract_activations, extract_layer_activations])
def test_warning_points_at_the_callers_line(registered, folder, function):
    with pytest.warns(UnreadableImageWarning) as warned:
        function([folder / "a.jpg", "gone.png"], "head", "tiny-net")
    assert warned[0].filename == __file__


def test_all_unreadable_is_an_error_that_names_each(tiny, folder):
    with pytest.raises(InputError) as caught:
        extract_layer_activations([folder / name for name in BROKEN], "head", tiny, batch_size=3)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [str(folder / name) for name in BROKEN]


def test_no_images_is_an_error(registered, tiny):
    for nothing in ([], (), iter([]), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(InputError, match=r"^images: none given; expected at least one$"):
            extract_layer_activations(nothing, "head", tiny)
    with pytest.raises(InputError, match="images: none given"):
        extract_activations(image_paths=[], layer_name="head", model_type="tiny-net")


# By name ------------------------------------------------------------------------------------------------------------


def test_models_and_layers_are_found_by_name(registered, tiny, folder):
    paths = [os.fspath(folder / name) for name in GOOD]
    found = extract_activations(image_paths=paths, layer_name="node/1", model_type="tiny-net")
    close(found.values, np.stack([pooled_by_hand(by_hand(tiny, path, "first"), "mean") for path in paths]))
    assert found.attrs["layer"] == "first"
    same = extract_layer_activations(paths, "first", "tiny-net")
    np.testing.assert_array_equal(found.values, same.values)


def test_options_reach_the_extraction(registered, tiny, folder):
    paths = [folder / name for name in GOOD]
    found = extract_activations(
        paths, "second", "tiny-net", pooling="max", preprocessing="published", batch_size=2, progress=False, threads=1
    )
    expected = [pooled_by_hand(by_hand(tiny, path, "second", "published"), "max") for path in paths]
    close(found.values, np.stack(expected))
    assert (found.attrs["pooling"], found.attrs["preprocessing"]) == ("max", "published")


def test_where_numbers_come_from_is_written_beside_them(registered, folder):
    found = extract_activations([folder / "a.jpg"], "head", "tiny-net")
    assert found.name == "activation"
    assert found.coords["unit"].values.tolist() == [0, 1, 2, 3]
    assert all(isinstance(value, str) for value in found.attrs.values())
    told = {
        "model": "tiny-net", "layer": "head", "pooling": "mean", "preprocessing": "clip", "precision": "float32",
        "model_weights": "seed 0", "model_torch": torch.__version__, "interpscore": version("interpscore"),
        "input": "20x20", "device": "cpu",
    }  # fmt: skip
    assert {key: found.attrs[key] for key in told} == told
    assert len(found.attrs["model_state_sha256"]) == 64


def test_presets_have_an_effect_and_the_default_is_the_models(tiny, folder):
    path = folder / "d.bmp"
    clip, published, default = (
        extract_layer_activations([path], "head", tiny, preprocessing=preset) for preset in ("clip", "published", None)
    )
    close(clip.values[0], by_hand(tiny, path, "head", "clip"))
    close(published.values[0], by_hand(tiny, path, "head", "published"))
    assert np.abs(clip.values - published.values).max() > 1e-4
    np.testing.assert_array_equal(default.values, clip.values)


def test_networks_own_preprocessing_is_the_default(tiny, folder):
    def own(image):
        return prepare(image.transpose(Image.Transpose.ROTATE_90), INPUT)

    with torch.random.fork_rng():
        model = from_module(tiny.module, own, name="turned")
    found = extract_layer_activations([folder / "b.png"], "head", model)
    with Image.open(folder / "b.png") as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
    close(found.values[0], by_hand(tiny, turned, "head"))
    assert found.attrs["preprocessing"] == "own"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer_name": "heat"}, "'heat'.*head"),
        ({"layer_name": "total"}, "layer 'total': output"),
        ({"model_type": "tiny-nett"}, "no model 'tiny-nett'; nearest: tiny-net"),
        ({"pooling": "maxx"}, r"pooling: found 'maxx'; expected mean, max or none \(did you mean 'max'\?\)"),
        ({"preprocessing": "clipp"}, r"preset: found 'clipp'; expected clip or published \(did you mean 'clip'\?\)"),
        ({"batch_size": 0}, "batch_size: found '0'; expected a whole number of at least 1"),
        ({"batch_size": "many"}, "batch_size: found 'many'; expected a whole number of at least 1"),
        ({"threads": 0}, "threads: found '0'; expected a whole number of at least 1"),
    ],
)
def test_what_does_not_exist_is_one_clear_line(registered, folder, options, said):
    options = {"image_paths": [folder / "a.jpg"], "layer_name": "head", "model_type": "tiny-net"} | options
    with pytest.raises(InputError, match=said) as caught:
        extract_activations(**options)
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)


def test_wrong_options_are_told_before_any_image_is_read(registered):
    for options in ({"layer_name": "heat"}, {"pooling": "sum"}, {"preprocessing": "own"}, {"batch_size": -1}):
        with pytest.raises(InputError) as caught:
            extract_activations(
                **{"image_paths": ["gone.png"], "layer_name": "head", "model_type": "tiny-net"} | options
            )
        assert "gone.png" not in str(caught.value)


def test_memory_limit_makes_batches_smaller_and_rows_stay(registered, folder, tiny):
    sizes = []

    def note(module, inputs):
        if inputs[0].device.type != "meta":  # where shapes alone are looked up
            sizes.append(len(inputs[0]))

    handle = tiny.module.register_forward_pre_hook(note)
    paths = [folder / name for name in GOOD * 3]
    free = extract_activations(paths, "head", "tiny-net")
    assert sizes[-2:] == [8, 8]  # the second is filled up
    sizes.clear()
    tight = extract_activations(paths, "head", "tiny-net", memory_limit=40_000)
    handle.remove()
    assert max(sizes) < 8
    close(tight.values, free.values)
    with pytest.raises(InputError, match=r"tiny-net: one image needs about .* bytes"):
        extract_activations(paths, "head", "tiny-net", memory_limit=6_000)


def test_clip_mini_by_the_frozen_graphs_names(folder):
    model = load_model("clip-mini", weights="random")
    paths = [folder / name for name in GOOD]
    found = extract_layer_activations(paths, "block_4", model, batch_size=3)
    kept = []
    handle = model.image_tower.layer4.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        model.encode_image(torch.stack([prepare(path, model.image_input) for path in paths]))
    handle.remove()
    np.testing.assert_allclose(found.values, kept[0].mean((2, 3)).numpy(), rtol=1e-4, atol=1e-5)
    assert found.attrs["model"] == "clip-mini"
