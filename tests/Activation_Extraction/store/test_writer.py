"""Guards writing a store: whatever stops it, the next run ends with the same bytes; what does not fit is refused."""

import json
import os
import shutil
import subprocess
import threading
import tracemalloc
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError, InterpScoreError, OutputError
from Activation_Extraction.store.check import verify
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.store.writer import recorded_identity
from tests.Activation_Extraction.small_stores import (
    activations,
    commit,
    files,
    image_set,
    open_writer,
    same_bytes,
    write,
)
from tests.power import Killed, power_lost_at

COUNT, BROKEN = 40, (3, 39)
A = activations(COUNT, broken=BROKEN)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store that nothing stopped."""
    return write(tmp_path_factory.mktemp("whole") / "a.zarr", A, broken=BROKEN).path


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The same store after two of its three shards."""
    return write(tmp_path_factory.mktemp("begun") / "a.zarr", A, broken=BROKEN, stop=2).path


# Stopped ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [pytest.param(4, marks=pytest.mark.slow), 131])
def test_stopped_between_two_operations_on_files_it_ends_with_the_same_bytes(step, tmp_path):
    """Each run begins anew and loses power some operations later than the last, until one gets through."""
    a = {layer: values[:20] for layer, values in A.items()}
    expected = write(tmp_path / "expected.zarr", a, broken=(3,)).path
    for call in range(1, 1000, step):
        path = tmp_path / f"{call}.zarr"
        with power_lost_at(call, path) as lost, suppress(Killed):
            write(path, a, broken=(3,))
        if path.is_dir() and (path / "provenance.json").is_file():
            before = ActivationStore.open(path)
            if before.is_complete:
                assert verify(path) == []
            else:
                committed = {shard.index for shard in before.shards()} - {s.index for s in before.missing_shards()}
                for index in committed:
                    np.testing.assert_array_equal(
                        before.block("layer4", before.shards()[index]), a["layer4"][16 * index : 16 * index + 16]
                    )
        write(path, a, broken=(3,))
        assert same_bytes(expected, path), call
        shutil.rmtree(path)
        if not lost:
            break
    assert 40 < call < 999


def test_all_of_a_complete_store_is_on_the_disk(tmp_path):
    path = tmp_path / "a.zarr"
    with power_lost_at(None, path) as lost:
        write(path, A, broken=BROKEN)
        lost.append("power")
    assert ActivationStore.open(path).is_complete
    assert verify(path) == []


