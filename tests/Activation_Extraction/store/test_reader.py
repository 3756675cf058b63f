"""Guards reading a store: units, rows, statistics and xarray all give the numbers that were written, or one clear line."""

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.store.reader import ActivationStore, export_npz
from Activation_Extraction.store.shards import CHUNK_UNITS, Layout, default_shard_rows
from Activation_Extraction.store.unit_statistics import UnitStatistics
from tests.Activation_Extraction.small_stores import activations, image_set, write

COUNT, BROKEN = 50, (0, 17, 49)


@pytest.fixture(scope="module")
def a():
    return activations(COUNT, broken=BROKEN)


@pytest.fixture(scope="module")
def store(a, tmp_path_factory):
    return write(tmp_path_factory.mktemp("stores") / "a.zarr", a, broken=BROKEN)


@pytest.fixture
def copy(store, tmp_path):
    """The same store, to be damaged."""
    return ActivationStore.open(shutil.copytree(store.path, tmp_path / "a.zarr"))


def pooled(a_N):
    return a_N.reshape(*a_N.shape[:2], -1).mean(2) if a_N.ndim > 2 else a_N


@settings(max_examples=8)
@given(data=st.data())
def test_any_rows_order_shards_and_broken_images_give_the_arrays_and_statistics_of_the_whole(tmp_path_factory, data):
    count = data.draw(st.integers(1, 60), "count")
    shapes = data.draw(
        st.dictionaries(
            st.sampled_from(["layer4", "image/1", "x.y/z"]),
            st.lists(st.integers(1, 70), min_size=1, max_size=1).flatmap(
                lambda units: st.lists(st.integers(1, 3), max_size=2).map(lambda positions: (*units, *positions))
            ),
            min_size=1,
        )
    )
    broken = data.draw(st.sets(st.integers(0, count - 1)), "broken")
    a = activations(count, shapes, sorted(broken))
    shard_rows = data.draw(st.integers(1, 70), "shard rows")
    k = data.draw(st.integers(1, 9), "k")
    store = write(
        tmp_path_factory.mktemp("any") / "a.zarr",
        a,
        broken=broken,
        order=lambda shards: data.draw(st.permutations(shards)),
        shard_rows=shard_rows,
        top_k=k,
    )
    rows = data.draw(st.lists(st.integers(0, count - 1), max_size=12), "rows")
    assert store.is_complete
    assert store.images["sha256"].isna().tolist() == [row in broken for row in range(count)]
    assert (store.images["error"] != "").tolist() == [row in broken for row in range(count)]
    for layer, a_N in a.items():
        units = data.draw(st.lists(st.integers(0, a_N.shape[1] - 1), max_size=6), "units")
        np.testing.assert_array_equal(store.units(layer, units, positions=True), a_N[:, units])
        np.testing.assert_array_equal(store.units(layer, units), pooled(a_N)[:, units])
        np.testing.assert_array_equal(store.rows(layer, rows), a_N[rows])
        np.testing.assert_array_equal(np.concatenate(list(store.blocks(layer))), a_N)
        found, expected = store.statistics(layer), UnitStatistics.of(pooled(a_N), 0, min(k, count))
        for name, values in expected.arrays().items():
            exact = not name.startswith(("mean", "m2"))
            np.testing.assert_allclose(getattr(found, name), values, rtol=0 if exact else 1e-9, atol=1e-12)


def test_one_unit_is_read_on_every_image(store, a):
    np.testing.assert_array_equal(store.unit("layer4", 7), a["layer4"][:, 7])
    np.testing.assert_array_equal(store.unit("image/1", 7), a["image/1"][:, 7])
    np.testing.assert_array_equal(store.units("image/1", [7])[:, 0], a["image/1"][:, 7].reshape(COUNT, -1).mean(1))


