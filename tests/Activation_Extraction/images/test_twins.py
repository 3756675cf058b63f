"""Guards what is said of pictures that are not what they seem: formats passed over, copies, names, frames and pages."""

import os
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from Activation_Extraction import extract_full_layer_activations, image_set
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.images import formats
from Activation_Extraction.images.formats import is_image, suffix_of
from Activation_Extraction.images.reading import has_more_pictures, read_image
from Activation_Extraction.images.twins import copies_of, remark_on_copies


def picture(seed, side=96):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working folder with three different pictures."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for i in range(3):
        picture(i).save(f"photos/{i}.png")
    return Path("photos")


# Formats


@pytest.mark.parametrize(("suffix", "feature"), [(".jp2", "jpg_2000"), (".j2k", "jpg_2000"), (".avif", "avif")])
def test_what_pillow_reads_is_read(photos, suffix, feature):
    from PIL import features

    if not features.check(feature):
        pytest.skip(f"Pillow is without {feature}")
    picture(7).save(photos / f"new{suffix}")
    images = image_set(photos)
    assert images.table["image"].to_pylist()[-1] == f"new{suffix}"
    assert not images.remarks
    assert read_image(images.source(3)).size == (96, 96)


@pytest.fixture
def without_heif(monkeypatch):
    """As if pillow-heif were not installed."""
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    formats.is_installed.cache_clear()
    yield
    formats.is_installed.cache_clear()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.heic"], "photos: 1 file is not read as images: 1 .heic (HEIC needs pip install"),
        (["a.HEIC", "b/c.heif", "b/d.heic"], "photos: 3 files are not read as images: 2 .heic, 1 .heif (HEIC"),
        (["a.svg", "b.svg", "labels.txt", "README"], "photos: 4 files are not read as images: 2 .svg, 1 "),
        (["a.jxl", "b.cr2"], "photos: 2 files are not read as images: 1 .cr2, 1 .jxl"),
        ([".hidden", ".DS_Store"], None),
    ],
)
@pytest.mark.parametrize("how", ["folder", "glob", "tar"])
@pytest.mark.usefixtures("without_heif")
def test_files_that_are_not_read_are_counted_by_suffix(photos, names, expected, how):
    for name in names:
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"x")
    if how == "tar":
        with tarfile.open("photos.tar", "w") as tar:
            for path in sorted(photos.rglob("*")):
                tar.add(path, path.relative_to(photos).as_posix(), recursive=False)
    source = {"folder": "photos", "glob": "photos/**/*", "tar": "photos.tar"}[how]
    remarks = image_set(source).remarks
    if how == "tar" and "labels.txt" in names:
        expected = "photos.tar: 3 files are not read as images: 2 .svg"  # a text file may be a label
    if expected is None:
        assert how == "tar" or not remarks
    else:
        (remark,) = remarks
        assert remark.replace(".tar:", ":").startswith(expected.replace(".tar:", ":"))


