"""Guards `interpscore` as an extension point: a package's command is listed and runs, and a broken one is one clear line."""

import errno
import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import typer

from Activation_Extraction.base.commands import ENTRY_POINT_GROUP, app, run
from Activation_Extraction.base.errors import MissingPackageError, resumable
from Activation_Extraction.base.extras import install_command, naming_extras
from Activation_Extraction.base.run_folder import RunFolder
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


# How a command ends


@pytest.fixture
def ended(capsys):
    """Runs a command whose body is a function; gives the exit code, standard output and standard error."""

    def run_body(body, *arguments):
        program = typer.Typer()
        program.command()(body)
        with pytest.raises(SystemExit) as end:
            run(program, list(arguments))
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run_body


def raising(error):
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    "error", [KeyError("a"), ZeroDivisionError("division by zero"), RuntimeError(""), OSError(errno.EBADF, "bad")]
)
def test_an_unforeseen_error_is_one_line_and_its_traceback_a_file(ended, error, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = ended(raising(error))
    assert (code, out, err.count("\n")) == (70, "", 1)
    (report,) = tmp_path.iterdir()
    assert err.startswith("error: this is a bug in interpscore: ")
    assert str(report) in err
    assert f"{type(error).__name__}" in report.read_text().splitlines()[-1]
    assert "Traceback" in report.read_text()


def test_debug_shows_the_traceback_instead(ended, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, _, err = ended(raising(KeyError("a")), "--debug")
    assert code == 70
    assert err.startswith("Traceback")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG, errno.EIO])
def test_trouble_of_the_machine_is_no_bug(ended, number):
    code, _, err = ended(raising(OSError(number, os.strerror(number), "results/x")))
    assert (code, err) == (2, f"error: results/x: {os.strerror(number)}\n")


def test_too_little_memory_is_no_bug(ended):
    code, _, err = ended(raising(MemoryError("Unable to allocate 80 TiB")))
    assert (code, err.count("\n")) == (2, 1)
    assert "not enough memory (Unable to allocate 80 TiB)" in err


