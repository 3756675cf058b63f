"""Guards every command that makes files against names from outside: nothing outside the output, nothing raw on a terminal,
in HTML or in a spreadsheet. A command that takes an output joins by its case in `CASES`."""

import csv
import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from torch import nn

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.names import folded
from Activation_Extraction.base.text import as_csv, from_cell
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models import registry
from Activation_Extraction.models.layers import LayerNames
from Activation_Extraction.models.registry import Model, ModelSpec
from tests.Activation_Extraction import small_stores
from tests.hostile import NAMES, NOT_TEXT, ON_DISK, is_safe_part, is_shown
from tests.Human_Experiment_Setup.study.small_study import small_study

SIDE = 16
DEEP = "a/b/c/d/e"
"""Where outputs go, so that names that climb arrive in the test's own folder."""

MADE_BY_US = {".records", ".identity.json", ".lock", "zarr.json"}


LAYER = "-up \x1b[2J\u202e/x"


class Toy(nn.Sequential):
    """One convolution with a ReLU, a head, and a hostile name."""

    def __init__(self):
        super().__init__()
        self.add_module("conv", nn.Conv2d(3, 4, 3, stride=4))
        self.add_module(LAYER, nn.ReLU())
        self.add_module("mean", nn.AdaptiveAvgPool2d(1))
        self.add_module("flat", nn.Flatten())


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The network `toy`."""
    torch.manual_seed(0)
    net = Toy().eval().requires_grad_(False)
    model = Model("toy", net, net, ImageInput(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), LayerNames(net))
    monkeypatch.setitem(
        registry._registered, "toy", ModelSpec("toy", "a test", lambda file, sha256: model, embedded=True)
    )


def photo(key):
    return Image.fromarray(np.random.default_rng(key).integers(0, 256, (SIDE, SIDE, 3), np.uint8))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four pictures of each hostile name, in a table; and a folder of files with hostile names, some of them broken."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "copies").mkdir()
    rows = []
    for i, name in enumerate(NAMES):
        for k in range(4):
            image = f"copies/{i}_{k}.png"
            photo(4 * i + k).save(folder / image)
            rows.append({"image": image, "concept": name})
    pd.DataFrame(rows).to_parquet(folder / "four.parquet")
    pd.DataFrame(rows[::4]).to_parquet(folder / "one.parquet")
    (folder / "odd").mkdir()
    for i, name in enumerate([*map(os.fsencode, ON_DISK), NOT_TEXT]):
        with open(os.fsencode(folder / "odd") + b"/" + name + b".png", "wb") as file:
            file.write(b"" if i % 2 else (folder / image).read_bytes())
    return folder


@pytest.fixture
def called(capfd, tmp_path, pictures):
    """Runs `interpscore` with an output deep in a folder; checks what every command owes, and gives its output."""
    before = None

    def call(*arguments, codes=(0, 1)):
        with pytest.raises(SystemExit) as left:
            run(app, [str(part) for part in arguments])
        out, err = capfd.readouterr()
        assert left.value.code in codes, err
        assert is_shown(out)
        assert is_shown(err)
        return out, err

    (tmp_path / DEEP).mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    yield call
    made = [path for path in tmp_path.rglob("*") if path not in before]
    assert made
    for path in made:
        inside = path.relative_to(tmp_path / DEEP).parts  # ValueError: outside
        assert all(part in MADE_BY_US or is_safe_part(part) for part in inside), path
        assert not any(str(folder) in content_of(path) for folder in (tmp_path, pictures)), (
            f"{path} names a folder of here"
        )
    assert len({folded(str(path)) for path in made}) == len(made)


def content_of(path):
    """What a file says, as text."""
    if path.suffix == ".parquet":
        return str(pd.read_parquet(path).to_dict())
    return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""


def cells(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


def is_formula(cell):
    return cell[:1] in tuple("=+-@\t\r") and not cell.lstrip("+-").replace(".", "").replace("e-", "").isdigit()


def dream_of_facets(called, pictures, out):
    recipe = out.parent / "quick.yaml"
    recipe.write_text("steps: 1\nsize: 16\nobjective: {channel: 1, facet: 1}\nfacet_layer: conv\n")
    called(
        "dream", "--model", "toy", "--layer", LAYER, "--units", "+".join("0123" * 20), "--recipe",
        recipe, "--facet-images", pictures / "four.parquet", "-o", out, "--threads", 1,
    )  # fmt: skip
    recipe.unlink()
    (manifest,) = out.rglob("manifest.json")
    (entries,) = json.loads(manifest.read_text())["units"].values()
    assert sorted(entry["facet"] for entry in entries) == sorted(NAMES)
    assert {entry["file"] for entry in entries} == {
        path.relative_to(manifest.parent).as_posix() for path in out.rglob("*.png")
    }
    out, _ = called("dream", "check", manifest)
    assert "1 units" in out


def stimuli_of_concepts(called, pictures, out):
    protocol = out.parent / "plain.yaml"
    protocol.write_text(f"about: nothing\nsize: {SIDE * 2}\nlevels:\n  5: {{kind: clean}}\n")
    called("stimuli", "build", pictures / "one.parquet", "-p", protocol, "-o", out)
    protocol.unlink()
    page = (out / "contact_sheet.html").read_text()
    assert is_shown(page)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert not any(map(is_formula, cells(out / "images.csv")))
    from Activation_Extraction import image_set
    from Human_Experiment_Setup.stimuli.manifest import read_table

    concepts = {row["concept"] for row in read_table(out)}
    assert concepts == set(image_set(out / "images.csv").table["concept"].to_pylist())
    assert concepts <= set(map(str.strip, NAMES))
    assert len(concepts) > len(NAMES) - 4  # some are one concept, but for capitals
    (out / "pictures" / "\x1b[2J.png").touch()
    _, err = called("stimuli", "check", out)
    assert r"\x1b[2J.png" in err
    (out / "pictures" / "\x1b[2J.png").unlink()


def extract_of_images(called, pictures, out):
    export = out.parent / "all.npz"
    _, err = called(
        "extract", pictures / "odd", "--model", "toy", "--layer", LAYER, "-o", out, "--export", export,
        "--workers", 1, "--threads", 1,
    )  # fmt: skip
    assert err.count("not read: ") == 10
    assert not any(map(is_formula, cells(export.with_suffix(".csv"))))
    named = {from_cell(cell) for cell in cells(export.with_suffix(".csv")) if cell.endswith(".png")}
    assert {f"{name}.png" for name in ON_DISK if name[0] != "."} <= named  # hidden files are left out


def causality_of_images(called, pictures, out):
    out, err = called(
        "causality", pictures / "odd", pictures / "one.parquet", "--model", "toy", "--layer", LAYER, "--units", "0", "-o",
        out.with_suffix(".parquet"),
    )  # fmt: skip
    assert "unreadable: " in err


def table_of_concepts(called, pictures, out):
    options = ("--model", "toy", "--layer", LAYER, "-o", out, "--workers", 1, "--threads", 1)
    called("extract", pictures / "four.parquet", *options)
    table = out.with_suffix(".csv")
    one = pd.read_parquet(pictures / "four.parquet").assign(clean_image="=1+1", split="@x", kind="\x1b[2J", level=5)
    one.to_parquet(out.parent / "labels.parquet")
    labels = ("--images", out.parent / "labels.parquet", "--images-root", pictures)
    called("table", *labels, "--store", out, "--units", "0", "-o", table)
    assert not any(map(is_formula, cells(table)))
    assert set(NAMES) == set(map(from_cell, cells(table))) & set(NAMES)


def label_of_concepts(called, pictures, out):
    options = ("--model", "toy", "--layer", LAYER, "-o", out, "--workers", 1, "--threads", 1)
    called("extract", pictures / "four.parquet", *options)
    from Activation_Extraction.store.reader import ActivationStore

    table = pd.read_parquet(pictures / "four.parquet")
    activation_IU = ActivationStore.open(out).units(LAYER, range(4))
    for unit, name in enumerate(["=1+1", "@\x1b[2J", "-x\u202e", "<b>[red]"]):  # shown by what activates a unit
        table.loc[np.argsort(-activation_IU[:, unit])[:12], "concept"] = name
    table.to_parquet(out.parent / "concepts.parquet")
    concepts = ("--concepts", out.parent / "concepts.parquet", "--images-root", pictures, "--min-images", 2)
    exports = {layout: out.parent / f"{layout}.csv" for layout in ("clip-dissect", "milan")}
    written = [word for layout, path in exports.items() for word in ("--export", f"{layout}={path}")]
    labels = out.with_suffix(".parquet")
    called("label", out, *concepts, "-o", labels, "--map-out", out.parent / "map.json", *written, "--resamples", 20)
    for path in (*exports.values(), out.parent / "map.evaluation.csv"):
        assert not any(map(is_formula, cells(path))), path
    found = pd.read_parquet(labels)["concept"].dropna()
    assert len(found) >= 2
    assert set(found) == {from_cell(cell) for cell in cells(exports["milan"])} & set(found)


def top_of_concepts(called, pictures, out):
    options = ("--model", "toy", "--layer", LAYER, "-o", out, "--workers", 1, "--threads", 1)
    called("extract", pictures / "odd", pictures / "four.parquet", *options)
    (out.parent / "map.json").write_text(json.dumps({"0": NAMES[0].strip() or "x", "1": "<b>=1+1"}))
    images = ("--images", pictures / "odd", "--images", pictures / "four.parquet")
    called("top", out, *images, "-k", 30, "--neuron-map", out.parent / "map.json", "-o", out.with_suffix(".png"))
    _, err = called(
        "top", out, "--images", pictures / "copies", "--units", ":", "-k", 30, "-o", out.parent / "b.png", codes=[2]
    )
    assert "not found" in err


def microscope_of_names(called, pictures, out):
    """Names of images, concepts and layers stay what they are in files whose names are ours; labels and results with them."""
    folder, store = out.parent, out.parent / "a.zarr"
    options = ("--model", "toy", "--layer", LAYER, "-o", store, "--workers", 1, "--threads", 1)
    called("extract", pictures / "odd", pictures / "four.parquet", *options)
    (folder / "map.json").write_text(json.dumps({"0": NAMES[0].strip() or "x", "1": "<b>=1+1"}))
    images = ("--images", pictures / "odd", "--images", pictures / "four.parquet")
    called("microscope", "build", store, *images, "--neuron-map", folder / "map.json", "-o", out)
    (layer,) = json.loads((out / "bundle.json").read_text())["layers"]
    assert layer["layer"] == LAYER
    said = json.loads((out / layer["key"] / "layer.json").read_text())
    concepts = json.loads((out / layer["key"] / said["concepts"]).read_text())["concepts"]
    assert {one["name"] for one in concepts} >= {name for name in NAMES if name}
    called("microscope", "export", out, "-o", folder / "=site")
    assert (folder / "=site" / "bundle" / "bundle.json").read_bytes() == (out / "bundle.json").read_bytes()
    _, err = called("microscope", "build", store, "--images", pictures / "odd", "-o", folder / "c", codes=[1])
    assert "not found" in err


def profile_of_layers(called, pictures, out):
    small_stores.write(out, small_stores.activations(4, {LAYER: (3,)}), identity={"model": NAMES[-4]})
    printed, _ = called("profile", out, "--embedding", out, "--same-network", "-o", out.with_suffix(".csv"))
    assert r"-up \x1b[2J\u202e/x" in printed
    assert not any(map(is_formula, cells(out.with_suffix(".csv"))))
    assert json.loads(out.with_suffix(".json").read_text())["signature"]["activations"]["layer"] == LAYER


def baseline_of_images(called, pictures, out):
    network = ("--model", "toy", "--layer", LAYER, "--seeds", 1, "--effects")
    printed, err = called("baseline", pictures / "odd", *network, "-o", out)
    assert err.count("not read: ") == 10
    assert "effects of the units of" in printed


def score_of_concepts(called, pictures, out):
    images = [(name, k) for name in NAMES for k in range(2)]
    table = pd.DataFrame(
        {
            "trial_category": "x", "ground_truth": name, "level": 5, "image_filename": f"{i}.png", "soft_correct": k,
            **{f"activation_{u}": float(name == wanted) + k for u, wanted in enumerate(NAMES)},
        }
        for i, (name, k) in enumerate(images)
    )  # fmt: skip
    data, neuron_map = out.parent / "data.parquet", out.parent / "map.json"
    table.to_parquet(data)
    neuron_map.write_text(json.dumps({str(u): name for u, name in enumerate(NAMES)}))
    results = out.with_suffix(".csv")
    _, err = called("score", data, neuron_map, results, "--resamples", "0", codes=[2])
    assert err.count("expected printable text in one line") == err.count("\n") == 6
    lines = {str(u): name for u, name in enumerate(NAMES) if repr(name) not in err}
    neuron_map.write_text(json.dumps(lines))
    called("score", data, neuron_map, results, "--resamples", "0")
    assert not any(map(is_formula, cells(results)))
    stated = {row["Concept"] for row in json.loads(results.with_suffix(".json").read_text())["neurons"]}
    assert set(map(from_cell, cells(results))) >= stated


def words_of_concepts(called, pictures, out):
    """Names as concepts, words, images and participants; a table, a sheet, decisions and a report."""
    folder = out.parent
    rows = [
        {"ground_truth": name, "image_filename": name, "participant": NAMES[i - k], "level": 5, "word_1": f"{word} or x", "word_2": word}
        for i, name in enumerate(NAMES) for k, word in enumerate((name, NAMES[i - 1]))
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "answers.parquet")
    pd.DataFrame({"concept": NAMES, "word": [f"{name} x" for name in NAMES]}).to_parquet(folder / "synonyms.parquet")
    scored, sheet, decisions = (folder / f"{name}.csv" for name in ("scored", "sheet", "decisions"))
    called("study", "score", folder / "answers.parquet", "--synonyms", folder / "synonyms.parquet", "-o", scored)
    called("study", "adjudicate", scored, "--unlisted", "-o", sheet)
    filled = pd.read_csv(sheet, keep_default_na=False)
    (folder / "a.csv").write_bytes(as_csv(filled.assign(decision="yes"), index=False))
    (folder / "b.csv").write_bytes(as_csv(filled.assign(decision="no"), index=False))
    _, err = called("study", "adjudicate", "--filled", folder / "a.csv", "--filled", folder / "b.csv", "-o", decisions)
    assert "raters differ: " in err
    called("study", "report", scored, "-o", folder / "report.json", "--resamples", 2, "--splits", 2)
    for table in (scored, sheet, decisions, folder / "report.csv"):
        assert not any(map(is_formula, cells(table)))
    assert set(map(from_cell, cells(scored))) >= set(NAMES)


def import_of_answers(called, pictures, out):
    """Names as concepts, words, images and participants of a study run elsewhere, and as those of Prolific's submissions."""
    folder = out.parent
    columns = ("participant", "image_filename", "ground_truth", "words")
    rows = [dict.fromkeys(columns, name) | {"level": 5} for name in NAMES if "<" not in name]
    pd.DataFrame(rows).to_parquet(folder / "a.parquet")
    (folder / "map.yaml").write_text("".join(f"{name}: {name}\n" for name in (*columns, "level")))
    called("study", "import", folder / "a.parquet", "--columns", folder / "map.yaml", "-o", folder / "answers.csv")
    assert not any(map(is_formula, cells(folder / "answers.csv")))
    assert set(map(from_cell, cells(folder / "answers.csv"))) >= {row["participant"] for row in rows}
    pd.DataFrame({"Submission id": NAMES, "Participant id": NAMES, "Status": "AWAITING REVIEW"}).to_parquet(
        folder / "b.parquet"
    )
    small_study(folder, state=folder / "study.db.state").database.close()
    called("study", "reconcile", folder / "study.db", folder / "b.parquet", "-o", folder / "reconciled.csv")
    assert not any(map(is_formula, cells(folder / "reconciled.csv")))


