"""Guards every reader against what is no file (a pipe would hang) and against links in folders that may be downloaded."""

import json
import os
import shutil
import socket
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, InterpScoreError, OutputError
from Activation_Extraction.base.files import NotAFileError, check_writable, open_file, sha256_of, write_together
from Activation_Extraction.base.run_folder import RunFolder
from Activation_Extraction.images.places import FilePart, bytes_of
from Activation_Extraction.images.reading import png_bytes, read_image
from Activation_Extraction.images.sets import image_set
from Activation_Extraction.models.frozen_graph.graph_def import read_graph_def
from Activation_Extraction.models.tokenizer import read_merges
from Activation_Extraction.models.units import Unit
from Activation_Extraction.models.weights.cache import read_state_dict
from Activation_Extraction.store.check import verify
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.tables.files import read_table as read_experiment
from DeepDream_Setup.manifest import Picture, Renders, read_manifest
from DeepDream_Setup.recipes import read_recipe
from Human_Experiment_Setup.stimuli.inputs import render_sources
from Human_Experiment_Setup.stimuli.manifest import COLUMNS, check_stimuli, read_table, table_as_bytes
from Human_Experiment_Setup.stimuli.protocol import read_protocol
from InterpScore.tables.effects import FORMAT, read_effects
from InterpScore.tables.neuron_map import read_neuron_map
from tests.Activation_Extraction import small_stores

pytestmark = pytest.mark.timeout(60)
ENTRY = {"start": "grey", "best_natural": None, "times_natural": None, "flags": []} | dict.fromkeys(
    ("activation", "jittered", "contrast", "saturation", "slope"), 1.0
)
PIXELS = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)


# What is no file ------------------------------------------------------------------------------------------------------

READERS = {
    "table.csv": lambda path: read_experiment(path, bool, bool),
    "table.parquet": lambda path: read_experiment(path, bool, bool),
    "effects.parquet": read_effects,
    "map.json": lambda path: read_neuron_map(path),
    "images.csv": image_set,
    "images.parquet": image_set,
    "shard.tar": image_set,
    "image.png": read_image,
    "recipe.yaml": lambda path: read_recipe(str(path)),
    "protocol.yaml": read_protocol,
    "net.safetensors": read_state_dict,
    "graph.pb": read_graph_def,
    "vocabulary.txt": read_merges,
    "manifest.json": read_manifest,
    "record.json": read_json,
}


def pipe(path):
    os.mkfifo(path)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as made, suppress(OSError):
        os.chdir(path.parent)  # a socket's path is short
        made.bind(path.name)


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("plant", [pipe, a_socket, device, os.mkdir])
def test_what_is_no_file_is_refused_and_nothing_waits_for_it(tmp_path, monkeypatch, reader, plant):
    monkeypatch.chdir(tmp_path)
    plant(tmp_path / reader)
    with pytest.raises(InputError) as refused:
        READERS[reader](tmp_path / reader)
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize("plant", [pipe, device, os.mkdir])
def test_what_is_no_file_is_not_written_over(tmp_path, plant):
    plant(tmp_path / "results.csv")
    before = os.lstat(tmp_path / "results.csv")
    for write in (check_writable, lambda path: write_together({path: "x"})):
        with pytest.raises(OutputError, match="expected the name of a file to write"):
            write(tmp_path / "results.csv")
    assert os.lstat(tmp_path / "results.csv").st_ino == before.st_ino


def test_a_link_that_a_user_names_is_followed(tmp_path):
    (tmp_path / "a.json").write_text('{"1": "fire"}')
    (tmp_path / "link.json").symlink_to("a.json")
    assert read_json(tmp_path / "link.json") == {"1": "fire"}
    assert sha256_of(tmp_path / "link.json") == sha256_of(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("link", "link is a link"), ("linked/file", "linked is a link"), ("../outside", "outside the folder"),
        ("/etc/passwd", "outside the folder"), ("sub/../../outside", "outside the folder"), ("sub", "is a folder"),
        ("nul\0byte", "zero byte"),
    ],
)  # fmt: skip
def test_files_of_a_folder_are_read_in_it_alone(tmp_path, name, reason):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "sub" / "file").write_text("theirs")
    with pytest.raises(NotAFileError, match=reason):
        open_file(folder / name, folder)
    with open_file(folder / "sub" / "file", folder) as file:
        assert file.read() == b"theirs"


# Links in folders of ours ---------------------------------------------------------------------------------------------


def replaced_by_link(path, outside):
    """Move what is at a path to a folder outside, and leave a link to it there."""
    outside.mkdir()
    shutil.move(path, outside / path.name)
    path.symlink_to(outside / path.name)


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "a.zarr"
    small_stores.write(path, small_stores.activations(20, {"layer4": (4,)}))
    return path


def read_whole_store(path):
    store = ActivationStore.open(path)
    return store.images, store.unit("layer4", 0), store.rows("layer4", [0]), store.statistics("layer4"), store.made_with


@pytest.mark.parametrize(
    "name",
    [
        "provenance.json", "images.parquet", "manifest", "manifest/000000.json", "layer4", "layer4/activation",
        "layer4/activation/c/0/0", "layer4/mean/c/0", "layer4/zarr.json",
    ],
)  # fmt: skip
def test_links_in_a_store_are_not_followed(tmp_path, whole_store, name):
    store = tmp_path / "a.zarr"
    shutil.copytree(whole_store, store)
    read_whole_store(store)
    replaced_by_link(store / name, tmp_path / "outside")
    with pytest.raises(InputError, match="is a link, which is not followed"):
        read_whole_store(store)
    with suppress(InputError):
        assert verify(store)
    with pytest.raises(InterpScoreError, match="is a link, which is not followed"):
        small_stores.write(store, small_stores.activations(20, {"layer4": (4,)}))


