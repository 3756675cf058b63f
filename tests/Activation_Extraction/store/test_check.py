"""Guards verifying a store: whatever is damaged is named, can be mended, and nothing outside the store is touched."""

import hashlib
import json
import shutil
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.images.sets import image_set
from Activation_Extraction.store.check import verify
from Activation_Extraction.store.reader import ActivationStore
from tests.Activation_Extraction import small_stores
from tests.Activation_Extraction.small_stores import activations, files, open_writer, same_bytes, write

COUNT, BROKEN = 40, (3, 39)
A = activations(COUNT, broken=BROKEN)
HARMS = {
    "gone": None,
    "flipped": lambda content: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
    "cut": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"x",
    "emptied": lambda content: b"",
}
EACH_KIND_OF_FILE = (
    "layer4/activation/c/1/0", "complete.json", "manifest/000001.json", "images.parquet", "layer4/activation/zarr.json",
    "image.1/mean/zarr.json", "layer4/top_image/c/0/0", "layer4/zarr.json", "zarr.json", "image.1/count/c/0",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "a.zarr", A, broken=BROKEN).path


def harm(file, kind):
    if HARMS[kind] is None:
        file.unlink()
    else:
        file.write_bytes(HARMS[kind](file.read_bytes()))


def test_nothing_is_found_in_a_sound_store(whole):
    done = []
    assert verify(whole, advance=done.append) == []
    assert sum(done) == COUNT


def test_nothing_is_found_in_an_unfinished_store(tmp_path):
    assert verify(write(tmp_path / "a.zarr", A, stop=2).path) == []


def check_mending(whole, path, name, kind):
    harm(path / name, kind)
    if (name.name, kind) == ("complete.json", "gone"):
        assert verify(path) == []  # then it is an unfinished store
    else:
        assert any(problem.startswith(f"{path / name}: ") for problem in verify(path)), name
    verify(path, repair=True)
    write(path, A, broken=BROKEN)
    assert verify(path) == []
    assert same_bytes(whole, path), name


@pytest.mark.parametrize(("name", "kind"), list(zip(EACH_KIND_OF_FILE, cycle(HARMS))))
def test_a_damaged_file_of_each_kind_is_named_and_mended_to_the_same_bytes(whole, tmp_path, name, kind):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    check_mending(whole, path, Path(name), kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HARMS)
def test_every_damaged_file_is_named_and_mended_to_the_same_bytes(whole, tmp_path, kind):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    for name in sorted(files(whole)):
        if name.name != "provenance.json":  # without it nothing tells what the store was made from
            check_mending(whole, path, name, kind)


@pytest.mark.parametrize(
    "kind", ["flipped", "gone", *(pytest.param(k, marks=pytest.mark.slow) for k in ("cut", "emptied"))]
)
def test_damaged_shards_of_an_unfinished_store_are_named_and_mended(whole, tmp_path, kind):
    path = write(tmp_path / "a.zarr", A, broken=BROKEN, stop=2).path
    harm(path / "layer4" / "activation" / "c" / "1" / "0", kind)
    (problem,) = verify(path, repair=True)
    assert problem.startswith(f"{path}/layer4/activation/c/1/0: ")
    assert [shard.index for shard in ActivationStore.open(path).missing_shards()] == [1, 2]
    write(path, A, broken=BROKEN)
    assert same_bytes(whole, path)


def test_without_repair_nothing_is_changed(whole, tmp_path):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    harm(path / "layer4" / "activation" / "c" / "1" / "0", "flipped")
    harm(path / "images.parquet", "cut")
    before = {name: (path / name).read_bytes() for name in files(path)}
    assert len(verify(path)) == 2
    assert {name: (path / name).read_bytes() for name in files(path)} == before


def test_a_damaged_provenance_is_one_clear_line(whole, tmp_path):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    (path / "provenance.json").write_bytes(b"{")
    with pytest.raises(InputError, match=r"provenance\.json, line 1, column 2: not JSON"):
        verify(path)


def test_another_provenance_is_named_and_kept(whole, tmp_path):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    file = path / "provenance.json"
    file.write_text(file.read_text().replace('"model": "m"', '"model": "n"'))
    (problem,) = verify(path, repair=True)
    assert problem.startswith(f"{file}: SHA-256 ")
    assert file.is_file()