def kill_by(number):
    def body() -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    return body


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_with_a_word(ended, number):
    assert ended(kill_by(number)) == (130, "", "stopped\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def in_a_job(folder):
    def body() -> None:
        with RunFolder(folder, {}):
            raise KeyboardInterrupt

    return body


def in_a_download() -> None:
    with resumable():
        raise KeyboardInterrupt


def test_work_that_is_kept_says_that_the_same_command_resumes(ended, tmp_path):
    for body in (in_a_job(tmp_path / "job"), in_a_download):
        assert ended(body) == (130, "", "stopped; the same command resumes\n")


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_interrupt_while_libraries_load_is_no_traceback():
    hang = "import builtins, time; real = builtins.__import__\n"
    hang += "def slow(name, *a, **k):\n    if name == 'typer': print('loading', flush=True); time.sleep(60)\n"
    hang += "    return real(name, *a, **k)\n"
    hang += "builtins.__import__ = slow\nfrom Activation_Extraction.base.start import main; main()"
    running = start("-c", hang)
    assert running.stdout.readline() == "loading\n"
    running.send_signal(signal.SIGINT)
    assert (running.communicate(timeout=60)[1], running.returncode) == ("stopped\n", 130)


def test_a_reader_that_ends_early_is_quiet():
    body = "import typer; from Activation_Extraction.base.commands import run; program = typer.Typer()\n"
    body += "@program.command()\ndef many() -> None:\n    for i in range(100000): print(i)\n"
    running = start("-c", f"{body}run(program, [])")
    assert running.stdout.readline() == "0\n"
    running.stdout.close()
    with running.stderr:
        assert (running.wait(timeout=60), running.stderr.read()) == (141, "")


def test_another_pipe_that_breaks_is_said():
    body = "import typer; from Activation_Extraction.base.commands import run; program = typer.Typer()\n"
    body += "@program.command()\ndef work() -> None:\n    raise BrokenPipeError(32, 'Broken pipe')\n"
    running = start("-c", f"import tempfile; tempfile.tempdir = '/dev/shm'\n{body}run(program, ['--debug'])")
    _, err = running.communicate(timeout=60)
    assert (running.returncode, "this is a bug in interpscore: BrokenPipeError" in err) == (70, True)


# Packages of extras

COMMANDS = {
    "models": ["list"],
    "figures": ["results.csv"],
    "extract": ["{photos}", "--model", "clip-mini", "--layer", "block_4", "-o", "a.zarr"],
    "baseline": ["{photos}", "--model", "clip-mini", "--layer", "block_4", "-o", "untrained"],
    "causality": ["{photos}", "--model", "clip-mini", "-o", "effects.parquet"],
    "data": ["download", "images"],
    "dream": ["--model", "clip-mini", "--layer", "block_4", "--units", "1", "-o", "renders"],
    "stimuli": ["check", "stimuli"],
    "study": ["score", "{answers}", "-o", "scored.csv"],
    "table": ["--images", "{photos}", "--store", "acts.zarr", "-o", "table.csv"],
    "label": ["acts.zarr", "-o", "labels.parquet"],
    "microscope": ["build", "acts.zarr", "-o", "bundle"],
    "profile": ["acts.zarr", "--embedding", "embedding.zarr", "-o", "profile.parquet"],
    "top": ["acts.zarr", "--units", "1", "-o", "wall.png"],
    "report": ["results.csv"],
    "score": ["{data}", "{map}", "results.csv", "--images", "{photos}", "--model", "clip-mini"],
    "compare": ["a.csv", "b.csv", "--help"],
    "sanity": ["--help"],
}
"""What each command needs at least; a new command joins by a line here."""

WITHOUT_EXTRAS = """
import sys
from importlib.metadata import entry_points
from importlib.metadata import requires
import re
NAMES = {"argon2-cffi": "argon2", "pillow": "PIL", "protobuf": "google", "pyyaml": "yaml", "resvg-py": "resvg_py"}
of_extras = {re.match(r"[\\w.-]+", r)[0].lower() for r in requires("interpscore") if "extra ==" in r}
absent = {NAMES.get(name, name.replace("-", "_")) for name in of_extras}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from Activation_Extraction.base.commands import app, run
for line in sys.stdin.read().splitlines():
    try:
        run(app, line.split("\t"))
    except SystemExit as end:
        print("ended", end.code, file=sys.stderr)
"""


def test_every_command_works_with_the_plain_wheel_or_says_what_to_install(tmp_path, called):
    listed = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    assert listed == set(COMMANDS)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    (tmp_path / "data.csv").write_text("ground_truth,level,soft_correct,activation_1\ncat,5,1,2\n")
    (tmp_path / "map.json").write_text('{"1": "cat"}')
    (tmp_path / "answers.csv").write_text("ground_truth,word_1\ncat,kitten\n")
    places = {"photos": "photos", "data": "data.csv", "map": "map.json", "answers": "answers.csv"}
    lines = ["\t".join([name, *(word.format(**places) for word in words)]) for name, words in COMMANDS.items()]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS], input="\n".join(lines), capture_output=True, text=True, cwd=tmp_path
    )
    endings = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert endings.count("ended 2") == len(COMMANDS) - 2
    assert sum("is not installed; type: pip install " in line for line in endings) == len(COMMANDS) - 3
    assert "error: acts.zarr: no such folder; expected an activation store" in endings  # it gets as far as its store
    assert endings[-2:] == ["ended 0", "ended 0"]  # compare and sanity need no extra


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "models"), ("PIL.Image", "models"), ("google.protobuf", "models"), ("openvino", "openvino"),
        ("boto3.session", "data"),
    ],
)  # fmt: skip
def test_missing_packages_name_the_smallest_extra(module, extra):
    with pytest.raises(MissingPackageError, match=rf"\[{extra}\]'$"), naming_extras():
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def test_modules_of_no_extra_stay_as_they_are():
    with pytest.raises(ModuleNotFoundError, match="nothing_of_ours"), naming_extras():
        raise ModuleNotFoundError("No module named 'nothing_of_ours'", name="nothing_of_ours")


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (
            '{"url": "file:///home/a%20b/clone", "dir_info": {"editable": true}}',
            "pip install --editable '/home/a b/clone[dream]'",
        ),
        ('{"url": "file:///home/clone", "dir_info": {}}', "pip install '/home/clone[dream]'"),
        (
            '{"url": "file:///tmp/interpscore-0.1.0-py3-none-any.whl"}',
            "pip install '/tmp/interpscore-0.1.0-py3-none-any.whl[dream]'",
        ),
        (None, "pip install 'interpscore[dream]'"),
    ],
)
def test_install_command_is_of_where_this_installation_came_from(origin, command, monkeypatch):
    class Installed:
        def read_text(self, name):
            return origin

    monkeypatch.setattr("Activation_Extraction.base.extras._distribution", Installed)
    assert install_command("dream") == command
