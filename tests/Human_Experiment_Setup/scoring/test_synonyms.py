"""Guards the synonym table and the rules: read strictly, every problem one line with its place."""

import pytest

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.scoring.rules import ScoringRules, read_rules
from Human_Experiment_Setup.scoring.synonyms import read_synonyms


@pytest.fixture
def table(tmp_path):
    def write(text):
        (tmp_path / "s.csv").write_text(text)
        return tmp_path / "s.csv"

    return write


def test_words_are_found_by_concept_whatever_its_case(table):
    path = table(
        "concept,word,verdict,version\nDog,Hound,,3\ndog,hot dog,reject,3\ndog,hound,accept,3\ncat,kitty,yes,3\n"
    )
    read = read_synonyms(path)
    words = read.accepted(["DOG", "bird"], "en")
    assert words["DOG"].synonyms == {"hound": "Hound"}
    assert words["DOG"].rejected == {"hot dog"}
    assert not words["bird"].synonyms
    assert (read.version, len(read.sha256)) == ("3", 64)
    assert read.unused(["dog", "cats"]) == ["no answer is about 'cat' (did you mean 'cats'?)"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("dog,hound,maybe,1", "column 'verdict', row 2: found 'maybe'; expected accept or reject"),
        ("dog,hound,yes,1\ndog,HOUND,no,1", "column 'word', row 3: 'HOUND' is both accepted and rejected for 'dog'"),
        ("dog,dog,reject,1", "column 'word', row 2: 'dog' is rejected for itself"),
        ("dog,???,accept,1", "column 'word', row 2: found '???'; expected a word or phrase"),
        (",hound,accept,1", "column 'concept', row 2: found ''; expected a concept"),
        ("dog,hound,accept,1\ndog,pup,accept,2", "column 'version': the versions '1', '2'; expected one version"),
    ],
)
def test_wrong_rows_are_named(table, rows, message):
    with pytest.raises(InputError) as found:
        read_synonyms(table(f"concept,word,verdict,version\n{rows}\n"))
    assert message in str(found.value)


def test_missing_columns_are_named(table):
    with pytest.raises(InputError, match=r"column 'word': the column is missing \(did you mean 'words'\?\)"):
        read_synonyms(table("concept,words\ndog,hound\n"))


def test_rules_are_the_key_scoring_of_a_protocol(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("title: of the study\nscoring: {language: de, words: 1, empty: wrong}\n")
    assert read_rules(path) == ScoringRules(language="de", words=1, empty="wrong")
    path.write_text("language: pt-BR\ntrial: {kind: naming, words: 1}\n")  # as the study asks for
    assert read_rules(path) == ScoringRules(language="pt", words=1)
    path.write_text("language: pt-BR\ntrial: {kind: naming, words: 1}\nscoring: {language: en, words: 3}\n")
    assert read_rules(path) == ScoringRules(language="en", words=3)
    path.write_text("title: of the study\n")
    assert read_rules(path) == read_rules(None) == ScoringRules()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scoring: {word: 1}", r"p.yaml, scoring: no such key 'word' \(did you mean 'words'\?\)"),
        ("scoring: {words: 0}", "p.yaml, scoring, words: found '0'; expected a whole number from 1"),
        ("scoring: {empty: never}", "p.yaml, scoring, empty: found 'never'; expected one of missing, wrong"),
        ("scoring: {language: English}", "expected the code of a language"),
        ("- scoring", "found list; expected keys and values"),
    ],
)
def test_wrong_rules_are_named(tmp_path, text, message):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_rules(tmp_path / "p.yaml")
