"""Guards preprocessing: presets equal plain re-derivations with Pillow, one broken image moves no other row."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.clip_helpers import (
    CLIP_MEAN,
    CLIP_STD,
    PRESETS,
    ImageError,
    ImageInput,
    network_input,
    preparation,
    prepare,
    read_images,
)
from Activation_Extraction.images.presets import pixels_of

CLIP = ImageInput(32, CLIP_MEAN, CLIP_STD)
GRAPH = ImageInput(32, value_range="0-255", layout="NHWC", preset="published")
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def noise(width, height, mode="RGB", seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def as_bytes(image, file_format="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def clip_by_hand(image, side):
    """OpenAI's order: Resize(side, bicubic), CenterCrop(side), convert to RGB, in the arithmetic of torchvision."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(side * long / short)
    image = image.resize((side, new_long) if width <= height else (new_long, side), BICUBIC)
    top = int(round((image.height - side) / 2.0))  # noqa: RUF046
    left = int(round((image.width - side) / 2.0))  # noqa: RUF046
    return np.asarray(image.crop((left, top, left + side, top + side)).convert("RGB"))


def normalised_by_hand(pixels, mean, std):
    x = torch.tensor(pixels.transpose(2, 0, 1).copy()).to(torch.float32) / 255
    return torch.stack([(x[c] - torch.tensor(mean[c])) / torch.tensor(std[c]) for c in range(3)])


def pixels(image, side, preset):
    """What a preset shows the network, as whole numbers."""
    x = prepare(image, ImageInput(side, value_range="0-255", layout="NHWC"), preset)
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x, x.round())
    return x.numpy()


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.sampled_from(["RGB", "L", "1", "P", "CMYK", "YCbCr"]),
)
def test_clip_preset_equals_resize_and_centre_crop_to_the_last_bit(width, height, side, mode):
    image = noise(width, height, mode)
    np.testing.assert_array_equal(pixels(image, side, "clip"), clip_by_hand(image, side))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.sampled_from(["RGB", "L", "1", "P", "CMYK"]))
def test_published_preset_squashes_with_lanczos(width, height, side, mode):
    image = noise(width, height, mode)
    expected = np.asarray(image.convert("RGB").resize((side, side), LANCZOS))
    np.testing.assert_array_equal(pixels(image, side, "published"), expected)


@pytest.mark.parametrize("size", [(288, 288), (640, 427), (427, 640), (289, 288), (1000, 13), (13, 1000)])
def test_clip_at_its_own_size(size):
    image = noise(*size)
    x = prepare(image, ImageInput(288, CLIP_MEAN, CLIP_STD))
    expected = normalised_by_hand(clip_by_hand(image, 288), CLIP_MEAN, CLIP_STD)
    assert torch.equal(x, expected)
    assert x.is_contiguous()


def test_presets_differ_and_each_is_the_networks_choice():
    image = noise(80, 40)
    assert not torch.equal(prepare(image, CLIP, "clip"), prepare(image, CLIP, "published"))
    assert torch.equal(prepare(image, CLIP), prepare(image, CLIP, "clip"))
    assert torch.equal(prepare(image, GRAPH), prepare(image, GRAPH, "published"))


def test_layout_and_range_are_those_of_the_network():
    image = noise(80, 40)
    x_CHW, x_HWC = prepare(image, CLIP, "published"), prepare(image, GRAPH)
    assert (tuple(x_CHW.shape), tuple(x_HWC.shape)) == ((3, 32, 32), (32, 32, 3))
    assert 200 < x_HWC.max() <= 255
    torch.testing.assert_close(
        x_HWC.permute(2, 0, 1) / 255,
        x_CHW * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None],
    )
    scaled = prepare(image, ImageInput(32, (100, 110, 120), (2, 4, 5), "0-255", "NHWC"), "published")
    torch.testing.assert_close(scaled, (x_HWC - torch.tensor([100.0, 110, 120])) / torch.tensor([2.0, 4, 5]))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 24), st.integers(1, 24))