@settings(max_examples=3)
@given(data=st.data())
def test_any_stops_and_any_order_of_shards_end_with_the_same_bytes(whole, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("stops") / "a.zarr"
    for _ in range(data.draw(st.integers(0, 4), "stops")):
        stop = data.draw(st.integers(0, 2), "shards")
        write(path, A, broken=BROKEN, order=lambda shards: data.draw(st.permutations(shards)), stop=stop)
    write(path, A, broken=BROKEN, order=lambda shards: data.draw(st.permutations(shards)))
    assert same_bytes(whole, path)


def test_what_a_killed_run_was_writing_is_removed(whole, tmp_path):
    path = write(tmp_path / "a.zarr", A, broken=BROKEN, stop=1).path
    for name in (
        ".statistics.npz.part",
        "manifest/.000002.json.0123456789abcdef.part",
        "layer4/activation/c/0/0.5f3a.partial",
    ):
        (path / name).write_bytes(b"half")
    write(path, A, broken=BROKEN)
    assert same_bytes(whole, path)


METADATA = ["zarr.json", "layer4/zarr.json", "layer4/activation/zarr.json"]
OTHERS = ["images.parquet", "statistics.npz", "history.json"]


@pytest.mark.parametrize("name", [*METADATA, *OTHERS])
@pytest.mark.parametrize("content", [None, b"[1]"])
def test_a_file_that_can_be_made_anew_is(whole, begun, tmp_path, name, content):
    path = shutil.copytree(begun, tmp_path / "a.zarr")
    if content is None:
        (path / name).unlink()
    else:
        (path / name).write_bytes(content)
    write(path, A, broken=BROKEN)
    assert same_bytes(whole, path)


RECORDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rows", "files", "size", "sha256"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=12)
@given(key=st.sampled_from(["rows", "files", "sha256", "errors", None]), value=RECORDS)
def test_a_damaged_record_counts_as_missing(begun, tmp_path_factory, key, value):
    path = tmp_path_factory.getbasetemp() / "damaged.zarr"
    if not path.exists():
        shutil.copytree(begun, path)
    place = path / "manifest" / "000001.json"
    whole = place.read_bytes()
    try:
        place.write_text(json.dumps(value if key is None else {**json.loads(whole), key: value}))
        store = ActivationStore.open(path)
        assert [shard.index for shard in store.missing_shards()] == [1, 2]
        assert store.images["error"].isna().tolist() == [row >= 16 for row in range(COUNT)]
    finally:
        place.write_bytes(whole)


@pytest.mark.parametrize("place", [0.4, 0.999])
def test_statistics_so_far_with_a_wrong_byte_are_counted_again(whole, begun, tmp_path, place):
    path = shutil.copytree(begun, tmp_path / "a.zarr")
    content = bytearray((path / "statistics.npz").read_bytes())
    content[int(place * len(content))] ^= 16
    (path / "statistics.npz").write_bytes(content)
    write(path, A, broken=BROKEN)
    assert same_bytes(whole, path)


def test_a_shard_whose_file_is_gone_or_cut_is_written_again(whole, begun, tmp_path):
    for harm in (Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-1])):
        path = shutil.copytree(begun, tmp_path / "a.zarr")
        harm(path / "layer4" / "activation" / "c" / "0" / "0")
        assert [shard.index for shard in ActivationStore.open(path).missing_shards()] == [0, 2]
        write(path, A, broken=BROKEN)
        assert same_bytes(whole, path)
        shutil.rmtree(path)


def test_a_shard_that_comes_out_otherwise_when_written_again_is_counted_so(tmp_path):
    path = write(tmp_path / "a.zarr", A, stop=2).path
    (path / "layer4" / "activation" / "c" / "0" / "0").unlink()
    other = {layer: np.concatenate([2 * values[:16], values[16:]]) for layer, values in A.items()}
    write(path, other)
    assert same_bytes(write(tmp_path / "b.zarr", other).path, path)


def test_a_complete_store_is_left_alone(whole, tmp_path):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    before = {file: (path / file).stat().st_mtime_ns for file in files(path)}
    with open_writer(path, A) as writer:
        assert writer.missing == []
        assert writer.finish().is_complete
    assert {file: (path / file).stat().st_mtime_ns for file in files(path)} == before


def test_the_end_needs_every_shard(tmp_path):
    with open_writer(tmp_path / "a.zarr", A) as writer:
        commit(writer, writer.missing[1], A)
        with pytest.raises(InterpScoreError, match="shards are missing"):
            writer.finish()


def test_a_shard_of_broken_images_alone_is_there(tmp_path):
    a = activations(40, broken=range(16, 32))
    path = write(tmp_path / "a.zarr", a, broken=range(16, 32), stop=1).path  # then the array is opened, not created
    store = write(path, a, broken=range(16, 32))
    assert (path / "layer4" / "activation" / "c" / "1" / "0").is_file()
    assert np.isnan(store.rows("layer4", range(16, 32))).all()
    assert verify(path) == []


def test_shards_may_be_committed_from_several_threads(whole, tmp_path):
    with open_writer(tmp_path / "a.zarr", A) as writer:
        threads = [threading.Thread(target=commit, args=(writer, shard, A, BROKEN)) for shard in writer.missing]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.finish()
    assert same_bytes(whole, tmp_path / "a.zarr")


def test_history_tells_of_each_run_and_is_no_part_of_what_is_vouched_for(tmp_path, whole):
    path = write(tmp_path / "a.zarr", A, broken=BROKEN, stop=1, settings={"devices": ["cpu"]}).path
    write(path, A, broken=BROKEN, settings={"devices": ["cuda:0"]})
    runs = json.loads((path / "history.json").read_text())["runs"]
    assert [(run["what"], run["devices"]) for run in runs] == [
        ("begun", ["cpu"]), ("resumed", ["cuda:0"]), ("completed", ["cuda:0"]),
    ]  # fmt: skip
    assert same_bytes(whole, path)


