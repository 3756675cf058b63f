"""Guards `interpscore` as an extension point: a package's command is listed and runs, and a broken one is one clear line."""

import pytest

from Activation_Extraction.base.commands import ENTRY_POINT_GROUP, app, run
from tests.installed import installed

COUNT = '''
"""`interpscore count`: how many images are in a folder."""
from pathlib import Path
import typer

count_app = typer.Typer()

@count_app.command()
def count(folder: Path) -> None:
    """Count the files of a folder."""
    print(len(list(folder.iterdir())))
'''


@pytest.fixture
def called(capsys):
    """Calls `interpscore` with some arguments; gives the exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, list(map(str, arguments)))
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return call


def test_command_of_another_package_is_listed_and_runs(tmp_path, called):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    with installed(tmp_path / "site", "count_images", COUNT, ENTRY_POINT_GROUP, "count", "count_images:count_app"):
        code, out, _ = called("--help")
        assert code == 0
        assert "Count the files of a folder." in out
        assert " score " in out
        assert called("count", tmp_path / "pictures") == (0, "1\n", "")
    assert "Count the files" not in called("--help")[1]


def test_broken_command_of_another_package_is_one_line_and_leaves_ours_alone(tmp_path, called):
    with installed(tmp_path, "count_images", "import no_such_thing", ENTRY_POINT_GROUP, "count", "count_images:app"):
        code, out, err = called("count")
        assert (code, out) == (2, "")
        assert err == ("error: command count (count_images:app): cannot be loaded: No module named 'no_such_thing'\n")
        assert called("sanity", "--help")[0] == 0
