"""Guards the guide of Data/DIY: its blocks, in their order, run as written in a folder with a few drawn pictures."""

import re
import shlex
from pathlib import Path
from random import Random

import pandas as pd
import pytest

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.models.clip_mini.world.scenes import draw_scene

GUIDE = (Path(__file__).parents[3] / "Data" / "DIY" / "README.md").read_text(encoding="utf-8")
FILES = {"csv": ["images.csv", "ratings.csv"], "python": ["my_network.py"], "json": ["neuron_map.json"]}
"""What the blocks of a language are, as the text above them says."""


def all_rated():
    """Ratings of the pictures that the example of the guide leaves out, by two participants."""
    rows = [("cat", 2), ("cat", 3), ("dog", 2), ("dog", 3)]
    return "".join(f"experiment,{c}/{k}.png,{c},5,p{p},{p % 2}\n" for c, k in rows for p in (1, 2))


def blocks():
    """Language and content of each block."""
    return re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # of warnings the command makes notes
def test_every_step_of_the_guide_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        path = Path("photos", ("cat", "dog")[i % 2], f"{i // 2 + 1}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(Random(i)).render(32).save(path)
    names = {language: iter(found) for language, found in FILES.items()}
    checked = []
    for language, block in blocks():
        if language != "bash":
            name = next(names[language])
            Path(name).write_text(block + (all_rated() if name == "ratings.csv" else ""))
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "interpscore"
            faster = {"extract": ["--workers", "1", "--threads", "1"], "score": ["--resamples", "20"]}
            with pytest.raises(SystemExit) as left:
                run(app, [*arguments, *faster.get(arguments[0], [])])
            out, err = capfd.readouterr()
            assert left.value.code == 0, (line, out, err)
            checked.append(arguments[0])
            if arguments[0] == "score":
                scores = pd.read_csv("results.csv")
                assert scores["S"].notna().all()
                assert (scores["n_ratings"] > 0).all() == (arguments[1] == "ratings.csv")
    assert checked == ["data", "models", "extract", "table", "score", "causality", "score"]
    with pytest.raises(SystemExit, match="0"):
        run(app, ["data", "check", "."])
    out, _ = capfd.readouterr()
    ready = re.findall(r"^  (\S+).* ready$", out, re.MULTILINE)
    assert ready == ["S", "C", "H", "labels"]
