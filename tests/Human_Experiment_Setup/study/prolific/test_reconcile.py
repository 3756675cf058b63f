"""Guards reconciling with Prolific: whom to pay, who is still needed, whatever the statuses and however often it is run."""

import pandas as pd
import pytest
from sqlalchemy import select

from Activation_Extraction.base.commands import app, run
from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.database.schema import DATA, StudySession, Submission
from Human_Experiment_Setup.study.leaving import withdraw
from Human_Experiment_Setup.study.places import fills_of
from Human_Experiment_Setup.study.prolific.reconciliation import decide, reconcile
from Human_Experiment_Setup.study.prolific.submissions import STATUSES, Listed, read_submissions
from tests.Human_Experiment_Setup.study.small_study import (
    Participant,
    client_of,
    prolific_ids,
    small_study,
    write_stimuli,
)


@pytest.fixture
def called(capsys):
    """Calls `interpscore study`; gives exit code, output and errors."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            run(app, ["study", *map(str, arguments)])
        return stopped.value.code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return write_stimuli(tmp_path_factory.mktemp("stimuli"), pictures=2)


@pytest.fixture
def study(tmp_path, stimuli):
    """A study with six places."""
    found = small_study(tmp_path, stimuli=stimuli, ratings_per_image=3, trials_per_participant=4)
    yield found
    found.database.close()


def people(study, **answers):
    """Participants by name, who gave so many of their four answers; None: all."""
    client, found = client_of(study), {}
    for name, count in answers.items():
        me = found[name] = Participant(client)
        for trial in range(4 if count is None else count):
            me.answer(trial)
    return {name: Listed(me.ids["SESSION_ID"], me.ids["PROLIFIC_PID"], "") for name, me in found.items()}


def statuses(found, **status):
    return [Listed(found[name].submission, found[name].participant, each) for name, each in status.items()]


def reconciled(study, listed):
    with study.database.writing() as session:
        return reconcile(session, study.keys, listed, study.now_ms())


FINISHED = {
    "ACTIVE": "wait", "AWAITING REVIEW": "pay", "APPROVED": "paid", "REJECTED": "check", "RETURNED": "check", "TIMED-OUT": "pay",
}  # fmt: skip
UNFINISHED = FINISHED | {
    "AWAITING REVIEW": "check", "APPROVED": "check", "REJECTED": "nothing", "RETURNED": "nothing", "TIMED-OUT": "nothing",
}  # fmt: skip


def test_every_status_has_a_decision(study):
    found = people(study, finished=None, unfinished=1, withdrew=None)
    with study.database.writing() as session:
        withdraw(session, study.keys, found["withdrew"].participant, study.now_ms())
    nobody = prolific_ids()
    found["nobody"] = Listed(nobody["SESSION_ID"], nobody["PROLIFIC_PID"], "")
    for status in STATUSES:
        lines = reconciled(study, statuses(found, **dict.fromkeys(found, status))).lines
        decisions = {name: line.decision for name, line in zip(found, lines, strict=True)}
        none = {"ACTIVE": "wait", "AWAITING REVIEW": "check", "APPROVED": "check"}.get(status, "nothing")
        gone = UNFINISHED[status] if status != "APPROVED" else "paid"
        gone = "check" if status == "TIMED-OUT" else gone
        assert decisions == {
            "finished": FINISHED[status], "unfinished": UNFINISHED[status], "withdrew": gone, "nobody": none,
        }, status  # fmt: skip


@pytest.mark.parametrize(
    ("status", "statuses", "decision"),
    [
        ("RETURNED", ["RETURNED", "AWAITING REVIEW"], "nothing"),
        ("TIMED-OUT", ["TIMED-OUT", "APPROVED"], "nothing"),
        ("RETURNED", ["RETURNED", "RETURNED"], "check"),
        ("AWAITING REVIEW", ["AWAITING REVIEW", "AWAITING REVIEW"], "check"),
        ("AWAITING REVIEW", ["AWAITING REVIEW", "APPROVED"], "check"),
        ("AWAITING REVIEW", ["AWAITING REVIEW", "TIMED-OUT"], "pay"),
        ("SCREENED OUT", ["SCREENED OUT"], "check"),
    ],
)
def test_of_several_submissions_one_is_paid(study, status, statuses, decision):
    from Human_Experiment_Setup.study.prolific.reconciliation import Known

    known = Known("s", "p", "complete", 4, 4, "", False, ("a", "b"))
    assert decide(status, known, statuses)[0] == decision


@pytest.mark.parametrize("status", ["RETURNED", "TIMED-OUT"])
def test_a_place_is_open_again_once_and_nobody_is_recruited_twice(study, status):
    found = people(study, finished=None, left=1, answering=2)
    first = reconciled(study, statuses(found, finished="APPROVED", left=status, answering="ACTIVE"))
    assert (first.places, first.filled, first.coming, first.recruit, first.changed) == (6, 1, 1, 4, 3)
    assert first.holding + first.recruit == 6  # Prolific gives the place of who left out again by itself
    again = reconciled(study, statuses(found, finished="APPROVED", left=status, answering="ACTIVE"))
    assert (again.recruit, again.changed) == (4, 0)
    newcomer = people(study, newcomer=None)
    last = reconciled(
        study, statuses(found | newcomer, finished="APPROVED", left=status, answering="ACTIVE", newcomer="APPROVED")
    )
    assert (last.filled, last.recruit, last.holding) == (2, 3, 3)
    with study.database.reading() as session:
        assert sum(fill.complete for fill in fills_of(session, study.version.id, DATA, study.now_ms())) == 2


def test_who_is_missing_in_either_is_listed(study):
    found = people(study, listed=None, finished=None, answering=1)
    (_, *missing) = reconciled(study, statuses(found, listed="AWAITING REVIEW")).lines
    assert [(line.participant, line.status, line.decision) for line in missing] == [
        (found["finished"].participant, "", "check"), (found["answering"].participant, "", "wait"),
    ]  # fmt: skip


def test_an_exclusion_is_no_reason_not_to_pay(tmp_path, stimuli):
    study = small_study(tmp_path, stimuli=stimuli, trials_per_participant=4, exclusions={"minutes_below": 60})
    found = people(study, fast=None)
    after = reconciled(study, statuses(found, fast="AWAITING REVIEW"))
    assert (after.lines[0].decision, after.lines[0].excluded_by) == ("pay", "minutes_below")
    assert "no reason not to pay" in after.lines[0].reason
    assert (after.filled, after.recruit) == (0, after.places)  # its place is refilled
    study.database.close()


def test_the_command_notes_statuses_unless_it_is_a_dry_run(study, tmp_path, called):
    found = people(study, finished=None, left=1)
    listed = statuses(found, finished="AWAITING REVIEW", left="TIMED_OUT")
    frame = pd.DataFrame([(each.submission, each.participant, each.status) for each in listed])
    frame.columns = ["Submission id", "Participant id", "Status"]
    frame.assign(**{"Completion code": "=1+1"}).to_csv(tmp_path / "export.csv", index=False)
    command = ["reconcile", tmp_path / "study.db", tmp_path / "export.csv", "--state", tmp_path / "state"]
    code, out, err = called(*command, "--dry-run")
    assert (code, err) == (0, "")
    assert "2 new, not noted: dry run" in out
    assert statuses_in(study) == [None, None]
    code, out, err = called(*command, "-o", tmp_path / "reconciled.csv")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "To recruit 5: on Prolific, set the study's places to 6" in lines
    assert "pay 1 approve it, or pay in another way" in lines
    assert statuses_in(study) == ["AWAITING REVIEW", "TIMED-OUT"]
    table = pd.read_csv(tmp_path / "reconciled.csv")
    assert table["decision"].tolist() == ["pay", "nothing"]
    assert table["participant"].tolist() == [each.participant for each in listed]
    assert called(*command, "--quiet") == (0, "", "")


def statuses_in(study):
    with study.database.reading() as session:
        return session.scalars(select(Submission.status).join(StudySession).order_by(StudySession.created_ms)).all()


# Dialects -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Submission id,Participant id,Status\ns1,p1,AWAITING REVIEW\ns2,p2,TIMED-OUT\n",
        "session_id,participant_id,status\ns1,p1,awaiting review\ns2,p2,timed-out\n",
        "id;participant_id;status\ns1;p1;AWAITING_REVIEW\ns2;p2;TIMED_OUT\n",
        "\ufeffSubmission ID,Prolific PID,Submission status\ns1,p1,Awaiting review\ns1,p1,Awaiting Review\ns2,p2,Timed out\n",
        "Submission id,session_id,Participant id,Status\ns1,s1,p1,AWAITING REVIEW\ns2,s2,p2,TIMED-OUT\n",
    ],
)
def test_exports_of_any_year_are_read(tmp_path, text):
    (tmp_path / "export.csv").write_text(text, encoding="utf-8")
    assert read_submissions(tmp_path / "export.csv") == [Listed("s1", "p1", "AWAITING REVIEW"), Listed("s2", "p2", "TIMED-OUT")]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Submission id,Status\ns1,ACTIVE\n", "no column 'Participant id'"),
        ("Submission id,Participant id,Status\ns1,,ACTIVE\n", "column 'Participant id', row 2: found ''"),
        (
            "Submission id,Participant id,Status\ns1,p1,ACTIVE\ns1,p1,APPROVED\n",
            "is ACTIVE of p1 in one row, APPROVED of p1",
        ),
        (
            "Submission id,session_id,Participant id,Status\ns1,s2,p1,ACTIVE\n",
            "'Submission id' and 'session_id' differ",
        ),
        ("Submission id,Participant id,Status\ns1,p1,DE\ns2,p2,UK\n", "found 'DE, UK'; expected one of ACTIVE"),
        ("", "empty"),
    ],
)
def test_what_is_no_export_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / "export.csv").write_text(text)
    with pytest.raises(InputError) as refused:
        read_submissions(tmp_path / "export.csv")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
