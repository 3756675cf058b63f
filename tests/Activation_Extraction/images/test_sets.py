"""Guards lists of images: every kind of source gives the same rows, names survive a move, what is wrong is one line."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.extras import install_command
from Activation_Extraction.images.formats import ALWAYS, OPTIONAL, is_installed
from Activation_Extraction.images.places import FilePart
from Activation_Extraction.images.reading import FORMATS
from Activation_Extraction.images.sets import image_set

NAMES = ["cat/1.jpg", "cat/2.png", "dog/1.jpg", "dog/old/3.JPEG"]
CONCEPTS = ["cat", "cat", "dog", "old"]


def content(name):
    return f"bytes of {name}".encode()


@pytest.fixture
def photos(tmp_path):
    """A folder of four images (names alone matter here), and of files that are none."""
    return make_folder(tmp_path / "photos", [*NAMES, ".hidden/1.jpg", "cat/.1.jpg", "dog/notes.txt", "Thumbs.db"])


def make_folder(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content(name))
    return folder


def make_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def names(images):
    return images.table["image"].to_pylist()


def read(images, row):
    place = images.where(row)
    if isinstance(place, bytes):
        return place
    with open(place.path, "rb") as file:
        file.seek(place.offset or 0)
        return file.read(-1 if place.size is None else place.size)


def contents(images):
    return [read(images, row) for row in range(len(images))]


def refusal(*arguments, **options):
    with pytest.raises(InputError) as caught:
        image_set(*arguments, **options)
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


# Every kind of source -----------------------------------------------------------------------------------------------


def test_suffixes_are_those_of_the_formats_that_are_read():
    Image.init()
    pillows = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    suffixes = {*ALWAYS, *(suffix for suffix, kind in OPTIONAL.items() if is_installed(kind))}
    assert pillows - suffixes <= {".pfm"}
    assert {Image.registered_extensions().get(suffix) for suffix in suffixes} <= {*FORMATS}


def test_folder_is_listed_in_order_with_its_subfolders_as_concepts(photos):
    images = image_set(photos)
    assert names(images) == NAMES
    assert images.table["concept"].to_pylist() == CONCEPTS
    assert [images.name(row) for row in range(4)] == NAMES
    assert contents(images) == [content(name) for name in NAMES]


def test_flat_folder_has_no_concepts(tmp_path):
    images = image_set(make_folder(tmp_path / "flat", ["b.jpg", "B.jpg", "a.jpg", "ä.jpg", "10.jpg", "9.jpg"]))
    assert names(images) == ["10.jpg", "9.jpg", "B.jpg", "a.jpg", "b.jpg", "ä.jpg"]
    assert images.table.column_names == ["image"]


def make_table(path, photos, column=None, **columns):
    frame = pd.DataFrame({"image": column or [f"photos/{name}" for name in NAMES], **columns})
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def make_packed(path, names_there=NAMES, row_group_size=None, **columns):
    records = [{"bytes": content(name), "path": name} for name in names_there]
    pq.write_table(pa.table({"image": records, **columns}), path, row_group_size=row_group_size)
    return path


def test_every_kind_of_source_gives_the_same_images(photos, tmp_path, monkeypatch):
    make_tar(tmp_path / "a.tar", [(name, content(name)) for name in NAMES])
    sources = [
        photos,
        f"{photos}/",
        os.fspath(photos / "**" / "*.*"),
        os.fspath(photos / "**"),
        os.fspath(photos / "*"),
        [photos / name for name in NAMES],
        make_table(tmp_path / "a.csv", photos),
        make_table(tmp_path / "a.parquet", photos),
        make_table(tmp_path / "b.csv", photos, [os.fspath(photos / name) for name in NAMES]),
        make_packed(tmp_path / "packed.parquet"),
        tmp_path / "a.tar",
        os.fspath(tmp_path / "*.tar"),
    ]
    for source in sources:
        images = image_set(source)
        assert contents(images) == [content(name) for name in NAMES], source
    monkeypatch.chdir(tmp_path)
    for source in (
        "photos",
        "./photos",
        "photos/*",
        "photos/**",
        "./photos/**/*.[jpJ]*",
        [f"photos/{n}" for n in NAMES],
    ):
        images = image_set(source)
        assert contents(images) == [content(name) for name in NAMES], source
        assert images.fingerprint == image_set(photos).fingerprint


def test_set_is_the_same_wherever_it_lies_and_another_when_anything_differs(photos, tmp_path):
    before = image_set(photos)
    moved = shutil.move(photos, tmp_path / "elsewhere")
    assert image_set(moved).fingerprint == before.fingerprint
    os.rename(tmp_path / "elsewhere/cat/1.jpg", tmp_path / "elsewhere/cat/3.jpg")
    assert image_set(moved).fingerprint != before.fingerprint
    fingerprints = {
        image_set(make_table(tmp_path / "a.csv", moved, ["elsewhere/dog/1.jpg"] * 2, level=level)).fingerprint
        for level in ([1, 2], [2, 1], [1, None], ["1", "two"])
    }
    assert len(fingerprints) == 4


def test_fingerprint_does_not_depend_on_how_a_table_is_kept(photos, tmp_path):
    level = [1, 2, 3, 4]
    csv = image_set(make_table(tmp_path / "a.csv", photos, level=level))
    parquet = image_set(make_table(tmp_path / "a.parquet", photos, level=pd.array(level, "int8")))
    pq.write_table(pq.read_table(tmp_path / "a.parquet"), tmp_path / "a.parquet", row_group_size=1)
    assert csv.fingerprint == parquet.fingerprint == image_set(tmp_path / "a.parquet").fingerprint


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=12))
def test_lists_keep_their_order_and_duplicates(tmp_path_factory, chosen):
    folder = make_folder(tmp_path_factory.getbasetemp() / "photos", NAMES)
    images = image_set([folder / name for name in chosen])
    assert contents(images) == [content(name) for name in chosen]
    table = folder.parent / "chosen.csv"
    pd.DataFrame({"image": chosen, "n": range(len(chosen))}).to_csv(table, index=False)
    images = image_set(table, images_root=folder)
    assert contents(images) == [content(name) for name in chosen]
    assert (names(images), images.table["n"].to_pylist()) == (chosen, list(range(len(chosen))))


def test_several_sources_stand_behind_one_another_under_their_names(photos, tmp_path):
    other = make_folder(tmp_path / "other" / "photos", ["1.jpg"])
    tar = make_tar(tmp_path / "a.tar", [("x/1.jpg", b"x")])
    table = make_table(tmp_path / "t.csv", photos, level=[1, 2, 3, 4])
    images = image_set([photos, tar, other, table, tmp_path / "a.tar", photos / "cat/1.jpg"])
    top = f"{tmp_path.name}/photos"
    assert names(images) == [
        *(f"{top}/{name}" for name in NAMES),
        "a.tar/x/1.jpg",
        "other/photos/1.jpg",
        *(f"t.csv/photos/{name}" for name in NAMES),
        "a.tar/x/1.jpg",
        "cat/1.jpg",
    ]
    assert images.table["level"].to_pylist() == [None] * 6 + [1, 2, 3, 4, None, None]
    assert images.table["concept"].to_pylist() == [*CONCEPTS, "x", None, *[None] * 4, "x", None]
    expected = [content(name) for name in NAMES]
    assert contents(images) == [*expected, b"x", content("1.jpg"), *expected, b"x", content("cat/1.jpg")]


def test_listing_loads_neither_torch_nor_pillow_and_keeps_rows_compact(tmp_path):
    make_folder(tmp_path, ["there/0000.jpg"])
    rows = "".join(f"there/{i:08d}.jpg,concept_{i % 9}\n" for i in range(20_000))
    (tmp_path / "t.csv").write_text("image,concept\n" + rows)
    script = """
