"""Guards the folder of a job: one writer, every difference named, parts that no loss of power harms."""

import os
import shutil
from contextlib import suppress

import pytest

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.run_folder import LOCK, RunFolder, different_makings, refuse_other, remarks_on
from tests.power import Killed, power_lost_at

PARTS = ["a", "b"]


def run(path, stop=None):
    """A job of two parts of two files each; the names of those that were made."""
    with RunFolder(path, {"versions": {"numpy": "2"}}) as folder:
        missing = folder.missing(PARTS, str)
        for part in missing[:stop]:
            folder.keep(part, {f"files/{part}.{i}": f"{part}{i}".encode() for i in range(2)}, more=1)
        return missing


def tree(path):
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_power_lost_at_any_operation_on_files_the_next_run_ends_with_the_same_bytes(tmp_path):
    run(tmp_path / "whole")
    for call in range(1, 200):
        path = tmp_path / str(call)
        with power_lost_at(call, path) as lost, suppress(Killed):
            run(path)
        done = {record.stem for record in path.glob(".records/*.json") if record.read_bytes()}
        assert set(run(path)) == {*PARTS} - done  # what is recorded is whole
        assert tree(path) == tree(tmp_path / "whole"), call
        if not lost:
            break
    assert 20 < call < 199


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: (path / "files" / "a.1").unlink(),
        lambda path: (path / "files" / "a.1").write_bytes(b"ax"),
        lambda path: (path / ".records" / "a.json").write_bytes(b"{"),
        lambda path: (path / ".records" / "a.json").write_bytes(b"[]"),
        lambda path: (path / ".records" / "a.json").write_bytes(b'{"files": [1]}'),
        lambda path: (path / ".records" / "a.json").unlink(),
    ],
)
def test_a_part_whose_file_or_record_is_damaged_is_missing(tmp_path, harm):
    run(tmp_path / "job")
    before = tree(tmp_path / "job")
    harm(tmp_path / "job")
    assert run(tmp_path / "job") == ["a"]
    assert tree(tmp_path / "job") == before


def test_leftovers_of_a_killed_run_are_removed_by_the_holder_of_the_lock_alone(tmp_path):
    with RunFolder(tmp_path / "job", {}) as folder:
        (folder.path / ".a.0123456789abcdef.part").touch()
        (folder.path / "mine.part").touch()
        with pytest.raises(OutputError, match="job: another run is writing it; expected one at a time"):
            run(tmp_path / "job")
        assert (folder.path / ".a.0123456789abcdef.part").exists()
    run(tmp_path / "job")
    assert sorted(tree(tmp_path / "job")) == [LOCK, ".records/a.json", ".records/b.json", *(f"files/{p}.{i}" for p in PARTS for i in range(2)), "mine.part"]  # fmt: skip


def test_a_folder_that_its_run_removed_while_it_was_waited_for_is_not_entered(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "job", {})
    acquire = folder._lock.acquire

    def late(*given, **options):
        acquire(*given, **options)
        shutil.rmtree(tmp_path / "job")

    monkeypatch.setattr(folder._lock, "acquire", late)
    with pytest.raises(OutputError, match="another run is writing it"), folder:
        pass


def test_a_link_in_the_place_of_the_lock_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "job").mkdir()
    os.symlink(tmp_path / "precious", tmp_path / "job" / LOCK)
    with suppress(OutputError):
        run(tmp_path / "job")
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path, line in ((tmp_path / "no" / "job", r"the folder .*no does not exist"), (tmp_path / "file", "file: cannot be written")):  # fmt: skip
        with pytest.raises(OutputError, match=line):
            run(path)


HELD = {"model": "m", "weights": "a.pt", "weights_sha256": "1", "torch": "2.4", "recipe": {"steps": 3, "extra": 1}, "layers": ["x", "y"], "inputs": {"5": [{"image": "a", "sha256": "1"}, {"image": "b", "sha256": "2"}]}, "versions": {"numpy": "1"}, "processor": "p"}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ({"model": "n"}, ["holds model 'm'; asked for 'n'"]),
        ({"layers": ("x",), "seed": 0}, ["holds the layers x, y; asked for x", "holds seed 'None'; asked for '0'"]),
        ({"recipe": {"steps": 4}}, ["holds recipe.steps '3'; asked for '4'", "holds recipe.extra '1'; asked for 'None'"]),
        ({"inputs": {"5": [{"image": "a", "sha256": "1"}, {"image": "b", "sha256": "3"}]}}, ["holds inputs.5.1.sha256 '2'; asked for '3'"]),
        ({"inputs": {"5": [{"image": "a"}]}}, ["holds inputs.5 {'image': 'a', 'sha256': '1'}, {'image': 'b', 'sha256': '2'}; asked for {'image': 'a'}"]),
        ({"layers": ["x"] * 60}, [f"holds the layers x, y; asked for {'x, ' * 26}x,… (60)"]),
    ],
)  # fmt: skip
def test_each_difference_is_named(tmp_path, asked, lines):
    with pytest.raises(InputError) as refused:
        refuse_other(tmp_path, HELD, asked, "another folder (-o)")
    ending = f"{tmp_path}: is left as it is; expected the same again, or another folder (-o)"
    assert refused.value.problems == [*(f"{tmp_path}: {line}" for line in lines), ending]


def test_provenance_of_a_model_is_compared_with_what_earlier_versions_said_among_the_rest(tmp_path):
    asked = {"model": "m", "provenance": {"weights": "b.pt", "weights_sha256": "1"}, "layers": ["x", "y"]}
    refuse_other(tmp_path, HELD, asked, "another folder (-o)")
    with pytest.raises(InputError, match=r"holds provenance\.weights_sha256 '1'; asked for '2'"):
        refuse_other(tmp_path, HELD, {"provenance": {"weights_sha256": "2"}}, "another folder (-o)")


def test_versions_processors_and_names_of_the_same_weights_are_not_compared(tmp_path):
    asked = {
        **HELD,
        "weights": "b.pt",
        "torch": "9",
        "versions": {"numpy": "9"},
        "processor": "q",
        "layers": ("x", "y"),
    }
    refuse_other(tmp_path, HELD, asked, "another folder (-o)")
    refuse_other(tmp_path, None, asked, "another folder (-o)")


def test_parts_made_with_other_versions_or_processors_are_remarked_on():
    one, other = {"versions": {"torch": "1", "numpy": "2"}, "processor": "p"}, {"versions": {"torch": "3", "numpy": "2"}, "processor": "q"}  # fmt: skip
    makings = different_makings([{"made_with": one}, None, {}, {"made_with": other}, {"made_with": one}])
    assert makings == [one, other]
    assert remarks_on([one]) == []
    assert remarks_on(makings) == ["parts were made with different libraries or processors: torch 1 and 3, processor p and q"]  # fmt: skip
