"""Guards docs/own-data.md: its blocks run in order, and commands print what the page shows, up to the numbers."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from Activation_Extraction.base.commands import app, run
from tests.pages import DOCS, blocks_of, follow

PAGE = (DOCS / "own-data.md").read_text(encoding="utf-8")
BLOCKS = blocks_of(PAGE)
SMALLER = {
    '{"photos": 150, "held_out": 20}, 30': '{"photos": 3, "held_out": 2}, 1',
    "interpscore extract": "interpscore extract --backend eager --workers 1",
    "--units 12,20,21,23,29": "--units 12,20 --recipe quick.yaml",
}
BY_CHANCE = ("without a flag", "fourier.png: ", "live units")
"""What lines say that depends on how training went."""
_NUMBER = re.compile(r"(?<![\w.])-?\d*[.,]?\d+(?:[.,]\d+)*(?:–-?[\d.]+)?")


def shape(line):
    """A line without its numbers and its spaces."""
    return " ".join(_NUMBER.sub("#", line.replace("eager", "openvino")).split())


def test_every_block_is_of_a_kind_that_is_run():
    assert {(kind, bool(title)) for kind, title, _ in BLOCKS} == {
        ("python", True),
        ("json", True),
        ("sh", False),
        ("text", False),
    }
    assert len(BLOCKS) + 1 == PAGE.count("\n```") / 2  # one shows the folders


@pytest.mark.slow
def test_the_page_runs_on_few_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_file", raising=False)
    Path("quick.yaml").write_text("steps: 2\nobjective: {channel: 1}\nsize: 0.6667\n")

    def command(words):
        if words[0] == "python":
            runpy.run_path(words[1], run_name="__main__")
        else:
            with pytest.raises(SystemExit) as end:
                run(app, words[1:])
            assert end.value.code == 0, capsys.readouterr().err
        return capsys.readouterr().out

    shown, came = follow(BLOCKS, command, SMALLER)
    sys.modules.pop("my_file", None)
    is_certain = [line for line in shown if "–" not in line and not any(chance in line for chance in BY_CHANCE)]
    assert len(is_certain) > 15
    assert [line for line in is_certain if shape(line) not in set(map(shape, came))] == []


@pytest.mark.slow
def test_the_page_runs_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")

    def command(words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown, came = follow(BLOCKS, command, {})
    certain = [line for line in shown if not any(chance in line for chance in BY_CHANCE)]
    assert [line for line in certain if shape(line) not in set(map(shape, came))] == []
