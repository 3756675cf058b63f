"""Guards `interpscore dream`: files and manifest, every option's effect, going on after a kill, errors of one line."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from Activation_Extraction.base.commands import run
from Activation_Extraction.models import resources
from DeepDream_Setup.cli import dream_app, summary
from DeepDream_Setup.manifest import Renders
from tests.bfloat16 import needs_bfloat16

RECIPE = "steps: 3\nsize: 32\ntransforms: {jitter: 3}\n"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "quick.yaml").write_text(RECIPE)
    return tmp_path / "quick.yaml"


@pytest.fixture
def dream(capfd, tmp_path, recipe):
    """Runs the command with a quick recipe; gives exit code, standard output and standard error."""

    def dreamt(*arguments, layer="block_4", recipe=recipe, out=tmp_path / "renders"):
        options = ["--model", "clip-mini", "--layer", layer, "--recipe", recipe, "-o", out, "--threads", 1]
        with pytest.raises(SystemExit) as left:
            run(dream_app, [str(part) for part in (*options, *arguments)])
        printed, err = capfd.readouterr()
        return left.value.code or 0, printed, err

    return dreamt


def manifest(tmp_path, root="renders"):
    return json.loads((tmp_path / root / "clip-mini" / "layer4" / "manifest.json").read_text())


def test_renders_lie_by_model_layer_and_unit_with_a_manifest(dream, tmp_path, pictures):
    code, out, err = dream("--units", "185,3+4", "--images", pictures, "--start", "grey", "--start", "perlin")
    assert (code, err) == (0, "")
    content = manifest(tmp_path)
    assert [list(content["units"]), content["layer"], content["seed"]] == [["3+4", "185"], "layer4", 0]
    assert content["recipe"]["steps"] == 3
    assert content["recipe"]["starts"] == ["grey", "perlin"]
    assert len(content["provenance"]["weights_sha256"]) == 64
    assert content["natural_images"]["images"] == 24
    for unit in ("185", "3+4"):
        assert [entry["file"] for entry in content["units"][unit]] == [f"{unit}/grey.png", f"{unit}/perlin.png"]
        for entry in content["units"][unit]:
            with Image.open(tmp_path / "renders/clip-mini/layer4" / entry["file"]) as image:
                assert image.size == (32, 32)
            assert entry["times_natural"] == pytest.approx(entry["activation"] / entry["best_natural"], rel=1e-5)
            assert len(entry["objective"]) == 3
    assert "2 units rendered" in out
    assert re.search(r"of 4 images of live units \([\d.]+%\) exceed the best natural image", out)


def test_check_takes_a_folder_above_several_layers(dream, tmp_path, capfd):
    dream("--units", "1")
    dream("--units", "2", layer="block_3")
    with pytest.raises(SystemExit) as left:
        run(dream_app, ["check", str(tmp_path / "renders")])
    out, _ = capfd.readouterr()
    assert left.value.code in (None, 0)
    assert [line for line in out.splitlines() if line.startswith("clip-mini")] == [
        "clip-mini layer3: 1 units, 1 images", "clip-mini layer4: 1 units, 1 images",
    ]  # fmt: skip


def test_what_is_there_is_not_made_again_what_is_damaged_is_and_nothing_else_is_mixed_in(dream, tmp_path):
    dream("--units", "1,2")
    folder = tmp_path / "renders/clip-mini/layer4"
    before = (folder / "2/fourier.png").read_bytes()
    (folder / "2/fourier.png").write_bytes(before[:100])
    stamp = (folder / "1/fourier.png").stat().st_mtime_ns
    code, out, _ = dream("--units", "1:4")
    assert (code, "2 units rendered" in out, "1 was there" in out) == (0, True, True)
    assert (folder / "1/fourier.png").stat().st_mtime_ns == stamp
    assert (folder / "2/fourier.png").read_bytes() == before
    code, _, err = dream("--units", "1", "--seed", "3")
    assert code == 2
    assert [line.rpartition("layer4: ")[2] for line in err.splitlines()] == [
        "holds seed '0'; asked for '3'",
        "is left as it is; expected the same again, or another folder (-o)",
    ]


def test_renders_of_the_version_before_are_there_and_other_versions_are_said(dream, tmp_path):
    """Their manifest alone says which units are there, and with what they were made."""
    dream("--units", "1,2")
    folder = tmp_path / "renders/clip-mini/layer4"
    shutil.rmtree(folder / ".records")
    content = manifest(tmp_path)
    del content["made_with"]
    content["provenance"]["torch"] = "1.0"
    content |= {"processor": "cpu x86_64 other", "versions": {"torch": "1.0"}}
    (folder / "manifest.json").write_text(json.dumps(content))
    code, out, err = dream("--units", "1:4")
    assert (code, err, "1 unit rendered" in out, "2 were there" in out) == (0, "", True, True)
    assert "note: parts were made with different libraries or processors: torch 1.0 and " in out
    assert manifest(tmp_path)["units"].items() >= content["units"].items()
    assert len(manifest(tmp_path)["made_with"]) == 2


def test_a_run_that_is_stopped_lists_what_is_done(dream, tmp_path, monkeypatch):
    add = Renders.add

    def stopped(self, unit, pictures):
        add(self, unit, pictures)
        raise KeyboardInterrupt

    monkeypatch.setattr(Renders, "add", stopped)
    code, _, err = dream("--units", "0:9")
    assert (code, err.splitlines()[-1]) == (130, "stopped; the same command resumes")
    assert list(manifest(tmp_path)["units"]) == ["0"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Unit 7 in fp32, as the first options are."""
    home = tmp_path_factory.mktemp("plain")
    (home / "quick.yaml").write_text(RECIPE)
    options = ["--model", "clip-mini", "--layer", "block_4", "--recipe", home / "quick.yaml", "--units", 7]
    with pytest.raises(SystemExit):
        run(dream_app, [*map(str, options), "-o", str(home / "renders"), "--threads", "1", "--precision", "fp32"])
    assert manifest(home)["precision"] == "fp32"
    return home


