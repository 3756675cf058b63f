"""A PostgreSQL server of the tests' own, from the system's package."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="session")
def postgresql():
    """A function that makes an empty database and gives its URL."""
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    root = os.geteuid() == 0
    if root and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    who = {"user": "postgres", "group": "postgres", "extra_groups": []} if root else {}
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a short path: its socket's name is limited
    if root:
        shutil.chown(folder, "postgres")

    def run(program, *arguments):
        command = [str(BINARIES[-1] / program), *map(str, arguments)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)

    data = folder / "data"
    try:
        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", f"-k {folder} -c listen_addresses=", "start")
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start here ({error})")

    def new_database():
        name = f"study_{secrets.token_hex(4)}"
        run("createdb", "-h", folder, "-U", "postgres", name)
        return f"postgresql://postgres@/{name}?host={folder}"

    yield new_database
    run("pg_ctl", "-D", folder / "data", "-m", "immediate", "-W", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The place of a new database: a file, or the URL of PostgreSQL."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql")()
    return str(tmp_path / "study.db")