import sys
from Activation_Extraction.images.sets import image_set
images = image_set(sys.argv[1])
print(len(images), images.table.nbytes // len(images) < 50, {"torch", "PIL", "datasets"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path / "t.csv"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("20000 True set()\n", "")


# Folders and files --------------------------------------------------------------------------------------------------


def test_links_to_folders_are_followed_but_never_in_circles(photos, tmp_path):
    elsewhere = make_folder(tmp_path / "elsewhere", ["1.jpg"])
    (photos / "link").symlink_to(elsewhere)
    (photos / "cat" / "around").symlink_to(photos)
    (photos / "self").symlink_to(photos / "self")
    assert names(image_set(photos)) == [*NAMES, "link/1.jpg"]


def test_names_that_are_no_text_still_find_their_files(tmp_path):
    folder = make_folder(tmp_path / "odd", ["b.jpg"])
    with open(os.fsencode(folder) + b"/caf\xe9.jpg", "wb") as file:
        file.write(b"coffee")
    for source in (folder, f"{folder}/*", [*sorted(folder.iterdir())]):
        images = image_set(source)
        assert names(images) == ["b.jpg", "caf\\xe9.jpg"]
        assert contents(images) == [content("b.jpg"), b"coffee"]


def test_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    folder = make_folder(tmp_path / "photos [1] *", ["a.jpg"])
    assert names(image_set(folder)) == ["a.jpg"]
    assert names(image_set(folder / "a.jpg")) == ["a.jpg"]


def test_image_that_is_not_there_is_a_row_among_others(photos):
    images = image_set([photos / "cat/1.jpg", photos / "cat/7.jpg"])
    assert (len(images), images.lost(1)) == (2, None)
    missing = os.fspath(photos / "cat/7.jpg")
    assert refusal([missing]) == f"{missing}: no such file"
    assert refusal([missing, photos / "x/8.jpg"]) == f"{missing}: no such file, nor any other of 2"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "images: none given; expected a folder of images, "),
        ("phots", "phots: no such file or folder (did you mean 'photos'?); expected a folder"),
        ("empty", "empty: no image in this folder; expected files such as .jpg or .png"),
        ("packed", "packed: no image in this folder (for a.tar, give the file itself, or a pattern)"),
        ("photos/*.gif", "photos/*.gif: matches no image, table or .tar; expected a pattern such as"),
        ("photos/dog/notes.txt", "photos/dog/notes.txt: is no source of images; expected a folder"),
        ("a.tar.gz", "a.tar.gz: is compressed; expected a plain .tar, or a folder (unpack it first)"),
        (5, "images: found '5' (int); expected"),
        ([b"photos"], "(bytes); expected"),
        ("", "images: found '' (str); expected"),
    ],
)
def test_source_that_is_none_is_one_line(photos, tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    make_folder(tmp_path / "packed", ["a.tar"])
    if source == 5:
        source = [5]
    assert said in refusal(source)


def test_options_that_no_source_takes_are_refused(photos):
    assert refusal(photos, split="test") == (
        "split: found 'test', but no source takes one; expected tables with the column 'split', or datasets"
    )
    assert "images_root: found '/', but no source takes one" in refusal(photos, images_root="/")


def test_folder_that_may_not_be_listed_is_an_error_and_not_left_out(photos, monkeypatch):
    listed = os.scandir

    def refused(folder):
        if os.fspath(folder).endswith("old/"):
            raise PermissionError(13, "Permission denied", folder)
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refused)
    assert f"{photos}/dog/old/: cannot be listed (Permission denied)" in refusal(photos)


