"""Guards reading and resuming stores with damaged statistics and Zarr metadata."""

import hashlib
import io
import json
import shutil

import numpy as np
import pytest

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.store.reader import ActivationStore
from tests.Activation_Extraction import small_stores
from tests.hostile import JSON

SHAPES = {"layer4": (4,)}
COUNT = 40


@pytest.fixture(scope="module")
def a():
    return small_stores.activations(COUNT, SHAPES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, a):
    return small_stores.write(tmp_path_factory.mktemp("whole") / "a.zarr", a).path


@pytest.fixture(scope="module")
def begun(tmp_path_factory, a):
    path = tmp_path_factory.mktemp("begun") / "a.zarr"
    small_stores.write(path, a, stop=2)
    return path


def copy(path, tmp_path):
    shutil.copytree(path, tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


# Zarr metadata --------------------------------------------------------------------------------------------------------

METADATA = {
    **{f"JSON: {kind}": content for kind, content in JSON.items()},
    "of another node": json.dumps({"zarr_format": 3, "node_type": "tree"}),
    "of Zarr 9": json.dumps({"zarr_format": 9, "node_type": "array"}),
    "nothing in it": json.dumps({"zarr_format": 3, "node_type": "array"}),
}
CHANGES = {
    "a huge shape": lambda m: m.update(shape=[10**12]),
    "another shape": lambda m: m.update(shape=[2]),
    "a shape that is text": lambda m: m.update(shape="4"),
    "more axes": lambda m: m.update(shape=[2, 2]),
    "huge chunks": lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[10**12]),
    "chunks of nothing": lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[0]),
    "an unknown type": lambda m: m.update(data_type="x"),
    "text": lambda m: m.update(data_type="string"),
    "no codecs": lambda m: m.update(codecs=[]),
    "an unknown codec": lambda m: m.update(codecs=[{"name": "x"}]),
    "codecs that are a number": lambda m: m.update(codecs=5),
    "no fill value": lambda m: m.pop("fill_value"),
}


def refusal_of_statistics(path):
    with pytest.raises(InputError) as error:
        ActivationStore.open(path).statistics("layer4")
    (line,) = error.value.problems
    assert line.startswith(str(path))
    assert len(line) < len(str(path)) + 600


@pytest.mark.parametrize("kind", METADATA)
def test_damaged_metadata_of_zarr_is_one_line(whole, tmp_path, kind):
    path = copy(whole, tmp_path)
    content = METADATA[kind]
    (path / "layer4/count/zarr.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    refusal_of_statistics(path)


@pytest.mark.parametrize("kind", CHANGES)
def test_statistics_of_other_shapes_or_types_are_refused_before_they_are_read(whole, tmp_path, kind):
    path = copy(whole, tmp_path)
    file = path / "layer4/count/zarr.json"
    metadata = json.loads(file.read_text())
    CHANGES[kind](metadata)
    file.write_text(json.dumps(metadata))
    refusal_of_statistics(path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x28\xb5\x2f\xfd" + b"\xff" * 30])
def test_damaged_statistics_are_one_line(whole, tmp_path, content):
    path = copy(whole, tmp_path)
    for file in (path / "layer4/top_image/c").rglob("*"):
        if file.is_file():
            file.write_bytes(content)
    refusal_of_statistics(path)


DAMAGED = ["JSON: cut off", "JSON: a list", "nothing in it", "of another node", "of Zarr 9"]
ZARRS_OWN = ["zarr.json", "layer4/zarr.json", "layer4/activation/zarr.json"]


# Each kind of damage and each file once; the slow tests have every pair.
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=() if i % 3 == j else pytest.mark.slow)
        for i, kind in enumerate(DAMAGED)
        for j, name in enumerate(ZARRS_OWN)
    ],
)
def test_damaged_metadata_is_made_again_by_a_run_that_resumes(begun, whole, a, tmp_path, kind, name):
    path = copy(begun, tmp_path)
    content = METADATA[kind]
    (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    small_stores.write(path, a)
    assert small_stores.same_bytes(path, whole)


# Statistics so far ----------------------------------------------------------------------------------------------------


def sealed(arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue() + hashlib.sha256(content.getvalue()).digest()


def arrays_of(path):
    with np.load(io.BytesIO((path / "statistics.npz").read_bytes()[:-32])) as file:
        return {name: file[name] for name in file.files}


HARMS = {
    "no arrays": lambda arrays: {},
    "no number of shards": lambda arrays: {k: v for k, v in arrays.items() if k != "through"},
    "a number of shards that is text": lambda arrays: arrays | {"through": np.array("two")},
    "several numbers of shards": lambda arrays: arrays | {"through": np.arange(3)},
    "an array missing": lambda arrays: {k: v for k, v in arrays.items() if k != "layer4|mean_U"},
    "an array of other units": lambda arrays: arrays | {"layer4|mean_U": np.zeros(9)},
    "an array of more axes": lambda arrays: arrays | {"layer4|mean_U": np.zeros((4, 1))},
    "text": lambda arrays: arrays | {"layer4|mean_U": np.array(["a"] * 4)},
    "Python objects": lambda arrays: arrays | {"layer4|mean_U": np.array([{}] * 4, dtype=object)},
    "another histogram": lambda arrays: arrays | {"layer4|histogram_UB": np.zeros((4, 3), np.int64)},
    "other top images": lambda arrays: arrays | {"layer4|top_image_UK": np.zeros((4, 1), np.int64)},
}


@pytest.mark.parametrize("kind", HARMS)
def test_damaged_statistics_so_far_are_counted_again(begun, whole, a, tmp_path, kind):
    path = copy(begun, tmp_path)
    (path / "statistics.npz").write_bytes(sealed(HARMS[kind](arrays_of(path))))
    store = ActivationStore.open(path)
    assert store.statistics("layer4").count_U.tolist() == [32] * 4
    small_stores.write(path, a)
    assert small_stores.same_bytes(path, whole)
