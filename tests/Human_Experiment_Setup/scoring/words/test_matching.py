"""Guards how answers are decided: every row of the documented table, limits of spelling, other languages, rules."""

import re
from pathlib import Path

import pytest

import Human_Experiment_Setup
from Human_Experiment_Setup.scoring.rules import ScoringRules
from Human_Experiment_Setup.scoring.synonyms import read_synonyms
from Human_Experiment_Setup.scoring.words import matching
from Human_Experiment_Setup.scoring.words.kinds import KINDS, AcceptedWords
from Human_Experiment_Setup.scoring.words.matching import Matcher, edits, edits_allowed

PAGE = (Path(Human_Experiment_Setup.__file__).parents[1] / "docs" / "word-scoring.md").read_text(encoding="utf-8")
STUDY = ["dog", "cat", "elephant", "fashion model", "fire", "mushrooms", "puppies", "raised hand", "sailboat"]
SPECIAL = {"(nothing)": "", '(10,000 times "dog ")': "dog " * 10_000}


def rows(heading):
    """The cells of the table below a heading."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def matcher(rules=ScoringRules(), concepts=(), **accepted):  # noqa: B008 - frozen
    words = {concept: AcceptedWords(concept) for concept in concepts}
    return Matcher(words | {c: AcceptedWords(c, {w: w for w in several}) for c, several in accepted.items()}, rules)


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "synonyms.csv"
    path.write_text(PAGE.split("```csv\n")[1].split("```")[0])
    return Matcher(read_synonyms(path).accepted(STUDY, "en"), ScoringRules())


@pytest.mark.parametrize("row", rows("Hard cases"), ids=lambda row: f"{row[0]}: {row[1]}")
def test_hard_cases_are_decided_as_documented(row, documented):
    concept, typed, kind, soft, matched = row
    answer = documented.answer(concept, SPECIAL.get(typed, typed).replace("\\|", "|").split(" | "))
    verdict = {"true": "right", "false": "wrong", "empty": "missing" if kind == "empty" else "undecided"}[soft]
    assert (answer.match.kind, answer.match.verdict, answer.match.matched) == (kind, verdict, matched)
    assert answer.is_label == (kind == "exact")


def test_every_kind_of_match_is_documented_in_its_order():
    assert [row[0].strip("`") for row in rows("How an answer is decided")] == list(KINDS)


@pytest.mark.parametrize(
    ("accepted", "typed", "is_right"),
    [
        ("lamp", "lmap", False),  # four letters: none
        ("xenon", "xennon", True),  # five: one
        ("xenon", "xxennon", False),
        ("quokkas", "quokkkas", True),  # seven: one
        ("quokkas", "quukkkas", False),
        ("axolotls", "axxolottls", True),  # eight: two
        ("axolotls", "axxolottlls", False),
        ("axolotls", "xaolotsl", True),  # two swaps are two edits
    ],
)
def test_spelling_has_limits_by_length(accepted, typed, is_right):
    answer = matcher(ScoringRules(heads=False), [accepted]).answer(accepted, [typed])
    assert (answer.match.kind == "spelling") == is_right
    assert answer.match.kind in ("spelling", "near", "unlisted")


def plain_distance(a, b):
    """Optimal string alignment by the textbook recursion."""
    d = {(i, j): i + j for i in range(len(a) + 1) for j in range(len(b) + 1) if i * j == 0}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i, j] = min(d[i - 1, j] + 1, d[i, j - 1] + 1, d[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i, j] = min(d[i, j], d[i - 2, j - 2] + 1)
    return d[len(a), len(b)]


@pytest.mark.parametrize(
    ("a", "b"), [("ca", "abc"), ("elefant", "elephant"), ("muhsroom", "mushroom"), ("yatch", "yacht")]
)
def test_edits_are_the_optimal_string_alignment_distance(a, b):
    assert edits(a, b, 9) == plain_distance(a, b)


@pytest.mark.parametrize("typed", ["frame", "crown", "house"])
def test_words_of_the_language_are_no_misspellings(typed):
    concept = {"frame": "flame", "crown": "clown", "house": "mouse"}[typed]
    assert matcher(concepts=[concept]).answer(concept, [typed]).match.kind == "unlisted"


def test_words_of_another_concept_are_no_misspellings_and_no_heads():
    assert matcher(concepts=["xenop"]).answer("xenop", ["xenon"]).match.kind == "spelling"
    assert matcher(concepts=["xenop", "xenon"]).answer("xenop", ["xenon"]).match.kind == "unlisted"
    assert matcher(xenop=[], gas=["xenons"]).answer("xenop", ["xenon"]).match.kind == "unlisted"  # by its plural, too
    assert matcher(concepts=["hot dog"]).answer("hot dog", ["dogs"]).match.kind == "head"
    assert matcher(concepts=["hot dog", "dog"]).answer("hot dog", ["dogs"]).match.kind == "unlisted"


@pytest.mark.parametrize(
    ("rules", "typed", "kind"),
    [
        ({"heads": False}, "model", "unlisted"),
        ({"spelling": False}, "fashion modell", "near"),
        ({"known_words": ("Fassion",), "heads": False}, "fassion", "unlisted"),
        ({}, "fassion", "spelling"),
        ({"words": 1}, "model, art", "too many words"),
        ({}, "model, art", "head"),
        ({"words": 1}, "model, MODEL", "head"),  # the same word twice is one
    ],
)
def test_every_rule_has_an_effect(rules, typed, kind):
    concept = "flassion" if "fassion" in typed else "fashion model"
    assert matcher(ScoringRules(**rules), [concept]).answer(concept, [typed]).match.kind == kind


def test_raters_decide_what_no_rule_does():
    decided = Matcher(
        {"dog": AcceptedWords("dog")}, ScoringRules(), {"dog": {"dog house": False, "wolf": True, "dog a b": True}}
    )
    kinds = [decided.answer("dog", [typed]).match.kind for typed in ("dog house", "Wolf", "wolves", "dog, a, b", "dog")]
    assert kinds == ["rejected", "adjudicated", "unlisted", "adjudicated", "exact"]


@pytest.mark.parametrize(
    ("language", "concept", "typed", "kind"),
    [
        ("de", "Hund", "HUND", "exact"),
        ("de", "Segelboot", "Segel-Boot", "compound"),
        ("is", "fiðrildi", "fiðrilldi", "spelling"),
        ("is", "hús", "húsin", "unlisted"),  # no plurals
        ("is", "hundur", "not a hundur", "phrase"),  # no negations
        ("es", "niño", "nino", "exact"),
        ("ru", "собака", "СОБАКА", "exact"),
        ("tlh", "собака", "dog", "script"),
        ("ja", "犬小屋の犬たち", "犬小屋の犬だち", "near"),  # wordfreq has no words of it here
        ("tlh", "targhmey", "targhmay", "near"),  # nor of Klingon
    ],
)
def test_other_languages_have_what_is_documented(language, concept, typed, kind):
    assert matcher(ScoringRules(language=language), [concept]).answer(concept, [typed]).match.kind == kind


def test_what_a_language_lacks_is_said():
    lacking = {
        code: matcher(ScoringRules(language=code), ["x"]).vocabulary.not_available() for code in ("en", "de", "ja")
    }
    assert [len(lines) for lines in lacking.values()] == [0, 1, 2]
    assert "plurals" in lacking["de"][0]
    assert lacking["ja"][1].startswith("spelling (no word frequencies")


def test_long_texts_are_decided_at_once(monkeypatch):
    monkeypatch.setattr(matching, "edits", None)  # would fail
    for text in ("x" * 10_000, "dog " * 10_000, "\u0301" * 10_000):
        assert matcher(concepts=["dog"]).answer("dog", [text]).match.kind == "too long"
    many = matcher(concepts=["dog"]).answer("dog", ["dog," * 10_000])
    assert many.match.kind == "exact"  # one word, however often


def test_limits_are_those_of_the_accepted_word():
    assert [edits_allowed(word) for word in ("four", "fives", "sevenss", "eightsss", "sail boat")] == [0, 1, 1, 2, 2]
