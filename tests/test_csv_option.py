"""Guards `--csv`: each command that takes a table says what to type where it reads in several ways, and reads it as told."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from Activation_Extraction import image_set
from Activation_Extraction.base.commands import app, run
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models import registry
from Activation_Extraction.models.adapters import from_module
from Activation_Extraction.models.registry import ModelSpec
from Activation_Extraction.store.writer import StoreWriter
from InterpScore import run_interpretability_benchmark
from InterpScore.errors import InputError

LABELS = "image,concept\n{}\n".format("\n".join(f"{i}.png,{'кот' if i % 2 else 'пёс'}" for i in range(6)))
TABLE = "image_filename;ground_truth;level;soft_correct\n{}\n".format(
    "\n".join(f"{i}.png;{'кот' if i % 2 else 'пёс'};5;" for i in range(6))
)
PLAIN = "about: nothing\nsize: 32\nlevels:\n  5: {kind: clean}\n"
NETWORK = "--model toy --layer 1"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with six pictures, their labels in CP1251, a table with the same words, and a network."""
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)).save(f"{i}.png")
    Path("labels.csv").write_bytes(LABELS.encode("cp1251"))
    Path("data.csv").write_bytes(TABLE.encode("cp1251"))
    Path("plain.csv").write_text(LABELS)
    Path("map.json").write_text(json.dumps({"0": "кот"}))
    Path("plain.yaml").write_text(PLAIN)
    Path("quick.yaml").write_text("steps: 1\nsize: 16\nobjective: {channel: 1}\n")
    torch.manual_seed(0)
    model = from_module(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        ImageInput(16),
        name="toy",
    )
    monkeypatch.setitem(registry._registered, "toy", ModelSpec("toy", "a test", lambda *_: model, embedded=True))
    return tmp_path


@pytest.fixture
def called(place, capsys):
    def call(line, *more):
        with pytest.raises(SystemExit) as end:
            run(app, [*line.split(), *more])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


COMMANDS = {
    "extract": f"extract labels.csv {NETWORK} -o new.zarr --backend eager --workers 1 --threads 1",
    "table": "table --images labels.csv --store acts.zarr -o table.csv",
    "label": "label acts.zarr --concepts labels.csv --split none --resamples 0 -o labels.parquet",
    "top": "top acts.zarr --images labels.csv -o wall.png",
    "causality": f"causality labels.csv {NETWORK} -o effects.parquet",
    "dream": f"dream {NETWORK} --units 0 --recipe quick.yaml --images labels.csv --threads 1 -o renders",
    "stimuli build": "stimuli build labels.csv --protocol plain.yaml -o stimuli",
}


def write_store():
    images = image_set("plain.csv")
    sha256 = [hashlib.sha256(images.read(row)).hexdigest() for row in range(6)]
    with StoreWriter("acts.zarr", {"model": "toy", "batch_size": 2}, images, {"1": (2,)}, top_k=6) as writer:
        (shard,) = writer.missing
        writer.commit(shard, {"1": np.arange(12, dtype=np.float32).reshape(6, 2)}, sha256, [""] * 6)
        writer.finish()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_what_to_type_for_an_image_table_and_reads_it_so(called, command):
    if "acts.zarr" in COMMANDS[command].split("-o")[0]:
        write_store()
    code, _, err = called(COMMANDS[command])
    assert code == 2
    assert '--csv "encoding=cp1252" (or cp1251' in err
    code, out, err = called(COMMANDS[command], "--csv", "encoding=cp1251")
    assert code == 0, err
    assert "note: labels.csv: read as: encoding cp1251" in out
    code, _, err = called(COMMANDS[command], "--csv", "encoding=cp1251", "--csv", "file=other.csv sep=;")
    assert (code, "--csv: file=other.csv is none of the tables; expected file=labels.csv" in err) == (2, True)


CAUSALITY = f"causality . --table data.csv {NETWORK} -o effects.parquet"


