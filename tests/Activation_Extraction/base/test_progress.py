"""Guards the lines that tell how far a long run is where there is no terminal."""

import pytest

from Activation_Extraction.base import progress
from Activation_Extraction.base.progress import image_progress


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
