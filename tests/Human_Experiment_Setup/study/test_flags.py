"""Guards flags and pre-registered exclusions: each rule excludes from its limit on, and counts what it says."""

import pytest

from Human_Experiment_Setup.study.flags import RULES, Flags, Given, Signals, excluded_by, flags_of
from Human_Experiment_Setup.study.protocol_parts import Exclusions
from tests.Human_Experiment_Setup.study.small_study import TRAP, protocol


def given(role="main", words=("a", "b"), shown=True, concept="fire", **signals):
    answer = {"words": list(words), "cannot_tell": not words}
    return Given(role, "naming", shown, answer, Signals(**signals).model_dump(), concept)


def trap(text):
    return Given("trap", "question", True, {"text": text, "cannot_tell": not text}, {}, None, 0)


@pytest.mark.parametrize(
    ("answers", "name", "value"),
    [
        ([given("catch", ("Fire", "x")), given("catch", ("dog", "x")), given("catch", ())], "missed_catch", 2),
        ([given("catch", (), shown=False)], "missed_catch", 0),
        ([given("main", ("dog", "x"))], "missed_catch", 0),
        ([trap("56"), trap("fifty"), trap("")], "program_answers", 1),
        ([given(pasted=2), given(pasted=1), given()], "pasted", 2),
        ([given(characters=8), given(characters=8, inputs=8), given(characters=8, pasted=1)], "without_typing", 1),
        ([given(words=()), given(), given("practice", ()), given(words=(), shown=False)], "cannot_tell_share", 0.5),
        ([given(left=2), given(left=1)], "left", 3),
        ([given(shown=False), given()], "not_shown", 1),
        ([given(synthetic=5), given()], "synthetic", 1),
        ([], "cannot_tell_share", 0.0),
    ],
)
def test_flags_count_what_they_say(answers, name, value):
    chosen = protocol(traps=[TRAP], catch={"trials": 1, "accepted": {"fire": ["fire"]}})
    assert getattr(flags_of(chosen, answers, 1, None), name) == value


@pytest.mark.parametrize(
    ("rule", "limit", "just", "short"),
    [
        ("check_attempts", 2, {"check_attempts": 3}, {"check_attempts": 2}),
        ("missed_catch", 2, {"missed_catch": 2}, {"missed_catch": 1}),
        ("program_answers", 1, {"program_answers": 1}, {"program_answers": 0}),
        ("pasted", 3, {"pasted": 3}, {"pasted": 2}),
        ("without_typing", 3, {"without_typing": 3}, {"without_typing": 2}),
        ("cannot_tell_share", 0.9, {"cannot_tell_share": 0.9}, {"cannot_tell_share": 0.89}),
        ("minutes_below", 4, {"minutes": 3.9}, {"minutes": 4.0}),
        ("minutes_above", 90, {"minutes": 90.1}, {"minutes": 90.0}),
    ],
)
def test_a_rule_excludes_from_its_limit_on_and_without_it_nobody(rule, limit, just, short):
    rules = Exclusions(**{rule: limit})
    assert excluded_by(rules, Flags(**just)) == [rule]
    assert excluded_by(rules, Flags(**short)) == excluded_by(Exclusions(), Flags(**just)) == []


def test_every_rule_is_described():
    assert set(RULES) == set(Exclusions.model_fields) - {"refill"}
