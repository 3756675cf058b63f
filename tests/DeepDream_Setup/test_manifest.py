"""Guards manifests of renders: damaged ones are compiled from the records again, and what they say is validated."""

import json
import math

import numpy as np
import pytest

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.units import Unit
from DeepDream_Setup.manifest import IDENTITY, Picture, Renders, read_manifest

ASKED = {"model": "m", "layer": "l", "seed": 0}
NUMBERS = dict.fromkeys(("activation", "jittered", "contrast", "saturation", "slope"), 1.0)
ENTRY = {"start": "grey", "best_natural": None, "times_natural": None, "flags": []} | NUMBERS
PIXELS = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
UNITS = [Unit((0,)), Unit((1,))]


def render(root, units=UNITS, entry=ENTRY, **asked):
    """Render the units that are missing; which they are."""
    with Renders(root, ASKED | asked, {"versions": {"numpy": "2"}}) as renders:
        missing = renders.missing(units)
        for unit in missing:
            renders.add(unit, [Picture("grey", PIXELS + unit.channels[0], entry)])
    return [unit.name for unit in missing]


@pytest.fixture
def root(tmp_path):
    render(tmp_path)
    return tmp_path


DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "of no units": lambda content: b'{"format": 1, "model": "m", "layer": "l", "units": []}',
    "of other entries": lambda content: content.replace(b'"sha256"', b'"md5"'),
    "of text for numbers": lambda content: content.replace(b"1.0", b'"high"'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_manifest_is_compiled_from_the_records(root, damage):
    path = root / "m" / "l" / "manifest.json"
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert render(root) == []
    assert path.read_bytes() == content


@pytest.mark.parametrize("damage", [DAMAGES["cut off"], None], ids=["cut off", "missing"])
def test_without_its_manifest_a_folder_of_something_else_is_refused(root, damage):
    path = root / "m" / "l" / "manifest.json"
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    with pytest.raises(InputError, match="holds seed '0'; asked for '1'"):
        render(root, seed=1)
    assert render(root) == []


def test_pictures_without_a_record_are_not_trusted(root):
    path = root / "m" / "l" / "manifest.json"
    path.write_bytes(b"{")
    (root / "m" / "l" / ".records" / "1.json").unlink()
    assert render(root) == ["1"]


RECORDS = {
    "of no entries": lambda record: json.dumps({k: v for k, v in record.items() if k != "entries"}).encode(),
    "of more entries": lambda record: json.dumps(record | {"entries": record["entries"] * 2}).encode(),
    "of entries that are text": lambda record: json.dumps(record | {"entries": ["a"]}).encode(),
    "of text for a number": lambda record: json.dumps(record | {"entries": [ENTRY | {"slope": "a"}]}).encode(),
    "of a unit that is a list": lambda record: json.dumps(record | {"unit": []}).encode(),
    "of files that are a list": lambda record: json.dumps(record | {"files": ["a"]}).encode(),
    "of versions that are a list": lambda record: json.dumps(
        record | {"files": {}, "made_with": {"versions": [1]}}
    ).encode(),
}


@pytest.mark.parametrize("damage", RECORDS.values(), ids=RECORDS)
def test_a_unit_with_a_damaged_record_is_rendered_again(root, damage):
    content = (root / "m" / "l" / "manifest.json").read_bytes()
    record = root / "m" / "l" / ".records" / "1.json"
    record.write_bytes(damage(json.loads(record.read_text())))
    assert render(root) == ["1"]
    assert (root / "m" / "l" / "manifest.json").read_bytes() == content


def test_a_record_that_is_cut_off_is_written_again_as_the_manifest_has_it(root):
    record = root / "m" / "l" / ".records" / "1.json"
    record.write_bytes(record.read_bytes()[:50])
    assert render(root) == []
    assert json.loads(record.read_text())["files"].keys() == {"1/grey.png"}


def test_a_damaged_manifest_of_an_earlier_version_is_refused(root):
    (root / "m" / "l" / IDENTITY).unlink()
    (root / "m" / "l" / "manifest.json").write_bytes(b"{")
    with pytest.raises(InputError, match=r"manifest\.json, line 1, column 2: not JSON"):
        render(root)


def test_numbers_that_could_not_be_measured_are_null_and_read_as_nan(tmp_path):
    render(tmp_path, entry=ENTRY | {"activation": math.nan})
    assert "NaN" not in (tmp_path / "m" / "l" / "manifest.json").read_text()
    (entry, *_) = read_manifest(tmp_path / "m" / "l")["units"]["0"]
    assert math.isnan(entry["activation"])
