"""Guards names of files from names from outside: safe on every disk, different, the same in every run."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.names import LONGEST, file_name, file_names, folded
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
