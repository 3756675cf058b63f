"""Guards stores that grow: the bytes of one written at once, from any state, and what cannot be added is refused by name."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from Activation_Extraction import ActivationStore, extract_full_layer_activations, image_set
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.run_folder import RunFolder
from Activation_Extraction.store.check import verify
from Activation_Extraction.store.growth import changes, grow, refuse_changes
from tests.Activation_Extraction.small_stores import activations, commit, open_writer, same_bytes, write

EVERY = 40


def images_of(count):
    """A set of the first images, whose fingerprint is their own."""
    from Activation_Extraction.images.sets import ImageSet

    table = pa.table({"image": [f"{i}.png" for i in range(EVERY)], "concept": [f"c{i % 3}" for i in range(EVERY)]})
    return ImageSet(table, "all", [], []).chosen(range(count))


def first(a, count):
    return {layer: values[:count] for layer, values in a.items()}


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """Images of a shard → the store that was written at once."""
    made = {}

    def of(shard_rows):
        if shard_rows not in made:
            made[shard_rows] = tmp_path_factory.mktemp("at once") / "s"
            a = activations(EVERY, broken=(2, 35))
            write(made[shard_rows], a, broken=(2, 35), images=images_of(EVERY), shard_rows=shard_rows)
        return made[shard_rows]

    return of


@pytest.mark.parametrize(
    ("before", "shard_rows"),
    [(39, 16), (32, 16), (1, 16), (20, 100), pytest.param(3, 1, marks=pytest.mark.slow), (3, 5)],
)
def test_a_store_that_grew_is_the_one_written_at_once(tmp_path, at_once, before, shard_rows):
    a, broken, options = activations(EVERY, broken=(2, 35)), (2, 35), {"shard_rows": shard_rows}
    write(tmp_path / "grown", first(a, before), broken=broken, images=images_of(before), **options)
    write(tmp_path / "grown", a, broken=broken, images=images_of(EVERY), grows=True, **options)
    assert same_bytes(tmp_path / "grown", at_once(shard_rows))
    assert verify(tmp_path / "grown") == []
    stores = tmp_path / "grown", at_once(shard_rows)
    found, expected = (ActivationStore.open(store).statistics("layer4") for store in stores)
    for name, values in expected.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], values)


def test_only_new_images_and_those_of_the_last_shard_are_computed(tmp_path):
    a = activations(EVERY)
    write(tmp_path / "s", first(a, 35), images=images_of(35), shard_rows=10)
    with open_writer(tmp_path / "s", a, images=images_of(EVERY), grows=True, shard_rows=10) as writer:
        assert [list(shard.rows) for shard in writer.missing] == [list(range(30, 40))]


def killed_in_grow(path, count, step, monkeypatch):
    """Stop a store's growth at one of its steps."""
    done = []

    def stopping(method):
        def call(*arguments, **options):
            done.append(1)
            if len(done) > step:
                raise KeyboardInterrupt
            return method(*arguments, **options)

        return call

    with monkeypatch.context() as patch, RunFolder(path, {}, records="manifest") as folder:
        patch.setattr(RunFolder, "write", stopping(RunFolder.write))
        with pytest.raises(KeyboardInterrupt):
            grow(folder, images_of(count))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("then", [EVERY, 25])
def test_growth_that_was_interrupted_resumes_and_can_be_given_up(tmp_path, monkeypatch, step, then):
    a = activations(EVERY)
    write(tmp_path / "s", first(a, 25), images=images_of(25))
    killed_in_grow(tmp_path / "s", EVERY, step, monkeypatch)
    found = changes(tmp_path / "s", images_of(EVERY))
    assert len(found.new) == EVERY - 25
    write(tmp_path / "s", first(a, then), images=images_of(then), grows=True)
    write(tmp_path / "other", first(a, then), images=images_of(then))
    assert same_bytes(tmp_path / "s", tmp_path / "other")


def test_growth_that_was_interrupted_while_computing_resumes(tmp_path):
    a = activations(EVERY)
    write(tmp_path / "at once", a, images=images_of(EVERY), shard_rows=8)
    write(tmp_path / "s", first(a, 20), images=images_of(20), shard_rows=8)
    with open_writer(tmp_path / "s", a, images=images_of(EVERY), grows=True, shard_rows=8) as writer:
        commit(writer, writer.missing[1], a)
    write(tmp_path / "s", a, images=images_of(EVERY), shard_rows=8)
    assert same_bytes(tmp_path / "s", tmp_path / "at once")