def compare_of_concepts(called, pictures, out):
    concepts = ["=1+1", "<b>x", "[bold]y", "@z"]
    table = pd.DataFrame(
        {"ground_truth": name, "level": 5, "image_filename": f"{name[-1]}{k}.png", "soft_correct": np.nan,
         **{f"activation_{u}": float(u % 4 == i) + k * (u + 1) % 7 for u in range(8)}}
        for i, name in enumerate(concepts) for k in range(5)
    )  # fmt: skip
    table.to_parquet(out.parent / "data.parquet")
    for run_name, first in (("=a", 0), ("=b", 4)):
        neurons = out.parent / f"{first}.json"
        neurons.write_text(json.dumps({str(first + i): name for i, name in enumerate(concepts)}))
        called("score", out.parent / "data.parquet", neurons, out.with_name(f"{run_name}.csv"), "--resamples", 30)
    printed, _ = called("compare", out.with_name("=a.csv"), out.with_name("=b.csv"), "-o", out.with_name("c.csv"))
    assert "[bold]y" in printed
    assert not any(map(is_formula, cells(out.with_name("c.csv"))))
    assert set(concepts) <= set(map(from_cell, cells(out.with_name("c.csv"))))


def figures_of_concepts(called, pictures, out):
    score_of_concepts(called, pictures, out)
    folder = out.parent / "figures"
    wanted = ("--figure", "ranking", "--figure", "heatmap", "--format", "svg")
    called("figures", out.with_suffix(".csv"), "--data", out.parent / "data.parquet", "-o", folder, *wanted)
    for path in folder.glob("*.csv"):
        assert not any(map(is_formula, cells(path))), path
    assert {path.stem for path in folder.glob("*.svg")} == {"heatmap", "ranking"}
    assert all(is_shown(path.read_text()) for path in folder.glob("*.svg"))