def test_a_store_tells_what_its_shards_were_made_with(tmp_path):
    path = write(tmp_path / "a.zarr", A, stop=1, made_with={"versions": {"torch": "1"}}).path
    store = write(path, A, made_with={"versions": {"torch": "2"}})
    assert store.made_with == [{"versions": {"torch": "1"}}, {"versions": {"torch": "2"}}]
    assert json.loads((path / "complete.json").read_text())["made_with"] == store.made_with


def test_a_store_of_the_version_before_opens_and_is_completed(begun, tmp_path):
    """Its records do not say what they were made with, and its history has other words."""
    path = shutil.copytree(begun, tmp_path / "a.zarr")
    for record in (path / "manifest").glob("*.json"):
        content = json.loads(record.read_text())
        del content["made_with"]
        record.write_text(json.dumps(content))
    assert len(ActivationStore.open(path).missing_shards()) == 1
    store = write(path, A, broken=BROKEN)
    np.testing.assert_array_equal(store.rows("layer4", range(COUNT)), A["layer4"])
    assert verify(path) == []
    assert store.made_with == [{}]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_shards(tmp_path):
    def grown(shards):
        a = activations(64 * shards, {"layer4": (256,)})
        with open_writer(tmp_path / f"{shards}.zarr", a, shard_rows=64) as writer:
            commit(writer, writer.missing[0], a)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            for shard in writer.missing[1:]:
                commit(writer, shard, a)
            return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        assert grown(24) < 1.1 * grown(8)
    finally:
        tracemalloc.stop()


# Refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"identity": {"pooling": "max"}}, "holds pooling 'mean'; asked for 'max'"),
        ({"identity": {"model": "n"}}, "holds model 'm'; asked for 'n'"),
        ({"identity": {"preprocessing": "own"}}, "holds preprocessing 'clip'; asked for 'own'"),
        ({"identity": {"backend": "openvino"}}, "holds backend 'eager'; asked for 'openvino'"),
        ({"identity": {"batch_size": 5}}, "holds batch_size '4'; asked for '5'"),
        ({"identity": {"weights_sha256": "ab"}}, "holds weights_sha256 'None'; asked for 'ab'"),
        (
            {"images": image_set(COUNT, fingerprint="e" * 64)},
            f"holds the image set '{'f' * 64}'; asked for '{'e' * 64}'",
        ),
        ({"shard_rows": 8}, "holds shard_rows '16'; asked for '8'"),
        ({"top_k": 6}, "holds top_k '5'; asked for '6'"),
    ],
)
def test_a_store_of_something_else_is_refused_with_the_difference_and_left_alone(whole, tmp_path, changed, line):
    shutil.copytree(whole, tmp_path / "a.zarr")
    with pytest.raises(InputError) as refused, open_writer(tmp_path / "a.zarr", A, **changed):
        pass
    assert refused.value.problems == [
        f"{tmp_path / 'a.zarr'}: {line}",
        f"{tmp_path / 'a.zarr'}: is left as it is; expected the same again, or another store (-o)",
    ]
    assert same_bytes(whole, tmp_path / "a.zarr")


def test_every_difference_is_named(whole):
    with pytest.raises(InputError) as refused:
        recorded_identity(whole, {"pooling": "max", "model": "n", "layers": ["layer4"], "backend": None})
    assert [line.removeprefix(f"{whole}: ") for line in refused.value.problems[:-1]] == [
        "holds pooling 'mean'; asked for 'max'",
        "holds model 'm'; asked for 'n'",
        "holds the layers layer4, image/1; asked for layer4",
    ]