def test_images_carry_columns_hashes_and_reasons(store):
    images = store.images
    assert list(images) == ["image", "concept", "sha256", "error"]
    assert images["image"].tolist() == [f"{i}.png" for i in range(COUNT)]
    assert images["error"][17] == "17.png: broken"
    assert images["error"][18] == ""
    assert images["sha256"][18] == f"{18:064x}"


# Without our code ---------------------------------------------------------------------------------------------------


def test_xarray_alone_reads_the_same_numbers(store, a):
    for layer, group in (("layer4", "layer4"), ("image/1", "image.1")):
        plain = xr.open_zarr(store.path, group=group, chunks=None)
        np.testing.assert_array_equal(plain["activation"], a[layer])
        statistics = store.statistics(layer)
        for name, values in {
            "count": statistics.count_U,
            "mean": statistics.mean_U,
            "minimum": statistics.minimum_U,
            "maximum": statistics.maximum_U,
            "sparsity": statistics.sparsity_U,
            "histogram": statistics.histogram_UB,
            "top_activation": statistics.top_activation_UK,
            "top_image": statistics.top_image_UK,
        }.items():
            np.testing.assert_array_equal(plain[name], values)
        np.testing.assert_allclose(plain["variance"], statistics.variance_U, rtol=1e-15)
    assert plain["activation"].dims == ("image", "unit", "y", "x")
    assert plain["top_image"].dims == ("unit", "rank")


def test_xarray_alone_opens_all_layers_at_once(store, a):
    tree = xr.open_datatree(store.path, engine="zarr", chunks=None)
    assert set(tree.groups) == {"/", "/layer4", "/image.1"}
    np.testing.assert_array_equal(tree["layer4/activation"], a["layer4"])


def test_zarr_alone_reads_the_same_numbers_without_consolidated_metadata(store, a):
    group = zarr.open_group(store.path, mode="r", use_consolidated=False)
    np.testing.assert_array_equal(group["layer4/activation"][...], a["layer4"])
    np.testing.assert_array_equal(group["image.1/activation"][...], a["image/1"])


def test_an_unfinished_store_opens_in_xarray_too(a, tmp_path):
    write(tmp_path / "a.zarr", a, stop=2)
    plain = xr.open_zarr(tmp_path / "a.zarr", group="layer4", chunks=None)["activation"]
    np.testing.assert_array_equal(plain[:32], a["layer4"][:32])
    assert np.isnan(plain[32:]).all()


def test_the_dataset_is_lazy_and_carries_names_and_columns(store, a):
    dataset = store.dataset("layer4")
    assert not dataset["activation"].variable._in_memory
    assert dataset["image"].values[3] == "3.png"
    chosen = dataset["activation"].sel(image="3.png", unit=7)
    assert (float(chosen), str(chosen["concept"].values)) == (a["layer4"][3, 7], "concept 0")
    assert dataset.attrs["model"] == "m"


def test_columns_called_as_an_axis_or_a_statistic_are_kept_under_another_name(tmp_path):
    a = activations(3, {"layer4": (2,)})
    images = image_set(3, unit=[7, 8, 9], mean=[1.0, 2.0, 3.0], image_mean=["x", "y", "z"])
    dataset = write(tmp_path / "a.zarr", a, images=images).dataset("layer4")
    assert dataset["image_unit"].values.tolist() == [7, 8, 9]
    assert dataset["image_mean"].values.tolist() == [1.0, 2.0, 3.0]
    assert dataset["image_image_mean"].values.tolist() == ["x", "y", "z"]
    assert dataset["mean"].dims == ("unit",)


# Unfinished ---------------------------------------------------------------------------------------------------------


