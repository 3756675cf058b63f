"""A simulated participant at a server: opens the link, agrees, passes the checks, looks at each picture, answers, finishes."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from Activation_Extraction.base.errors import InputError, first_line
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.simulation.people import Person
from Human_Experiment_Setup.study.stimuli_table import Stimulus
from Human_Experiment_Setup.study.trials.kinds import trial_kind, trial_kinds

MARKED = 'data-mark="simulated"'
"""On every page of a server that marks all its sessions as simulated."""
_ARRIVAL = re.compile(r'name="arrival" value="([^"]+)"')
_HEADERS = {"X-Study-Script": "1"}
_AGAIN = (429, 500, 502, 503, 504)
"""Statuses after which a browser tries again."""
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 2.0


@dataclass
class Visit:
    """What became of a visit.

    Attributes:
        number: of the person.
        outcome: complete, left, refused (with a page that says why) or failed.
        reason: why it was refused, or failed.
        saved: index of each trial whose answer the server confirmed.
        again: answers that were sent once more and confirmed as known.
    """

    number: int
    outcome: str = "failed"
    reason: str = ""
    saved: list[int] = field(default_factory=list)
    again: int = 0


class _RefusedVisitError(Exception):
    pass


@dataclass(frozen=True)
class World:
    """What all visits share.

    Attributes:
        address: of the study, without a slash at the end.
        stimuli: SHA-256 → picture.
        pause: seconds before each answer.
        patience: seconds for which a request is tried again.
    """

    address: str
    protocol: StudyProtocol
    stimuli: Mapping[str, Stimulus]
    pause: float = 0.0
    patience: float = 30.0
    sleep: Callable[[float], None] = time.sleep


def visit(world: World, person: Person, client: httpx2.Client) -> Visit:
    """Take the study as a person.

    Args:
        client: without cookies; it gets the session's.

    Raises:
        InputError: the server does not mark its sessions as simulated: nothing was written; or it shows pictures that
            are not among the stimuli.
    """
    found = Visit(person.number)
    try:
        _Visitor(world, person, client, found).run()
    except _RefusedVisitError as error:
        found.outcome, found.reason = "refused", str(error)
    except httpx2.HTTPError as error:
        found.reason = first_line(error)
    return found


class _Visitor:
    def __init__(self, world: World, person: Person, client: httpx2.Client, found: Visit) -> None:
        self.world, self.person, self.client, self.found = world, person, client, found

    def run(self) -> None:
        self.open_link()
        state = self.api("GET", "next")
        for _ in range(10):
            if state["state"] != "checks":
                break
            state = self.api("POST", "checks", {"answers": [check.right for check in self.world.protocol.checks]})
        last = int(state["total"] * self.person.leaves_after) if self.person.leaves_after is not None else None
        while state["state"] == "trial":
            if last is not None and state["trial"] >= last:
                self.found.outcome = "left"
                return
            if self.person.repeats and state["trial"] == state["total"] // 2:
                self.open_link()
            state = self.answer(state)
        done = self.request("GET", f"{self.world.address}/done")
        self.found.outcome = "complete" if state["state"] == "complete" and done.status_code == 200 else "failed"

    def open_link(self) -> None:
        """Information and consent, or straight on where the session is known."""
        link = self.person.link(self.world.protocol.completion.path)
        page = self.request("GET", f"{self.world.address}/", params=link, follow_redirects=True)
        if MARKED not in page.text:
            raise InputError(
                f"{self.world.address}: does not mark its sessions as simulated (status {page.status_code}); expected a "
                "server that was started with `interpscore study serve … --mark simulated`"
            )
        if page.status_code >= 400:
            raise _RefusedVisitError(_heading(page.text))
        if arrival := _ARRIVAL.search(page.text):
            agree = [str(at + 1) for at in range(len(self.world.protocol.consent))]
            form = {"arrival": arrival[1], "agree": agree}
            page = self.request("POST", f"{self.world.address}/consent", data=form, follow_redirects=True)
            if page.status_code >= 400:
                raise _RefusedVisitError(_heading(page.text))

    def answer(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Look at the picture, answer; the next state."""
        trial, settings = int(state["trial"]), state["settings"]
        picture = None if state["picture"] is None else self.picture(state["picture"])
        answer = answering(state["kind"])(self.person, picture, settings)
        self.world.sleep(self.world.pause)
        body = {"trial": trial, "answer": answer, "tab": "simulated", "rt_ms": self.person.milliseconds(trial)}
        given = self.api("POST", "answers", body)
        if given.get("saved") == trial:
            self.found.saved.append(trial)
        if self.person.repeats:
            self.found.again += bool(self.api("POST", "answers", body).get("again"))
        return given

    def picture(self, address: str) -> Stimulus:
        """What a picture shows, known by its bytes."""
        response = self.request("GET", str(httpx2.URL(self.world.address).join(address)))
        found = self.world.stimuli.get(hashlib.sha256(response.content).hexdigest())
        if response.status_code != 200 or found is None:
            raise InputError(
                f"{self.world.address}: shows a picture that is not among the stimuli (status {response.status_code}); "
                "expected the server and --stimuli to have the same"
            )
        return found

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask as the study's script does."""
        options = {} if body is None else {"json": body}
        response = self.request(method, f"{self.world.address}/api/{path}", headers=_HEADERS, **options)
        found: dict[str, Any] = response.json() if response.headers.get("content-type", "").startswith("application/json") else {}  # fmt: skip
        if response.status_code == 409 and isinstance(found.get("expected"), int):  # the answer before this got lost
            return self.api("GET", "next")
        if response.status_code != 200:
            raise _RefusedVisitError(f"status {response.status_code} {found.get('error', '')} at {path}".strip())
        return found

    def request(self, method: str, address: str, **options: Any) -> httpx2.Response:
        """One request, tried again while the server or the network fail."""
        until, wait = time.monotonic() + self.world.patience, _FIRST_WAIT
        while True:
            try:
                response = self.client.request(method, address, **options)
                if response.status_code not in _AGAIN or time.monotonic() > until:
                    return response
            except httpx2.TransportError:
                if time.monotonic() > until:
                    raise
            self.world.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)


def answering(kind: str) -> Callable[[Person, Any, Mapping[str, Any]], Mapping[str, Any]]:
    """How simulated participants answer a kind of trial.

    Raises:
        InputError: the kind does not say.
    """
    if (how := trial_kind(kind).simulated) is None:
        able = ", ".join(name for name, each in trial_kinds().items() if each.simulated)
        raise InputError(
            f"trial: the kind {kind} does not say how simulated participants answer it; expected one that does ({able}), "
            "or its TrialKind to have `simulated`"
        )
    return how


def _heading(page: str) -> str:
    found = re.search(r"<h1[^>]*>([^<]*)</h1>", page)
    return found[1].strip() if found else "refused"
