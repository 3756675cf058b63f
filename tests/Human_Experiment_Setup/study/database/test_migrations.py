"""Guards migrations: a study as the first schema kept it goes on with nothing lost; killed half-way, nothing has changed."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.database import connection
from Human_Experiment_Setup.study.database.connection import open_database
from Human_Experiment_Setup.study.database.schema import Base, SavedAnswer, StudySession
from Human_Experiment_Setup.study.server.running import open_served
from tests.Human_Experiment_Setup.study.small_study import protocol, small_study, write_stimuli
from tests.Human_Experiment_Setup.study.test_both_databases import answer, come, finish

FIRST_SCHEMA = Path(__file__).with_name("first_schema.sql")
KEYS = '{"secret": "' + "0f" * 32 + '"}'
NEXT = """
import os, signal
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade():
    op.create_table("notes", sa.Column("session_id", sa.String(32), sa.ForeignKey("sessions.id")), sa.Column("text", sa.Text()))
    op.execute("INSERT INTO notes SELECT id, state FROM sessions")
    op.add_column("sessions", sa.Column("device", sa.String(16), nullable=True))
    op.execute("UPDATE sessions SET device = 'phone'")
    if os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""A migration after the newest, as a later version may have one: a new table, a new column, and what they hold."""


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """Our migrations, and another one after them."""
    folder = tmp_path / "migrations"
    shutil.copytree(connection.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "m0002_next.py").write_text(NEXT)
    return lambda: monkeypatch.setattr(connection, "MIGRATIONS", folder)


def rows_in(database, names):
    """Rows of tables by column, and the schema's revision."""
    with database.engine.connect() as at:
        found = {
            name: [dict(row) for row in at.execute(text(f"SELECT * FROM {name} ORDER BY 1")).mappings()]
            for name in names
        }
        return found, at.scalar(text("SELECT version_num FROM alembic_version"))


TABLES = list(Base.metadata.tables)


def test_a_study_as_the_first_schema_kept_it_goes_on_and_nothing_is_lost(tmp_path):
    with closing(sqlite3.connect(tmp_path / "study.db")) as at:
        at.executescript(FIRST_SCHEMA.read_text(encoding="utf-8"))
        at.row_factory = sqlite3.Row
        kept = {name: [dict(row) for row in at.execute(f"SELECT * FROM {name} ORDER BY 1")] for name in TABLES}
    opened = open_database(str(tmp_path / "study.db"))
    with opened.engine.connect() as at:
        assert compare_metadata(MigrationContext.configure(at), Base.metadata) == []
    now, _ = rows_in(opened, TABLES)
    opened.close()
    assert [name for name, rows in kept.items() if not rows] == []
    for name, rows in kept.items():  # a later schema may have more columns
        assert [{key: row[key] for key in before} for before, row in zip(rows, now[name], strict=True)] == rows
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "keys.json").write_text(KEYS)
    stimuli = write_stimuli(tmp_path / "stimuli", pictures=2)
    study, _ = open_served(protocol(), stimuli, str(tmp_path / "study.db"), state=tmp_path / "state")
    me = come(study, "at-trial-1", submission="two")
    assert answer(study, me, 1).next == 2
    with study.database.reading() as session:
        mine = select(SavedAnswer.answer["words"]).join(StudySession).where(StudySession.participant == "at-trial-1")
        assert session.scalars(mine.order_by(SavedAnswer.trial)).all() == [["Früh", "犬"], ["a", "b"]]
    study.database.close()


@pytest.fixture
def populated(tmp_path, database):
    """The place of a database with answers, and its rows."""
    study = small_study(tmp_path, database)
    finish(study, come(study, "p", submission="one"))
    answer(study, come(study, "q"), 0)
    rows, revision = rows_in(study.database, TABLES)
    study.database.close()
    return database, rows, revision


def test_the_next_version_keeps_every_row_and_this_one_then_refuses_the_database(populated, next_version, monkeypatch):
    place, rows, _ = populated
    next_version()
    opened = open_database(place)
    now, revision = rows_in(opened, [*TABLES, "notes"])
    opened.close()
    assert revision == "0002"
    assert sorted(each["text"] for each in now.pop("notes")) == ["active", "complete"]
    assert {each.pop("device") for each in now["sessions"]} == {"phone"}
    assert now == rows
    monkeypatch.undo()
    with pytest.raises(InputError, match="has schema 0002, of a newer version of InterpScore; expected 0001 or older"):
        open_database(place)


def test_a_migration_that_is_killed_half_way_leaves_the_database_as_it_was(populated, next_version, monkeypatch):
    place, rows, revision = populated
    next_version()
    monkeypatch.setenv("KILLED", "1")
    killed = multiprocessing.get_context("fork").Process(target=open_database, args=(place,))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    monkeypatch.undo()
    assert "KILLED" not in os.environ
    opened = open_database(place)
    assert rows_in(opened, TABLES) == (rows, revision)
    assert "notes" not in inspect(opened.engine).get_table_names()
    opened.close()
