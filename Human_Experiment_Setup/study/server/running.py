"""Running a server: opens the database and the pictures, and serves until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from Activation_Extraction.base.errors import InputError
from Human_Experiment_Setup.study.database.connection import open_database
from Human_Experiment_Setup.study.keys import state_folder, study_keys
from Human_Experiment_Setup.study.leaving import apply_tombstones
from Human_Experiment_Setup.study.protocol import StudyProtocol
from Human_Experiment_Setup.study.server.app import create_app
from Human_Experiment_Setup.study.server.context import Mark, Served, now_in_ms
from Human_Experiment_Setup.study.stimuli_table import read_stimuli, stimuli_folder
from Human_Experiment_Setup.study.versions import load_version, open_study, open_version

_BACKLOG, _KEEP_ALIVE_SECONDS, _SHUTDOWN_SECONDS = 2048, 30, 20


def open_served(
    protocol: StudyProtocol,
    stimuli: Path,
    database: str,
    *,
    state: Path | None = None,
    root_path: str = "",
    mark: Mark | None = None,
) -> tuple[Served, int]:
    """A study that is ready to be served, and the number of sessions that tombstones withdrew again.

    Raises:
        InputError: what `read_stimuli`, `open_database`, `study_keys` and `open_version` raise.
    """  # fmt: skip
    pictures = read_stimuli(stimuli, protocol.levels)
    keys_at = state_folder(database, state)
    opened = open_database(database)
    try:
        keys = study_keys(keys_at)
        with opened.writing() as session:
            open_study(session, keys, now_in_ms())
            version_id = open_version(session, protocol, pictures, now_in_ms())
            again = apply_tombstones(session, keys, now_in_ms())
        with opened.reading() as session:
            version = load_version(session, version_id)
    except BaseException:
        opened.close()
        raise
    served = Served(opened, keys, version, stimuli_folder(stimuli)[0], root_path=root_path, mark=mark)
    return served, again


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the address is taken, or not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # Its connections inherit it. asyncio leaves it out for such sockets: an answer's second packet then waits for a
        # delayed acknowledgement of the first, 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"--host {host} --port {port}: cannot listen ({reason}); expected a free port") from None


def run_server(served: Served, listener: socket.socket, trusted_proxy: str, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that have begun are finished first."""
    config = uvicorn.Config(
        create_app(served), log_level="warning", access_log=False, server_header=False,
        proxy_headers=True, forwarded_allow_ips=trusted_proxy,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )  # fmt: skip
    server = uvicorn.Server(config)
    ready()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # the signal again, after a graceful end
        pass
    finally:
        served.database.close()