def test_an_unfinished_store_says_what_is_missing_and_gives_what_is_there(a, tmp_path):
    write(tmp_path / "a.zarr", a, broken=BROKEN, order=lambda shards: [shards[2], shards[0]], stop=2)
    store = ActivationStore.open(tmp_path / "a.zarr")
    assert not store.is_complete
    assert [(shard.index, shard.rows) for shard in store.missing_shards()] == [(1, range(16, 32)), (3, range(48, 50))]
    there = np.r_[0:16, 32:48]
    partial = a["layer4"].copy()
    partial[np.setdiff1d(np.arange(COUNT), there)] = np.nan
    np.testing.assert_array_equal(store.units("layer4", range(40)), partial)
    np.testing.assert_array_equal(store.rows("layer4", range(COUNT)), partial)
    assert store.images["error"].isna().tolist() == [row not in there for row in range(COUNT)]
    found, expected = store.statistics("layer4"), UnitStatistics.of(partial, 0, 5)
    np.testing.assert_array_equal(found.count_U, expected.count_U)
    np.testing.assert_array_equal(found.top_image_UK, expected.top_image_UK)
    np.testing.assert_allclose(found.variance_U, expected.variance_U, rtol=1e-12)


def test_a_store_without_a_shard_has_no_statistics(a, tmp_path):
    store = write(tmp_path / "a.zarr", a, stop=0)
    with pytest.raises(InputError, match="no shard is computed yet"):
        store.statistics("layer4")
    assert np.isnan(store.rows("layer4", [0, 49])).all()


def test_what_is_not_committed_is_not_read(a, tmp_path):
    store = write(tmp_path / "a.zarr", a, stop=2)
    (store.path / "manifest" / "000001.json").unlink()  # as if killed before
    assert np.isnan(store.unit("layer4", 0)[16:32]).all()
    assert np.isnan(store.rows("layer4", [20])).all()
    np.testing.assert_array_equal(store.statistics("layer4").count_U, 15)  # one of 16 is broken


# What is wrong ------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_one_clear_line(store):
    for call, line in (
        (lambda: store.unit("layer4", 40), r"layer layer4: no unit 40; expected 0 to 39"),
        (lambda: store.unit("layer4", -1), r"no unit -1; expected 0 to 39"),
        (lambda: store.rows("layer4", [0, 50]), r"no row 50; expected 0 to 49"),
        (lambda: store.unit("layer5", 0), r"no layer 'layer5' \(did you mean 'layer4'\?\); it has layer4, image/1"),
    ):
        with pytest.raises(InputError, match=line):
            call()


def test_another_name_of_a_layer_finds_it(a, tmp_path):
    store = write(tmp_path / "a.zarr", a, aliases={"block_4": "layer4"})
    np.testing.assert_array_equal(store.unit("block_4", 3), a["layer4"][:, 3])


def test_a_folder_that_is_no_store_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path, line in (("gone", "no such folder"), ("file", "is a file"), (".", "has no provenance.json")):
        with pytest.raises(InputError, match=f"{line}; expected an activation store"):
            ActivationStore.open(tmp_path / path)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("identity"),
        lambda p: p.update(layers=["layer4"]),
        lambda p: p["layers"].update(layer4=[0]),
        lambda p: p["layers"].update(layer4="40"),
        lambda p: p["layers"].update(layer4=[1, 2, 3, 4]),
        lambda p: p["identity"].update(rows="many"),
        lambda p: p["identity"].update(shard_rows=0),
        lambda p: p.update(aliases=None),
    ],
)
def test_a_damaged_provenance_is_one_clear_line(copy, change):
    path = copy.path / "provenance.json"
    provenance = json.loads(path.read_text())
    change(provenance)
    path.write_text(json.dumps(provenance))
    with pytest.raises(InputError, match=r"provenance\.json(, |: no key ')(identity|layers|aliases)"):
        ActivationStore.open(copy.path)


@pytest.mark.parametrize("name", ["../../secret", "/etc", "a\\..\\b", "C:x", "a\0b"])
def test_no_layer_name_leads_out_of_the_store(copy, name):
    path = copy.path / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["layers"] = {name: [40]}
    path.write_text(json.dumps(provenance))
    with pytest.raises(InputError, match=r"cannot be read .*a\.zarr/[^/]+/activation/c/0/0"):
        ActivationStore.open(copy.path).unit(name, 0)


