"""Guards `interpscore top`: the right pictures in the right order, found by name and hash, and clear refusals."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from Activation_Extraction import image_set
from Activation_Extraction.base.commands import app, run
from Activation_Extraction.store.writer import StoreWriter
from Activation_Extraction.top_images import pictures_of, top_images, top_images_wall

COUNT, LAYER = 6, "layer4"
COLORS = [(40 * i + 20, 10, 200 - 30 * i) for i in range(COUNT)]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Six pictures, each of a color of its own; unit 0 prefers the last, unit 1 the first, unit 2 is never computed."""
    monkeypatch.chdir(tmp_path)
    for i, color in enumerate(COLORS):
        Path("photos", "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), color).save(f"photos/{'ab'[i % 2]}/{i}.png")
    images = image_set("photos")
    names = images.table["image"].to_pylist()
    number_N = np.array([int(Path(name).stem) for name in names], np.float32)
    a_NU = np.stack([number_N, -number_N, np.full(COUNT, np.nan)], 1).astype(np.float32)
    sha256 = [hashlib.sha256(images.read(row)).hexdigest() for row in range(COUNT)]
    with StoreWriter("acts.zarr", {"model": "m", "batch_size": 2}, images, {LAYER: (3,)}, top_k=4) as writer:
        (shard,) = writer.missing
        writer.commit(shard, {LAYER: a_NU}, sha256, [""] * COUNT)
        return writer.finish()


@pytest.fixture
def called(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            run(app, ["top", "acts.zarr", *map(str, arguments)])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


def colors_in(wall_HWC):
    """Numbers of the pictures in each row, from left to right."""
    found = []
    for line in wall_HWC:
        order = [COLORS.index(tuple(pixel)) for pixel in line.tolist() if tuple(pixel) in COLORS]
        order = [number for i, number in enumerate(order) if i == 0 or number != order[i - 1]]
        if order and (not found or found[-1] != order):
            found.append(order)
    return found


def test_pictures_are_those_that_activate_a_unit_most_best_first(store):
    wall = top_images_wall(store, LAYER, [0, 1], image_set("photos"), k=3)
    assert colors_in(wall) == [[5, 4, 3], [0, 1, 2]]
    assert top_images(store, LAYER, [1], 2)[0].activation_k == [0, -1]
    assert top_images(store, LAYER, [2], 2)[0].rows_k == []


def test_the_command_writes_the_same_bytes_each_time(store, called):
    for name in ("one.png", "two.png"):
        code, out, _ = called("--units", "0,1", "--images", "photos", "-o", name, "-k", 2)
        assert (code, f"{name}: 2 units of layer4" in out) == (0, True)
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()


def test_units_and_concepts_come_from_a_neuron_map(store, called):
    Path("map.json").write_text(json.dumps({"1": "dark", "layer4:0": ["red", "light"]}))
    assert called("--neuron-map", "map.json", "--images", "photos", "-o", "wall.png", "-k", 2)[0] == 0
    assert colors_in(np.asarray(Image.open("wall.png"))) == [[0, 1], [5, 4]]


@pytest.mark.parametrize("source", [["photos/a", "photos/b"], ["moved"], ["photos.csv"]])
def test_pictures_are_found_in_folders_that_were_moved(store, source):
    Path("photos.csv").write_text("image\n" + "\n".join(f"photos/{'ab'[i % 2]}/{i}.png" for i in range(COUNT)))
    for i in range(COUNT):
        Path("moved/deep").mkdir(parents=True, exist_ok=True)
        Path(f"moved/deep/{i}.png").write_bytes(Path(f"photos/{'ab'[i % 2]}/{i}.png").read_bytes())
    assert len(pictures_of(store, image_set(source), range(COUNT))) == COUNT


def test_of_pictures_with_one_name_the_one_with_the_hash_is_shown(store):
    Path("photos/0").mkdir()
    Image.new("RGB", (8, 8)).save("photos/0/5.png")
    assert pictures_of(store, image_set("photos"), [5])[5].getpixel((0, 0)) == COLORS[5]


def change(number):
    Image.new("RGB", (8, 8)).save(f"photos/{'ab'[number % 2]}/{number}.png")


REFUSED = {
    "gone": (lambda: Path("photos/b/5.png").unlink(), [], "1 of the pictures of acts.zarr are not found (b/5.png)"),
    "changed": (lambda: change(5), [], "1 of the pictures of acts.zarr are found by name, with other contents (b/5.png)"),
    "elsewhere": (None, ["--images"], "--images: none given, and the pictures of acts.zarr are not in the working folder"),
    "unit": (None, ["--units", "3"], "found 3; expected 0 to 2"),
    "k": (None, ["-k", "5"], "-k: found 5; acts.zarr keeps 4 images for each unit"),
    "name": (None, ["-o", "wall.jpg"], "expected the name of a .png"),
    "inside": (None, ["-o", "acts.zarr/wall.png"], "is inside the store"),
}  # fmt: skip


def test_without_units_all_are_drawn(store, called, monkeypatch):
    assert called("--images", "photos", "-o", "wall.png", "-k", 2)[0] == 0
    assert called("--images", "photos", "--units", ":", "-o", "all.png", "-k", 2)[0] == 0
    assert Path("wall.png").read_bytes() == Path("all.png").read_bytes()
    monkeypatch.setattr("InterpScore.cli.top.MOST_UNITS", 2)
    assert (
        "found 3 units; expected at most 2 in a picture, such as 0:2" in called("--images", "photos", "-o", "b.png")[2]
    )


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_one_line(store, called, case):
    before, changed, message = REFUSED[case]
    options = {"--units": "0", "--images": "photos", "-o": "wall.png", "-k": "2"}
    if before:
        before()
    if len(changed) == 1:
        del options[changed[0]]
    else:
        options |= dict([changed] if changed else [])
    code, _, err = called(*(part for pair in options.items() for part in pair))
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert not Path("wall.png").exists()


def test_a_store_in_the_folder_of_its_pictures_needs_no_images(store, called, monkeypatch):
    monkeypatch.chdir("photos")
    Path("acts.zarr").symlink_to("../acts.zarr")
    assert called("--units", "0", "-o", "../wall.png", "-k", 2)[0] == 0