@pytest.mark.parametrize(
    ("options", "key", "recorded"),
    [
        (["--precision", "fp32", "--seed", "5"], "seed", 5),
        pytest.param(["--precision", "bf16"], "precision", "bf16", marks=needs_bfloat16),
        (["--precision", "fp32", "--weights", "random"], "provenance", "untrained, seed 0"),
        (["--precision", "fp32", "--start", "gradient"], "recipe", "gradient"),
    ],
)
def test_options_take_effect_and_are_recorded(dream, plain, tmp_path, options, key, recorded):
    code, _, err = dream("--units", "7", *options)
    assert code == 0, err
    assert str(recorded) in str(manifest(tmp_path)[key])
    (image,) = (tmp_path / "renders").rglob("*.png")
    (before,) = plain.rglob("*.png")
    assert np.abs(np.asarray(Image.open(image)).astype(int) - np.asarray(Image.open(before))).max() > 0


def test_device_and_threads_reach_the_network(dream):
    code, _, err = dream("--device", "cuda:97")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: device: found 'cuda:97'; expected one of this machine: cpu")
    assert dream("--threads", "0")[0] == 2


def test_another_layer_is_rendered_beside_and_quiet_prints_nothing(dream, tmp_path):
    assert dream("--units", "0", "--quiet") == (0, "", "")
    dream("--units", "0", layer="layer3.1")
    assert sorted(path.name for path in (tmp_path / "renders/clip-mini").iterdir()) == ["layer3.1", "layer4"]


def test_facets_of_labelled_pictures(dream, tmp_path, pictures):
    path = tmp_path / "facets.yaml"
    path.write_text(RECIPE + "objective: {channel: 1, facet: 3}\nfacet_layer: block_3\n")
    options = ["--facet-images", pictures, "--facet", "fire", "--facet", "star"]
    assert dream("--units", "2", *options, recipe=path)[0] == 0
    content = manifest(tmp_path)
    assert list(content["facets"]["auroc"]) == ["fire", "star"]
    assert [entry["file"] for entry in content["units"]["2"]] == ["2/fire_fourier.png", "2/star_fourier.png"]
    assert set(content["units"]["2"][0]["facet_scores"]) == {"fire", "star"}


def test_summary_counts_images_that_are_where_their_facet_is():
    def image(unit, start, facet, fire, star):
        entry = {
            "file": f"{unit}/{facet}_{start}.png",
            "start": start,
            "facet": facet,
            "flags": [],
            "best_natural": None,
        }
        return entry | {"facet_scores": {"fire": fire, "star": star}}

    apart = [image("1", "grey", "fire", 1, -1), image("1", "grey", "star", 0, 0)]
    mixed = [image("2", "grey", "fire", 1, 3), image("2", "grey", "star", 2, 2)]
    other = [image("2", "perlin", "fire", 5, 5), image("2", "perlin", "star", 1, 6)]
    said = "{} of {} images score highest on their own facet's probe"
    assert said.format(4, 6) in "\n".join(summary([*apart, *mixed, *other]))
    assert "facet" not in "\n".join(summary([{**entry, "facet_scores": None} for entry in apart]))


