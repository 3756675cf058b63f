"""A small study for tests: a protocol, pictures of eight pixels, and a server within the process."""

import secrets
import tempfile
import threading
from collections import defaultdict
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pandas as pd
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from Human_Experiment_Setup.study.database.connection import open_database
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.server.app import create_app
from Human_Experiment_Setup.study.server.context import Served
from Human_Experiment_Setup.study.server.limits import Rate
from Human_Experiment_Setup.study.server.running import listening, open_served

CODE = "C0MPLETE"
FAST = Rate(burst=1e6, per_second=1e6)
PROTOCOL = {
    "name": "small", "about": "small", "title": "What do you see?", "levels": [5, 1], "ratings_per_image": 2,
    "trials_per_participant": 3, "trial": {"kind": "naming"}, "information": "Information.", "retention": "Retention.",
    "consent": ["I agree."], "instructions": "Type **two** words.", "debrief": "Debrief.",
    "timing": {"minimum_ms": 0}, "completion": {"path": "prolific", "code": CODE},
}  # fmt: skip
CHECK = {"question": "How many words?", "options": ["One", "Two"], "right": "Two"}
TRAP = {"question": "What is 7 times 8?", "program_answers": ["56"]}


def protocol(**changes) -> StudyProtocol:
    """The small protocol with some keys changed."""
    return StudyProtocol.model_validate(PROTOCOL | changes)


def write_stimuli(folder: Path, concepts=("fire", "puppies"), pictures=4, levels=(5, 1), size=8) -> Path:
    """Pictures of some concepts at some levels, and their table."""
    rows = defaultdict(list)
    for number, concept in enumerate(concepts):
        for at in range(pictures):
            for level in levels:
                name = f"{concept}_{at}_level{level}.png"
                folder.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (size, size), (40 * number, 60 * at % 256, 30 * level)).save(folder / name)
                rows["image"].append(name)
                rows["concept"].append(concept)
                rows["level"].append(level)
                rows["clean_image"].append(f"{concept}_{at}_level{levels[0]}.png")
    pd.DataFrame(rows).to_csv(folder / "images.csv", index=False)
    return folder


def small_study(
    folder: Path, database: str | None = None, mark=None, root_path="", stimuli=None, state=None, **changes
) -> Served:
    """A study that is ready to be served, with its pictures and database in a folder."""
    pictures = stimuli or folder / "stimuli"
    if not pictures.exists():
        write_stimuli(pictures)
    place = database or str(folder / "study.db")
    if "://" not in place and not Path(place).exists():
        Path(place).write_bytes(empty_database())
    return open_served(
        protocol(**changes), pictures, place, state=state or folder / "state", mark=mark, root_path=root_path
    )[0]


@cache
def empty_database() -> bytes:
    """A new database; migrations take a while."""
    with tempfile.TemporaryDirectory() as folder:
        open_database(f"{folder}/study.db").close()
        return Path(folder, "study.db").read_bytes()


def client_of(study: Served, **limits) -> TestClient:
    """A browser without scripts, at a server that serves the study."""
    limits = {"everything": FAST, "answers": FAST, "logins": FAST} | limits
    return TestClient(create_app(study, **limits), raise_server_exceptions=False, follow_redirects=False)


@contextmanager
def serving(study: Served, **limits):
    """The address of a server, in a thread of this process."""
    listener = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(study, **limits), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        study.database.close()


def prolific_ids() -> dict[str, str]:
    """Ids as in a link of Prolific."""
    return {name: secrets.token_hex(12) for name in ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")}


class Participant:
    """A participant at a server: what the browser's script does, without a browser."""

    HEADERS = {"X-Study-Script": "1"}  # noqa: RUF012

    def __init__(self, client: TestClient, ids: dict[str, str] | None = None, consents: int = 1) -> None:
        self.client, self.ids = client, ids or prolific_ids()
        client.cookies.clear()
        self.welcome = client.get("/", params=self.ids)
        if self.welcome.status_code == 200:
            token = self.welcome.text.split('name="arrival" value="')[1].split('"')[0]
            agree = [str(at) for at in range(consents)]
            self.welcome = client.post("/consent", data={"arrival": token, "agree": agree})
        self.cookies = dict(client.cookies)

    def get(self, path="/api/next"):
        return self._as_me("GET", path)

    def post(self, path="/api/answers", **body):
        return self._as_me("POST", path, json=body)

    def answer(self, trial=None, words=("a", "b"), **more):
        """Answer a trial, or the next."""
        trial = self.get().json()["trial"] if trial is None else trial
        return self.post(trial=trial, answer={"words": list(words), "cannot_tell": False}, **more)

    def finish(self):
        """Answer all that is left."""
        state = self.get().json()
        while state["state"] == "trial":
            text = {"text": "", "cannot_tell": True} if state["kind"] == "question" else None
            answer = text or {"words": ["a", "b"], "cannot_tell": False}
            state = self.post(trial=state["trial"], answer=answer).json()
        return state

    def send(self, text, path="/api/answers"):
        """Send JSON as it is."""
        return self._as_me("POST", path, content=text.encode(), type="application/json")

    def _as_me(self, method, path, type=None, **options):
        self.client.cookies.clear()
        self.client.cookies.update(self.cookies)
        return self.client.request(
            method, path, headers=self.HEADERS | ({"Content-Type": type} if type else {}), **options
        )
