"""Guards that a file is there whole or not at all."""

from contextlib import suppress

import pytest

from Activation_Extraction.base.errors import OutputError
from Activation_Extraction.base.files import write_whole, written_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    write_whole(tmp_path / "a", b"old")
    (tmp_path / ".a.part").write_bytes(b"what a killed run left")
    write_whole(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / "nowhere" / "a", b"x")


def test_what_fails_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with suppress(KeyboardInterrupt), written_whole(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
