"""`interpscore study serve`: the web server of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from Activation_Extraction.base.text import say

serve_app = typer.Typer()
NETWORK = "Network"


@serve_app.command(no_args_is_help=True)
def serve(
    protocol: Annotated[str, typer.Argument(help="A YAML file, or a name; see `interpscore study protocols`.")],
    stimuli: Annotated[Path, typer.Option(help="Folder of `interpscore stimuli build`, or an image table with the columns image, concept, level, clean_image.")],
    database: Annotated[str, typer.Option(help="Where answers are kept: a file, made if it is not there, or postgresql://user:password@host/name.")],
    state: Annotated[Path | None, typer.Option(help="Folder with the study's keys and withdrawals.", show_default="DATABASE.state")] = None,
    mark: Annotated[Literal["pilot", "simulated"] | None, typer.Option(help="Mark every new session as a pilot or as simulated; neither is ever exported as data.", show_default="data")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is all.", rich_help_panel=NETWORK)] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.", rich_help_panel=NETWORK)] = 8000,
    root_path: Annotated[str, typer.Option(help="Path at which a reverse proxy shows the study, such as /naming.", show_default="the top", rich_help_panel=NETWORK)] = "",
    trusted_proxy: Annotated[str, typer.Option(help="Address of the reverse proxy whose X-Forwarded headers are believed.", rich_help_panel=NETWORK)] = "127.0.0.1",
) -> None:  # fmt: skip
    """Serve a study to participants.

    [bold]interpscore study serve mine.yaml --stimuli stimuli --database study.db[/bold]

    Each answer is on the disk before the participant sees that it is saved;
    stop and start the server whenever you like. An edited protocol, or other
    pictures, start a new version; answers of both stay. Set a password with
    `interpscore study password` to open the admin page.
    """
    from Activation_Extraction.base.errors import InputError
    from Human_Experiment_Setup.study.protocol import read_study_protocol, refuse_places_to_fill
    from Human_Experiment_Setup.study.server.running import listening, open_served, run_server

    if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
        raise InputError(f"--root-path: found {root_path!r}; expected a path such as /naming")
    chosen = read_study_protocol(protocol)
    refuse_places_to_fill(chosen, protocol)
    listener = listening(host, port)
    with listener:
        served, again = open_served(chosen, stimuli, database, state=state, root_path=root_path, mark=mark)
        if again:
            say(f"note: withdrawn again, as the database is older than their withdrawal: {again}")
        place = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}{root_path}"

        def ready() -> None:
            lab = chosen.completion.path == "lab"
            say(
                f"{chosen.title}: version {served.version.number}"
                + (f", every session is marked {mark}" if mark else "")
            )
            say(
                f"Participants  {place}/"
                + (
                    ""
                    if lab
                    else "?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
                )
            )
            say(f"Preview       {place}/preview")
            say(f"Admin page    {place}/admin (off until `interpscore study password` sets a password)")
            say("Serving; Ctrl-C stops.")

        run_server(served, listener, trusted_proxy, ready)
    say("Stopped; every answer is in the database.")