def test_layers_of_another_shape_are_refused(whole):
    other = {**A, "layer4": A["layer4"][:, :39]}
    with (
        pytest.raises(InputError, match="holds numbers of an image in layer layer4 40; asked for 39"),
        open_writer(whole, other),
    ):
        pass


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        (["a/b", "a.b"], "layer 'a.b': its folder 'a.b' is that of layer 'a/b'"),
        (["A", "a"], "layer 'a': its folder 'a' is that of layer 'A'"),
        (["Manifest"], "layer 'Manifest': its folder 'manifest' is that of the store itself"),
        (["zarr.json"], "is that of the store itself"),
        ([".."], "is that of Zarr"),
        (["__init__"], "is that of Zarr"),
    ],
)
def test_layers_that_would_share_a_folder_are_refused_before_anything_is_written(tmp_path, layers, line):
    with pytest.raises(InputError) as refused:
        write(tmp_path / "a.zarr", activations(3, dict.fromkeys(layers, (2,))))
    assert line in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_numbers_below_one_are_refused(tmp_path):
    for name in ("shard_rows", "top_k"):
        with pytest.raises(InputError, match=f"{name}: found '0'; expected 1 or more"):
            write(tmp_path / "a.zarr", A, **{name: 0})


def test_a_second_writer_is_refused_and_a_later_one_is_not(tmp_path):
    with open_writer(tmp_path / "a.zarr", A) as writer:
        commit(writer, writer.missing[0], A)
        with (
            pytest.raises(OutputError, match=r"a\.zarr: another run is writing it"),
            open_writer(tmp_path / "a.zarr", A),
        ):
            pass
    with open_writer(tmp_path / "a.zarr", A) as writer:
        assert [shard.index for shard in writer.missing] == [1, 2]


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.jpg").write_text("mine")
    for name, error, line in (
        ("file", InputError, "is a file"),
        ("folder", InputError, "is no activation store, and not empty"),
        ("no/where", OutputError, r"the folder .*no does not exist"),
    ):
        with pytest.raises(error, match=line), open_writer(tmp_path / name, A):
            pass
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "file",
        "folder",
        "folder/photo.jpg",
    ]


def test_an_empty_folder_becomes_a_store(whole, tmp_path):
    (tmp_path / "a.zarr").mkdir()
    assert same_bytes(whole, write(tmp_path / "a.zarr", A, broken=BROKEN).path)


# Disks --------------------------------------------------------------------------------------------------------------


@contextmanager
def disk(folder, options):
    """A small disk in memory, where mounting is permitted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 60, 150])
def test_a_full_disk_is_one_line_and_more_room_lets_it_go_on(whole, tmp_path, kilobytes):
    with disk(tmp_path / "disk", f"size={kilobytes}k") as small:
        path = small / "a.zarr"
        with pytest.raises(OutputError) as full:
            write(path, A, broken=BROKEN)
        assert str(full.value).startswith(f"{path}: cannot be written (No space left on device; ")
        assert str(full.value).endswith("finished parts are kept, and the same command resumes")
        assert "\n" not in str(full.value)
        if (path / "provenance.json").exists():
            ActivationStore.open(path).missing_shards()
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        write(path, A, broken=BROKEN)
        assert same_bytes(whole, path)


def test_a_read_only_disk_is_one_line_and_can_be_read(tmp_path):
    with disk(tmp_path / "disk", "size=8m") as small:
        write(small / "a.zarr", A, stop=1)
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        for name in ("a.zarr", "b.zarr"):
            with (
                pytest.raises(OutputError, match=rf"{name}: cannot be written \(Read-only file system"),
                open_writer(small / name, A),
            ):
                pass
        np.testing.assert_array_equal(ActivationStore.open(small / "a.zarr").rows("layer4", [2]), A["layer4"][[2]])


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"a\.zarr: cannot be written \(Permission denied"):
            write(tmp_path / "a.zarr", A)
    finally:
        tmp_path.chmod(0o700)


def test_an_error_of_the_disk_is_one_line(tmp_path, monkeypatch):
    def broken(handle):
        raise OSError(5, "Input/output error")

    with open_writer(tmp_path / "a.zarr", A) as writer:
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(OutputError, match=r"a\.zarr: cannot be written \(Input/output error; [\d,]+ MB free\)"):
            commit(writer, writer.missing[0], A)
    assert len(ActivationStore.open(tmp_path / "a.zarr").missing_shards()) == 3