# Folders that go away -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "glob", "files", "table"])
def test_image_that_is_gone_is_told_from_a_folder_that_is(photos, tmp_path, kind):
    sources = {
        "folder": photos,
        "glob": f"{photos}/*/*.jpg",
        "files": [photos / name for name in NAMES],
        "table": make_table(tmp_path / "a.csv", photos),
    }
    images = image_set(sources[kind])
    (photos / "cat/1.jpg").unlink()
    # Only what a folder held is known to have been there.
    alone = f"{photos}/cat/1.jpg" if kind == "folder" else None
    assert [images.lost(row) for row in range(len(images))] == [alone, *[None] * (len(images) - 1)]
    (photos / "cat/2.png").unlink()
    assert images.lost(0) == alone  # a hidden file is still there
    (photos / "cat/.1.jpg").unlink()
    assert images.lost(0) == f"{photos}/cat"
    assert images.lost(len(images) - 1) is None
    shutil.rmtree(photos)
    assert images.lost(0) == os.fspath(photos)


def test_link_that_leads_nowhere_is_broken_and_not_lost(photos):
    (photos / "cat/0.jpg").symlink_to(photos / "nowhere.jpg")
    images = image_set(photos)
    assert (images.name(0), images.lost(0)) == ("cat/0.jpg", None)


