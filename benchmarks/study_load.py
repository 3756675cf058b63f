"""A study under load: 300 participants arrive within one second, then each answers every 5 to 10 s; SQLite and PostgreSQL.

Usage: python benchmarks/study_load.py [participants] [seconds]. The server is a process of its own on the same machine. The
client speaks HTTP over plain sockets, so as to take little of the cores that it shares with the server. A durable commit is
one row, written by the client's process: alone (before and after), and every tenth of a second while participants answer.
PostgreSQL is taken from Debian's package (/usr/lib/postgresql) and left out, with a note, where it is not installed.
"""

from __future__ import annotations

import asyncio
import json
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil
import psycopg
import yaml
from PIL import Image
from sqlalchemy import create_engine, text

PARTICIPANTS, SECONDS = (*map(int, sys.argv[1:]), *(300, 40)[len(sys.argv) - 1 :])
TRIALS = 20
BETWEEN_COMMITS = 0.1
PROTOCOL = {
    "about": "load", "title": "Load", "levels": [5, 1, 2, 3], "ratings_per_image": 60, "trials_per_participant": TRIALS,
    "trial": {"kind": "naming"}, "information": "Load.", "retention": "Load.", "consent": ["Yes."], "instructions": "Load.",
    "debrief": "Load.", "completion": {"path": "prolific", "code": "LOADCODE"},
}  # fmt: skip


def main() -> None:
    print(f"{PARTICIPANTS} participants, {SECONDS} s of answers every 5 to 10 s, {os.cpu_count()} cores")
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
    commits = Commits(folder, database)
    alone = [commits.one() for _ in range(50)]
    crowd = Crowd(address[0], psutil.Process(server.pid))
    asyncio.run(crowd.run(commits))
    alone += [commits.one() for _ in range(50)]
    commits.close()
    server.send_signal(signal.SIGTERM)
    server.communicate()
    lost, doubled = compare(database, crowd)
    commit, under_load = (1000 * statistics.median(each) for each in (alone, crowd.commits))
    p50, p99 = (1000 * statistics.quantiles(crowd.saves, n=100)[at] for at in (49, 98))
    worst, count = 1000 * statistics.quantiles(crowd.commits, n=100)[98], len(crowd.saves)
    print(f"{name}: {crowd.errors} errors, {lost} lost, {doubled} doubled")
    print(
        f"  arrivals        {len(crowd.arrived):,} served in {crowd.served_in:.1f} s, slowest {max(crowd.arrived):.1f} s"
    )
    print(f"  saves           {count:,}, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(f"  processor       {1000 * crowd.server_seconds / count:.2f} ms a save in the server")
    print(
        f"  durable commit  {commit:.2f} ms alone, {under_load:.2f} ms while participants answer (p99 {worst:.1f} ms)"
    )
    print(f"  p99 / commit    {p99 / commit:.1f} alone, {p99 / under_load:.1f} while participants answer", flush=True)


class Browser:
    """One participant's connection and cookie."""

    def __init__(self, address: str) -> None:
        where = urlsplit(address)
        self._host, self._port, self._cookie = where.hostname, where.port, ""

    async def request(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, str]:
        """Status and content of an answer; connects the first time."""
        if not hasattr(self, "_reader"):
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._host}",
            f"Content-Length: {len(body)}",
            "X-Study-Script: 1",
        ]
        lines += [f"Content-Type: {kind}"] * bool(kind) + [f"Cookie: {self._cookie}"] * bool(self._cookie)
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        status, *headers = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in headers if line)
        if "set-cookie" in fields:
            self._cookie = next(line for line in headers if line.lower().startswith("set-cookie"))[12:].split(";")[0]
        content = await self._reader.readexactly(int(fields.get("content-length", 0)))
        return int(status.split()[1]), content.decode()

    async def form(self, path: str, fields: Mapping[str, str]) -> tuple[int, str]:
        return await self.request("POST", path, urlencode(fields).encode(), "application/x-www-form-urlencoded")

    def close(self) -> None:
        self._writer.close()


class Crowd:
    """Participants at a server; what was acknowledged, and how many seconds it took."""

    def __init__(self, address: str, server: psutil.Process) -> None:
        self.address, self.server, self.errors, self.served_in, self.server_seconds = address, server, 0, 0.0, 0.0
        self.arrived: list[float] = []
        self.saves: list[float] = []
        self.commits: list[float] = []
        self.acknowledged: set[tuple[str, int]] = set()

    async def run(self, commits: Commits) -> None:
        browsers = [Browser(self.address) for _ in range(PARTICIPANTS)]
        started = time.perf_counter()
        ids = await asyncio.gather(*(self.arrive(each, at / PARTICIPANTS) for at, each in enumerate(browsers)))
        self.served_in = time.perf_counter() - started
        end, used = time.perf_counter() + SECONDS, sum(self.server.cpu_times()[:2])
        committing = asyncio.create_task(self.commit(commits))
        await asyncio.gather(*(self.take_part(each, who, end) for each, who in zip(browsers, ids)))
        self.server_seconds = sum(self.server.cpu_times()[:2]) - used
        committing.cancel()
        for each in browsers:
            each.close()

    async def commit(self, commits: Commits) -> None:
        """Commit a row now and then, without holding up the participants."""
        while True:
            self.commits.append(await asyncio.to_thread(commits.one))
            await asyncio.sleep(BETWEEN_COMMITS)

    async def arrive(self, browser: Browser, after: float) -> str:
        """Read the information and consent."""
        await asyncio.sleep(after)
        started = time.perf_counter()
        ids = {name: secrets.token_hex(12) for name in ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")}
        _, page = await browser.request("GET", f"/?{urlencode(ids)}")
        token = page.split('name="arrival" value="')[1].split('"')[0]
        status, _ = await browser.form("/consent", {"arrival": token, "agree": "1"})
        self.errors += status != 303
        self.arrived.append(time.perf_counter() - started)
        return ids["PROLIFIC_PID"]

    async def take_part(self, browser: Browser, participant: str, end: float) -> None:
        answer = {"words": ["fire", "flame"], "cannot_tell": False}
        await asyncio.sleep(random.uniform(0, 5))
        for trial in range(TRIALS):
            if time.perf_counter() > end:
                return
            body = json.dumps({"trial": trial, "answer": answer}).encode()
            started = time.perf_counter()
            status, content = await browser.request("POST", "/api/answers", body, "application/json")
            self.saves.append(time.perf_counter() - started)
            if status == 200 and json.loads(content)["saved"] == trial:
                self.acknowledged.add((participant, trial))
            else:
                self.errors += 1
            await asyncio.sleep(random.uniform(5, 10))


class Commits:
    """Durable commits of one row beside the study: in a file of their own, or a table of the same server."""

    def __init__(self, folder: Path, database: str) -> None:
        if "://" in database:
            # Statements of a transaction go one by one, as the study's do.
            self._connection = psycopg.connect(database)
            self._statements = "BEGIN", "INSERT INTO commits VALUES (repeat('x', 500))", "COMMIT"
            self._connection.autocommit = True
        else:
            self._connection = sqlite3.connect(folder / "commits.db", isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._statements = "BEGIN IMMEDIATE", f"INSERT INTO commits VALUES ('{'x' * 500}')", "COMMIT"
        self._connection.execute("CREATE TABLE IF NOT EXISTS commits (a text)")

    def one(self) -> float:
        """Seconds until a row is on the disk."""
        started = time.perf_counter()
        for statement in self._statements:
            self._connection.execute(statement)
        return time.perf_counter() - started

    def close(self) -> None:
        self._connection.close()


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