def test_causality_tells_the_table_from_image_tables(called):
    code, _, err = called(CAUSALITY)
    assert (code, '--csv "encoding=cp1252"' in err) == (2, True)
    assert called(CAUSALITY, "--csv", "encoding=cp1251")[0] == 0
    both = CAUSALITY.replace(". --table", "labels.csv --table")
    code, _, err = called(both, "--csv", "encoding=cp1251")
    assert (code, '--csv "file=labels.csv encoding=cp1252"' in err) == (2, True)
    labels = ("--csv", "file=labels.csv encoding=cp1251")
    assert '--csv "file=data.csv encoding=cp1252"' in called(both, *labels)[2]
    Path("effects.parquet").unlink()
    assert called(both, *labels, "--csv", "file=data.csv encoding=cp1251")[0] == 0
    assert len(pd.read_parquet("effects.parquet")) == 6


EFFECTS = "image;ablation_effect_0;amplification_effect_0\n{}\n".format(
    "\n".join(f"{i}.png;1,{i}25;1,{i}25" for i in range(6))
)


@pytest.fixture
def scored(called):
    """What scores a table with activations, in English, with effects whose commas may group digits."""
    concepts = np.array(["dog", "cat"] * 3)
    frame = pd.DataFrame({"image": [f"{i}.png" for i in range(6)], "ground_truth": concepts, "level": 5})
    frame = frame.assign(soft_correct=None, activation_0=np.arange(6) % 2 + 0.5)
    frame.to_csv("scored.csv", index=False)
    Path("cats.json").write_text('{"0": "cat"}')
    Path("effects.csv").write_text(EFFECTS)
    return "score scored.csv cats.json results.csv --resamples 0"


@pytest.mark.parametrize(
    ("told", "effect"), [("decimal=,", 1.325), ("thousands=,", 1325), ("sep=; decimal=comma", 1.325)]
)
def test_effects_are_read_as_told(scored, called, told, effect):
    code, _, err = called(f"{scored} --causality effects.csv")
    assert code == 2
    assert '--csv "file=effects.csv decimal=," for 1.025, --csv "file=effects.csv thousands=,"' in err
    code, _, err = called(f"{scored} --causality effects.csv", "--csv", f"file=effects.csv {told}")
    assert code == 0, err
    results = json.loads(Path("results.json").read_text())
    assert results["neurons"][0]["C_raw"] == pytest.approx(effect)
    assert results["signature"]["inputs"]["causality"]["csv"].keys() == set(re.findall(r"(\w+)=", told))
    assert "csv" not in results["signature"]["inputs"]["data"]


@pytest.mark.parametrize(
    "content",
    [
        EFFECTS.replace("1,", "0,"), EFFECTS.replace("1,", "0.").replace(";", "\t"),
        EFFECTS.replace("1,", "0.").replace("image;ablation_effect_0", "Image;Ablation.Effect.0"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
def test_effects_of_another_program_are_read_and_noted(scored, content):
    Path("effects.csv").write_text(content)
    result = run_interpretability_benchmark("scored.csv", {"0": "cat"}, causality="effects.csv", resamples=0)
    assert result.table["C_raw"].tolist() == pytest.approx([0.325])
    assert any(line.startswith("effects.csv: read as: separator ") for line in result.warnings)


def test_score_reads_its_images_as_told(scored, called):
    measure = f"{scored} --images labels.csv {NETWORK}"
    code, _, err = called(measure)
    assert (code, '--csv "file=labels.csv encoding=cp1252"' in err) == (2, True)
    code, out, err = called(measure, "--csv", "file=labels.csv encoding=cp1251")
    assert (code, "note: labels.csv: read as: encoding cp1251" in out) == (0, True), err
    assert "--csv: file=no.csv is none of the tables" in called(measure, "--csv", "file=no.csv sep=;")[2]


@pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
def test_in_python_options_of_several_tables_are_a_list(scored):
    Path("scored.csv").write_text(
        Path("scored.csv").read_text().replace("0.5", "1,025").replace("1.5", '"2,025"').replace("1,025", '"1,025"')
    )
    told = [{"decimal": ","}, "file=effects.csv thousands=,"]
    result = run_interpretability_benchmark("scored.csv", {"0": "cat"}, causality="effects.csv", csv=told, resamples=0)
    assert result.table["C_raw"].tolist() == pytest.approx([1325])
    assert result.signature["inputs"]["data"]["csv"] == {"decimal": ","}
    with pytest.raises(InputError, match=r"--csv: names no file; expected file=effects\.csv"):
        run_interpretability_benchmark(
            pd.DataFrame(), {"0": "cat"}, causality="effects.csv", csv="decimal=,", resamples=0
        )
    assert len(image_set("labels.csv", csv="encoding=cp1251")) == 6
