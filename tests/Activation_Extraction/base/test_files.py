"""Guards that a file is there whole or not at all, and that nothing that lies in its way is written to."""

import os
import secrets
from contextlib import suppress

import pytest

from Activation_Extraction.base.errors import OutputError
from Activation_Extraction.base.files import write_together, written_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    write_together({tmp_path / "a": "old"})
    write_together({tmp_path / "a": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new"}
    with pytest.raises(OutputError, match="cannot be written"):
        write_together({tmp_path / "nowhere" / "a": b"x"})


def test_what_fails_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with suppress(KeyboardInterrupt), written_whole(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_link_in_the_place_of_the_partial_file_is_not_written_through(tmp_path, monkeypatch):
    (tmp_path / "precious").write_bytes(b"mine")
    monkeypatch.setattr(secrets, "token_hex", lambda count: "guessed")
    os.symlink(tmp_path / "precious", tmp_path / ".a.guessed.part")
    with pytest.raises(OutputError, match="File exists"):
        write_together({tmp_path / "a": b"new"})
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert (tmp_path / ".a.guessed.part").is_symlink()


def test_a_link_in_the_place_of_the_file_is_replaced_and_what_it_points_to_is_left(tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    os.symlink(tmp_path / "precious", tmp_path / "a")
    write_together({tmp_path / "a": b"new"})
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert not (tmp_path / "a").is_symlink()
