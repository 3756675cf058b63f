"""Guards kinds of trials as an extension point: docs/study.md's rating by slider runs, and no file of ours changes for it."""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest

import InterpScore
from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.answers.from_database import answer_rows
from Human_Experiment_Setup.study.server import assets
from Human_Experiment_Setup.study.trials.kinds import ENTRY_POINT_GROUP, trial_kind, trial_kinds
from Human_Experiment_Setup.study.trials.naming import NAMING, NamingAnswer
from Human_Experiment_Setup.study.trials.question import QUESTION, QuestionAnswer
from tests.Human_Experiment_Setup.study.small_study import Participant, client_of, protocol, small_study
from tests.installed import installed

PAGE = (Path(InterpScore.__file__).parents[1] / "docs" / "study.md").read_text(encoding="utf-8")
PYTHON, SCRIPT = (
    re.search(rf"`{name}`:\n\n```\w+\n(.+?)```", PAGE, re.DOTALL)[1] for name in ("slider.py", "slider.js")
)


@contextmanager
def installed_slider(site, code=PYTHON):
    """The package of the docs."""
    with installed(site, "slider", code, ENTRY_POINT_GROUP, "slider", "slider:SLIDER"):
        (site / "slider.js").write_text(SCRIPT)
        assets.assets.cache_clear()
        yield
    assets.assets.cache_clear()


@pytest.fixture
def slider(tmp_path):
    with installed_slider(tmp_path / "site"):
        yield


def test_the_slider_of_the_docs_is_served_saved_and_exported(tmp_path, slider):
    trial = {"kind": "slider", "question": "How well do you recognize it?"}
    study = small_study(tmp_path, trial=trial)
    client = client_of(study)
    me = Participant(client)
    state = me.get().json()
    assert (state["kind"], state["settings"]) == (
        "slider",
        {"question": trial["question"], "low": "not at all", "high": "at once"},
    )
    script = re.search(r'src="([^"]+/trials/slider\.js)"', me.get("/study").text)[1]
    assert client.get(script).text == SCRIPT
    assert me.post(trial=0, answer={"rating": 101}).status_code == 422
    assert me.post(trial=0, answer={"rating": 70}).status_code == 200
    with study.database.reading() as session:
        (row,) = answer_rows(session, study.versions, study.keys)
    assert (row["trial_kind"], row["rating"]) == ("slider", 70)
    study.database.close()


@pytest.mark.parametrize(
    ("code", "name", "value", "said"),
    [
        ("KIND = 5", "slider", "broken:KIND", "found int; expected a TrialKind"),
        (
            "from Human_Experiment_Setup.study.trials.naming import NAMING",
            "naming",
            "broken:NAMING",
            "the name is taken",
        ),
        (
            "from Human_Experiment_Setup.study.trials.naming import NAMING",
            "other",
            "broken:NAMING",
            "is called 'naming'",
        ),
        ("1 / 0", "slider", "broken:KIND", "cannot be loaded"),
    ],
)
def test_a_broken_kind_is_one_line(tmp_path, code, name, value, said):
    with installed(tmp_path, "broken", code, ENTRY_POINT_GROUP, name, value), pytest.raises(InputError, match=said):
        trial_kinds()


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"found 'nameing'; expected one of naming, question \(did you mean 'naming'"):
        trial_kind("nameing")


def test_settings_of_a_kind_are_checked():
    with pytest.raises(ValueError, match="expected a whole number"):
        protocol(trial={"kind": "naming", "words": 0})


@pytest.mark.parametrize(
    ("words", "accepted", "found"),
    [
        (["FIRE!", "x"], ["fire"], True), (["cafe\u0301", "x"], ["café"], True), (["  fire  place ", ""], ["fire place"], True),
        (["fires", "x"], ["fire"], False), ([], ["fire"], False), (["", ""], [""], False),
    ],
)  # fmt: skip
def test_catch_words_are_the_accepted_ones_case_and_marks_aside(words, accepted, found):
    assert NAMING.names(NamingAnswer.model_construct(words=words, cannot_tell=False), accepted) is found


@pytest.mark.parametrize(
    ("text", "found"), [("44,619,871", True), ("44619871", True), ("44 619 871.", True), ("44", False), ("", False)]
)
def test_program_answers_are_found_however_their_digits_are_grouped(text, found):
    assert QUESTION.names(QuestionAnswer.model_construct(text=text, cannot_tell=False), ["44619871"]) is found


def test_columns_of_names_are_those_of_the_published_table():
    columns = NAMING.columns(NamingAnswer(words=["fire", 'sa"id'], cannot_tell=False))
    assert columns == {
        "word_1": "fire", "word_2": 'sa"id',
        "response": 'fire,sa"id', "cannot_tell": False, "annotation": '["FIRE", "SA\\"ID"]', "annotation_string": 'FIRE,SA"ID',
    }  # fmt: skip
