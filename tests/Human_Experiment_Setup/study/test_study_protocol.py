"""Guards study protocols: mistakes are named, places to fill are refused, and a plan says what a study asks for."""

import copy

import pytest

from Activation_Extraction.base.documents import read_yaml
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.base.validation import validated
from Human_Experiment_Setup.study.plan import plan_lines, plan_of
from Human_Experiment_Setup.study.protocol import (
    StudyProtocol,
    available_study_protocols,
    places_to_fill,
    read_study_protocol,
    refuse_places_to_fill,
    study_protocol_path,
)  # fmt: skip
from Human_Experiment_Setup.study.stimuli_table import Stimulus, read_stimuli
from Human_Experiment_Setup.study.wording import ENGLISH
from tests.Human_Experiment_Setup.study.small_study import protocol, write_stimuli


@pytest.fixture(scope="module")
def published():
    return {"name": "mine", **read_yaml(study_protocol_path("published"))}


def changed(content, path, value):
    content = copy.deepcopy(content)
    *steps, last = path
    place = content
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["trial", "words"], "two", "trial naming, words: found 'two'; expected a whole number from 1, up to 10"),
        (["trial", "required"], 3, "required: found 3; expected up to the number of words, 2"),
        (["trial", "kind"], "namng", r"found 'namng'; expected one of naming, question \(did you mean 'naming'\?\)"),
        (["trial", "kind"], "question", "the kind question shows no picture"),
        (["trial", "kind"], None, "no key 'kind'; expected one of naming, question"),
        (["level"], 5, r"no such key 'level' \(did you mean 'levels'\?\)"),
        (["levels"], [5, 1, 5], r"levels: found '\[5, 1, 5\]'; expected each level once"),
        (["checks", 0, "right"], "Three", "right: found 'Three'; expected one of One, Two, As many as possible"),
        (["completion", "code"], None, "no key 'code'; expected Prolific's completion code"),
        (["completion", "code"], "a b<c>", "found 'a b<c>'; expected 4 to 64 letters and digits"),
        (["language"], "de", "wording: no answer, answer_missing.*expected all texts in the language de"),
        (["language"], "Deutsch!", "expected a language such as en"),
        (["wording"], {"nxt": "Weiter"}, r"no such text 'nxt' \(did you mean 'next'\?\)"),
        (["wording"], {"progress": "{x} von {total}"}, "expected no other braces than in '{done} of {total}'"),
        (["exclusions", "cannot_tell_share"], 2, "found '2'"),
        (["consent"], [], "consent: found"),
        (["ratings_per_image"], 0, "expected a whole number from 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_key_value_and_expected(published, path, value, said):
    with pytest.raises(InputError, match=said):
        validated(StudyProtocol, changed(published, path, value), "mine.yaml")


def test_every_place_to_fill_is_listed_and_refused(published):
    found = places_to_fill(StudyProtocol.model_validate(published))
    assert "retention: [FILL IN: years]" in found
    assert "completion.code: [FILL IN: the completion code of your Prolific study]" in found
    with pytest.raises(InputError) as refused:
        refuse_places_to_fill(StudyProtocol.model_validate(published), "mine.yaml")
    assert len(refused.value.problems) == len(found) == 8
    refuse_places_to_fill(protocol(), "mine.yaml")


@pytest.mark.parametrize("key", ["information", "consent", "debrief", "title"])
def test_a_place_to_fill_is_found_in_every_text(key):
    text = "by [FILL IN: who]"
    assert places_to_fill(protocol(**{key: [text] if key == "consent" else text}))


def test_another_language_needs_all_texts_and_is_then_used():
    wording = {name: f"{text} (de)" for name, text in ENGLISH.items()}
    assert protocol(language="de", wording=wording).texts["next"] == "Next (de)"


@pytest.mark.parametrize("name", available_study_protocols())
def test_included_protocols_read(name):
    assert read_study_protocol(name).as_dict()["about"]


def test_a_protocol_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'published'"):
        read_study_protocol("publishd")
    with pytest.raises(InputError, match="no such file"):
        read_study_protocol("missing.yaml")


def test_published_protocol_asks_for_what_the_published_study_had():
    chosen = read_study_protocol("published")
    stimuli = [
        Stimulus(f"{concept}_{at}_{level}", f"c{concept}" if concept else "fire", level, "", f"{concept}_{at}", "")
        for concept in range(10)
        for at in range(27)
        for level in (5, 1, 2, 3)
    ] + [
        Stimulus(f"{concept}_r{at}", f"c{concept}" if concept else "fire", 4, "", f"{concept}_r{at}", "")
        for concept in range(10)
        for at in range(4)
    ]
    plan = plan_of(chosen, stimuli)
    assert (len(plan.places), plan.ratings, len(plan.cells)) == (119, (7, 8), 50)
    lines = "\n".join(plan_lines(chosen, plan))
    assert "1,120 in 50 cells" in lines
    assert "119 needed" in lines


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials_per_participant": 9}, "expected up to the number of base pictures, 8"),
        ({"trials_per_participant": 7, "practice": 3}, "practice: found 3; expected up to 1"),
        ({"catch": {"trials": 1, "accepted": {"boat": ["boat"]}}}, "catch.trials: found 1; expected up to 0"),
    ],
)
def test_a_plan_that_the_pictures_do_not_allow_is_refused(tmp_path, changes, said):
    stimuli = read_stimuli(write_stimuli(tmp_path), [5, 1])
    with pytest.raises(InputError, match=said):
        plan_of(protocol(**changes), stimuli)
