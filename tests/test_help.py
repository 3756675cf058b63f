"""Guards the help: groups list their commands by name with a line each; each command says what it does and shows a call."""

import re
from contextlib import redirect_stdout
from io import StringIO

import pytest
import typer

from Activation_Extraction.base import commands
from Activation_Extraction.base.commands import app, run
from InterpScore.cli.score import score_app

SCRIPT = ("python interpretability_score.py",)


def walk(command, path=("interpscore",)):
    """Every command and group below a command, by the words that it is called with."""
    yield path, command
    for name in getattr(command, "commands", None) or getattr(command, "list_commands", lambda _: ())(None):
        yield from walk(command.get_command(None, name), (*path, name))


@pytest.fixture(scope="module")
def tree():
    return dict(walk(typer.main.get_command(app)))


def groups(tree):
    """Per group, the words that it is called with → its commands' names."""
    found = {path: [each[-1] for each in tree if each[:-1] == path] for path in tree}
    return {path: names for path, names in found.items() if names}


@pytest.fixture(scope="module")
def help_of(tree):
    """The words of a command → the lines that it prints with --help, without frames, on a wide terminal."""

    def printed(path, program=app):
        with pytest.MonkeyPatch.context() as monkeypatch, redirect_stdout(StringIO()) as out:
            monkeypatch.setenv("COLUMNS", "400")
            with pytest.raises(SystemExit, match=r"^0$"):
                run(program, [*path[1:], "--help"])
        return [line.strip("│╭╮╰╯─ ") for line in out.getvalue().splitlines()]

    return {path: printed(path) for path in tree} | {SCRIPT: printed(SCRIPT, score_app)}


def test_every_room_has_its_command_in_the_list(tree):
    assert set(groups(tree)["interpscore",]) == set(commands._rooms())
    assert {("interpscore", "models", "list"), ("interpscore", "stimuli", "build"), ("interpscore", "score")} <= set(
        tree
    )


def test_every_group_lists_its_commands_by_name_with_a_line_each(tree, help_of):
    for path, names in groups(tree).items():
        lines = help_of[path]
        listed = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines[lines.index("Commands") + 1 :] if line)
        assert list(listed) == names, path
        for name, about in listed.items():
            assert re.fullmatch(r"[A-Z].{20,}\.", about), (path, name)


def test_every_command_and_group_says_what_it_does_and_shows_a_call(tree, help_of):
    silent = []
    for path, lines in help_of.items():
        assert lines[1].startswith("Usage: "), path
        assert re.match(r"[A-Z].+[.:]$", lines[3]), (path, lines[3])
        called = " ".join(path)
        has_example = any(line == called or line.startswith(f"{called} ") for line in lines[3:])
        lists_arguments = "Arguments" in lines and path not in groups(tree)
        silent += [called] * (not has_example and not lists_arguments)
    assert silent == []  # neither an example nor a list of arguments


def test_every_option_and_argument_says_what_it_is(tree):
    bare = [
        f"{' '.join(path)}: {param.name}"
        for path, command in tree.items()
        for param in command.params
        if not param.help
    ]
    assert bare == []
