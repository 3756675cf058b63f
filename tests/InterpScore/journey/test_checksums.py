"""Guards lists of SHA-256: as `sha256sum` writes them, or refused with the line."""

import subprocess

import pytest

from Activation_Extraction.base.errors import InputError
from InterpScore.journey.checksums import compared, digests_of, parse_sums

ZEROS = "0" * 64


def test_a_list_of_sha256sum_is_read_and_right(tmp_path):
    names = ["a.png", "b c/ d.png", "ümlaut.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    done = subprocess.run(["sha256sum", "./a.png", *names[1:]], cwd=tmp_path, capture_output=True, check=True)
    sums = parse_sums(done.stdout, "SHA256SUMS")
    assert list(sums) == names
    assert all(compared(tmp_path / name, digest).wrong is None for name, digest in sums.items())
    assert "expected " + ZEROS in compared(tmp_path / "a.png", ZEROS).wrong


@pytest.mark.parametrize(
    ("text", "sums"),
    [
        (f"{ZEROS} *a\r\n", {"a": ZEROS}), (f"\ufeff# of May\n\n{ZEROS.replace('0', 'A')}  a\n", {"a": "a" * 64}),
        (f"{ZEROS}\ta b\n{ZEROS}  a b", {"a b": ZEROS}), (f"{ZEROS}  ../x\n", {"../x": ZEROS}),
    ],
)  # fmt: skip
def test_what_other_programs_write_is_read(text, sums):
    assert parse_sums(text.encode(), "list") == sums


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "list: no line in it"), (b"# nothing", "list: no line in it"), (b"hello", "list, row 1: 'hello'; expected 64"),
        (f"{ZEROS}\n".encode(), "list, row 1"), (f"{ZEROS[1:]}  a\n".encode(), "list, row 1"),
        (f"{ZEROS}  a\n{ZEROS[1:]}1  a\n".encode(), "list, row 2: 'a' has two hashes"), (b"\xff\x00", "list, row 1"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(data, said):
    with pytest.raises(InputError) as refused:
        parse_sums(data, "list")
    assert str(refused.value).startswith(said)


def test_many_wrong_lines_are_few_in_the_message():
    with pytest.raises(InputError) as refused:
        parse_sums(b"x\n" * 1000, "list")
    assert len(refused.value.problems) == 5


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_digests_are_those_of_coreutils(tmp_path, algorithm):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 9000)
    said = subprocess.run([f"{algorithm}sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert digests_of(path, [algorithm])[algorithm].hex() == said


def test_crc_has_the_check_value_of_its_standard(tmp_path):
    (tmp_path / "file").write_bytes(b"123456789")
    assert digests_of(tmp_path / "file", ["crc32"])["crc32"].hex() == "cbf43926"
