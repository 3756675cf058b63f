"""Guards `interpscore data check`: it knows every kind of data, says what is wrong with broken ones, and what to type next."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image

from Activation_Extraction.base.commands import ENTRY_POINT_GROUP, app, run
from Activation_Extraction.base.extensions import registered
from InterpScore.cli.data import data_app
from InterpScore.journey import contents
from InterpScore.journey.kinds import GROUP, Item
from InterpScore.journey.uses import Data, next_step, uses
from tests.Activation_Extraction import small_stores
from tests.hostile import JSON, NAMES, NOT_TEXT, ON_DISK, harmed, is_shown
from tests.installed import installed

PIXELS = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
TABLE = {
    "trial_category": "experiment", "image_filename": ["0.png", "1.png", "1.png"], "ground_truth": ["fire", "wet", "wet"],
    "level": [5, 5, 5], "soft_correct": [1.0, 0.0, 1.0], "participant": ["a", "a", "b"], "activation_0": [1.0, 0.5, 0.5],
}  # fmt: skip


@pytest.fixture
def checked(tmp_path, monkeypatch, capfd):
    """Checks the folder `my data`; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    Path("my data").mkdir()

    def check(folder="my data"):
        with pytest.raises(SystemExit) as left:
            run(data_app, ["check", str(folder)])
        out, err = capfd.readouterr()
        assert is_shown(out + err)
        return left.value.code, out, err

    return check


def picture(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path)


def make_images(folder):
    for name in ("photos/fire/0.png", "photos/wet/1.png", "photos/wet/2.png"):
        picture(folder / name)


def make_image_table(folder):
    for name in ("0.png", "1.png"):
        picture(folder / "pictures" / name)
    rows = {"image": ["pictures/0.png", "pictures/1.png"], "concept": ["fire", "wet"], "level": [5, 1]}
    pd.DataFrame(rows).to_csv(folder / "images.csv", index=False)


def make_store(folder):
    small_stores.write(folder / "acts.zarr", small_stores.activations(6, {"layer4": (4,)}))


def make_unfinished_store(folder):
    small_stores.write(folder / "half.zarr", small_stores.activations(20, {"layer4": (4,)}), stop=1)


def make_table(folder):
    pd.DataFrame(TABLE).to_csv(folder / "ratings.csv", index=False)


def make_map(folder):
    (folder / "map.json").write_text('{"0": "fire", "layer4:7": ["wet", "rain"]}')


def make_effects(folder):
    effects = {"image_filename": ["0.png"], "ablation_effect_0": [0.1], "amplification_effect_0": [0.2]}
    pd.DataFrame(effects).to_parquet(folder / "effects.parquet")


def make_results(folder):
    pd.DataFrame({"Neuron": ["0"], "Concept": ["fire"], "InterpScore": [0.5]}).to_csv(folder / "results.csv")
    (folder / "results.json").write_text("{}")
    (folder / "results.draws.npz").write_bytes(b"")


def make_renders(folder):
    numbers = dict.fromkeys(("activation", "jittered", "contrast", "saturation", "slope"), 1.0)
    entry = {"file": "0/grey.png", "sha256": "0" * 64, "start": "grey", "flags": [], "best_natural": None}
    units = {"0": [entry | {"times_natural": None} | numbers]}
    picture(folder / "renders" / "m" / "l" / "0" / "grey.png")
    content = {"format": 1, "model": "m", "layer": "l", "units": units}
    (folder / "renders" / "m" / "l" / "manifest.json").write_text(json.dumps(content))


KINDS = {
    make_images: "my data/photos: images, 3 images in 2 subfolders, each a concept",
    make_image_table: "my data/images.csv: image table, 2 images of 2 concepts, 2 levels",
    make_store: "my data/acts.zarr: activation store, m, layer4 (4 units): 6 images of 3 concepts",
    make_unfinished_store: "my data/half.zarr: unfinished activation store, m, layer4 (4 units): 20 images of 3 concepts, 4 still to be computed",
    make_table: "my data/ratings.csv: experiment table, 2 images of 2 concepts, level 5, activations of 1 unit, 3 ratings of 2 participants",
    make_map: "my data/map.json: neuron map, 2 neurons, 3 concepts",
    make_effects: "my data/effects.parquet: measured effects, 1 unit on 1 image",
    make_results: "my data/results.csv: results, 1 neuron, ranked",
    make_renders: "my data/renders/m/l: renders, m, l: 1 image of 1 unit",
}  # fmt: skip


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_every_kind_is_known(checked, make):
    make(Path("my data"))
    code, out, err = checked()
    assert (code, err) == (0, "")
    assert f"  {KINDS[make]}\n      next: " in out


def commands_in(out):
    return [shlex.split(line.partition("next: ")[2]) for line in out.splitlines() if "next: interpscore " in line]


