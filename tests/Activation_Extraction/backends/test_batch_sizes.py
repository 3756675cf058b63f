"""Guards how many images are run at a time: as many as the memory limit allows, and as few as are fast."""

from functools import partial

import numpy as np
import pytest

from Activation_Extraction.activation_extractor import extract_layer_activations
from Activation_Extraction.backends import batch_sizes
from Activation_Extraction.backends.batch_sizes import BATCH_SIZE, fastest, largest_batch
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.registry import load_model

ONE = 6 * 4 * 16 * 48 * 48
"""Bytes of an image in clip-mini: conv3 of the stem has 16 channels at half of 96 pixels."""


@pytest.fixture(scope="module")
def weights():
    return sum(t.nbytes for t in load_model("clip-mini", weights="random").module.state_dict().values())


def limited(bytes_):
    return load_model("clip-mini", weights="random", memory_limit=bytes_)


@pytest.mark.parametrize("images", [1, 3, 16, 100])
def test_largest_batch_fits_the_memory_limit_beside_the_weights(weights, images):
    assert largest_batch(limited(weights + images * ONE + ONE // 2)) == images
    assert largest_batch(limited(weights + 1000 + images * ONE + ONE // 2), more_weights=1000) == images


def test_limit_without_room_for_one_image_is_refused(weights):
    with pytest.raises(InputError, match=f"clip-mini: one image needs about {ONE:,} bytes beside the weights"):
        largest_batch(limited(weights + ONE // 2))


def test_batches_are_bounded_without_a_limit_too():
    assert largest_batch(load_model("clip-mini", weights="random")) == 2 * 10**9 // ONE


@pytest.mark.parametrize(("room", "size"), [(3, 3), (100, BATCH_SIZE)])
def test_batches_of_extraction_shrink_with_the_memory_limit(weights, room, size):
    model = limited(weights + room * ONE + ONE // 2)
    seen = []
    handle = model.image_tower.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    extract_layer_activations([np.zeros((96, 96, 3), np.uint8)] * (size + 1), "layer1", model)
    handle.remove()
    assert seen[-2:] == [size, size]  # the second is filled up


def searched(monkeypatch, images_per_second):
    """The size that is chosen where each size has the speed said, and the sizes that were tried."""
    tried = []

    def run(size):
        tried.append(size)
        return size / images_per_second[size]

    monkeypatch.setattr(batch_sizes, "_seconds", lambda work: work())
    return fastest(sorted(images_per_second), lambda size: partial(run, size)), tried


@pytest.mark.parametrize(
    ("speeds", "chosen", "tried"),
    [
        ({1: 10, 2: 12, 4: 14, 8: 13, 16: 99}, 4, [1, 2, 4, 8]),
        ({1: 100, 2: 101, 4: 140}, 1, [1, 2]),  # too little is gained
        ({8: 5}, 8, [8]),
    ],
)
def test_search_ends_where_a_larger_batch_is_no_faster(monkeypatch, speeds, chosen, tried):
    assert searched(monkeypatch, speeds) == (chosen, tried)


def test_size_is_timed_by_its_fastest_run(monkeypatch):
    clock, steps = [0.0], iter([9.0, 0.3, 0.1, 0.2, 0.4])  # the first run is not counted
    monkeypatch.setattr(batch_sizes, "perf_counter", lambda: clock[0])

    def work():
        clock[0] += next(steps)

    assert batch_sizes._seconds(work) == pytest.approx(0.1)