def test_maco_keeps_to_the_spectrum_of_the_pictures(dream, tmp_path, pictures):
    path = tmp_path / "maco.yaml"
    path.write_text(RECIPE + "parametrization: maco\n")
    code, _, err = dream("--units", "2", recipe=path)
    assert (code, "maco: found no images; expected --images" in err) == (2, True)
    assert dream("--units", "2", "--images", pictures, recipe=path)[0] == 0


def test_check_shows_the_numbers_and_what_is_flagged(dream, tmp_path, capfd, pictures):
    dream("--units", "0:4", "--images", pictures)
    with pytest.raises(SystemExit) as left:
        run(dream_app, ["check", str(tmp_path / "renders/clip-mini/layer4")])
    out, _ = capfd.readouterr()
    assert not left.value.code
    assert out.startswith("clip-mini layer4: 4 units, 4 images\n")
    assert "thresholds from 24 natural images: contrast" in out
    flagged = [entry for unit in manifest(tmp_path)["units"].values() for entry in unit if entry["flags"]]
    for entry in flagged:
        assert f"{entry['file']}: {', '.join(entry['flags'])}  (activation" in out
    with pytest.raises(SystemExit):
        run(dream_app, ["check", str(tmp_path / "renders/clip-mini/layer4"), "--quiet"])
    assert len(capfd.readouterr().out.splitlines()) == len(flagged)


def test_help_teaches(capfd):
    with pytest.raises(SystemExit):
        run(dream_app, ["--help"])
    out = capfd.readouterr().out
    assert "interpscore dream --model clip-mini --layer block_4 --units 0:64" in " ".join(out.split())
    assert "check" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--units", "512"], "units: found 512; expected 0 to 511, the units of the layer"),
        (["--units", "x"], "units: found 'x'; expected numbers, ranges and joint units"),
        (["--layer", "layer9"], "no layer 'layer9'"),
        (["--model", "clip-mino"], "no model 'clip-mino'; nearest: clip-mini"),
        (
            ["--recipe", "microscop"],
            "recipe: found 'microscop' (did you mean 'microscope'?); expected one of microscope, paper, study, or a YAML file",
        ),
        (["--start", "gray"], "start: found 'gray'; expected fourier, grey"),
        (["--units", "layer3.1:5"], "units: found units of layer4 and of layer3.1; expected units of one layer"),
        (["--facet", "face"], "--facet: found without --facet-images; expected both"),
        (["--images", "nowhere"], "nowhere: no such file or folder"),
        (["--recipe", "paper"], "objective: found a term facet without --facet-images; expected both or neither"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(dream, options, message):
    code, out, err = dream(*options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize("is_there", [True, False])
def test_bf16_that_the_processor_has_not_is_one_line(dream, monkeypatch, is_there):
    """Whether that is known beforehand, or only an operation that fails tells."""

    def refused(self, x):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("mkldnn_convolution: bf16 path needs the cpu support avx512bw")
        return super(torch.fx.GraphModule, self).__call__(x)

    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: is_there)
    monkeypatch.setattr(torch.fx.GraphModule, "__call__", refused)
    code, out, err = dream("--units", "0", "--precision", "bf16")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: precision bf16: ")
    assert "precision fp32" in err.partition("; expected ")[2]


def test_misspelt_key_of_a_recipe_is_one_line_with_the_nearest(dream, tmp_path):
    (tmp_path / "wrong.yaml").write_text("step: 3\n")
    code, _, err = dream(recipe=tmp_path / "wrong.yaml")
    assert (code, err) == (2, f"error: {tmp_path / 'wrong.yaml'}: no such key 'step' (did you mean 'steps'?)\n")


def test_empty_folder_and_corrupt_image_are_one_line_each(dream, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = dream("--images", tmp_path / "empty")
    assert (code, err.count("\n"), str(tmp_path / "empty") in err) == (2, 1, True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.png").write_bytes(b"no picture")
    code, _, err = dream("--images", tmp_path / "broken")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: bad.png: ")


def test_target_that_cannot_be_written_is_one_line(dream, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = dream("--units", "0", out=tmp_path / "file")
    assert (code, err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'file'}: cannot be written" in err


def test_check_of_what_is_no_manifest_is_one_line(tmp_path, capfd):
    for content in (None, "{}", "["):
        if content:
            (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(SystemExit) as left:
            run(dream_app, ["check", str(tmp_path)])
        err = capfd.readouterr().err
        assert (left.value.code, err.count("\n")) == (2, 1)
        assert "manifest.json" in err
