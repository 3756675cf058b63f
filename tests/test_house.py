"""Guards what holds for the project as a whole: light imports, documentation that is true, the demo, the batch command."""

import ast
import json
import re
import runpy
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

import InterpScore
from Activation_Extraction.base import commands
from InterpScore.cli.score import score_app
from InterpScore.labelling.labels_table import COLUMNS as LABEL_COLUMNS
from InterpScore.options import scoring_options
from InterpScore.scoring.results import columns
from InterpScore.tables.effects import IMAGE_COLUMNS, UNIT_KINDS, unit_column
from InterpScore.tables.experiment_rows import PARTICIPANT_COLUMNS

ROOT = Path(InterpScore.__file__).parents[1]
DATA_README = (ROOT / "Data" / "README.md").read_text(encoding="utf-8")
ROOMS = (
    "Activation_Extraction",
    "InterpScore",
    "DeepDream_Setup",
    "Human_Experiment_Setup",
    "Microscope",
    "Visualizations",
)
HEAVY = ("torch", "streamlit", "matplotlib", "tensorflow", "torchvision", "xarray", "zarr")
RUNNING_NETWORKS = re.compile(
    r"InterpScore\.(baselines\.make|causality_score_helpers|interventions\..+|sanity\.(network|edited_networks))"
)
"""Modules of InterpScore that compute with a network's weights; the others must not import them when they are imported."""
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "InterpScore").rglob("*.py")
)


@cache
def text_of(path):
    return path.read_text(encoding="utf-8")


@cache
def nodes(path):
    """A file's syntax tree, node by node from its module; parsed once for all tests."""
    return tuple(ast.walk(ast.parse(text_of(path))))


def run(*command, cwd=ROOT):
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)


def test_no_module_of_scoring_asks_for_a_heavy_library():
    # A finder in front of all others notes every import that is asked for, installed or not.
    watch = f"""
import sys
from importlib import import_module
asked, guilty = set(), {{}}
class Watch:
    def find_spec(self, name, path=None, target=None):
        asked.add(name.split('.')[0])
sys.meta_path.insert(0, Watch())
for module in {[module for module in MODULES if not RUNNING_NETWORKS.fullmatch(module)]!r}:
    import_module(module)
    if found := asked & set({HEAVY!r}) - set(guilty):
        guilty |= dict.fromkeys(found, module)
print(guilty)
"""
    done = run(sys.executable, "-c", watch)
    assert (done.stdout.strip(), done.stderr) == ("{}", "")


def test_public_names_are_all_there_and_documented():
    for name in InterpScore.__all__:
        assert getattr(InterpScore, name).__doc__, name


def test_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'calculate_everything'"):
        InterpScore.calculate_everything  # noqa: B018


def test_layout_page_is_the_tree():
    make_layout = runpy.run_path(str(ROOT / "docs" / "make_layout.py"))
    assert make_layout["layout"]() == (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("room", ROOMS)
def test_no_folder_of_a_room_has_more_than_fifteen_files(room):
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    sizes = {folder: len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) for folder in folders}
    assert {folder: size for folder, size in sizes.items() if size > 15} == {}


def test_every_file_and_package_says_what_it_is_for():
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            assert re.match(r'r?"""\S.*', text_of(path)), path


