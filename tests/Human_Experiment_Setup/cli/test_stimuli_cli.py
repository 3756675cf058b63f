"""Guards `interpscore stimuli` end to end: drawn scenes to the levels of a study, and back through extraction."""

import csv
import json
import re
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from Activation_Extraction import extract_activations, image_set, load_model
from Activation_Extraction.base.commands import run
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Human_Experiment_Setup.cli.stimuli import stimuli_app
from Human_Experiment_Setup.stimuli.manifest import COLUMNS
from Human_Experiment_Setup.stimuli.pictures import saved_picture

UNITS = {"fire": 185, "mushroom": 206}
ROOM = Path(__file__).parents[3] / "Human_Experiment_Setup"
LEVELS = """about: every kind of level, small
size: 96
levels:
  5: {kind: clean}
  1: {kind: benign, method: gaussian_noise, snr_db: 3}
  2: {kind: benign, method: gaussian_blur, snr_db: 8}
  3: {kind: adversarial, target: unit, norm: linf, radius: 8, steps: 4, step: 0.5, starts: 1}
  8: {kind: adversarial, target: class, norm: l2, radius: 3, steps: 4, step: 0.5, starts: 1}
  4: {kind: synthetic}
  6: {kind: exemplar, activation: most, images: 1}
  7: {kind: exemplar, activation: least, images: 1}
"""
NOISE = """about: noise
size: 48
levels:
  5: {kind: clean}
  1: {kind: benign, method: gaussian_noise, snr_db: 3}
"""


