"""Guards the build of a bundle: pictures, resuming, what is absent, several layers, names from outside, refusals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.run_folder import RunFolder
from Microscope.bundle.asked import identity_of
from Microscope.bundle.format import Layer, Similar, Unit
from Microscope.bundle.layers import source_layers
from Microscope.bundle.options import Files, Options
from tests.hostile import NAMES, ON_DISK, is_safe_part
from tests.Microscope.small_bundles import (
    OPTIONS,
    Home,
    activations,
    build,
    draw,
    files_of,
    read,
    small_home,
    write_store,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return small_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def undisturbed(home, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "b"
    return out, build(home, out)


# Pictures


def test_tiles_are_the_pictures_that_they_are_said_to_be(home, undisturbed):
    made = read(undisturbed[0])
    for unit in (0, 17):
        found = made.unit(unit)
        tiles = [*found.top, *(tile for stratum in found.strata for tile in stratum.tiles)]
        assert sorted({tile.tile for tile in tiles}) == list(range(found.tiles))
        assert made.layer.sprite.first < found.tiles == len({tile.image for tile in tiles})
        for tile in tiles:
            expected = np.asarray(Image.open(home.photos / tile.image))[0, 0].astype(int)
            assert np.abs(made.tile(unit, tile.tile).reshape(-1, 3).mean(0) - expected).max() < 12  # WebP is lossy
        thumb = np.asarray(Image.open(made.folder / made.index.thumb_file[unit]).convert("RGB"))
        assert np.abs(thumb.mean((0, 1)) - made.tile(unit, 0).mean((0, 1))).max() < 12


def test_rights_travel_from_the_image_table_to_every_tile(undisturbed):
    made = read(undisturbed[0])
    assert {(one.source, one.licence, one.images) for one in made.layer.rights} == {
        ("us", "CC0", 45),
        ("us", "CC BY", 45),
    }
    for tile in made.unit(9).top:
        row = int(tile.image.rpartition("/")[2].removesuffix(".png"))
        assert made.layer.rights[tile.rights].licence == ["CC0", "CC BY"][row % 2]


def test_pictures_that_are_gone_or_others_are_listed_and_absent(home, tmp_path):
    photos = shutil.copytree(home.photos, tmp_path / "photos")
    best = np.argsort(-np.nan_to_num(home.a_NU[:, 0], nan=-9), kind="stable")[:3]
    gone, other, moved = (f"concept {row % 3}/{row}.png" for row in best)
    (photos / gone).unlink()
    Image.new("RGB", (20, 20)).save(photos / other)
    (photos / "elsewhere").mkdir()
    (photos / moved).rename(photos / "elsewhere" / Path(moved).name)
    report = build(replace(home, photos=photos), tmp_path / "b")
    assert sorted(report.not_found) == sorted([gone, other])
    made = read(tmp_path / "b")
    assert [tile.tile for tile in made.unit(0).top[:3]] == [None, None, 0]
    assert any("2 of 88 pictures were not found" in line for line in made.layer.limits)


# What is absent


def test_a_store_alone_makes_a_bundle_in_which_all_else_is_absent_with_a_reason(home, tmp_path):
    build(home, tmp_path / "b", Files())
    made = read(tmp_path / "b")
    found, said = made.unit(0), made.layer.not_measured
    assert found.label is None
    assert found.scores == {}
    assert found.dose is None
    assert found.clusters is None
    assert (found.similar.weights, found.similar.effect) == (None, None)
    assert all(tile.tile is None for tile in found.top)
    assert set(made.index.sprite_file) == set(made.index.rest_file) == set(made.index.thumb_file) == {None}
    expected = {"tiles", "label", "scores", "profile", "dose", "renders", "published", "clusters", "words", "weights", "effect", "heat", "polysemy", "redundancy"}  # fmt: skip
    assert set(said) == expected
    assert all(said.values())
    fields = {*Unit.model_fields, *Similar.model_fields, *Layer.model_fields, *made.layer.columns, "tiles", "heat", "profile", "published", "words", "polysemy", "redundancy"}  # fmt: skip
    assert set(said) <= fields
    assert made.concepts.words is None


def test_images_without_concepts_are_said_to_have_none(tmp_path):
    names = [f"{i}.png" for i in range(20)]
    store = write_store(tmp_path / "a.zarr", {"x": activations(20)}, names, draw(tmp_path / "p", names))
    build(None, tmp_path / "b", Files(), stores=[store])
    made = read(tmp_path / "b")
    assert made.layer.concepts is None
    assert "no column 'concept'" in made.layer.not_measured["concepts"]


def flat_home(folder):
    """A store of pictures whose table has names alone, and an image table that says more of most of them."""
    names = [f"{i}.png" for i in range(12)]
    contents = draw(folder / "photos", names)
    a_NU = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    store = write_store(folder / "a.zarr", {"layer4": a_NU}, names, contents)
    table = pd.DataFrame(
        {"image": [f"photos/{name}" for name in names[:10]], "concept": ["cat", "dog"] * 5, "licence": "CC0"}
    )
    table.to_csv(folder / "images.csv", index=False)
    return Home(folder / "photos", store, a_NU, []), table


def test_concepts_and_rights_that_the_store_lacks_are_those_of_the_image_tables(tmp_path):
    home, table = flat_home(tmp_path)
    draw(tmp_path / "photos", ["3.png"])  # now another picture
    build(home, tmp_path / "b", Files(images=[str(tmp_path / "images.csv")]))
    made = read(tmp_path / "b")
    said = {tile.image: (tile.concept, tile.rights) for u in range(3) for tile in made.unit(u).top}
    assert len(said) > 8
    for image, found in said.items():
        i = int(image.removesuffix(".png"))
        assert found == ((None, None) if i in (3, 10, 11) else (table["concept"][i], 0))
    assert {one.name: one.images for one in made.concepts.concepts} == {"cat": 5, "dog": 4}
    assert [(one.licence, one.images) for one in made.layer.rights] == [("CC0", 9)]


def test_an_image_with_two_concepts_in_the_image_tables_is_refused(tmp_path):
    home, table = flat_home(tmp_path)
    pd.concat([table, table.iloc[:1].assign(concept="dog")]).to_csv(tmp_path / "images.csv", index=False)
    with pytest.raises(InputError, match=r"0\.png' has more than one concept"):
        build(home, tmp_path / "b", Files(images=[str(tmp_path / "images.csv")]))


def test_weights_and_layers_are_part_of_what_was_asked_for(tmp_path):
    home, _ = flat_home(tmp_path)
    (tmp_path / "w.pt").write_bytes(b"weights")
    layers = source_layers([home.store], [])

    def asked(**files):
        return identity_of(layers, Files(model="m", **files), Options(), None)

    assert len({str(asked(weights=weights)) for weights in (None, "random", str(tmp_path / "w.pt"))}) == 3
    assert str(tmp_path) not in str(asked(weights=str(tmp_path / "w.pt")))
    assert [one["layer"] for one in asked()["layers"]] == ["layer4"]


def test_one_unit_and_fewer_images_than_strata_are_shown(tmp_path):
    names = ["a.png", "b.png"]
    store = write_store(
        tmp_path / "a.zarr", {"x": np.array([[1.0], [2.0]], np.float32)}, names, draw(tmp_path / "p", names)
    )
    build(None, tmp_path / "b", Files(images=[str(tmp_path / "p")]), stores=[store])
    made = read(tmp_path / "b")
    found = made.unit(0)
    assert [tile.image for tile in found.top] == ["b.png", "a.png"]
    assert [[tile.image for tile in stratum.tiles] for stratum in found.strata] == [["a.png"], ["b.png"]]
    assert made.numbers.map is None
    assert made.layer.nulls == {}


# Resuming


def test_the_same_arguments_make_the_same_bytes_in_any_number_of_processes(home, undisturbed, tmp_path):
    from Microscope.bundle.build import build_bundle

    build_bundle([home.store], tmp_path / "b", Files(images=[str(home.photos)]), OPTIONS, processes=2)
    assert files_of(tmp_path / "b") == files_of(undisturbed[0])


class StoppedError(Exception):
    """Ends a run in the middle."""


slow = pytest.mark.slow


@pytest.mark.parametrize("parts", [1, *(pytest.param(parts, marks=slow) for parts in (2, 3, 5)), 4, 6])
def test_a_build_that_ends_after_any_part_resumes_to_the_same_bytes(home, undisturbed, tmp_path, monkeypatch, parts):
    kept, keep = [], RunFolder.keep

    def some(self, part, contents, **more):
        if len(kept) == parts:
            raise StoppedError
        keep(self, part, contents, **more)
        kept.append(part)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "keep", some)
        with pytest.raises(StoppedError):
            build(home, tmp_path / "b")
    again = []
    monkeypatch.setattr(RunFolder, "keep", lambda self, part, contents, **more: (again.append(part), keep(self, part, contents, **more)))  # fmt: skip
    build(home, tmp_path / "b")
    assert not {*kept} & {*again}
    assert files_of(tmp_path / "b") == files_of(undisturbed[0])


def test_a_complete_build_is_left_as_it_is_and_damage_is_mended(home, undisturbed, tmp_path):
    out = shutil.copytree(undisturbed[0], tmp_path / "b")
    assert build(home, out).units == 0
    made = read(out)
    (made.folder / made.index.sprite_file[1]).write_bytes(b"")
    assert build(home, out).units == 32
    assert files_of(out) == files_of(undisturbed[0])
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == {".identity.json", ".lock", ".records"}


@pytest.mark.slow
def test_a_killed_build_resumes_to_the_same_bytes_and_leaves_no_process(home, undisturbed, tmp_path):
    code = f"""