def test_folder_of_a_table_that_never_was_there_is_not_lost(photos, tmp_path):
    images = image_set(make_table(tmp_path / "a.csv", photos, ["photos/cat/1.jpg", "never/1.jpg", "a.csv/1.jpg"]))
    assert [images.lost(row) for row in range(3)] == [None, None, None]


@pytest.mark.parametrize("make", [lambda path: make_tar(path, [("1.jpg", b"x")]), make_packed])
def test_packed_file_that_is_gone_is_lost(tmp_path, make):
    make_folder(tmp_path, ["another disk/1.jpg"])
    folder = make_folder(tmp_path / "disk", ["other/1.jpg"])
    path = folder / ("a.parquet" if make is make_packed else "a.tar")
    make(path)
    images = image_set(path)
    assert images.lost(0) is None
    path.unlink()
    assert images.lost(0) == os.fspath(path)
    shutil.rmtree(folder)
    assert images.lost(0) == os.fspath(folder)


# Tables -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_keeps_its_columns_but_those_that_extraction_finds(photos, tmp_path, suffix):
    known = {"level": [1, 2, 3, 4], "concept": ["NA", "null", "x", "y"], "score": [0.5, None, 1, 2]}
    table = make_table(tmp_path / f"a{suffix}", photos, sha256=["a"] * 4, error=[""] * 4, **known)
    images = image_set(table)
    assert images.table.to_pydict() == {"image": [f"photos/{name}" for name in NAMES], **known}


@pytest.mark.parametrize("make", [make_table, lambda path, photos, **columns: make_packed(path, **columns)])
def test_split_takes_its_rows_alone(photos, tmp_path, make):
    table = make(tmp_path / "a.parquet", photos, split=["train", "test", "train", "test"])
    images = image_set(table, split="test")
    assert contents(images) == [content(NAMES[1]), content(NAMES[3])]
    assert len(image_set(table)) == 4
    assert "a.parquet: no row of the split 'validation'; it has 'test, train'" in refusal(table, split="validation")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_filename,level\na.jpg,1\n", "no column 'image' (did you mean 'image_filename'? rename it); expected"),
        ("imag,level\na.jpg,1\n", "no column 'image' (did you mean 'imag'? rename it)"),
        ("a,b\n1,2\n", "no column 'image'; expected one with the path of an image in each row"),
        (
            "image,level\na.jpg,1\n,2\n,3\n",
            "column 'image', row 3: is empty; expected the path of an image (and 1 more",
        ),
        ('image,level\n"a\nb.jpg",1\n', "column 'image', row 2: is more than one line; expected"),
        ("image,image\na.jpg,1\n", "column 'image': the name appears more than once; expected each column once"),
        ("image,level\na.jpg\n", "row 2: 1 cell; expected 2, as the header has"),
        ("", "the file is empty; expected a table with a header and rows"),
        ("image\n", "t.csv: no rows; expected at least one image"),
        ("image\nnowhere/a.jpg\n", "none of the folders of its images exists, such as "),
    ],
)
def test_wrong_table_is_one_line(tmp_path, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    line = refusal(path)
    assert line.startswith(f"{path}")
    assert said in line


def test_table_that_is_missing_damaged_or_of_other_things_is_one_line(tmp_path):
    assert "t.csv: cannot be read" in refusal(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"image\n\x81\x8d.jpg\n")
    assert "bytes that are not UTF-8" in refusal(tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no")
    assert "t.parquet: not a readable Parquet file" in refusal(tmp_path / "t.parquet")
    for column, said in (([1, 2], "found int64; expected the path"), ([{"a": 1}], "a struct of struct<a: int64>")):
        pq.write_table(pa.table({"image": column}), tmp_path / "t.parquet")
        assert said in refusal(tmp_path / "t.parquet")


def test_tables_that_do_not_fit_together_are_one_line(photos, tmp_path):
    one, other = (
        make_table(tmp_path / f"{i}.csv", photos, level=level) for i, level in enumerate(([1] * 4, ["a"] * 4))
    )
    assert "images: the tables do not fit together (" in refusal([one, other])


@given(st.data())
def test_packed_rows_are_read_in_any_order(tmp_path_factory, data):
    count, group = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 40))
    path = make_packed(tmp_path_factory.getbasetemp() / "p.parquet", [f"{i}.jpg" for i in range(count)], group)
    images = image_set(path)
    for row in data.draw(st.lists(st.integers(0, count - 1), max_size=20)):
        assert images.where(row) == content(f"{row}.jpg")