def report_of_concepts(called, pictures, out):
    score_of_concepts(called, pictures, out)
    options = ("--model", "toy", "--layer", LAYER, "-o", out, "--workers", 1, "--threads", 1)
    called("extract", pictures / "four.parquet", *options)
    page = out.parent / "report.html"
    shown = ("--store", out, "--images", pictures / "four.parquet", "--neurons", "1")
    called("report", out.with_suffix(".csv"), *shown, "-o", page)
    text = page.read_text()
    assert is_shown(text)
    assert "<script>alert" not in text
    assert "<img src=x" not in text


NOTHING_FROM_OUTSIDE = "writes no name that comes from outside"
CASES = {
    "dream": dream_of_facets,
    "stimuli build": stimuli_of_concepts,
    "extract": extract_of_images,
    "causality": causality_of_images,
    "baseline": baseline_of_images,
    "table": table_of_concepts,
    "label": label_of_concepts,
    "microscope build": microscope_of_names,
    "microscope export": "in the case of microscope build",
    "top": top_of_concepts,
    "profile": profile_of_layers,
    "score": score_of_concepts,
    "figures": figures_of_concepts,
    "report": report_of_concepts,
    "compare": compare_of_concepts,
    "study score": words_of_concepts,
    "study adjudicate": "in the case of study score",
    "study report": "in the case of study score",
    "study import": import_of_answers,
    "study reconcile": "in the case of study import",
    "study export": "tests/Human_Experiment_Setup/study/answers: what participants type",
    "study power": NOTHING_FROM_OUTSIDE,
    "sanity": NOTHING_FROM_OUTSIDE,
    "data download": "tests/InterpScore/journey/test_downloads.py, which has a server",
    "models download": NOTHING_FROM_OUTSIDE,  # `WeightsFile` takes plain file names alone
}
OUTPUTS = {"-o", "--output", "--to", "--export", "results"}


def writing_commands(group, above=()):
    """Names of the commands below a group that take an output."""
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        path = (*above, name)
        if any(OUTPUTS & {*parameter.opts, parameter.name} for parameter in command.params):
            yield " ".join(path)
        if hasattr(command, "list_commands"):
            yield from writing_commands(command, path)


def test_every_command_that_writes_has_a_case():
    assert set(writing_commands(typer.main.get_command(app))) == set(CASES)


@pytest.mark.parametrize("command", [name for name, case in CASES.items() if callable(case)])
def test_hostile_names_stay_in_the_output_and_are_shown_escaped(request, command, called, pictures, tmp_path):
    if command != "extract":  # which gives the names to processes that decode
        request.getfixturevalue("decoding_here")
    CASES[command](called, pictures, tmp_path / DEEP / "out")
