"""Guards names of files from names from outside: safe on every disk, different, the same in every run."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.names import LONGEST, file_name, file_names, folded, paths_below, without_folders
from tests.hostile import NAMES, is_safe_part


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_gives_one_safe_part_of_a_path(text):
    name = file_name(text)
    assert is_safe_part(name)
    assert len(name.encode()) <= LONGEST + 1
    assert os.path.basename(name) == name
    assert file_name(text) == name


@pytest.mark.parametrize("name", ["layer4.5", "clip-mini", "5+9", "Mixed_5b", "猫", "क्या", "block#2", "é", "a-b_c.d"])
def test_harmless_names_stay(name):
    assert file_name(name) == name


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_made_safe(name, tmp_path):
    assert is_safe_part(file_name(name))
    (tmp_path / f"{file_name(name)}_fourier.png").touch()


def test_names_of_one_folder_are_different_whatever_the_disk():
    names = [*NAMES, "FIRE", "a:b", "a_b", "straße", "strasse", "x" * 200, "x" * 201, "\udcff", "\udcfe"]
    found = file_names({name: name for name in names})
    assert len({folded(name) for name in found.values()}) == len(names)
    assert all(map(is_safe_part, found.values()))
    assert found == file_names({name: name for name in reversed(names)})


def test_keys_tell_files_of_one_name_apart():
    found = file_names({("fire", "a/cat.png"): "fire_cat", ("fire", "b/cat.png"): "fire_cat", None: "dog"})
    assert len(set(found.values())) == 3
    assert found[None] == "dog"


def test_names_made_to_collide_are_refused():
    forged = file_names({"fire": "fire", "Fire": "Fire"})["fire"]
    with pytest.raises(InputError, match="cannot be told apart as files"):
        file_names({"fire": "fire", "Fire": "Fire", forged: forged})


# Paths ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=()), max_size=12), unique=True, max_size=8))
def test_any_texts_are_paths_below_a_folder_that_do_not_meet(names):
    paths = paths_below(names, (".part",))
    assert all(is_safe_part(part) for path in paths.values() for part in path.split("/"))
    files = {folded(path) + end for path in paths.values() for end in ("", ".part")}
    folders = {folded(path[:at]) for path in paths.values() for at in range(len(path)) if path[at] == "/"}
    assert len(files) == 2 * len(names)
    assert not files & folders


@pytest.mark.parametrize("key", ["a/cat 1.png", "Fire (2)/é.jpg", "猫/x.tar.gz", "layer4/5/Relu_2.npy", "a,b;c'd.csv"])
def test_harmless_keys_stay(key):
    assert paths_below([key]) == {key: key}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("../../x", "__/__/x"), ("/etc/passwd", "_/etc/passwd"), ("a//b", "a/_/b"), (r"..\x", "_._x"), ("C:/x", "C_/x"),
        ("a/./b", "a/_/b"), ("nul.png", "_nul.png"), ("two\nlines.png", "two_lines.png"), ("Relu_2:0.npy", "Relu_2_0.npy"),
        ("\u202egnp.exe", "_gnp.exe"), (".git/config", "_git/config"), ("end.", "end_"), ("~/x", "_/x"), ("", "_"),
    ],
)  # fmt: skip
def test_hostile_keys_are_confined(key, path):
    assert paths_below([key]) == {key: path}


@pytest.mark.parametrize(
    "keys",
    [
        ["a.png", "A.png"], ["a:b.png", "a?b.png"], ["x", "x/y"], ["x", "X/y"], ["caf\u00e9", "cafe\u0301"], ["a", "a.part"],
        ["a", "a.part/b"], ["a.part.json", "a"], ["long" * 50 + "1.png", "long" * 50 + "2.png"],
    ],
)  # fmt: skip
def test_keys_of_one_path_are_told_apart(keys):
    paths = paths_below(keys, (".part", ".part.json"))
    assert paths == paths_below(reversed(keys), (".part", ".part.json"))
    assert len({folded(path) for path in paths.values()}) == 2
    assert all(path.endswith(".png") for key, path in paths.items() if key.endswith(".png"))


def test_keys_made_to_collide_are_refused():
    forged = paths_below(["fire", "Fire"])["fire"]
    with pytest.raises(InputError, match="cannot be told apart as files"):
        paths_below(["fire", "Fire", forged])


@pytest.mark.parametrize(
    ("text", "paths", "said"),
    [
        ("/home/me/a.csv: 3 rows", ["/home/me/a.csv"], "a.csv: 3 rows"),
        ("/home/me/photos: 2 files", ["/home/me/photos/"], "photos: 2 files"),
        ("/a/b/c and /a/b", ["/a/b", "/a/b/c"], "c and b"),
        ("a.csv: 3 rows", ["a.csv", "."], "a.csv: 3 rows"),
        ("../x/a.zarr", ["../x/a.zarr"], "a.zarr"),
    ],
)
def test_files_name_their_inputs_without_folders(text, paths, said):
    assert without_folders({"notes": [text], "n": 1}, paths) == {"notes": [said], "n": 1}