def test_packed_rows_are_named_by_their_paths_where_these_tell_them_apart(tmp_path):
    def made(*paths):
        records = [{"bytes": b"x", "path": path} for path in paths]
        pq.write_table(
            pa.table({"image": pa.array(records, pa.struct({"bytes": pa.binary(), "path": pa.string()}))}), path
        )
        return names(image_set(path))

    path = tmp_path / "p.parquet"
    assert made("b.jpg", "a.jpg") == ["b.jpg", "a.jpg"]
    assert made("/x/y/b.jpg", "/x/yz/a.jpg") == ["y/b.jpg", "yz/a.jpg"]
    for paths in (("a.jpg", "a.jpg"), (None, "a.jpg"), ("", "a.jpg")):
        assert made(*paths) == ["000000000", "000000001"]


def test_packed_row_without_bytes_is_a_file(photos, tmp_path):
    records = [{"bytes": None, "path": "photos/cat/1.jpg"}, {"bytes": b"x", "path": "x.jpg"}]
    pq.write_table(pa.table({"image": records}), tmp_path / "p.parquet")
    images = image_set(tmp_path / "p.parquet")
    assert images.where(0) == FilePart(os.fspath(photos / "cat/1.jpg"))
    assert images.where(1) == b"x"


def test_packed_file_that_fails_while_it_is_read_is_one_line(tmp_path):
    path = make_packed(tmp_path / "p.parquet")
    images = image_set(path)
    path.write_bytes(b"else")
    with pytest.raises(InputError, match=r"p.parquet: cannot be read any more \("):
        images.where(0)


# Tars ---------------------------------------------------------------------------------------------------------------