@pytest.mark.parametrize("harm", ["gone", "truncated", "no index"])
def test_a_damaged_shard_is_one_clear_line_not_missing_values(a, copy, harm):
    file = copy.path / "layer4" / "activation" / "c" / "1" / "0"
    content = file.read_bytes()
    file.write_bytes({"gone": b"", "truncated": content[:100], "no index": content[:-20] + b"\1" * 20}[harm])
    if harm == "gone":
        file.unlink()
    for call in (
        lambda: copy.unit("layer4", 0),
        lambda: copy.rows("layer4", [17]),
        lambda: list(copy.blocks("layer4")),
    ):
        with pytest.raises(InputError, match=r"cannot be read .*layer4/activation/c/1/0.*--verify"):
            call()
    np.testing.assert_array_equal(copy.rows("layer4", [3]), a["layer4"][[3]])


# Layout -------------------------------------------------------------------------------------------------------------


def test_a_unit_takes_a_small_part_of_each_shard(tmp_path):
    a = activations(40, {"layer4": (1000,)})
    array = zarr.open_group(write(tmp_path / "a.zarr", a).path, mode="r")["layer4/activation"]
    assert (array.shards, array.chunks) == ((16, 1024), (16, 32))
    assert array.compressors == ()


@given(st.integers(1, 5000), st.booleans())
def test_chunks_cover_the_units_and_waste_less_than_one_unit_a_chunk(units, maps):
    layout = Layout(16, (units, 3, 3) if maps else (units,))
    assert 0 <= layout.shard_shape[1] - units < layout.chunks
    assert layout.chunk_shape[1] <= CHUNK_UNITS


@pytest.mark.parametrize(
    ("rows", "shapes", "expected"),
    [
        (10**6, [(2560,)], 2048),
        (10**6, [(2560,), (1280,), (640,)], 2048),
        (10**6, [(2560, 9, 9)], 64),
        (10**6, [(2560, 9, 9), (80, 144, 144)], 16),
        (100, [(2560,)], 128),
        (3, [(2560,)], 16),
    ],
)
def test_a_shard_is_a_power_of_two_of_about_64_megabytes(rows, shapes, expected):
    assert default_shard_rows(rows, shapes) == expected


# Export -------------------------------------------------------------------------------------------------------------


def test_an_export_is_what_numpy_and_pandas_read(store, a, tmp_path):
    paths = export_npz(store, tmp_path / "x.npz")
    assert paths == (tmp_path / "x.npz", tmp_path / "x.csv")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {"layer4", "image.1"}
        np.testing.assert_array_equal(arrays["layer4"], a["layer4"])
        np.testing.assert_array_equal(arrays["image.1"], a["image/1"])
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["row"].tolist() == list(range(COUNT))
    assert table["image"].tolist() == store.images["image"].tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.npz"]


def test_an_export_that_cannot_be_written_leaves_nothing(store, a, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"x\.txt: expected the name of an \.npz file"):
        export_npz(store, tmp_path / "x.txt")
    with pytest.raises(OutputError, match="cannot be written"):
        export_npz(store, tmp_path / "nowhere" / "x.npz")
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *given, **options: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OutputError, match=r"x\.npz: cannot be written \(full\)"):
        export_npz(store, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


def test_reading_loads_no_torch_and_arrays_no_zarr(store):
    script = (
        "import sys; from Activation_Extraction.store.reader import ActivationStore; "
        f"s = ActivationStore.open({str(store.path)!r}); s.unit('layer4', 0); s.rows('layer4', [1]); "
        "print([name for name in ('torch', 'zarr', 'xarray', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_warns(a, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = write(tmp_path / "a.zarr", activations(20, broken=range(20)), broken=range(20))
        store.dataset("layer4").load()
        assert np.isnan(store.statistics("layer4").mean_U).all()