def test_oblong_inputs_are_covered_without_a_border(width, height, input_height, input_width):
    image = Image.new("RGB", (width, height), (200, 100, 50))
    image_input = ImageInput((input_height, input_width), value_range="0-255", layout="NHWC")
    for preset in PRESETS:
        x = prepare(image, image_input, preset)
        assert x.shape == (input_height, input_width, 3)
        assert (x == torch.tensor([200.0, 100, 50])).all()


@pytest.mark.parametrize("size", [(1, 700), (700, 1), (3, 2000), (2000, 7)])
def test_extreme_shapes_show_the_same_centre_without_the_whole_being_made(size, monkeypatch):
    import Activation_Extraction.images.presets as module

    image = noise(*size)
    whole = pixels(image, 64, "clip")
    monkeypatch.setattr(module, "LARGEST_RESIZED", 64 * 64)
    alone = pixels(image, 64, "clip")
    assert np.abs(alone - whole).max() <= 1


@pytest.mark.slow
def test_thin_line_of_10000_pixels_costs_no_memory():
    script = """
import resource, numpy as np
from PIL import Image
from Activation_Extraction.clip_helpers import ImageInput, prepare
image = Image.fromarray(np.full((10_000, 1, 3), 77, np.uint8))
image_input = ImageInput(288, value_range="0-255")
prepare(image.resize((20, 20)), image_input)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for one in (image, image.rotate(90, expand=True)):
    x = prepare(one, image_input)
    assert x.shape == (3, 288, 288) and (x == 77).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert int(done.stdout) < 100


def test_networks_own_transform_gets_rgb_and_is_used_by_default():
    seen = []

    def transform(image):
        seen.append(image.mode)
        return torch.full((3, 4, 4), float(np.asarray(image)[0, 0, 0]), dtype=torch.float64)

    own = ImageInput(4, transform=transform, preset="own")
    x = prepare(Image.new("CMYK", (9, 9), (0, 0, 0, 205)), own)
    assert (seen, x.dtype, x.unique().tolist()) == (["RGB"], torch.float32, [50.0])
    assert prepare(noise(9, 9), own, "clip").shape == (3, 4, 4)
    assert len(seen) == 1
    with pytest.raises(
        ImageError, match=r"the network's own preprocessing made the shape \(3, 4, 4\); expected \(3, 5, 5\)"
    ):
        prepare(noise(9, 9), ImageInput(5, transform=transform, preset="own"))


@pytest.mark.parametrize("wrong", ["clips", "Clip", "", 3, "own"])
def test_unknown_preset_is_one_line_with_the_nearest(wrong):
    for call in (
        lambda: prepare(noise(4, 4), CLIP, wrong),
        lambda: read_images([], CLIP, wrong),
        lambda: preparation(CLIP, wrong),
        lambda: ImageInput(32, preset=wrong),
    ):
        with pytest.raises(InputError, match=r"^preset: found '.*'; expected clip or published") as caught:
            call()
        assert ("did you mean 'clip'" in str(caught.value)) == (wrong in ("clips", "Clip"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, "size is '0'; expected at least one pixel a side"),
        ({"size": (3, 0)}, r"size is '\(3, 0\)'"),
        ({"size": 3, "mean": CLIP_MEAN}, "mean without std, or std without mean; expected both or neither"),
        ({"size": 3, "value_range": "0-256"}, "value_range is '0-256'; expected 0-1 or 0-255"),
        ({"size": 3, "layout": "CHW"}, "layout is 'CHW'; expected NCHW or NHWC"),
    ],
)
def test_impossible_inputs_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        ImageInput(**options)


@given(
    st.integers(0, 4),
    st.sampled_from([(None, None), (CLIP_MEAN, CLIP_STD), ((0.5, 0, 0.1), (0.3, 1, 3)), ((104, 117, 124), (1, 2, 58))]),
    st.sampled_from(["0-1", "0-255"]),
    st.sampled_from(["NCHW", "NHWC"]),
    st.sampled_from(sorted(PRESETS)),
)
def test_batch_of_pixels_becomes_what_prepare_makes_of_each_to_the_last_bit(count, how, value_range, layout, preset):
    image_input = ImageInput((17, 16), *how, value_range, layout)
    images = [
        Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)),
        *(noise(20, 30, seed=i) for i in range(3)),
    ]
    pixels_NHWC = np.array([pixels_of(image, preset, 17, 16) for image in images[:count]], np.uint8)
    kept = pixels_NHWC.copy()
    x = network_input(torch.from_numpy(pixels_NHWC.reshape(count, 17, 16, 3)), image_input)
    assert (x.dtype, x.shape) == (torch.float32, (count, 3, 17, 16) if layout == "NCHW" else (count, 17, 16, 3))
    for row, image in zip(x, images, strict=False):
        assert torch.equal(row, prepare(image, image_input, preset))
    np.testing.assert_array_equal(pixels_NHWC, kept)


@pytest.mark.parametrize("image_input", [CLIP, GRAPH])
def test_gradients_reach_pixels_of_either_range_and_memory_stays_as_it_lies(image_input):
    levels = torch.randint(0, 256, (2, 3, 4, 5), generator=torch.Generator().manual_seed(0)).float().requires_grad_()
    x = network_input(levels.movedim(1, -1), image_input)
    torch.testing.assert_close(network_input((levels / 255).movedim(1, -1), image_input, white=1), x)
    assert (x if image_input.layout == "NCHW" else x.movedim(-1, 1)).is_contiguous()
    x.sum().backward()
    slope = torch.tensor([1.0, 1, 1]) if image_input is GRAPH else 1 / (255 * torch.tensor(CLIP_STD))
    torch.testing.assert_close(levels.grad, slope[:, None, None].expand(2, 3, 4, 5))


# Rows ---------------------------------------------------------------------------------------------------------------

BROKEN = [b"", b"text", as_bytes(noise(9, 9))[:-20], "/nowhere/a.png", np.zeros((2, 2, 9), np.uint8), 5]


@given(st.lists(st.one_of(st.integers(0, 3), st.sampled_from(range(-len(BROKEN), 0)))))
def test_every_row_is_its_own_source_wherever_others_are_broken(which):
    whole = [noise(20 + seed, 31, seed=seed) for seed in range(4)]
    expected = [prepare(image, CLIP) for image in whole]
    rows = list(read_images((BROKEN[i] if i < 0 else as_bytes(whole[i]) for i in which), CLIP))
    assert len(rows) == len(which)
    for position, (i, row) in enumerate(zip(which, rows, strict=True)):
        if i >= 0:
            assert torch.equal(row, expected[i])
        else:
            assert isinstance(row, ImageError)
            name = BROKEN[i] if isinstance(BROKEN[i], str) else f"image {position}, {type(BROKEN[i]).__name__}"
            assert str(row).startswith(f"{name}: ")


def test_images_are_read_one_by_one():
    asked = []

    def sources():
        for seed in range(3):
            asked.append(seed)
            yield noise(9, 9, seed=seed)

    rows = read_images(sources(), CLIP)
    assert asked == []
    next(rows)
    assert asked == [0]


def test_one_image_alone_is_a_list_of_one(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(as_bytes(noise(9, 9)))
    for alone in (path, os.fspath(path), path.read_bytes(), noise(9, 9), np.asarray(noise(9, 9))):
        (row,) = read_images(alone, CLIP)
        assert torch.equal(row, prepare(path, CLIP))
    stack = np.stack([np.asarray(noise(9, 9, seed=seed)) for seed in range(2)])
    assert len(list(read_images(stack, CLIP))) == 2
    with pytest.raises(InputError, match="images: int; expected a list of paths"):
        read_images(7, CLIP)


def test_limit_of_pixels_reaches_every_image():
    small, large = read_images([noise(4, 4), noise(5, 4)], CLIP, max_pixels=16)
    assert small.shape == (3, 32, 32)
    assert "expected at most 16 pixels" in str(large)