def test_every_option_is_documented_with_its_default():
    import typer

    options = {
        option for param in typer.main.get_command(score_app).params for option in param.opts if option[:2] == "--"
    }
    page = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(--[\w-]+)` \|([^|]*)\|", page, re.MULTILINE))
    assert set(documented) == options - {"--help"}
    for option, default in documented.items():
        value = getattr(scoring_options(), option[2:].replace("-", "_"), None)
        if value:
            assert default.strip() == (" ".join(map(str, value)) if isinstance(value, tuple) else str(value)), option


PRINTS = {"print", "pprint", "echo", "secho", "echo_via_pager", "Console", "print_exc"}
"""What prints, by its name where it is imported, called or an attribute of a module."""

METHODS = PRINTS - {"print"}  # `print` is also a method of our console


def ways_around(path):
    """Lines of a file that print without `base.text`."""
    words = r"\b(?:" + "|".join([*PRINTS, "stdout", "stderr"]) + r")\b"
    for node in nodes(path) if re.search(words, text_of(path)) else ():
        match node:
            case ast.alias(name=name) if name in PRINTS:
                yield node.lineno
            case ast.Call(func=ast.Name(id=name)) if name in PRINTS:
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
                yield node.lineno
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="stdout" | "stderr"), attr="write" | "writelines")
            ):
                yield node.lineno


def test_everything_printed_is_made_printable_first():
    base = ROOT / "Activation_Extraction" / "base"
    own = {base / "text.py", base / "start.py"}  # the latter imports nothing, and says one word
    places = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path not in own]
    found = {(path, line) for path in [*places, *ROOT.glob("*.py")] for line in ways_around(path)}
    typed = {(path, line) for path, _ in found for line in only_for_types(path)}
    assert found - typed == set()


def only_for_types(path):
    """Lines of a file's imports that type checkers alone read."""
    for node in nodes(path):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (alias.lineno for each in node.body for alias in getattr(each, "names", ()))


@pytest.mark.parametrize(
    "line",
    [
        "print('a')", "import typer; typer.echo('a')", "from click import secho as say", "import sys; sys.stdout.write('a')",
        "from rich.console import Console", "import rich.console; rich.console.Console().print('a')", "from rich import print as p",
        "import sys; sys.stderr.writelines(['a'])", "import traceback; traceback.print_exc()",
    ],
)  # fmt: skip
def test_a_way_around_the_printing_function_is_found(tmp_path, line):
    (tmp_path / "around.py").write_text(line)
    assert list(ways_around(tmp_path / "around.py")) == [1]


READS = {"read_bytes", "read_text"}
READING = {"base/files.py", "base/extras.py", "store/shards.py", "decoding/worker.py"}
"""One function opens files; others read metadata of packages, shards that it has checked, and /dev/null."""


def reads_around(path):
    """Lines of a file that open a file for reading, or read one, without `base.files`."""
    for node in nodes(path) if re.search("|".join([*READS, r"\bopen\("]), text_of(path)) else ():
        match node:
            case ast.Call(func=ast.Name(id="open"), args=[_, *mode]) if not mode or "r" in ast.unparse(mode[0]):
                yield node.lineno
            case (
                ast.Call(func=ast.Attribute(value=ast.Name(), attr="open"), args=[], keywords=[])
                | ast.Call(func=ast.Attribute(attr="open"), args=[ast.Constant(value="r" | "rb")])
            ):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr=name)) if name in READS:
                yield node.lineno


def test_every_file_is_opened_by_the_function_that_refuses_pipes_and_links():
    places = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    found = [path for path in places if list(reads_around(path))]
    assert {"/".join(path.parts[-2:]) for path in found} <= READING


@pytest.mark.parametrize(
    "line", ["open(p)", "open(p, 'rb')", "p.open()", "p.open('rb')", "p.read_text()", "a.b.read_bytes()"]
)
def test_a_way_around_the_opening_function_is_found(tmp_path, line):
    (tmp_path / "around.py").write_text(line)
    assert list(reads_around(tmp_path / "around.py")) == [1]


@pytest.mark.parametrize("page", ["README.md", "Activation_Extraction/README.md", "InterpScore/README.md"])
def test_python_of_the_readmes_runs(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = [part.split("```")[0] for part in (ROOT / page).read_text(encoding="utf-8").split("```python\n")[1:]]
    runnable = [block for block in blocks if "target_activations, non" not in block]  # that one names a user's own data
    assert runnable
    for block in runnable:
        exec(compile(block, page, "exec"), {})


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(page for room in ROOMS for page in (ROOT / room).rglob("*.md")), ROOT / "Data" / "README.md"]:  # fmt: skip
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_data_guide_describes_every_column():
    described = set(re.findall(r"^\| `([^`]+)` \|", DATA_README, re.MULTILINE))
    table = {"ground_truth", "level", "soft_correct", "trial_category", "clean_image", "simulated"}
    table |= {IMAGE_COLUMNS[0], PARTICIPANT_COLUMNS[0]} | {unit_column(kind, "<unit>") for kind in UNIT_KINDS}
    assert described >= table | set(columns())
    for name, meaning in [*columns().items(), *LABEL_COLUMNS.items()]:
        assert f"| `{name}` | {meaning} |" in DATA_README


def test_docstrings_cite_sections_that_exist():
    sections = set(re.findall(r"^## (\d)\.", (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (ROOT / "InterpScore").rglob("*.py"):
        for cited in re.findall(r"METRICS\.md, sections? (\d)(?: and (\d))?", path.read_text(encoding="utf-8")):
            assert {section for section in cited if section} <= sections, path


@pytest.mark.slow
def test_demo_table_is_what_its_script_makes(tmp_path):
    demo = ROOT / "Data" / "demo"
    done = run(sys.executable, demo / "make_demo.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo_neuron_map.json").read_bytes() == (demo / "demo_neuron_map.json").read_bytes()
    made, kept = pd.read_csv(tmp_path / "demo_experiment.csv"), pd.read_csv(demo / "demo_experiment.csv")
    # Processors round differently: activations a little, and what is descended to, renders and attacks, by more.
    measured = [name for name in kept if re.match("(activation|ablation_effect|amplification_effect)_", name)]
    assert made.drop(columns=measured).equals(kept.drop(columns=measured))
    drawn, descended = kept["level"].isin([5, 1, 2]), kept["level"].isin([3, 4])
    pd.testing.assert_frame_equal(made[drawn], kept[drawn], check_exact=False, rtol=1e-3, atol=2e-4)
    means = [table[descended].groupby("level")[measured].mean() for table in (made, kept)]
    pd.testing.assert_frame_equal(*means, check_exact=False, rtol=0.2, atol=0.1)
    for name in ("units.png", "stimuli/contact_sheet.png", "selection.zarr/complete.json"):
        assert (tmp_path / name).is_file()


def test_demo_ends_with_the_files_to_open_that_its_page_shows():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = [line.replace("$(BIN)", ".venv/bin") for line in re.findall(r'^\t@echo "(.+)"$', makefile, re.MULTILINE)]
    page = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
    assert page.split("At the end it names what to open:")[1].split("```")[1].strip().splitlines() == told
    named = re.findall(r"demo_results/\S+", " ".join(told))
    report, _, _, results, bundle = named
    assert f"demo_neuron_map.json {results} " in makefile
    assert {f"-o {report}", f"-o {bundle}"} <= {*re.findall(r"-o \S+", makefile)}


def test_demo_prints_what_its_page_shows(tmp_path, capsys):
    demo = ROOT / "Data" / "demo"
    data, neuron_map = demo / "demo_experiment.csv", demo / "demo_neuron_map.json"
    kinds = re.search(r"--level-kinds '(.+?)'", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]
    results = tmp_path / "results.csv"
    with pytest.raises(SystemExit) as end:
        commands.run(score_app, [str(part) for part in (data, neuron_map, results, "--level-kinds", kinds)])
    out, err = capsys.readouterr()
    assert end.value.code == 0, err
    page = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
    shown = page.split("The command prints:")[1].split("```")[1].strip().splitlines()
    printed = [line.rstrip() for line in out.splitlines()]
    # The first and the last line name files; the demo itself measures again the effects that its table holds.
    assert printed[1:-1] == [line for line in shown[1:-1] if not line.startswith("Interventions")]
    assert "SIMULATED" in out


@pytest.fixture
def scoring(tmp_path):
    """A Python that sums up, fails on `missing.csv`, and scores any other table with two neurons, noting how it was called."""
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
case "$1 $2" in
    "- "*) exec {sys.executable} "$@" ;;
    *missing.csv*) echo "error: $2: no such file" >&2; exit 2 ;;
    *) printf "Neuron,Concept,InterpScore\\n1,fire,0.75\\n2,wet,0.25\\n" > "$4"; echo "$@" >> {tmp_path}/calls ;;
esac
"""
    )
    python.chmod(0o755)
    return f"PYTHON={python}"


def test_batch_command_scores_every_table_with_every_map_and_sums_up(tmp_path, scoring):
    files = [tmp_path / name for name in ("a.csv", "b.parquet", "map.json", "fire.json")]
    out = tmp_path / "out"
    done = run("env", scoring, "bash", "run_10_neurons_scoring.sh", "-o", out, *files, "--", "--seed", "5", "--quiet")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"{ROOT}/interpretability_score.py {table} {units} {out}/{table.stem}__{units.stem}.csv --seed 5 --quiet"
        for table in files[:2]
        for units in files[2:]
    ]
    assert "Summary: 4 scored, 0 failed" in done.stdout
    assert len(re.findall(r"__(?:map|fire) +2  0\.500  0\.750 1 fire +0\.250 2 wet$", done.stdout, re.MULTILINE)) == 4


@pytest.mark.slow
def test_batch_command_scores_the_demo(tmp_path):
    demo = ROOT / "Data" / "demo"
    fire = tmp_path / "fire.json"
    fire.write_text(json.dumps({"185": "fire"}))
    done = run(
        "bash", "run_10_neurons_scoring.sh", "-o", tmp_path / "out", demo / "demo_experiment.csv",
        demo / "demo_neuron_map.json", fire, "--", "--resamples", "0", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "demo_experiment__demo_neuron_map.csv")
    assert "Summary: 2 scored, 0 failed" in done.stdout
    assert re.search(rf"demo_neuron_map\s+14  {table['InterpScore'].mean():.3f}  ", done.stdout)
    assert re.search(r"__fire\s+1  ", done.stdout)


def test_batch_command_goes_on_after_a_failure_and_exits_1(tmp_path, scoring):
    done = run("env", scoring, "bash", "run_10_neurons_scoring.sh", "-o", tmp_path / "out", "missing.csv", "b.csv")
    assert done.returncode == 1
    assert "error: missing.csv: no such file" in done.stderr
    assert "Summary: 1 scored, 1 failed" in done.stdout


def test_batch_command_refuses_what_is_no_table_and_no_map(tmp_path):
    done = run("bash", "run_10_neurons_scoring.sh", "notes.txt")
    assert done.returncode == 2
    assert "notes.txt is neither a table (.csv, .parquet) nor a neuron map (.json)" in done.stderr


def test_batch_command_refuses_tables_of_the_same_name(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    done = run("bash", "run_10_neurons_scoring.sh", "-o", tmp_path, tmp_path / "a/data.csv", tmp_path / "b/data.csv")
    assert done.returncode == 2
    assert "two tables are called data" in done.stderr


def test_batch_command_stops_when_it_is_interrupted(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 130\n")
    python.chmod(0o755)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).touch()
    command = ["bash", str(ROOT / "run_10_neurons_scoring.sh"), "-o", str(tmp_path), "a.csv", "b.csv"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHON": str(python), "PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 130
    assert done.stdout.count("==") == 1


def test_command_tells_its_version():
    done = run(sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"interpscore {version('interpscore')}")


@pytest.mark.slow
def test_every_benchmark_finds_what_it_imports():
    code = "import runpy, sys; sys.path.insert(0, 'benchmarks'); files = sys.argv[1:]; del sys.argv[1:]; [runpy.run_path(file, run_name='imported') for file in files]"
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").glob("*.py"))
    done = subprocess.run([sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