# Nothing outside the store ------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("mine")
    return file


def poisoned(whole, path, mine, place):
    """A complete store, one of whose files names one outside."""
    shutil.copytree(whole, path)
    file = path / place
    content = json.loads(file.read_bytes())
    wrong = {"size": 3, "sha256": "0" * 64}
    content["files"] = {**content["files"], "../mine.txt": wrong, str(mine): wrong, "layer4/../../mine.txt": wrong}
    file.write_text(json.dumps(content))
    return path


def test_files_named_outside_the_store_are_neither_read_nor_deleted(whole, tmp_path, mine):
    path = poisoned(whole, tmp_path / "a.zarr", mine, "complete.json")
    problems = verify(path, repair=True)
    assert [problem.split("; ")[1] for problem in problems] == ["expected files of the store"] * 3
    assert mine.read_text() == "mine"


def test_a_link_out_of_the_store_is_a_difference_and_what_it_leads_to_is_kept(whole, tmp_path, mine):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    (path / "images.parquet").unlink()
    (path / "images.parquet").symlink_to(mine)
    (problem,) = verify(path, repair=True)
    assert problem.startswith(f"{path}/images.parquet: cannot be read (images.parquet is a link, which is not followed")
    assert mine.read_text() == "mine"


def test_records_that_name_files_outside_the_store_are_not_followed(whole, tmp_path, mine):
    path = poisoned(whole, tmp_path / "a.zarr", mine, "manifest/000001.json")
    problems = verify(path, repair=True)
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}/manifest/000001.json: ")
    assert mine.read_text() == "mine"


def test_a_layer_of_the_provenance_leads_nowhere_else(whole, tmp_path, mine):
    path = tmp_path / "a.zarr"
    shutil.copytree(whole, path)
    file = path / "provenance.json"
    content = json.loads(file.read_bytes())
    content["layers"] = {"../../mine.txt": [3]}
    file.write_text(json.dumps(content))
    problems = verify(path, repair=True)
    assert problems
    assert not any(problem.startswith(str(mine)) for problem in problems)
    assert mine.read_text() == "mine"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["files", "size", "a"]), inner),
    max_leaves=8,
)


@given(JSON)
def test_whatever_else_stands_in_the_mark_of_completeness_is_a_problem(whole, tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "marked.zarr"
    if not path.exists():
        shutil.copytree(whole, path)
    (path / "complete.json").write_text(json.dumps(content))
    assert verify(path) != []


# Images -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    """Images of which the second could not be read, and the store that was made from them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.png").write_bytes(b"picture %d" % i)
    images = image_set(folder)
    a = activations(4, broken=(1,))
    with open_writer(tmp_path / "a.zarr", a, images=images) as writer:
        (shard,) = writer.missing
        sha256 = [hashlib.sha256(b"picture %d" % i).hexdigest() if i != 1 else None for i in range(4)]
        writer.commit(shard, a, sha256, ["", "1.png: broken", "", ""])
        writer.finish()
    return folder, images, tmp_path / "a.zarr"


def test_images_that_are_the_same_pass(photos):
    _, images, path = photos
    assert verify(path, images) == []


def test_changed_images_are_named_but_not_those_that_could_not_be_read(photos):
    folder, images, path = photos
    (folder / "0.png").write_bytes(b"another")
    (folder / "1.png").write_bytes(b"another")
    (folder / "3.png").unlink()
    problems = verify(path, images)
    assert [problem.split(": ")[0] for problem in problems] == ["0.png", "3.png"]
    assert problems[0] == (
        f"0.png: SHA-256 {hashlib.sha256(b'another').hexdigest()}; "
        f"{hashlib.sha256(b'picture 0').hexdigest()} when it was read"
    )
    assert problems[1].startswith("3.png: no such file")


def test_changed_images_leave_a_repaired_store_complete(photos):
    folder, images, path = photos
    (folder / "0.png").write_bytes(b"another")
    verify(path, images, repair=True)
    assert ActivationStore.open(path).missing_shards() == []


def test_images_of_another_set_are_refused(photos):
    _, _, path = photos
    with pytest.raises(InputError, match="was computed from another image set"):
        verify(path, small_stores.image_set(4))