# What differs


def table(names, **columns):
    from Activation_Extraction.images.sets import ImageSet

    return ImageSet(pa.table({"image": names, **columns}), "f", [], []).chosen(range(len(names)))


CHANGES = {
    "new": (["a", "b", "c"], "1 of the images is new: 'c'", True),
    "many new": (list("abcdefghi"), "7 of the images are new: 'c', 'd', 'e', 'f', 'g', … and 2 more", True),
    "gone": (["a"], "1 of the images is gone: 'b'", False),
    "both": (["b", "c"], "1 of the images is gone: 'a'", False),
    "order": (["b", "a"], "the images are the same, in another order", True),
    "twice": (["a", "b", "b"], "1 of the images is new: 'b'", True),
}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A store of two images, which no test changes."""
    return write(tmp_path_factory.mktemp("two") / "s", activations(2), images=table(["a", "b"])).path


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_new_or_gone_is_named(two, case):
    names, line, can_be_added = CHANGES[case]
    images = table(names)
    found = changes(two, images)
    with pytest.raises(InputError) as refused:
        refuse_changes(two, found, images, append=False)
    assert any(problem.endswith(line) for problem in refused.value.problems)
    assert ("--append" in str(refused.value)) == can_be_added
    if can_be_added:
        refuse_changes(two, found, images, append=True)
        arranged = found.arranged(images).table["image"].to_pylist()
        assert (arranged[:2], sorted(arranged)) == (["a", "b"], sorted(names))
    else:
        with pytest.raises(InputError, match="gone"):
            refuse_changes(two, found, images, append=True)


def test_other_labels_are_refused(tmp_path):
    write(tmp_path / "s", activations(2), images=table(["a", "b"], concept=["x", "y"]))
    images = table(["a", "b", "c"], concept=["x", "z", "z"])
    with pytest.raises(
        InputError, match="1 of the images have another concept, such as 'b': 'y' in the store, now 'z'"
    ):
        refuse_changes(tmp_path / "s", changes(tmp_path / "s", images), images, append=True)


# Extraction


@pytest.fixture
def photos(tmp_path):
    for i in (1, 3, 5, 7, 9):
        (tmp_path / "photos" / f"c{i % 3}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (96, 96, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"c{i % 3}" / f"{i}.png")
    return tmp_path / "photos"


def extract(images, output, **options):
    options = {"threads": 1, "workers": 1, "progress": False, "backend": "eager", "shard_rows": 4, **options}
    return extract_full_layer_activations(images, "layer1", output, "clip-mini", **options)


@pytest.mark.usefixtures("decoding_here")
def test_pictures_are_added_to_a_finished_store(tmp_path, photos):
    (photos / "c0" / "9.png").rename(tmp_path / "9.png")
    (photos / "c1" / "1.png").rename(tmp_path / "1.png")
    before = extract(photos, tmp_path / "s").store.images["image"].tolist()
    shutil.move(tmp_path / "9.png", photos / "c0" / "9.png")
    shutil.move(tmp_path / "1.png", photos / "c1" / "1.png")
    with pytest.raises(InputError, match=r"2 of the images are new: 'c0/9\.png', 'c1/1\.png'"):
        extract(photos, tmp_path / "s")
    grown = extract(photos, tmp_path / "s", append=True).store
    assert grown.images["image"].tolist() == [*before, "c0/9.png", "c1/1.png"]
    assert grown.is_complete
    order = grown.images[["image", "concept"]].assign(image="photos/" + grown.images["image"])
    order.to_csv(tmp_path / "order.csv", index=False)
    at_once = extract(tmp_path / "order.csv", tmp_path / "other").store
    for block, other in zip(grown.blocks("layer1"), at_once.blocks("layer1"), strict=True):
        np.testing.assert_array_equal(block, other)
    for name, values in at_once.statistics("layer1").arrays().items():
        np.testing.assert_array_equal(grown.statistics("layer1").arrays()[name], values)
    assert extract(photos, tmp_path / "s", append=True).computed == 0
    assert verify(tmp_path / "s", image_set(photos)) == []
    (photos / "c0" / "3.png").unlink()
    with pytest.raises(InputError, match=r"1 of the images is gone: 'c0/3\.png'"):
        extract(photos, tmp_path / "s", append=True)