from tests.Microscope.small_bundles import OPTIONS
from Microscope.bundle.build import build_bundle
from Microscope.bundle.options import Files
if __name__ == "__main__":
    build_bundle([{str(home.store)!r}], {str(tmp_path / "b")!r}, Files(images=[{str(home.photos)!r}]), OPTIONS, processes=2)
"""
    script = tmp_path / "killed.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for seconds in (2.0, 3.5, 5.0):
        running = subprocess.Popen([sys.executable, script], env=environment, start_new_session=True)
        time.sleep(seconds)
        running.send_signal(signal.SIGKILL)
        running.wait()
        time.sleep(1)
        with pytest.raises(ProcessLookupError):
            os.killpg(running.pid, 0)
    build(home, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(undisturbed[0])


# Refusals


def test_another_bundle_is_refused_and_left_as_it_is(home, undisturbed):
    before = files_of(undisturbed[0])
    with pytest.raises(InputError, match=r"options\.seed 0; asked for '1'|options\.seed '0'; asked for '1'"):
        build(home, undisturbed[0], options=replace(OPTIONS, seed=1))
    assert files_of(undisturbed[0]) == before


def test_a_folder_of_other_files_is_refused(home, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="has other files in it; expected a new or empty folder"):
        build(home, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top": 9}, "--top: found 9; .* keeps 8 images for each unit"),
        ({"top": 0}, "--top: found 0; expected 1 to 200"),
        ({"tile": 4000}, "--tile: found 4000; expected 16 to 512"),
        ({"strata": 50, "per_stratum": 50}, "pictures a unit; expected up to 400"),
        ({"layers": ["layer9"]}, "layer9"),
        ({"template": "a photo"}, "--template: found 'a photo'"),
    ],
)
def test_what_cannot_be_shown_is_refused(home, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        build(home, tmp_path / "b", options=Options(**({"top": 6, "tile": 16} | options)))
    assert not (tmp_path / "b").exists()


def test_an_unfinished_store_is_refused(home, tmp_path):
    store = shutil.copytree(home.store, tmp_path / "a.zarr")
    (store / "complete.json").unlink()
    with pytest.raises(InputError, match=r"unfinished|not complete|incomplete"):
        build(home, tmp_path / "b", stores=[store])


# Several layers, names from outside


@pytest.mark.slow
def test_layers_of_several_stores_have_keys_of_their_own_and_share_pictures(home, tmp_path):
    names = [f"{concept}/{i}.png" for i, concept in enumerate(home.concepts)]
    contents = [(home.photos / name).read_bytes() for name in names]
    layers = {"layer4": activations(seed=1), "a/b": activations(seed=2)[:, :3], "A-B": activations(seed=3)[:, :2]}
    second = write_store(tmp_path / "b.zarr", layers, names, contents, identity={"model": "n"})
    build(home, tmp_path / "b", stores=[home.store, second])
    bundle = json.loads((tmp_path / "b" / "bundle.json").read_bytes())
    keys = [one["key"] for one in bundle["layers"]]
    assert len({key.casefold() for key in keys}) == 4
    assert all(map(is_safe_part, keys))
    assert [(one["model"], one["layer"], one["units"]) for one in bundle["layers"]] == [("m", "layer4", 40), ("n", "layer4", 40), ("n", "a/b", 3), ("n", "A-B", 2)]  # fmt: skip
    for key in keys:
        made = read(tmp_path / "b", key)
        assert made.layer.key == key
        assert all(tile.tile is not None for tile in made.unit(0).top)
        assert (tmp_path / "b" / key / made.index.unit_file[0]).is_file()


def test_names_from_outside_stay_what_they_are_and_name_no_file(tmp_path):
    names = [f"{name}.png" for name in ON_DISK]
    contents = draw(tmp_path / "photos", names)
    concepts = [NAMES[i % len(NAMES)] for i in range(len(names))]
    layer = "../../x\x1b[2J<b>"
    store = write_store(tmp_path / "a.zarr", {layer: activations(len(names))}, names, contents, concept=concepts, source=concepts)  # fmt: skip
    build(None, tmp_path / "b", Files(images=[str(tmp_path / "photos")]), stores=[store])
    made = read(tmp_path / "b")
    assert made.layer.layer == layer
    assert {one.name for one in made.concepts.concepts} == {name for name in concepts if name}
    for path in files_of(tmp_path / "b"):
        assert all(map(is_safe_part, path.split("/"))), path
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "a.zarr", "b"}


def test_no_folder_of_this_machine_is_in_a_bundle(home, tmp_path):
    names = [str(home.photos / f"concept {i % 3}" / f"{i}.png") for i in range(90)]
    store = write_store(
        tmp_path / "abs.zarr", {"layer4": activations()}, names, [Path(name).read_bytes() for name in names]
    )
    build(home, tmp_path / "b", stores=[store])
    assert read(tmp_path / "b").unit(0).top[0].tile == 0
    everything = b"".join([*files_of(tmp_path / "b").values(), (tmp_path / "b" / ".identity.json").read_bytes()])
    assert str(tmp_path).encode() not in everything
    assert str(home.photos).encode() not in everything
