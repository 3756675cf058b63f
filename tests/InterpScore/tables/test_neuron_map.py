"""Guards the neuron map: which maps are read, and what is said of the others."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from InterpScore.errors import InputError
from InterpScore.tables.neuron_map import neuron_map_and_notes, normalised, read_neuron_map


@pytest.mark.parametrize(
    ("key", "neuron", "notes"),
    [
        ("22.0", "22", ["the neuron map: read as: neuron '22.0' as 22"]),
        ("1e+05", "100000", ["the neuron map: read as: neuron '1e+05' as 100000"]),
        ("layer4.5:7,00", "layer4.5:7", ["the neuron map: read as: neuron 'layer4.5:7,00' as layer4.5:7"]),
        (22.0, "22", ["the neuron map: read as: neuron '22.0' as 22"]),
        ("0.", "0", ["the neuron map: read as: neuron '0.' as 0"]),
        ("３.0", "3", ["the neuron map: read as: neuron '３.0' as 3"]),
        ("1²", "1²", []), ("㊿", "㊿", []), ("①", "①", []), ("layer4.5:½", "layer4.5:½", []), ("⒈", "⒈", []),
        ("22", "22", []), (" 22 ", "22", []), ("007", "007", []), ("5+9", "5+9", []),
    ],
)  # fmt: skip
def test_a_neuron_that_is_read_otherwise_than_written_is_noted(key, neuron, notes):
    assert neuron_map_and_notes({key: "cat"}) == ({neuron: ("cat",)}, notes)


signs = st.one_of(
    st.sampled_from(["0", "7", "10", ".", ",", "e+", ":", "5+9", "²", "㊿", "１", "\u200b", " "]), st.text(max_size=1)
)


@given(st.lists(signs, max_size=5).map("".join))
def test_a_neuron_as_it_was_read_is_read_as_it_is(key):
    with contextlib.suppress(InputError):
        (neuron,) = read_neuron_map({key: "cat"})
        assert neuron_map_and_notes({neuron: "cat"}) == ({neuron: ("cat",)}, [])


def test_a_file_and_a_mapping_give_the_same_map(tmp_path):
    (tmp_path / "m.json").write_text('{"89": " trump ", "355": "puppies"}')
    assert read_neuron_map(tmp_path / "m.json") == read_neuron_map({89: "trump", "355": "puppies"})


def test_the_order_of_the_file_is_kept(tmp_path):
    (tmp_path / "m.json").write_text('{"9": "a", "1": "b", "5": "c"}')
    assert list(read_neuron_map(tmp_path / "m.json")) == ["9", "1", "5"]


def test_a_neuron_may_have_several_concepts(tmp_path):
    (tmp_path / "m.json").write_text('{"89": ["trump", " politician"], "5": ["cat"]}')
    assert read_neuron_map(tmp_path / "m.json") == {"89": ("trump", "politician"), "5": ("cat",)}


@pytest.mark.parametrize("word", ["NA", "null", "nan", "None", "true", "0"])
def test_a_concept_may_be_a_word_that_looks_like_nothing(tmp_path, word):
    (tmp_path / "m.json").write_text(json.dumps({"1": word}))
    assert read_neuron_map(tmp_path / "m.json") == {"1": (word,)}


def test_concepts_are_compared_without_case_and_space():
    assert normalised("  Raised \t HAND ") == normalised("raised hand")
    assert normalised("Straße") == normalised("STRASSE")
    assert normalised("raised hand") != normalised("raisedhand")


WRONG = {
    "twice": (
        '{"1": "cat", "2": "dog", "1": "cow"}',
        ["not JSON (the key '1' appears twice); expected a JSON object such as"],
    ),
    "twice but for space": ('{"1": "cat", " 1 ": "cow"}', ["neuron 1 appears more than once"]),
    "a number for a concept": ('{"1": 5}', ["neuron 1 has the concept '5'; expected a word or phrase"]),
    "null for a concept": ('{"1": null}', ["neuron 1 has the concept 'None'"]),
    "no concept in a list": ('{"1": []}', ["neuron 1 has no concept; expected a word or phrase, or a list of them"]),
    "a number in a list": ('{"1": ["cat", 5]}', ["neuron 1 has the concept '5'; expected a word or phrase"]),
    "a list in a list": ('{"1": [["cat"]]}', ["neuron 1 has the concept \"['cat']\"; expected a word or phrase"]),
    "a concept twice": ('{"1": ["cat", " CAT"]}', ["neuron 1 has a concept twice; expected each of its concepts once"]),
    "a blank concept": ('{"1": "  "}', ["neuron 1 has the concept '  '; expected a word or phrase"]),
    "a neuron without a name": ('{" ": "cat"}', ["a neuron without a name; expected its number"]),
    "empty": ("{}", ['no neuron in it; expected a JSON object such as {"89": "trump"']),
    "half a character": ('{"1": "\\ud800"}', ["neuron '1' has the concept '\\ud800'; expected printable text"]),
    "a line break": ('{"1": "cat\\r\\ndog"}', ["neuron '1' has the concept 'cat\\r\\ndog'; expected printable text"]),
    "several": (
        '{"1": 5, "2": "dog", "3": "", " 2": "cow"}',
        ["neuron 1 has the concept '5'", "neuron 3 has the concept ''", "neuron 2 appears more than once"],
    ),
}


@pytest.mark.parametrize(("text", "found"), WRONG.values(), ids=WRONG)
def test_every_wrong_entry_is_told_in_one_pass(tmp_path, text, found):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_neuron_map(path)
    problems = caught.value.problems
    assert [what in problem for what, problem in zip(found, problems, strict=True)] == [True] * len(found)
    assert all(problem.startswith(str(path)) for problem in problems)


def test_a_wrong_mapping_is_told_of_as_a_file_is():
    with pytest.raises(InputError, match="the neuron map: neuron 7 has the concept 'None'; expected a word or phrase"):
        read_neuron_map({7: None})