def draw(path, concept, key, size=120):
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_scene(Random(key), [concept]).render(size).save(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Clean pictures, renders, a neuron map and protocols."""
    home = tmp_path_factory.mktemp("study")
    for concept, unit in UNITS.items():
        for k in range(2):
            draw(home / "photos" / concept / f"{k}.png", concept, f"photo {concept} {k}")
        draw(home / "renders" / "clip-mini" / "layer4" / str(unit) / "a.png", concept, f"render {concept}")
    (home / "renders" / "clip-mini" / "layer4" / "manifest.json").write_text('{"recipe": "study"}')
    (home / "map.json").write_text(json.dumps({str(unit): concept for concept, unit in UNITS.items()}))
    (home / "levels.yaml").write_text(LEVELS)
    (home / "noise.yaml").write_text(NOISE)
    return home


@pytest.fixture
def stimuli(capfd):
    """Runs a sub-command; gives exit code, standard output and standard error."""

    def called(*arguments):
        with pytest.raises(SystemExit) as left:
            run(stimuli_app, [*map(str, arguments)])
        out, err = capfd.readouterr()
        return left.value.code or 0, out, err

    return called


def whole(home, out):
    return (
        "build", home / "photos", "-o", out, "--protocol", home / "levels.yaml", "--model", "clip-mini", "--layer",
        "block_4", "--neuron-map", home / "map.json", "--renders", home / "renders", "--exemplars", home / "photos",
    )  # fmt: skip


def noise(home, out, *more):
    return ("build", home / "photos", "-o", out, "--protocol", home / "noise.yaml", *more)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "stimuli"
    with pytest.raises(SystemExit) as left:
        run(stimuli_app, [*map(str, whole(home, folder)), "--quiet"])
    assert left.value.code in (0, None)
    return folder


@pytest.fixture(scope="module")
def table(built):
    return pd.read_csv(built / "images.csv", keep_default_na=False).astype({"level": int})


# What is built ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_extraction_reads_every_file_and_levels_and_concepts_come_through(built, table):
    images = image_set(built / "images.csv")
    assert images.table["concept"].to_pylist() == table["concept"].tolist()
    assert images.table["level"].to_pylist() == table["level"].tolist()
    paths = [images.where(row).path for row in range(len(images))]
    a = extract_activations(paths, "block_4", "clip-mini", threads=1)
    assert not any(a.coords["error"].values)
    for row, values in zip(table.itertuples(), a.values, strict=True):
        assert float(row.activation_after) == pytest.approx(values[UNITS[row.concept]], rel=1e-4, abs=1e-5)


def test_every_level_has_its_pictures_and_kind(table):
    count = table.groupby("level")["image"].count().to_dict()
    assert count == {5: 4, 1: 4, 2: 4, 3: 4, 8: 4, 4: 2, 6: 2, 7: 2}
    kinds = table.groupby("level")["kind"].first().to_dict()
    assert kinds == {
        5: "clean", 1: "benign", 2: "benign", 3: "adversarial", 8: "adversarial", 4: "synthetic", 6: "exemplar", 7: "exemplar",
    }  # fmt: skip
    assert list(table["unit"]) == [UNITS[concept] for concept in table["concept"]]


def test_perturbed_pictures_name_their_clean_base_and_others_none(table):
    clean = table[table["level"] == 5].set_index("source")
    for row in table.itertuples():
        perturbed = row.kind in ("benign", "adversarial")
        assert row.clean_image == (clean.loc[row.source, "image"] if perturbed else "")


def test_all_files_are_alike_and_their_names_tell_nothing(built, table):
    for name in table["image"]:
        assert re.fullmatch(r"pictures/[0-9a-f]{12}\.png", name)
        with Image.open(built / name) as image:
            assert (image.size, image.mode, image.info) == ((96, 96), "RGB", {})
    assert {path.name for path in (built / "pictures").iterdir()} == {Path(name).name for name in table["image"]}


def test_strengths_measured_anew_are_what_was_declared(built, table):
    for row in table[table["measure"] == "snr_db"].itertuples():
        clean, noisy = (saved_picture(built / name).astype(float) for name in (row.clean_image, row.image))
        snr = 10 * np.log10(clean.var(axis=(0, 1)).mean() / np.mean((noisy - clean) ** 2))
        assert abs(10 ** ((float(row.strength_declared) - snr) / 20) - 1) < 0.02
        assert float(row.strength_measured) == pytest.approx(snr, abs=1e-4)


def test_adversarial_pictures_are_within_their_bound_and_move_their_target(built, table):
    for row in table[table["kind"] == "adversarial"].itertuples():
        clean, changed = (saved_picture(built / name).astype(float) for name in (row.clean_image, row.image))
        if row.measure == "linf":
            assert np.abs(changed - clean).max() <= 8
            assert float(row.activation_after) < 0.8 * float(row.activation_before)
        else:
            assert np.sqrt(np.mean((changed - clean) ** 2)) <= 3
            assert float(row.probability_after) < float(row.probability_before)
        assert row.reached == "true"


def test_exemplars_are_the_most_and_least_active(home, table):
    names = sorted(path.relative_to(home / "photos").as_posix() for path in (home / "photos").rglob("*.png"))
    a = extract_activations([home / "photos" / name for name in names], "block_4", "clip-mini").values
    for row in table[table["kind"] == "exemplar"].itertuples():
        values = a[:, UNITS[row.concept]]
        assert row.source == names[values.argmax() if row.level == 6 else values.argmin()]


def test_provenance_says_what_it_was_made_from(built):
    said = json.loads((built / "stimuli.json").read_text())
    assert said["network"]["model"] == "clip-mini"
    assert said["network"]["provenance"]["weights_sha256"]
    assert said["units"] == UNITS
    assert said["renders"] == {"clip-mini/layer4": {"recipe": "study"}}
    assert said["protocol"]["levels"]["3"]["radius"] == 8
    assert all(len(image["sha256"]) == 64 for level in said["inputs"].values() for image in level)
    (made_with,) = said["made_with"]
    assert {"numpy", "pillow", "scipy", "torch", "interpscore"} == set(made_with["versions"])


def test_contact_sheet_and_page_show_every_level(built, table):
    with Image.open(built / "contact_sheet.png") as sheet:
        assert sheet.width > 8 * 148
        assert np.asarray(sheet).std() > 20
    page = (built / "contact_sheet.html").read_text()
    assert all(f'src="{name}"' in page for name in table["image"])


def test_columns_are_those_that_the_guide_describes(built):
    with (built / "images.csv").open() as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    guide = (ROOM / "README.md").read_text()
    for name, meaning in COLUMNS.items():
        assert f"| `{name}` | {meaning} |" in guide


# Again, stopped, grown ----------------------------------------------------------------------------------------------


def test_a_rerun_makes_what_is_missing_and_ends_with_the_same_bytes(home, built, stimuli, tmp_path, table):
    shutil.copytree(built, tmp_path / "s")
    lost, cut = (tmp_path / "s" / name for name in table["image"][table["kind"] == "adversarial"].iloc[:2])
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    (tmp_path / "s" / "images.csv").unlink()
    code, out, _ = stimuli(*whole(home, tmp_path / "s"))
    assert (code, f"{len(table) - 2} were there already" in out) == (0, True)
    assert tree(tmp_path / "s") == tree(built)


def test_stimuli_of_the_version_before_are_there_and_other_versions_are_said(home, stimuli, tmp_path):
    folder = tmp_path / "s"
    stimuli(*noise(home, folder))
    before = tree(folder / "pictures")
    shutil.rmtree(folder / ".records")
    said = json.loads((folder / "stimuli.json").read_text())
    del said["made_with"]
    (folder / "stimuli.json").write_text(json.dumps({**said, "versions": {"numpy": "1.0"}}))
    (folder / next(iter(pd.read_csv(folder / "images.csv")["image"]))).unlink()
    code, out, err = stimuli(*noise(home, folder))
    assert (code, err, "7 were there already" in out) == (0, "", True)
    assert re.search(
        r"^note: parts were made with different libraries or processors: numpy .*\b1\.0\b", out, re.MULTILINE
    )
    assert tree(folder / "pictures") == before


def test_a_picture_more_changes_no_other(home, stimuli, tmp_path):
    stimuli(*noise(home, tmp_path / "a"), "--quiet")
    shutil.copytree(home / "photos", tmp_path / "photos")
    draw(tmp_path / "photos" / "clock" / "0.png", "clock", "one more")
    code, _, err = stimuli(
        "build", tmp_path / "photos", "-o", tmp_path / "b", "--protocol", home / "noise.yaml", "--quiet"
    )
    assert (code, err) == (0, "")
    few, more = tree(tmp_path / "a" / "pictures"), tree(tmp_path / "b" / "pictures")
    assert few.items() <= more.items()
    assert len(more) == len(few) + 2


def test_another_build_is_refused_in_the_same_folder(home, stimuli, tmp_path):
    stimuli(*noise(home, tmp_path / "a"), "--quiet")
    code, _, err = stimuli(*noise(home, tmp_path / "a", "--seed", "1"))
    assert code == 2
    assert err.splitlines() == [
        f"error: {tmp_path / 'a'}: holds seed '0'; asked for '1'",
        f"error: {tmp_path / 'a'}: is left as it is; expected the same again, or another folder (-o)",
    ]


# Options ------------------------------------------------------------------------------------------------------------


def test_seed_changes_noise_and_names_but_no_clean_pixel(home, stimuli, tmp_path):
    for seed in "01":
        stimuli(*noise(home, tmp_path / seed, "--seed", seed))
    a, b = (pd.read_csv(tmp_path / seed / "images.csv").set_index(["level", "source"])["image"] for seed in "01")
    assert not set(a) & set(b)
    for key in a.index:
        same = np.array_equal(saved_picture(tmp_path / "0" / a[key]), saved_picture(tmp_path / "1" / b[key]))
        assert same == (key[0] == 5)


def test_size_is_that_of_every_picture(home, stimuli, tmp_path):
    stimuli(*noise(home, tmp_path / "a", "--size", "64"))
    assert {saved_picture(path).shape for path in (tmp_path / "a" / "pictures").iterdir()} == {(64, 64, 3)}


def test_split_takes_rows_of_a_table_and_is_kept(home, stimuli, tmp_path):
    rows = [(f"{concept}/{k}.png", concept, "ab"[k]) for concept in UNITS for k in range(2)]
    shutil.copytree(home / "photos", tmp_path / "photos")
    pd.DataFrame(rows, columns=["image", "concept", "split"]).to_csv(tmp_path / "photos" / "t.csv", index=False)
    code, _, err = stimuli(
        "build", tmp_path / "photos" / "t.csv", "-o", tmp_path / "s", "--protocol", home / "noise.yaml", "--split", "b"
    )
    assert (code, err) == (0, "")
    made = pd.read_csv(tmp_path / "s" / "images.csv")
    assert set(made["source"]) == {"fire/1.png", "mushroom/1.png"}
    assert set(made["split"]) == {"b"}


@pytest.mark.parametrize(("option", "value"), [("--weights", "random"), ("--preprocessing", "published")])
def test_weights_and_preprocessing_change_what_is_measured(home, stimuli, tmp_path, option, value):
    network = ("--model", "clip-mini", "--layer", "block_4", "--neuron-map", home / "map.json")
    for name, more in (("a", ()), ("b", (option, value))):
        assert stimuli(*noise(home, tmp_path / name, *network, *more))[0] == 0
    a, b = (pd.read_csv(tmp_path / name / "images.csv") for name in "ab")
    assert a["image"].equals(b["image"])
    assert not np.allclose(a["activation_after"], b["activation_after"], rtol=1e-3)


def test_a_store_gives_the_exemplars_activations(home, built, table, stimuli, tmp_path):
    from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations

    store = tmp_path / "acts.zarr"
    extract_full_layer_activations(
        image_set(home / "photos"), ["block_4"], store, load_model("clip-mini"), batch_size=2, workers=1
    )
    levels = [line for line in LEVELS.splitlines() if not re.match("  [12348]:", line)]
    (tmp_path / "p.yaml").write_text("\n".join(levels))
    options = ["--protocol", tmp_path / "p.yaml", "--model", "clip-mini", "--layer", "block_4"]
    options += ["--neuron-map", home / "map.json", "--exemplars", home / "photos", "--store"]
    code, _, err = stimuli("build", home / "photos", "-o", tmp_path / "s", *options, store)
    assert (code, err) == (0, "")
    made = pd.read_csv(tmp_path / "s" / "images.csv", keep_default_na=False)
    assert set(made["source"][made["kind"] == "exemplar"]) == set(table["source"][table["kind"] == "exemplar"])
    code, _, err = stimuli("build", home / "photos", "-o", tmp_path / "t", *options, tmp_path / "no.zarr")
    assert (code, "no.zarr: no such folder; expected an activation store" in err) == (2, True)


def test_images_per_concept_are_drawn_by_the_seed(home, stimuli, tmp_path):
    (tmp_path / "one.yaml").write_text(NOISE.replace("size", "images_per_concept: 1\nsize"))
    chosen = set()
    for seed in range(3):
        stimuli(
            "build", home / "photos", "-o", tmp_path / str(seed), "--protocol", tmp_path / "one.yaml", "--seed", seed
        )
        sources = pd.read_csv(tmp_path / str(seed) / "images.csv")["source"]
        assert len(set(sources)) == 2
        chosen |= set(sources)
    assert len(chosen) > 2


def test_what_cannot_be_reached_is_listed_and_the_exit_code_is_1(home, stimuli, tmp_path):
    (tmp_path / "loud.yaml").write_text(NOISE.replace("snr_db: 3", "snr_db: -40"))
    code, out, err = stimuli("build", home / "photos", "-o", tmp_path / "s", "--protocol", tmp_path / "loud.yaml")
    assert code == 1
    assert err.count("not reached: ") == 4
    assert re.search(r"not reached: fire/0.png, level 1 \(gaussian noise\): SNR -\d.* dB; declared SNR -40.00 dB", err)
    assert set(pd.read_csv(tmp_path / "s" / "images.csv")["reached"].dropna()) == {False}
    assert "16 pictures" not in out


def test_the_end_sums_up_and_quiet_prints_nothing(home, stimuli, tmp_path):
    _, out, _ = stimuli(*noise(home, tmp_path / "a"))
    assert re.search(r"^1 +benign +gaussian noise +4 +SNR 3.00 dB +SNR [23].\d\d dB$", out, re.MULTILINE)
    assert "8 pictures, all made now" in out
    assert stimuli(*noise(home, tmp_path / "b", "--quiet")) == (0, "", "")


# The other sub-commands ---------------------------------------------------------------------------------------------


def test_check_finds_what_was_changed(home, stimuli, tmp_path):
    folder = tmp_path / "s"
    stimuli(*noise(home, folder))
    assert stimuli("check", folder) == (0, f"{folder}: 8 pictures; all as images.csv says\n", "")
    assert stimuli("check", folder, "--quiet") == (0, "", "")
    made = pd.read_csv(folder / "images.csv")
    changed, lost = made["image"][made["level"] == 1].iloc[:2]
    Image.new("RGB", (48, 48)).save(folder / changed)
    (folder / lost).unlink()
    (folder / "pictures" / "more.png").touch()
    code, _, err = stimuli("check", folder)
    assert code == 1
    lines = [line.removeprefix(f"damaged: {folder}/") for line in err.splitlines()]
    assert lines[0].startswith(f"{changed}: SHA-256")
    assert lines[1:] == [f"{lost}: no such file", "pictures/more.png: is not in images.csv"]


def test_check_measures_strengths_anew(home, stimuli, tmp_path):
    folder = tmp_path / "s"
    stimuli(*noise(home, folder))
    text = (folder / "images.csv").read_text()
    first = re.search(r"snr_db,3,([\d.]+),", text)[1]
    (folder / "images.csv").write_text(text.replace(f"snr_db,3,{first},", "snr_db,3,3.5,"))
    code, _, err = stimuli("check", folder, "--quiet")
    assert (code, f"snr_db {first}" in err, "images.csv says 3.5" in err) == (1, True, True)


def test_protocols_are_listed_and_printed(stimuli):
    code, out, _ = stimuli("protocols")
    assert code == 0
    assert re.search(r"^default +clean, two strengths of noise", out, re.MULTILINE)
    assert stimuli("protocols", "default") == (0, (ROOM / "protocols" / "default.yaml").read_text(), "")
    assert stimuli("protocols", "sead")[0] == 2


# Bad input ----------------------------------------------------------------------------------------------------------


def bad(change, home, folder):
    """Arguments in which one thing is wrong."""
    shutil.copytree(home / "photos", folder / "photos")
    photos = folder / "photos"
    options = {"-p": home / "noise.yaml", "-o": folder / "out"}
    if change == "empty":
        (folder / "nothing").mkdir()
        photos = folder / "nothing"
    elif change == "no concepts":
        shutil.copy(photos / "fire" / "0.png", photos / "a.png")
    elif change == "corrupt":
        (photos / "fire" / "0.png").write_bytes((photos / "fire" / "0.png").read_bytes()[:200])
        (photos / "mushroom" / "1.png").write_text("no picture")
    elif change == "flat":
        Image.new("RGB", (60, 60), "red").save(photos / "fire" / "red.png")
    elif change == "unwritable":
        options["-o"] = folder / "nowhere" / "out"
    elif change == "a file":
        options["-o"] = photos / "fire" / "0.png"
    elif change == "other files":
        options["-o"] = photos
    elif change == "misspelt":
        (folder / "p.yaml").write_text(NOISE.replace("snr_db", "snr_bd"))
        options["-p"] = folder / "p.yaml"
    elif change == "size":
        options["--size"] = 5
    elif change == "unused":
        options |= {"--renders": folder}
    elif change == "levels":
        rows = [(f"fire/{k}.png", "fire", level) for k, level in ((0, 5), (1, 1))]
        pd.DataFrame(rows, columns=["image", "concept", "level"]).to_csv(photos / "t.csv", index=False)
        photos = photos / "t.csv"
    else:
        options |= {
            "-p": home / "levels.yaml",
            "--model": "clip-mini",
            "--layer": "block_4",
            "--exemplars": home / "photos",
        }
        options |= {"--neuron-map": home / "map.json", "--renders": home / "renders"}
        if isinstance(change, dict):
            (folder / "map.json").write_text(json.dumps(change))
            options["--neuron-map"] = folder / "map.json"
        elif change == "no renders":
            shutil.copytree(home / "renders", folder / "renders")
            shutil.rmtree(folder / "renders" / "clip-mini" / "layer4" / "206")
            options["--renders"] = folder / "renders"
        elif change == "own":
            options["--preprocessing"] = "own"
        else:
            del options[change]
    return ["build", photos, *(part for option in options.items() for part in option)]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ("empty", ["nothing: no image in this folder"]),
        ("no concepts", ["image 'a.png': has no concept; expected a folder for each concept"]),
        ("corrupt", ["fire/0.png: cut off or damaged", "mushroom/1.png: is text, not an image"]),
        ("flat", ["fire/red.png: is one flat colour"]),
        ("unwritable", ["out: the folder"]),
        ("a file", ["0.png: cannot be written"]),
        ("other files", ["photos: holds other files; expected a new or empty folder"]),
        ("misspelt", ["p.yaml, levels.1: no such key 'snr_bd' (did you mean 'snr_db'?)"]),
        ("size", ["--size: found 5; expected a whole number from 32"]),
        ("unused", ["renders: found one, but no level of protocol noise takes it"]),
        ("levels", ["IMAGES: pictures of the levels 1, 5; expected clean pictures alone"]),
        ({"185": "fire"}, ["neuron map: no unit for the concept 'mushroom'"]),
        ({"185": "fire", "206": "mushrom"}, ["no unit for the concept 'mushroom' (did you mean 'mushrom'?)"]),
        ({"185": "fire", "206": "mushroom", "7": "Fire"}, ["concept 'fire' has the units 185, 7; expected one"]),
        ({"185": "fire", "512": "mushroom"}, ["neuron map: unit 512; layer layer4 of clip-mini has units 0 to 511"]),
        ("no renders", ["206: 0 renders of unit 206 (mushroom); expected at least 1"]),
        ("--renders", ["renders: none given; protocol levels needs it"]),
        ("--layer", ["layer: none given; protocol levels needs it"]),
        ("--neuron-map", ["neuron-map: none given; protocol levels needs it"]),
        ("--exemplars", ["exemplars: none given; protocol levels needs it"]),
        ("--model", ["clip-rn50x4: its weights are not on this machine"]),
        ("own", ["preset: found 'own'; expected clip or published"]),
        ("-o", ["Missing option '--output' / '-o'"]),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_each_and_nothing_is_written(home, stimuli, tmp_path, change, lines):
    arguments = bad(change, home, tmp_path)
    code, out, err = stimuli(*arguments)
    found = err.splitlines()
    assert (code, out, len(found)) == (2, "", len(lines)), err
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith("error: ")
        assert expected in line
    assert not (tmp_path / "out").exists()


def test_help_teaches(stimuli):
    code, out, _ = stimuli("build", "--help")
    text = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert "Interrupted builds resume" in text
    assert "listed and refused before anything is written" in text
