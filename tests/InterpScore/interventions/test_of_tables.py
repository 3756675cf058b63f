"""Guards C that is measured for an experiment table: which images and units, what is missing, and what scoring says."""

import json
import math
import shutil
import warnings
from random import Random

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from Activation_Extraction import extract_full_layer_activations, extract_layer_activations, load_model
from Activation_Extraction.base.commands import app, run
from Activation_Extraction.clip_helpers import prepare
from Activation_Extraction.models import registry
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from InterpScore import InputError, calculate_causality_score, run_interpretability_benchmark
from InterpScore.causality import test_neuron_intervention as intervene
from InterpScore.interventions.edits import ablate, amplify, replace, scale
from InterpScore.interventions.files import measure_to_file
from InterpScore.interventions.layer import LayerInterventions
from tests.InterpScore.small_interventions import LAYER, SIDE, UNITS, pictures, small_model

CONCEPTS = ("fire", "star", "tree")
MAP = {"185": "fire", "336": "star", "7": "tree"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three clean pictures of each concept and a perturbed one, in folders of their concepts."""
    folder = tmp_path_factory.mktemp("pictures")
    for concept in CONCEPTS:
        (folder / concept).mkdir()
        for k in range(4):
            draw_scene(Random(f"{concept}{k}"), [concept]).render(96).save(folder / concept / f"{concept}_{k}.png")
    return folder


@pytest.fixture(scope="module")
def table(folder):
    """Two ratings an image; level 5 but for the last picture of each concept."""
    rows = []
    for concept in CONCEPTS:
        for k in range(4):
            for p in range(2):
                rows.append((f"{concept}_{k}.png", concept, 4 if k == 3 else 5, f"p{p}", (k + p) % 2))
    frame = pd.DataFrame(rows, columns=["image_filename", "ground_truth", "level", "participant", "soft_correct"])
    model = load_model("clip-mini")
    names = frame["image_filename"].unique()
    paths = [folder / name.split("_")[0] / name for name in names]
    activations = extract_layer_activations(paths, "block_4", model, progress=False).values
    row_of = {name: i for i, name in enumerate(names)}
    for unit in MAP:
        frame[f"activation_{unit}"] = [float(activations[row_of[name], int(unit)]) for name in frame["image_filename"]]
    return frame


@pytest.fixture(scope="module")
def by_image(folder):
    """Name → what every unit does on the picture, read one by one."""
    model = load_model("clip-mini")
    layer = LayerInterventions(model, "block_4")
    found = {}
    for path in sorted(folder.glob("*/*.png")):
        (image,) = layer.forward_to_layer(prepare(path, model.image_input)[None])
        found[path.name] = image
    return found


def benchmark(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_interpretability_benchmark(*arguments, resamples=0, **options)


def animation(path):
    frames = [Image.new("L", (12, 12), 60 * k) for k in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


NOTES = {
    "a copy": (lambda home: shutil.copy(home / "0.png", home / "1.png"), "1 image is a copy of another, byte for byte, such as '1.png' of '0.png'"),
    "an animation": (lambda home: animation(home / "2.gif"), "1 file has several pictures (frames or pages), such as '2.gif'; only the first is used"),
    "another file": (lambda home: (home / "notes.txt").touch(), "1 file is not read as images: 1 .txt"),
    "an unreadable image": (lambda home: (home / "1.png").write_bytes(b"\x89PNG"), "1 of 2 clean images could not be read"),
    "two spellings": (lambda home: shutil.copy(home / "0.png", home / "A.PNG") and (home / "a.png").write_bytes((home / "1.png").read_bytes()), "1 name is spelled in several ways"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTES)
def test_what_is_odd_about_the_images_is_said(tmp_path, monkeypatch, capsys, case):
    make, note = NOTES[case]
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 12, 3), np.uint8)).save(tmp_path / f"{i}.png")
    make(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix.lower() != ".txt")
    frame = pd.DataFrame({"image": names, "ground_truth": ["cat", "dog", "dog", "dog"][: len(names)], "level": 5})
    frame = frame.assign(soft_correct=np.nan, activation_0=np.arange(len(names)))
    spec = registry.ModelSpec("small", "a test", lambda *_: small_model(), embedded=True)
    monkeypatch.setitem(registry._registered, "small", spec)
    result = benchmark(frame, {0: "cat"}, images=tmp_path, model="small", layers=LAYER)
    assert any(note in line for line in result.warnings), result.warnings
    with pytest.raises(SystemExit):
        run(app, ["causality", str(tmp_path), "--model", "small", "--layer", LAYER, "-o", f"{tmp_path}.parquet"])
    out, err = capsys.readouterr()
    assert note.replace("clean ", "") in out + err


@pytest.fixture(scope="module")
def measured(table, folder):
    """The table scored with effects that are measured on the way."""
    return benchmark(table, MAP, images=folder, model="clip-mini")


def raw(image, unit):
    return float(image.effects([ablate(), amplify()])[0][:, unit].mean())


@pytest.mark.slow
def test_benchmark_measures_every_neuron_on_every_clean_image(measured, by_image):
    scores = measured.table.set_index("Neuron")
    for unit, concept in MAP.items():
        mine = [raw(by_image[f"{concept}_{k}.png"], int(unit)) for k in range(3)]
        rest = [raw(by_image[f"{other}_{k}.png"], int(unit)) for other in CONCEPTS if other != concept for k in range(3)]  # fmt: skip
        assert scores.loc[unit, "C_raw"] == pytest.approx(np.mean(mine), rel=1e-4)
        assert scores.loc[unit, "C"] == pytest.approx(1 - math.exp(-np.mean(mine)), rel=1e-4)
        assert scores.loc[unit, "C_specific"] == pytest.approx(np.mean(mine) - np.mean(rest), rel=1e-3, abs=1e-6)
        assert scores.loc[unit, "n_C_images"] == 3
    (origin,) = measured.signature["causality"]
    assert (origin["model"], origin["layer"], origin["units"]) == ("clip-mini", "layer4", "all")
    assert origin["provenance"]["weights_sha256"] == load_model("clip-mini").provenance["weights_sha256"]


def test_percentile_is_the_share_of_units_as_active_that_do_less(measured, by_image):
    scores = measured.table.set_index("Neuron")
    mine = [by_image[f"fire_{k}.png"] for k in range(3)]
    raw_V = torch.stack([image.effects([ablate(), amplify()])[0].mean(0) for image in mine]).mean(0).numpy()
    activation_V = torch.stack([image.activation_UP.mean(1) for image in mine]).mean(0).numpy()
    others = [u for u in range(512) if u != 185]
    nearest = sorted(others, key=lambda u: abs(activation_V[u] - activation_V[185]))[:100]
    below = np.mean([raw_V[u] < raw_V[185] for u in nearest])
    assert scores.loc["185", "C_percentile"] == pytest.approx(below, abs=0.011)


def test_image_that_is_not_there_is_told_and_the_others_count(table, folder, tmp_path, by_image):
    for concept in CONCEPTS:
        for k in range(3):
            if (concept, k) != ("fire", 1):
                (tmp_path / f"{concept}_{k}.png").symlink_to(folder / concept / f"{concept}_{k}.png")
    result = benchmark(table, MAP, images=tmp_path, model="clip-mini")
    row = result.table.set_index("Neuron").loc["185"]
    assert row["C_raw"] == pytest.approx(np.mean([raw(by_image[f"fire_{k}.png"], 185) for k in (0, 2)]), rel=1e-4)
    assert row["n_C_images"] == 2
    assert "C: from 2 of 3 clean images" in row["Notes"]
    assert f"{tmp_path.name}: 1 of the 9 clean images of the table are missing (fire_1.png)" in "\n".join(
        result.warnings
    )
    assert result.signature["causality"][0]["images_not_found"] == ["fire_1.png"]


def test_concept_without_any_measured_image_has_no_C_and_says_why(table, folder):
    result = benchmark(table, MAP, images=[str(folder / "fire"), str(folder / "star")], model="clip-mini")
    row = result.table.set_index("Neuron").loc["7"]
    assert math.isnan(row["C"])
    assert "C: no measured effects" in row["Notes"]


def test_none_of_the_images_found_shows_where_it_looked(table, tmp_path):
    draw_scene(Random(1), ["fire"]).render(96).save(tmp_path / "other.png")
    with pytest.raises(InputError) as caught:
        benchmark(table, MAP, images=tmp_path, model="clip-mini")
    assert f"the table: none of its 9 images is in {tmp_path}" in str(caught.value)
    assert "the table has names such as 'fire_0.png'" in str(caught.value)
    assert "'other.png'" in str(caught.value)


def test_picture_that_cannot_be_read_is_told_and_the_others_count(table, folder, tmp_path):
    for path in folder.glob("*/*.png"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "star_0.png").unlink()
    (tmp_path / "star_0.png").write_bytes(b"no picture")
    result = benchmark(table, MAP, images=tmp_path, model="clip-mini")
    assert result.table.set_index("Neuron").loc["336", "n_C_images"] == 2
    assert any("1 of 9 clean images could not be read" in line and "star_0.png" in line for line in result.warnings)


def test_activations_of_another_network_are_noticed(table, folder):
    result = benchmark(table, MAP, images=folder, model="clip-mini", model_weights="random")
    assert any("the table's activations do not match those" in line for line in result.warnings)


@pytest.mark.slow
def test_file_of_effects_scores_as_measuring_them_does(table, folder, measured, tmp_path):
    model = load_model("clip-mini")
    names = sorted(path.name for path in folder.glob("*/*.png"))
    concepts = [name.split("_")[0] for name in names]
    paths = [folder / concept / name for concept, name in zip(concepts, names, strict=True)]
    kinds = ("ablation", "amplification", "scale_0.5", "mean_ablation", "resample_ablation")
    measure_to_file(tmp_path / "e.parquet", names, paths, LayerInterventions(model, "block_4"), kinds, concepts)
    from_file = benchmark(table, MAP, causality=tmp_path / "e.parquet")
    columns = ["Neuron", "C", "C_specific", "C_toward", "C_percentile", "n_C_images", "InterpScore"]
    pd.testing.assert_frame_equal(from_file.table[columns], measured.table[columns], rtol=1e-4)
    frame = pd.read_parquet(tmp_path / "e.parquet").set_index("image_filename")
    row = from_file.table.set_index("Neuron").loc["336"]
    for kind in kinds[2:]:
        mean = frame.loc[[f"star_{k}.png" for k in range(3)], f"{kind}_effect_336"].mean()
        assert row[f"effect_{kind}"] == pytest.approx(mean, rel=1e-6)
    assert from_file.signature["causality"][0]["provenance"]["weights_sha256"] == model.provenance["weights_sha256"]


def test_file_that_was_changed_after_it_was_written_is_refused(table, folder, tmp_path):
    model = load_model("clip-mini")
    measure_to_file(tmp_path / "e.parquet", ["fire_0.png"], [folder / "fire/fire_0.png"], LayerInterventions(model, "block_4", [185]))  # fmt: skip
    frame = pd.read_parquet(tmp_path / "e.parquet")
    frame["ablation_effect_185"] = 9.0
    frame.to_parquet(tmp_path / "e.parquet")
    with pytest.raises(InputError, match=r"was written with another e.parquet"):
        benchmark(table, MAP, causality=tmp_path / "e.parquet")


@pytest.mark.slow
def test_store_names_model_and_layer(table, folder, measured, tmp_path):
    extract_full_layer_activations(str(folder), ["block_4"], tmp_path / "a.zarr", "clip-mini", progress=False)
    plain = table.drop(columns=[f"activation_{unit}" for unit in MAP])
    result = benchmark(plain, MAP, stores=tmp_path / "a.zarr", images=folder)
    assert result.table["C"].tolist() == pytest.approx(measured.table["C"].tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "clip-mini"}, "--model: found 'clip-mini' without images; expected --images as well"),
        ({"device": "cuda"}, "--device: found 'cuda' without images; expected --images as well"),
        ({"model_weights": "random"}, "--model-weights: found 'random' without images; expected --images as well"),
        ({"images": "."}, "--model: no name; expected the network to intervene on, such as clip-rn50x4"),
        ({"images": ".", "model": "clip-mini", "causality": "e.csv"}, "--causality: found with --images"),
        ({"images": ".", "model": "clip-maxi"}, "no model 'clip-maxi'"),
        ({"images": "nowhere", "model": "clip-mini"}, "nowhere"),
    ],
)
def test_options_that_do_not_go_together_are_refused(table, options, message):
    with pytest.raises(InputError) as caught:
        benchmark(table, MAP, **options)
    assert message in str(caught.value)


def test_unit_that_the_layer_does_not_have_is_refused(table, folder):
    more = table.assign(activation_512=1.0)
    with pytest.raises(InputError, match="unit 512: layer 'layer4' of clip-mini has units 0 to 511"):
        benchmark(more, {"512": "fire"}, images=folder, model="clip-mini")


def test_layer_is_the_one_that_is_intervened_on(table, folder):
    result = benchmark(table, {"7": "tree"}, images=folder, model="clip-mini", layers=["layer3.1"])
    (origin,) = result.signature["causality"]
    assert (origin["layer"], origin["units"]) == ("layer3.1", [7])
    assert result.table["C_percentile"].isna().all()  # not all of the layer was measured


def test_device_is_where_the_network_runs(table, folder):
    with pytest.raises(InputError, match="cuda:7"):
        benchmark(table, MAP, images=folder, model="clip-mini", device="cuda:7")


def test_neuron_that_is_no_number_is_refused(table, folder):
    with pytest.raises(InputError, match="neuron 'mine'; expected the number of a unit, to intervene on it"):
        benchmark(table.assign(activation_mine=1.0), {"mine": "fire"}, images=folder, model="clip-mini")


# One neuron ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_fire(table, folder):
    return calculate_causality_score(
        table, 185, " Fire", "activation_185", model="clip-mini", images=folder, resamples=200
    )


def test_score_of_one_neuron_is_that_of_the_benchmark(of_fire, measured):
    row = measured.table.set_index("Neuron").loc["185"]
    assert float(of_fire) == pytest.approx(row["C"], rel=1e-6)
    for name in ("specific", "toward", "percentile"):
        assert getattr(of_fire, name) == pytest.approx(row[f"C_{name}"], rel=1e-6)
    assert (of_fire.n_images, of_fire.missing) == (3, ())


def test_score_carries_intervals_around_it(of_fire):
    assert of_fire.low < of_fire < of_fire.high
    assert of_fire.specific_low < of_fire.specific < of_fire.specific_high


def test_dose_curve_is_the_mean_effect_at_each_strength(of_fire, by_image):
    images = [by_image[f"fire_{k}.png"] for k in range(3)]
    assert list(of_fire.dose_curve) == [0.0, 0.5, 1.0, 2.0, 5.0]
    for by, found in of_fire.dose_curve.items():
        wanted = np.mean([float(image.effects([scale(by)])[0][0, 185]) for image in images])
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-9)


def test_mean_ablation_takes_the_mean_over_all_clean_images(of_fire, by_image):
    clean = [by_image[f"{concept}_{k}.png"] for concept in CONCEPTS for k in range(3)]
    mean = torch.stack([image.activation_UP[185].mean() for image in clean]).mean()
    images = [by_image[f"fire_{k}.png"] for k in range(3)]
    wanted = np.mean([float(image.effects([replace(mean[None, None])])[0][0, 185]) for image in images])
    assert of_fire.mean_ablated == pytest.approx(wanted, rel=1e-3)
    assert of_fire.resampled > 0


def test_score_needs_model_and_images_together(table, folder):
    with pytest.raises(InputError, match="model and images go together; expected both or neither"):
        calculate_causality_score(table, 185, "fire", "activation_185", model="clip-mini")
    with pytest.raises(InputError, match="found effects and a model; expected one of them"):
        calculate_causality_score(table, 185, "fire", "activation_185", model="clip-mini", images=folder, effects=table)


# One intervention ---------------------------------------------------------------------------------------------------


def as_image(x_CHW):
    return (x_CHW.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def test_intervention_on_a_neuron_moves_the_embedding_as_by_hand():
    model, images = small_model(), [as_image(x) for x in pictures(3)]
    done = intervene(model, 4, "amplify", images, LAYER, by=3)
    layer = LayerInterventions(model, LAYER, [4])
    x = torch.stack([torch.from_numpy(i.transpose(2, 0, 1).astype(np.float32) / 255) for i in images])
    wanted = [float(image.effects([scale(3)])[0]) for image in layer.forward_to_layer(x)]
    assert done.effect_N.tolist() == pytest.approx(wanted, rel=1e-9)
    assert done.mean_effect == pytest.approx(np.mean(wanted))
    assert "amplify unit 4 of first of small: the embedding moves by" in str(done)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [("ablate", {}), ("scale", {"by": 0.3}), ("clamp", {"high": 0.1}), ("add", {"value": 1.0}), ("mean", {}), ("resample", {})],
)  # fmt: skip
def test_every_type_of_intervention_moves_something(kind, numbers):
    done = intervene(small_model(), 2, kind, [as_image(x) for x in pictures(3)], LAYER, **numbers)
    assert done.mean_effect > 0
    assert done.about["intervention"] == kind


def test_without_images_pictures_are_drawn():
    done = intervene("clip-mini", 185)
    assert done.about["drawn"]
    assert "drawn fire" in done.images
    assert done.activation_N.argmax() == done.images.index("drawn fire")


@pytest.mark.parametrize(
    ("arguments", "numbers", "message"),
    [
        (("smash",), {}, "intervention_type: found 'smash'; expected one of ablate, amplify"),
        (("ablate",), {"by": 2}, "intervention_type ablate: found 'by'; expected no number"),
        (("scale",), {}, "intervention_type scale: no number; expected by"),
        (("mean", [np.zeros((SIDE, SIDE, 3), np.uint8)]), {}, "intervention_type mean: 1 images; expected at least 2"),
        (("ablate", []), {}, "intervention_type ablate: 0 images; expected at least 1"),
        (("ablate", ["nowhere.png"]), {}, "nowhere.png"),
    ],
)
def test_wrong_intervention_is_one_clear_line(arguments, numbers, message):
    with pytest.raises(InputError) as caught:
        intervene(small_model(), 1, *arguments, **({"layer": LAYER} | numbers))
    assert message in str(caught.value)


@pytest.mark.parametrize("unit", ["4", 4.0, True])
def test_neuron_that_is_no_number_of_a_unit_is_refused(unit):
    with pytest.raises(InputError, match=r"neuron_id: found '(4|4\.0|True)'; expected the number of a unit"):
        intervene(small_model(), unit, "ablate", [as_image(pictures(1)[0])], LAYER)


@pytest.mark.parametrize("unit", [UNITS, -1])
def test_unit_that_does_not_exist_is_refused(unit):
    with pytest.raises(InputError, match=f"unit {unit}: layer 'first' has units 0 to 5"):
        intervene(small_model(), unit, "ablate", [as_image(pictures(1)[0])], LAYER)


def test_command_measures_with_images_and_model(table, folder, tmp_path, score):
    table.to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    files = [tmp_path / name for name in ("data.csv", "map.json", "r.csv")]
    done = score(*files, "--images", folder, "--model", "clip-mini", "--resamples", 20)
    assert (done.code, done.err) == (0, "")
    assert "Interventions: layer4 of clip-mini (exact update of the attention pool)" in done.out
    results = pd.read_csv(tmp_path / "r.csv")
    assert (results["C_low"] < results["C_high"]).all()
