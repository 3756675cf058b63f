"""Guards the lines that tell how far a long run is where there is no terminal."""

import pytest

from Activation_Extraction.base import progress
from Activation_Extraction.base.progress import doing, image_progress, transfer_progress


@pytest.mark.parametrize(("options", "counted"), [({}, "images"), ({"counted": "steps"}, "steps")])
def test_a_line_says_what_is_counted(monkeypatch, capsys, options, counted):
    monkeypatch.setattr(progress, "_SECONDS", 0)
    with image_progress("Rendering", 2000, done=500, **options) as advance:
        advance(750)
    line = capsys.readouterr().err
    assert line.startswith(f"Rendering: 1,250 of 2,000 {counted}, ")
    assert f" {counted}/s, " in line


def test_nothing_is_said_on_request_or_within_half_a_minute(monkeypatch, capsys):
    with image_progress("Rendering", 20) as advance:
        advance(5)
    monkeypatch.setattr(progress, "_SECONDS", 0)
    with image_progress("Rendering", 20, shown=False) as advance:
        advance(5)
    assert capsys.readouterr().err == ""


def on_a_terminal(body):
    """What a terminal receives while Python runs `body`."""
    import os
    import pty
    import subprocess
    import sys

    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", body], stderr=theirs, env=os.environ | {"TERM": "xterm"}):
        os.close(theirs)
        received = b""
        try:
            while part := os.read(ours, 1 << 16):
                received += part
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    return received.decode()


def test_a_terminal_says_at_once_what_is_being_done_and_hides_stages_that_are_done():
    told = on_a_terminal(
        "from Activation_Extraction.base.progress import doing, stage_progress\n"
        "import time\n"
        "with doing('Loading net[1]'): pass\n"
        "with stage_progress() as progress:\n"
        "    progress('first', 2, 2); progress('second', 1, 2); time.sleep(.3)\n"
    )
    assert "Loading net[1] …" in told
    assert "second" in told
    assert told.rfind("first") < told.find("second")


def test_a_terminal_shows_the_bytes_of_a_download():
    told = on_a_terminal(
        "from Activation_Extraction.base.progress import transfer_progress\n"
        "with transfer_progress() as progress: [progress('net[1]', n * 10**6, 10**8) for n in range(101)]"
    )
    assert "100.0/100.0 MB" in told
    assert "net[1]" in told


def test_lines_of_a_long_download_are_few_and_end_with_the_whole(capsys):
    with transfer_progress() as progress:
        for done in range(0, 714_000_001, 700_000):
            progress("net", done, 714_000_000)
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 11
    assert printed[3] == "net: 214.2 of 714.0 MB, 30%"
    assert printed[-1] == "net: 714.0 of 714.0 MB, 100%"


def test_lines_of_a_download_of_unknown_size_are_few(capsys):
    with transfer_progress() as progress:
        for done in range(0, 350_000_001, 1_000_000):
            progress("net", done, None)
    assert capsys.readouterr().err.splitlines() == [f"net: {step}.0 MB" for step in (0, 100, 200, 300)]


def test_elsewhere_nothing_is_said_of_what_cannot_be_counted(capsys):
    with doing("Loading"):
        pass
    assert capsys.readouterr() == ("", "")
