"""Guards models in the user's own Python files: run when named on the command line alone, identified by their hashes, and
their errors said by file and line."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from Activation_Extraction import ActivationStore, load_model
from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.files import as_json
from Activation_Extraction.models.registry import find_spec
from InterpScore.benchmark import run_interpretability_benchmark
from InterpScore.errors import TableWarning

pytestmark = pytest.mark.usefixtures("decoding_here")
HEAD = """
from torch import nn
import torch
from Activation_Extraction.clip_helpers import ImageInput
from Activation_Extraction.models.adapters import from_module

"""
NETWORK = "nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())"
GOOD = f"""{HEAD}
with open(__file__ + ".ran", "a") as ran:
    ran.write("x")
def load():
    torch.manual_seed(0)
    return from_module({NETWORK}, ImageInput(16), name="mine")
as_it_is = load()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with three pictures of two concepts, and `mine.py`."""
    monkeypatch.chdir(tmp_path)
    for i, concept in enumerate(["cat", "cat", "dog", "dog"]):
        Path("photos", concept).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)).save(
            f"photos/{concept}/{i}.png"
        )
    Path("mine.py").write_text(GOOD)
    return tmp_path


@pytest.fixture
def called(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            run(app, list(map(str, arguments)))
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


EXTRACT = (
    "extract",
    "photos",
    "--model",
    "mine.py:load",
    "--layer",
    "1",
    "-o",
    "acts.zarr",
    "--backend",
    "eager",
    "--quiet",
)


def has_run():
    return Path("mine.py.ran").exists()


@pytest.mark.parametrize("name", ["load", "as_it_is"])
def test_a_function_and_a_model_are_loaded_once(place, name):
    model = load_model(f"mine.py:{name}")
    assert (model.name, model.provenance["file"]) == (f"mine.py:{name}", "mine.py")
    assert load_model(f"{place}/mine.py:{name}").module is model.module
    assert Path("mine.py.ran").read_text() == "x"


def test_naming_a_file_runs_nothing_until_it_is_loaded(place):
    assert find_spec("mine.py:load").name == "mine.py:load"
    assert not has_run()


def test_a_pickled_model_is_loaded_again_from_an_unchanged_file(place):
    model = load_model("mine.py:load", threads=1)
    sent = pickle.dumps(model)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert (again.module, again.threads) == (model.module, 1)
    Path("mine.py").write_text(GOOD + "# changed\n")
    with pytest.raises(InputError, match=r"mine\.py:load: has changed since it was loaded"):
        pickle.loads(sent)


def test_modules_beside_the_file_can_be_imported(place):
    Path("beside_it.py").write_text(HEAD + f"network = {NETWORK}")
    Path("sub.py").write_text(
        HEAD + "from beside_it import network\nload = from_module(network, ImageInput(16), name='a')"
    )
    assert load_model("sub.py:load").name == "sub.py:load"


IMPORTS = {
    "a module": ("import beside", {"beside.py": "x = 1"}, {"beside.py"}),
    "a name": ("from beside import x", {"beside.py": "x = 1"}, {"beside.py"}),
    "a package": ("from parts.net import x", {"parts/__init__.py": "", "parts/net.py": "from . import low\nfrom .low import x", "parts/low.py": "x = 1"}, {"parts/__init__.py", "parts/net.py", "parts/low.py"}),
    "a module of a package": ("from parts import net", {"parts/net.py": "from .deep.er import x", "parts/deep/er.py": "x = 1"}, {"parts/net.py", "parts/deep/er.py"}),
    "what that imports": ("import beside", {"beside.py": "import other, os, torch.nn", "other.py": "import beside"}, {"beside.py", "other.py"}),
    "within a function": ("def late():\n    import beside", {"beside.py": "x = 1"}, {"beside.py"}),
    "none": ("import torch, json", {"beside.py": "x = 1"}, set()),
}  # fmt: skip


@pytest.mark.parametrize("case", IMPORTS)
def test_files_that_the_file_imports_are_part_of_its_identity(place, case):
    line, files, imported = IMPORTS[case]
    Path("mine.py").write_text(f"{GOOD}\n{line}\n")
    for name, content in files.items():
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).write_text(content)
    provenance = load_model("mine.py:load").identity["provenance"]
    hashes = {key.partition(":")[2]: value for key, value in provenance.items() if key.startswith("file_sha256:")}
    assert hashes == {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in imported}


def test_a_changed_import_is_run_again_and_does_not_resume(place, called):
    Path("widths_of_mine.py").write_text("width = 4")
    Path("mine.py").write_text(
        GOOD.replace("def load", "from widths_of_mine import width\ndef load").replace("(3, 4,", "(3, width,")
    )
    assert called(*EXTRACT)[0] == 0
    sent = pickle.dumps(load_model("mine.py:load"))
    Path("widths_of_mine.py").write_text("width = 5  # changed")
    assert load_model("mine.py:load").module[0].out_channels == 5
    with pytest.raises(InputError, match="has changed since it was loaded"):
        pickle.loads(sent)
    status, _, err = called(*EXTRACT)
    assert (status, "holds provenance.file_sha256:widths_of_mine.py" in err) == (2, True)


BROKEN = {
    "state": (HEAD + "def load():\n    nn.Linear(2, 3).load_state_dict(nn.Linear(2, 4).state_dict())", "line 8: RuntimeError: Error(s) in loading state_dict for Linear: size mismatch for weight: copying a param with shape torch.Size([4, 2])"),
    "syntax": ("def load(:", "line 1: SyntaxError"),
    "import": ("x = 1\nimport no_such_thing_of_mine", "line 2: ModuleNotFoundError: No module named 'no_such_thing_of_mine'"),
    "body": ("def load():\n    return {}['weights']", "line 2: KeyError: 'weights'"),
    "file": ("def load():\n    return open('weights.pt')", "line 2: FileNotFoundError"),
    "exit": ("raise SystemExit(3)", "line 1: SystemExit: 3"),
    "ours": (HEAD + "load = from_module(nn.Flatten(), ImageInput(8), name='a', tower='b')", "line 7: a: no submodule 'b'"),
    "our bug": (HEAD + "load = from_module('network', ImageInput(8), name='a')", "line 7: AttributeError"),
    "argument": ("def load(path): ...", ": TypeError: load() missing 1 required positional argument: 'path'"),
    "nothing": ("def load(): ...", "load gives NoneType; expected a Model"),
    "network": (HEAD + "load = nn.Flatten()", "TypeError"),
    "name": ("def loda(): ...", "has no 'load' (did you mean 'loda'?)"),
}  # fmt: skip


@pytest.mark.parametrize("code", BROKEN)
def test_errors_of_the_file_are_one_line_with_their_place(place, called, code):
    content, message = BROKEN[code]
    Path("bad.py").write_text(content)
    status, _, err = called("models", "layers", "bad.py:load")
    assert (status, err.count("\n")) == (2, 1)
    assert str(place / "bad.py") in err
    assert message in err
    assert "a bug in interpscore" not in err


LATE = {
    "forward": ("class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.a = nn.Flatten()\n"
                "    def forward(self, x):\n        x = self.a(x)\n        return x @ x\n"
                "load = lambda: from_module(Net(), ImageInput(8), name='a')", "line 13: RuntimeError"),
    "transform": ("import numpy as np\nseen = []\ndef transform(image):\n    seen.append(1)\n    return torch.tensor(1 / (len(seen) < 6)) + "
                  "torch.tensor(np.array(image.resize((8, 8)))).permute(2, 0, 1) / 255\n"
                  "load = lambda: from_module(nn.Sequential(nn.Flatten()), transform, name='a')", "line 11: ZeroDivisionError"),
}  # fmt: skip


@pytest.mark.parametrize("code", LATE)
def test_errors_while_the_network_runs_are_the_files_too(place, called, code):
    content, message = LATE[code]
    Path("bad.py").write_text(HEAD + content)
    command = [*EXTRACT[:3], "bad.py:load", "--layer", "a" if code == "forward" else "0", *EXTRACT[6:]]
    status, _, err = called(*command)
    assert status == 2
    assert "a bug in interpscore" not in err
    assert message in err


def test_debug_shows_the_traceback_of_the_file(place, called):
    Path("bad.py").write_text(BROKEN["body"][0])
    status, _, err = called("models", "layers", "bad.py:load", "--debug")
    assert status == 2
    assert "return {}['weights']" in err


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("mine.py", "names nothing in the file"), ("mine.py:", "names nothing in the file"),
        ("mine.py:load()", "names nothing in the file"), ("none.py:load", "No such file"), ("photos.py:load", "is a folder"),
    ],
)  # fmt: skip
def test_names_that_are_no_place_in_a_file_are_refused(place, called, named, message):
    Path("photos.py").mkdir()
    status, _, err = called("models", "layers", named)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
    assert not has_run()


def test_weights_are_refused(place, called):
    status, _, err = called("models", "layers", "mine.py:load", "--weights", "mine.py")
    assert (status, has_run()) == (2, False)
    assert "its code loads its own weights" in err


@pytest.mark.parametrize(
    ("change", "named"),
    [("torch.manual_seed(1)", "provenance.state_sha256"), ("torch.manual_seed(0)  # still", "provenance.file_sha256")],
)
def test_a_changed_file_or_other_weights_do_not_resume(place, called, change, named):
    assert called(*EXTRACT)[0] == 0
    Path("mine.py").write_text(GOOD.replace("torch.manual_seed(0)", change))
    status, _, err = called(*EXTRACT)
    assert status == 2
    assert f"holds {named}" in err


@pytest.fixture
def scored(place, called):
    """A store, a table and a map."""
    assert called(*EXTRACT)[0] == 0
    Path("mine.py.ran").unlink()
    rows = [{"image_filename": f"{c}/{i}.png", "ground_truth": c, "level": 5, "soft_correct": None} for i, c in enumerate(["cat", "cat", "dog", "dog"])]  # fmt: skip
    pd.DataFrame(rows).to_csv("data.csv", index=False)
    Path("map.json").write_text('{"0": "cat"}')
    return (
        "score",
        "data.csv",
        "map.json",
        "results.csv",
        "--store",
        "acts.zarr",
        "--images",
        "photos",
        "--resamples",
        "0",
    )


def test_a_file_that_a_store_names_is_never_run(scored, place, called):
    about = json.loads(Path("acts.zarr/provenance.json").read_text())
    for forged in ("mine.py:load", f"{place}/mine.py:load", "mine.PY:load", "mine.py"):
        about["identity"]["model"] = forged
        Path("acts.zarr/provenance.json").write_bytes(as_json(about))
        status, _, err = called(*scored)
        assert (status, has_run()) == (2, False), forged
        assert "a file that a store names is never run" in err, forged
        called("extract", "-o", "acts.zarr", "--verify")
        assert called("extract", "photos", "--layer", "1", "-o", "acts.zarr", "--model", "clip-mini")[0] == 2, forged
        assert not has_run(), forged


@pytest.mark.filterwarnings("ignore::InterpScore.errors.TableWarning")
def test_effects_of_another_network_are_not_joined(scored, called):
    assert called(*scored, "--model", "mine.py:load")[0] == 0
    Path("other.py").write_text(GOOD.replace("torch.manual_seed(0)", "torch.manual_seed(1)"))
    status, _, err = called(*scored, "--model", "other.py:load")
    assert status == 2
    assert "expected the same network" in err
    assert called("causality", "photos", "--model", "other.py:load", "--layer", "1", "-o", "e.parquet")[0] == 0
    with pytest.raises(InputError, match="expected the same network"):
        run_interpretability_benchmark("data.csv", "map.json", stores="acts.zarr", causality="e.parquet")
    assert issubclass(TableWarning, UserWarning)
    assert ActivationStore.open("acts.zarr").is_complete


DREAM = "steps: 1\nsize: 16\nobjective: {channel: 1}\n"
PROTOCOL = "about: nothing\nsize: 32\nlevels:\n  5: {kind: clean}\n  3: {kind: adversarial, norm: linf, radius: 8, target: unit, direction: lower, steps: 2, step: 0.5, starts: 1}\n"


@pytest.mark.parametrize(
    "command",
    [
        "dream --model mine.py:load --layer 1 --units 0 --recipe quick.yaml -o out",
        "stimuli build photos --protocol plain.yaml -o out --model mine.py:load --layer 1 --neuron-map map.json",
        "causality photos --model mine.py:load --layer 1 -o out.parquet", "models layers mine.py:load",
    ],
)  # fmt: skip
def test_every_command_takes_a_file(place, called, command):
    Path("quick.yaml").write_text(DREAM)
    Path("plain.yaml").write_text(PROTOCOL)
    Path("map.json").write_text('{"0": "cat", "1": "dog"}')
    code, _, err = called(*command.split())
    assert code in (0, 1), err  # 1: an adversarial picture that does not reach its target
    assert has_run()
