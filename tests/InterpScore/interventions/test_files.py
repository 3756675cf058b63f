"""Guards files of measured effects, and the command that writes them: whole or not there, and gone on with."""

import contextlib
import io
import json
from random import Random

import numpy as np
import pandas as pd
import pytest

from Activation_Extraction import load_model
from Activation_Extraction.base.commands import run
from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from InterpScore import InputError, OutputError
from InterpScore.cli.causality import causality_app
from InterpScore.interventions import files as causality_files
from InterpScore.interventions.files import measure_to_file
from InterpScore.interventions.layer import LayerInterventions
from InterpScore.interventions.measurement import Measurement, text_embeddings
from InterpScore.tables.effects import read_effects
from tests.InterpScore.conftest import Outcome
from tests.InterpScore.small_interventions import LAYER, SIDE, UNITS, small_model, small_network
from tests.power import Killed, power_lost_at

NAMES = [f"{i}.png" for i in range(10)]


@pytest.fixture(scope="module")
def layer():
    return LayerInterventions(small_model(), LAYER)


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in NAMES]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(causality_files, "IMAGES_A_PART", 3)


def written(folder):
    """Every file of a folder and its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_file_holds_what_is_measured_and_the_json_where_it_is_from(layer, images, tmp_path):
    report = measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer, ("ablation", "scale_0.5"))
    frame = pd.read_parquet(tmp_path / "effects.parquet")
    measured = list(Measurement(layer, images, ("ablation", "scale_0.5")).of(range(10)))
    assert frame["image_filename"].tolist() == NAMES
    for unit in range(UNITS):
        wanted = [one.effect_KU[1, unit] for one in measured]
        np.testing.assert_allclose(frame[f"scale_0.5_effect_{unit}"], wanted, rtol=1e-6)
    about = json.loads((tmp_path / "effects.json").read_text())
    assert about["sha256"] == sha256_of(tmp_path / "effects.parquet")
    assert (about["model"], about["layer"], about["units"], about["images"]) == ("small", LAYER, "all", 10)
    assert (report.images, report.computed, report.units) == (10, 10, UNITS)
    assert sorted(written(tmp_path)) == ["effects.json", "effects.parquet"]


@pytest.mark.parametrize("stopped_after", [1, 4])
def test_stopped_run_goes_on_and_ends_with_the_same_bytes(layer, images, tmp_path, stopped_after):
    kinds = ("ablation", "amplification", "mean_ablation")
    (tmp_path / "whole").mkdir()
    measure_to_file(tmp_path / "whole" / "effects.parquet", NAMES, images, layer, kinds)
    folder = tmp_path / "stopped"
    folder.mkdir()
    done = 0

    def stop(count):
        nonlocal done
        done += count
        if done == stopped_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_to_file(folder / "effects.parquet", NAMES, images, layer, kinds, progress=lambda done: stop)
    assert not (folder / "effects.parquet").exists()
    told = []
    report = measure_to_file(folder / "effects.parquet", NAMES, images, layer, kinds, progress=lambda d: told.append(d))
    assert told == [(stopped_after - 1) // 3 * 3]
    assert report.computed == 10 - told[0]
    assert written(folder) == written(tmp_path / "whole")


def test_run_that_is_complete_measures_nothing(layer, images, tmp_path):
    measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer)
    before = written(tmp_path)
    assert measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer).computed == 0
    assert written(tmp_path) == before


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 13])
def test_power_lost_at_an_operation_on_files_the_next_run_ends_with_the_same_bytes(layer, images, tmp_path, step):
    def measure(folder):
        folder.mkdir(exist_ok=True)
        measure_to_file(folder / "effects.parquet", NAMES[:4], images[:4], layer, ("ablation",))

    measure(tmp_path / "whole")
    for call in range(1, 400, step):
        folder = tmp_path / str(call)
        with power_lost_at(call, folder) as lost, contextlib.suppress(Killed):
            measure(folder)
        measure(folder)
        assert written(folder) == written(tmp_path / "whole"), call
        if not lost:
            break
    assert 20 < call < 399


def test_file_of_the_version_before_is_complete(layer, images, tmp_path):
    measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer)
    about = json.loads((tmp_path / "effects.json").read_text())
    del about["made_with"]
    (tmp_path / "effects.json").write_text(json.dumps({**about, "torch": "1.0", "interpscore": "0.0.9"}))
    assert measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer).computed == 0


def test_file_whose_model_was_described_among_its_own_names_is_complete(layer, images, tmp_path):
    measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer)
    about = json.loads((tmp_path / "effects.json").read_text())
    (tmp_path / "effects.json").write_text(json.dumps({**about.pop("provenance"), **about}))
    assert measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer).computed == 0


PROVENANCES = [
    {"format": "TensorFlow frozen graph", "embedding": "output"},
    {"version": "3", "layer": "last", "hash": "ab", "sha256": "cd"},
    {"units": "few", "interventions": "none", "images": "0", "images_sha256": "0"},
    {"model": "another", "method": "guessed", "layer_aliases": "x", "made_with": "hope"},
    {"path": "/there", "source": "elsewhere", "provenance": "unknown", "precision": "1 bit"},
]
"""What models say of their origin, in names that files use themselves."""


@pytest.mark.parametrize("provenance", PROVENANCES)
def test_what_a_model_says_of_its_origin_replaces_nothing_that_its_file_says(images, tmp_path, provenance):
    model = from_module(small_network(), ImageInput(SIDE), name="small", provenance=provenance)
    plain, theirs = tmp_path / "plain.parquet", tmp_path / "theirs.parquet"
    measure_to_file(plain, NAMES, images, LayerInterventions(small_model(), LAYER))
    measure_to_file(theirs, NAMES, images, LayerInterventions(model, LAYER))
    said, expected = (json.loads(path.with_suffix(".json").read_text()) for path in (theirs, plain))
    assert provenance.items() <= said.pop("provenance").items()
    del expected["provenance"]
    assert said == expected
    (effects,) = read_effects(theirs)
    assert (effects.layer_names[0], effects.about["units"]) == (LAYER, "all")  # so the scores get a percentile
    assert effects.signature()["source"] == str(theirs)
    assert measure_to_file(theirs, NAMES, images, LayerInterventions(model, LAYER)).computed == 0
    frame = pd.read_parquet(theirs)
    frame[[name for name in frame if "_effect_" in name]] *= 3
    frame.to_parquet(theirs)
    with pytest.raises(InputError, match=r"theirs\.json: was written with another theirs\.parquet"):
        read_effects(theirs)
    with pytest.raises(InputError, match="is there, and not from this command"):
        measure_to_file(theirs, NAMES, images, LayerInterventions(model, LAYER))


@pytest.mark.parametrize("provenance", PROVENANCES)
def test_hash_of_the_weights_is_compared_whatever_a_model_says_of_its_origin(images, tmp_path, provenance):
    provenance = {**provenance, "state_sha256": "the same"}
    for seed in (0, 1):
        model = from_module(small_network(seed), ImageInput(SIDE), name="small", provenance=provenance)
        layer = LayerInterventions(model, LAYER)
        if seed == 0:
            measure_to_file(tmp_path / "effects.parquet", NAMES[:3], images[:3], layer, ("ablation",))
    with pytest.raises(InputError, match=r"holds provenance\.state_sha256"):
        measure_to_file(tmp_path / "effects.parquet", NAMES[:3], images[:3], layer, ("ablation",))


@pytest.mark.parametrize("named", ["TensorFlow frozen graph", "InterpScore effects 0", None])
def test_effects_of_another_format_are_refused_as_nothing_in_them_could_be_checked(layer, images, tmp_path, named):
    measure_to_file(tmp_path / "effects.parquet", NAMES[:3], images[:3], layer)
    about = json.loads((tmp_path / "effects.json").read_text())
    (tmp_path / "effects.json").write_text(json.dumps({**about, "format": named}))
    with pytest.raises(InputError, match=r"effects\.json: format .*; expected 'InterpScore effects 1'"):
        read_effects(tmp_path / "effects.parquet")


def test_other_work_in_the_same_file_is_refused_and_the_file_is_left(layer, images, tmp_path):
    measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer)
    before = written(tmp_path)
    with pytest.raises(InputError) as caught:
        measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer, ("ablation",))
    assert "holds interventions ablation, amplification; asked for ablation" in str(caught.value)
    with pytest.raises(InputError, match="holds images_sha256"):
        measure_to_file(tmp_path / "effects.parquet", [*NAMES[:9], "x.png"], images, layer)
    assert written(tmp_path) == before


def test_file_of_somebody_else_is_not_overwritten(layer, images, tmp_path):
    (tmp_path / "effects.parquet").write_bytes(b"precious")
    with pytest.raises(InputError, match="is there, and not from this command; expected another name"):
        measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer)
    assert (tmp_path / "effects.parquet").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("effects.csv", InputError, "expected the name of a .parquet file to write"),
        ("nowhere/effects.parquet", OutputError, "does not exist; expected an existing folder"),
        ("folder.parquet", OutputError, "is a folder; expected the name of a file to write"),
    ],
)
def test_target_that_cannot_be_is_refused_before_anything_runs(layer, images, tmp_path, path, error, message):
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(error, match=message):
        measure_to_file(tmp_path / path, NAMES, images, layer)


def test_second_run_at_the_same_time_is_refused(layer, images, tmp_path):
    def again(done):
        with pytest.raises(OutputError, match="another run is writing it; expected one at a time"):
            measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer)
        return lambda count: None

    measure_to_file(tmp_path / "effects.parquet", NAMES, images, layer, progress=again)


def test_image_that_appears_twice_is_refused(layer, images, tmp_path):
    with pytest.raises(InputError, match=r"image '0.png' appears more than once"):
        measure_to_file(tmp_path / "effects.parquet", ["0.png", *NAMES[:9]], images, layer)


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with two pictures of each of three concepts, in folders of their names."""
    folder = tmp_path_factory.mktemp("drawn")
    for concept in ("fire", "star", "tree"):
        (folder / concept).mkdir()
        for k in range(2):
            draw_scene(Random(f"{concept}{k}"), [concept]).render(96).save(folder / concept / f"{concept}_{k}.png")
    return folder