def test_tar_gives_labels_beside_images_or_folders_as_concepts(tmp_path):
    members = [
        ("./a/1.left.jpg", b"l"),
        ("./a/1.right.jpg", b"r"),
        ("./a/1.cls", b"fire\n"),
        ("./a/1.txt", b"a fire in the night"),
        ("a/2.jpg", b"2"),
        ("a/2.json", json.dumps({"label": 7, "other": 1}).encode()),
        ("a/3.jpg", b"3"),
        ("a/3.json", b"{no json"),
        ("4.jpg", b"4"),
        ("4.txt", b"two\nlines"),
        ("5.jpg", b"5"),
        ("5.txt", "  café ".encode()),
    ]
    images = image_set(make_tar(tmp_path / "s.tar", members))
    expected = ["a/1.left.jpg", "a/1.right.jpg", "a/2.jpg", "a/3.jpg", "4.jpg", "5.jpg"]
    assert names(images) == [f"s.tar/{name}" for name in expected]
    assert images.table["concept"].to_pylist() == ["fire", "fire", "7", "a", None, "café"]
    assert contents(images) == [b"l", b"r", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_of_every_style_is_read_by_its_headers(tmp_path, style):
    wanted = {"short.jpg": b"s" * 1000, "é" * 40 + "/" + "x" * 90 + ".jpg": b"", "block.jpg": b"b" * 512}
    with tarfile.open(tmp_path / "t.tar", "w", format=style) as tar:
        for name, data in wanted.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5
            tar.addfile(member, io.BytesIO(data))
    images = image_set(tmp_path / "t.tar")
    assert dict(zip(names(images), contents(images), strict=True)) == {f"t.tar/{n}": d for n, d in wanted.items()}


def test_tar_leaves_out_what_is_no_plain_file(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("folder.jpg", tarfile.DIRTYPE),
            ("../outside.jpg", tarfile.REGTYPE),
            ("a/../../outside.jpg", tarfile.REGTYPE),
            ("/root.jpg", tarfile.REGTYPE),
            ("._1.jpg", tarfile.REGTYPE),
            ("line\nbreak.jpg", tarfile.REGTYPE),
            ("twice.jpg", tarfile.REGTYPE),
            ("plain.jpg", tarfile.REGTYPE),
            ("twice.jpg", tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        with_bytes = tarfile.TarInfo("bad\udcff.jpg")
        tar.addfile(with_bytes)
    assert names(image_set(tmp_path / "t.tar")) == ["t.tar/plain.jpg", "t.tar/twice.jpg"]


def test_tar_that_is_cut_off_anywhere_is_refused(tmp_path):
    path = make_tar(tmp_path / "t.tar", [("1.jpg", b"x" * 700), ("2.jpg", b"y" * 512)])
    data = path.read_bytes()
    end = 512 + 1024 + 512 + 512  # what follows are blocks of zeros, of which one is enough
    for kept in (0, 100, 512, 1000, 1536, 1700, 2048, 2100, end - 1, end, end + 100):
        path.write_bytes(data[:kept])
        assert f"{path}: cut off" in refusal(path) or kept == 0, kept
    path.write_bytes(data[: end + 512])
    assert len(image_set(path)) == 2
    path.write_bytes(data[:1536] + b"damage" + data[1542:])
    assert f"{path}: cut off or damaged at byte 1,536" in refusal(path)


def test_tar_that_is_none_is_one_line(tmp_path):
    assert "no.tar: cannot be read (No such file" in refusal(tmp_path / "no.tar")
    assert "t.tar: no image in this tar file" in refusal(make_tar(tmp_path / "t.tar", [("a.txt", b"x")]))
    assert "z.tar: cut off, damaged or compressed" in refusal(make_tar(tmp_path / "z.tar", [("1.jpg", b"x")], "w:gz"))


# Hugging Face -------------------------------------------------------------------------------------------------------


PICTURES = ["b.jpg", "a.jpg", "c.png"]


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Writes a dataset of three images as `save_to_disk` does; gives its folder."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    feature = datasets.Features(
        picture=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]), n=datasets.Value("int64")
    )

    def save(name="saved", splits=None):
        rows = {
            "picture": [{"bytes": content(name), "path": name} for name in PICTURES],
            "label": [0, 1, -1],
            "n": [5, 6, None],
        }
        dataset = datasets.Dataset.from_dict(rows, features=feature)
        folder = tmp_path / name
        if splits:
            dataset = datasets.DatasetDict({split: dataset.select([i, 0]) for i, split in enumerate(splits)})
        dataset.save_to_disk(folder)
        return folder

    return save


def test_saved_dataset_is_read_with_its_classes_as_concepts(saved):
    images = image_set(saved())
    assert contents(images) == [content(name) for name in PICTURES]
    assert images.table.to_pydict() == {
        "image": PICTURES,
        "concept": ["cat", "dog", None],
        "label": ["cat", "dog", None],
        "n": [5, 6, None],
    }
    assert images.lost(0) is None


def test_split_of_a_dataset_has_to_be_chosen(saved):
    folder = saved(splits=["train", "test"])
    assert contents(image_set(folder, split="test")) == [content(PICTURES[1]), content(PICTURES[0])]
    assert refusal(folder) == f"{folder}: several splits; expected one of train, test as split"
    assert f"{folder}: no split 'val'; expected one of train, test as split" in refusal(folder, split="val")
    assert len(image_set(saved("one", splits=["train"]))) == 2


def test_dataset_of_files_is_read_where_they_lie(photos, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("dog/notes.txt", "Thumbs.db"):
        (photos / name).unlink()
    images = image_set(f"hf:{photos}")
    assert sorted(names(images)) == NAMES
    assert contents(images) == [content(name) for name in names(images)]
    shutil.rmtree(photos)
    assert images.lost(0) == os.fspath(photos)


def test_dataset_that_cannot_be_read_is_one_line(tmp_path, monkeypatch, saved):
    folder = saved()
    (folder / "state.json").write_text("{}")
    assert f"{folder}: the library datasets cannot read it (" in refusal(folder)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refusal(folder) == (
        f"{folder}: needs the library datasets, which is not installed; type: {install_command('datasets')}"
    )


def test_dataset_without_one_column_of_images_is_one_line(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"a": [1]}).save_to_disk(tmp_path / "none")
    assert "the columns a; expected one column of images" in refusal(tmp_path / "none")