@pytest.mark.parametrize("name", ["provenance.json", "images.parquet", "layer4/activation/c/0/0"])
def test_pipes_in_a_store_are_refused(tmp_path, whole_store, name):
    store = tmp_path / "a.zarr"
    shutil.copytree(whole_store, store)
    (store / name).unlink()
    os.mkfifo(store / name)
    with pytest.raises(InputError, match="is a pipe, socket or device"):
        read_whole_store(store)


def test_effects_whose_json_is_a_link_are_refused(tmp_path):
    pd.DataFrame({"image_filename": ["a"], "ablation_effect_1": [0.5]}).to_parquet(tmp_path / "e.parquet")
    about = {
        "format": FORMAT,
        "layer": "l",
        "layer_aliases": [],
        "model": "m",
        "method": "m",
        "units": "all",
        "interventions": [],
        "sha256": sha256_of(tmp_path / "e.parquet"),
    }
    (tmp_path / "e.json").write_text(json.dumps(about))
    assert read_effects(tmp_path / "e.parquet")[0].about["layer"] == "l"
    replaced_by_link(tmp_path / "e.json", tmp_path / "outside")
    with pytest.raises(InputError, match="is a link, which is not followed"):
        read_effects(tmp_path / "e.parquet")


def rendered(root):
    with Renders(root, {"model": "m", "layer": "l"}, {}) as renders:
        for unit in (Unit((0,)), Unit((1,))):
            if renders.missing([unit]):
                renders.add(unit, [Picture("grey", PIXELS, ENTRY)])
    return root / "m" / "l"


@pytest.mark.parametrize("name", ["0/grey.png", "0", "manifest.json"])
def test_links_in_renders_are_neither_shown_nor_written_through(tmp_path, name):
    folder = rendered(tmp_path / "renders")
    assert len(render_sources(tmp_path / "renders", ["m/l"], {"fire": 0}, None)[0]) == 1
    replaced_by_link(folder / name, tmp_path / "outside")
    with pytest.raises(InputError, match="is a link, which is not followed"):
        render_sources(tmp_path / "renders", ["m/l"], {"fire": 0}, None)
    with pytest.raises(OutputError, match="is a link, which is not followed"):
        rendered(tmp_path / "renders")


@pytest.mark.parametrize("part", ["m", "m/l"])
def test_renders_are_not_written_through_the_folder_of_a_model(tmp_path, part):
    rendered(tmp_path / "renders")
    replaced_by_link(tmp_path / "renders" / part, tmp_path / "outside")
    before = sorted((tmp_path / "outside").rglob("*"))
    with pytest.raises(OutputError, match="is a link, which is not followed"):
        rendered(tmp_path / "renders")
    assert sorted((tmp_path / "outside").rglob("*")) == before


@pytest.mark.parametrize("name", [".lock", "part", ".records", ".records/a.json"])
def test_a_job_does_not_write_through_links(tmp_path, name):
    job = tmp_path / "job"
    with RunFolder(job, {}) as folder:
        folder.keep("a", {"part/a": b"a"})
    (job / ".lock").touch()
    replaced_by_link(job / name, tmp_path / "outside")
    with pytest.raises(OutputError, match="is a link, which is not followed"), RunFolder(job, {}):
        pass


@pytest.fixture
def study(tmp_path):
    """A study of one picture."""
    folder = tmp_path / "study"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "a.png").write_bytes(png_bytes(PIXELS))
    row = dict.fromkeys(COLUMNS, "") | {"image": "pictures/a.png", "sha256": sha256_of(folder / "pictures" / "a.png")}
    (folder / "images.csv").write_bytes(table_as_bytes([row]))
    assert check_stimuli(folder) == []
    return folder


@pytest.mark.parametrize("name", ["pictures/a.png", "pictures"])
def test_links_in_a_study_are_problems(study, tmp_path, name):
    replaced_by_link(study / name, tmp_path / "outside")
    assert "is a link, which is not followed" in check_stimuli(study)[0]


def test_the_table_of_a_study_is_no_link(study, tmp_path):
    replaced_by_link(study / "images.csv", tmp_path / "outside")
    with pytest.raises(InputError, match="is a link, which is not followed"):
        read_table(study)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "pictures/../../outside.png"])
def test_a_study_does_not_tell_of_files_outside(study, tmp_path, name):
    (tmp_path / "outside.png").write_bytes(b"secret")
    rows = [{**row, "image": name} for row in read_table(study)]
    (study / "images.csv").write_bytes(table_as_bytes(rows))
    assert any("is outside the folder" in problem for problem in check_stimuli(study))
    assert not any("SHA-256" in problem for problem in check_stimuli(study))


# Large files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [FilePart, lambda path: FilePart(path, 512, 6 * 10**9)])
def test_an_image_of_gigabytes_is_refused_before_it_is_read(tmp_path, place):
    path = str(tmp_path / "sparse.png")
    with open(path, "wb") as file:
        file.truncate(7 * 10**9)
    with pytest.raises(InputError, match=r"is a file of [67],000,000,000 bytes; expected .* of at most 536,870,912"):
        bytes_of(place(path), "sparse.png")
