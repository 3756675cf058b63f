"""A study under load: 300 participants arrive within one second, then each answers every 5 to 10 s; SQLite and PostgreSQL.

Usage: python benchmarks/study_load.py [participants] [seconds]. The server is a process of its own on the same machine.
PostgreSQL is taken from Debian's package (/usr/lib/postgresql) and left out, with a note, where it is not installed.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import secrets
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import yaml
from PIL import Image
from sqlalchemy import create_engine, text

PARTICIPANTS, SECONDS = (*map(int, sys.argv[1:]), *(300, 40)[len(sys.argv) - 1 :])
TRIALS = 20
PROTOCOL = {
    "about": "load", "title": "Load", "levels": [5, 1, 2, 3], "ratings_per_image": 60, "trials_per_participant": TRIALS,
    "trial": {"kind": "naming"}, "information": "Load.", "retention": "Load.", "consent": ["Yes."], "instructions": "Load.",
    "debrief": "Load.", "completion": {"path": "prolific", "code": "LOADCODE"},
}  # fmt: skip


def main() -> None:
    print(f"{PARTICIPANTS} participants, {SECONDS} s of answers every 5 to 10 s, {os.cpu_count()} cores")
    print(
        "database      commit  arrivals  served in  slowest   saves  errors  lost  doubled    p50     p99  p99 ÷ commit"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", Path(folder), str(Path(folder) / "study.db"))
    with tempfile.TemporaryDirectory() as folder, postgresql() as url:
        if url is None:
            print("PostgreSQL is not installed (apt-get install postgresql)")
        else:
            measure("PostgreSQL", Path(folder), url)


def measure(name: str, folder: Path, database: str) -> None:
    write_study(folder)
    command = [
        sys.executable, "-c", "from Activation_Extraction.base.start import main; main()", "study", "serve",
        folder / "load.yaml", "--stimuli", folder / "stimuli", "--database", database, "--state", folder / "state",
        "--port", "0", "--mark", "simulated",
    ]  # fmt: skip
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = re.search(r"http://127\.0\.0\.1:\d+", "".join(server.stdout.readline() for _ in range(5)))
    if address is None:
        raise SystemExit("the server did not start")
    commit = durable_commit(folder, database)
    crowd = Crowd(address[0])
    asyncio.run(crowd.run())
    commit = statistics.median([commit, durable_commit(folder, database)])
    server.send_signal(signal.SIGTERM)
    server.communicate()
    lost, doubled = compare(database, crowd)
    p50, p99 = (statistics.quantiles(crowd.saves, n=100)[at] * 1000 for at in (49, 98))
    print(
        f"{name:<12} {commit:5.1f} ms  {len(crowd.arrived):8,}  {crowd.served_in:7.1f} s  {max(crowd.arrived):5.1f} s  "
        f"{len(crowd.saves):6,}  {crowd.errors:6}  {lost:4}  {doubled:7}  {p50:4.0f} ms {p99:5.0f} ms  {p99 / commit:12.1f}"
    )


class Crowd:
    """Participants at a server; what was acknowledged, and how long it took."""

    def __init__(self, address: str) -> None:
        self.address, self.errors, self.served_in = address, 0, 0.0
        self.arrived: list[float] = []
        self.saves: list[float] = []
        self.acknowledged: set[tuple[str, int]] = set()

    async def run(self) -> None:
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
        clients = [httpx2.AsyncClient(base_url=self.address, timeout=60, limits=limits) for _ in range(PARTICIPANTS)]
        started = time.perf_counter()
        ids = await asyncio.gather(*(self.arrive(client, at / PARTICIPANTS) for at, client in enumerate(clients)))
        self.served_in = time.perf_counter() - started
        end = time.perf_counter() + SECONDS
        await asyncio.gather(*(self.take_part(client, each, end) for client, each in zip(clients, ids)))
        await asyncio.gather(*(client.aclose() for client in clients))

    async def arrive(self, client: httpx2.AsyncClient, after: float) -> str:
        """Read the information and consent."""
        await asyncio.sleep(after)
        started = time.perf_counter()
        ids = {name: secrets.token_hex(12) for name in ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")}
        page = await client.get("/", params=ids)
        token = page.text.split('name="arrival" value="')[1].split('"')[0]
        found = await client.post("/consent", data={"arrival": token, "agree": "1"})
        self.errors += found.status_code != 303
        self.arrived.append(time.perf_counter() - started)
        return ids["PROLIFIC_PID"]

    async def take_part(self, client: httpx2.AsyncClient, participant: str, end: float) -> None:
        headers = {"X-Study-Script": "1"}
        answer = {"words": ["fire", "flame"], "cannot_tell": False}
        await asyncio.sleep(random.uniform(0, 5))
        for trial in range(TRIALS):
            if time.perf_counter() > end:
                return
            started = time.perf_counter()
            found = await client.post("/api/answers", json={"trial": trial, "answer": answer}, headers=headers)
            self.saves.append(time.perf_counter() - started)
            if found.status_code == 200 and found.json()["saved"] == trial:
                self.acknowledged.add((participant, trial))
            else:
                self.errors += 1
            await asyncio.sleep(random.uniform(5, 10))


def compare(database: str, crowd: Crowd) -> tuple[int, int]:
    """Acknowledged answers that the database lacks, and answers that it has twice."""
    url = database.replace("postgresql://", "postgresql+psycopg://") if "://" in database else f"sqlite:///{database}"
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT s.participant, a.trial FROM answers a JOIN sessions s ON s.id = a.session_id")
        ).all()
    engine.dispose()
    kept = [tuple(row) for row in rows]
    return len(crowd.acknowledged - set(kept)), len(kept) - len(set(kept))


def durable_commit(folder: Path, database: str) -> float:
    """Milliseconds of one row's commit that is on the disk when it returns, median of 50."""
    times = []
    if "://" in database:
        engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS commits (a text)"))
            connection.commit()
            for _ in range(50):
                started = time.perf_counter()
                connection.execute(text("INSERT INTO commits VALUES (repeat('x', 500))"))
                connection.commit()
                times.append(time.perf_counter() - started)
        engine.dispose()
    else:
        other = sqlite3.connect(folder / "commits.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE IF NOT EXISTS commits (a text)",
        ):
            other.execute(statement)
        for _ in range(50):
            started = time.perf_counter()
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO commits VALUES (?)", ["x" * 500])
            other.execute("COMMIT")
            times.append(time.perf_counter() - started)
        other.close()
    return statistics.median(times) * 1000


def write_study(folder: Path) -> None:
    """A protocol, and 100 small pictures."""
    (folder / "stimuli").mkdir()
    rows = ["image,concept,level,clean_image"]
    for base in range(25):
        for level in (5, 1, 2, 3):
            Image.new("RGB", (8, 8)).save(folder / "stimuli" / f"{base}_{level}.png")
            rows.append(f"{base}_{level}.png,c{base % 5},{level},{base}_5.png")
    (folder / "stimuli" / "images.csv").write_text("\n".join(rows) + "\n")
    (folder / "load.yaml").write_text(yaml.safe_dump(PROTOCOL))


@contextmanager
def postgresql() -> Iterator[str | None]:
    """The URL of an empty database on a server of our own; None where PostgreSQL is not installed."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*as_user, str(binaries[-1] / program), *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )

    data, log = f"{folder}/data", f"{folder}/log"
    run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
    run("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-k {folder} -c listen_addresses=", "start")
    run("createdb", "-h", str(folder), "-U", "postgres", "study")
    try:
        yield f"postgresql://postgres@/study?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