def command(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        run(causality_app, [str(argument) for argument in arguments])
    return Outcome(stopped.value.code, out.getvalue(), err.getvalue())


@pytest.fixture
def measured(drawn, tmp_path):
    """Runs the command on clip-mini; gives the table, its origin and the outcome."""

    def measure(*options, code=0):
        outcome = command(drawn, "--model", "clip-mini", "-o", tmp_path / "effects.parquet", *options)
        assert (outcome.code, outcome.err) == (code, "") or code, outcome
        assert outcome.code == code, outcome
        about = json.loads((tmp_path / "effects.json").read_text())
        return pd.read_parquet(tmp_path / "effects.parquet").set_index("image_filename"), about, outcome

    return measure


@pytest.mark.slow
def test_command_measures_every_unit_of_the_layer_before_the_pool(measured, drawn):
    frame, about, outcome = measured()
    assert sorted(frame.index) == [f"{c}/{c}_{k}.png" for c in ("fire", "star", "tree") for k in range(2)]
    assert about["layer"] == "layer4"
    assert "6 images × 512 units of layer4 of clip-mini, ablation, amplification" in outcome.out
    model = load_model("clip-mini")
    text_E = text_embeddings(model, ["fire"])[0]["fire"]
    (one,) = Measurement(LayerInterventions(model, "block_4"), [drawn / "fire/fire_0.png"], texts_E=[text_E]).of([0])
    row = frame.loc["fire/fire_0.png"]
    np.testing.assert_allclose(row[[f"ablation_effect_{u}" for u in range(512)]].astype(float), one.effect_KU[0], rtol=1e-4, atol=1e-7)  # fmt: skip
    np.testing.assert_allclose(row[[f"toward_effect_{u}" for u in range(512)]].astype(float), one.toward_U, rtol=1e-3, atol=1e-7)  # fmt: skip


def test_layer_units_and_also_reach_the_file(measured):
    frame, about, _ = measured("--units", "layer3.1:3 7:9", "--also", "0.5, mean resample 2")
    kinds = ("ablation", "amplification", "scale_0.5", "mean_ablation", "resample_ablation")
    assert {name for name in frame if "effect" in name} == {f"{kind}_effect_{u}" for kind in (*kinds, "toward") for u in (3, 7, 8)}  # fmt: skip
    assert (about["layer"], about["units"]) == ("layer3.1", [3, 7, 8])
    assert frame[[f"{kind}_effect_3" for kind in kinds]].notna().all(axis=None)


def test_weights_are_those_asked_for(measured):
    assert measured("--weights", "random", "--units", "3")[1]["provenance"]["weights"] == "untrained, seed 0"


def test_table_chooses_images_and_says_what_is_not_there(measured, tmp_path):
    rows = [("fire_1.png", "Feuer", 5), ("star_0.png", "star", 4), ("tree_0.png", "tree", 5), ("gone.png", "tree", 5)]
    table = tmp_path / "data.csv"
    pd.DataFrame(rows, columns=["image_filename", "ground_truth", "level"]).to_csv(table, index=False)
    frame, _, outcome = measured("--table", table, "--units", "185", code=1)
    assert frame.index.tolist() == ["fire_1.png", "tree_0.png"]
    assert "missing: gone.png" in outcome.out
    assert "1 of 3 clean images of the table are missing" in outcome.out


def test_clean_level_is_that_of_the_table(measured, tmp_path):
    rows = [("fire_1.png", "fire", 5), ("star_0.png", "star", 4)]
    pd.DataFrame(rows, columns=["image_filename", "ground_truth", "level"]).to_csv(tmp_path / "data.csv", index=False)
    frame, _, _ = measured("--table", tmp_path / "data.csv", "--clean-level", "4", "--units", "1")
    assert frame.index.tolist() == ["star_0.png"]


def test_split_and_root_are_those_of_an_image_table(drawn, tmp_path):
    rows = [("fire_0.png", "a"), ("fire_1.png", "b")]
    pd.DataFrame(rows, columns=["image", "split"]).to_csv(tmp_path / "images.csv", index=False)
    done = command(tmp_path / "images.csv", "--images-root", drawn / "fire", "--split", "b", "--units", "1", "--model", "clip-mini", "-o", tmp_path / "e.parquet")  # fmt: skip
    assert done.code == 0, done
    assert pd.read_parquet(tmp_path / "e.parquet")["image_filename"].tolist() == ["fire_1.png"]


def test_picture_that_cannot_be_read_is_named_and_the_exit_code_is_1(drawn, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    done = command(drawn / "fire/fire_0.png", broken, "--units", "1", "--model", "clip-mini", "-o", tmp_path / "e.parquet")  # fmt: skip
    assert done.code == 1
    assert done.err.startswith("unreadable: ")
    assert "1 of 2 images could not be read" in done.out


def test_quiet_prints_nothing(measured):
    assert measured("--quiet", "--units", "1")[2].out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--units", "512"), "units: found 512; expected 0 to 511, the units of the layer"),
        (("--units", "5:5"), "units: found '5:5'; expected a range within 0:512"),
        (("--units", " "), "units: found ''; expected numbers, ranges"),
        (("--units", "5+9"), "units: found '5+9'; expected single units"),
        (
            ("--layer", "block_4", "--units", "layer3:5"),
            "units: found units of layer4 and of layer3; expected units of one layer",
        ),
        (("--also", "most"), "--also: found 'most'; expected factors such as 0.5, mean, resample"),
        (("--also", "nan"), "--also: found 'nan'; expected factors such as 0.5, mean, resample"),
        (("--layer", "block_9"), "no layer 'block_9'"),
        (("--device", "cuda:7"), "cuda:7"),
        (("--table", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_wrong_options_are_one_line_each(drawn, tmp_path, options, message):
    done = command(drawn, "--model", "clip-mini", "-o", tmp_path / "e.parquet", *options)
    assert done.code == 2
    assert len(done.errors) == 1
    assert message in done.errors[0]
    assert list(tmp_path.iterdir()) == []
