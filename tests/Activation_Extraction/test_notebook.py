"""Guards the tutorial: it runs as it is committed, and what it shows stays true."""

import asyncio
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient

import Activation_Extraction

NOTEBOOK = Path(Activation_Extraction.__file__).parent / "Example_Extraction.ipynb"


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, 4)


@pytest.fixture(scope="module")
def executed(committed, tmp_path_factory):
    """The notebook run from its top in a fresh kernel of the Python that runs the tests, in an empty folder."""
    notebook = nbformat.from_dict(json.loads(json.dumps(committed)))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    kernel = AsyncKernelManager()
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel._kernel_spec = KernelSpec(argv=command, display_name="Python 3", language="python")
    where = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    client = NotebookClient(notebook, km=kernel, timeout=300, resources=where, record_timing=False)
    asyncio.run(client.async_execute(cleanup_kc=True))
    return notebook


def outputs_of(notebook):
    """Per code cell what it shows: sentences as they are, of other things their kinds."""
    shown = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown.append([output["data"].get("text/markdown") or sorted(output["data"]) for output in cell.outputs])
    return shown


def text_of(notebook, part):
    """What the one cell with this in it shows, as text."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and part in cell.source]
    return "".join(output["data"].get("text/markdown") or output["data"]["text/plain"] for output in cell.outputs)


@pytest.mark.slow
def test_every_cell_runs_in_order_and_says_nothing_on_the_side(executed):
    for cell in executed.cells:
        if cell.cell_type == "code":
            assert {output.output_type for output in cell.outputs} <= {"display_data", "execute_result"}, cell.source


@pytest.mark.slow
def test_committed_notebook_was_executed_and_shows_what_it_shows_now(committed, executed):
    counts = [cell.execution_count for cell in committed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert outputs_of(committed) == outputs_of(executed)


def test_notebook_is_small_and_free_of_traces_of_the_machine_that_ran_it(committed):
    assert NOTEBOOK.stat().st_size < 400_000
    assert committed.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell.metadata == {} for cell in committed.cells)
    assert not re.search(r"/(?:tmp|home|root|Users)/", NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "word", ["one image", "one neuron", "a whole layer", "interpscore models download clip-rn50x4", "trace"]
)
def test_tutorial_covers(committed, word):
    assert word in "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown").lower()


def test_documented_call_is_the_one_that_runs(committed):
    code = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "code")
    assert 'LAYER = "image_block_4/0/Relu_2"' in code
    assert 'extract_activations(image_paths=[folder / "puppy.png"], layer_name=LAYER, model_type="clip-mini")' in code


@pytest.mark.slow
def test_puppy_is_read_puppy_by_unit_and_network(executed):
    assert "**100%** of its top eight are puppies" in text_of(executed, "of its top eight are puppies")
    assert text_of(executed, "names = [name for name in CONCEPTS") == "(248, 512)"
    assert text_of(executed, "def silenced").splitlines()[1].split()[0] == "puppy"
    assert text_of(executed, "def silenced").splitlines()[-1].startswith("lead of the puppy")


@pytest.mark.slow
def test_pictures_are_shown_inline(executed):
    walls = [output for row in outputs_of(executed) for output in row if "image/jpeg" in output]
    assert len(walls) == 6