def is_understood(arguments):
    """Whether the command line takes these arguments: the command is there, and so is every option."""
    command = typer.main.get_command(app)
    context = typer.Context(command)
    while arguments and (below := getattr(command, "get_command", lambda *_: None)(context, arguments[0])):
        command, arguments = below, arguments[1:]
    command.make_context(command.name, arguments)
    return True


def test_every_command_that_is_named_exists_and_takes_its_options(checked):
    names = set()
    for make in (lambda folder: None, *KINDS):
        make(Path("my data"))
        _, out, _ = checked()
        for program, *arguments in commands_in(out):
            assert program == "interpscore"
            assert is_understood(arguments)
            names.add(arguments[0])
    assert names == {"extract", "table", "score", "causality", "stimuli", "dream", "top", "label"}
    assert names <= {name for name, _, _ in registered(ENTRY_POINT_GROUP, "command")}


# What it is good for --------------------------------------------------------------------------------------------------

FOLDER = Path("d")


def item(name, *offers):
    return Item(FOLDER / name, "", "", frozenset(offers), {"model": "m", "layer": "l"} if "store" in offers else {})


PHOTOS, ACTS, MAP = item("photos", "images", "concepts"), item("acts.zarr", "store"), item("map.json", "map")
BARE, FULL = (
    item("t.csv", "table", "concepts"),
    item("t.csv", "table", "units", "concepts", "levels", "ratings", "effects"),
)
SCORED = "interpscore score d/t.csv d/map.json d/results.csv"


@pytest.mark.parametrize(
    ("items", "name", "missing", "step"),
    [
        ([], "S", "images with concepts, or an experiment table", "see `interpscore extract --help`"),
        ([item("photos", "images")], "S", "concepts of the images", "put them into a subfolder for each concept"),
        ([PHOTOS], "S", "activations of the images", "interpscore extract d/photos --model MODEL --layer LAYER -o d/photos.zarr"),
        ([PHOTOS, ACTS], "S", "an experiment table", "interpscore table --images d/photos --store d/acts.zarr -o d/table.csv"),
        ([BARE, ACTS], "S", "a neuron map", "write which unit stands for which concept to d/neuron_map.json"),
        ([BARE, ACTS, MAP], "S", "", f"{SCORED} --store d/acts.zarr"),
        ([item("t.csv", "table", "units"), MAP], "S", "images of several concepts", "add images of other concepts"),
        ([FULL, MAP], "S", "", SCORED),
        ([FULL, MAP, ACTS], "S", "", SCORED),
        ([PHOTOS, ACTS], "C", "measured effects", "interpscore causality d/photos --model m --layer l -o d/effects.parquet"),
        ([BARE, ACTS, MAP, item("e.parquet", "effects")], "C", "", f"{SCORED} --store d/acts.zarr --causality d/e.parquet"),
        ([FULL, MAP], "C", "", SCORED),
        ([item("e.parquet", "effects"), PHOTOS], "C", "activations of the images", "interpscore extract"),
        ([PHOTOS], "R", "perturbed images, and ratings", "interpscore stimuli build d/photos --protocol noise -o d/stimuli"),
        ([item("images.csv", "images", "levels")], "R", "ratings", "write a row for each rating"),
        ([FULL, MAP], "R", "", SCORED),
        ([BARE, ACTS, MAP], "H", "ratings", "write a row for each rating"),
        ([FULL], "H", "a neuron map", "write which unit"),
        ([FULL, MAP], "H", "", SCORED),
        ([PHOTOS], "labels", "activations of the images", "interpscore extract"),
        ([ACTS], "labels", "images with concepts", "see `interpscore extract --help`"),
        ([item("photos", "images"), ACTS], "labels", "concepts of the images", "put them into a subfolder for each concept"),
        ([PHOTOS, ACTS], "labels", "", "interpscore label d/acts.zarr --concepts d/photos -o d/labels.parquet --map-out d/map.json"),
        ([ACTS], "renders", "a network and a layer", "interpscore dream --model m --layer l --units 0:8 -o d/renders"),
        ([item("renders/m/l", "renders")], "renders", "", "interpscore dream check d/renders/m/l"),
    ],
)  # fmt: skip
def test_what_is_missing_and_what_to_type(items, name, missing, step):
    (use,) = [use for use in uses(Data(items, FOLDER)) if use.name.split()[0] == name]
    assert use.missing == missing
    assert use.step.startswith(step)


def test_paths_are_quoted_for_a_shell():
    hostile = Item(Path("d/$(rm -rf ~)'"), "", "", frozenset({"images"}))
    assert shlex.split(next_step(hostile, Data([hostile], Path("d"))))[2] == "d/$(rm -rf ~)'"


# Broken and hostile ---------------------------------------------------------------------------------------------------


