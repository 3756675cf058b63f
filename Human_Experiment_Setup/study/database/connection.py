"""The connection to a study's database: SQLite with every commit on the disk, or PostgreSQL; migrations run first."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from Activation_Extraction.base.errors import InputError, first_line, shown

MIGRATIONS = Path(__file__).parent / "migrations"
EXPECTED = "a file such as study.db, or postgresql://user:password@host/name"
_WAIT_SECONDS = 30
_SQLITE, _POSTGRESQL = "sqlite", "postgresql"


class Database:
    """A study's database. `reading()` and `writing()` are transactions; a writing one is on the disk when it ends."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(begin="IMMEDIATE")
        # SQLite has one writer: waiting in line here is faster, and fairer, than trying again.
        self._line: Any = threading.Lock() if self.is_sqlite else _NoLine()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == _SQLITE

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that sees no other writer's halves and is complete or not there: BEGIN IMMEDIATE on SQLite."""
        with self._line, Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A transaction that only reads, and sees the database as it is now, whatever others write meanwhile."""
        # A read transaction of SQLite is a snapshot anyway.
        engine = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        with Session(engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


class _NoLine:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def open_database(place: str, *, create: bool = True) -> Database:
    """Open a study's database and bring its schema up to date.

    Args:
        place: a file of SQLite, or the URL of a PostgreSQL database.
        create: make the file if it is not there.

    Raises:
        InputError: no such database, it cannot be reached, is another program's, or of a newer version.
    """
    url = _url(place, create)
    try:
        is_sqlite = url.get_backend_name() == _SQLITE
        engine = _sqlite_engine(url) if is_sqlite else create_engine(url, pool_size=20, max_overflow=20)
        try:
            with engine.execution_options(begin="IMMEDIATE").begin() as connection:
                _refuse_others(connection, place, create)
                if not _is_current(connection, place):
                    migrate(connection)
        except BaseException:
            engine.dispose()
            raise
    except (OperationalError, DBAPIError) as error:
        reason = first_line(error.orig or error)
        raise InputError(f"{_without_password(place)}: cannot be opened ({reason}); expected {EXPECTED}") from None
    return Database(engine)


def _refuse_others(connection: Connection, place: str, create: bool) -> None:
    """Refuse to put our tables among another program's, or, where a study must be there, into an empty database."""
    tables = set(inspect(connection).get_table_names())
    if not tables and create:
        return
    if not {"study", "alembic_version"} <= tables:
        found = f"has other tables ({shown(min(tables))})" if tables else "has no study yet"
        raise InputError(f"{_without_password(place)}: {found}; expected the database of a study")


def _is_current(connection: Connection, place: str) -> bool:
    """Whether the schema is this version's. One that it does not know is refused: it would write what the newer one misreads."""
    found = MigrationContext.configure(connection).get_current_revision()
    known = _revisions(MIGRATIONS)
    if found is not None and found not in known:
        raise InputError(
            f"{_without_password(place)}: has schema {found}, of a newer version of InterpScore; expected {max(known)} or "
            "older (install the newer version)"
        )
    return found == known[0]


@cache
def _revisions(folder: Path) -> list[str]:
    """Of the schema, the newest first."""
    return [each.revision for each in ScriptDirectory(str(folder)).walk_revisions()]


def migrate(connection: Connection, to: str = "head") -> None:
    """Bring the schema to a revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _url(place: str, create: bool) -> URL:
    if "://" not in place:
        path = Path(place)
        if not path.exists() and not create:
            raise InputError(f"{place}: no such file; expected the database of a study")
        if path.is_dir() or not path.parent.is_dir():
            what = "is a folder" if path.is_dir() else f"the folder {path.parent} does not exist"
            raise InputError(f"{place}: {what}; expected {EXPECTED}")
        return URL.create(_SQLITE, database=str(path))
    try:
        url = make_url(place)
        if url.get_backend_name() not in (_SQLITE, _POSTGRESQL):
            raise NoSuchModuleError
        if url.get_backend_name() == _POSTGRESQL:
            url = url.set(drivername="postgresql+psycopg")
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise InputError(f"database: found {shown(place.partition(':')[0])}; expected {EXPECTED}") from None
    return url


def _without_password(place: str) -> str:
    return make_url(place).render_as_string(hide_password=True) if "://" in place else place


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False}, pool_size=20, max_overflow=20
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin below, and nowhere else
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', '')}")

    return engine
