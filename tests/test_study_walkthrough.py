"""Guards docs/study-walkthrough.md: its blocks run in order, and commands print what the page shows, up to the numbers."""

import re
import runpy
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from Activation_Extraction.base.commands import app, run
from Human_Experiment_Setup.study.protocol import read_study_protocol
from Human_Experiment_Setup.study.server.running import open_served
from tests.Human_Experiment_Setup.study.small_study import serving
from tests.pages import DOCS, blocks_of, follow

PAGE = (DOCS / "study-walkthrough.md").read_text(encoding="utf-8")
BLOCKS = blocks_of(PAGE)
SMALLER = {
    "PICTURES = 8": "PICTURES = 2", "render(192)": "render(48)", "--size 192": "--size 48", "ratings_per_image: 6": "ratings_per_image: 2",
    "trials_per_participant: 16": "trials_per_participant: 4", "practice: 1": "practice: 0",
    "catch: {trials: 2": "catch: {trials: 1", "study report": "study report --resamples 20 --splits 10",
}  # fmt: skip
BY_CHANCE = ("left ", "incomplete ", "missed_catch ", "sent twice", "rows left out", "1 practice", "Time ")
"""What lines say that depends on who the few participants are, or on the size of the study."""
_NUMBER = re.compile(r"(?<![\w.])-?\d*[.,]?\d+(?:[.,]\d+)*(?:–-?[\d.]+)?|–")


def shape(line):
    """A line without its numbers and its spaces."""
    return " ".join(_NUMBER.sub("#", line).split())


def test_every_block_is_run():
    assert len(BLOCKS) == PAGE.count("\n```") / 2
    assert {kind for kind, title, _ in BLOCKS if not title} == {"sh", "text"}


def compare(shown, came, at_least):
    certain = [line for line in shown if "–" not in line and not any(chance in line for chance in BY_CHANCE)]
    assert len(certain) >= at_least
    assert [line for line in certain if shape(line) not in set(map(shape, came))] == []


def follow_here(monkeypatch, capsys, changes):
    """Follow the page within this process, up to the network; a thread serves the study."""
    with ExitStack() as stack:

        def command(words):
            if words[0] == "python":
                runpy.run_path(words[1], run_name="__main__")
                return ""
            if words[2] == "serve":
                study, _ = open_served(read_study_protocol("mine.yaml"), Path("stimuli"), "trial.db", mark="simulated")
                command.address = stack.enter_context(serving(study))
                return ""
            more = ["--at", command.address] if words[2] == "simulate" else []
            with pytest.raises(SystemExit) as end:
                run(app, [*words[1:], *more])
            out, err = capsys.readouterr()
            assert end.value.code in (0, 1 if words[1:3] == ["study", "score"] else 0), err
            return out

        until = next(at for at, block in enumerate(BLOCKS) if block[1] == "map.json")
        return follow(BLOCKS[:until], command, changes)


def test_the_page_runs_on_few_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    compare(*follow_here(monkeypatch, capsys, SMALLER), at_least=10)


@pytest.mark.slow
def test_the_page_runs_as_it_is(tmp_path, monkeypatch):
    """Every line as a process of its own, the server too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    changes = {
        "study serve mine.yaml": f"study serve mine.yaml --port {port}",
        "study simulate mine.yaml": f"study simulate mine.yaml --at http://127.0.0.1:{port}",
    }
    servers = []

    def command(words):
        if words[1:3] == ["study", "serve"]:
            servers.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            while "Serving" not in (line := servers[0].stdout.readline()):
                assert line, "the server ended"
            return ""
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or (words[1:3] == ["study", "score"] and done.returncode == 1), done.stderr
        return done.stdout

    try:
        shown, came = follow(BLOCKS, command, changes)
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.communicate()
    compare(shown, came, at_least=12)