def test_broken_things_are_a_line_each_and_the_others_are_found(checked):
    folder = Path("my data")
    make_images(folder)
    make_map(folder)
    (folder / "photos" / "wet" / "1.png").write_bytes(b"\x89PNG")
    (folder / "wrong.json").write_text("{")
    (folder / "bad.csv").write_text('ground_truth,level,soft_correct\nfire,five,1\nfire,"5,1\n')
    (folder / "bad.zarr").mkdir()
    (folder / "bad.zarr" / "provenance.json").write_text("{}")
    (folder / "bad.zarr" / "more").mkdir()
    (folder / "bad.zarr" / "more" / "x.json").write_text("{")  # of the store
    (folder / "renders").mkdir()
    (folder / "renders" / "manifest.json").write_text("[]")
    code, out, err = checked()
    assert code == 1
    assert out.startswith("my data: 2 things that InterpScore reads, 5 that cannot be read\n")
    assert sorted(re.findall(r"^cannot be read: my data/([\w./]+)", err, re.MULTILINE)) == [
        "bad.csv", "bad.zarr/provenance.json", "photos/wet/1.png", "renders/manifest.json", "wrong.json",
    ]  # fmt: skip
    assert err.count("\n") == 5


def table_bytes():
    return pd.DataFrame(TABLE).to_csv(index=False).encode()


@pytest.mark.parametrize(
    ("name", "contents_of"),
    [
        ("x.json", JSON),
        ("x.csv", harmed(table_bytes())),
        ("x.parquet", {"text": b"hello", "noise": bytes(range(256)) * 4, "start": b"PAR1" + bytes(9), "empty": b""}),
        ("x.xlsx", {"text": b"hello", "zip": b"PK\3\4" + bytes(60), "empty": b""}),
        ("x.png", {"text": b"hello", "empty": b"", "start": b"\x89PNG\r\n\x1a\n" + bytes(20)}),
        ("provenance.json", {"a list": "[1]", "none of ours": "{}", "deep": "[" * 3000}),
        ("manifest.json", {"a list": "[1]", "none of ours": "{}", "deep": '{"a":' * 3000}),
    ],
)
def test_a_hostile_file_ends_nothing(checked, name, contents_of):
    for i, content in enumerate(contents_of.values()):
        place = Path("my data", str(i))
        place.mkdir()
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    make_map(Path("my data"))
    code, out, err = checked()
    assert code in (0, 1)
    assert "my data/map.json: neuron map" in out
    assert all(line.startswith("cannot be read: ") and len(line) < 1000 for line in err.splitlines())


def test_hostile_names_are_shown_escaped(checked):
    for name in map(os.fsencode, ON_DISK):
        place = os.fsencode("my data/") + name
        os.makedirs(place + b".d")
        with open(place + b".csv", "wb") as file:
            file.write(b"image\n")
        with open(place + b".d/" + name + b".png", "wb") as file:
            file.write(b"")
    (Path("my data") / os.fsdecode(NOT_TEXT)).mkdir()
    columns = {name: [1] for name in NAMES}
    pd.DataFrame(columns).to_csv("my data/columns.csv", index=False, errors="replace")
    code, _, _ = checked()
    assert code == 1


def test_links_and_pipes_are_not_followed(checked, tmp_path):
    make_images(tmp_path)
    (tmp_path / "secret.json").write_text('{"0": "secret"}')
    folder = Path("my data")
    (folder / "link").symlink_to(tmp_path / "photos")
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.csv")
    make_map(folder)
    code, out, err = checked()
    assert (code, err) == (0, "")
    assert out.startswith("my data: 1 thing that")
    assert "note: not followed: 3 links" in out


def test_large_folders_and_files_are_only_begun(checked, monkeypatch):
    folder = Path("my data")
    for i in range(6):
        (folder / f"{i}.json").write_text('{"0": "fire"}')
    monkeypatch.setattr(contents, "MOST_FILES", 4)
    assert "note: not opened: 2 more tables and JSON files" in checked()[1]
    with open(folder / "0.json", "ab") as file:
        file.truncate(10**9)
    assert "note: my data/0.json: not opened here, as it has 1,000 MB" in checked()[1]
    monkeypatch.setattr(contents, "MOST_ENTRIES", 3)
    assert "note: only the first 3 files were looked at" in checked()[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "none: no such folder; expected a folder of data"),
        ("file", "file: is no folder; expected a folder of data"),
        ("long" * 100, "longlong: File name too long"),
    ],
)
def test_what_is_no_folder_is_one_line(checked, name, said):
    Path("file").write_text("hello")
    code, out, err = checked(name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


ANOTHER_KIND = '''
from InterpScore.journey.kinds import Item

def notes(folder, names):
    """A folder of notes."""
    return Item(folder, "notes", f"{len(names)} files", frozenset()) if "notes.txt" in names else None
'''


def test_another_package_adds_a_kind(checked, tmp_path):
    Path("my data/notes.txt").write_text("hello")
    with installed(tmp_path / "site", "kind_of_notes", ANOTHER_KIND, GROUP, "notes", "kind_of_notes:notes"):
        assert "my data: notes, 1 files\n      next: nothing: no command reads it" in checked()[1]
