"""Many simulated participants at once."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx2

from Activation_Extraction.base.errors import InputError, first_line, shown
from Human_Experiment_Setup.study.simulation.people import Person
from Human_Experiment_Setup.study.simulation.visit import Visit, World, answering, visit

_SECONDS = 30


def check_address(address: str) -> str:
    """The address of a study without a slash at the end.

    Raises:
        InputError: it is none of the web.
    """
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise InputError(f"--at: found {shown(address)} ({first_line(error)}); expected http://host:port") from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise InputError(
            f"--at: found {shown(address)}; expected the address of a study, such as http://127.0.0.1:8000"
        )
    return str(url).rstrip("/")


def send_all(
    world: World, people: Sequence[Person], at_once: int, progress: Callable[[str, int, int], None]
) -> list[Visit]:
    """Let people take the study, some at once; in their order.

    Raises:
        InputError: as `visit`; the server cannot be reached at all.
    """
    answering(world.protocol.kind.name)  # refused before anyone comes
    context = ssl.create_default_context()  # one for all: it takes a while

    def one(person: Person) -> Visit:
        with httpx2.Client(verify=context, timeout=_SECONDS) as client:
            return visit(world, person, client)

    found: list[Visit] = []
    with ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(one, person) for person in people]
        try:
            for count, done in enumerate(as_completed(waiting), 1):
                found.append(done.result())
                progress("Participants", count, len(people))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sorted(found, key=lambda each: each.number)