@pytest.mark.usefixtures("without_heif")
def test_a_folder_of_heic_alone_says_what_they_need(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no image in this folder.*1 \.heic \(HEIC needs pip install .*\[heif\]"):
        image_set(tmp_path)


def test_heic_is_listed_once_pillow_heif_is_installed(photos, monkeypatch):
    (photos / "a.heic").write_bytes(b"x")
    monkeypatch.setattr(formats, "find_spec", lambda name: name == "pillow_heif")
    formats.is_installed.cache_clear()
    try:
        images = image_set(photos)
        assert images.table["image"].to_pylist() == ["0.png", "1.png", "2.png", "a.heic"]
        assert not images.remarks
    finally:
        formats.is_installed.cache_clear()


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.PNG", ".png"), ("a.b/c", ""), (".png", ""), ("x/.a", ""), ("a.tar.gz", ".gz"), ("a.", ".")]
)
def test_suffixes(name, suffix):
    assert suffix_of(name) == suffix
    assert is_image("x.jpeg")


# Copies


def test_copies_are_found_in_files_links_and_folders_that_are_links(photos):
    (photos / "z.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "y.png").symlink_to("1.png")
    Path("other").mkdir()
    picture(2).save("other/2.png")
    (photos / "linked").symlink_to("../other")
    (photos / "empty.png").touch()
    (photos / "empty2.png").touch()
    images = image_set(photos)
    found = {images.name(copy): images.name(first) for copy, first in copies_of(images).items()}
    assert found == {"z.png": "0.png", "y.png": "1.png", "linked/2.png": "2.png", "empty2.png": "empty.png"}


@pytest.mark.parametrize(
    ("sha256", "concepts", "said"),
    [
        (["a", "b", None, None], None, None),
        (["a", "a", "b", "b"], None, "2 images are copies of others, byte for byte, such as 'n1' of 'n0'"),
        (
            ["a", "b", "c", "a"],
            ["x", "x", "x", "x"],
            "1 image is a copy of another, byte for byte, such as 'n3' of 'n0'",
        ),
        (["a", "b", "c", "a"], ["x", "x", "x", "y"], "1 of these pictures has several concepts, such as 'x' and 'y'"),
    ],
)
def test_copies_are_said(sha256, concepts, said):
    remarks = remark_on_copies(["n0", "n1", "n2", "n3"], sha256, concepts)
    assert (said is None and remarks == []) or said in remarks[0]


def extract(images, output="s.zarr", **options):
    options = {"threads": 1, "workers": 1, "progress": False, "backend": "eager", **options}
    return extract_full_layer_activations(images, "layer1", output, "clip-mini", **options)


def test_pictures_of_a_phone_are_read(photos):
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    red, green = np.meshgrid(np.arange(96, dtype=np.uint8), np.arange(96, dtype=np.uint8))
    taken = np.stack([red, green, 200 - red], axis=-1)
    pillow_heif.from_pillow(Image.fromarray(taken)).save(photos / "phone.HEIC", quality=90)
    formats.is_installed.cache_clear()
    images = image_set(photos)
    assert images.table["image"].to_pylist()[-1] == "phone.HEIC"
    assert np.abs(np.asarray(read_image(images.source(3)).convert("RGB"), dtype=float) - taken).mean() < 3


@pytest.mark.usefixtures("without_heif", "decoding_here")
def test_extraction_says_how_many_pictures_are_not_independent(photos):
    (photos / "z.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "a.heic").write_bytes(b"x")
    picture(4).save(photos / "moving.gif", save_all=True, append_images=[picture(5)])
    picture(4).save(photos / "pages.tif", save_all=True, append_images=[picture(5), picture(6)])
    report = extract(photos)
    assert [remark[:40] for remark in report.remarks] == [
        "photos: 1 file is not read as images: 1 ", "1 image is a copy of another, byte for b",
        "2 files have several pictures (frames or",
    ]  # fmt: skip
    assert "such as 'moving.gif'; only the first is used" in report.remarks[2]
    assert list(extract(photos).remarks) == list(report.remarks)  # nothing is computed, and it is said again
    dropped = extract(photos, "d.zarr", duplicates="drop")
    assert dropped.store.images["image"].tolist() == ["0.png", "1.png", "2.png", "moving.gif", "pages.tif"]
    assert "1 byte-identical copy is left out, such as 'z.png' of '0.png'" in dropped.remarks
    (photos / "-first.png").write_bytes((photos / "1.png").read_bytes())
    picture(9).save(photos / "new.png")
    grown = extract(photos, "d.zarr", duplicates="drop", append=True)
    assert grown.store.images["image"].tolist()[-2:] == ["pages.tif", "new.png"]


def test_wrong_words_are_refused(photos):
    with pytest.raises(InputError, match="duplicates: found 'no'; expected 'keep' or 'drop'"):
        extract(photos, duplicates="no")


# Frames and pages


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_only_files_of_several_pictures_have_more(photos, suffix):
    picture(1).save(f"one.{suffix}")
    picture(1).save(f"two.{suffix}", save_all=True, append_images=[picture(2)])
    assert [has_more_pictures(read_image(f"{name}.{suffix}")) for name in ("one", "two")] == [False, True]


# Names


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("cat.png", "Cat.png", "'Cat.png' and 'cat.png'"), ("a/b.png", r"a\b.png", r"'a/b.png' and 'a\\b.png'"),
        ("café.png", unicodedata.normalize("NFD", "café.png"), r"'cafe\u0301.png' and 'caf\xe9.png'"),
        ("ﬁre.png", "fire.png", "'fire.png' and 'ﬁre.png'"), ("STRAẞE.png", "straße.png", "'STRAẞE.png' and 'straße.png'"),
    ],
)  # fmt: skip
def test_names_that_some_disks_take_for_one_are_named(tmp_path, one, other, shown):
    rows = sorted([one, other])
    for name in rows:
        os.makedirs(tmp_path / os.path.dirname(name), exist_ok=True)
        picture(0, 8).save(tmp_path / name)
    (tmp_path / "images.csv").write_text("image\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (remark,) = image_set(tmp_path / "images.csv").remarks
    assert shown in remark
    assert remark.startswith("1 name is spelled in several ways")


@pytest.mark.parametrize("rows", [["a.png", "b.png"], ["a/a.png", "b/a.png"], ["a.png", "a.jpg"], ["a.png", "a.png"]])
def test_other_names_are_not(tmp_path, rows):
    for name in rows:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(0, 8).save(tmp_path / name)
    (tmp_path / "images.csv").write_text("image\n" + "\n".join(rows) + "\n")
    assert image_set(tmp_path / "images.csv").remarks == ()
